"""How much may be asked, and what does it cost?  Rate windows and the meter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from connector.simulator.clock import Clock
    from connector.simulator.settings import SimulatorSettings

WINDOW_S = 15 * 60

LIMITS: Mapping[str, int] = {
    "filtered_stream": 50,
    "sample_stream": 50,
    "sample10_stream": 100,
    "firehose_stream": 50,
    "firehose_stream_lang_en": 50,
    "firehose_stream_lang_ja": 50,
    "firehose_stream_lang_ko": 50,
    "firehose_stream_lang_pt": 50,
    "rules_get": 450,
    "rules_post": 100,
    "rules_counts": 450,
    "search_recent": 450,
    "search_all": 300,
    "counts_recent": 300,
    "counts_all": 300,
    "usage": 50,
    "connections": 450,
    "connections_delete": 450,
    "connections_delete_all": 25,
}
"""Requests per app and 15 minutes, by endpoint."""

SEARCH_COUNT_PRICE_USD = {"counts_recent": 0.005, "counts_all": 0.010}
BILLED_IDS_KEPT = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a request finds of its window; the values of the three headers."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


@dataclass(slots=True, kw_only=True)
class _Window:
    ends_at: float
    used: int = 0


class RateWindows:
    """Fixed windows of 15 minutes; each begins with the first request in it."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._clock = clock
        self._enforced = settings.enforce_rate_limits
        self._limits = {
            **LIMITS,
            "search_recent": settings.profile.searches_per_window,
            **settings.rate_limits,
        }
        self._windows: dict[str, _Window] = {}

    def take(self, endpoint: str) -> Allowance:
        """Count a request; a refused one takes nothing."""
        now = self._clock.now()
        window = self._windows.get(endpoint)
        if window is None or now >= window.ends_at:
            window = self._windows[endpoint] = _Window(ends_at=now + WINDOW_S)
        limit = self._limits[endpoint]
        allowed = window.used < limit or not self._enforced
        if allowed:
            window.used += 1
        return Allowance(
            allowed=allowed,
            limit=limit,
            remaining=max(limit - window.used, 0),
            reset=int(window.ends_at),
        )

    def give_back(self, endpoint: str) -> None:
        """Undo the count of a request that was refused for another reason."""
        window = self._windows[endpoint]
        window.used = max(window.used - 1, 0)

    def clear(self) -> None:
        self._windows.clear()


Shortage = Literal["E402", "E403a", "E429c"]


class Meter:
    """
    What the account has spent: posts are paid once per UTC day.

    The balance may go slightly negative: what is delivered is paid, and the
    next request is refused.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.balance_usd = settings.credit_usd
        self.spend_cap_usd = settings.spend_cap_usd
        self.usage_cap = settings.usage_cap or settings.profile.reads_per_month
        self.spent_usd = 0.0
        self.reads = 0
        self._day = self._today()
        self._month = self._day[:7]
        self._paid: dict[int, None] = {}

    def _today(self) -> str:
        return f"{datetime.fromtimestamp(self._clock.now(), tz=UTC):%Y-%m-%d}"

    def _turn(self) -> None:
        today = self._today()
        if today != self._day:
            self._day = today
            self._paid.clear()
        if today[:7] != self._month:
            self._month = today[:7]
            self.spent_usd = 0.0
            self.reads = 0

    def bill_posts(self, posts: Iterable[int], *, users: int = 0) -> None:
        """Pay for posts delivered now, and for the users that came with them."""
        self._turn()
        for post in posts:
            if post in self._paid:
                continue
            self._paid[post] = None
            self.reads += 1
            self._pay(self._settings.post_price_usd)
        if len(self._paid) > BILLED_IDS_KEPT:
            del self._paid[next(iter(self._paid))]
        if users:
            self._pay(users * self._settings.user_price_usd)

    def bill_request(self, endpoint: str) -> None:
        """Pay for a request that is charged as such."""
        self._turn()
        self._pay(SEARCH_COUNT_PRICE_USD.get(endpoint, 0.0))

    def _pay(self, usd: float) -> None:
        self.balance_usd -= usd
        self.spent_usd += usd

    @property
    def shortage(self) -> Shortage | None:
        """Return why nothing more can be read, as the name of the problem."""
        self._turn()
        if self.balance_usd <= 0:
            return "E402"
        if self.spend_cap_usd is not None and self.spent_usd >= self.spend_cap_usd:
            return "E403a"
        if self.reads >= self.usage_cap:
            return "E429c"
        return None

    @property
    def next_cycle(self) -> datetime:
        """Return the first day of the next month."""
        today = datetime.fromtimestamp(self._clock.now(), tz=UTC)
        first = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return (first + timedelta(days=32)).replace(day=1)

    @property
    def days_to_reset(self) -> int:
        today = datetime.fromtimestamp(self._clock.now(), tz=UTC)
        return (self.next_cycle - today).days

    def paid_today(self) -> Collection[int]:
        """Return the ids paid for since midnight UTC."""
        self._turn()
        return self._paid.keys()
