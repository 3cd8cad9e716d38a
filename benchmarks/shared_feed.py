"""
The simulator's feed for connectors that share a stream: its lines match the rules of the account one after the other.

    python -m benchmarks.shared_feed RATE LINE_BYTES FILE RULE [RULE ...]

Each RULE is `VALUE=>TAG`.  With a RATE lines come at that pace, one in each chunk, as in `paced_feed`; with 0 they come
as fast as the socket takes them.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paced_feed import PacedWriter
from benchmarks.rig import CHUNK_BYTES
from connector.simulator.command import run
from connector.simulator.rules.store import Rule
from connector.simulator.streams import feed


class SharedFeed(feed.Feed):
    """A feed that has not only the first of the account's rules in its lines."""

    _lines = 0

    def _held(self, *, filtered: bool) -> list[Rule] | None:
        if not filtered:
            return None
        rules = self._rules.active()
        self._lines += 1
        return [rules[self._lines % len(rules)]]

    def blocks(self, *, filtered: bool) -> list[feed.Block]:
        """Return the blocks for all filtered or for all volume streams; they are made for each connection anew."""
        self._blocks.clear()
        return super().blocks(filtered=filtered)


def main(arguments: Sequence[str]) -> int:
    """Run until SIGTERM."""
    rate, line_bytes, path, *rules = arguments
    from connector.simulator import simulator

    simulator.Feed = SharedFeed  # type: ignore[misc]  # `Simulator` reads this name when it is made
    if float(rate):
        PacedWriter.rate = float(rate)
        feed.FeedWriter = PacedWriter  # type: ignore[misc]  # `Feed` reads this name when a stream is opened
    with Path(path).open("wb", buffering=0) as PacedWriter.emissions:
        return run(
            {
                "port": 0,
                "feed": True,
                "line_bytes": int(line_bytes),
                "feed_chunk_bytes": int(line_bytes) if float(rate) else CHUNK_BYTES,
                "enforce_rate_limits": False,
                "rules": tuple(rules),
            }
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
