"""
The feed: prepared lines for benchmarks, written as fast as the socket takes them.

A block of lines is one chunk and is prepared once.  Before a block is written, the ids in its lines are overwritten, so
that each line is a new post.  The posts of a feed are not matched, billed or logged.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
import time
from typing import TYPE_CHECKING, Any

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.lexicon import WORDS
from connector.simulator.posts.rendering import Selection
from connector.simulator.snowflakes import first_id
from connector.simulator.streams.endpoints import FILTERED
from connector.simulator.streams.framing import chunk

if TYPE_CHECKING:
    from connector.simulator.clock import Clock
    from connector.simulator.posts.generator import Generator
    from connector.simulator.rules.store import Rule, RuleStore
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.connection import StreamConnection
    from connector.simulator.streams.streams import Streams

PADDING_WORDS = tuple(word for word in WORDS["en"] if word.isalnum())

DIFFERENT_LINES = 400
"""How many different lines a feed has: about a megabyte."""

MIN_LINE_BYTES = 350
RICH_LINE_BYTES = 1600
"""Lines of this size and above have more than the default fields."""

BLOCKS_AT_ONCE = 8
"""How many blocks are written before other connections and requests are served."""

FEED_SELECTION = Selection(
    post=frozenset(
        {
            "author_id",
            "conversation_id",
            "created_at",
            "entities",
            "lang",
            "public_metrics",
            "possibly_sensitive",
            "edit_controls",
            "context_annotations",
        }
    ),
    expansions=frozenset({"author_id"}),
    user=frozenset({"created_at", "description", "public_metrics", "username", "verified"}),
)


class FeedIds:
    """Consecutive snowflakes of the current time, for all connections."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> int:
        """Return the first of *count* consecutive new ids."""
        first = max(first_id(int(time.time() * 1000)), self._next)
        self._next = first + count
        return first


class Block:
    """The lines of one chunk, and the places of their ids and times."""

    def __init__(self, lines: list[bytes], ids: list[int]) -> None:
        payload = b"".join(line + b"\r\n" for line in lines)
        self.count = len(lines)
        self.payload_bytes = len(payload)
        self._bytes = bytearray(chunk(payload))
        self._places: list[tuple[int, int]] = []
        text = bytes(self._bytes)
        for number, post_id in enumerate(ids):
            quoted = re.escape(b"%d" % post_id)
            self._places += [(number, match.start()) for match in re.finditer(quoted, text)]
        self._times = [match.start(1) for match in re.finditer(rb'"created_at":"(20\d\d-[^"]{20})"', text)]
        self._second = -1

    def fill(self, first: int, second: int) -> bytes:
        """Return the chunk with ids from *first* on, and with *second* as time of creation."""
        buffer = self._bytes
        digits = [b"%d" % post_id for post_id in range(first, first + self.count)]
        for number, at in self._places:
            buffer[at : at + 19] = digits[number]
        if second != self._second:
            self._second = second
            stamp = rfc3339_second(second).encode()
            for at in self._times:
                buffer[at : at + 24] = stamp
        return bytes(buffer)


class FeedWriter:
    """Writes the feed to one connection, while the socket takes the bytes."""

    def __init__(self, connection: StreamConnection, feed: Feed, *, filtered: bool) -> None:
        blocks = feed.blocks(filtered=filtered)
        self._connection = connection
        self._filtered = filtered
        self._blocks = itertools.cycle(blocks)
        self._per_block = blocks[0].count
        self._feed = feed
        self._left = feed.lines
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._stopped = False
        self._schedule()

    def resumed(self) -> None:
        self._schedule()

    def stop(self) -> None:
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self) -> None:
        if self._handle is None and not self._stopped:
            self._handle = self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._handle = None
        connection = self._connection
        for _ in range(BLOCKS_AT_ONCE):
            if self._stopped or not connection.open:
                return
            if self._left is not None and self._left < self._per_block:
                self._last_lines()
                return
            block = next(self._blocks)
            first = self._feed.ids.take(block.count)
            connection.raw(block.fill(first, int(time.time())), payload=block.payload_bytes)
            self._count(first, block.count)
            if connection.backlog:
                return  # `resumed` continues
        self._schedule()

    def _last_lines(self) -> None:
        """Write the last lines of a bounded feed, then close or stay idle."""
        left, self._left = self._left or 0, 0
        if left:
            block = self._feed.block(left, filtered=self._filtered)
            first = self._feed.ids.take(left)
            self._connection.raw(block.fill(first, int(time.time())), payload=block.payload_bytes)
            self._count(first, left)
        self.stop()
        if self._feed.closes:
            self._connection.finish("feed_done")

    def _count(self, first: int, count: int) -> None:
        record = self._connection.record
        record.posts += count
        record.first_id = record.first_id or str(first)
        record.last_id = str(first + count - 1)
        self._feed.written += count
        if self._left is not None:
            self._left -= count


