"""
One connector's part of one source partition: the reader that it may share, its progress, the repairer of its gaps.

    X ──▶ Reader ──▶ Buffer ──▶ the task's batches
                                 Progress: what became of what arrived
    X ──▶ Repairer ──▶ a page ─▶ the task's batches
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from connector.coverage.progress import Progress, ProgressSettings
from connector.coverage.spend import Spend
from connector.errors import ConnectorError
from connector.records import clock
from connector.records.record import Connected, HeldRule
from connector.records.snowflake import to_iso
from connector.task.in_flight import InFlight
from connector.task.known_ids import KnownIds
from connector.task.ownership import Ownership
from connector.task.ports import Finder, Requests, Source
from connector.task.reader import Reader
from connector.task.repair.orders import Orders
from connector.task.repair.repairer import Repairer
from connector.task.settings import Subscription
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import TaskResumed

RULES = "rules"
"""The reason of a gap in which X may not have held one of the connector's rules: it had to be added again."""


@dataclass(slots=True, kw_only=True)
class Partition:
    """
    One connector's part of a source partition.

    *in_force*: X sends the posts of the connector's rules to an open connection.  *apart* is why it does not take part
    in the stream while others do; None for a connector with which the stream began.
    """

    reader: Reader
    progress: Progress
    repairer: Repairer
    in_force: bool = False
    apart: str | None = None
    joined: bool = False
    """Whether it came while the stream was already read."""
    held_since: float = 0.0
    """Since when X holds a rule that it did not hold before (`clock.now`): earlier connections lack its posts."""

    def stop(self) -> None:
        """Stop repairing; what has been found is still delivered."""
        self.repairer.stop()

    def on_connected(self, connected: Connected) -> None:
        """Take note of a connection, which the buffer has brought."""
        known = self.progress.connected
        if self.in_force and self.held_since <= connected.at and (known is None or known.at <= connected.at):
            after = self.apart if self.joined or self.apart is not None else connected.after
            self.apart, self.joined = None, False
            self.progress.on_connected(replace(connected, after=after))

    def attend(self, reason: str | None) -> None:
        """From now on X sends this connector's posts to the connection now open: the time before is a gap."""
        connected = self.reader.connected
        if connected is not None:
            self.apart, self.joined = None, False
            self.progress.on_connected(replace(connected, at=clock.now(), after=reason, backfill_minutes=None))

    def rules_changing(self) -> None:
        """
        Claim no time while the rules at X are being changed.

        When X has deleted a rule is known only later, perhaps longer than posts may be late.
        """
        self.progress.frozen = True  # also without a connection: there may be one before X has answered

    def rules_applied(self, *, moved: bool) -> None:
        """Take note that X holds the connector's rules; with *moved*, one of them was gone meanwhile."""
        self.progress.frozen = False
        joins, self.in_force = not self.in_force, True
        if joins or moved:
            self.held_since = clock.now()
        if self.reader.connected is None:
            self.progress.hold_rules()
            self.progress.away = self.progress.away or joins or moved
        elif joins:
            self.attend(self.apart)
        elif moved:
            self.attend(RULES)
        else:
            self.progress.change_rules()

    def rules_gone(self, reason: str) -> None:
        """Take note that X holds no rule of this connector any more, because of *reason*."""
        self.progress.frozen = True
        if self.in_force:
            self.in_force, self.apart = False, reason

    @property
    def outage_secs(self) -> float:
        """How long the present outage lasts by X's clock; 0 if there is none.  It is not a gap yet."""
        coverage = self.progress.coverage
        reads = self.reader.connected is not None and self.in_force
        if reads or coverage.covered_to_ms is None:
            return 0.0
        since = max([coverage.covered_to_ms, *(gap.to_ms for gap in coverage.gaps)])
        return max(self.progress.now_ms - since, 0) / 1000


class Backfills:
    """Decides about the backfill of a connection for all that share it (`connector.task.reader.Backfill`)."""

    def __init__(self) -> None:
        self._repairers: tuple[Repairer, ...] = ()

    def share(self, repairers: Collection[Repairer]) -> None:
        """Let *repairers* be those who decide."""
        self._repairers = tuple(repairers)

    def backfill_minutes(self) -> int | None:
        """Return how many minutes of backfill the next connect should ask for: as many as anyone needs."""
        asked = [minutes for repairer in self._repairers if (minutes := repairer.backfill_minutes()) is not None]
        return max(asked, default=None)

    def refuse_backfill(self, error: ConnectorError) -> None:
        """Take note that X refuses a backfill to this account."""
        for repairer in self._repairers:
            repairer.refuse_backfill(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMaker:
    """Makes the parts that connectors have in the source partitions of one task, out of what they share."""

    run_word: str
    """Names this run of the task in its offsets."""
    requests: Requests[Any]
    ownership: Ownership
    in_flight: InFlight
    executor: Executor
    wake: Wake
    emit: Callable[[Event], None]

    def progress_of(
        self,
        subscription: Subscription,
        source: Source,
        kept: Mapping[str | None, bytes | None],
        others: Callable[[], Collection[Spend]],
        rules: Callable[[], Sequence[HeldRule]],
    ) -> Progress:
        """
        Return the state of *source*'s partition for one connector.

        *kept* are the values that the offsets topic holds, by kind.  *others* returns what the connector's other source
        partitions have spent, *rules* the rules in force.

        Raises:
            FatalError: one of the values cannot be read.
        """
        settings = progress_settings(subscription, others)
        progress = Progress(source.partition, settings, emit=self.emit, kept=kept, run=self.run_word)
        progress.follow_rules(rules)
        return progress

    def make(
        self, subscription: Subscription, reader: Reader, finder: Finder, progress: Progress, known_ids: KnownIds
    ) -> Partition:
        """Return the part of a connector that reads with *reader* and repairs by *finder* the gaps in *progress*."""
        orders = Orders(
            progress,
            self.requests,
            self.in_flight,
            task=subscription.task,
            ownership=self.ownership,
            wake=self.wake,
            emit=self.emit,
        )
        repairer = Repairer(
            progress,
            finder,
            subscription.policy,
            orders,
            known_ids,
            self.executor,
            ownership=self.ownership,
            wake=self.wake,
            emit=self.emit,
        )
        self._tell_resumed(subscription, progress)
        return Partition(reader=reader, progress=progress, repairer=repairer)

    def _tell_resumed(self, subscription: Subscription, progress: Progress) -> None:
        coverage = progress.coverage
        if coverage.covered_to_ms is not None:
            self.emit(
                TaskResumed(
                    of=subscription.task,
                    covered_to=to_iso(coverage.covered_to_ms),
                    posts=coverage.posts,
                    gaps=len(coverage.gaps),
                )
            )


def progress_settings(subscription: Subscription, others: Callable[[], Collection[Spend]]) -> ProgressSettings:
    """Return what the state of a source partition is told of its connector's configuration."""
    return ProgressSettings(
        task=subscription.task,
        settle_ms=int(subscription.settle_secs * 1000),
        metered=subscription.metered,
        budget=subscription.budget,
        others=others,
        paused_until_ms=subscription.paused_until_ms,
        asks=subscription.withdrawals is not None and subscription.withdrawals.recheck is not None,
    )
