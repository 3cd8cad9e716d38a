"""
May the reader thread read on?  It is told what was spent, and asks nothing of the event loop's objects.

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
    """What *own* source partition has spent, and the *others* of the connector; X's clock is *skew_secs* ahead."""

    own: Spend = NOTHING_SPENT
    others: tuple[Spend, ...] = ()
    skew_secs: float = 0.0


class Allowance:
    """What may still be read of one source partition within *budget*; nothing is counted without one."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._known = Known()
        self._flying = 0
        """Lines that were read and are not in what is known to be spent."""

    def tell(self, own: Spend, others: Collection[Spend], skew_secs: float) -> None:
        """Say what was spent by now.  Event loop."""
        with self._lock:
            self._known = Known(own, tuple(others), skew_secs)

    def converted(self, lines: int, own: Spend) -> None:
        """Say that *lines* of those that were read are in *own* now.  Event loop."""
        with self._lock:
            self._known = replace(self._known, own=own)
            self._flying -= lines

    def admit(self, lines: int) -> None:
        """
        Count *lines* that have just been read, or see with 0 whether reading is allowed at all.  Any thread.

        Raises:
            BudgetReached: no more is to be read.
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
    """Return why nothing more may be bought once *flying* more are billed, None while something may."""
    return budget.reached([own.after(now_ms, flying, budget.mills_each), *others], now_ms)
