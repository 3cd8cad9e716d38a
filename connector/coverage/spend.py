"""
What does X charge, and when is a budget reached?  (Pure.)

X bills each post once per UTC day (docs.x.com: pricing), no matter whether a stream, a replay or a search sent it.
Money is counted in thousandths of a dollar (mills), as every price of X is a multiple of that.
"""

import math
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from connector.coverage.ledger import Ledger
from connector.errors import BudgetReached
from connector.records.snowflake import first_id

MILLS = 1000
"""Mills in a dollar."""

POST_MILLS = 5
"""The price of a post (docs.x.com: pricing, 2026)."""

USER_MILLS = 10
"""The price of a user object that X sends with a post, if an expansion asks for users."""

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Posts billed on *day* (`2026-11-24`), and thousandths of a dollar in *month* (`2026-11`), both UTC."""

    day: str = ""
    posts: int = 0
    month: str = ""
    mills: int = 0

    def after(self, now_ms: int, posts: int, mills_each: int) -> "Spend":
        """Return the spend once *posts* more are billed; a new day or month begins at nothing."""
        day = day_of(now_ms)
        month = day[:7]
        return Spend(
            day=day,
            posts=self.posts_on(day) + posts,
            month=month,
            mills=self.mills_in(month) + posts * mills_each,
        )

    def posts_on(self, day: str) -> int:
        """Return the posts billed on *day* if this spend is of that day, else 0."""
        return self.posts if self.day == day else 0

    def mills_in(self, month: str) -> int:
        """Return the mills billed in *month* if this spend is of that month, else 0."""
        return self.mills if self.month == month else 0

    def fields(self) -> dict[str, object]:
        """Return the fields of the source offset that hold this."""
        return {"day": self.day, "posts": self.posts, "month": self.month, "usd": self.mills / MILLS}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Spend":
        """
        Read what `fields` gave.

        Raises:
            KeyError, OverflowError, TypeError, ValueError: *fields* does not hold a spend.
        """
        return cls(
            day=str(fields["day"]),
            posts=count_of(fields["posts"]),
            month=str(fields["month"]),
            mills=mills_of(fields["usd"]),
        )


def mills_of(usd: Any) -> int:
    """
    Read a price, in dollars, out of one of our own records.

    Raises:
        TypeError, ValueError: *usd* is not a price.
    """
    mills = float(usd) * MILLS
    if not math.isfinite(mills):
        raise ValueError(f"{usd!r} is no price")
    return round(mills)


NOTHING_SPENT = Spend()
_COUNT_MAX = 2**63 - 1
"""The largest number that we let orjson write."""


def count_of(value: Any) -> int:
    """
    Read a count out of the JSON of a source offset.

    Raises:
        OverflowError, TypeError, ValueError: *value* is not a count.
    """
    count = int(value)
    if not 0 <= count <= _COUNT_MAX:
        raise ValueError(f"{count} is no count")
    return count


class Bills:
    """
    Which of the posts that X sends today are billed already?

    A post that was made today and delivered before was billed at that time.  Posts made on an earlier day, or found by
    a search, are remembered here until midnight.  A restart loses this memory: if such a post comes again, it counts
    twice.
    """

    def __init__(self) -> None:
        self._day = ""
        self._today_id = 0
        self._sent = Ledger()

    def streamed(self, now_ms: int, *, fresh: Sequence[int], again: Iterable[int] = ()) -> int:
        """Return how many posts of a stream X bills at *now_ms*: *fresh* are new, *again* were delivered before."""
        self._begin(now_ms)
        if fresh and not len(self._sent) and min(fresh) >= self._today_id:
            billed = len(fresh)
        else:  # a post made today need not be remembered: from now on it counts as delivered
            billed = sum(
                post_id not in self._sent if post_id >= self._today_id else self._is_new(post_id) for post_id in fresh
            )
        return billed + sum(post_id < self._today_id and self._is_new(post_id) for post_id in again)

    def found(self, now_ms: int, ids: Iterable[int], *, delivered: Container[int]) -> int:
        """Return how many of *ids* X bills: a search found them at *now_ms*, some perhaps twice."""
        self._begin(now_ms)
        return sum(
            not (post_id >= self._today_id and post_id in delivered) and self._is_new(post_id) for post_id in ids
        )

    def _begin(self, now_ms: int) -> None:
        if (day := day_of(now_ms)) != self._day:
            self._day, self._today_id, self._sent = day, first_id(now_ms - now_ms % DAY_MS), Ledger()

    def _is_new(self, post_id: int) -> bool:
        if post_id in self._sent:
            return False
        self._sent.add(post_id)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a connector may spend; None means no limit."""

    posts_per_day: int | None = None
    mills_per_month: int | None = None
    mills_each: int = POST_MILLS

    def __bool__(self) -> bool:
        """Whether there is a limit."""
        return self.posts_per_day is not None or self.mills_per_month is not None

    def left(self, spends: Collection[Spend], now_ms: int) -> int | None:
        """Return how many more posts the budget allows after *spends* of all source partitions; None without limit."""
        day = day_of(now_ms)
        room = []
        if self.posts_per_day is not None:
            room.append(self.posts_per_day - sum(spend.posts_on(day) for spend in spends))
        if self.mills_per_month is not None:
            spent = sum(spend.mills_in(day[:7]) for spend in spends)
            room.append((self.mills_per_month - spent) // self.mills_each)
        return min(room, default=None)

    def used(self, spends: Collection[Spend], now_ms: int) -> dict[str, float]:
        """Return the part of each limit, `day` and `month`, that *spends* use up; at least 1 once it is reached."""
        day = day_of(now_ms)
        parts = {}
        if self.posts_per_day is not None:
            posts = sum(spend.posts_on(day) for spend in spends)
            parts["day"] = posts / self.posts_per_day if self.posts_per_day else 1.0
        if self.mills_per_month is not None:
            mills = sum(spend.mills_in(day[:7]) for spend in spends)
            no_more = mills + self.mills_each > self.mills_per_month
            parts["month"] = max(mills / self.mills_per_month if self.mills_per_month else 1.0, float(no_more))
        return parts

    def reached(self, spends: Collection[Spend], now_ms: int) -> BudgetReached | None:
        """Return the reason to pause, or None while there is room."""
        day = day_of(now_ms)
        posts = sum(spend.posts_on(day) for spend in spends)
        mills = sum(spend.mills_in(day[:7]) for spend in spends)
        if self.mills_per_month is not None and mills + self.mills_each > self.mills_per_month:
            return BudgetReached(
                f"budget.usd.per.month is used up: ${mills / MILLS:.2f} of ${self.mills_per_month / MILLS:.2f} in "
                f"{day[:7]}; it goes on by itself at the begin of the next month (UTC)",
                resume_at=_next_month(now_ms),
            )
        if self.posts_per_day is not None and posts >= self.posts_per_day:
            return BudgetReached(
                f"budget.posts.per.day is used up: {posts:,} of {self.posts_per_day:,} posts on {day}; it goes on by "
                f"itself at midnight UTC",
                resume_at=(now_ms - now_ms % DAY_MS + DAY_MS) / 1000,
            )
        return None


def day_of(ms: int) -> str:
    """Return the UTC day of *ms* (UNIX milliseconds)."""
    return _day(ms // DAY_MS)


@lru_cache(maxsize=2)  # asked with every batch
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_MS / 1000, UTC).date().isoformat()


def _next_month(ms: int) -> float:
    now = datetime.fromtimestamp(ms / 1000, UTC)
    later = now.replace(day=28, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=4)
    return later.replace(day=1).timestamp()
