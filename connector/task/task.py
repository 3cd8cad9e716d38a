"""
One task: poll, deliver, commit, and start over from the committed offset when the outcome of a commit is unknown.

    assigned ─▶ open the sink ─▶ read the offset ─▶ connect ─▶ ( drain, convert, deliver and commit )* ─▶ stopped
                  (fences)              ▲                                    │
                                        └── pause ◀── outcome unknown ───────┘

The task takes turns and combines these parts: `coverage/progress` knows which posts of a source partition are delivered
and which times are missing, `repair/repairer` repairs its gaps, `batcher` makes the batches, and `in_flight` holds the
batches until Kafka has confirmed them, and finds out which ones are in the topic if the outcome of a commit is unknown.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from secrets import token_hex
from typing import Any

from mode import Service

from connector.coverage.offset import Coverage
from connector.coverage.progress import OFFSET, REPAIRED, RULES, Progress
from connector.coverage.spend import MILLS, Spend
from connector.errors import (
    BrokerAway,
    DeliveryFailed,
    FatalError,
    Fenced,
    RecordsRefused,
    RightMissing,
    Superseded,
    ToleranceExceeded,
)
from connector.records import clock
from connector.sources.handles import Handle
from connector.task.backoff import Backoff
from connector.task.batcher import Batcher, BatcherSettings
from connector.task.console import Console
from connector.task.converter import Converter
from connector.task.endings import to_the_end
from connector.task.in_flight import InFlight, Pending
from connector.task.known_ids import KnownIds
from connector.task.ownership import Ownership
from connector.task.pace import Pace
from connector.task.partition import Partition, PartitionMaker
from connector.task.ports import CommittedOffsets, Finder, Requests, Sink, Source
from connector.task.reader import Reader
from connector.task.reporting import ToldStatus, status_of, unready_of
from connector.task.settings import TaskSettings
from connector.task.sifting import Sifting
from connector.task.status import State, TaskStatus
from connector.task.time_limit import TimeLimit
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import (
    BatchDelivered,
    DeliveryDelayed,
    DeliveryResumed,
    TaskFailed,
    TaskFenced,
    TaskRestarting,
    TaskStarted,
    TaskStopped,
    TimeLimitReached,
)

RESTART_PAUSE_SECS = 3.0
"""
How long a task waits before it opens a new producer.

A worker that was paused learns that its tasks have moved about 1.5 s after it wakes; before that it must not fence.
"""

MAX_FAILED_DELIVERIES = 5
"""
After so many failures without a commit between them the task FAILS, as a person has to look.

