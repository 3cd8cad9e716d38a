"""The head of a value, as Confluent's own code reads it; subjects; and other versions of a schema."""

import io
import json

import pytest
from confluent_kafka.schema_registry.serde import SchemaId
from fastavro import parse_schema, schemaless_reader
from hypothesis import given
from hypothesis import strategies as st

from connector.formats.schemas.avro import AvroWriter
from connector.formats.schemas.subjects import subject_of
from connector.formats.schemas.wire import head, message_indexes, place_of
from connector.formats.schemas.writer import Unfitting, stamp_of

POST = {
    "type": "record",
    "name": "Post",
    "namespace": "birds",
    "fields": [{"name": "id", "type": "string"}, {"name": "likes", "type": ["null", "long"], "default": None}],
}
LATER = POST | {"fields": [*POST["fields"], {"name": "lang", "type": "string", "default": "und"}]}


@given(st.integers(1, 2**31 - 1), st.lists(st.integers(0, 500), min_size=1, max_size=5))
def test_heads_are_confluents(schema_id, places):
    """Its own reader finds the id and the message indexes in a head of ours."""
    found = SchemaId("PROTOBUF")
    rest = found.from_bytes(io.BytesIO(head(schema_id, message_indexes(places)) + b"body"))

    assert (schema_id, places, b"body") == (found.id, found.message_indexes, rest.read())


@pytest.mark.parametrize("schema_id", [0, -1, 2**31, None, "7"])
def test_no_id(schema_id):
    """What is no id is not written."""
    with pytest.raises(ValueError, match="is no id of a schema"):
        head(schema_id)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("message Post { string id = 1; }", 0),
        ("message User { message Post {} }\nmessage Post {}", 1),
        ('option x = "message Post {";\n// message Post {\n/* message Post { */ message A {} message Post {}', 1),
        ("message Posts {}", None),
        ("message A { message Post {} }", None),
    ],
)
def test_place_of_a_message(text, place):
    """Messages of the top level are counted, and nothing that stands in comments, texts or other messages."""
    assert place == place_of("Post", text)


@pytest.mark.parametrize("piece", ['\\"', "/*", '"\\', "//", "message "])
def test_a_text_without_ends(piece):
    """What a registry sends is looked through once: a text of this size would else take hours."""
    assert place_of("Post", piece * 300_000) is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"type": "array", "items": ' * 3_000 + '"int"' + "}" * 3_000])
def test_a_schema_without_end(text):
    """It is refused in words, and ends nothing else."""
    with pytest.raises(Unfitting, match="it cannot be read: RecursionError"):
        stamp_of(AvroWriter(json.dumps(POST)), 7, text)


@pytest.mark.parametrize(
    ("strategy", "subject"),
    [
        ("TopicNameStrategy", "posts-value"),
        ("RecordNameStrategy", "birds.Post"),
        ("TopicRecordNameStrategy", "posts-birds.Post"),
    ],
)
def test_subjects(strategy, subject):
    """Confluent's three strategies."""
    assert subject == subject_of(strategy, "posts", "birds.Post")


def test_the_same_schema_in_other_words():
    """Documentation and order of attributes change nothing in the bytes."""
    writer, other = AvroWriter(json.dumps(POST)), json.dumps({"doc": "x", **dict(reversed(POST.items()))})
    stamp = stamp_of(writer, 7, other)

    assert stamp.change is None
    assert b"\0\0\0\0\7\2\x31\0" == stamp.of(writer.body({"id": "1"}))


def test_a_later_version():
    """A value is written by the version whose id it names, with the defaults of what is new there."""
    writer = AvroWriter(json.dumps(POST))
    value = stamp_of(writer, 8, json.dumps(LATER)).of(writer.body({"id": "1", "likes": 3}))

    assert {"id": "1", "likes": 3, "lang": "und"} == schemaless_reader(io.BytesIO(value[5:]), parse_schema(LATER))


@pytest.mark.parametrize("text", ["{", '{"type": "recrd"}', "7"])
def test_a_version_that_is_none(text):
    """A latest version that nobody can read stops the connector."""
    with pytest.raises(Unfitting, match="it cannot be read"):
        stamp_of(AvroWriter(json.dumps(POST)), 8, text)


def test_a_version_that_does_not_fit():
    """A latest version with a field that we do not have, and without a default, takes no post."""
    theirs = POST | {"fields": [*POST["fields"], {"name": "lang", "type": "string"}]}
    writer = AvroWriter(json.dumps(POST))

    with pytest.raises(Unfitting, match="lang"):
        stamp_of(writer, 8, json.dumps(theirs)).of(writer.body({"id": "1"}))


@pytest.mark.parametrize("value", [{}, {"id": 7}, {"id": "1", "likes": 2**63}, [], None])
def test_a_value_that_does_not_fit(value):
    """It is a bad record, whatever fastavro raises."""
    with pytest.raises(ValueError, match="does not fit the Avro schema"):
        AvroWriter(json.dumps(POST)).body(value)
