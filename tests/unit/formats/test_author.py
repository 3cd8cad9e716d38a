"""Who wrote the post in a value, whatever its format is: hostile values, foreign schemas, posts of all kinds."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from connector.errors import BadRecord
from connector.formats.author import Author, author_in
from connector.formats.post.avro import schema_text
from connector.formats.post.declaration import POST, USER, VERSION
from connector.formats.post.model import Field, ListOf, Scalar
from connector.formats.post.protobuf_messages import message_class
from connector.formats.post.resolving import post_of
from connector.formats.schemas.avro import AvroWriter
from connector.formats.schemas.avro_author import AvroAuthors, of_version
from connector.formats.schemas.form import SchemaForm, writer_of
from connector.formats.schemas.wire import head, message_indexes
from tests.unit.formats.lines import as_line, lines, recorded

RELEASED = Path(__file__).parent / "released"
FORMATS = ("avro", "json_schema", "protobuf")
WRITERS = {name: writer_of(name) for name in FORMATS}
ID, AUTHOR = "1700000000000000000", "1500000000000000000"
UNKNOWN = Author(0, lack="no_format")
generated = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def written(value_format, line):
    writer = WRITERS[value_format]
    form = SchemaForm(writer, lambda value: value)
    return head(7, writer.after_id) + form.write(form.shape(line))


def a_line(**data):
    given = {"id": ID, "author_id": AUTHOR, "text": "a starling", "created_at": "2026-01-02T03:04:05Z", **data}
    return json.dumps({"data": {name: value for name, value in given.items() if value is not None}}).encode()


def expected(line):
    post = post_of(line)
    author = int((post.get("author") or {}).get("id") or 0)
    geo = post.get("place") is not None or post.get("coordinates") is not None
    return post["id"].encode(), Author(author, geo, None if author else "no_author")


@pytest.mark.parametrize(
    ("value", "author", "geo", "lack"),
    [
        (b'{"data":{"author_id":"5","geo":{"place_id":"1"}}}', 5, True, None),
        (b'{"data":{"author_id":"5","geo":{}}}', 5, False, None),
        (b'{"id":"1","author":{"id":"5"},"place":{"id":"1"}}', 5, True, None),
        (b'{"id":"1","author_id":"5","place":null}', 5, False, None),
        (b'{"data":{}}', 0, False, "no_author"),
        (b'{"data":{"author_id":"x"}}', 0, False, "no_author"),
        (b'{"data":{"author_id":"99999999999999999999"}}', 0, False, "no_author"),
        (b"\x00\x00\x00\x00\x01binary", 0, False, "no_format"),
        (b"\x00\x00\x00\x00\x01{binary", 0, False, "no_format"),
        (b"\x00\x00\x00\x00\x01", 0, False, "no_format"),
        (b"\x00", 0, False, "no_format"),
        (b"", 0, False, "no_format"),
        (b"[]", 0, False, "no_format"),
    ],
)
def test_json_and_what_is_nothing(value, author, geo, lack):
    """Of X's line, and of a post by itself; any other value has none."""
    assert (author, geo, lack) == author_in(value, ID.encode())


@pytest.mark.parametrize("value_format", FORMATS)
@pytest.mark.parametrize("kind", recorded())
def test_recorded_posts(value_format, kind):
    """All that X has in them: media, polls, referenced posts."""
    line = recorded()[kind]
    post, author = expected(line)

    assert author == author_in(written(value_format, line), post)


@pytest.mark.parametrize("value_format", FORMATS)
@generated
@given(lines)
def test_posts_of_any_kind(value_format, line):
    """The author and whether there is a location, as the post itself has them."""
    try:
        post, author = expected(as_line(line))
        value = written(value_format, as_line(line))
    except BadRecord:
        reject()

    assert author == author_in(value, post)


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
def test_a_value_under_another_key_is_not_the_post(value_format):
    """So a foreign schema that begins like a post is none."""
    value = written(value_format, a_line())

    assert Author(int(AUTHOR)) == author_in(value, ID.encode())
    assert UNKNOWN == author_in(value, b"1700000000000000001")


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
def test_a_value_that_is_cut_or_goes_on(value_format):
    """It is read to its very end."""
    line = max(recorded().values(), key=len)
    value, (post, author) = written(value_format, line), expected(line)
    assert author == author_in(value, post)

    cut = [author_in(value[:end], post) for end in range(len(value))]
    assert UNKNOWN in cut
    if value_format == "avro":
        assert {UNKNOWN} == set(cut)  # each field has its place; Protobuf lets fields out
    assert UNKNOWN == author_in(value + b"\x07", post)


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
@generated
@given(st.data())
def test_hostile_bytes(value_format, data):
    """They are a post or not, and raise nothing."""
    line = data.draw(st.sampled_from(list(recorded().values())))
    value, post = bytearray(written(value_format, line)), expected(line)[0]
    for at in data.draw(st.lists(st.integers(5, len(value) - 1), max_size=4)):
        value[at] = data.draw(st.integers(0, 255))

    assert author_in(bytes(value), post).id >= 0


