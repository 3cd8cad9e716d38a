import itertools
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.errors import ConnectorError, InvalidRequest, NotAuthorized, RateLimited, ServiceUnavailable
from connector.records.snowflake import first_id
from connector.simulator import ManualClock, SimulatorSettings, SimulatorThread
from connector.sources.archive.counts import TRIES, Counting, CountQuery, Patience, excludes_retweets, pack
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken
from connector.sources.rest.rules import Rule, held_rules

from .scripted import ScriptedServer, answer

NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
LONG_AGO = NOON - 30 * 86_400_000

numbers = itertools.count()


def rule(value, *, at_ms=LONG_AGO, tag="t"):
    return Rule(value=value, tag=tag, id=str(first_id(at_ms) + next(numbers)))


def packed(*rules, max_characters=512):
    return pack(rules, from_ms=NOON, to_ms=NOON + 10 * MINUTE, max_characters=max_characters)


def page(*counts, begin_ms=NOON, following=None):
    entries = [
        {"start": iso(begin_ms + i * MINUTE), "end": iso(begin_ms + (i + 1) * MINUTE), "tweet_count": count}
        for i, count in enumerate(counts)
    ]
    meta = {"total_tweet_count": sum(counts), **({"next_token": following} if following else {})}
    return answer(200, {"data": entries, "meta": meta})


def iso(ms):
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def count(script, *, minutes=3, text="(#a) -is:retweet", now=NOON / 1000):
    """Count by what the script answers; return the numbers, the requests, how many were paid, and the waits."""
    waits, said = [], []
    with ScriptedServer(script) as server, Api(server.url, BearerToken("t")) as api:
        counting = Counting(api, Patience(said.append, sleep=waits.append, clock=lambda: now))
        counted = counting.by_minute(CountQuery(text=text, rules=(), from_ms=NOON), NOON + minutes * MINUTE)
        queries = [parse_qs(urlsplit(request.path).query) for request in server.requests]
        return counted, queries, counting.requests, waits


# -- queries


def test_rules_that_fit_are_one_query():
    """Then X's number is of distinct posts. Each rule keeps its own meaning, by its parentheses."""
    one, other = rule("#a lang:en"), rule("b OR c d")

    (query,) = packed(one, other).queries

    assert "((#a lang:en) OR (b OR c d)) -is:retweet" == query.text
    assert {one, other} == set(query.rules)
    assert NOON == query.from_ms


@pytest.mark.parametrize(("length", "queries"), [(245, 1), (246, 2)])
def test_a_query_is_as_long_as_x_takes_and_no_longer(length, queries):
    """512 characters with all that joins the rules: 14 around them, 4 between them, 2 around each."""
    found = packed(rule("a" * length), rule("b" * length)).queries

    assert queries == len(found)
    assert (512 if queries == 1 else 262) == len(found[0].text)


def test_the_longest_come_first():
    """Six short ones fill up what three long ones leave: three queries, not four."""
    lengths = [50] * 6 + [300] * 3
    found = packed(*(rule(f"{number}" * length) for number, length in enumerate(lengths))).queries

    assert 3 == len(found)
    assert len(lengths) == sum(len(query.rules) for query in found)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("cats sample:10", "sample"),  # not an operator of search
        ("x" * 600, "600 characters"),  # one term
        (" OR ".join(f"#hashtag{number}" for number in range(60)), "overlap"),  # search could have it in two
    ],
)
def test_a_rule_that_one_query_cannot_stand_for_is_left_out(value, reason):
    """With the reason, and alone."""
    bad, good = rule(value), rule("#a -is:retweet")

    found = packed(bad, good)

    ((left,), (query,)) = found.left_out, found.queries
    assert bad == left.rule
    assert reason in left.reason
    assert (good,) == query.rules
    assert not found.are_distinct


@pytest.mark.parametrize(("length", "fits"), [(496, True), (497, False)])
def test_a_rule_fits_with_what_is_around_it(length, *, fits):
    """Nothing longer than X takes is asked, and paid for."""
    found = packed(rule("x" * length))

    assert ([512] if fits else []) == [len(query.text) for query in found.queries]


