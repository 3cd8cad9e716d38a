"""What `tail` understands, and how a record is printed; Kafka is not needed."""

import json

import click
import pytest

from connector.cli.tail.command import DEFAULT_POSTS, read_request
from connector.cli.tail.shown import Shown, lines

NOW = 1_795_521_600_000  # 2026-11-24T12:00:00Z


def post(text="a murmuration", *, tags=("posts/birds",), key=b"1", **fields):
    rules = [{"id": str(number), "tag": tag} for number, tag in enumerate(tags)]
    line = {"data": {"id": "1", "text": text, "author_id": "7", **fields}, "matching_rules": rules}
    return Shown(key, json.dumps(line, ensure_ascii=False).encode(), NOW)


OPTIONS = {"topic": None, "rules": (), "from_": None, "posts": None, "follow": False, "json_": False}


def request(topic="posts", **values):
    return read_request({**OPTIONS, **values}, topic, now_ms=NOW)


# -- the options


@pytest.mark.parametrize(
    ("values", "from_ms", "posts"),
    [
        ({}, None, DEFAULT_POSTS),
        ({"posts": 3}, None, 3),
        ({"from_": "beginning"}, 0, None),
        ({"from_": "-2h", "posts": 5}, NOW - 7_200_000, 5),
        ({"from_": "2026-11-24T11:00Z"}, NOW - 3_600_000, None),
        ({"from_": "end", "follow": True}, None, 0),
    ],
)
def test_where_it_begins_and_how_much_it_prints(values, from_ms, posts):
    """The last posts, or the first ones from a time on."""
    assert (from_ms, posts) == (request(**values).from_ms, request(**values).posts)


@pytest.mark.parametrize(
    ("topic", "values", "words"),
    [
        (None, {}, "--topic is required"),
        ("posts", {"from_": "end"}, "without --follow"),
        ("posts", {"from_": "yesterday"}, "--from cannot be 'yesterday'"),
    ],
)
def test_wrong_arguments_are_told(topic, values, words):
    """With the cure."""
    with pytest.raises(click.UsageError, match=words):
        request(topic, **values)


def test_another_topic_can_be_named():
    """Over that of the connector."""
    assert "letters" == read_request({**OPTIONS, "topic": "letters"}, "posts", now_ms=NOW).topic


# -- which posts


@pytest.mark.parametrize(
    ("tags", "wanted", "matches"),
    [
        (("posts/birds",), set(), True),
        (("posts/birds",), {"birds"}, True),
        (("posts/birds",), {"posts/birds"}, True),
        (("posts/birds", "posts/rooks"), {"rooks"}, True),
        (("posts/birds",), {"bird", "posts"}, False),
        (("of others",), {"of others"}, True),
        ((), {"birds"}, False),
        (("",), {""}, False),
    ],
)
def test_posts_of_a_rule(tags, wanted, matches):
    """By the label in the configuration, or the tag at X."""
    assert matches == post(tags=tags).matches(wanted)


@pytest.mark.parametrize("value", [None, b"", b"[]", b"no json", b'{"matching_rules": 3}'])
def test_a_record_without_rules_matches_none(value):
    """Transforms may have taken them, and others may write into the topic."""
    record = Shown(b"1", value, NOW)

    assert not record.matches({"birds"})
    assert record.matches(set())


# -- how a record looks


def test_a_line_for_people():
    """Time, labels, author, text."""
    assert "2026-11-24T12:00:00.000Z [birds]  7  a murmuration\n" == lines([post()], as_json=False, colours=False)


def test_only_the_head_has_a_colour():
    """And only where colours are wanted."""
    printed = lines([post()], as_json=False, colours=True)

    assert "\x1b[2m2026-11-24T12:00:00.000Z [birds]\x1b[0m  7  a murmuration\n" == printed


def test_json_is_the_value_as_it_was_delivered():
    """A line each."""
    one = post("ein Star, 星 🐦", key=b"2")

    assert one.value.decode() + "\n" == lines([one], as_json=True, colours=False)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("steering", ["\x1b[2J", "\x9b2J", "\u202e", "\u2028", "\x85", "\x7f", "\U000e0041"])
def test_nothing_steers_the_terminal(steering, *, as_json):
    """Text, author and tags are written by anybody; JSON keeps what it says."""
    raw = '{"data": {"id": "1", "text": "a%sb"}, "matching_rules": [{"tag": "t%s/l%s"}]}' % (
        (steering if ord(steering[0]) >= 0x20 else "\\u001b[2J",) * 3
    )
    record = Shown(b"1", raw.encode(), NOW)
    printed = lines([record], as_json=as_json, colours=False)

    assert printed[:-1].isprintable()
    if as_json:
        assert json.loads(raw) == json.loads(printed)


@pytest.mark.parametrize(
    ("record", "line", "as_json"),
    [
        (Shown(b"1", None, NOW), "1 is deleted", {"key": "1", "value": None}),
        (Shown(b"\x1bk", b"\xff\x1bv", NOW), "\\x1bk  \ufffd v", {"key": "\x1bk", "value": "\ufffd\x1bv"}),
        (Shown(None, b"v" * 600, NOW), "  " + "v" * 500 + "…", {"key": None, "value": "v" * 600}),
    ],
)
def test_what_is_no_post_is_shown_too(record, line, as_json):
    """A tombstone, another format, a record without a key."""
    time = "2026-11-24T12:00:00.000Z"

    assert f"{time}  {line}\n" == lines([record], as_json=False, colours=False)
    assert {"timestamp": time, **as_json} == json.loads(lines([record], as_json=True, colours=False))


def test_json_of_several_lines_becomes_one():
    """A reader of JSON lines would take it for several."""
    printed = lines([Shown(b"1", b'{\n\t"a": "b"\r\n}', NOW)], as_json=True, colours=False)

    assert 1 == printed.count("\n")
    assert {"a": "b"} == json.loads(printed)