@generated
@given(st.binary(max_size=300))
def test_random_bytes(body):
    """Behind a head, and behind an id, too."""
    for before in (b"", b"\x26" + ID.encode(), b"\x00\x0a\x13" + ID.encode()):
        assert author_in(head(7) + before + body, ID.encode()).id >= 0


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "body",
    [
        b"\x26" + ID.encode() + b"\0\0\0" + b"\0" * 4 + (b"\xff" * 9 + b"\x01") * 100_000,
        b"\x26" + ID.encode() + b"\0\0\0" + b"\0" * 4 + b"\xfe\xff\xff\x7f" + b"\0" * 1_000_000,
        b"\x26" + ID.encode() + b"\xff" * 1_000_000,
        b"\0" + b"\x08\x01" * 500_000,
        b"\0" + b"\x22\xff\xff\xff\x7f" * 200_000,
        b"\xfe\xff\xff\xff\x0f" + b"\0" * 1_000_000,
    ],
)
def test_large_hostile_values_take_no_time(body):
    """So many of a batch are read that each has to be short."""
    for _ in range(50):
        assert UNKNOWN == author_in(head(7) + body, ID.encode())


def test_avro_in_blocks_with_their_size():
    """As other writers make lists: a negative count, then the bytes of the block."""
    body = written("avro", a_line(edit_history_tweet_ids=[ID]))[5:]
    listed = b"\x02\x26" + ID.encode() + b"\0"
    assert 1 == body.count(listed)
    blocks = b"\x01\x28\x26" + ID.encode() + b"\0"

    assert Author(int(AUTHOR)) == author_in(head(7) + body.replace(listed, blocks), ID.encode())


def test_protobuf_of_another_place_and_with_later_fields():
    """The message may be any in its file, and may have fields of each kind that this version does not know."""
    message = message_class(POST)(id=ID, author={"id": AUTHOR}, coordinates={"longitude": 1, "latitude": 2})
    later = b"\xe0\x1f\x01" + b"\xe1\x1f" + b"\0" * 8 + b"\xe5\x1f" + b"\0" * 4 + b"\xe2\x1f\x03abc"

    for places in ((0,), (3,), (1, 2)):
        value = head(7, message_indexes(places)) + later + message.SerializeToString() + later
        assert Author(int(AUTHOR), geo=True) == author_in(value, ID.encode())


def test_avro_by_a_foreign_schema():
    """Even if it begins with the id, and has the same fields in another order."""
    fields = json.loads(schema_text(POST))["fields"]
    theirs = parse_schema(
        {"type": "record", "name": "Theirs", "fields": [fields[0], fields[3], *fields[1:3], *fields[4:]]}
    )
    out = io.BytesIO()
    schemaless_writer(out, theirs, {"id": ID, "author": {"id": AUTHOR}, "text": "a starling", "created_at": 0})

    assert UNKNOWN == author_in(head(7) + out.getvalue(), ID.encode())


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_each_released_version_is_known(version):
    """The declaration without later fields is what was released."""
    assert json.loads((RELEASED / f"v{version}.avsc").read_text()) == json.loads(schema_text(of_version(POST, version)))
    assert ("id", Scalar.STRING, False) == (USER.fields[0].name, USER.fields[0].type, USER.fields[0].nullable)


def test_a_later_version_beside_the_earlier_ones():
    """Fields may be added anywhere; each version reads its own posts only."""
    added = Field("added", 60, ListOf(Scalar.LONG), "A new list.", since=VERSION + 1)
    later = replace(POST, fields=(POST.fields[0], added, *POST.fields[1:]))
    post = post_of(a_line(geo={"place_id": "1"}))
    value = AvroWriter(schema_text(later)).body({**post, "added": [1, -(2**63)]})

    assert (AUTHOR.encode(), True) == AvroAuthors(later).find(value, 0, ID.encode())
    assert of_version(later, VERSION) == POST
    with pytest.raises((ValueError, IndexError)):
        AvroAuthors(POST).find(value, 0, ID.encode())
