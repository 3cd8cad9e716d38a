"""
The compiled form writes a post in Avro as the form in Python does, byte for byte, or leaves the line to that.

CONNECTOR_FUZZ_MINUTES=10 damages lines for so long, with another seed each time.
"""

import builtins
import contextlib
import copy
import gc
import os
import random
import time
import types
import typing
from datetime import datetime
from typing import get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import BadRecord
from connector.formats.post import avro, resolving, wire
from connector.formats.post.avro_steps import program
from connector.formats.post.declaration import POST, REFERENCED_POST
from connector.formats.post.model import Field, ListOf, RecordType, Scalar
from connector.formats.post.resolving import post_of
from connector.formats.schemas import native
from connector.formats.schemas.avro import AvroWriter
from connector.formats.schemas.form import SchemaForm
from tests.unit import hostile
from tests.unit.formats.lines import as_line, lines, paths, recorded
from tests.unit.forms import NOT_BUILT

pytestmark = pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)

WRITER = AvroWriter(avro.schema_text(POST), POST)
generated = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MEANINGFUL = b'{}[]:,"\\ \t\n\x00\x7f\x80\xc3\xe2\xed\xf0\x9f0123456789-+.eEuZTabdfnrtl'
DAMAGED = 3_000


@pytest.fixture(scope="module")
def at_once():
    return WRITER.at_once(with_raw=False)


def in_python(line, *, with_raw=False):
    """What the form in Python writes; None if the line is no post."""
    try:
        return WRITER.body(post_of(line, with_raw=with_raw))
    except BadRecord:
        return None


def never_other_than_python(at_once, line):
    """Return what was written at once, which is what Python writes, or nothing."""
    body = at_once(line)
    if body is not None:
        assert in_python(line) == body
    return body


@pytest.mark.parametrize("with_raw", [False, True])
@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind(kind, with_raw):
    """Is written at once, and so that nothing differs."""
    line = recorded()[kind]

    assert in_python(line, with_raw=with_raw) == WRITER.at_once(with_raw=with_raw)(line)


def everything(kind, name=""):
    """A value of *kind*, a class of `wire` or one of its members' types, with all that it may have."""
    match get_origin(kind):
        case typing.Union | types.UnionType:
            return everything(get_args(kind)[0], name)
        case typing.Annotated:
            return everything(get_args(kind)[0], name)
        case builtins.list:
            return [everything(get_args(kind)[0], name)]
        case builtins.tuple:
            return [1.5, -2.5]
    if issubclass(kind, msgspec.Struct):
        members = typing.get_type_hints(kind, include_extras=True)
        return {member: everything(its, member) for member, its in members.items()}
    values = {int: len(name), float: 0.25, bool: True, datetime: "2026-01-02T03:04:05.678Z"}
    return values.get(kind) or ("77" if name.endswith(("id", "ids")) else "m" if name.startswith("media_key") else name)


def missing(record, value):
    """The declared fields that *value* has not, as paths."""
    for field in record.fields:
        if field.name in value and field.record is not None:
            inner = value[field.name]
            item = inner[0] if isinstance(inner, list) else inner
            yield from (f"{field.name}.{path}" for path in missing(field.record, item))
        elif field.x and field.name not in value:
            yield field.name


def test_all_that_is_read():
    """Each member that Python reads is written, from the same place; and Python reads all that is declared."""
    line = everything(wire.Line)
    line["data"]["referenced_tweets"] += [{"type": "quoted", "id": "78"}]
    post = post_of(as_line(line))

    assert in_python(as_line(line)) == WRITER.at_once(with_raw=False)(as_line(line))
    assert [] == list(missing(POST, post))


@pytest.mark.slow
@given(lines, st.booleans())
@generated
def test_any_line(at_once, decoded, escaped):
    """With any of the fields, and any text; a line as X writes it is not left to Python."""
    line = as_line(decoded, escaped=escaped)
    body = never_other_than_python(at_once, line)

    assert body is not None or b"-0.0" in line


@pytest.mark.slow
@given(lines, st.data())
@generated
def test_a_value_of_another_type(at_once, decoded, data):
    """Anywhere; or a member twice, or null."""
    places = list(paths(decoded))
    path = data.draw(st.sampled_from(places))
    wrong = copy.deepcopy(decoded)
    parent = wrong
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = data.draw(
        st.sampled_from(
            [
                None,
                7,
                -7,
                1.5,
                2.0,
                2**63,
                -(2**63),
                "",
                "x",
                "7",
                "2026-02-29T00:00:00Z",
                True,
                [],
                {},
                [[]],
                [{}],
                [None],
            ]
        )
    )
    never_other_than_python(at_once, as_line(wrong))


