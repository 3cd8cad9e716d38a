"""The schemas of a `Post`: do libraries take them, do they say the same, may they follow those of earlier versions?"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import fastavro
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.formats.post import avro, docs, json_schema, protobuf
from connector.formats.post.declaration import POST, VERSION
from connector.formats.post.model import Field, ListOf, RecordType, Scalar, records_of
from connector.formats.post.protobuf_messages import file_of, message_class
from tests import ROOT
from tests.unit.formats import evolving

RELEASED = Path(__file__).parent / "released"
WRITERS = {"avsc": avro, "schema.json": json_schema, "proto": protobuf}


def problems(old, new, folder):
    """What breaks when the texts *old* are followed by *new*."""
    return [
        *evolving.of_avro(old["avsc"], new["avsc"]),
        *evolving.of_json_schema(old["schema.json"], new["schema.json"]),
        *evolving.of_protobuf(old["proto"], new["proto"], folder),
    ]


def texts(record):
    return {ending: writer.schema_text(record) for ending, writer in WRITERS.items()}


def released(version):
    return {ending: (RELEASED / f"v{version}.{ending}").read_text() for ending in WRITERS}


def with_fields(record, name, change):
    """*record*, with what *change* makes of the fields of the record *name* in it, wherever that is."""
    fields = change(record.fields) if record.name == name else record.fields
    return replace(record, fields=tuple(replace(f, type=_with(f.type, name, change)) for f in fields))


def _with(kind, name, change):
    if isinstance(kind, ListOf):
        return ListOf(_with(kind.item, name, change))
    return with_fields(kind, name, change) if isinstance(kind, RecordType) else kind


def test_this_version_is_what_was_released():
    """The schemas of a released version never change: a change of the declaration is a new version."""
    assert released(VERSION) == texts(POST)
    assert {path.name for path in RELEASED.iterdir()} == {
        f"v{version}.{ending}" for version in range(1, VERSION + 1) for ending in (*WRITERS, "connect.json")
    }


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_it_may_follow_each_released_version(version, tmp_path):
    """FULL_TRANSITIVE: new readers read old records, and old readers new ones."""
    assert not problems(released(version), texts(POST), tmp_path)


ADDED = [
    Field("added", 60, Scalar.STRING, "A new field.", nullable=True, since=VERSION + 1),
    Field("added", 60, Scalar.TIMESTAMP, "A new field.", nullable=True, since=VERSION + 1),
    Field("added", 60, ListOf(Scalar.LONG), "A new list.", since=VERSION + 1),
    Field(
        "added",
        60,
        RecordType("Added", "A new record.", (Field("inner", 1, Scalar.DOUBLE, "Its field."),)),
        "A new record.",
        nullable=True,
        since=VERSION + 1,
    ),
]


@pytest.mark.parametrize("field", ADDED)
@pytest.mark.parametrize("record", ["Post", "User", "Url", "ReferencedPost"])
def test_a_field_that_may_be_absent_can_be_added(field, record, tmp_path):
    """In each format, wherever it is."""
    later = with_fields(POST, record, lambda fields: (*fields, field))

    assert texts(later) != texts(POST)
    assert not problems(texts(POST), texts(later), tmp_path)


@pytest.mark.parametrize(
    ("record", "change"),
    [
        ("Post", lambda fields: (*fields, Field("added", 60, Scalar.STRING, "Required.", since=VERSION + 1))),
        ("Post", lambda fields: (*fields, Field("added", 60, Scalar.STRING, "Not new.", nullable=True))),
        ("Post", lambda fields: fields[1:]),
        ("Media", lambda fields: fields[:-1]),
        ("User", lambda fields: (replace(fields[0], name="user_id"), *fields[1:])),
        ("Post", lambda fields: (replace(fields[0], type=Scalar.LONG), *fields[1:])),
        ("Post", lambda fields: (replace(fields[0], number=61), *fields[1:])),
        ("Mention", lambda fields: (*fields[:-1], replace(fields[-1], nullable=False))),
        ("Mention", lambda fields: (*fields[:2], replace(fields[2], nullable=True), fields[3])),
        ("Withheld", lambda fields: (fields[0], replace(fields[1], type=ListOf(Scalar.LONG)), fields[2])),
        ("Post", lambda fields: (*fields[:2], replace(fields[2], type=Scalar.LONG), *fields[3:])),
    ],
)
def test_what_breaks_a_reader_is_refused(record, change, tmp_path):
    """By the rules of at least one format."""
    assert problems(texts(POST), texts(with_fields(POST, record, change)), tmp_path)


def test_the_declaration_follows_its_rules():
    """Numbers and names are unique in a record, those that Protobuf keeps are free, and later fields may be absent."""
    for record in records_of(POST):
        names, numbers = [f.name for f in record.fields], [f.number for f in record.fields]

        assert len(set(names)) == len(names)
        assert len(set(numbers)) == len(numbers)
        assert all(1 <= number < 19_000 for number in numbers)
        assert all(f.about.endswith(".") and "\n" not in f.about for f in record.fields)
        assert all(1 <= f.since <= VERSION for f in record.fields)
        assert all(f.since == 1 or not f.required for f in record.fields)


def test_the_text_of_protobuf_says_what_the_classes_have(tmp_path):
    """protoc makes of the text the descriptor that we build."""
    by_protoc, ours = evolving.compiled(protobuf.schema_text(POST), tmp_path), file_of(POST)
    for file in (by_protoc, ours):
        file.ClearField("name")
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")  # which protoc fills in

    assert by_protoc == ours
    assert message_class(POST).DESCRIPTOR.full_name == "murmuration.Post"
    assert by_protoc.message_type[0].name == "Post"  # first: what serializers write before it is short


def test_avro_and_json_schema_are_taken():
    """By fastavro and jsonschema, as they are."""
    schema = fastavro.parse_schema(json.loads(avro.schema_text(POST)))
    jsonschema.Draft7Validator.check_schema(json.loads(json_schema.schema_text(POST)))

    assert schema["name"] == "murmuration.Post"
    assert "$ref" not in json_schema.schema_text(POST)


@cache
def parsed():
    """The schema of a post as jsonschema and fastavro have it; to parse them takes longer than to use them."""
    text = json.loads(json_schema.schema_text(POST)), json.loads(avro.schema_text(POST))
    return jsonschema.Draft7Validator(text[0]), fastavro.parse_schema(text[1])


@given(st.deferred(lambda: values(POST)))
def test_a_value_fits_all_schemas_or_none(value):
    """Values with and without fields that may be absent, with a list or without."""
    validator, schema = parsed()

    validator.validate(value)
    assert fastavro.validate(value, schema, strict=False)


@cache
def values(record):
    """Values of *record*."""
    needed = {f.name: _values(f.type) for f in record.fields if f.required}
    return st.fixed_dictionaries(needed, optional={f.name: _values(f.type) for f in record.fields if not f.required})


def _values(kind):
    if isinstance(kind, ListOf):
        return st.lists(_values(kind.item), max_size=2)
    if isinstance(kind, RecordType):
        return values(kind)
    return {
        Scalar.STRING: st.text(max_size=5),
        Scalar.LONG: st.integers(-(2**63), 2**63 - 1),
        Scalar.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
        Scalar.BOOLEAN: st.booleans(),
        Scalar.TIMESTAMP: st.integers(-62_135_596_800_000, 253_402_300_799_999),
    }[kind]


def test_the_page_is_fresh():
    """docs/schema.md says what the declaration says."""
    assert docs.page() == (ROOT / "docs" / "schema.md").read_text()
