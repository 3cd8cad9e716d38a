"""
What the declaration of a value is made of: records, lists, and five scalar types.

Rules that hold for each field keep the schemas of all versions compatible, forwards and backwards: a field is required,
nullable, or a list; in a record that exists already, a new field is nullable or a list; and no field is ever renamed,
removed or given another type or number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Scalar(StrEnum):
    """The type of a single value."""

    STRING = "string"
    LONG = "long"
    """A whole number of 64 bits."""
    DOUBLE = "double"
    """A finite number."""
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    """UNIX time in milliseconds, as a whole number; between the years 1 and 9999."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one type, without nulls; empty if nothing else is known."""

    item: "Scalar | RecordType"


@dataclass(frozen=True, slots=True)
class Field:
    """
    A field of a record.

    *number* is the field's number in Protobuf, *about* a sentence for people, *x* where a line of X has it: a dotted
    path, empty for what X does not say in one place.  A *nullable* field may be absent.  *since* is the version of the
    schema that has the field first.
    """

    name: str
    number: int
    type: "Scalar | ListOf | RecordType"
    about: str
    x: str = ""
    nullable: bool = False
    since: int = 1

    @property
    def required(self) -> bool:
        """Whether each value of the record has this field."""
        return not self.nullable and not isinstance(self.type, ListOf)

    @property
    def record(self) -> "RecordType | None":
        """The record that the field, or each item of its list, is; None for scalars."""
        item = self.type.item if isinstance(self.type, ListOf) else self.type
        return item if isinstance(item, RecordType) else None


@dataclass(frozen=True, slots=True)
class RecordType:
    """A record: its name, unique in the schema, a sentence about it, and its fields in order."""

    name: str
    about: str
    fields: tuple[Field, ...]


def records_of(record: RecordType) -> Iterator[RecordType]:
    """Return *record* and all records in it, each once, in the order in which they are first mentioned."""
    found: dict[str, RecordType] = {}
    waiting = [record]
    while waiting:
        current = waiting.pop(0)
        if current.name not in found:
            found[current.name] = current
            waiting.extend(each.record for each in current.fields if each.record is not None)
    return iter(found.values())