@pytest.mark.slow
@given(lines, st.dictionaries(st.text(), st.recursive(st.none() | st.text(), st.lists)))
@generated
def test_what_x_adds(at_once, decoded, added):
    """New members are skipped, wherever they stand."""
    more = {**added, **decoded, "data": {**added, **decoded["data"]}, "errors": [added]}

    never_other_than_python(at_once, as_line(more))


@pytest.mark.parametrize("line", [*hostile.POSTS, *hostile.NO_POSTS])
def test_hostile_lines(at_once, line):
    """What is taken is what Python takes."""
    never_other_than_python(at_once, line)


@pytest.mark.parametrize("name", ["entities", "text", "attachments", "public_metrics", "new"])
@pytest.mark.parametrize("levels", hostile.DEPTHS)
def test_deep_lines(at_once, name, levels):
    """Are left to Python, which drops what is too deep; new members, too."""
    deep = b"[" * levels + b"]" * levels
    never_other_than_python(at_once, b'{"data":{"id":"7","%b":%b}}' % (name.encode(), deep))


@pytest.mark.slow
def test_damaged_lines(at_once):
    """Bytes are cut out of recorded lines, and put in."""
    minutes = float(os.environ.get("CONNECTOR_FUZZ_MINUTES") or 0)
    seed = random.randrange(2**63) if minutes else 7
    rng, until = random.Random(seed), time.monotonic() + minutes * 60
    whole = list(recorded().values())
    tried = written = 0
    print(f"seed {seed}")  # noqa: T201  # to be seen with -s
    while tried < DAMAGED or time.monotonic() < until:
        line = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(line))
            line[at : at + rng.choice([0, 0, 1, 1, 2, 5])] = bytes(rng.choices(MEANINGFUL, k=rng.choice([0, 1, 1, 2])))
        tried += 1
        written += never_other_than_python(at_once, bytes(line)) is not None
    print(f"{tried} lines, {written} written at once")  # noqa: T201
    assert 0 < written < tried


