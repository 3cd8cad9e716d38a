"""
Finds who wrote the post in a value of a topic, whatever format it has.

    not 0 ─────────▶ JSON: X's line, or a post, perhaps with its schema beside it
    0, id, "{" ────▶ JSON with a schema
    0, id, other ──▶ Avro, if a released schema fits to the end; else Protobuf, if its id is the post's
"""

from typing import Any, Literal, NamedTuple

import msgspec

from connector.formats.post.declaration import POST, VERSION
from connector.formats.schemas import protobuf_author
from connector.formats.schemas.avro_author import AvroAuthors, of_version
from connector.formats.schemas.wire import BODY_AT
from connector.records.post import MAX_DIGITS, MAX_ID, payload_of

Lack = Literal["no_author", "no_format"]
"""Why an author is not known: the post has none, or the value has none of the formats that are known."""


class Author(NamedTuple):
    """Who wrote a post (0: not known, for the reason *lack*), and whether the post has a location."""

    id: int
    geo: bool = False
    lack: Lack | None = None


class _Author(msgspec.Struct, gc=False):
    id: str | None = None


class _Fields(msgspec.Struct, gc=False):
    author_id: str | None = None
    author: _Author | None = None
    geo: Any = None
    place: Any = None
    coordinates: Any = None


class _Value(_Fields, gc=False):
    data: _Fields | None = None


_decode = msgspec.json.Decoder(_Value).decode
_FINDERS = (
    *(AvroAuthors(of_version(POST, version)).find for version in range(VERSION, 0, -1)),
    protobuf_author.find,
)


def author_in(value: bytes, post: bytes) -> Author:
    """Return the author of *post*, an id in digits, whose *value* anybody may have written."""
    if value[:1] != b"\0":
        return _in_json(payload_of(value))
    if value[BODY_AT : BODY_AT + 1] == b"{":  # an odd number: neither the length of a text, nor that of places
        return _in_json(memoryview(value)[BODY_AT:])
    for find in _FINDERS:
        try:
            author, geo = find(value, BODY_AT, post)
        except (ValueError, IndexError):
            continue
        return _author(author, geo=geo)
    return Author(0, lack="no_format")


def _in_json(value: bytes | memoryview) -> Author:
    try:
        found = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Author(0, lack="no_format")
    fields = found if found.data is None else found.data
    text = fields.author_id or (fields.author.id if fields.author is not None else None)
    return _author(text.encode() if text else None, geo=bool(fields.geo or fields.place or fields.coordinates))


def _author(text: bytes | None, *, geo: bool) -> Author:
    number = id_in(text)
    return Author(number, geo, None if number else "no_author")


def id_in(text: bytes | None) -> int:
    """Return the id of a post or a user that *text* is; 0 if it is none."""
    if not text or len(text) > MAX_DIGITS or not text.isdigit():
        return 0
    number = int(text)
    return number if number <= MAX_ID else 0
