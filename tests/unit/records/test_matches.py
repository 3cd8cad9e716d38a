"""Posts are counted by the rules that their lines name, in both forms alike, wherever X puts the member."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.records import matches
from connector.records.matches import END_BYTES, MatchedRule, count_ends, rules_in
from tests.unit.fakes import post, shared_post
from tests.unit.forms import COMPILED_TOO, FORMS, form

MEMBER = b'"matching_rules"'


def counted(*lines):
    counts = {}
    count_ends(lines, counts)
    return counts


def by_ids(counts):
    return {tuple(rule.id for rule in rules_in(end)): posts for end, posts in counts.items()}


@FORMS
def test_posts_by_rules(compiled):
    """Each set of rules that posts matched together is counted, and posts without rules are, too."""
    with form(compiled):
        counts = counted(
            shared_post(1, "7"), shared_post(2, "7", "8"), shared_post(3, "7"), post(4), shared_post(5, ("9", "a/b"))
        )

    assert {("7",): 2, ("7", "8"): 1, (): 1, ("9",): 1} == by_ids(counts)
    assert (MatchedRule("9", "a/b"),) in {rules_in(end) for end in counts}


@FORMS
def test_counts_are_added(compiled):
    """What was counted before stays counted."""
    with form(compiled):
        counts = counted(shared_post(1, "7"))
        count_ends((shared_post(2, "7"), shared_post(3, "8")), counts)

    assert {("7",): 2, ("8",): 1} == by_ids(counts)


@FORMS
def test_more_rules_than_wait(compiled):
    """A thousand rules in turn are counted as exactly as one."""
    lines = [shared_post(number, str(10**18 + number % 1_000)) for number in range(2_500)]
    with form(compiled):
        counts = by_ids(counted(*lines))

    assert {(str(10**18 + rule),): 3 if rule < 500 else 2 for rule in range(1_000)} == counts


@FORMS
@pytest.mark.parametrize(
    "line",
    [
        b'{"data":{"id":"1","text":"\\"matching_rules\\":[{\\"id\\":\\"6\\"}]"},"matching_rules":[{"id":"7","tag":""}]}',
        b'{ "data": {"id": "1"},\r\n "matching_rules" : [ { "tag": "", "id": "7" } ] }',
        b'{"matching_rules":[{"id":"7"}],"data":{"id":"1"}}',
        b'{"data":{"id":"1"},"matching_rules":[{"id":"7"}],"includes":{"users":[{"name":"{[\\"]}"}]}}',
    ],
)
def test_wherever_it_stands(compiled, line):
    """The member is found beside text that looks like it, with spaces, and before other members."""
    with form(compiled):
        assert {("7",): 1} == by_ids(counted(line))


@FORMS
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        MEMBER,
        b'{"data":{"id":"1","text":"matching_rules"}}',
        b'{"data":{"id":"1"},"matching_rules":[{"id":"7"}],"text":"' + b"x" * END_BYTES + b'"}',
        b'{"data":{"id":"1"},"matching_rules":[{"id":7}]}',
        b'{"data":{"id":"1"},"matching_rules":null}',
        b'{"data":{"id":"1"},"matching_rules":[{"id":"\xff"}]}',
        b'{"data":{"id":"1"},"matching_rules":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    ],
)
def test_no_rules(compiled, line):
    """A line whose rules cannot be read counts as one without."""
    with form(compiled):
        assert {(): 1} == by_ids(counted(line))


@FORMS
def test_the_bound(compiled):
    """The member may begin exactly so far before the end, and no further."""
    end = MEMBER + b":[]" + b" " * (END_BYTES - len(MEMBER) - 4) + b"}"
    with form(compiled):
        assert {end: 1} == counted(b"{" + end)
        assert {b"": 1} == counted(b"{" + end + b" ")


@COMPILED_TOO
@given(
    st.lists(st.lists(st.sampled_from([MEMBER, b'"', b"matching_", b"rules", b"x" * 50, b"1"]), max_size=8), max_size=9)
)
def test_the_same_of_both(pieces):
    """Whatever the lines are, both forms count the same ends."""
    lines = tuple(b"".join(parts) for parts in pieces)
    with form(None):
        plain = counted(*lines)

    assert plain == counted(*lines)
    assert len(lines) == sum(plain.values())


def test_a_rule_twice():
    """X may repeat a rule; a post counts for it once."""
    line = orjson.dumps({"matching_rules": [{"id": "7", "tag": ""}] * 2})

    assert (MatchedRule("7"),) == rules_in(line[1:])
    assert matches.rules_in.cache_info().maxsize is not None