class Feed:
    """Prepares lines, and starts a writer for each connection."""

    def __init__(
        self, settings: SimulatorSettings, *, clock: Clock, generator: Generator, rules: RuleStore, streams: Streams
    ) -> None:
        self._clock, self._generator, self._rules, self._streams = clock, generator, rules, streams
        self._line_bytes = settings.line_bytes
        self.lines = settings.feed_lines
        self.closes = settings.feed_end == "close"
        self.ids = FeedIds()
        self.written = 0
        self._random = random.Random(settings.seed)
        if settings.line_bytes < MIN_LINE_BYTES:
            raise ValueError(f"line_bytes is at least {MIN_LINE_BYTES}: a post needs the room")
        self._per_block = max(settings.feed_chunk_bytes // settings.line_bytes, 1)
        self._selection = FEED_SELECTION if settings.line_bytes >= RICH_LINE_BYTES else Selection()
        self._blocks: dict[bool, tuple[list[Rule] | None, list[Block]]] = {}
        opened = streams.on_opened

        def begin(connection: StreamConnection) -> None:
            opened(connection)
            connection.writer = FeedWriter(connection, self, filtered=connection.wanted.endpoint == FILTERED)

        streams.on_opened = begin

    def blocks(self, *, filtered: bool) -> list[Block]:
        """Return the blocks for all filtered or for all volume streams; filtered lines have a rule in force now."""
        rules = self._held(filtered=filtered)
        known = self._blocks.get(filtered)
        if known is None or known[0] != rules:
            count = math.ceil(DIFFERENT_LINES / self._per_block)
            known = rules, [self.block(self._per_block, filtered=filtered) for _ in range(count)]
            self._blocks[filtered] = known
        return known[1]

    def _held(self, *, filtered: bool) -> list[Rule] | None:
        # Lines of volume streams have no matching rules.
        return self._rules.active()[:1] if filtered else None

    def block(self, count: int, *, filtered: bool) -> Block:
        """Return a block of *count* lines, each of exactly `line_bytes` bytes with its end."""
        lines, ids = [], []
        for _ in range(count):
            line, post_id = self._line(self._held(filtered=filtered))
            lines.append(line)
            ids.append(post_id)
        return Block(lines, ids)

    def _line(self, rules: list[Rule] | None) -> tuple[bytes, int]:
        size = self._line_bytes - 2
        while True:
            # A few tries are enough: `line_bytes` is above the mean size of a line with this selection.
            post = self._generator.post(self._clock.now())
            line = self._streams.delivery.line(post, self._selection, rules)
            if len(line) <= size:
                return _padded(line, size, self._random), post.id

    def state(self) -> dict[str, Any]:
        return {"lines": self.written, "per_chunk": self._per_block}


def _padded(line: bytes, size: int, rng: random.Random) -> bytes:
    """Return the line with words added to its text, so that the line has *size* bytes."""
    missing = size - len(line)
    # Random words, so that the lines compress like real posts.
    padding = "".join(f" {word}" for word in rng.choices(PADDING_WORDS, k=missing // 2 + 1)).encode()[:missing]
    # The first `text` is the text of the post; an unescaped quote ends the text.
    start = line.index(b'"text":"') + len(b'"text":"')
    end = re.compile(rb'(?<!\\)"').search(line, start)
    at = end.start() if end is not None else start
    return line[:at] + padding + line[at:]
