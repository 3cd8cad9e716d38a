"""
When a connector that failed is tried again by itself: Connect's `errors.retry.timeout` and `errors.retry.delay.max.ms`.

The first pause is `FIRST_SECS`, each further one twice as long; Connect retries one operation like that, we a task.
"""

from dataclasses import dataclass

FIRST_SECS = 5.0

GOOD_SECS = 300.0
"""A task that ran so long since its last failure has recovered: the next failure is a first one (seconds)."""


@dataclass(slots=True)
class Retries:
    """
    The tries after one failure: for *timeout_secs* since the first (negative: for ever), at most *longest_secs* apart.

    *attempts* counts them.
    """

    timeout_secs: float
    longest_secs: float
    attempts: int = 0
    _first_at: float | None = None
    _last_at: float = 0.0

    def next(self, now: float) -> float | None:
        """Return after how many seconds to try again a task that has failed at *now* (monotonic); None: not again."""
        if self._first_at is None or now - self._last_at > GOOD_SECS + self.pause_secs:
            self._first_at, self.attempts = now, 0
        self._last_at = now
        if 0 <= self.timeout_secs <= now - self._first_at:
            return None
        self.attempts += 1
        return self.pause_secs

    @property
    def pause_secs(self) -> float:
        """The pause before the present try (seconds)."""
        return min(FIRST_SECS * 2.0 ** min(self.attempts - 1, 20), self.longest_secs) if self.attempts else 0.0