Failures because the broker is absent, or because a right is missing, do not count.
"""

IDLE_COMMIT_SECS = 5.0
"""Without posts, the offset is committed once in this time at most; keep-alives come every 20 s."""


class SourceTask(Service):
    """
    The running copy of source to topic, on the worker that owns it.

    *ended* is set when the task has ended.  Its status is then FAILED; or UNASSIGNED, if the task was stopped, another
    owner has fenced it, or its time limit was reached (`finished`).  *over* is set when the task has ended or its time
    limit is reached, whichever comes first; after the time limit the task still delivers what it has read.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        settings: TaskSettings,
        sources: Sequence[tuple[Source, Finder]],
        sink: Sink,
        executor: Executor,
        *,
        requests: Requests[Any],
        emit: Callable[[Event], None],
        on_status: Callable[[TaskStatus], None],
        ghosts: Collection[Handle] = (),
        console: Console | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.partitions: list[Partition] = []
        self.ended, self.over = asyncio.Event(), asyncio.Event()
        self.finished = False
        self._sources, self._sink, self._emit, self._console = sources, sink, emit, console
        self._run_word = token_hex(4)
        self._restarting: DeliveryFailed | None = None
        self._refused: RecordsRefused | None = None
        self._fatal: ToleranceExceeded | None = None
        self._stopping = False
        self._main: asyncio.Task[Any] | None = None
        self._runs: list[asyncio.Task[None]] = []
        converter = Converter(
            dead_letters=settings.tolerate_bad_records and settings.dead_letter_topic is not None,
            connector=settings.task.connector,
        )
        self._wake = Wake()
        self._pace = Pace(settings.poll_interval_secs, settings.pace_secs, self._wake)
        self._time_limit = TimeLimit(settings.time_limit_secs, self._reach_time_limit)
        self._in_flight = InFlight(sink, self, self._wake, ours=self._is_ours)
        self._ownership = Ownership(settings.task, self._in_flight, self._wake)
        self._status = ToldStatus(self._ownership, on_status)
        self._batcher = Batcher(
            BatcherSettings(
                task=settings.task,
                batch_max_records=settings.batch_max_records,
                offset_interval_secs=settings.offset_interval_secs,
                dead_letter_topic=settings.dead_letter_topic,
                mills_each=settings.budget.mills_each,
            ),
            converter,
            sink,
            in_flight=self._in_flight,
            emit=emit,
        )
        self._sifting = Sifting(self._in_flight, self._batcher, sink, tolerant=converter.dead_letters)
        self._known_ids = KnownIds(converter.ledger, sink)
        self._maker = PartitionMaker(
            settings=settings,
            run_word=self._run_word,
            buffer_bytes=settings.buffer_max_bytes // len(sources),
            requests=requests,
            ghosts=ghosts,
            ownership=self._ownership,
            in_flight=self._in_flight,
            known_ids=self._known_ids,
            executor=executor,
            wake=self._wake,
            emit=emit,
            changed=self._changed,
        )

    # -- life

    @Service.task
    async def _run(self) -> None:
        self._main = asyncio.current_task()
        self._emit(TaskStarted(of=self.settings.task))
        status = TaskStatus(state=State.UNASSIGNED)
        try:
            await self._live()
        except (Fenced, Superseded):
            self._emit(TaskFenced(of=self.settings.task, dropped_posts=self.undelivered_posts))
        except FatalError as exc:
            self._emit(TaskFailed(of=self.settings.task, error=exc.name, reason=str(exc)))
            status = TaskStatus(state=State.FAILED, trace=f"{exc.name}: {exc}")
        except Exception as exc:
            self.log.exception("Task %s failed unexpectedly", self.settings.task)
            self._emit(TaskFailed(of=self.settings.task, error=type(exc).__name__, reason=str(exc)))
            status = TaskStatus(state=State.FAILED, trace=f"{type(exc).__name__}: {exc}")
        finally:
            self.begin_stop()
            self._time_limit.cancel()
            for run in self._runs:
                run.cancel()
            try:
                await to_the_end(self._in_flight.discard())
            except Exception:
                self.log.exception("Task %s could not let go of its producer", self.settings.task)
            finally:  # also if the task is cancelled once more: whoever stops it waits for `ended`
                self._emit(
                    TaskStopped(
                        of=self.settings.task, posts=sum(progress.coverage.posts for progress in self.progresses)
                    )
                )
                self._status.set(status)
                self.ended.set()
                self.over.set()

    async def _live(self) -> None:
        failures, patience = 0, Backoff()
        while True:
            steps = self._steps
            try:
                await self._open()
                await self._work()
            except DeliveryFailed as exc:
                if self._stopping and isinstance(exc, Fenced):
                    raise
                if self._steps > steps:
                    failures = 0
                    patience.reset()
                failures += not isinstance(exc, BrokerAway | RightMissing)
                if failures >= MAX_FAILED_DELIVERIES:
                    raise FatalError(f"{failures} deliveries failed without a commit between: {exc}") from exc
                await self._pause(exc, patience)
                if isinstance(exc, RightMissing) and self._stopping and not self.undelivered_posts:
                    return
            else:
                return

    async def _pause(self, exc: DeliveryFailed, patience: Backoff) -> None:
        """Close the producer and wait before the next one; raise *exc* if another owner fenced a task that stops."""
        pause_secs = RESTART_PAUSE_SECS
        if isinstance(exc, RightMissing):
            _, pause_secs = patience.wait(exc, now=time.time())
        self._emit(TaskRestarting(of=self.settings.task, error=exc.name, reason=str(exc), retry_in_secs=pause_secs))
        self._restarting = exc
        self._in_flight.say_delayed()
        self._refused = exc if isinstance(exc, RecordsRefused) else None
        await to_the_end(self._in_flight.discard())
        # a topic that refuses records, just after a commit of the same epoch, is no sign of another owner
        if self._refused is None or not self._ownership.is_proven:
            await asyncio.sleep(RESTART_PAUSE_SECS)
        if self._stopping and isinstance(exc, Fenced):
            raise exc  # a new producer would fence the new owner
        if isinstance(exc, RightMissing):
            await self._wait_for_right(pause_secs - RESTART_PAUSE_SECS)

    async def _wait_for_right(self, secs: float) -> None:
        """Tell the group why this task waits, and wait for *secs* or until it is stopped."""
        self._changed()
        self._status.tell()  # without proof; but the task is still assigned here, so no other worker tells its status
        until = time.monotonic() + secs
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._wake.clear()
            await self._wake.wait(left)

    def _settle(self) -> None:
        """Take note that the task works again after a restart."""
        restarting, self._restarting = self._restarting, None
        if isinstance(restarting, RightMissing):
            self._changed()

    async def on_stop(self) -> None:
        """Stop reading, deliver what was read, commit; the caller bounds the time."""
        self.begin_stop()
        await self.ended.wait()
        if self._console is not None:
            await self._console.printed()

    def abandon(self) -> None:
        """Give up posts that are not delivered; the next owner begins at the committed offset."""
        if self._main is not None:
            self._main.cancel()

    def begin_stop(self) -> None:
        """Stop reading at once; what has been read is still delivered."""
        if not self._stopping:
            self._stopping = True
            self._ownership.stop()
            for partition in self.partitions:
                partition.stop()
            self._wake.set()

    def rewrite_offsets(self) -> None:
        """Write all values of this task into the offsets topic again: it was deleted."""
        for progress in self.progresses:
            progress.forget_written()
        self._wake.set()

    @property
    def status(self) -> TaskStatus:
        """The task's state, as the group is told it."""
        return self._status.now

    @property
    def readers(self) -> list[Reader]:
        """The reader of each source partition."""
        return [partition.reader for partition in self.partitions]

    @property
    def progresses(self) -> list[Progress]:
        """The state of each source partition."""
        return [partition.progress for partition in self.partitions]

    @property
    def undelivered_posts(self) -> int:
        """Posts read and not confirmed by Kafka."""
        return self._in_flight.posts + sum(reader.buffer.posts for reader in self.readers)

    @property
    def covered_to_ms(self) -> int | None:
        """The earliest `covered_to` that is committed, over all source partitions (UNIX ms)."""
        covered = [self._in_flight.coverage_of(progress.partition).covered_to_ms for progress in self.progresses]
        return min((ms for ms in covered if ms is not None), default=None)

    def _is_ours(self, key: bytes, value: bytes | None) -> bool:
        """Return whether this run of the task may have written *value*; True for keys that are not of an offset."""
        if key not in {self._sink.offset_key(progress.partition) for progress in self.progresses}:
            return True
        try:
            return value is not None and Coverage.decode(value).run == self._run_word
        except ValueError:
            return False

    @property
    def unready(self) -> str | None:
        """Why this task does not do its work at the moment; None if it does."""
        return unready_of(self.status, self._restarting, self._in_flight.delayed_secs, self.readers)

    # -- from the sink to the readers

    async def _open(self) -> None:
        committed = await self._in_flight.open()
        if self._in_flight.emptied:
            self.rewrite_offsets()
        if not self.partitions:
            await self._start_reading(committed)
        if self._refused is not None and self._in_flight.pending:
            refused, self._refused = self._refused, None
            self._fatal = await self._sifting.sift(refused, self.progresses) or self._fatal
        self._tell_held()
        if not self._in_flight.pending:
            self._settle()

    @property
    def _steps(self) -> int:
        return self._in_flight.commits + self._sifting.done

    async def _start_reading(self, committed: CommittedOffsets) -> None:
        progresses: list[Progress] = []
        for source, _ in self._sources:
            progresses.append(self._progress_of(source, committed, progresses))
        since = [progress.wanted_from_ms for progress in progresses if progress.wanted_from_ms is not None]
        if since:  # X may send again the posts that the last owner delivered
            await self._known_ids.load(min(since), None)
        for (source, finder), progress in zip(self._sources, progresses, strict=True):
            self.partitions.append(self._maker.make(source, finder, progress))
        for partition in self.partitions:
            for running in partition.start():
                running.add_done_callback(lambda _: self._wake.set())
                self._runs.append(running)
        if self._stopping:
            for partition in self.partitions:
                partition.stop()
        self._changed()

    def _progress_of(self, source: Source, committed: CommittedOffsets, progresses: Sequence[Progress]) -> Progress:
        """Return the state of *source*'s partition; *progresses* come to have those of all partitions of this task."""
        keys = {kind: self._sink.offset_key(source.partition, kind) for kind in (OFFSET, REPAIRED, RULES)}
        kept = {kind: committed.latest.get(key) for kind, key in keys.items()}
        self._in_flight.note_committed({keys[kind]: value for kind, value in kept.items()})

        def others() -> Collection[Spend]:
            mine = (other.coverage.spent for other in progresses if other is not progress)
            return [*self.settings.others(), *mine]

        progress = self._maker.progress_of(source, kept, others)
        return progress

    # -- turns

    async def _work(self) -> None:
        """
        Take turns until the task is stopped and all that was read is delivered.

        Raises:
            DeliveryFailed: the outcome of a commit is unknown.
            FatalError: a reader failed or a record is bad; what was read before is delivered.
        """
        await self._in_flight.deliver_again()
        if self._fatal is not None:
            raise self._fatal
        while True:
            over = self._readers_over()  # asked before the turn, which then drains all that they put before they ended
            if await self.poll() or any(reader.buffer.posts for reader in self.readers):
                self._pace.note_work()
                continue
            if over:
                await self._in_flight.confirmed()
                self._raise_reader_error()
                return
            await self._pace.rest(self._batcher.owed_secs)

    async def poll(self) -> bool:
        """Take one turn: drain, convert, hand to Kafka.  Return whether there was a batch."""
        await self._in_flight.confirmed(unless=self._full)
        self._tell_held()
        await self._pace.between_batches(self._batcher.built_at, unless=lambda: self._stopping or self._full())
        self._wake.clear()
        self._say_next_drain(time.monotonic() + self._pace.batch_interval_secs)
        pending, fatal = await self._batcher.gather(
            self.partitions, prove=self._ownership.proof_wanted, quiet=self._quiet
        )
        self._fatal = self._fatal or fatal
        for progress in self.progresses:
            progress.tell_allowance()
        if pending is None:
            self._say_next_drain(0.0)  # without a batch there is no pause: the next arrival begins a turn
        else:
            await self._in_flight.hand_over(pending)
        self._tell_held()
        if self._fatal is not None:
            await self._in_flight.confirmed()
            raise self._fatal
        return pending is not None

    def _tell_held(self) -> None:
        """Tell the buffers how many bytes are not delivered yet; each buffer counts an equal share."""
        held = self._batcher.size_bytes + self._in_flight.size_bytes
        for reader in self.readers:
            reader.buffer.hold(held // len(self.partitions))

    def _say_next_drain(self, at: float) -> None:
        if at and not any(reader.buffer.posts for reader in self.readers):
            return
        for reader in self.readers:
            reader.buffer.will_drain(at)

    def _full(self) -> bool:
        return any(reader.buffer.full for reader in self.readers)

    @property
    def _quiet(self) -> bool:
        """Whether an offset is to be written even if only its covered time has changed."""
        return self._stopping or time.monotonic() - self._in_flight.committed_at >= IDLE_COMMIT_SECS

    def _reach_time_limit(self) -> None:
        if not self._stopping:
            self._emit(TimeLimitReached(of=self.settings.task, time_limit_secs=self.settings.time_limit_secs or 0.0))
            self.finished = True
            self.begin_stop()
            self.over.set()

    # -- what `in_flight` reports

    def on_confirmed(self, pending: Pending) -> None:
        """Kafka has *pending*: report it."""
        self._settle()
        self._ownership.note_commit()
        self._sifting.note_taken(pending.batch.records)
        self._status.tell()
        for number in pending.live:
            self.partitions[number].reader.delivered()
        now = clock.now()
        self._emit(
            BatchDelivered(
                of=self.settings.task,
                posts=len(pending.batch.records),
                waits=tuple((max(now - at, 0.0), max(now - made, 0.0), posts) for at, made, posts in pending.waits),
                usd=pending.mills / MILLS,
            )
        )

    def on_delivered(self, pending: Pending) -> None:
        """Print the posts, if that is wanted."""
        if self._console is not None:
            self._console.show(pending.batch.records)

    def on_delayed(self, waiting_secs: float) -> None:
        """Say that Kafka does not confirm."""
        self._emit(
            DeliveryDelayed(
                of=self.settings.task,
                waiting_secs=round(waiting_secs, 1),
                undelivered_posts=self.undelivered_posts,
                buffer_bytes=sum(reader.buffer.size_bytes for reader in self.readers),
            )
        )

    def on_resumed(self, waited_secs: float) -> None:
        """Say that Kafka confirms again."""
        self._emit(DeliveryResumed(of=self.settings.task, waited_secs=round(waited_secs, 1)))

    # -- the outside

    def _readers_over(self) -> bool:
        """Return whether all readers and repairs have ended; if one has failed, stop the others."""
        if any(self._error_of(run) for run in self._runs):
            self.begin_stop()
        return all(run.done() for run in self._runs)

    @staticmethod
    def _error_of(run: "asyncio.Task[None]") -> BaseException | None:
        return run.exception() if run.done() and not run.cancelled() else None

    def _raise_reader_error(self) -> None:
        for run in self._runs:
            if error := self._error_of(run):
                raise error

    def _changed(self) -> None:
        """Update the status: a reader's connection, error or wait has changed."""
        if self.ended.is_set():  # a late answer of X no longer changes the status
            return
        if any(reader.connected for reader in self.readers):
            self._time_limit.begin()
        self._status.set(status_of(self.readers, self._restarting))
