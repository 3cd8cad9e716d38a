"""
The simulator's feed at a fixed rate: prepared lines, one in each chunk; a file gets the time of each.

    python -m benchmarks.paced_feed RATE LINE_BYTES FILE

At 2,500 posts/s the simulator would need most of a core to generate and match posts; prepared posts need little.
A line of FILE is the post's id and the time (UNIX seconds) at which the post was handed to the kernel.
"""

import sys
import time
from pathlib import Path
from typing import BinaryIO

from benchmarks.rig import RULE
from connector.simulator.command import run
from connector.simulator.streams import feed

SHORTEST_SECS = 0.001


class PacedWriter(feed.FeedWriter):
    """Writes each line when it is due; if the event loop was held up, late lines go at once, with their real time."""

    rate: float
    emissions: BinaryIO
    _last: float | None = None
    """The time up to which all lines that were due are written."""

    def _schedule(self) -> None:
        if self._handle is None and not self._stopped:
            if self._last is None:
                self._last = self._loop.time()
            self._handle = self._loop.call_later(max(1 / self.rate, SHORTEST_SECS), self._write)

    def _write(self) -> None:
        self._handle = None
        connection, now = self._connection, self._loop.time()
        last = now if self._last is None else self._last
        due = int((now - last) * self.rate)
        self._last = last + due / self.rate
        lines = []
        for _ in range(due):
            if self._stopped or not connection.open:
                return
            block = next(self._blocks)
            first = self._feed.ids.take(1)
            connection.raw(block.fill(first, int(time.time())), payload=block.payload_bytes)
            lines.append(b"%d %.6f\n" % (first, time.time()))
            self._count(first, 1)
        self.emissions.write(b"".join(lines))
        self._schedule()


def main() -> int:
    """Run until SIGTERM."""
    rate, line_bytes, path = sys.argv[1:]
    PacedWriter.rate = float(rate)
    feed.FeedWriter = PacedWriter  # type: ignore[misc]  # `Feed` reads this name when a stream is opened
    with Path(path).open("wb", buffering=0) as PacedWriter.emissions:
        return run(
            {
                "port": 0,
                "feed": True,
                "line_bytes": int(line_bytes),
                "feed_chunk_bytes": int(line_bytes),
                "enforce_rate_limits": False,
                "rules": (f"{RULE}=>cats",),
            }
        )


if __name__ == "__main__":
    sys.exit(main())
