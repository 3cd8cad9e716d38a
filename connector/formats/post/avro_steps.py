"""
How the compiled form (`connector/formats/schemas/_avro.c`) writes a `Post` in Avro: steps, made of the declaration.

A record of the schema is written by its steps in turn, from the members of the object of X that it stands for.
`Field.x` says where each has its value:

    a, a.b             that member
    a[0]               an item of that member, a list of two
    a, includes.b      what X sent along in `includes.b` under the key that is there, or the keys; else the key alone
    includes.b         the post that X sent along under the `id` of the object, if it did
    a, note_tweet.a    the same of the whole text, which may be another post's
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connector.formats.post.model import Field, ListOf, RecordType, Scalar

BESIDE_DATA = "matching_rules"
"""The member of a line that stands beside `data` and that a post has as a list."""
_INCLUDES, _NOTE = "includes.", "note_tweet"
_REFERENCES, _TYPE, _ID = "referenced_tweets", "type", "id"

Step = tuple[str, int, int, tuple[bytes, ...], bool, int, int]
"""
What is done; the slot of the member; a second slot, or the place in a list; the members in that one, from the outside;
whether it may be absent; the record that is written; the list of `includes` that is looked through.  -1 is none.
"""
Record = tuple[tuple[bytes, ...], tuple[Step, ...]]
"""The members that are read, in the order of their slots, and the steps; the first member is the key."""
Program = tuple[tuple[Record, ...], tuple[bytes, ...], tuple[int, int, int, int, int]]
"""
The records, each behind those in it, the post last; the lists of `includes`; and where a post says that it is a repost:
the slot of its references, the record of one, its slots of `type` and `id`, the list of posts.
"""


def program(post: RecordType, *, with_raw: bool) -> Program:
    """
    Return the steps for *post*; with *with_raw* it gets its line, too.

    Raises:
        ValueError: no step can write one of its fields.
    """
    return _Maker(with_raw=with_raw).program(post)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value is: *member* of the object, in it the members *path*, and *item* of a list."""

    member: str
    path: tuple[bytes, ...] = ()
    item: int = -1


class _Maker:
    def __init__(self, *, with_raw: bool) -> None:
        self._with_raw = with_raw
        self._records: dict[str, Record] = {}
        self._sources: dict[str, int] = {}

    def program(self, post: RecordType) -> Program:
        self._add(post)
        members = self._records[post.name][0]
        reference = next(each.record for each in post.fields if each.x == _REFERENCES)
        if reference is None:
            raise ValueError(f"the references of {post.name} are no records")
        inside = self._records[reference.name][0]
        repost = (
            members.index(_REFERENCES.encode()),
            self._number_of(reference),
            inside.index(_TYPE.encode()),
            inside.index(_ID.encode()),
            self._sources["tweets"],
        )
        return tuple(self._records.values()), tuple(name.encode() for name in self._sources), repost

    def _add(self, record: RecordType) -> None:
        for field in record.fields:
            if field.record is not None and field.record.name not in self._records:
                self._add(field.record)
        slots: dict[str, int] = {}
        steps = [self._step(field, slots) for field in record.fields]
        self._records[record.name] = tuple(name.encode() for name in slots), tuple(steps)

    def _step(self, field: Field, slots: dict[str, int]) -> Step:
        number = -1 if field.record is None else self._number_of(field.record)
        if not field.x:
            return "raw" if self._with_raw else "absent", -1, -1, (), field.nullable, number, -1
        if field.x == BESIDE_DATA:
            return "rules", -1, -1, (), field.nullable, number, -1
        first, _, other = field.x.partition(", ")
        source = next((each for each in (other, first) if each.startswith(_INCLUDES)), "")
        place = _place(_ID if source == first else first)
        slot, second = _slot(place.member, slots), place.item
        path = place.path
        if other.startswith(f"{_NOTE}."):
            second, path = _slot(_NOTE, slots), (place.member.encode(),)
        done = _REFERENCED if source == first else _done(field, place, other)
        return done, slot, second, path, field.nullable, number, self._source(source)

    def _number_of(self, record: RecordType) -> int:
        return list(self._records).index(record.name)

    def _source(self, source: str) -> int:
        if not source:
            return -1
        return self._sources.setdefault(source.removeprefix(_INCLUDES), len(self._sources))


_REFERENCED = "referenced"
_SCALARS: Mapping[Scalar, str] = {
    Scalar.STRING: "string",
    Scalar.LONG: "long",
    Scalar.DOUBLE: "double",
    Scalar.BOOLEAN: "boolean",
    Scalar.TIMESTAMP: "moment",
}
_LISTS: Mapping[Scalar, str] = {Scalar.STRING: "strings", Scalar.DOUBLE: "doubles"}


def _done(field: Field, place: _Place, other: str) -> str:
    """Return what is done for a *field* whose value is at *place* or also at *other*."""
    sent_along = other.startswith(_INCLUDES)
    match field.type:
        case ListOf(item):
            if not isinstance(item, RecordType) and item not in _LISTS:
                raise ValueError(f"{field.name}: no step writes a list of type {item}")
            plain = "records" if isinstance(item, RecordType) else _LISTS[item]
            return "joined_list" if sent_along else plain
        case RecordType():
            return "joined" if sent_along else "whole" if other else "record"
        case Scalar.TIMESTAMP if field.required:
            return "made"
        case kind:
            return "text" if other else "item" if place.item >= 0 else _SCALARS[kind]


def _place(x: str) -> _Place:
    names: Sequence[str] = x.removesuffix("]").replace("[", ".").split(".")
    item = int(names[-1]) if x.endswith("]") else -1
    if item >= 0:
        names = names[:-1]
    return _Place(names[0], tuple(name.encode() for name in names[1:]), item)


def _slot(member: str, slots: dict[str, int]) -> int:
    return slots.setdefault(member, len(slots))
