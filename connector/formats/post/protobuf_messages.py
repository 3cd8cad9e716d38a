"""The Protobuf classes of a record, built of the declaration at run time; needs the extra `schema`."""

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.message import Message

from connector.formats.post.declaration import NAMESPACE
from connector.formats.post.model import Field, ListOf, RecordType, Scalar, records_of
from connector.formats.post.protobuf import TIMESTAMP, TIMESTAMP_FILE

_Proto = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    Scalar.STRING: _Proto.TYPE_STRING,
    Scalar.LONG: _Proto.TYPE_INT64,
    Scalar.DOUBLE: _Proto.TYPE_DOUBLE,
    Scalar.BOOLEAN: _Proto.TYPE_BOOL,
}


def file_of(record: RecordType) -> descriptor_pb2.FileDescriptorProto:
    """Return what `protobuf.schema_text` says, as a descriptor."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{NAMESPACE}/{record.name.lower()}.proto",
        package=NAMESPACE,
        syntax="proto3",
        dependency=[TIMESTAMP_FILE],
    )
    for each in records_of(record):
        message = file.message_type.add(name=each.name)
        for field in each.fields:
            _add(field, message)
    return file


@cache
def message_class(record: RecordType) -> type[Message]:
    """Return the class of the messages of *record*, in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file_of(record).SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{NAMESPACE}.{record.name}"))


def _add(field: Field, message: descriptor_pb2.DescriptorProto) -> None:
    listed = isinstance(field.type, ListOf)
    item = field.type.item if isinstance(field.type, ListOf) else field.type
    proto = message.field.add(
        name=field.name, number=field.number, label=_Proto.LABEL_REPEATED if listed else _Proto.LABEL_OPTIONAL
    )
    if isinstance(item, RecordType):
        proto.type, proto.type_name = _Proto.TYPE_MESSAGE, f".{NAMESPACE}.{item.name}"
    elif item is Scalar.TIMESTAMP:
        proto.type, proto.type_name = _Proto.TYPE_MESSAGE, f".{TIMESTAMP}"
    else:
        proto.type = _TYPES[item]
        if field.nullable:
            # proto3 has `optional` as a union of one member.
            proto.proto3_optional, proto.oneof_index = True, len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
