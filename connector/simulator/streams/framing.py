"""Messages as chunks of HTTP: one chunk each, several in a chunk, or cut anywhere."""

from __future__ import annotations

import itertools
import random
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.simulator.settings import Framing

MERGED_BYTES = 16 * 1024
LAST_CHUNK = b"0\r\n\r\n"
MAX_PIECES = 4


def chunk(payload: bytes) -> bytes:
    """Return a payload as one chunk of the HTTP framing."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class Framer:
    """
    Cuts the payload of one connection into chunks.

    `message`: each message is a chunk.  `merged`: a chunk has several messages, about 16 KiB.  `split`: a chunk may end
    at any byte, even inside CR LF or a character, and may have the end of one message and the beginning of the next.
    """

    def __init__(self, framing: Framing, *, seed: int) -> None:
        self._framing = framing
        self._random = random.Random(seed)
        self._held = b""

    def add(self, message: bytes) -> list[bytes]:
        """Return the pieces that become chunks now, and hold the rest."""
        if self._framing == "message":
            return [message]
        self._held += message
        if self._framing == "merged":
            return self.flush() if len(self._held) >= MERGED_BYTES else []
        return self._split()

    def flush(self) -> list[bytes]:
        """Return the bytes that are held, as the last piece."""
        held, self._held = self._held, b""
        return [held] if held else []

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def _split(self) -> list[bytes]:
        held, size = self._held, len(self._held)
        # Every second time one cut is inside the CR LF at the end.
        cuts = (
            {self._random.randrange(1, size) for _ in range(self._random.randint(1, MAX_PIECES))} if size > 1 else set()
        )
        if size > 1 and self._random.random() < 0.5:  # noqa: PLR2004
            cuts.add(size - 1)
        edges = [0, *sorted(cuts), size]
        pieces = [held[a:b] for a, b in itertools.pairwise(edges)]
        self._held = pieces.pop()
        return pieces


class Compressor:
    """Compresses a stream with gzip, and flushes after each message, so that each message arrives whole."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def add(self, message: bytes) -> bytes:
        return self._zlib.compress(message) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._zlib.flush()
