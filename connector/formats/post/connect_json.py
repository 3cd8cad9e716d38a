"""
The schema of a record in the JSON of Kafka Connect, and whether a value fits it.

Connect's JsonConverter writes a value with `schemas.enable=true` as `{"schema": …, "payload": …}`, the schema in each
value.  The members stand in its order.  It has no references: a record that occurs twice is there twice.
Source: https://github.com/apache/kafka/blob/4.1.2/connect/json/src/main/java/org/apache/kafka/connect/json/JsonConverter.java
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import orjson

from connector.formats.post.declaration import NAMESPACE
from connector.formats.post.model import Field, ListOf, RecordType, Scalar
from connector.formats.post.wire import Double, Long

_SCALARS: dict[Scalar, dict[str, Any]] = {
    Scalar.STRING: {"type": "string"},
    Scalar.LONG: {"type": "int64"},
    Scalar.DOUBLE: {"type": "double"},
    Scalar.BOOLEAN: {"type": "boolean"},
    Scalar.TIMESTAMP: {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1},
}
_FITTING: dict[Scalar, Any] = {
    Scalar.STRING: str,
    Scalar.LONG: Long,
    Scalar.DOUBLE: Double,
    Scalar.BOOLEAN: bool,
    Scalar.TIMESTAMP: Long,
}


def schema_text(record: RecordType, version: int) -> bytes:
    """Return the schema of *record* in *version*, as JSON without spaces."""
    return orjson.dumps(_ordered(_of(record), optional=False, version=version))


def check_of(record: RecordType) -> Callable[[Any], object]:
    """
    Return what raises ValueError for a value that does not fit the schema of *record*, and says where.

    A member that the schema does not have does not fit: a reader would never see it.
    """
    kind = _fitting(record)
    return lambda value: msgspec.convert(value, kind)


def _of(kind: Scalar | ListOf | RecordType) -> dict[str, Any]:
    if isinstance(kind, ListOf):
        return {"type": "array", "items": _ordered(_of(kind.item), optional=False)}
    if isinstance(kind, RecordType):
        fields = [_field(field) for field in kind.fields]
        return {"type": "struct", "fields": fields, "name": f"{NAMESPACE}.{kind.name}"}
    return _SCALARS[kind]


def _field(field: Field) -> dict[str, Any]:
    # a list, too: where it is empty a post does not have it, and to a reader what is missing is null
    return {**_ordered(_of(field.type), optional=not field.required), "field": field.name}


def _ordered(schema: dict[str, Any], *, optional: bool, version: int | None = None) -> dict[str, Any]:
    """Return *schema* with its members as the converter orders them: type, content, optional, name, version."""
    whole = {**schema, "optional": optional, "version": schema.get("version", version)}
    order = ("type", "items", "fields", "optional", "name", "version")
    return {name: whole[name] for name in order if whole.get(name) is not None}


@cache
def _fitting(kind: Scalar | ListOf | RecordType) -> Any:
    """Return what a value of *kind* has to be, as msgspec checks it."""
    if isinstance(kind, ListOf):
        return list[_fitting(kind.item)]  # type: ignore[misc]  # made here
    if not isinstance(kind, RecordType):
        return _FITTING[kind]
    fields: list[Any] = [
        (field.name, _fitting(field.type)) if field.required else (field.name, _fitting(field.type) | None, None)
        for field in kind.fields
    ]
    return msgspec.defstruct(kind.name, fields, kw_only=True, forbid_unknown_fields=True, gc=False)