@pytest.mark.parametrize(
    "data",
    [
        b'"created_at":"2026-03-02T10:15:30Z"',
        b'"created_at":"2026-03-02T10:15:30.5Z"',
        b'"created_at":"2026-03-02T10:15:30+00:00"',
        b'"created_at":"2000-02-29T23:59:59.999Z"',
        b'"created_at":"1900-02-29T00:00:00.000Z"',
        b'"created_at":"0001-01-01T00:00:00.000Z"',
        b'"created_at":"9999-12-31T23:59:59.999Z"',
        b'"created_at":"2026-12-31T23:59:60.000Z"',
        b'"created_at":"2026-13-01T00:00:00.000Z"',
        b'"created_at":"2026-04-31T00:00:00.000Z"',
        b'"created_at":null',
        b'"text":"\\u00e9\\ud83d\\udc26\\n\\/\\"\\\\ \\u0000"',
        b'"text":"\\ud83d"',
        b'"text":"\\udc26\\ud83d"',
        b'"text":"\\ud83dx"',
        b'"text":"\\udc26\\udc26"',
        b'"geo":{"plac\\u0065_id":"a"}',
        b'"note_tweet":{"t\\u0065xt":"n"},"text":"t"',
        b'"text":"a","text":"b"',
        b'"te\\u0078t":"a"',
        b'"author_id":"\\u0031"',
        b'"public_metrics":{"like_count":-0}',
        b'"public_metrics":{"like_count":1.0}',
        b'"public_metrics":{"like_count":1e2}',
        b'"public_metrics":{"like_count":9223372036854775807}',
        b'"public_metrics":{"like_count":-9223372036854775808}',
        b'"public_metrics":{"like_count":9223372036854775808}',
        b'"public_metrics":{"like_count":-9223372036854775809}',
        b'"public_metrics":{"like_count":18446744073709551617}',
        b'"geo":{"coordinates":{"coordinates":[-0.0,1]}}',
        b'"geo":{"coordinates":{"coordinates":[-0,1]}}',
        b'"geo":{"coordinates":{"coordinates":[1,1e309]}}',
        b'"geo":{"coordinates":{"coordinates":[-73.98765432101234,5]}}',
        b'"geo":{"coordinates":{"coordinates":[1,2,3]}}',
        b'"geo":{"coordinates":{"coordinates":[9007199254740993,123456789012345678901234567890]}}',
        b'"geo":{"coordinates":{}}',
        b'"geo":{"place_id":"a"}',
        b'"note_tweet":{"text":"","entities":{"hashtags":[{"tag":"x"}]}},"entities":{"hashtags":[{"tag":"y"}]}',
        b'"note_tweet":{"text":"n"},"entities":{"hashtags":[{"tag":"y"}]}',
        b'"referenced_tweets":[{"type":"retweeted","id":"1"},{"type":"retweeted","id":"2"}]',
        b'"referenced_tweets":[{"type":"retweeted","id":"x"}]',
        b'"referenced_tweets":[{"type":"quoted","id":"x"}]',
        b'"referenced_tweets":[{"type":"quoted","id":"\\u0031"}]',
        b'"referenced_tweets":[{"type":"r\\u0065tweeted","id":"1"}]',
        b'"referenced_tweets":[{"type":"quoted","id":"3"}]',
        b'"referenced_tweets":[{"id":"1"}]',
        b'"attachments":{"media_keys":["m","\\u006d","n"]}',
        b'"edit_controls":{}',
        b'"withheld":{"country_codes":[]}',
        b'"entities":{"hashtags":null}',
    ],
)
def test_what_is_read_in_a_special_way(at_once, data):
    """Times, numbers, escapes, the whole text, points; with what is sent along of several kinds."""
    beside = (
        b'"includes":{"tweets":[{"id":"1","text":"one","note_tweet":{"text":"long"}},{"id":"2","text":"two",'
        b'"referenced_tweets":[{"type":"quoted","id":"1"}]},{"id":"x","text":"no",'
        b'"created_at":"2026-03-02T10:15:30.000Z"},{"id":"\\u0033","text":"three"}],"media":[{"media_key":"m","type":"photo"}],'
        b'"users":[{"id":"1","username":"u"},{"id":"1"}]}'
    )
    for line in (b'{"data":{"id":"7",%b}}' % data, b'{"data":{%b,"id":"7","author_id":"1"},%b}' % (data, beside)):
        never_other_than_python(at_once, line)
        assert in_python(line) == SchemaForm(WRITER, lambda value: value).body(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"d\\u0061ta":{"id":"8"},"data":{"id":"7"}}',
        b'{"data":{"id":"\\u0037"}}',
        b'{"data":{"id":"07"}}',
        b'{"data":{"id":"7"},"includes":{"\\u0075sers":[]}}',
        b'{"data":{"id":"7"},"matching_rules":{}}',
        b'{"data":{"id":"7"},"matching_rules":null}',
        b'{"data":{"id":"7"},"includes":{"users":{}}}',
        b'{"data":{"id":"7"},"data":{"id":"8"}}',
        b'{"data":{"id":"7","id":"8"}}',
        b'{"data":{"id":"7","new":%b%b}}' % (b"[" * 64, b"]" * 64),
        b'{"data":{"id":"7","new":[%b1]}}' % (b"1," * 600_000),
    ],
    ids=range(11),
)
def test_what_is_left_to_python(at_once, line):
    """Names with escapes, members twice, other types, too many levels or values: whatever else the line has."""
    assert at_once(line) is None
    with contextlib.suppress(BadRecord):
        assert int(post_of(line)["id"]) in (7, 8)


def test_a_large_number_beside_what_no_parser_reads(at_once):
    """Python reads the number as without that: a fraction may be as large."""
    line = (
        b'{"data":{"id":"7","geo":{"coordinates":{"coordinates":[1,12345678901234567890123]}}},'
        b'"includes":{"tweets":[{"id":"1","text":1e999}]}}'
    )
    assert never_other_than_python(at_once, line) is not None
    assert {"longitude": 1.0, "latitude": 12345678901234567890123.0} == post_of(line)["coordinates"]


def test_what_is_no_line(at_once):
    """Such as a text in place of bytes."""
    with pytest.raises(TypeError):
        at_once("{}")
    assert at_once(b"") is None
    assert at_once(b"\xff") is None


def test_ever_larger_tables(at_once):
    """A line with more values, and a post of more bytes, than there is room for at the beginning."""
    rules = [{"id": str(number), "tag": "t" * number} for number in range(5_000)]
    line = as_line({"data": {"id": "7", "text": "\n" * 100_000}, "matching_rules": rules})

    assert never_other_than_python(at_once, line) is not None


def heavy(references):
    """A line of a megabyte whose large object is named *references* times."""
    post = {"id": "1", "text": "x" * 1_000_000}
    return as_line(
        {
            "data": {"id": "7", "referenced_tweets": [{"type": "quoted", "id": "1"}] * references},
            "includes": {"tweets": [post]},
        }
    )


