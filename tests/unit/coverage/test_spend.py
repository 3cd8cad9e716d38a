import sys
from datetime import UTC, datetime
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage.ledger import YOUNG_IDS, Ledger
from connector.coverage.spend import DAY_MS, NOTHING_SPENT, Bills, Budget, Spend, day_of
from connector.records.snowflake import first_id

NOON_MS = 1_795_521_600_000
"""2026-11-24T12:00:00Z."""


def ms(text):
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def ids(count, made_ms=NOON_MS):
    return [first_id(made_ms) + number for number in range(count)]


# -- days and months


def test_spend_adds_up():
    """Posts of the day, money of the month."""
    spend = NOTHING_SPENT.after(NOON_MS, 3, 5).after(NOON_MS + 1, 2, 5)

    assert Spend(day="2026-11-24", posts=5, month="2026-11", mills=25) == spend
    assert (5, 25) == (spend.posts_on("2026-11-24"), spend.mills_in("2026-11"))
    assert (0, 0) == (spend.posts_on("2026-11-25"), spend.mills_in("2026-12"))


ROLLS = [
    # the last millisecond of a day, and the first of the next
    ("2026-11-24T23:59:59.999Z", Spend(day="2026-11-24", posts=7, month="2026-11", mills=35)),
    ("2026-11-25T00:00:00.000Z", Spend(day="2026-11-25", posts=2, month="2026-11", mills=35)),
    # a new month, and a new year
    ("2026-12-01T00:00:00.000Z", Spend(day="2026-12-01", posts=2, month="2026-12", mills=10)),
    ("2027-01-01T00:00:00.000Z", Spend(day="2027-01-01", posts=2, month="2027-01", mills=10)),
    # a year later to the day
    ("2027-11-24T12:00:00.000Z", Spend(day="2027-11-24", posts=2, month="2027-11", mills=10)),
]


@pytest.mark.parametrize(("now", "spend"), ROLLS)
def test_day_and_month_begin_at_nothing(now, spend):
    """By UTC, whatever the machine's time zone is."""
    assert spend == NOTHING_SPENT.after(NOON_MS, 5, 5).after(ms(now), 2, 5)


def test_nothing_billed_still_begins_a_day():
    """What was spent yesterday is not today's."""
    assert Spend(day="2026-11-25", month="2026-11", mills=25) == Spend(
        day="2026-11-24", posts=5, month="2026-11", mills=25
    ).after(NOON_MS + DAY_MS, 0, 5)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_fields_and_of_are_one(posts, mills):
    """What is read back from the offset is what was written, to the thousandth of a dollar."""
    spend = Spend(day="2026-11-24", posts=posts, month="2026-11", mills=mills)

    assert spend == Spend.of(spend.fields())


def test_what_the_offset_says():
    """Dollars, for people."""
    spend = NOTHING_SPENT.after(NOON_MS, 3, 5)

    assert {"day": "2026-11-24", "posts": 3, "month": "2026-11", "usd": 0.015} == spend.fields()


@pytest.mark.parametrize(
    ("at", "day"), [("2026-11-24T00:00:00Z", "2026-11-24"), ("2026-11-24T23:59:59.999Z", "2026-11-24")]
)
def test_day_is_utc(at, day):
    """X's days are."""
    assert day == day_of(ms(at))


# -- a post once a day


def test_stream_bills_what_is_new():
    """And not what it repeats on the day: X has billed that post, made today, when it was delivered."""
    bills, today = Bills(), ids(3)

    assert 3 == bills.streamed(NOON_MS, fresh=today)
    assert 0 == bills.streamed(NOON_MS + 1, fresh=[], again=today)


def test_next_day_bills_once_more():
    """A post that comes again after midnight costs again, however often it comes."""
    bills, yesterday = Bills(), ids(3)
    bills.streamed(NOON_MS, fresh=yesterday)

    assert 3 == bills.streamed(NOON_MS + DAY_MS, fresh=[], again=[*yesterday, *yesterday])
    assert 0 == bills.streamed(NOON_MS + DAY_MS + 1, fresh=[], again=yesterday)
    assert 1 == bills.streamed(NOON_MS + 2 * DAY_MS, fresh=[], again=yesterday[:1])


