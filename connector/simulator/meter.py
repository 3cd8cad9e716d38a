"""What the account has spent, and which of its limits of money is reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from connector.simulator.clock import Clock
    from connector.simulator.settings import SimulatorSettings

SEARCH_COUNT_PRICE_USD = {"counts_recent": 0.005, "counts_all": 0.010}
BILLED_IDS_KEPT = 2_000_000

Shortage = Literal["E402", "E403a", "E429c"]


class Meter:
    """
    The meter of the account: balance, caps, reads, and the posts that were billed today.

    X bills a post once per UTC day.  The balance may become slightly negative: a delivered post is billed in any case,
    and only the next request is refused.
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
        """Bill posts that were delivered now, and the users that came with these posts."""
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
        """Bill a request whose price does not depend on its answer."""
        self._turn()
        self._pay(SEARCH_COUNT_PRICE_USD.get(endpoint, 0.0))

    def _pay(self, usd: float) -> None:
        self.balance_usd -= usd
        self.spent_usd += usd

    @property
    def shortage(self) -> Shortage | None:
        """Return the name of the problem that forbids reading; none while the account may read."""
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
        """Return the ids that were billed since midnight UTC."""
        self._turn()
        return self._paid.keys()
