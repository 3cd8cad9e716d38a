"""The Avro schema of a record: self-contained, each record defined where it is first mentioned."""

import json
from typing import Any

from connector.formats.post.declaration import NAMESPACE
from connector.formats.post.model import Field, ListOf, RecordType, Scalar

_TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}


def schema_text(record: RecordType) -> str:
    """Return the Avro schema of *record*, as JSON."""
    return json.dumps(_record(record, set()) | {"namespace": NAMESPACE}, indent=2) + "\n"


def _record(record: RecordType, known: set[str]) -> dict[str, Any]:
    known.add(record.name)
    fields = [_field(field, known) for field in record.fields]
    return {"type": "record", "name": record.name, "doc": record.about, "fields": fields}


def _field(field: Field, known: set[str]) -> dict[str, Any]:
    if isinstance(field.type, ListOf):
        its_type: Any = {"type": "array", "items": _type(field.type.item, known)}
        default: dict[str, Any] = {"default": []}
    else:
        its_type, default = _type(field.type, known), {}
    if field.nullable:
        its_type, default = ["null", its_type], {"default": None}
    return {"name": field.name, "doc": field.about, "type": its_type, **default}


def _type(kind: Scalar | RecordType, known: set[str]) -> Any:
    if isinstance(kind, RecordType):
        return kind.name if kind.name in known else _record(kind, known)
    return dict(_TIMESTAMP) if kind is Scalar.TIMESTAMP else str(kind)
