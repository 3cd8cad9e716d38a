"""What a value format with a schema is: the schema that it registers, and how it writes a post."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from connector.formats.schemas.wire import head

SchemaType = Literal["AVRO", "JSON", "PROTOBUF"]


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as a registry knows it: its *type*, its *text*, and the full *name* of the record that it describes."""

    type: SchemaType
    text: str
    name: str


class Unfitting(ValueError):
    """A schema cannot describe a post; the message is the rest of a sentence."""


class Writer(Protocol):
    """Writes posts by one schema."""

    @property
    def schema(self) -> Schema:
        """The schema that `body` writes by."""

    @property
    def after_id(self) -> bytes:
        """What stands between the id of `schema` and the body."""

    def body(self, value: Any) -> bytes:
        """
        Return *value*, a post as `connector.formats.post` has it, without a head.

        Raises:
            ValueError: *value* does not fit the schema; the message says where.
        """

    def at_once(self, *, with_raw: bool) -> Callable[[bytes], bytes | None] | None:
        """
        Return what makes of a line of X the `body` of its post, with *with_raw* also the line; None if nothing does.

        It returns None for a line that has to be made into a post first.
        """

    def by(self, text: str) -> "tuple[bytes, Callable[[bytes], bytes] | None]":
        """
        Return how to write by another version of the schema, *text*: what stands after the id, and what makes a body
        by that version of one by `schema`; None if they are the same.

        Raises:
            Unfitting: a post cannot be written by that version.
        """


@dataclass(frozen=True, slots=True)
class Stamp:
    """Makes a value of a body: *head* stands before it, *change* brings it into another version of the schema."""

    head: bytes
    change: Callable[[bytes], bytes] | None = None

    def of(self, body: bytes) -> bytes:
        """Return the value of *body*."""
        return self.head + (body if self.change is None else self.change(body))


def stamp_of(writer: Writer, schema_id: int, text: str | None) -> Stamp:
    """
    Return the stamp of a registered schema; *text* is the schema if it is not the writer's own.

    Raises:
        Unfitting: a post cannot be written by *text*.
        ValueError: *schema_id* is no id.
    """
    after, change = (writer.after_id, None) if text is None else writer.by(text)
    return Stamp(head(schema_id, after), change)
