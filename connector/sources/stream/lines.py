"""
Which lines are in the bytes that arrived, and which of them are posts?

A body arrives in pieces that end anywhere, inside a `\\r\\n` and inside a UTF-8 sequence too.  Lines are X's bytes
without their end; an empty line is a keep-alive (docs.x.com: consuming-streaming-data).
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from connector.records.scanner import members, whole_pairs

POST_PREFIX = b'{"data":{'
"""How nearly every line begins, so that it need not be parsed here."""

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or JSON that it does not take."""

FIRST_ERROR_STATUS = 400

ENDING_TYPES = frozenset(
    {
        "operational-disconnect",
        "client-disconnected",
        "streaming-connection",
        "credits",
        "usage-capped",
        "rate-limit-exceeded",
        "client-forbidden",
        "unsupported-authentication",
        "conflict",
        "internal-error",
        "invalid-request",
        "invalid-rules",
    }
)
"""Types of problems, by the end of their path, with which X ends a stream or refuses it (OpenAPI 2.166)."""

ENDING_TITLES = frozenset(
    {"operational-disconnect", "ConnectionException", "CreditsDepleted", "SpendCapReached", "UsageCapExceeded"}
)

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
    status: int | msgspec.UnsetType = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET


_kind = msgspec.json.Decoder(_Kind)


def is_error(line: bytes) -> bool:
    """
    Tell whether *line* is X speaking of an error instead of a post.

    Keys come in any order, and a post may carry `errors` about things it refers to beside its `data`: only a line
    without `data` is an error.  A line that is not JSON is not one either: it goes on, to be judged as a record.
    """
    if line.startswith(POST_PREFIX) or not (b'"errors"' in line or b"/problems/" in line or b'"status"' in line):
        return False
    try:
        kind = _kind.decode(line)
    except _REFUSED:
        return _is_error_by_grammar(line)
    if kind.data is not msgspec.UNSET and bytes(kind.data) != b"null":
        return False
    # a problem may also stand alone, as in the body of an HTTP error
    is_alone = kind.status is not msgspec.UNSET and kind.title is not msgspec.UNSET
    return kind.errors is not msgspec.UNSET or "/problems/" in (kind.type or "") or is_alone


def _is_error_by_grammar(line: bytes) -> bool:
    try:
        found = members(line)
    except ValueError:
        return False
    if found.get("data", b"null") != b"null":
        return False
    return "errors" in found or b"/problems/" in found.get("type", b"") or {"status", "title"} <= found.keys()


def has_data(line: bytes) -> bool:
    """Tell whether *line* has what makes a post; one that is no JSON may have it."""
    try:
        return line.startswith(POST_PREFIX) or _kind.decode(line).data is not msgspec.UNSET
    except _REFUSED:
        pass
    try:
        return "data" in members(line)
    except ValueError:
        return True


def ends_stream(line: bytes) -> bool:
    """
    Tell whether the error *line* says that the stream ends, or that there is none.

    One about a resource (a post that was not found, a field that is not for this account) says neither; nor does one
    that says nothing, and should X close after it, that is the end.
    """
    error = _error_in(line)
    status = error.get("status")
    if isinstance(status, int) and status >= FIRST_ERROR_STATUS:  # the body of an HTTP error
        return True
    listed = error.get("errors")
    return any(_is_end(one) for one in (error, *(listed if isinstance(listed, list) else ())) if isinstance(one, dict))


def _error_in(line: bytes) -> dict[str, Any]:
    """Return what *line* holds, as far as a parser can read it."""
    try:
        error = msgspec.json.decode(line)
    except _REFUSED:
        error = {}
        try:
            found = members(line)
        except ValueError:
            return {}
        for name, value in found.items():
            with contextlib.suppress(*_REFUSED):
                error[name] = msgspec.json.decode(whole_pairs(value))
    return error if isinstance(error, dict) else {}


def _is_end(error: dict[str, object]) -> bool:
    if error.get("disconnect_type") or error.get("connection_issue"):
        return True
    kind, title, code = error.get("type"), error.get("title"), error.get("code")
    suffix = kind.rstrip("/").rpartition("/")[2] if isinstance(kind, str) else ""
    # what v1.1 answered instead of a stream had a number
    return (
        suffix in ENDING_TYPES
        or (isinstance(title, str) and title in ENDING_TITLES)
        or (isinstance(code, int) and not suffix)
    )


def sort(
    lines: Sequence[bytes], remarks: Callable[[bytes], None] = lambda _: None
) -> tuple[tuple[bytes, ...], bytes | None]:
    """
    Return the posts among *lines*, in order, and the first line that ends the stream, if there is one.

    Other error lines go to *remarks*; keep-alives fall away.
    """
    posts: list[bytes] = []
    end: bytes | None = None
    for line in lines:
        if line.startswith(POST_PREFIX):
            posts.append(line)
        elif not line:
            continue
        elif not is_error(line):
            posts.append(line)
        elif not ends_stream(line):
            remarks(line)
        elif end is None:
            end = line
    return tuple(posts), end


def is_whole(rest: bytes) -> bool:
    """Tell whether *rest* is a complete JSON object that only lacks its line end."""
    try:
        members(rest)
    except ValueError:
        return False
    return True
