"""
How long to wait after which error?

The waits follow docs.x.com (handling-disconnections): network errors at once and then linear from 250 ms to 16 s,
HTTP errors doubling from 5 s to 320 s, 429 until the window's reset, or doubling from 60 s if X names none.  From the
second 429 in a row on the waits grow in any case, even if X names an early reset each time.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from random import Random

from connector.errors import (
    RESET_SECS_MAX,
    BudgetReached,
    ConnectionLost,
    ConnectionTaken,
    ConnectorError,
    DeliveryFailed,
    OutOfCredit,
    RateLimited,
    RightMissing,
    ServiceUnavailable,
    TokenRejected,
)

CONNECTS_PER_WINDOW = 10
CONNECT_WINDOW_SECS = 10.0
RESET_MARGIN_SECS = 1.0
"""Added to `x-rate-limit-reset`, which has whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Waits in seconds: *first*, *second*, then `+ step` or `* factor`, at most *cap*; up to *jitter* of it added."""

    first: float
    second: float
    step: float = 0.0
    factor: float = 1.0
    cap: float
    jitter: float = 0.0

    def wait(self, attempt: int, random: Random) -> float:
        """Return the wait before the connect that follows failure number *attempt* (from 1)."""
        if attempt <= 1:
            base = self.first
        elif self.step:
            base = self.second + self.step * (attempt - 2)
        else:
            base = self.second * self.factor ** min(attempt - 2, 32)
        base = min(base, self.cap)
        return base + base * self.jitter * random.random()


SCHEDULES: dict[type[ConnectorError], Schedule] = {
    # at once the first time: the docs ask for it after an established connection drops
    ConnectionLost: Schedule(first=0.0, second=0.25, step=0.25, cap=16.0),
    # jitter, so that many connectors do not come back at the same moment after an outage
    ServiceUnavailable: Schedule(first=5.0, second=10.0, factor=2.0, cap=320.0, jitter=0.1),
    # if there is a reset header, these waits begin one failure later, see `Backoff.wait`
    RateLimited: Schedule(first=60.0, second=120.0, factor=2.0, cap=RESET_SECS_MAX, jitter=0.1),
    # another connection has the slot, and is not ours to end; X frees it after seconds to hours
    ConnectionTaken: Schedule(first=20.0, second=30.0, step=10.0, cap=120.0, jitter=0.1),
    # for repairs only: the live stream ends with this error, and reports it
    TokenRejected: Schedule(first=60.0, second=60.0, cap=60.0),
    # a person has to grant it; not less than the time in which a worker learns that its tasks have moved
    RightMissing: Schedule(first=3.0, second=5.0, factor=2.0, cap=30.0),
    # for repairs only: the ledger cannot be read, which says which posts of the gap are in the topic
    DeliveryFailed: Schedule(first=1.0, second=2.0, factor=2.0, cap=60.0, jitter=0.1),
    # a person buys credits; caps are reset by the calendar
    OutOfCredit: Schedule(first=3600.0, second=3600.0, cap=3600.0),
}


def schedule_of(error: ConnectorError) -> Schedule:
    """Return the schedule of *error*'s class, or of the nearest class above it that has one."""
    return next(SCHEDULES[kind] for kind in type(error).__mro__ if kind in SCHEDULES)


class Backoff:
    """
    The waits after failures in a row of one connection.

    Each class of error is counted on its own.  Call `reset` when records were delivered, not when a connection opens.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()  # noqa: S311  # jitter is no secret
        self._attempts: dict[Schedule, int] = {}

    def wait(self, error: ConnectorError, *, now: float) -> tuple[int, float]:
        """
        Return the number of failures like *error* in a row, and the seconds to wait before connecting again.

        *now* is UNIX time in seconds of X's clock.
        """
        schedule = schedule_of(error)
        attempt = self._attempts[schedule] = self._attempts.get(schedule, 0) + 1
        if isinstance(error, RateLimited) and (secs := error.secs_left(now)) is not None:
            # the first time only X's reset counts: its window may end just now
            grown = schedule.wait(attempt - 1, self._random) if attempt > 1 else 0.0
            return attempt, max(secs + RESET_MARGIN_SECS, grown)
        if isinstance(error, BudgetReached):
            return attempt, max(error.resume_at - now, 0.0) + RESET_MARGIN_SECS
        return attempt, schedule.wait(attempt, self._random)

    def reset(self) -> None:
        """Forget all failures."""
        self._attempts.clear()


class ConnectFloor:
    """Allows at most ten connects in any ten seconds, in case X closes each connection at once."""

    def __init__(self) -> None:
        self._connects: deque[float] = deque([-inf] * CONNECTS_PER_WINDOW, maxlen=CONNECTS_PER_WINDOW)

    def wait(self, now: float) -> float:
        """Return the seconds until another connect is allowed; *now* is monotonic."""
        return max(self._connects[0] + CONNECT_WINDOW_SECS - now, 0.0)

    def connected(self, now: float) -> None:
        """Count a connect at *now*."""
        self._connects.append(now)