def test_enterprise_has_longer_queries():
    """There the rule of 600 characters is no trouble."""
    assert 1 == len(packed(rule("x" * 600), rule("y" * 600), max_characters=4096).queries)


def test_a_new_rule_counts_from_its_first_whole_minute():
    """X delivers for it some seconds later; what was posted before it is nobody's loss."""
    old, new = rule("#old"), rule("#new", at_ms=NOON + 2 * MINUTE + 45_000)

    first, second = packed(old, new).queries

    assert ((old,), NOON) == (first.rules, first.from_ms)
    assert ((new,), NOON + 4 * MINUTE) == (second.rules, second.from_ms)  # at 12:02:45 + 20 s it is 12:03:05


def test_rules_of_one_minute_are_asked_for_together():
    """As those are that a connector makes at its start; they are distinct then, too."""
    value = "{} -is:retweet"
    found = packed(rule(value.format("a"), at_ms=NOON + 1000), rule(value.format("b"), at_ms=NOON + 1001))

    assert [NOON + MINUTE] == [query.from_ms for query in found.queries]
    assert found.are_distinct


def test_a_rule_without_a_whole_minute_is_left_out():
    """And X is not asked."""
    found = packed(rule("#new", at_ms=NOON + 9 * MINUTE + 30_000))

    assert () == found.queries
    assert "new" in found.left_out[0].reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cats -is:retweet", True),
        ("(cats OR dogs) -is:retweet lang:en", True),
        ("cats -IS:retweet", True),
        ("cats", False),
        ("cats OR dogs -is:retweet", False),  # the space binds tighter: cats alone has retweets
        ("cats (dogs OR -is:retweet)", False),
        ('cats "-is:retweet"', False),  # the words
        ('"a OR b" -is:retweet', True),
        ("cats -is:retweetish", False),
    ],
)
def test_knows_a_rule_without_retweets(value, expected):
    """A wrong yes would let the ledger count retweets, which X does not."""
    assert expected == excludes_retweets(value)


def test_distinct_only_without_retweets():
    """One rule of two that lets retweets in is enough to read the topic, and so is a second query."""
    assert packed(rule("a -is:retweet"), rule("b -is:retweet")).are_distinct
    assert not packed(rule("a -is:retweet"), rule("b")).are_distinct
    assert not packed(rule(f"{'a' * 300} -is:retweet"), rule(f"{'b' * 300} -is:retweet")).are_distinct


# -- answers


def test_counts_by_minute():
    """The query goes out with whole seconds and by the minute, as X asks for it."""
    counted, (query,), requests, _ = count([page(5, 0, 7)])

    assert {NOON: 5, NOON + MINUTE: 0, NOON + 2 * MINUTE: 7} == counted
    assert {
        "query": ["(#a) -is:retweet"],
        "granularity": ["minute"],
        "start_time": ["2026-11-24T12:00:00Z"],
        "end_time": ["2026-11-24T12:03:00Z"],
    } == query
    assert 1 == requests


def test_all_pages_count():
    """Each is a request, and paid for."""
    script = [page(7, begin_ms=NOON + MINUTE, following="older"), page(5)]

    counted, queries, requests, _ = count(script)

    assert {NOON: 5, NOON + MINUTE: 7} == counted
    assert [None, ["older"]] == [query.get("next_token") for query in queries]
    assert 2 == requests


def test_parts_of_a_minute_are_one_minute():
    """Pages may meet within one."""
    script = [page(7, begin_ms=NOON + 30_000, following="older"), page(5)]

    assert {NOON: 12} == count(script)[0]
    assert {NOON: 9} == count([answer(200, {"data": [start(NOON, 4), start(NOON + 30_000, 5)]})])[0]


def start(ms, count):
    return {"start": iso(ms), "tweet_count": count}


def test_the_same_page_again_ends_it():
    """Not the operator's money."""
    with pytest.raises(ConnectorError, match="again and again"):
        count([page(5, following="same")])


