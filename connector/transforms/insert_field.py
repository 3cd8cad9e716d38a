"""`InsertField`: adds what a record says of itself, or a fixed text, as a field."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from connector.config.chain import Setting
from connector.config.options import Conflict, Option, Unfit, boolean, text
from connector.transforms.part import object_in
from connector.transforms.record import Record

DOC = "Adds a field with the record's topic or timestamp, or with a fixed text."
_SUFFIXES = ("!", "?")


def _field(name: str) -> str:
    return name[:-1] if name.endswith(_SUFFIXES) else name


def _no_offset(_: str) -> str:
    raise Unfit(
        "is for sink connectors, as in Kafka Connect: a record has no offset before it is delivered. Remove it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `InsertField`."""

    topic_field: Annotated[
        str | None,
        Option(text(_field), "", "Name of a field for the topic. A suffix `!` or `?` is accepted, and without effect."),
    ] = None
    partition_field: Annotated[
        str | None,
        Option(
            text(_field), "", "Accepted; no such field is added, as a record has no partition before it is delivered."
        ),
    ] = None
    offset_field: Annotated[str | None, Option(text(_no_offset), "", "Refused: it is for sink connectors.", "LOW")] = (
        None
    )
    timestamp_field: Annotated[
        str | None, Option(text(_field), "", "Name of a field for the record's timestamp (UNIX milliseconds).")
    ] = None
    static_field: Annotated[str | None, Option(text(_field), "", "Name of a field for `static.value`.")] = None
    static_value: Annotated[str | None, Option(text(), "", "Text of that field.")] = None
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


def conflicts(options: Options, _: Setting) -> Iterable[Conflict]:
    """Yield what is wrong with several of *options* together."""
    chosen = (options.topic_field, options.partition_field, options.timestamp_field, options.static_field)
    names = ("topic.field", "partition.field", "timestamp.field", "static.field")
    if chosen == (None, None, None, None):
        yield Conflict((*names, "offset.field"), "is required, or timestamp.field or static.field: a field to add.")
    if (options.static_field is None) != (options.static_value is None):
        pair = ("static.value", "static.field")
        missing, other = pair if options.static_value is None else reversed(pair)
        yield Conflict((missing, other), f"is required with {other}.")


class InsertField:
    """Adds fields to an object; a null stays a null."""

    def __init__(self, options: Options) -> None:
        self._topic, self._timestamp = options.topic_field, options.timestamp_field
        self._static, self._text = options.static_field, options.static_value

    def change(self, content: Any, record: Record) -> Any:
        if content is None:
            return None
        changed = dict(object_in(content))
        if self._topic is not None:
            changed[self._topic] = record.topic
        if self._timestamp is not None:
            changed[self._timestamp] = record.timestamp_ms
        if self._static is not None:
            changed[self._static] = self._text
        return changed