def test_post_of_yesterday_that_is_new_today():
    """One from before midnight is billed on the day on which it is sent, once."""
    bills, late = Bills(), ids(2, NOON_MS - DAY_MS)

    assert 2 == bills.streamed(NOON_MS, fresh=late)
    assert 0 == bills.streamed(NOON_MS, fresh=[], again=late)


def test_search_bills_what_several_rules_find_once():
    """A post comes once for each of its rules, on the day it costs once."""
    bills, found = Bills(), ids(3)

    assert 3 == bills.found(NOON_MS, [*found, *found], delivered=Ledger())
    assert 0 == bills.found(NOON_MS, found, delivered=Ledger())
    assert 3 == bills.found(NOON_MS + DAY_MS, [*found, *found], delivered=Ledger())


def test_search_finds_what_the_stream_delivered_today():
    """That was billed then; what the stream delivered on another day was not billed today."""
    bills, delivered = Bills(), Ledger()
    today, yesterday = ids(3), ids(3, NOON_MS - DAY_MS)
    delivered.update([*today, *yesterday])

    assert 3 == bills.found(NOON_MS, [*today, *yesterday], delivered=delivered)


def test_stream_brings_what_a_search_has_found_today():
    """It is billed already, whichever came first."""
    bills, found = Bills(), ids(3)
    bills.found(NOON_MS, found[:2], delivered=Ledger())

    assert 1 == bills.streamed(NOON_MS, fresh=found)


def test_a_million_fresh_posts_cost_no_memory():
    """What is made and delivered today need not be remembered: the ledger of delivered ids knows it."""
    bills = Bills()
    billed = sum(bills.streamed(NOON_MS + 1, fresh=range(low, low + 1_000)) for low in range(*million()))

    assert 1_000_000 == billed
    assert 0 == len(bills._sent)
    assert sys.getsizeof(bills._sent._young) < YOUNG_IDS


def million():
    begin = first_id(NOON_MS)
    return begin, begin + 1_000_000, 1_000


SENT = st.tuples(st.sampled_from(["stream", "search"]), st.integers(0, 3), st.lists(st.integers(0, 7), max_size=6))


@given(st.lists(SENT, max_size=20))
def test_bills_are_xs(story):
    """Whatever is sent when by which way: each post costs once on each day on which X sends it."""
    bills, delivered, now_ms, charged = Bills(), Ledger(), NOON_MS, set()
    made = list(chain(ids(4), ids(4, NOON_MS + DAY_MS)))
    for way, quarters, numbers in story:
        now_ms += quarters * DAY_MS // 4
        sent = [made[number] for number in numbers if made[number] <= first_id(now_ms) + 3]
        due = {(day_of(now_ms), post_id) for post_id in sent} - charged
        charged |= due
        fresh = [post_id for post_id in dict.fromkeys(sent) if post_id not in delivered]
        if way == "stream":
            unseen, again = list(fresh), []
            for post_id in sent:
                if post_id in unseen:
                    unseen.remove(post_id)
                else:
                    again.append(post_id)
            assert len(due) == bills.streamed(now_ms, fresh=fresh, again=again)
        else:
            assert len(due) == bills.found(now_ms, sent, delivered=delivered)
        delivered.update(fresh)


# -- budgets


def spent(posts, mills, now_ms=NOON_MS):
    return Spend(day=day_of(now_ms), posts=posts, month=day_of(now_ms)[:7], mills=mills)


def test_no_limit():
    """Nothing is ever reached."""
    assert not Budget()
    assert Budget().left([spent(10**9, 10**9)], NOON_MS) is None
    assert Budget().reached([spent(10**9, 10**9)], NOON_MS) is None


LEFT = [
    (Budget(posts_per_day=100), [], 100),
    (Budget(posts_per_day=100), [(60, 0), (30, 0)], 10),
    (Budget(posts_per_day=100), [(60, 0), (50, 0)], -10),
    # what is left buys whole posts only
    (Budget(mills_per_month=100), [(0, 81)], 3),
    (Budget(mills_per_month=100, mills_each=15), [(0, 81)], 1),
    # the nearer of two
    (Budget(posts_per_day=10, mills_per_month=100), [(5, 25)], 5),
    (Budget(posts_per_day=30, mills_per_month=100), [(5, 25)], 15),
]


