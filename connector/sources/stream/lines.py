"""
Splits the bytes of a stream into lines, and tells posts from errors.

A body arrives in pieces that can end anywhere, even inside a `\\r\\n` or a UTF-8 sequence.  A line is X's bytes without
the line end; an empty line is a keep-alive (docs.x.com: consuming-streaming-data).
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from connector.records.scanner import members, whole_pairs

POST_PREFIX = b'{"data":{'
"""The begin of nearly every line with a post; a line that begins so is not parsed here."""

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON or not UTF-8, or for JSON that msgspec does not support."""

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
"""Problem types with which X ends or refuses a stream: the last part of their path (OpenAPI 2.166)."""

ENDING_TITLES = frozenset(
    {"operational-disconnect", "ConnectionException", "CreditsDepleted", "SpendCapReached", "UsageCapExceeded"}
)

CR = 0x0D


class LineTooLong(Exception):
    """A line whose end has not arrived is longer than the limit."""


class LineSplitter:
    """
    Splits pieces into lines and keeps the begin of an unfinished line, at most *limit* bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # a list of pieces, so that a long line is copied once, not once for each piece
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    @property
    def rest(self) -> bytes:
        """The begin of a line whose end has not arrived, without a trailing CR."""
        return b"".join(self._rest).removesuffix(b"\r")

    @property
    def has_rest(self) -> bool:
        """Whether a line has begun, even if only a CR of it has arrived; cheaper than `rest`, as nothing is copied."""
        return bool(self._rest)

    def split(self, piece: bytes, spans: Iterable[tuple[int, int]] | None = None) -> list[bytes]:
        """
        Return the lines that *piece* completes, empty lines included.

        Only the bytes in *spans* of *piece* belong to the body; with None all bytes do.  A chunk is usually one line:
        the line is then found by one search for its end, and copied once, without CR LF, out of *piece*.

        Raises:
            LineTooLong: the unfinished line is longer than the limit.
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
    """The members of a line that tell a post from an error; msgspec skips all others without decoding them."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    errors: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    status: int | msgspec.UnsetType = msgspec.UNSET
    title: str | msgspec.UnsetType = msgspec.UNSET


_kind = msgspec.json.Decoder(_Kind)


def is_error(line: bytes) -> bool:
    """
    Tell whether *line* is an error of X instead of a post.

    Keys come in any order.  A post may have `errors`, about things that it refers to, beside its `data`; so only a line
    without `data` is an error.  A line that is not JSON is not an error here: the converter judges it as a record.
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
    """Tell whether *line* has the member `data`, as every post does; True also for a line that is not JSON."""
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
    Tell whether the error *line* says that the stream ends, or that X refuses the stream.

    An error about a resource (a post that was not found, a field that this account may not read) does not end the
    stream.  An error of an unknown kind does not end it either: if X closes the connection next, that is the end.
    """
    error = _error_in(line)
    status = error.get("status")
    if isinstance(status, int) and status >= FIRST_ERROR_STATUS:  # the body of an HTTP error
        return True
    listed = error.get("errors")
    return any(_is_end(one) for one in (error, *(listed if isinstance(listed, list) else ())) if isinstance(one, dict))


def _error_in(line: bytes) -> dict[str, Any]:
    """Return the object in *line*; members that cannot be decoded are missing."""
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
    # an error of v1.1 has a number and no type
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

    *remarks* is called with each other error line; keep-alives are dropped.
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
