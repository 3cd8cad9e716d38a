"""What rules would bring and cost: the questions, the bounds, and the simulator's next day."""

import itertools
from datetime import UTC, datetime

import pytest

from connector.config.rules import Rule
from connector.simulator import ManualClock, SimulatorSettings, SimulatorThread
from connector.sources.archive.counts import Counting, Patience
from connector.sources.archive.estimates import (
    QUOTES,
    RETWEETS,
    Bounds,
    ask,
    estimate,
    questions,
    union,
    with_uncounted,
)
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken
from tests.days import DAY, Days

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
POSTS_A_DAY = 900


def rules(*values):
    return [Rule(value, f"r{number}") for number, value in enumerate(values)]


def posts_of(asked, sets):
    """Answer as X: by the ids that each word stands for; a query is words, joined by OR, in at most two groups."""

    def found(query):
        groups = query.split(") (") if ") (" in query and not query.count(" OR (") else [query]
        words = [[word for word in sets if word in group] for group in groups]
        return len(set.intersection(*(set().union(*(sets[word] for word in group)) for group in words)))

    return {query: found(query) for query in asked.queries}


# -- questions


def test_rules_that_fit_are_counted_together_in_one_query():
    """Each alone, for its own number; all together, where X counts each post once."""
    asked = questions(rules("#a", "#b lang:en"), 512)

    assert ("#a", "#b lang:en", "(#b lang:en) OR (#a)") == asked.queries
    assert 15 == asked.cost_mills


def test_a_rule_alone_is_asked_once():
    """It is all there is; what is configured twice is one rule."""
    assert ("#a",) == questions(rules("#a"), 512).queries
    assert ("#a",) == questions([Rule("#a", "a"), Rule("#a", "a")], 512).queries


def test_rules_that_do_not_fit_are_counted_in_parts_and_pairs_of_parts():
    """No query is longer than X allows, each rule is in one part, and each pair of parts is asked for."""
    many = rules(*(f"#{'t' * 20}{number} -is:retweet" for number in range(20)))
    asked = questions(many, 200)

    assert all(len(query) <= 200 for query in asked.queries)
    assert 20 == sum(part.query.count("#") for part in asked.parts)
    assert len(asked.parts) * (len(asked.parts) - 1) // 2 == len(asked.pairs)


def test_pairs_of_many_parts_are_not_asked_for():
    """They would cost more than they tell."""
    asked = questions(rules(*(f"#{'t' * 60}{number}" for number in range(50))), 150)

    assert not asked.pairs
    assert 25 == len(asked.parts)


def test_keywords_are_not_joined_with_rules_that_have_none():
    """A query with a keyword finds no retweets, so the retweets of an author would be left out."""
    asked = questions(rules("#a", "from:someone"), 512)

    assert {"#a", "from:someone"} == {part.query for part in asked.parts}
    assert {(0, 1): "(#a) (from:someone)"} == asked.pairs


@pytest.mark.parametrize(
    ("value", "misses"),
    [
        ("#a", (RETWEETS, QUOTES)),
        ("#a -is:retweet", (QUOTES,)),
        ("#a -is:retweet -is:quote", ()),
        ("#a OR (#b -is:retweet)", (RETWEETS, QUOTES)),
        ('"a: b" -is:quote', (RETWEETS,)),
        ("from:someone", ()),
        ("from:someone -word", (RETWEETS, QUOTES)),
        ("@someone", (QUOTES,)),
        ("url:example.com -is:quote", ()),
    ],
)
def test_what_counts_do_not_find_is_named(value, misses):
    """A stream delivers retweets of keywords and quotes of matching posts; X does not count them."""
    assert misses == questions(rules(value), 512).rules[0].misses


def test_rules_that_x_cannot_count_are_named():
    """They have operators of the stream alone, or are too long to be split."""
    asked = questions(rules("#a", "#b OR (c sample:10)", f'"{"x" * 600}"', '"open'), 512)

    assert ["#a"] == [each.rule.value for each in asked.rules]
    reasons = {each.rule.value[:4]: each.reason for each in asked.left_out}
    assert "the operator sample:" in reasons["#b O"]
    assert "a query may have 512" in reasons['"xxx']
    assert "a quote without its end" in reasons['"ope']


# -- bounds


@pytest.mark.parametrize(
    ("parts", "common", "bounds"),
    [
        ([], {}, (0, 0)),
        ([7], {}, (7, 7)),
        ([0, 0], {}, (0, 0)),
        ([60, 40], {(0, 1): 10}, (90, 90)),
        ([60, 40], {}, (60, 100)),  # one may be in the other
        ([10, 10, 10], {(0, 1): 0, (0, 2): 0, (1, 2): 0}, (30, 30)),
        ([10, 10, 10], {(0, 1): 10, (0, 2): 10, (1, 2): 10}, (10, 10)),  # the same three times
        ([60, 40], {(0, 1): 99}, (60, 60)),  # counts are approximate
    ],
)
def test_the_bounds_of_a_union(parts, common, bounds):
    """Exact for two parts; narrow for more."""
    assert Bounds(*bounds) == union(parts, common)


def test_the_bounds_hold_whatever_the_parts_have_in_common():
    """For all ways in which up to four posts may be in three parts."""
    kinds = [set(kind) for size in (1, 2, 3) for kind in itertools.combinations(range(3), size)]
    for posts in itertools.combinations_with_replacement(kinds, 4):
        parts = [sum(number in kind for kind in posts) for number in range(3)]
        common = {(i, j): sum({i, j} <= kind for kind in posts) for i, j in itertools.combinations(range(3), 2)}
        for known in (common, {}, {(0, 1): common[0, 1]}):
            found = union(parts, known)

            assert found.low <= len(posts) <= found.high


