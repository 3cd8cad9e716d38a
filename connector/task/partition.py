"""
One source partition of a task: its reader, its state, and the repairer of its gaps; and how they are put together.

    X ──▶ Reader ──▶ Buffer ──▶ the task's batches
                                 Progress: what became of what arrived
    X ──▶ Repairer ──▶ a page ─▶ the task's batches
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from connector.coverage.progress import Progress, ProgressSettings
from connector.coverage.spend import Spend
from connector.records.snowflake import to_iso
from connector.sources.handles import Handle
from connector.task.buffer import Buffer
from connector.task.in_flight import InFlight
from connector.task.known_ids import KnownIds
from connector.task.ownership import Ownership
from connector.task.ports import Finder, Requests, Source
from connector.task.reader import Reader
from connector.task.repair.orders import Orders
from connector.task.repair.repairer import Repairer
from connector.task.settings import TaskSettings
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import TaskResumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One source partition of a task: its reader, its state (`Progress`), and the repairer of its gaps (`Repairer`)."""

    reader: Reader
    progress: Progress
    repairer: Repairer

    def start(self) -> "tuple[asyncio.Task[None], ...]":
        """Start to read and to repair; return what runs until `stop`."""
        self.progress.tell_allowance()
        return asyncio.create_task(self.reader.run()), asyncio.create_task(self.repairer.run())

    def stop(self) -> None:
        """Stop reading and repairing; what has been read is still delivered."""
        self.reader.stop()
        self.repairer.stop()

    @property
    def outage_secs(self) -> float:
        """How long the present outage lasts by X's clock; 0 if there is none.  It is not a gap yet."""
        coverage = self.progress.coverage
        if self.reader.connected is not None or coverage.covered_to_ms is None:
            return 0.0
        since = max([coverage.covered_to_ms, *(gap.to_ms for gap in coverage.gaps)])
        return max(self.progress.now_ms - since, 0) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMaker:
    """Makes the source partitions of one task, out of what they share."""

    settings: TaskSettings
    run_word: str
    """Names this run of the task in its offsets."""
    buffer_bytes: int
    """The memory that the buffer of one source partition may take."""
    requests: Requests[Any]
    ghosts: Collection[Handle]
    """Connections that the task's last owner may have left open at X."""
    ownership: Ownership
    in_flight: InFlight
    known_ids: KnownIds
    executor: Executor
    wake: Wake
    emit: Callable[[Event], None]
    changed: Callable[[], None]
    """Called when the task's status may have to change."""

    def progress_of(
        self,
        source: Source,
        kept: Mapping[str | None, bytes | None],
        others: Callable[[], Collection[Spend]],
    ) -> Progress:
        """
        Return the state of *source*'s partition.

        *kept* are the values that the offsets topic holds, by kind.  *others* returns what the connector's other source
        partitions have spent.

        Raises:
            FatalError: one of the values cannot be read.
        """
        settings = ProgressSettings(
            task=self.settings.task,
            settle_ms=int(self.settings.settle_secs * 1000),
            metered=self.settings.metered,
            budget=self.settings.budget,
            others=others,
        )
        progress = Progress(source.partition, settings, emit=self.emit, kept=kept, run=self.run_word)
        progress.follow_rules(lambda: source.rules)
        return progress

    def make(self, source: Source, finder: Finder, progress: Progress) -> Partition:
        """Return the partition that reads *source*, and repairs by *finder* the gaps that *progress* knows."""
        orders = Orders(
            progress, self.requests, self.in_flight, ownership=self.ownership, wake=self.wake, emit=self.emit
        )
        repairer = Repairer(
            progress,
            finder,
            self.settings.policy,
            orders,
            self.known_ids,
            self.executor,
            ownership=self.ownership,
            wake=self.wake,
            emit=self.emit,
        )
        reader = Reader(
            source,
            Buffer(self.buffer_bytes, self.wake.set_from_thread, full_posts=self.settings.batch_max_records),
            self.executor,
            ownership=self.ownership,
            allowance=progress.allowance,
            backfill=repairer,
            emit=self.emit,
            changed=self.changed,
            ghosts=self.ghosts,
        )
        self._tell_resumed(progress)
        return Partition(reader=reader, progress=progress, repairer=repairer)

    def _tell_resumed(self, progress: Progress) -> None:
        coverage = progress.coverage
        if coverage.covered_to_ms is not None:
            self.emit(
                TaskResumed(
                    of=self.settings.task,
                    covered_to=to_iso(coverage.covered_to_ms),
                    posts=coverage.posts,
                    gaps=len(coverage.gaps),
                )
            )
