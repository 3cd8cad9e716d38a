"""What a client asks for with a connection, and the messages on their way to the client."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector.simulator.posts.rendering import Selection

if TYPE_CHECKING:
    from connector.simulator.streams.emissions import Origin

LINE_END = b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client asks for with its request."""

    endpoint: str
    selection: Selection = field(default_factory=Selection)
    partition: int | None = None
    """From 1."""
    language: str | None = None
    gzip: bool = False
    backfill_s: float = 0
    interval: tuple[float, float] | None = None
    """For a recovery: the time whose posts are replayed; then the connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A post on its way to one connection."""

    post_id: int
    line: bytes
    rule_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    origin: Origin = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsettled:
    message: Message
    ends_at: int
    """The count of payload bytes at the end of the message."""
    size: int


class Unsettled:
    """
    The messages that were written and that the kernel may not have taken yet.

    The end of a message is known as a count of payload bytes.  The kernel's progress is known as a count of bytes on
    the wire, where chunk frames are between the payload.  The ends of chunks connect both counts.
    """

    def __init__(self) -> None:
        self._accepted = 0
        """Bytes of payload accepted, those that the framer holds included."""
        self._sent = 0
        """Bytes of payload in chunks."""
        self._chunks: deque[tuple[int, int]] = deque()
        """For the end of each chunk: the count of payload bytes, and the count of bytes on the wire."""
        self._messages: deque[_Unsettled] = deque()

    def accept(self, payload: int, message: Message | None) -> None:
        """Count payload bytes for the framer; with them ends *message*."""
        self._accepted += payload
        if message is not None:
            size = len(message.line) + len(LINE_END)
            self._messages.append(_Unsettled(message=message, ends_at=self._accepted, size=size))

    def sent(self, payload: int, written: int) -> None:
        """Count a chunk of *payload* bytes; with it *written* bytes are on the wire."""
        self._sent += payload
        self._chunks.append((self._sent, written))

    def skip(self, payload: int) -> None:
        """Count payload bytes that hold no message."""
        self._accepted += payload
        self._sent += payload

    def settle(self, taken: int) -> list[tuple[Message, int]]:
        """Return the messages, and their sizes, that are within the *taken* bytes of the wire; forget them."""
        out = 0
        while self._chunks and self._chunks[0][1] <= taken:
            out = self._chunks.popleft()[0]
        settled = []
        while self._messages and self._messages[0].ends_at <= out:
            entry = self._messages.popleft()
            settled.append((entry.message, entry.size))
        return settled

    def give_up(self) -> list[Message]:
        """Return the messages that the kernel did not take whole, and forget them."""
        messages = [entry.message for entry in self._messages]
        self._messages.clear()
        return messages
