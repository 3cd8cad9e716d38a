from datetime import UTC, datetime

import pytest

from connector.cluster.view import money
from connector.coverage.spend import Budget, Spend

NOW = datetime(2026, 11, 29, 18, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
SPEND = Spend(day="2026-11-29", posts=900, month="2026-11", mills=100_000)


def spent(*spends, hourly=50.0, **budget):
    return money.spent(spends, Budget(mills_each=5, **budget), hourly, NOW_MS)


def test_today_and_this_month():
    """Posts and dollars of today and of this month, and what they come to at the rate of the last day."""
    shown = spent(SPEND, SPEND)

    assert (0.005, 1800, 9.0, 200.0) == (
        shown["price_usd"], shown["today_posts"], shown["today_usd"], shown["month_usd"],
    )  # fmt: skip
    assert (1860, 9.3) == (shown["today_projected_posts"], shown["today_projected_usd"])  # six hours of ten posts
    assert 201.5 == shown["month_projected_usd"]  # thirty hours of 5 cents
    assert {None} == {shown[name] for name in ("day_share", "month_share", "day_used_up_at", "month_used_up_at")}


def test_what_is_of_yesterday():
    """A new day and a new month begin at nothing."""
    old = Spend(day="2026-11-28", posts=900, month="2026-10", mills=100_000)

    assert (0, 0.0) == (spent(old)["today_posts"], spent(old)["month_usd"])


def test_budgets():
    """The part that is used, when it will be used up, and a projection that goes no further."""
    shown = spent(SPEND, posts_per_day=930, mills_per_month=100_500)

    assert (round(900 / 930, 4), round(100 / 100.5, 4)) == (shown["day_share"], shown["month_share"])
    assert (930, 100.5) == (shown["today_projected_posts"], shown["month_projected_usd"])
    assert "2026-11-29T21:00:00.000Z" == shown["day_used_up_at"]
    assert "2026-11-30T04:00:00.000Z" == shown["month_used_up_at"]


def test_budgets_that_do():
    """A budget that will not be used up has no time at which it is."""
    shown = spent(SPEND, posts_per_day=5_000, mills_per_month=900_000)

    assert (None, None) == (shown["day_used_up_at"], shown["month_used_up_at"])


@pytest.mark.parametrize("hourly", [None, 0.0])
def test_without_a_rate(hourly):
    """What is not known is not made up; nothing more comes where nothing came."""
    shown = spent(SPEND, hourly=hourly, posts_per_day=5_000)

    assert (None if hourly is None else 900) == shown["today_projected_posts"]
    assert shown["day_used_up_at"] is None


def test_together():
    """All connectors together; a budget for all there is only if each has one."""
    limited, free = spent(SPEND, mills_per_month=200_000), spent(SPEND)

    assert (400.0, 0.5) == tuple(
        money.together([limited, limited])[name] for name in ("budget_usd_per_month", "month_share")
    )
    assert (200.0, None, None) == tuple(
        money.together([limited, free])[name] for name in ("month_usd", "budget_usd_per_month", "month_share")
    )
    assert (0, None) == tuple(money.together([])[name] for name in ("today_posts", "month_projected_usd"))


@pytest.mark.parametrize(
    ("now", "end"), [((2026, 1, 31), (2026, 2, 1)), ((2026, 12, 1), (2027, 1, 1)), ((2028, 2, 29), (2028, 3, 1))]
)
def test_ends_of_months(now, end):
    """The month ends with its last day, also in December and in a leap year."""
    assert datetime(*end, tzinfo=UTC).timestamp() * 1000 == money.month_end_ms(
        int(datetime(*now, tzinfo=UTC).timestamp() * 1000)
    )
