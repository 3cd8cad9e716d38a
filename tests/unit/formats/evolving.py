"""Whether a schema may follow another one under `FULL_TRANSITIVE`: Apache's rules for Avro, and those of registries."""

import json
from importlib.resources import files

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from google.protobuf import descriptor_pb2
from grpc_tools import protoc


def of_avro(old: str, new: str) -> list[str]:
    """What breaks if readers of one schema read records of the other."""
    schemas = avro.schema.parse(old), avro.schema.parse(new)
    found = []
    for reader, writer in (schemas, schemas[::-1]):
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += result.messages
    return found


def of_json_schema(old: str, new: str) -> list[str]:
    """The rules of registries, as far as our schemas go: open objects, arrays, plain types."""
    return list(_of_json(json.loads(old), json.loads(new), "#"))


def _of_json(old: dict, new: dict, at: str):
    its_type = old.get("type")
    if its_type != new.get("type"):
        yield f"{at}: {its_type} is {new.get('type')}"
    if its_type == "array":
        yield from _of_json(old["items"], new["items"], f"{at}/items")
    if its_type != "object":
        return
    if sorted(old["required"]) != sorted(new["required"]):
        yield f"{at}: other members are required"
    before, after = old["properties"], new["properties"]
    for name in before.keys() & after.keys():
        yield from _of_json(before[name], after[name], f"{at}/{name}")
    if not old.get("additionalProperties") == new.get("additionalProperties") == {}:
        yield f"{at}: does not say that other members may be anything"
    for name in before.keys() ^ after.keys():
        # Either of the two has let anything pass there.
        if (before.get(name) or after.get(name)).keys() != {"description"}:
            yield f"{at}/{name}: has a type, and is not in both"


def of_protobuf(old: str, new: str, folder) -> list[str]:
    """What the wire or a reader of either would take for another field."""
    found = []
    before, after = (
        {(m.name, f.number): f for m in compiled(text, folder).message_type for f in m.field} for text in (old, new)
    )
    for place, field in before.items():
        if place not in after:
            found.append(f"{place}: {field.name} is gone")
        elif _shape(field) != _shape(after[place]):
            found.append(f"{place}: {_shape(field)} is {_shape(after[place])}")
    return found


def _shape(field):
    return field.name, field.type, field.type_name, field.label, field.proto3_optional


def compiled(text: str, folder) -> descriptor_pb2.FileDescriptorProto:
    """What protoc makes of *text*."""
    source, output = folder / "post.proto", folder / "post.binary"
    source.write_text(text)
    code = protoc.main(
        ["", f"-I{folder}", f"-I{files('grpc_tools') / '_proto'}", f"--descriptor_set_out={output}", str(source)]
    )
    assert code == 0
    return descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file[0]
