"""Whatever a post holds comes back from each format as it was."""

import io
import json
from dataclasses import replace

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from google.protobuf.json_format import MessageToDict
from hypothesis import HealthCheck, given, settings

from connector.errors import BadRecord
from connector.formats.post.declaration import POST
from connector.formats.post.model import ListOf, RecordType, Scalar
from connector.formats.post.protobuf_messages import message_class
from connector.formats.post.resolving import post_of
from connector.formats.schemas.form import SchemaForm, writer_of
from connector.formats.schemas.reading import SchemaCodec
from connector.formats.schemas.writer import stamp_of
from connector.records.post import Post
from connector.transforms.chain import Chain
from connector.transforms.moment import Moment
from connector.transforms.timestamp_converter import Options, TimestampConverter
from connector.transforms.transformer import Transformer
from connector.transforms.values import with_timestamps
from tests.unit.formats.lines import as_line, lines, recorded

FORMATS = ("avro", "json_schema", "protobuf")
WRITERS = {name: writer_of(name) for name in FORMATS}
PLAIN = parse_schema(json.loads(WRITERS["avro"].schema.text.replace('"logicalType"', '"ignored"')))
generated = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def read(value_format, body):
    """Return the post in *body*, with times as milliseconds, and without what is absent."""
    match value_format:
        case "avro":
            found = schemaless_reader(io.BytesIO(body), PLAIN)
        case "json_schema":
            found = json.loads(body)
        case "protobuf":
            found = _of_message(message_class(POST).FromString(body), POST)
    return present(found)


def present(value):
    if isinstance(value, dict):
        kept = {name: present(inner) for name, inner in value.items() if inner is not None and inner != []}
        return {name: inner for name, inner in kept.items() if inner != {}}
    return [present(item) for item in value] if isinstance(value, list) else value


def _of_message(message, record):
    return {field.name: _of_field(message, field) for field in record.fields if _is_there(message, field)}


def _is_there(message, field):
    if isinstance(field.type, ListOf):
        return True
    return (not field.nullable and field.type is not Scalar.TIMESTAMP) or message.HasField(field.name)


def _of_field(message, field):
    value = getattr(message, field.name)
    if isinstance(field.type, ListOf):
        return [_of_value(item, field.type.item) for item in value]
    return _of_value(value, field.type)


def _of_value(value, kind):
    if isinstance(kind, RecordType):
        return _of_message(value, kind)
    return value.seconds * 1000 + value.nanos // 1_000_000 if kind is Scalar.TIMESTAMP else value


@pytest.mark.parametrize("value_format", FORMATS)
@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind(kind, value_format):
    """Field by field."""
    post = post_of(recorded()[kind])

    assert present(post) == read(value_format, WRITERS[value_format].body(post))


@pytest.mark.slow
@pytest.mark.parametrize("value_format", FORMATS)
@generated
@given(decoded=lines)
def test_any_line(value_format, decoded):
    """Of X's types, with any subset of its members; 64-bit numbers and any text are exact."""
    post = post_of(as_line(decoded))

    assert present(post) == read(value_format, WRITERS[value_format].body(post))


@pytest.mark.slow
@generated
@given(decoded=lines)
def test_avro_is_fastavros(decoded):
    """The same bytes as the library writes."""
    post, written = post_of(as_line(decoded)), io.BytesIO()
    schemaless_writer(written, PLAIN, post)

    assert written.getvalue() == WRITERS["avro"].body(post)


@pytest.mark.parametrize("value_format", ["json_schema", "protobuf"])
def test_the_typed_channel(value_format):
    """A Faust application gets a `Post`; Avro is tried with a registry in test_schema_topics."""
    line = recorded()["retweet_full"]
    value = stamp_of(WRITERS[value_format], 7, None).of(WRITERS[value_format].body(post_of(line)))
    post = Post(**SchemaCodec(value_format).loads(value))

    expected = post_of(line)
    assert (expected["id"], expected["text"], expected["author"]["id"]) == (post.id, post.text, post.author_id)
    assert expected["created_at"] == round(post.created_at.timestamp() * 1000)
    assert post.full_text == post.text


def transformer(value_format, chain=()):
    form = SchemaForm(writer_of(value_format), with_timestamps)
    made = Chain(())
    made.apply = chain or made.apply
    return Transformer(made, connector="posts", topic="posts", labels=[], reserved=[], form=form)


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
def test_a_value_that_a_transform_has_bent(value_format):
    """What no longer fits its schema is a bad record, not a value that nobody can read; JSON is not checked."""

    def bend(record):
        record.value["text"] = 7
        record.value["id"] = ["x"]
        return record

    with pytest.raises(BadRecord, match="does not fit the"):
        transformer(value_format, bend).record_of(1, recorded()["retweet_full"], 0, None, 2**20)


