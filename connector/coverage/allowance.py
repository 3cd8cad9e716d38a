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

    def change(self, budget: Budget) -> None:
        """Go on with another *budget*.  Event loop."""
        self._budget = budget

    def fly(self, lines: int) -> None:
        """Count *lines* that were read, whatever the budget says.  Any thread."""
        if self._budget:
            with self._lock:
                self._flying += lines

    def reached(self) -> BudgetReached | None:
        """Return why nothing more may be bought, by what was converted until now; None while something may."""
        if not self._budget:
            return None
        known = self._known
        return reached(self._budget, known.own, known.others, int((clock.now() + known.skew_secs) * 1000))

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


class SharedAllowance:
    """
    How much may be read from a source partition that several connectors share.

    It is not known before the conversion whose budget a line counts for.  So the reading ends only when all budgets are
    spent; the task takes a connector's rules out of the stream when its budget is.
    """

    def __init__(self) -> None:
        self._members: tuple[Allowance, ...] = ()

    def share(self, members: Collection[Allowance]) -> None:
        """Let *members* be those who share; event loop."""
        self._members = tuple(members)

    def admit(self, lines: int) -> None:
        """
        Count *lines* that have just been read; with 0, only check whether reading is allowed.  Any thread.

        Raises:
            BudgetReached: no more may be read; the error is that of the member that may go on first.
        """
        members = self._members
        if len(members) == 1:
            members[0].admit(lines)
            return
        for member in members:
            member.fly(lines)
        errors = [error for member in members if (error := member.reached()) is not None]
        if errors and len(errors) == len(members):
            raise min(errors, key=lambda error: error.resume_at)


def reached(
    budget: Budget, own: Spend, others: Collection[Spend], now_ms: int, flying: int = 0
) -> BudgetReached | None:
    """Return why nothing more may be bought once *flying* more posts are billed; None while something may."""
    return budget.reached([own.after(now_ms, flying, budget.mills_each), *others], now_ms)
