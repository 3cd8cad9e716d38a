"""A line of X's compliance streams."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.compliance.events import KINDS, read
from connector.errors import BadRecord

# the lines of X's API reference, with ids of their size
DELETE = (
    b'{"data":{"delete":{"tweet":{"id":"2028413882771976192","author_id":"1124570877335310337"},'
    b'"event_at":"2026-03-02T11:00:00.000Z"}}}'
)
EDIT = (
    b'{"data":{"tweet_edit":{"tweet":{"id":"2028413003364839431"},"event_at":"2026-03-02T10:12:00.000Z",'
    b'"initial_tweet_id":"2028409981368807424","edit_tweet_ids":["2028409981368807424","2028413003364839431"]}}}'
)
SUSPEND = b'{"data":{"user_suspend":{"user":{"id":"1124570877335310337"},"event_at":"2026-03-02T11:00:00.000Z"}}}'


def line(kind, **body):
    return json.dumps({"data": {kind: body}}).encode()


def test_a_post_is_deleted():
    """The event has the post and its time; the author is known from elsewhere."""
    event = read(DELETE)

    assert ("delete", 2028413882771976192, None) == (event.kind, event.post, event.user)
    assert 1772449200000 == event.at_ms


def test_an_edit_replaces_all_older_versions():
    """The newest version stays, however often the ids of the others are told."""
    event = read(EDIT)

    assert (2028413003364839431, (2028409981368807424,)) == (event.post, event.older)


def test_an_event_of_a_user():
    """It names no post."""
    event = read(SUSPEND)

    assert ("user_suspend", None, 1124570877335310337) == (event.kind, event.post, event.user)


def test_withheld_nowhere_any_more():
    """An empty list of countries takes nothing back; one that X leaves out does."""
    about = {"tweet": {"id": "1"}}

    assert [True, False, True] == [
        read(line("withheld", **about, withheld_in_countries=["DE"])).countries,
        read(line("withheld", **about, withheld_in_countries=[])).countries,
        read(line("withheld", **about)).countries,
    ]


def test_both_spellings_and_new_kinds_are_read():
    """X renames its members at times, and adds kinds."""
    assert 7 == read(line("drop", post={"id": "7"})).post
    assert "post_hidden" == read(line("post_hidden", post={"id": "7"}, more=[1])).kind
    assert "post_hidden" not in KINDS


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"[]",
        b'{"data":{}}',
        b'{"data":{"id":"1","text":"a post"}}',
        line("delete"),
        line("delete", tweet={}),
        line("delete", tweet={"id": "x"}),
        line("delete", tweet={"id": "9223372036854775808"}),
        line("delete", tweet={"id": "0"}),
        line("delete", tweet={"id": 1}),
        line("delete", tweet={"id": "1"}, event_at="yesterday"),
        b'{"data":{"delete":{"tweet":{"id":"1"}},"drop":{"tweet":{"id":"2"}}}}',
        b"\xff",
    ],
)
def test_what_is_no_event_is_a_bad_record(bad):
    """The sentence says so, and shows little of the line."""
    with pytest.raises(BadRecord, match="is no compliance event"):
        read(bad)


@given(st.binary(max_size=200))
def test_any_bytes(raw):
    """Whatever comes is an event or a bad record."""
    with contextlib.suppress(BadRecord):
        read(raw)
