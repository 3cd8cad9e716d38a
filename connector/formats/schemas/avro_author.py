"""
Finds who wrote a post in Avro's binary form, without the registry and without the extra `schema`.

The binary form does not say which schema it follows.  So a value counts as a post only if it begins with the post's id
and can be read to its very end by a released schema: another schema does not fit by accident.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from connector.formats.post.model import ListOf, RecordType, Scalar

ITEMS_MAX = 10_000
"""Most items of lists that are passed in one value."""

_VARINT_BYTES_MAX = 10
_NULL, _SECOND = 0, 2
"""The first and the second branch of a union, which are `null` and the type."""

Skip = Callable[[bytes, int, list[int]], int]
"""Returns where what begins at a place ends; the list has how many items may still be passed."""

Found = tuple[bytes | None, bool]
"""The id of the author, if the post has one, and whether the post has a location."""


class _Part(NamedTuple):
    name: str
    nullable: bool
    skip: Skip


def of_version(record: RecordType, version: int) -> RecordType:
    """Return *record* as it was in *version* of the schema."""
    fields = [field for field in record.fields if field.since <= version]
    return replace(record, fields=tuple(replace(field, type=_of_version(field.type, version)) for field in fields))


def _of_version(kind: Scalar | ListOf | RecordType, version: int) -> Scalar | ListOf | RecordType:
    if isinstance(kind, ListOf):
        item = kind.item
        return ListOf(of_version(item, version)) if isinstance(item, RecordType) else kind
    return of_version(kind, version) if isinstance(kind, RecordType) else kind


class AvroAuthors:
    """Reads posts that were written by the schema of *record*."""

    def __init__(self, record: RecordType) -> None:
        self._parts = _parts(record)

    def find(self, value: bytes, at: int, post: bytes) -> Found:
        """
        Return the author of *post*, which begins at *at*.

        Raises:
            ValueError, IndexError: it is not this post, or not by this schema.
        """
        if _text(value, at) != post:
            raise ValueError("it does not begin with the post's id")
        author: int | None = None
        geo, left = False, [ITEMS_MAX]
        for name, nullable, skip in self._parts:
            if nullable:
                branch = value[at]
                at += 1
                if branch == _NULL:
                    continue
                _check(branch)
            if name == "author":
                author = at
            elif name in ("place", "coordinates"):
                geo = True
            at = skip(value, at, left)
        if at != len(value):
            raise ValueError("it does not end where the schema ends")
        return None if author is None else _text(value, author), geo  # a user begins with its id


def _check(branch: int) -> None:
    if branch != _SECOND:
        raise ValueError("there is no such branch")


def _parts(record: RecordType) -> Sequence[_Part]:
    return [_Part(field.name, field.nullable, _skip_of(field.type)) for field in record.fields]


def _skip_of(kind: Scalar | ListOf | RecordType) -> Skip:
    if isinstance(kind, ListOf):
        return _list(_skip_of(kind.item))
    return _record(kind) if isinstance(kind, RecordType) else _SCALARS[kind]


def _record(record: RecordType) -> Skip:
    parts = [(part.nullable, part.skip) for part in _parts(record)]

    def skip_record(value: bytes, at: int, left: list[int]) -> int:
        for nullable, skip in parts:
            if nullable:
                branch = value[at]
                at += 1
                if branch == _NULL:
                    continue
                _check(branch)
            at = skip(value, at, left)
        return at

    return skip_record


def _list(skip: Skip) -> Skip:
    def skip_list(value: bytes, at: int, left: list[int]) -> int:
        while value[at]:
            count, at = _long(value, at)
            left[0] -= abs(count)
            if left[0] < 0:
                raise ValueError("it has too many items")
            if count < 0:  # then the block says how long it is
                size, at = _length(value, at)
                at += size
            for _ in range(count):
                at = skip(value, at, left)
        return at + 1

    return skip_list


def _long(value: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, and where it ends."""
    number = shift = 0
    for place in range(at, at + _VARINT_BYTES_MAX):
        byte = value[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one
            return (number >> 1) ^ -(number & 1), place + 1
        shift += 7
    raise ValueError("a number has too many bytes")


def _length(value: bytes, at: int) -> tuple[int, int]:
    length, at = _long(value, at)
    if length < 0:
        raise ValueError("a length is less than 0")
    return length, at


def _text(value: bytes, at: int) -> bytes:
    length, at = _length(value, at)
    return value[at : at + length]


def _skip_text(value: bytes, at: int, _: list[int]) -> int:
    byte = value[at]
    if byte < 0x80 and not byte & 1:  # noqa: PLR2004  # nearly all, without a call
        return at + 1 + (byte >> 1)
    length, at = _length(value, at)
    return at + length


def _skip_long(value: bytes, at: int, _: list[int]) -> int:
    if value[at] < 0x80:  # noqa: PLR2004
        return at + 1
    return _long(value, at)[1]


def _skip_double(_: bytes, at: int, __: list[int]) -> int:
    return at + 8


def _skip_boolean(_: bytes, at: int, __: list[int]) -> int:
    return at + 1


_SCALARS: dict[Scalar, Skip] = {
    Scalar.STRING: _skip_text,
    Scalar.LONG: _skip_long,
    Scalar.TIMESTAMP: _skip_long,
    Scalar.DOUBLE: _skip_double,
    Scalar.BOOLEAN: _skip_boolean,
}
