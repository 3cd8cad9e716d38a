"""
A connector that a task reads a stream for: what it wants, what of it is delivered, and how it is.

    joins ─▶ its rules are in force ─▶ reads ─▶ leaves, once X holds its rules no more
                  ▲                      │
                  └──── budget ◀─────────┤
                                         └─▶ FAILED: a bad record, a refused rule

Most tasks have one.  Several share the connection and the transactions; what stops one of them leaves the others alone.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.coverage.progress import PAUSED, Progress
from connector.errors import BudgetReached, ConnectorError, FatalError
from connector.records.record import BUDGET, HeldRule, TaskId
from connector.task.converter import Converter
from connector.task.known_ids import KnownIds
from connector.task.ownership import Ownership
from connector.task.partition import Partition, progress_settings
from connector.task.ports import Sink
from connector.task.refusal import Judge
from connector.task.reporting import ToldStatus
from connector.task.settings import Subscription
from connector.task.status import State, TaskStatus

if TYPE_CHECKING:  # only connectors of the stream compliance load it
    from connector.task.withdrawals import Withdrawals

LEAVE_SECS = 5.0
"""How long a connector that leaves may wait until X has deleted its rules (seconds); then it leaves them there."""

FAILED = "failed"
"""The reason of the gap of a connector that has failed."""


class Subscriber:
    """
    One connector of a task.

    *owed_ids* are ids of posts that were handed over and that no record of the ledger holds yet.  *received* posts came
    for it since that was told last.
    """

    def __init__(self, subscription: Subscription, ownership: Ownership, sink: Sink) -> None:
        self.subscription = subscription
        self.withdrawals = _withdrawals_of(subscription)
        self.converter = self.withdrawals or Converter(
            connector=subscription.name,
            dead_letters=subscription.dead_letters,
            transformer=subscription.transformer,
            form=subscription.form,
            has_rules=bool(subscription.wanted),
        )
        self.known_ids = KnownIds(subscription.name, self.converter.ledger, sink)
        self.judge = Judge()
        self.task: TaskId = subscription.task
        """The connector's own task."""
        self.name = subscription.name
        """The connector's name."""
        self.partitions: list[Partition] = []
        self.progresses: list[Progress] = []
        """The state of each source partition."""
        self.owed_ids: list[int] = []
        self.received = 0
        self.status = ToldStatus(ownership, subscription.on_status)
        self.failed: ConnectorError | None = None
        """Why it has FAILED; the task reads on for the others."""
        self.leaves_by: float | None = None
        """When it leaves at the latest (monotonic seconds), if it is about to."""
        self.resting: BudgetReached | None = None
        """Why its rules are out of the stream for now, while others read on."""
        self.runs: list[asyncio.Task[None]] = []
        """Its repairs."""

    @property
    def wants(self) -> bool:
        """Whether X shall hold its rules now."""
        return self.failed is None and self.leaves_by is None and not self.rests

    @property
    def rests(self) -> bool:
        """Whether its budget is spent, and the next day or month has not begun."""
        if self.resting is None:
            return False
        now_ms = max((progress.now_ms for progress in self.progresses), default=0)
        return now_ms < self.resting.resume_at * 1000

    @property
    def in_force(self) -> bool:
        """Whether X sends its posts."""
        return any(partition.in_force for partition in self.partitions)

    @property
    def absence(self) -> str:
        """The reason of the gap that begins when its rules are gone."""
        if self.failed is not None:
            return FAILED
        return BUDGET if self.resting is not None else PAUSED

    def budget_reached(self) -> BudgetReached | None:
        """Return why nothing more may be bought for it; None while something may."""
        for progress in self.progresses:
            if error := progress.budget_reached():
                return error
        return None

    def know_rules(self, rules: Iterable[HeldRule]) -> None:
        """Tell the transforms which of its rules has which id at X; the tag may be another connector's."""
        wanted = self.subscription.wanted
        self.converter.know_rules({rule.id: wanted[rule.value] for rule in rules if rule.value in wanted})

    def writes_otherwise(self, subscription: Subscription) -> bool:
        """Return whether *subscription* has another format: what is converted already is not converted again."""
        return subscription.value_format != self.subscription.value_format

    def change(self, subscription: Subscription) -> None:
        """Go on with another configuration; rules and topics are changed by the task."""
        if subscription.budget != self.subscription.budget:
            self.resting = None
        self.subscription = subscription
        self.converter.change(
            dead_letters=subscription.dead_letters, transformer=subscription.transformer, form=subscription.form
        )
        for partition in self.partitions:
            others = partition.progress.others
            kept = replace(progress_settings(subscription, others), paused_until_ms=None)
            partition.progress.change_settings(kept)
            partition.repairer.change(subscription.policy)

    def leave(self, patience_secs: float) -> None:
        """Leave once X holds its rules no more, at the latest after *patience_secs*."""
        if self.leaves_by is None:
            self.leaves_by = time.monotonic() + patience_secs
            self.stop()

    def start(self, partition: Partition, ended: Callable[[], None]) -> None:
        """Begin to repair the gaps of *partition*; *ended* is called when that has ended."""
        partition.progress.tell_allowance()
        self.partitions.append(partition)
        self.progresses.append(partition.progress)
        if self.withdrawals is not None:
            self.withdrawals.spend_within(partition.progress.budget_left)
        run = asyncio.create_task(partition.repairer.run())
        run.add_done_callback(lambda _: ended())
        self.runs.append(run)

    def follow(self, wake: Callable[[], None], ended: Callable[[], None]) -> None:
        """Begin to read the topic whose posts it withdraws, if it does; *wake* is called when one has to go."""
        if self.withdrawals is not None:
            run = asyncio.create_task(self.withdrawals.follow(wake))
            run.add_done_callback(lambda _: ended())
            self.runs.append(run)

    def close(self) -> None:
        """Let go of what it keeps on disk, once it has ended."""
        if self.withdrawals is not None:
            self.withdrawals.close()

    def fail(self, error: ConnectorError) -> None:
        """Stop for good because of *error*; what was handed over before is still delivered."""
        self.failed = error
        self.stop()
        for partition in self.partitions:
            partition.rules_gone(FAILED)
        may_pass = isinstance(error, FatalError) and error.may_pass
        self.status.set(TaskStatus(state=State.FAILED, trace=f"{error.name}: {error}", may_pass=may_pass))

    def stop(self) -> None:
        """Stop repairing, and reading the topic."""
        for partition in self.partitions:
            partition.stop()
        if self.withdrawals is not None:
            self.withdrawals.stop()

    def own(self, status: TaskStatus) -> TaskStatus:
        """Return its status, if *status* is that of the stream."""
        if self.failed is not None:
            return self.status.now
        if self.rests:
            detail = f"{BudgetReached.__name__}: {self.resting}"
            return replace(status, state=State.PAUSED, detail=detail, outages=())
        if self.wants and not self.in_force and any(each.reader.connected for each in self.partitions):
            return replace(status, detail="its rules are not at X yet")
        return status


def _withdrawals_of(subscription: Subscription) -> "Withdrawals | None":
    """Return what stands in the place of the converter for compliance events; None for posts."""
    if subscription.withdrawals is None:
        return None
    settings, task, dead_letters = subscription.withdrawals, subscription.task, subscription.dead_letters
    if settings.recheck is not None:
        from connector.task.rechecks import Rechecks

        return Rechecks(settings, settings.recheck, task=task, dead_letters=dead_letters)
    from connector.task.withdrawals import Withdrawals

    return Withdrawals(settings, task=task, dead_letters=dead_letters)