def test_a_large_object_that_is_named_often(at_once):
    """A post has no gigabytes because a line names one thing again and again: it is a bad record."""
    assert never_other_than_python(at_once, heavy(50)) is not None
    assert at_once(heavy(100)) is None
    with pytest.raises(BadRecord, match="refers more than 66 times to what X sent along"):
        post_of(heavy(100))
    assert len(heavy(100)) * 66 < resolving.LOOKED_THROUGH_BYTES_MAX


def test_a_new_field():
    """The compiled form writes a plain field by its declaration alone."""
    post = RecordType(
        POST.name, "", (*POST.fields, Field("card_uri", 40, Scalar.STRING, "", "card_uri", nullable=True))
    )
    written = AvroWriter(avro.schema_text(post), post).at_once(with_raw=False)(b'{"data":{"id":"7","card_uri":"c"}}')

    assert WRITER.body(post_of(b'{"data":{"id":"7"}}')) + b"\2\2c" == written


def test_a_writer_lives_as_long_as_it_is_used():
    """The steps that it was made of, too."""
    steps = program(POST, with_raw=False)
    write = native.compiled.writer(steps)
    del steps
    gc.collect()

    assert in_python(recorded()["retweet_full"]) == write(recorded()["retweet_full"])


RECORDS, SOURCES, REPOST = program(POST, with_raw=False)
STEP = ("string", 0, -1, (), False, -1, -1)


def with_step(**changed):
    names = ("done", "slot", "second", "path", "nullable", "record", "source")
    step = tuple({**dict(zip(names, STEP, strict=True)), **changed}.values())
    (members, steps) = RECORDS[-1]
    return (*RECORDS[:-1], (members, (step, *steps))), SOURCES, REPOST


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (RECORDS, SOURCES),
        ((), SOURCES, REPOST),
        (RECORDS, SOURCES * 9, REPOST),
        (RECORDS[-1:], SOURCES, REPOST),
        (RECORDS[::-1], SOURCES, REPOST),
        (RECORDS * 9, SOURCES, REPOST),
        ((*RECORDS, ((b"name",) * 40, ())), SOURCES, REPOST),
        (("x",), SOURCES, REPOST),
        (((("name",), ()),), SOURCES, REPOST),
        *(
            (RECORDS, SOURCES, (*REPOST[:place], wrong, *REPOST[place + 1 :]))
            for place in range(5)
            for wrong in (-1, 99)
        ),
        with_step(done="other"),
        with_step(done=b"string"),
        with_step(slot=-1),
        with_step(slot=99),
        with_step(path=("a",)),
        with_step(path=(b"a",) * 9),
        with_step(done="text"),
        with_step(done="text", second=99, path=(b"a",)),
        with_step(done="text", second=0),
        with_step(done="item"),
        with_step(done="item", second=2),
        with_step(done="record", record=0, nullable=False),
        with_step(done="raw"),
        with_step(done="whole", second=0, path=(b"a",), nullable=True),
        with_step(done="joined", record=0),
        with_step(done="joined", record=0, source=99),
        with_step(done="record", record=len(RECORDS) - 1, nullable=True),
        with_step(done="record", record=-1, nullable=True),
        with_step(slot=2**40),
    ],
)
def test_steps_that_cannot_be_done(steps):
    """Are refused when the writer is made."""
    with pytest.raises((ValueError, TypeError, OverflowError)):
        native.compiled.writer(steps)


def test_a_list_that_no_step_writes():
    """Is told when the steps are made."""
    post = RecordType("Post", "", (*POST.fields, Field("years", 50, ListOf(Scalar.LONG), "", "years")))
    with pytest.raises(ValueError, match="years: no step writes a list of type long"):
        program(post, with_raw=False)


def test_what_has_no_references_is_no_post():
    """The steps need to know what a repost is."""
    with pytest.raises(StopIteration):
        program(RecordType("Post", "", POST.fields[:1]), with_raw=False)


def test_two_records_may_be_alike():
    """A record that is mentioned twice is described once."""
    records = program(
        RecordType("Post", "", (*POST.fields, Field("also", 50, ListOf(REFERENCED_POST), "", "also"))), with_raw=True
    )[0]

    assert len(RECORDS) == len(records)


def test_without_the_compiled_form(monkeypatch):
    """Everything is written all the same."""
    monkeypatch.setattr(native, "compiled", None)
    form = SchemaForm(WRITER, lambda value: value)
    line = recorded()["quote_full"]

    assert WRITER.at_once(with_raw=False) is None
    assert in_python(line) == form.body(line)
