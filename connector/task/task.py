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
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

from mode import Service

from connector.coverage.offset import Coverage
from connector.coverage.progress import OFFSET, REPAIRED, RULES, Progress, ProgressSettings
from connector.coverage.spend import MILLS, Budget, Spend
from connector.errors import (
    BrokerAway,
    ConnectorError,
    DeliveryFailed,
    FatalError,
    Fenced,
    OutOfCredit,
    RecordsRefused,
    RightMissing,
    Superseded,
    ToleranceExceeded,
)
from connector.records import clock
from connector.records.record import OffsetWrite, Records, TaskId
from connector.records.snowflake import to_iso
from connector.sources.handles import Handle
from connector.task.backoff import Backoff
from connector.task.batcher import Batcher, BatcherSettings, Partition, intolerable
from connector.task.buffer import Buffer
from connector.task.console import Console
from connector.task.converter import Converter
from connector.task.endings import to_the_end
from connector.task.in_flight import CommittedOffsets, InFlight, Pending, Sink
from connector.task.reader import Owner, Reader, Source
from connector.task.refusal import Judge, cut_before, put_aside
from connector.task.repair.orders import Requests
from connector.task.repair.policy import Policy
from connector.task.repair.repairer import Finder, Repairer, Workshop, remember
from connector.task.status import State, TaskStatus
from connector.telemetry.events import (
    BatchDelivered,
    DeliveryDelayed,
    DeliveryResumed,
    Event,
    TaskFailed,
    TaskFenced,
    TaskRestarting,
    TaskResumed,
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

COMMIT_PROVES_SECS = 5.0
"""A commit in the last so many seconds proves that this worker owns the task: only a longer silence loses it."""

PROOF_POLL_SECS = 0.05

IDLE_TURN_SECS = 1.0
"""The longest time between turns, while nothing happens; whatever has to be done at once wakes the task."""

IDLE_COMMIT_SECS = 5.0
"""Without posts, the offset is committed once in this time at most; keep-alives come every 20 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """The configuration of a task."""

    task: TaskId
    poll_interval_secs: float
    pace_secs: float
    """The least time between the begins of batches that are not full: a commit costs more than the posts in it."""
    offset_interval_secs: float
    """The time between writes of the offsets while posts come; 0: with each batch, as transactions need it."""
    batch_max_records: int
    buffer_max_bytes: int
    settle_secs: float
    time_limit_secs: float | None
    dead_letter_topic: str | None
    tolerate_bad_records: bool
    policy: Policy
    """How gaps may be repaired."""
    metered: bool
    """Whether X charges for each post, or posts are counted for a budget."""
    budget: Budget
    others: Callable[[], Collection[Spend]]
    """Returns what those tasks of the connector have spent that run on other workers."""


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
        self.status = TaskStatus(state=State.UNASSIGNED)
        self.partitions: list[Partition] = []
        self.ended, self.over = asyncio.Event(), asyncio.Event()
        self.finished = False
        self._sources, self._sink, self._executor = sources, sink, executor
        self._requests, self._emit, self._on_status, self._ghosts = requests, emit, on_status, ghosts
        self._converter = Converter(
            dead_letters=settings.tolerate_bad_records and settings.dead_letter_topic is not None,
            connector=settings.task.connector,
        )
        self._console = console
        self._loop_of_turns = asyncio.get_running_loop()
        self._run_word = token_hex(4)
        self._restarting: DeliveryFailed | None = None
        self._refused: RecordsRefused | None = None
        self._judge = Judge()
        self._sifted = 0
        self._wake = asyncio.Event()
        self._in_flight = InFlight(sink, self, self._wake, ours=self._is_ours)
        self._batcher = Batcher(
            BatcherSettings(
                task=settings.task,
                batch_max_records=settings.batch_max_records,
                offset_interval_secs=settings.offset_interval_secs,
                dead_letter_topic=settings.dead_letter_topic,
                mills_each=settings.budget.mills_each,
            ),
            self._converter,
            sink,
            committed=self._committed,
            emit=emit,
        )
        self._stopping = False
        self._fatal: ToleranceExceeded | None = None
        self._proof_wanted = False
        self._untold = False
        self._main: asyncio.Task[Any] | None = None
        self._runs: list[asyncio.Task[None]] = []
        self._time_limit: asyncio.TimerHandle | None = None

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
            if self._time_limit is not None:
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
                self._set(status)
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
        if self._refused is None or not self._is_proven:  # else a refusal, just after a commit of the same epoch
            await asyncio.sleep(RESTART_PAUSE_SECS)
        if self._stopping and isinstance(exc, Fenced):
            raise exc  # a new producer would fence the new owner
        if isinstance(exc, RightMissing):
            await self._wait_for_right(pause_secs - RESTART_PAUSE_SECS)

    async def _wait_for_right(self, secs: float) -> None:
        """Tell the group why this task waits, and wait for *secs* or until it is stopped."""
        self._changed()
        self._tell_status()  # without proof; but the task is still assigned here, so no other worker tells its status
        until = time.monotonic() + secs
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._wake.clear()
            await self._woken(left)

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
            for partition in self.partitions:
                partition.reader.stop()
                partition.repairer.stop()
            self._wake.set()

    def rewrite_offsets(self) -> None:
        """Write all values of this task into the offsets topic again: it was deleted."""
        for progress in self.progresses:
            progress.forget_written()
        self._wake.set()

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
        covered = [self._committed(progress).covered_to_ms for progress in self.progresses]
        return min((ms for ms in covered if ms is not None), default=None)

    def _committed(self, progress: Progress) -> Coverage:
        value = self._in_flight.committed.get(self._sink.offset_key(progress.partition))
        return Coverage() if value is None else Coverage.decode(value)

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
        if self.status.state is not State.RUNNING:
            return f"{self.status.state}: {self.status.trace or self.status.detail or 'not running'}"
        if self._restarting is not None:
            return f"starting over: {self._restarting.name}: {self._restarting}"
        if self._in_flight.delayed_since is not None:
            return f"Kafka has not confirmed a delivery for {time.monotonic() - self._in_flight.delayed_since:.0f} s"
        for reader in self.readers:
            if reader.connected is None:
                return f"not connected: {reader.error or 'connecting'}"
        return None

    # -- from the sink to the readers

    async def _open(self) -> None:
        committed = await self._in_flight.open()
        if self._in_flight.emptied:
            self.rewrite_offsets()
        if not self.partitions:
            await self._start_reading(committed)
        if self._refused is not None and self._in_flight.pending:
            await self._sift(self._refused)
        self._tell_held()
        if not self._in_flight.pending:
            self._settle()

    async def _sift(self, refused: RecordsRefused) -> None:
        """
        Find the posts that the topic refuses; make them dead letters, or let the task end with the posts before them.

        Raises:
            BrokerUnsuitable: the topic has refused too many posts in a row.
            DeliveryFailed: it could not be found out.
        """
        self._refused = None
        first = self._in_flight.pending[0]
        records = first.batch.records
        sifted = await self._in_flight.sift(refused)
        self._judge.hear(records, sifted)
        if sifted.refused and self._converter.dead_letters:
            letters = self._batcher.letters_of(first, sifted.refused)
            keys = [self._sink.offset_key(progress.partition) for progress in self.progresses]
            for number, posts in put_aside(self._in_flight.pending, letters, keys):
                self.progresses[number].refused(posts)
            self._batcher.disown({int(records.keys[place]) for place in sifted.refused})
        elif sifted.refused:
            place, reason = min(sifted.refused.items())
            self._fatal = intolerable(reason)
            dropped = sifted.refused if sifted.taken else range(place, len(records))
            owed_ids, now_ms = self._batcher.owed_ids, max(progress.now_ms for progress in self.progresses)
            first.batch = cut_before(self._in_flight.pending, dropped, owed_ids, self._unclaimed, now_ms=now_ms)
            del self._in_flight.pending[1:]
        else:
            first.batch = replace(first.batch, dead_letters=self._batcher.fitting(first.batch.dead_letters))
        self._sifted += bool(sifted.refused)
        if sifted.taken:
            first.encoded = await self._sink.encode(replace(first.batch, records=Records()))
        else:
            await to_the_end(self._in_flight.discard())
            await self._in_flight.open()

    def _unclaimed(self, number: int, dropped: int) -> OffsetWrite:
        progress = self.progresses[number]
        coverage = progress.without_claims(self._committed(progress), dropped)
        return OffsetWrite(key=self._sink.offset_key(progress.partition), value=coverage.encode())

    @property
    def _steps(self) -> int:
        return self._in_flight.commits + self._sifted

    async def _start_reading(self, committed: CommittedOffsets) -> None:
        progresses = [self._progress_of(source, committed) for source, _ in self._sources]
        since = [progress.wanted_from_ms for progress in progresses if progress.wanted_from_ms is not None]
        if since:  # X may send again the posts that the last owner delivered
            await remember(self._converter.ledger, await self._sink.read_ledger(min(since), None))
        for (source, finder), progress in zip(self._sources, progresses, strict=True):
            self._add_partition(source, finder, progress)
        for partition in self.partitions:
            partition.progress.tell_allowance()
            for run in (partition.reader.run(), partition.repairer.run()):
                running = asyncio.create_task(run)
                running.add_done_callback(lambda _: self._wake.set())
                self._runs.append(running)
        if self._stopping:
            for partition in self.partitions:
                partition.reader.stop()
                partition.repairer.stop()
        self._changed()

    def _progress_of(self, source: Source, committed: CommittedOffsets) -> Progress:
        keys = {kind: self._sink.offset_key(source.partition, kind) for kind in (OFFSET, REPAIRED, RULES)}
        kept = {kind: committed.latest.get(key) for kind, key in keys.items()}
        self._in_flight.note_committed({keys[kind]: value for kind, value in kept.items()})
        settings = self.settings
        progress_settings = ProgressSettings(
            task=settings.task,
            settle_ms=int(settings.settle_secs * 1000),
            metered=settings.metered,
            budget=settings.budget,
            others=lambda: [
                *settings.others(),
                *(other.coverage.spent for other in self.progresses if other is not progress),
            ],
        )
        progress = Progress(source.partition, progress_settings, emit=self._emit, kept=kept, run=self._run_word)
        progress.follow_rules(lambda: source.rules)
        return progress

    def _add_partition(self, source: Source, finder: Finder, progress: Progress) -> None:
        workshop = Workshop(
            task=self.settings.task,
            emit=self._emit,
            prove=self._prove,
            wake=self._wake.set,
            read_ledger=lambda from_ms, to_ms, late: self._sink.read_ledger(from_ms, to_ms, late=late),
            committed_batch=lambda: self._committed(progress).batch,
            ledger=self._converter.ledger,
            requests=self._requests,
        )
        repairer = Repairer(progress, finder, self.settings.policy, workshop, self._executor)
        owner = Owner(
            task=self.settings.task,
            prove=self._prove,
            emit=self._emit,
            changed=self._changed,
            admit=progress.allowance.admit,
            backfill_minutes=repairer.backfill_minutes,
            refuse_backfill=repairer.refuse_backfill,
        )
        buffer = Buffer(
            self.settings.buffer_max_bytes // len(self._sources),
            self._wake_loop,
            full_posts=self.settings.batch_max_records,
        )
        reader = Reader(source, buffer, owner, self._executor, ghosts=self._ghosts)
        self.partitions.append(Partition(reader=reader, progress=progress, repairer=repairer))
        if progress.coverage.covered_to_ms is not None:
            self._emit(
                TaskResumed(
                    of=self.settings.task,
                    covered_to=to_iso(progress.coverage.covered_to_ms),
                    posts=progress.coverage.posts,
                    gaps=len(progress.coverage.gaps),
                )
            )

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
        rest_secs = self.settings.poll_interval_secs
        while True:
            over = self._readers_over()  # asked before the turn, which then drains all that they put before they ended
            if await self.poll() or any(reader.buffer.posts for reader in self.readers):
                rest_secs = self.settings.poll_interval_secs
                continue
            if over:
                await self._in_flight.confirmed()
                self._raise_reader_error()
                return
            await self._woken(min(rest_secs, self._batcher.owed_secs))
            rest_secs = max(min(2 * rest_secs, IDLE_TURN_SECS), self.settings.poll_interval_secs)

    async def poll(self) -> bool:
        """Take one turn: drain, convert, hand to Kafka.  Return whether there was a batch."""
        await self._in_flight.confirmed(unless=self._full)
        self._tell_held()
        await self._keep_pace()
        self._wake.clear()
        self._say_next_drain(time.monotonic() + self.settings.pace_secs)
        pending, fatal = await self._batcher.gather(self.partitions, prove=self._proof_wanted, quiet=self._quiet)
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

    async def _keep_pace(self) -> None:
        due = self._batcher.built_at + self.settings.pace_secs
        while (wait := due - time.monotonic()) > 0 and not self._full() and not self._stopping:
            self._wake.clear()
            await self._woken(wait)

    @property
    def _quiet(self) -> bool:
        """Whether an offset is to be written even if only its covered time has changed."""
        return self._stopping or time.monotonic() - self._in_flight.committed_at >= IDLE_COMMIT_SECS

    def _wake_loop(self) -> None:
        """Let the next turn begin.  Reader thread."""
        self._loop_of_turns.call_soon_threadsafe(self._wake.set)

    async def _woken(self, timeout_secs: float) -> None:
        # a timer is cheaper than `wait_for`, which in Python 3.11 may swallow the cancellation by `abandon`
        timer = self._loop_of_turns.call_later(timeout_secs, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

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
        self._proof_wanted = False
        self._judge.hear_taken(pending.batch.records)
        self._tell_status()
        for reader in pending.readers:
            reader.delivered()
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

    async def _prove(self) -> None:
        """
        Return once a recent commit proves that this worker owns the task.

        A worker that was paused must not connect when it wakes, nor end the connection of the worker that took over.
        """
        while not self._is_proven and not self._stopping:
            self._proof_wanted = True
            self._wake.set()
            await asyncio.sleep(PROOF_POLL_SECS)

    @property
    def _is_proven(self) -> bool:
        return time.monotonic() - self._in_flight.committed_at < COMMIT_PROVES_SECS

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
        limit = self.settings.time_limit_secs
        if self._time_limit is None and limit and any(reader.connected for reader in self.readers):
            self._time_limit = asyncio.get_running_loop().call_later(limit, self._reach_time_limit)
        broken = [reader.error for reader in self.readers if reader.error is not None]
        paused = bool(broken) and all(isinstance(error, OutOfCredit) for error in broken)
        details = [self._detail_of(reader) for reader in self.readers if reader.error is not None]
        if isinstance(self._restarting, RightMissing):
            details.insert(0, f"{self._restarting.name}: {self._restarting}")
        self._set(
            TaskStatus(
                state=State.PAUSED if paused and len(broken) == len(self.readers) else State.RUNNING,
                detail="; ".join(details) or None,
                connections=tuple(dict.fromkeys(handle for each in self.readers for handle in each.connections)),
                outages=tuple((reader.partition or "", reader.outage) for reader in self.readers if reader.outage),
            )
        )

    def _detail_of(self, reader: Reader) -> str:
        error: ConnectorError | None = reader.error
        when = "" if reader.retry_at is None else f" (next try in {max(reader.retry_at - time.time(), 0):.0f} s)"
        where = "" if reader.partition is None else f"partition {reader.partition}: "
        return f"{where}{error.name if error else ''}: {error}{when}"

    def _set(self, status: TaskStatus) -> None:
        if status == self.status:
            return
        self.status = status
        self._untold = True
        if self._is_proven or self.ended.is_set() or status.state in {State.FAILED, State.UNASSIGNED}:
            self._tell_status()
        else:  # a worker that was paused must not overwrite the status of the next owner
            self._proof_wanted = True
            self._wake.set()

    def _tell_status(self) -> None:
        if self._untold:
            self._untold = False
            self._on_status(self.status)
