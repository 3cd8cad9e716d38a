"""
Which lines are in the bytes that arrived, and which of them are posts?

A body arrives in pieces that end anywhere, inside a `\\r\\n` and inside a UTF-8 sequence too.  Lines are X's bytes
without their end; an empty line is a keep-alive (docs.x.com: consuming-streaming-data).
"""

from collections.abc import Iterable, Sequence

import msgspec

POST_PREFIX = b'{"data":{'
"""How nearly every line begins, so that it need not be parsed here."""

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deep."""


CR = 0x0D


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

    @property
    def has_rest(self) -> bool:
        """Whether a line has begun, were it by a CR; `rest` without the copy."""
        return bool(self._rest)

    def split(self, piece: bytes, spans: Iterable[tuple[int, int]] | None = None) -> list[bytes]:
        """
        Return the lines that *piece* completes, empty ones included; *spans* of it count, or all if they are None.

        What a chunk holds is usually one line.  Then it is found by one look for its end, and copied once, without CR
        LF, out of what was received.

        Raises:
            LineTooLong: the unfinished line grows over the limit.
        """
        lines: list[bytes] = []
        rest = self._rest
        for begin, end in ((0, len(piece)),) if spans is None else spans:
            start = begin
            while start < end:
                at = piece.find(b"\n", start, end)
                if at < 0:
                    rest.append(piece[start:end])
                    self._rest_bytes += end - start
                    break
                if rest:
                    rest.append(piece[start:at])
                    lines.append(self.rest)
                    rest.clear()
                    self._rest_bytes = 0
                elif at > start and piece[at - 1] == CR:
                    lines.append(piece[start : at - 1])
                else:
                    lines.append(piece[start:at])
                start = at + 1
        if self._rest_bytes > self._limit:
            raise LineTooLong
        return lines


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
