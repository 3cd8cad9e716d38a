"""Events of `connector.coverage`: gaps in the covered time."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import TaskEvent
from connector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEvent(TaskEvent):
    """Posts created from *gap_from* to *gap_to* (X's clock) may be missing, because of *reason*."""

    gap_from: str
    gap_to: str
    seconds: float
    reason: str
    partition: str | None


class GapOpened(GapEvent):
    """The source offset has a new gap: posts of this time are not in the topic."""

    name = "gap.opened"
    level = logging.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRepaired(GapEvent):
    """All posts that X offers of the gap are in the topic: *posts* were missing; *cost_usd* is X's price, if any."""

    name = "gap.repaired"
    way: str
    posts: int
    cost_usd: float | None

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="repaired").inc()


class GapAccepted(GapEvent):
    """An operator accepted the gap: it stays and is not repaired."""

    name = "gap.accepted"

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="accepted").inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLost(GapEvent):
    """X offers no way to repair the gap (*detail* says why); it stays until an operator retries or accepts it."""

    name = "gap.lost"
    level = logging.ERROR
    detail: str

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="lost").inc()
