"""
May the reader thread read on?  The event loop hands it what was spent, so it reads none of the loop's objects.

    event loop ── Known, an immutable value ──▶ Allowance ◀── admit ── reader thread
                  whenever it changes                        counts what it reads
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace

from connector.coverage.spend import NOTHING_SPENT, Budget, Spend
from connector.errors import BudgetReached
from connector.records import clock


@dataclass(frozen=True, slots=True)
class Known:
    """What this source partition (*own*) and the connector's *others* have spent; X's clock is *skew_secs* ahead."""

    own: Spend = NOTHING_SPENT
    others: tuple[Spend, ...] = ()
    skew_secs: float = 0.0


class Allowance:
    """How much may still be read from one source partition within *budget*; without a budget nothing is counted."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._known = Known()
        self._flying = 0
        """Lines that were read and are not counted in `_known` yet."""

    def tell(self, own: Spend, others: Collection[Spend], skew_secs: float) -> None:
        """Set what was spent until now.  Event loop."""
        with self._lock:
            self._known = Known(own, tuple(others), skew_secs)

    def converted(self, lines: int, own: Spend) -> None:
        """Take note that *own* now includes *lines* of the lines that were read.  Event loop."""
        with self._lock:
            self._known = replace(self._known, own=own)
            self._flying -= lines

    def admit(self, lines: int) -> None:
        """
        Count *lines* that have just been read; with 0, only check whether reading is allowed.  Any thread.

        Raises:
            BudgetReached: the budget is spent, so no more may be read.
        """
        if not self._budget:
            return
        with self._lock:
            self._flying += lines
            known, flying = self._known, self._flying
        now_ms = int((clock.now() + known.skew_secs) * 1000)
        if error := reached(self._budget, known.own, known.others, now_ms, flying):
            raise error


def reached(
    budget: Budget, own: Spend, others: Collection[Spend], now_ms: int, flying: int = 0
) -> BudgetReached | None:
    """Return why nothing more may be bought once *flying* more posts are billed; None while something may."""
    return budget.reached([own.after(now_ms, flying, budget.mills_each), *others], now_ms)