def converting(target):
    """Return a chain of `TimestampConverter` alone, on the field `created_at`."""
    converter = TimestampConverter(Options(field="created_at", target_type=target))

    def convert(record):
        return replace(record, value=converter.change(record.value, record))

    return convert


@pytest.mark.parametrize("value_format", FORMATS)
@pytest.mark.parametrize("target", ["Timestamp", "unix"])
def test_a_time_that_a_transform_has_made(value_format, target):
    """A Timestamp is what the schema has there."""
    line = recorded()["retweet_full"]
    record = transformer(value_format, converting(target)).record_of(1, line, 0, None, 2**20)

    assert WRITERS[value_format].body(post_of(line)) == record.value


@pytest.mark.parametrize("value_format", FORMATS)
@pytest.mark.parametrize("target", ["Date", "Time"])
def test_a_time_that_the_schema_does_not_have(value_format, target):
    """Days would be read as milliseconds."""
    with pytest.raises(BadRecord, match=f"a Timestamp, and no {target}: use target.type=Timestamp or unix"):
        transformer(value_format, converting(target)).record_of(1, recorded()["retweet_full"], 0, None, 2**20)


@pytest.mark.parametrize("value_format", FORMATS)
def test_a_time_anywhere(value_format):
    """A transform may have put it somewhere else."""

    def move(record):
        record.value["author"] = {"id": "1", "created_at": Moment(7)}
        return record

    record = transformer(value_format, move).record_of(1, recorded()["retweet_full"], 0, None, 2**20)
    assert {"id": "1", "created_at": 7} == read(value_format, record.value)["author"]


@pytest.mark.parametrize("value_format", FORMATS)
def test_a_value_without_end(value_format):
    """It is a bad record, and no error that nobody foresaw."""

    def tie(record):
        record.value["author"]["name"] = record.value
        return record

    with pytest.raises(BadRecord, match="nested too deeply"):
        transformer(value_format, tie).record_of(1, recorded()["retweet_full"], 0, None, 2**20)


@pytest.mark.parametrize("value_format", FORMATS)
def test_a_number_that_no_type_holds(value_format):
    """It is a bad record as well."""

    def enlarge(record):
        record.value["coordinates"] = {"longitude": 10**400, "latitude": 0.0}
        return record

    with pytest.raises(BadRecord, match="cannot be delivered"):
        transformer(value_format, enlarge).record_of(1, recorded()["retweet_full"], 0, None, 2**20)


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
def test_a_field_that_a_transform_has_added(value_format):
    """It would be lost without a word."""

    def add(record):
        record.value["added"] = "x"
        return record

    with pytest.raises(BadRecord, match="added"):
        transformer(value_format, add).record_of(1, recorded()["retweet_full"], 0, None, 2**20)


@pytest.mark.parametrize("value_format", FORMATS)
def test_the_line_is_kept(value_format):
    """For the dead letter of a post that the topic refuses."""
    line = recorded()["retweet_full"]
    record = transformer(value_format).record_of(1, line, 0, None, 2**20)

    assert line == record.altered.line
    assert WRITERS[value_format].body(post_of(line)) == record.value


@pytest.mark.parametrize("value_format", FORMATS)
def test_the_head_counts(value_format):
    """A record that only without its head is small enough is too large."""
    line = recorded()["retweet_full"]
    size = len(WRITERS[value_format].body(post_of(line))) + len("1")

    with pytest.raises(BadRecord, match=r"raise max\.message\.bytes"):
        transformer(value_format).record_of(1, line, 0, None, size + 4)


def test_json_is_as_declared():
    """`json_schema` writes what `post_of` returns, times as numbers."""
    post = post_of(recorded()["retweet_full"])

    assert post == json.loads(WRITERS["json_schema"].body(post))
    assert isinstance(post["created_at"], int)
    assert MessageToDict(message_class(POST).FromString(WRITERS["protobuf"].body(post)))["createdAt"].endswith("Z")


def test_a_channel_that_reads_writes_nothing():
    """Whoever sends to the typed channel learns who writes such values."""
    with pytest.raises(TypeError, match=r"writes none: a connector writes them"):
        SchemaCodec("json_schema").dumps({"id": "1"})
