"""A line of X becomes a `Post`: field by field as declared, whatever else X sends."""

import copy
import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import BadRecord
from connector.formats.post import wire
from connector.formats.post.resolving import post_of
from connector.records.post import head_of
from connector.simulator.posts.samples import samples
from tests.unit import hostile
from tests.unit.formats.lines import as_line, lines, paths, recorded
from tests.unit.formats.oracle import conforms, expected

generated = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind_field_by_field(kind):
    """Whatever the declaration names is in the post as the line has it, and nothing else is."""
    line = recorded()[kind]
    post = post_of(line)

    assert expected(json.loads(line)) == post
    assert conforms(post)


@pytest.mark.parametrize(
    ("kind", "begin", "end", "length"),
    [
        ("retweet", "Reef at feather barn owl", "https://example.com/nz3", 301),  # of the original, without `RT @`
        ("note_tweet_long_media_multilingual", "\U0001d5e6\U0001d5f6", "", 0),
        ("emoji_minimal_retweet", "RT @synthetic_user_00004: ", "\u2026", 0),  # not sent along: cut, as X sent it
        ("retweet_full", "", "", 0),
    ],
)
def test_the_text_is_whole(kind, begin, end, length):
    """Of long posts and reposts, where the line has it."""
    line = json.loads(recorded()[kind])
    text = post_of(recorded()[kind])["text"]

    assert text.startswith(begin)
    assert text.endswith(end)
    if kind != "emoji_minimal_retweet":
        assert len(text) > len(line["data"]["text"])
        assert not text.endswith("\u2026")


@pytest.mark.parametrize("kind", ["retweet_full", "note_tweet_long_media_multilingual", "quote_full"])
def test_places_in_the_text_are_those_of_the_whole_text(kind):
    """Of a repost the entities are the original's; of a long post, those of its note."""
    post = post_of(recorded()[kind])
    entities = post.get("entities", {})
    for mention in entities.get("mentions", ()):
        assert f"@{mention['username']}".lower() == post["text"][mention["start"] : mention["end"]].lower()
    for url in entities.get("urls", ()):
        assert url["url"] == post["text"][url["start"] : url["end"]]
    for hashtag in entities.get("hashtags", ()):
        assert hashtag["tag"] == post["text"][hashtag["start"] + 1 : hashtag["end"]]


@pytest.mark.parametrize("kind", ["activity_post_create", "activity_post_delete"])
def test_what_is_no_post_is_a_bad_record(kind):
    """Such as a line of the activity stream."""
    with pytest.raises(BadRecord, match="is no post: its `data` has no `id`"):
        post_of(samples()[kind])


@pytest.mark.slow
@given(lines, st.booleans())
@generated
def test_any_line_field_by_field(line, escaped):
    """With any of the fields, objects that are sent along or not, and any text."""
    post = post_of(as_line(line, escaped=escaped))

    assert expected(line) == post
    assert conforms(post)


@pytest.mark.slow
@given(lines, st.data())
@generated
def test_a_value_of_another_type_counts_as_absent(line, data):
    """Each value but the post itself and its id; the rest of the post is as it would be without this one."""
    places = [path for path in paths(line) if path not in (("data",), ("data", "id"))]
    if not places:
        return
    path = data.draw(st.sampled_from(places))
    wrong, without = copy.deepcopy(line), copy.deepcopy(line)
    *outer, name = path
    parent = _at(wrong, outer)
    parent[name] = 7 if isinstance(parent[name], str) else data.draw(st.sampled_from(["x", {"x": 1}, [[]], None]))
    if isinstance(parent[name], type(_at(line, path))):
        return
    if name == "coordinates" or outer[-1:] == ["coordinates"]:
        return  # a point is whole or not there
    del _at(without, outer)[name]

    assert post_of(as_line(without)) == post_of(as_line(wrong))


def _at(value, path):
    for name in path:
        value = value[name]
    return value


@pytest.mark.slow
@given(lines, st.dictionaries(st.text(), st.recursive(st.none() | st.text(), st.lists)))
@generated
def test_what_x_adds_changes_nothing(line, added):
    """New members beside those that we know, of any form."""
    more = {**added, **line, "data": {**added, **line["data"]}, "errors": [added]}
    known = {"data", "includes", "matching_rules", *wire.Data.__struct_fields__}

    if not known & added.keys():
        assert post_of(as_line(line)) == post_of(as_line(more))


@pytest.mark.slow
@given(lines)
@generated
def test_both_readers_agree(line):
    """The one of nearly all lines, and the one of those with something that does not fit."""
    text = as_line(line)

    assert msgspec.json.decode(text, type=wire.Line) == wire.fitted(msgspec.json.decode(text), wire.Line)


@pytest.mark.parametrize("line", hostile.POSTS, ids=range(len(hostile.POSTS)))
def test_hostile_posts_become_posts(line):
    """Everything that passes as a post in X's own form has a `Post`, too."""
    post = post_of(line)

    assert conforms(post)
    assert head_of(line) == int(post["id"])


@pytest.mark.parametrize("line", hostile.NO_POSTS, ids=range(len(hostile.NO_POSTS)))
def test_what_is_no_post_has_the_same_words(line):
    """Those of `head_of`."""
    with pytest.raises(BadRecord) as before:
        head_of(line)
    with pytest.raises(BadRecord) as now:
        post_of(line)

    assert str(before.value) == str(now.value)


@pytest.mark.parametrize("levels", hostile.DEPTHS)
@pytest.mark.parametrize("name", ["entities", "text", "attachments", "public_metrics"])
def test_a_deep_value_in_a_field_that_counts(name, levels):
    """Is no object of ours: absent."""
    line = b'{"data":{"id":"7","lang":"en","%b":%b},"includes":{"users":%b}}' % (
        name.encode(),
        b"[" * levels + b"]" * levels,
        b"[" * levels + b"]" * levels,
    )

    assert {"id": "7", "text": "", "created_at": 1288834974657, "lang": "en"} == post_of(line)


@pytest.mark.parametrize(
    ("created_at", "made_ms"),
    [
        ("2026-03-02T10:15:30.000Z", 1772446530000),
        ("2026-03-02T10:15:30Z", 1772446530000),
        ("2026-03-02T11:15:30.123+01:00", 1772446530123),
        ("0001-01-01T00:00:00+23:59", 1288834974657),  # the id's: no such time in UTC
        ("2026-03-02T10:15:30", 1288834974657),  # of which place?
        ("yesterday", 1288834974657),
        (1772446530, 1288834974657),
        (None, 1288834974657),
    ],
)
def test_when_it_was_made(created_at, made_ms):
    """As X says, or by the id."""
    assert made_ms == post_of(as_line({"data": {"id": "7", "created_at": created_at}}))["created_at"]


def test_half_of_a_pair_is_replaced():
    """With U+FFFD, one for each half; whole pairs stay."""
    line = rb'{"data":{"id":"7","text":"a \ud83d b \udc26\ud83d\udc26","lang":"en","x":"\ud800"}}'

    assert "a \ufffd b \ufffd\U0001f426" == post_of(line)["text"]


def test_the_raw_line_is_there_on_request():
    """Byte for byte."""
    line = recorded()["retweet"]
    post = post_of(line, with_raw=True)

    assert line == post.pop("raw").encode()
    assert post_of(line) == post
