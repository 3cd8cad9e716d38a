"""
One stream connection: its writes, the log of what the kernel has taken, and its end.

    open --finish--> closed, last chunk sent        (clean)
         --cut-----> closed, last chunk missing
         --reset---> RST
         --client--> the other side went away
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol

from connector.simulator.streams.framing import LAST_CHUNK, Compressor, Framer, chunk
from connector.simulator.streams.messages import LINE_END, Message, Unsettled, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.simulator.clock import Clock
    from connector.simulator.http.wire import Wire
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog

KEEP_ALIVE = LINE_END
HOLD_S = 0.005
"""How long a message waits in `merged` and `split` framing for the next message."""

Ending = Literal["finish", "cut", "reset"]


class Writer(Protocol):
    """What writes to a connection instead of posts: the feed."""

    def resumed(self) -> None: ...

    def stop(self) -> None: ...


class StreamConnection:
    """
    An open stream.

    Everything runs in the event loop.  A post is logged when the kernel has taken all of it (`settle`), or when the
    connection ends before.
    """

    def __init__(
        self,
        *,
        wanted: Wanted,
        record: ConnectionRecord,
        head: bytes,
        settings: SimulatorSettings,
        log: EmissionLog,
        clock: Clock,
        opened: Callable[[StreamConnection], None],
        lost: Callable[[StreamConnection], None],
    ) -> None:
        self.wanted = wanted
        self.record = record
        self.writer: Writer | None = None
        self._head = head
        self._settings = settings
        self._log = log
        self._clock = clock
        self._opened = opened
        self._lost = lost
        seed = settings.seed ^ uuid.UUID(record.id).int
        self._random = random.Random(seed)
        self._framer = Framer(settings.framing, seed=seed)
        self._compressor = Compressor() if wanted.gzip else None
        self._unsettled = Unsettled()
        self._held: deque[Message] = deque()
        self._held_bytes = 0
        self._taken = 0
        self._stalled_until = 0.0
        self._ending: tuple[Ending, str] | None = None
        self._cut_next: tuple[Ending, str] | None = None
        self._loop = asyncio.get_running_loop()
        self._last_byte = self._loop.time()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.closed = False

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def open(self) -> bool:
        return self._ending is None and not self.closed

    @property
    def stalled(self) -> bool:
        return self._loop.time() < self._stalled_until

    @property
    def backlog(self) -> int:
        """How many accepted bytes the kernel has not taken."""
        return self.wire.written - self.wire.taken + self._held_bytes

    # Calls of the wire.

    def begin(self, wire: Wire) -> None:
        self.wire = wire
        self.wire.send(self._head)
        self._touch()
        self._keep_alive()
        self._opened(self)

    def paused(self) -> None:
        self._timer("slow", self._settings.slow_reader_s, self._slow)

    def resumed(self) -> None:
        self._cancel("slow")
        self.settle()
        if self.writer is not None:
            self.writer.resumed()

    def lost(self, error: Exception | None) -> None:
        self.closed = True
        if self.writer is not None:
            self.writer.stop()
        for timer in self._timers.values():
            timer.cancel()
        ending, reason = self._ending or ("cut", "client")
        # After a close of ours asyncio calls `lost` only when everything is written.
        if ending == "finish" and error is None:
            self._settle_to(self.wire.written)
            self.record.clean = True
        self._give_up()
        self.record.closed_at = self._clock.now()
        self.record.end = reason
        self.record.bytes = self._taken
        self._lost(self)

    # Writing.

    def post(self, message: Message) -> bool:
        """
        Write a post, and return true.

        Return false if the connection is ending, or if the buffer has no room for the post.
        """
        if not self.open:
            self._log_entry(message, "cut", 0)
            return False
        if self.backlog + len(message.line) > self._settings.buffer_bytes:
            self._log_entry(message, "dropped", 0)
            return False
        if self.stalled:
            self._held.append(message)
            self._held_bytes += len(message.line)
        elif self._cut_next is not None:
            self._write_half(message)
        else:
            self._write(message.line + LINE_END, message)
        return True

    def line(self, raw: bytes) -> None:
        """Write a line that is not a post."""
        if self.open:
            self._write(raw + LINE_END, None)

    def raw(self, data: bytes, *, payload: int) -> None:
        """Write prepared chunks with *payload* bytes of payload."""
        self.wire.send(data)
        self._unsettled.skip(payload)
        self._touch()

    def _write(self, payload: bytes, message: Message | None) -> None:
        if self._compressor is not None:
            payload = self._compressor.add(payload)
        self._unsettled.accept(len(payload), message)
        self._chunks(self._framer.add(payload))
        if self._framer.holds and "hold" not in self._timers:
            self._timer("hold", HOLD_S, self._flush)
        self.settle()

    def _chunks(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.wire.send(chunk(piece))
            self._unsettled.sent(len(piece), self.wire.written)
            self._touch()

    def _flush(self) -> None:
        self._timers.pop("hold", None)
        if not self.closed:
            self._chunks(self._framer.flush())
            self.settle()

    def _write_half(self, message: Message) -> None:
        """Write half of a chunk with the message, and end the connection."""
        ending, reason = self._cut_next or ("cut", "cut")
        self._chunks(self._framer.flush())
        payload = message.line + LINE_END
        if self._compressor is not None:
            payload = self._compressor.add(payload)
        whole = chunk(payload)
        half = whole[: len(whole) // 2]
        self.wire.send(half)
        self.settle()
        self._log_entry(message, "cut", len(half))
        self._end(ending, reason)

    # Ending.

    def finish(self, reason: str) -> None:
        """Write everything that is held and the last chunk, then close: a clean end."""
        if not self.open:
            return
        self._release()
        pieces = self._framer.flush()
        if self._compressor is not None:
            pieces.append(self._compressor.finish())
        self._chunks(pieces)
        self.wire.send(LAST_CHUNK)
        self._end("finish", reason)

    def cut(self, reason: str) -> None:
        """Close without the last chunk; everything that was written is sent."""
        if self.open:
            self._chunks(self._framer.flush())
            self._end("cut", reason)

    def reset(self, reason: str) -> None:
        """Close with an RST; bytes that the kernel has not taken are lost."""
        if self.open:
            self._end("reset", reason)

    def abort(self, reason: str) -> None:
        """Close at once, because the reader is too slow."""
        if self.open:
            self.settle()
            self._ending = "cut", reason
            self.wire.abort()

    def break_chunk(self, reason: str) -> None:
        """Write a chunk whose length is not a number, and close."""
        if self.open:
            self._chunks(self._framer.flush())
            self.wire.send(b"xyz\r\n{}\r\n")
            self._end("cut", reason)

    def cut_next(self, ending: Ending, reason: str) -> None:
        """End the connection in the middle of the next post."""
        self._cut_next = ending, reason

    def stall(self, seconds: float) -> None:
        """Write nothing for a while, not even keep-alives; posts wait."""
        self._stalled_until = self._loop.time() + seconds
        self._timer("stall", seconds, self._release)

    def _end(self, ending: Ending, reason: str) -> None:
        self.settle()
        self._ending = ending, reason
        if ending == "reset":
            self.wire.reset()
        else:
            self.wire.close()

    def _release(self) -> None:
        self._stalled_until = 0.0
        held, self._held, self._held_bytes = self._held, deque(), 0
        for message in held:
            self.post(message)

    # Logging.

    def settle(self) -> None:
        """Log the posts that the kernel has taken."""
        if not self.closed:
            self._settle_to(self.wire.taken)

    def _settle_to(self, taken: int) -> None:
        self._taken = max(taken, self._taken)
        for message, size in self._unsettled.settle(taken):
            self._log_entry(message, "written", size)

    def _give_up(self) -> None:
        for message in (*self._unsettled.give_up(), *self._held):
            self._log_entry(message, "cut", 0)
        self._held.clear()

    def _log_entry(self, message: Message, outcome: Literal["written", "cut", "dropped"], size: int) -> None:
        self._log.add(
            outcome,
            post_id=message.post_id,
            connection=self.id,
            at=self._clock.now(),
            rule_ids=message.rule_ids,
            tags=message.tags,
            size=size,
            origin=message.origin,
        )
        if outcome == "written":
            self.record.posts += 1
            self.record.last_id = str(message.post_id)
            self.record.first_id = self.record.first_id or self.record.last_id
        if not self.closed:
            self.record.bytes = self._taken

    # Time.

    def _touch(self) -> None:
        self._last_byte = self._loop.time()

    def _keep_alive(self) -> None:
        jitter = self._settings.keepalive_jitter_s
        after = self._settings.keepalive_s + self._random.uniform(0, jitter)
        silent = self._loop.time() - self._last_byte
        # Writing does not move the timer; when it fires, the time of the last byte decides.
        left = after - silent
        if left <= 0.001 and self.open and not self.stalled:  # noqa: PLR2004 - timer slack
            self._write(KEEP_ALIVE, None)
            left = after
        self._timer("keep-alive", max(left, 0.01), self._keep_alive)

    def _slow(self) -> None:
        self.abort("slow_reader")

    def _timer(self, name: str, delay: float, callback: Callable[[], None]) -> None:
        self._cancel(name)
        if not self.closed:
            self._timers[name] = self._loop.call_later(delay, callback)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