@pytest.mark.parametrize(("budget", "spends", "left"), LEFT)
def test_what_is_left(budget, spends, left):
    """Of all source partitions together."""
    assert budget
    assert left == budget.left([spent(*spend) for spend in spends], NOON_MS)


def test_nothing_of_another_day_counts():
    """A partition whose last post was yesterday has spent nothing today."""
    yesterday = spent(100, 500, NOON_MS - DAY_MS)

    assert 100 == Budget(posts_per_day=100).left([yesterday], NOON_MS)
    assert 0 == Budget(mills_per_month=500).left([yesterday], NOON_MS)


REACHED = [
    (Budget(posts_per_day=100), (99, 0), None),
    (Budget(posts_per_day=100), (100, 0), "2026-11-25T00:00:00Z"),
    (Budget(posts_per_day=0), (0, 0), "2026-11-25T00:00:00Z"),
    (Budget(mills_per_month=500), (0, 495), None),
    # not enough for another post
    (Budget(mills_per_month=500), (0, 496), "2026-12-01T00:00:00Z"),
    (Budget(mills_per_month=500, mills_each=15), (0, 486), "2026-12-01T00:00:00Z"),
    # both: the later one
    (Budget(posts_per_day=100, mills_per_month=500), (100, 500), "2026-12-01T00:00:00Z"),
]


@pytest.mark.parametrize(("budget", "spend", "resume"), REACHED)
def test_budget_is_reached(budget, spend, resume):
    """Once another post would not fit in; and it is known to the second when it goes on."""
    error = budget.reached([spent(*spend)], NOON_MS)

    assert resume == (error and datetime.fromtimestamp(error.resume_at, UTC).isoformat().replace("+00:00", "Z"))


@pytest.mark.parametrize(("budget", "spend", "resume"), REACHED)
def test_part_that_is_used(budget, spend, resume):
    """At least 1 exactly while the budget is reached, so that whoever watches the part sees the pause."""
    used = budget.used([spent(*spend)], NOON_MS)

    assert (resume is not None) == (max(used.values()) >= 1.0)


def test_parts_of_both_limits():
    """Those of the day by posts, those of the month by money, over all source partitions; of another day, nothing."""
    budget = Budget(posts_per_day=100, mills_per_month=500)
    spends = [spent(20, 100), spent(40, 150), spent(90, 490, NOON_MS - 40 * DAY_MS)]

    assert {"day": 0.6, "month": 0.5} == budget.used(spends, NOON_MS)
    assert {} == Budget().used(spends, NOON_MS)


PERIODS = [
    ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ("2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
    ("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
    ("2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
    ("2026-04-30T00:00:00Z", "2026-05-01T00:00:00Z", "2026-05-01T00:00:00Z"),
    ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", "2026-11-01T00:00:00Z"),
]


@pytest.mark.parametrize(("now", "next_day", "next_month"), PERIODS)
def test_it_resumes_with_the_next_period(now, next_day, next_month):
    """At midnight UTC, and on the first of the next month, however long this one is."""
    now_ms = ms(now)
    day = Budget(posts_per_day=1).reached([spent(1, 5, now_ms)], now_ms)
    month = Budget(mills_per_month=5).reached([spent(1, 5, now_ms)], now_ms)

    assert (ms(next_day), ms(next_month)) == (day.resume_at * 1000, month.resume_at * 1000)
    assert Budget(posts_per_day=1).reached([spent(1, 5, now_ms)], ms(next_day)) is None
    assert Budget(mills_per_month=5).reached([spent(1, 5, now_ms)], ms(next_month)) is None


def test_reason_says_how_much_and_until_when():
    """An operator reads it in the status."""
    assert (
        "budget.posts.per.day is used up: 1,200 of 1,000 posts on 2026-11-24; it goes on by itself at midnight UTC"
        == str(Budget(posts_per_day=1_000).reached([spent(1_200, 0)], NOON_MS))
    )
    assert (
        "budget.usd.per.month is used up: $10.00 of $10.00 in 2026-11; it goes on by itself at the begin of the next "
        "month (UTC)" == str(Budget(mills_per_month=10_000).reached([spent(0, 10_000)], NOON_MS))
    )
