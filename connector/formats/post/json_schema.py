"""
The JSON Schema (draft 7) of a record, without any `$ref`.

Registries compare JSON Schemas strictly.  A later version may add a member forwards and backwards compatibly only if an
earlier one says of members that it does not name just what the later one says of this one: nothing, but explicitly, as
`"additionalProperties": {}`.  (Apicurio refuses new members where that is left out, and so does Confluent's rule
`PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL`.)  Fields of later versions have only their description, therefore.
"""

import json
from typing import Any

from connector.formats.post.model import Field, ListOf, RecordType, Scalar

_SCALARS: dict[Scalar, dict[str, Any]] = {
    Scalar.STRING: {"type": "string"},
    Scalar.LONG: {"type": "integer", "connect.type": "int64"},
    Scalar.DOUBLE: {"type": "number", "connect.type": "float64"},
    Scalar.BOOLEAN: {"type": "boolean"},
    # As Connect's converter for JSON Schema writes the type of its own timestamps.
    Scalar.TIMESTAMP: {
        "type": "integer",
        "title": "org.apache.kafka.connect.data.Timestamp",
        "connect.version": 1,
        "connect.type": "int64",
    },
}


def schema_text(record: RecordType) -> str:
    """Return the JSON Schema of *record*, as JSON."""
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_record(record)}
    return json.dumps(schema, indent=2) + "\n"


def _record(record: RecordType) -> dict[str, Any]:
    return {
        "title": record.name,
        "description": record.about,
        "type": "object",
        "properties": {field.name: _field(field) for field in record.fields},
        "required": [field.name for field in record.fields if field.required],
        "additionalProperties": {},
    }


def _field(field: Field) -> dict[str, Any]:
    if field.since > 1:
        return {"description": field.about}
    if isinstance(field.type, ListOf):
        return {"description": field.about, "type": "array", "items": _type(field.type.item)}
    return {**_type(field.type), "description": field.about}


def _type(kind: Scalar | RecordType) -> dict[str, Any]:
    return _record(kind) if isinstance(kind, RecordType) else dict(_SCALARS[kind])
