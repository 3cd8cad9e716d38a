"""`value.format=protobuf`: Protobuf's binary form, with Google's library."""

from collections.abc import Callable
from typing import Any

from connector.formats.post.declaration import NAMESPACE
from connector.formats.post.model import Field, ListOf, RecordType, Scalar
from connector.formats.post.protobuf import schema_text
from connector.formats.post.protobuf_messages import message_class
from connector.formats.schemas.wire import message_indexes, place_of
from connector.formats.schemas.writer import Schema, Unfitting

_MS, _NANOS = 1_000, 1_000_000


class ProtobufWriter:
    """Writes a post, a dict with the times as whole numbers of milliseconds, as the message of *record*."""

    after_id = message_indexes((0,))

    def __init__(self, record: RecordType) -> None:
        self.schema = Schema("PROTOBUF", schema_text(record), f"{NAMESPACE}.{record.name}")
        self._name, self._make, self._timed = record.name, message_class(record), _with_moments(record)

    def body(self, value: Any) -> bytes:
        """As `Writer.body`."""
        try:
            return self._make(**self._timed(value)).SerializeToString()
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"it does not fit the Protobuf schema: {error!r:.200}") from error

    def at_once(self, *, with_raw: bool) -> None:
        """As `Writer.at_once`: nothing does."""

    def by(self, text: str) -> tuple[bytes, Callable[[bytes], bytes] | None]:
        """As `Writer.by`: numbers of fields never change, so only the place of the message may be another."""
        place = place_of(self._name, text)
        if place is None:
            raise Unfitting(f"it has no message {self._name}")
        return message_indexes((place,)), None


def _with_moments(record: RecordType) -> Callable[[Any], dict[str, Any]]:
    """Return a function that returns a value of *record* with Protobuf's messages for times."""
    moments = [field.name for field in record.fields if field.type is Scalar.TIMESTAMP]
    inner = [(field.name, change, isinstance(field.type, ListOf)) for field, change in _changes(record)]

    def change(value: Any) -> dict[str, Any]:
        changed = dict(value)
        for name in moments:
            if (ms := changed.get(name)) is not None:
                seconds, rest = divmod(ms, _MS)
                changed[name] = {"seconds": seconds, "nanos": rest * _NANOS}
        for name, its_change, listed in inner:
            if found := changed.get(name):
                changed[name] = list(map(its_change, found)) if listed else its_change(found)
        return changed

    return change


def _changes(record: RecordType) -> list[tuple[Field, Callable[[Any], dict[str, Any]]]]:
    """Return the fields of *record* that hold times somewhere inside, and what to do with their values."""
    return [
        (field, _with_moments(field.record)) for field in record.fields if field.record and _has_times(field.record)
    ]


def _has_times(record: RecordType) -> bool:
    return any(
        field.type is Scalar.TIMESTAMP or (field.record is not None and _has_times(field.record))
        for field in record.fields
    )
