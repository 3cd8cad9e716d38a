"""`value.shape=connect`: a post with the schema of Kafka Connect beside it; its own converter reads it in tests/e2e."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from faust.serializers.codecs import get_codec
from hypothesis import HealthCheck, given, settings

from connector.cli.audit.comparison import TopicTally
from connector.cli.tail.shown import Shown
from connector.cli.tail.shown import lines as shown_lines
from connector.errors import BadRecord
from connector.formats import codec_name
from connector.formats.author import author_in
from connector.formats.post.connect_json import check_of, schema_text
from connector.formats.post.declaration import POST, VERSION
from connector.formats.post.form import ConnectForm
from connector.formats.post.model import Field, ListOf, RecordType, Scalar
from connector.formats.post.resolving import post_of
from connector.records.post import Post, payload_of
from connector.records.record import Arrival, Limits
from connector.records.snowflake import first_id
from connector.task.converter import Converter
from connector.transforms.chain import Chain
from connector.transforms.moment import Moment
from connector.transforms.timestamp_converter import Options, TimestampConverter
from connector.transforms.transformer import Transformer
from connector.transforms.values import with_timestamps, write_json
from connector.worker.values import form_of
from tests.unit.formats.lines import as_line, lines, recorded

RELEASED = Path(__file__).parent / "released"
NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
generated = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
TIME = "org.apache.kafka.connect.data.Timestamp"


def form(*, changed=False, with_raw=False):
    return ConnectForm(write_json, with_timestamps, changed=changed, with_raw=with_raw)


def transformer(change=None):
    """What writes posts, after *change*."""
    chain = Chain(()) if change is None else SimpleNamespace(apply=change, length=1, keeps_value=False)
    made = form(changed=change is not None)
    return Transformer(chain, connector="posts", topic="posts", labels=[], reserved=[], form=made)


def after(change, kind="retweet_full"):
    """The value of a recorded post after *change*."""
    return transformer(change).record_of(1, recorded()[kind], 0, None, 2**20).value


def putting(**members):
    def put(record):
        record.value |= members
        return record

    return put


def test_the_schema_as_the_converter_writes_it():
    """Types, members and their order; a list may be missing, as a field may that X does not always send."""
    inner = RecordType("Inner", "", (Field("of", 1, ListOf(Scalar.DOUBLE), ""),))
    record = RecordType(
        "Outer",
        "",
        (
            Field("text", 1, Scalar.STRING, ""),
            Field("number", 2, Scalar.LONG, "", nullable=True),
            Field("made", 3, Scalar.TIMESTAMP, ""),
            Field("sure", 4, Scalar.BOOLEAN, "", nullable=True),
            Field("one", 5, inner, "", nullable=True),
            Field("all", 6, ListOf(inner), ""),
        ),
    )
    of = '{"type":"array","items":{"type":"double","optional":false},"optional":true,"field":"of"}'
    fields, name = f'"type":"struct","fields":[{of}]', '"name":"murmuration.Inner"'

    assert schema_text(record, 3).decode() == (
        '{"type":"struct","fields":['
        '{"type":"string","optional":false,"field":"text"},'
        '{"type":"int64","optional":true,"field":"number"},'
        f'{{"type":"int64","optional":false,"name":"{TIME}","version":1,"field":"made"}},'
        '{"type":"boolean","optional":true,"field":"sure"},'
        f'{{{fields},"optional":true,{name},"field":"one"}},'
        f'{{"type":"array","items":{{{fields},"optional":false,{name}}},"optional":true,"field":"all"}}'
        '],"optional":false,"name":"murmuration.Outer","version":3}'
    )


def test_this_version_is_what_was_released():
    """A sink that looks at versions finds one schema under each."""
    assert (RELEASED / f"v{VERSION}.connect.json").read_bytes() == schema_text(POST, VERSION) + b"\n"


@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind(kind):
    """The payload is what `value.shape=post` writes, and fits the schema."""
    post = post_of(recorded()[kind])
    value = after(None, kind)

    assert write_json(post) == payload_of(value)
    assert {"schema", "payload"} == json.loads(value).keys()
    check_of(POST)(json.loads(payload_of(value)))


@pytest.mark.slow
@generated
@given(decoded=lines)
def test_any_line(decoded):
    """What a line becomes fits, so it is not looked at where no transform has changed it."""
    post = post_of(as_line(decoded), with_raw=True)
    check_of(POST)(post)

    assert post == json.loads(payload_of(form(with_raw=True).write(post)))


BENT = [
    ({"text": 7}, r"Expected `str`, got `int` - at `\$\.text`"),
    ({"id": None}, r"Expected `str`, got `null` - at `\$\.id`"),
    ({"added": "x"}, "unknown field `added`"),
    ({"metrics": {"like_count": 2**63}}, r"like_count"),
    ({"metrics": {"like_count": 1.5}}, r"like_count"),
    ({"media": [{"type": "photo"}]}, "missing required field `media_key`"),
    ({"author": {"id": "1", "metrics": {"added": 1}}}, "unknown field `added`"),
    ({"coordinates": {"longitude": float("nan"), "latitude": 0.0}}, "longitude"),
    ({"created_at": Moment(7, "Date")}, "a Timestamp, and no Date: use target.type=Timestamp or unix"),
]


@pytest.mark.parametrize(("members", "why"), BENT, ids=[str(members) for members, _ in BENT])
def test_a_value_that_a_transform_has_bent(members, why):
    """What no reader could read, or would not see, is a bad record."""
    with pytest.raises(BadRecord, match=why):
        after(putting(**members))


def test_a_value_without_end():
    """It is a bad record, and no error that nobody foresaw."""

    def tie(record):
        record.value["author"]["name"] = record.value
        return record

    with pytest.raises(BadRecord, match="nested too deeply"):
        after(tie)


def test_no_object():
    """A transform may leave a single field; it has another schema."""
    with pytest.raises(BadRecord, match="Expected `object`, got `str`"):
        after(lambda record: replace(record, value=record.value["text"]))


@pytest.mark.parametrize("target", ["Timestamp", "unix"])
def test_a_time_that_a_transform_has_made(target):
    """A Timestamp is what the schema has there."""
    converter = TimestampConverter(Options(field="created_at", target_type=target))
    value = after(lambda record: replace(record, value=converter.change(record.value, record)))

    assert after(None) == value


def test_what_may_be_missing():
    """Fields that may be absent may be null or gone, lists too."""
    value = after(putting(media=None, author=None, lang=None))

    assert [None] * 3 == [json.loads(payload_of(value))[name] for name in ("media", "author", "lang")]


def test_no_value():
    """It stays a tombstone."""
    record = transformer(lambda record: replace(record, value=None)).record_of(1, recorded()["retweet"], 0, None, 2**20)

    assert (b"", True) == (record.value, record.altered.tombstone)


def test_the_schema_counts():
    """A record that only without its schema is small enough is too large."""
    size = len(after(None)) + len("1")
    line = recorded()["retweet_full"]
    assert transformer().record_of(1, line, 0, None, size)

    with pytest.raises(BadRecord, match=f"a record of {size} bytes"):
        transformer().record_of(1, line, 0, None, size - 1)


def test_many_at_once_are_as_one_by_one():
    """Lines that came together give the same values."""
    found = {json.loads(line)["data"]["id"]: line for line in recorded().values()}
    converter = Converter(connector="posts", dead_letters=True, transformer=transformer(), form=form())
    converter.limit(Limits(record_bytes=1_000_000, dead_letter_bytes=1_000_000))
    records = converter.convert([Arrival(lines=(*found.values(),), at=0.0, size=1)]).records.done()

    assert [form().write(post_of(line)) for line in found.values()] == list(records.values)
    assert list(found.values()) == [records.line(place) for place in range(len(records))]


def test_who_asks_for_it_gets_it():
    """And the rest of the shapes as before; only where there are transforms it is looked at what they have left."""
    config = {"value_raw": False, "chain": (), "value_shape": "connect"}
    plain, chained = (form_of(SimpleNamespace(**config | {"chain": chain}), None) for chain in ((), ("a transform",)))
    broken = {"text": 7}

    assert plain.around_bytes == len(schema_text(POST, VERSION)) + len('{"schema":,"payload":}')
    assert broken == json.loads(payload_of(plain.write(broken)))
    with pytest.raises(ValueError, match="does not fit the schema of a post"):
        chained.write(broken)


# -- Readers of our own


@pytest.mark.parametrize("kind", recorded())
def test_fausts_channel_reads_it(kind):
    """The same `Post` as of the shape `post`."""
    codec = get_codec(codec_name("json"))
    post = post_of(recorded()[kind])

    expected = Post.from_data(codec.loads(write_json(post)))
    assert expected.asdict() == Post.from_data(codec.loads(after(None, kind))).asdict()


@pytest.mark.parametrize("kind", recorded())
def test_its_author_is_found(kind):
    """By a connector that withdraws posts."""
    line = recorded()[kind]

    assert author_in(line, b"1") == author_in(after(None, kind), b"1")


def test_tail_and_audit_read_it():
    """Author, text and rules in a line; and the post counts by the rules that it matched."""
    post_id = str(first_id(NOON))
    line = json.dumps(
        {
            "data": {"id": post_id, "text": "a starling", "author_id": "5"},
            "matching_rules": [{"id": "11", "tag": "posts/birds"}],
        }
    ).encode()
    value = form().write(post_of(line))
    shown = Shown(post_id.encode(), value, NOON)
    with TopicTally([(NOON, ["11"])], NOON + 60_000, has_references=True) as tally:
        tally.add(post_id.encode(), value)

        assert ([1], 0) == ([sum(found.values()) for found in tally.found], tally.strange)
    assert "[birds]  5  a starling" in shown_lines([shown], as_json=False, colours=False)
    assert shown.matches({"birds"})
    assert not shown.matches({"cats"})


@pytest.mark.parametrize(
    "value",
    [
        b'{"data":{"id":"1"}}',
        b'{"schema":',
        b'{"schema":1}',
        b'{"schema":\xff,"payload":1}',
        b"",
        b"\x00\x00\x00\x00\x07{",
    ],
)
def test_other_values_stay(value):
    """Anybody may have written them."""
    assert value == payload_of(value)
