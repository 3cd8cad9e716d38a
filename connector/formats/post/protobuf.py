"""
The Protobuf schema of a record (proto3), as the text of a file.

It imports only Google's `timestamp.proto`, which comes with Protobuf and which registries know by themselves.
"""

from collections.abc import Iterator

from connector.formats.post.declaration import NAMESPACE
from connector.formats.post.model import Field, ListOf, RecordType, Scalar, records_of

TIMESTAMP = "google.protobuf.Timestamp"
TIMESTAMP_FILE = "google/protobuf/timestamp.proto"
SCALARS = {Scalar.STRING: "string", Scalar.LONG: "int64", Scalar.DOUBLE: "double", Scalar.BOOLEAN: "bool"}


def schema_text(record: RecordType) -> str:
    """Return the file that defines *record* as its first message."""
    head = f'syntax = "proto3";\n\npackage {NAMESPACE};\n\nimport "{TIMESTAMP_FILE}";\n'
    return "\n".join([head, *("\n".join(_message(each)) for each in records_of(record))])


def is_message(field: Field) -> bool:
    """Return whether *field* is a message, or a list of messages: a message is there or not by itself."""
    return field.record is not None or field.type is Scalar.TIMESTAMP


def _message(record: RecordType) -> Iterator[str]:
    yield f"// {record.about}"
    yield f"message {record.name} {{"
    for field in record.fields:
        yield f"  // {field.about}"
        yield f"  {_label(field)}{_type(field)} {field.name} = {field.number};"
    yield "}\n"


def _label(field: Field) -> str:
    if isinstance(field.type, ListOf):
        return "repeated "
    return "optional " if field.nullable and not is_message(field) else ""


def _type(field: Field) -> str:
    item = field.type.item if isinstance(field.type, ListOf) else field.type
    if isinstance(item, RecordType):
        return item.name
    return TIMESTAMP if item is Scalar.TIMESTAMP else SCALARS[item]
