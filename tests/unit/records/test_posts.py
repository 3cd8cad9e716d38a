import json
from datetime import UTC, datetime

import orjson
import pytest
from faust.exceptions import ValueDecodeError
from faust.serializers.codecs import get_codec
from faust.serializers.registry import Registry
from hypothesis import given
from hypothesis import strategies as st

from connector.formats import FORMATS, codec_name
from connector.records.post import MatchingRule, Post, to_fields
from connector.records.snowflake import created_ms, from_iso
from tests.unit.fakes import id_of

LINE = {
    "data": {
        "id": str(id_of(0)),
        "text": "Starlings at dusk",
        "author_id": "42",
        "created_at": "2026-11-01T12:34:56.000Z",
        "lang": "en",
        "edit_history_tweet_ids": [str(id_of(0))],
    },
    "includes": {"users": [{"id": "42", "username": "flock"}]},
    "matching_rules": [{"id": "7", "tag": "posts/birds"}],
}
"""What X sends for a post, with the fields that we ask for."""


def line_with(rules=LINE["matching_rules"], **data):
    """The line with *data* changed; None removes."""
    fields = {key: value for key, value in (LINE["data"] | data).items() if value is not None}
    return LINE | {"data": fields, "matching_rules": rules}


def read(line):
    return Post.from_data(get_codec(codec_name("json")).loads(orjson.dumps(line)))


def test_usual_line():
    """The fields that most readers need, typed."""
    post = read(LINE)

    assert str(id_of(0)) == post.id
    assert "Starlings at dusk" == post.text == post.full_text
    assert datetime(2026, 11, 1, 12, 34, 56, tzinfo=UTC) == post.created_at
    assert ("42", "en", None) == (post.author_id, post.lang, post.note_text)
    assert [MatchingRule(id="7", tag="posts/birds")] == post.matching_rules


ODD = [
    # a rule that somebody made without a tag
    ({"rules": [{"id": "7"}]}, lambda post: "" == post.matching_rules[0].tag),
    # the sample streams have no rules
    ({"rules": []}, lambda post: [] == post.matching_rules),
    # X leaves a fraction of zero out
    (
        {"created_at": "2026-11-01T12:34:56.789Z"},
        lambda post: "2026-11-01T12:34:56.789000+00:00" == post.created_at.isoformat(),
    ),
    ({"created_at": "2026-11-01T12:34:56Z"}, lambda post: "2026-11-01T12:34:56+00:00" == post.created_at.isoformat()),
    # not asked for: the id knows
    ({"created_at": None}, lambda post: 1_793_536_496.789 == pytest.approx(post.created_at.timestamp(), abs=1e-3)),
    # a long post: X cuts the text
    (
        {"text": "Starlings…", "note_tweet": {"text": "Starlings, all of it"}},
        lambda post: ("Starlings…", "Starlings, all of it") == (post.text, post.full_text),
    ),
    # a note that was asked for without its text
    ({"note_tweet": {}}, lambda post: "Starlings at dusk" == post.full_text),
    ({"author_id": None, "lang": None}, lambda post: (None, None) == (post.author_id, post.lang)),
    ({"text": None}, lambda post: "" == post.text),
    ({"text": "\U0001f426 \u0000 \u202e"}, lambda post: "\U0001f426 \u0000 \u202e" == post.text),
]


@pytest.mark.parametrize(("changed", "holds"), ODD)
def test_odd_lines(changed, holds):
    """What X leaves out or sends otherwise is still a post."""
    assert holds(read(line_with(**changed)))


def test_line_without_rules_and_includes():
    """A line may have nothing but an id."""
    post = read({"data": {"id": str(id_of(3))}})

    assert (str(id_of(3)), "", []) == (post.id, "", post.matching_rules)


def test_defaults_are_not_shared():
    """Two posts without rules do not share a list."""
    first, second = read({"data": {"id": "1"}}), read({"data": {"id": "2"}})
    first.matching_rules.append(MatchingRule(id="9"))

    assert [] == second.matching_rules


def test_bytes_are_written_as_they_are():
    """`value.format=json` adds nothing to and takes nothing from what X sent."""
    raw = b'{ "data":{"id":"1"} , "future_field":[1.0e5] }'

    assert raw == get_codec("post_json").dumps(raw)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    post_id=st.integers(1, 2**63 - 1),
    text=TEXTS,
    created=st.datetimes(min_value=datetime(2010, 11, 5), max_value=datetime(2079, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    author=st.none() | st.text("0123456789", min_size=1, max_size=19),
    lang=st.none() | st.sampled_from(["en", "und", "zxx"]),
    note=st.none() | TEXTS.filter(bool),
    rules=st.lists(st.builds(MatchingRule, id=st.text("0123456789", min_size=1), tag=TEXTS), max_size=3),
)
def test_post_through_the_codec(post_id, text, created, author, lang, note, rules):
    """A `Post` that an application writes is the same `Post` when it is read."""
    post = Post(
        id=str(post_id),
        text=text,
        created_at=created,
        author_id=author,
        lang=lang,
        note_text=note,
        matching_rules=rules,
    )
    codec = get_codec(codec_name("json"))

    assert post.asdict() == Post.from_data(codec.loads(codec.dumps(post.to_representation()))).asdict()


@given(st.integers(1, 2**63 - 1))
def test_creation_time_of_the_id(post_id):
    """Without `created_at` the post has the time of its id."""
    fields = to_fields({"data": {"id": str(post_id)}})

    assert created_ms(post_id) == from_iso(fields["created_at"].isoformat())


def test_every_format_has_a_codec():
    """What `value.format` may name, Faust knows."""
    assert {"json"} == set(FORMATS)
    assert all(json.loads(get_codec(codec_name(name)).dumps(b"{}")) == {} for name in FORMATS)


READ_ANYWAY = [
    # half of a surrogate pair: no character, and nobody could print or encode a text with it
    (rb'{"data":{"id":"%d","text":"cut \ud83d"}}', "cut \ufffd"),
    (rb'{"data":{"id":"%d","text":"\ud83d\udc26 \\ud83d"}}', "\U0001f426 \\ud83d"),
    (rb'{"data":{"id":"%d","text":"note","\ud800":1},"\udc00":"\ud800"}', "note"),
    # more levels, and larger numbers, than parsers take, where nobody looks
    (b'{"data":{"id":"%d","text":"deep"},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
    (b'{"data":{"id":"%d","text":"deep","x":' + b'{"a":' * 1_500 + b"1" + b"}" * 1_500 + b"}}", "deep"),
    (b'{"data":{"id":"%d","text":"large","x":1e999}}', "large"),
]


@pytest.mark.parametrize(("line", "text"), READ_ANYWAY, ids=range(len(READ_ANYWAY)))
def test_what_parsers_refuse_is_read(line, text):
    """Whatever is in the topic can be read as a `Post`, and written anywhere."""
    post = Post.from_data(get_codec("post_json").loads(line % id_of(0)))

    assert (str(id_of(0)), text) == (post.id, post.text)
    assert post.text.encode()


@pytest.mark.parametrize("value", [b"", b"no JSON", b"[" * 100_000, b'{"data":' * 100_000, b'{"data":{"id":"\xff"}}'])
def test_what_is_no_line_is_an_error_that_faust_knows(value):
    """Faust wraps it, and goes by its own rules for values that cannot be decoded."""
    with pytest.raises(ValueDecodeError):
        Registry().loads_value(Post, value, serializer="post_json")
