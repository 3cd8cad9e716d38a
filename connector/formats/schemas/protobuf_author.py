"""
Finds who wrote a post in Protobuf's binary form, by the numbers of its fields, without the extra `schema`.

Numbers never change, so it reads posts of earlier and later versions, too.
"""

from collections.abc import Iterator
from enum import IntEnum

from connector.formats.post.declaration import POST, USER

FIELDS_MAX = 10_000
"""Most fields that are read of one message."""

_NESTED_MAX = 8
_VARINT_BYTES_MAX = 10

_NUMBERS = {field.name: field.number for field in POST.fields}
_ID, _AUTHOR = _NUMBERS["id"], _NUMBERS["author"]
_LOCATIONS = (_NUMBERS["place"], _NUMBERS["coordinates"])
(_USER_ID,) = (field.number for field in USER.fields if field.name == "id")


class _Wire(IntEnum):
    """How a field is written."""

    VARINT = 0
    EIGHT = 1
    LENGTH = 2
    FOUR = 5


def find(value: bytes, at: int, post: bytes) -> tuple[bytes | None, bool]:
    """
    Return the id of the author of *post*, None if it has none, and whether it has a location.

    The place of the message in its file begins at *at*, then the message.

    Raises:
        ValueError, IndexError: it is not this post, or no message.
    """
    found, author, geo = b"", None, False
    for number, begin, end in _fields(value, _behind_places(value, at), len(value)):
        if number == _ID:
            found = value[begin:end]
        elif number == _AUTHOR:
            for inner, inner_begin, inner_end in _fields(value, begin, end):
                if inner == _USER_ID:
                    author = value[inner_begin:inner_end]
        elif number in _LOCATIONS:
            geo = True
    if found != post:
        raise ValueError("it is not the post")
    return author, geo


def _behind_places(value: bytes, at: int) -> int:
    """Return where the message begins: behind how many places there are, and these; a single 0 is the first message."""
    places, at = _varint(value, at)
    if places & 1 or places >> 1 > _NESTED_MAX:
        raise ValueError("it does not say which message it is")
    for _ in range(places >> 1):
        _, at = _varint(value, at)
    return at


def _fields(value: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field with a length, and where its content begins and ends."""
    for _ in range(FIELDS_MAX):
        if at == end:
            return
        tag, at = _varint(value, at)
        match tag & 7:
            case _Wire.VARINT:
                _, at = _varint(value, at)
            case _Wire.EIGHT:
                at += 8
            case _Wire.LENGTH:
                length, at = _varint(value, at)
                begin, at = at, at + length
                if at <= end:
                    yield tag >> 3, begin, at
            case _Wire.FOUR:
                at += 4
            case _:
                raise ValueError("there is no such type of a field")
        if at > end:
            raise ValueError("a field goes beyond its message")
    raise ValueError("it has too many fields")


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, and where it ends."""
    number = shift = 0
    for place in range(at, at + _VARINT_BYTES_MAX):
        byte = value[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one
            return number, place + 1
        shift += 7
    raise ValueError("a number has too many bytes")