def test_no_data_is_no_posts():
    """X leaves `data` out elsewhere where there is nothing."""
    assert {} == count([answer(200, {"meta": {"total_tweet_count": 0}})])[0]


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"start": "2026-11-24T12:00:00.000Z"}]},
        {"data": [{"start": "noon", "tweet_count": 5}]},
        {"data": [{"start": "2026-11-24T12:00:00.000Z", "tweet_count": None}]},
        {"data": ["12"]},
        {"data": 12},
    ],
)
def test_what_is_not_understood_is_no_zero(body):
    """It ends the audit at once: taken for nothing it would prove completeness, and tried again it would cost again."""
    with pytest.raises(ConnectorError, match="not known"):
        count([answer(200, body)])


# -- patience


def test_waits_for_the_end_of_a_rate_limit():
    """By X's header; what was refused is not paid for."""
    reset = str(NOON // 1000 + 300)
    counted, _, requests, waits = count([answer(429, headers={"x-rate-limit-reset": reset}), page(5)])

    assert {NOON: 5} == counted
    assert [301] == waits
    assert 1 == requests


@pytest.mark.parametrize(("reset", "wait"), [(NOON // 1000 - 50, 1), (NOON // 1000 + 10_000, 901)])
def test_wrong_clocks_do_not_make_it_hang(reset, wait):
    """X's windows have 15 minutes."""
    assert [wait] == count([answer(429, headers={"x-rate-limit-reset": str(reset)}), page(5)])[3]


@pytest.mark.parametrize(
    ("refusal", "error", "waits"),
    [
        (answer(429), RateLimited, [60, 120, 240, 480]),
        (answer(503), ServiceUnavailable, [1, 2, 4, 8]),
    ],
)
def test_patience_ends(refusal, error, waits):
    """After as many tries as there are, with X's last word."""
    found = []
    with pytest.raises(error):
        Patience(lambda _: None, sleep=found.append).ask(lambda: count_once(refusal))

    assert waits == found
    assert TRIES - 1 == len(found)


def count_once(step):
    with ScriptedServer([step]) as server, Api(server.url, BearerToken("t")) as api:
        return api.get("/")


@pytest.mark.parametrize(("status", "error"), [(403, NotAuthorized), (400, InvalidRequest)])
def test_what_no_waiting_cures_is_not_tried_again(status, error):
    """One request, one sentence."""
    waits = []
    with pytest.raises(error):
        Patience(lambda _: None, sleep=waits.append).ask(lambda: count_once(answer(status)))

    assert [] == waits


# -- the simulator


def test_x_and_we_count_the_same():
    """Over several rules that overlap, with retweets among the posts, the number of distinct posts by minute."""
    clock = ManualClock(time=NOON / 1000)
    rules = (("#python", "a"), ("lang:en #kafka", "b"), ("#starling OR #python", "c"))
    with SimulatorThread(SimulatorSettings(rules=rules, users=50), clock=clock) as simulator:
        clock.advance(60)
        for _ in range(3):
            simulator.emit(60)
            clock.advance(60)
        store = simulator.simulator.store
        with Api(simulator.url, BearerToken(simulator.settings.token)) as api:
            found = pack(held_rules(api), from_ms=NOON, to_ms=NOON + 4 * MINUTE, max_characters=512)
            (query,) = found.queries
            counted = Counting(api, Patience(pytest.fail)).by_minute(query, NOON + 4 * MINUTE)
        posts = [store.get(post.id) for post in store.newest_first(0, 1 << 63)]
        matching = [post for post in posts if simulator.call(lambda p=post: simulator.simulator.streams.matching(p))]
        expected = Counter(post.time_ms // MINUTE * MINUTE for post in matching if not post.is_retweet)

    assert NOON + MINUTE == query.from_ms  # the rules are made at noon, and act a little later
    assert any(post.is_retweet for post in matching)
    assert expected == Counter(counted)
    assert 3 == len(expected)