# -- the estimate


def test_posts_of_several_rules_cost_once():
    """The sum of the rules less what they have in common."""
    asked = questions(rules("#aa", "#bb"), 512)
    found = estimate(
        asked, posts_of(asked, {"#aa": set(range(100)), "#bb": set(range(60, 160))}), days=2, mills_each=15
    )

    assert Bounds(160, 160) == found.together
    assert Bounds(40, 40) == found.overlap
    assert 80 == found.posts_a_day(found.together.high)
    assert 1.2 == pytest.approx(found.usd_a_day(found.together.high))
    assert 36 == pytest.approx(found.usd_a_month(found.together.high))


def test_a_rule_of_several_queries_lies_between_bounds():
    """The largest of them, and their sum."""
    asked = questions(rules(" OR ".join(f"#{'t' * 50}{number}" for number in range(4))), 120)
    found = estimate(asked, dict.fromkeys(asked.queries, 10), days=1, mills_each=5)

    assert 2 == len(asked.rules[0].queries)
    assert Bounds(10, 20) == found.rules[0].posts


def test_uncounted_posts_are_added_where_there_are_any():
    """To the rules that miss some, and to the whole in proportion."""
    asked = questions(rules("#aa", "#bb -is:retweet -is:quote"), 512)
    counted = estimate(asked, posts_of(asked, {"#aa": set(range(100)), "#bb": set(range(300))}), days=1, mills_each=5)
    found = with_uncounted(counted, 40)

    assert [Bounds(140, 140), Bounds(300, 300)] == [rule.posts for rule in found.rules]
    assert Bounds(330, 330) == found.together  # a quarter of all may come with two fifths more
    assert counted == with_uncounted(counted, 0)


@pytest.mark.parametrize(
    ("value", "query", "percent"),
    [
        ("#aa sample:10", "#aa", 10),
        ("sample:1 (#aa OR #bb)", "(#aa OR #bb)", 1),
        ("(#aa OR #bb)sample:50 -is:retweet", "(#aa OR #bb) -is:retweet", 50),
        ('"a sample:10 b" sample:10', '"a sample:10 b"', 10),
        ("#aa", "#aa", 100),
    ],
)
def test_a_sample_is_counted_without_its_operator(value, query, percent):
    """Counts do not have it; the rule brings its share of what they find."""
    (found,) = questions(rules(value), 512).rules

    assert (query, percent) == (found.queries[0], found.percent)


def test_a_sample_brings_its_share():
    """Of its posts, and of those that it has in common with others."""
    asked = questions(rules("#aa sample:10", "#bb"), 512)
    found = estimate(asked, posts_of(asked, {"#aa": set(range(100)), "#bb": set(range(50, 150))}), days=1, mills_each=5)

    assert [Bounds(10, 10), Bounds(100, 100)] == [rule.posts for rule in found.rules]
    assert Bounds(105, 105) == found.together


def test_no_rule_costs_nothing():
    """And asks nothing."""
    asked = questions([], 512)

    assert () == asked.queries
    assert Bounds(0, 0) == estimate(asked, {}, days=7, mills_each=5).together


# -- the simulator's next day


@pytest.fixture(scope="module")
def week():
    clock = ManualClock(time=MIDNIGHT)
    settings = SimulatorSettings(match_rules=False, hashtag_share=0.9, users=50, keepalive_s=1)
    with SimulatorThread(settings, clock=clock) as sim:
        days = Days(clock, sim)
        days.pass_days(7, POSTS_A_DAY)
        yield days


def estimated(days, wanted, max_characters=512):
    with Api(days.sim.url, BearerToken(days.sim.settings.token)) as api:
        counting = Counting(api, Patience(lambda _: None))
        to_ms = int(days.clock.now() - 60) // 60 * 60_000
        asked = questions(wanted, max_characters)
        return ask(counting, asked, from_ms=to_ms - 7 * DAY * 1000 + 120_000, to_ms=to_ms, mills_each=5)


OVERLAPPING = ("#murmuration", "#python lang:en", "(#kafka OR #python)", "#starling has:links", "lang:ja #meadow")


@pytest.mark.slow
def test_the_simulators_next_day_costs_what_was_estimated(week):
    """Within 5 %, though many posts match several rules; retweets and quotes, which X does not count, are excluded."""
    wanted = rules(*(f"{value} -is:retweet -is:quote" for value in OVERLAPPING))
    found = estimated(week, wanted)
    try:
        spent = week.next_day_costs([rule.value for rule in wanted], POSTS_A_DAY)
    finally:
        week.sim.clear_rules()

    assert found.together.are_exact
    assert () == found.misses
    assert found.overlap.low > 0.05 * found.together.high
    assert spent == pytest.approx(found.usd_a_day(found.together.high), rel=0.05)


@pytest.mark.slow
def test_parts_say_what_one_query_says(week):
    """Short queries give bounds; the number of the one long query lies between them, and neither is 3 % away."""
    wanted = rules(*(f"{value} -is:retweet -is:quote" for value in OVERLAPPING[:3]))
    exact, bounded = estimated(week, wanted).together.low, estimated(week, wanted, 100).together

    assert 0.97 * exact < bounded.low <= exact <= bounded.high < 1.03 * exact
    assert not bounded.are_exact
