"""`ValueToKey`: fields of the value become the key."""

from dataclasses import dataclass
from typing import Annotated

from connector.config.options import Option, boolean
from connector.transforms.lists import field_names
from connector.transforms.part import object_in
from connector.transforms.record import Record

DOC = "Makes the key of fields of the value: an object with these fields."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `ValueToKey`."""

    fields: Annotated[tuple[str, ...], Option(field_names(), "", "Fields of the value, which the key gets.", "HIGH")]
    replace_null_with_default: Annotated[
        bool, Option(boolean(), "", "Accepted, and without effect: values without a schema have no defaults.", "LOW")
    ] = True


class ValueToKey:
    """Makes the key an object with fields of the value; a field that is absent is null in it."""

    def __init__(self, options: Options) -> None:
        self._fields = options.fields

    def apply(self, record: Record) -> Record:
        value = object_in(record.value)
        record.key = {name: value.get(name) for name in self._fields}
        return record
