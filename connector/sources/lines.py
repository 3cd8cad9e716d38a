"""
Which lines are in the bytes that arrived, and which of them are posts?

A body arrives in pieces that end anywhere, inside a `\\r\\n` and inside a UTF-8 sequence too.  Lines are X's bytes
without their end; an empty line is a keep-alive (docs.x.com: consuming-streaming-data).
"""

from collections.abc import Sequence

import msgspec

POST_PREFIX = b'{"data":{'
"""How nearly every line begins, so that it need not be parsed here."""

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deep."""


class LineTooLong(Exception):
    """A line without end is longer than the limit."""


class LineSplitter:
    """
    Cuts pieces into lines and keeps the unfinished rest.

    `rest` is what no line end followed; `limit` bytes of it are the most that is kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # a list, so that a long line in many pieces is not copied once per piece
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    @property
    def rest(self) -> bytes:
        """The begin of a line whose end has not arrived, without a trailing CR."""
        return b"".join(self._rest).removesuffix(b"\r")

    def split(self, piece: bytes) -> list[bytes]:
        """
        Return the lines that *piece* completes, empty ones included.

        Raises:
            LineTooLong: the unfinished line grows over the limit.
        """
        lines = piece.split(b"\n")  # on one byte: twice as fast as on CR LF, and the piece is not copied before
        rest = lines.pop()
        if lines and self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest.clear()
            self._rest_bytes = 0
        self._keep(rest)
        return [line.removesuffix(b"\r") for line in lines]

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._rest.append(piece)
            self._rest_bytes += len(piece)
        if self._rest_bytes > self._limit:
            raise LineTooLong


class _Kind(msgspec.Struct):
    """Enough of a line to tell a post from an error; the rest is skipped, not decoded."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    errors: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET


_kind = msgspec.json.Decoder(_Kind)


def is_error(line: bytes) -> bool:
    """
    Tell whether *line* is X ending the stream instead of a post.

    Keys come in any order, and a post may carry `errors` about things it refers to beside its `data`: only a line
    without `data` is an error.  A line that is not JSON is not one either: it goes on, to be judged as a record.
    """
    if line.startswith(POST_PREFIX) or not (b'"errors"' in line or b"/problems/" in line):
        return False
    try:
        kind = _kind.decode(line)
    except NOT_JSON:
        return False
    if kind.data is not msgspec.UNSET and bytes(kind.data) != b"null":
        return False
    # a problem may also stand alone, as in the body of an HTTP error
    return kind.errors is not msgspec.UNSET or "/problems/" in (kind.type or "")


def sort(lines: Sequence[bytes]) -> tuple[tuple[bytes, ...], bytes | None]:
    """Return the posts among *lines*, in order, and the first error line if there is one; keep-alives fall away."""
    posts: list[bytes] = []
    error: bytes | None = None
    for line in lines:
        if line.startswith(POST_PREFIX):
            posts.append(line)
        elif not line:
            continue
        elif not is_error(line):
            posts.append(line)
        elif error is None:
            error = line
    return tuple(posts), error


def is_whole(rest: bytes) -> bool:
    """Tell whether *rest* is a complete JSON object that only lacks its line end."""
    try:
        return isinstance(msgspec.json.decode(rest), dict)
    except NOT_JSON:
        return False
