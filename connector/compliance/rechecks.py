"""What is asked of X about posts that were delivered before, and what X answers."""

import threading
from collections.abc import Callable
from typing import Final

import msgspec

FOUND: Final = "found"
"""X has the post, and charges for it."""
GONE: Final = frozenset({"resource-not-found", "not-authorized-for-resource"})
"""What X says of a post that nobody may see any more: deleted, of a user who is gone or has hidden the posts."""
UNCLEAR: Final = "unclear"
"""X has said neither: it has to be asked again."""


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What X says of *post*: `FOUND`, one of `GONE`, or `UNCLEAR`."""

    post: int
    says: str


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Answer).decode


def line_of(post: int, says: str) -> bytes:
    """Return the line of an answer."""
    return _encode(Answer(post, says))


def read(line: bytes) -> Answer:
    """
    Return what `line_of` wrote.

    Raises:
        msgspec.DecodeError: *line* is none.
    """
    return _decode(line)


class Handover:
    """The posts that X is to be asked about next: from the event loop to the reader thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._posts: tuple[int, ...] = ()

    def want(self, posts: tuple[int, ...]) -> None:
        """Let X be asked about *posts*, perhaps none, in place of those before.  Any thread."""
        with self._condition:
            self._posts = posts
            self._condition.notify_all()

    def wake(self) -> None:
        """Let `next` look whether it is over.  Any thread."""
        with self._condition:
            self._condition.notify_all()

    def next(self, last: tuple[int, ...] | None, secs: float, *, over: Callable[[], bool]) -> tuple[int, ...]:
        """
        Return what is wanted as soon as it is another tuple than *last*; empty after *secs*, or once it is *over*.

        Reader thread.
        """
        with self._condition:
            self._condition.wait_for(lambda: over() or (self._posts and self._posts is not last), secs)
            return () if over() or self._posts is last else self._posts
