"""What was spent, and what that comes to until the end of the day and of the month.  (Pure.)"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.coverage.spend import DAY_MS, MILLS, Budget, Spend, day_of
from connector.records.snowflake import to_iso

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def spent(spends: Sequence[Spend], budget: Budget, mills_per_hour: float | None, now_ms: int) -> dict[str, Any]:
    """
    Return what *spends* of all source partitions come to at *now_ms*, as JSON.

    *mills_per_hour* is the mean of the last day, None if it is not known.  A projection goes no further than a budget.
    """
    day = day_of(now_ms)
    posts = sum(spend.posts_on(day) for spend in spends)
    mills = sum(spend.mills_in(day[:7]) for spend in spends)
    each, hourly = budget.mills_each, mills_per_hour
    now_ms -= now_ms % MINUTE_MS  # so that projections need not be told each second
    posts_hourly = hourly / each if each and hourly is not None else None
    day_posts = _projected(posts, posts_hourly, day_end_ms(now_ms) - now_ms, budget.posts_per_day)
    month_mills = _projected(mills, hourly, month_end_ms(now_ms) - now_ms, budget.mills_per_month)
    return {
        "price_usd": each / MILLS,
        "today_posts": posts,
        "today_usd": _usd(posts * each),
        "today_projected_posts": day_posts,
        "today_projected_usd": None if day_posts is None else _usd(day_posts * each),
        "month_usd": _usd(mills),
        "month_projected_usd": None if month_mills is None else _usd(month_mills),
        "budget_posts_per_day": budget.posts_per_day,
        "budget_usd_per_month": None if budget.mills_per_month is None else _usd(budget.mills_per_month),
        "day_share": _share(posts, budget.posts_per_day),
        "month_share": _share(mills, budget.mills_per_month),
        "day_used_up_at": _used_up(posts, posts_hourly, budget.posts_per_day, now_ms, day_end_ms(now_ms)),
        "month_used_up_at": _used_up(mills, hourly, budget.mills_per_month, now_ms, month_end_ms(now_ms)),
    }


def together(each: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums over all connectors; a budget for all there is only if each has one."""
    all_of = list(each)
    limits = [one["budget_usd_per_month"] for one in all_of]
    month = round(sum(one["month_usd"] for one in all_of), 3)
    limit = sum(limits) if limits and None not in limits else None
    return {
        "today_posts": sum(one["today_posts"] for one in all_of),
        "today_usd": round(sum(one["today_usd"] for one in all_of), 3),
        "today_projected_usd": _sum_known(one["today_projected_usd"] for one in all_of),
        "month_usd": month,
        "month_projected_usd": _sum_known(one["month_projected_usd"] for one in all_of),
        "budget_usd_per_month": limit,
        "month_share": _share(month, limit),
    }


def day_end_ms(now_ms: int) -> int:
    """Return the end of the UTC day of *now_ms*."""
    return now_ms - now_ms % DAY_MS + DAY_MS


def month_end_ms(now_ms: int) -> int:
    """Return the end of the UTC month of *now_ms*."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    later = now.replace(day=28, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=4)
    return int(later.replace(day=1).timestamp() * 1000)


def _projected(spent_now: int, hourly: float | None, left_ms: int, limit: int | None) -> int | None:
    if hourly is None:
        return None
    projected = spent_now + round(hourly * left_ms / HOUR_MS)
    return projected if limit is None else max(min(projected, limit), spent_now)


def _used_up(spent_now: int, hourly: float | None, limit: int | None, now_ms: int, end_ms: int) -> str | None:
    """Return when *limit* is reached at this rate, None if that is not before *end_ms*."""
    if limit is None or hourly is None or (hourly <= 0 and spent_now < limit):
        return None
    at_ms = now_ms if spent_now >= limit else now_ms + int((limit - spent_now) / hourly * HOUR_MS)
    return to_iso(at_ms) if at_ms < end_ms else None


def _share(part: float, whole: float | None) -> float | None:
    return None if not whole else round(part / whole, 4)


def _sum_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 3) if known else None


def _usd(mills: float) -> float:
    return round(mills / MILLS, 3)
