"""
One task: poll, deliver, commit, and start over from the committed offset when Kafka leaves that in doubt.

    assigned ─▶ open the sink ─▶ read the offset ─▶ connect ─▶ ( drain, convert, deliver and commit )* ─▶ stopped
                  (fences)              ▲                                    │
                                        └── pause ◀── outcome unknown ───────┘

What is on its way into Kafka, and what becomes of a doubtful commit, is the `outbox`'s affair.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import Any

from mode import Service

from connector.buffer import Buffer
from connector.console import Console
from connector.converter import Converted, Converter
from connector.coverage import Coverage
from connector.errors import (
    BadRecord,
    BrokerAway,
    ConnectorError,
    DeliveryFailed,
    FatalError,
    Fenced,
    OutOfCredit,
    Superseded,
    ToleranceExceeded,
)
from connector.events import (
    BatchDelivered,
    DeliveryDelayed,
    DeliveryResumed,
    DuplicatesDropped,
    Event,
    RecordDropped,
    TaskFailed,
    TaskFenced,
    TaskRestarting,
    TaskResumed,
    TaskStarted,
    TaskStopped,
    TimeLimitReached,
)
from connector.outbox import CommittedOffsets, Outbox, Pending, Sink
from connector.reader import Owner, Reader, Source
from connector.records import Arrival, Batch, DeadLetter, OffsetWrite, SourceRecord, TaskId
from connector.snowflake import to_iso
from connector.status import State, TaskStatus

RESTART_PAUSE_SECS = 3.0
"""A worker that was paused hears about 1.5 s after it wakes that its tasks have moved; until then it must not fence."""

MAX_FAILED_DELIVERIES = 5
"""Failures in a row, without a commit between, after which a person has to look; an absent broker does not count."""

COMMIT_PROVES_SECS = 5.0
"""A commit as recent proves that no other worker owns the task: it takes a longer silence to lose one."""

PROOF_POLL_SECS = 0.05

IDLE_COMMIT_SECS = 5.0
"""Without posts the offset is committed at most this often; keep-alives come every 20 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What a task is configured with."""

    task: TaskId
    poll_interval_secs: float
    batch_max_records: int
    buffer_max_bytes: int
    settle_secs: float
    time_limit_secs: float | None
    dead_letter_topic: str | None
    tolerate_bad_records: bool
    billed: bool


class SourceTask(Service):
    """
    The running copy of source to topic, on the worker that owns it.

    *ended* is set when the task has ended: its status then says FAILED, or UNASSIGNED when it was stopped, another
    owner has fenced it, or its time limit was reached (`finished`).  *over* is set then, too, but already when the time
    limit is reached and the drain begins.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        settings: TaskSettings,
        sources: Sequence[Source],
        sink: Sink,
        executor: Executor,
        *,
        emit: Callable[[Event], None],
        on_status: Callable[[TaskStatus], None],
        ghosts: Collection[str] = (),
        console: Console | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.status = TaskStatus(state=State.UNASSIGNED)
        self.readers: list[Reader] = []
        self.ended, self.over = asyncio.Event(), asyncio.Event()
        self.finished = False
        self._sources, self._sink, self._executor = sources, sink, executor
        self._emit, self._on_status, self._ghosts = emit, on_status, ghosts
        self._converter = Converter(
            dead_letters=settings.tolerate_bad_records and settings.dead_letter_topic is not None,
            connector=settings.task.connector,
        )
        self._console = console
        self._loop_of_turns = asyncio.get_running_loop()
        self._run_word = token_hex(4)
        self._restarting: DeliveryFailed | None = None
        self._wake = asyncio.Event()
        self._outbox = Outbox(sink, self, self._wake)
        self._stopping = False
        self._fatal: ToleranceExceeded | None = None
        self._proof_wanted = False
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
            for run in self._runs:
                run.cancel()
            try:
                await self._outbox.discard()
            except Exception:
                self.log.exception("Task %s could not let go of its producer", self.settings.task)
            self._emit(TaskStopped(of=self.settings.task, posts=sum(reader.coverage.posts for reader in self.readers)))
            self._set(status)
            self.ended.set()
            self.over.set()

    async def _live(self) -> None:
        failures = 0
        while True:
            commits = self._outbox.commits
            try:
                await self._open()
                await self._work()
            except DeliveryFailed as exc:
                if self._stopping and isinstance(exc, Fenced):
                    raise
                failures = (0 if self._outbox.commits > commits else failures) + (not isinstance(exc, BrokerAway))
                if failures >= MAX_FAILED_DELIVERIES:
                    raise FatalError(f"{failures} deliveries failed without a commit between: {exc}") from exc
                self._emit(
                    TaskRestarting(
                        of=self.settings.task, error=exc.name, reason=str(exc), retry_in_secs=RESTART_PAUSE_SECS
                    )
                )
                self._restarting = exc
                await self._outbox.discard()
                await asyncio.sleep(RESTART_PAUSE_SECS)
                if self._stopping and isinstance(exc, Fenced):
                    raise  # the task has moved meanwhile: to go on would fence its rightful owner
            else:
                return

    async def on_stop(self) -> None:
        """Stop reading, deliver what was read, commit; whoever calls bounds the time."""
        self.begin_stop()
        await self.ended.wait()

    def abandon(self) -> None:
        """Give up what is not delivered; the committed offset says where the next owner begins."""
        if self._main is not None:
            self._main.cancel()

    def begin_stop(self) -> None:
        """Stop reading at once; what has been read is still delivered."""
        if not self._stopping:
            self._stopping = True
            for reader in self.readers:
                reader.stop()
            self._wake.set()

    @property
    def undelivered_posts(self) -> int:
        """Posts read and not confirmed by Kafka."""
        return self._outbox.posts + sum(reader.buffer.posts for reader in self.readers)

    @property
    def covered_to_ms(self) -> int | None:
        """The creation time up to which everything read is committed, over all source partitions (UNIX ms)."""
        values = [value for value in self._outbox.committed.values() if value is not None]
        covered = [Coverage.decode(value).covered_to_ms for value in values]
        return min((ms for ms in covered if ms is not None), default=None)

    @property
    def unready(self) -> str | None:
        """Why this task does not do its work at the moment, or None."""
        if self.status.state is not State.RUNNING:
            return f"{self.status.state}: {self.status.trace or self.status.detail or 'not running'}"
        if self._restarting is not None:
            return f"starting over: {self._restarting.name}: {self._restarting}"
        if self._outbox.delayed_since is not None:
            return f"Kafka has not confirmed a delivery for {time.monotonic() - self._outbox.delayed_since:.0f} s"
        for reader in self.readers:
            if reader.connected is None:
                return f"not connected: {reader.error or 'connecting'}"
        return None

    # -- from the sink to the readers

    async def _open(self) -> None:
        committed = await self._outbox.open()
        if not self.readers:
            self._start_reading(committed)
        if not self._outbox.pending:
            self._restarting = None

    def _start_reading(self, committed: CommittedOffsets) -> None:
        owner = Owner(
            task=self.settings.task,
            prove=self._prove,
            emit=self._emit,
            changed=self._changed,
        )
        for source in self._sources:
            key = self._sink.offset_key(source.partition)
            value = committed.latest.get(key)
            self._outbox.committed[key] = value
            buffer = Buffer(
                self.settings.buffer_max_bytes // len(self._sources),
                self._wake_loop,
                full_posts=self.settings.batch_max_records,
            )
            coverage = self._resume_after(value)
            reader = Reader(source, buffer, owner, self._executor, coverage=coverage, ghosts=self._ghosts)
            self.readers.append(reader)
            self._emit(
                TaskResumed(
                    of=self.settings.task,
                    covered_to=None if coverage.covered_to_ms is None else to_iso(coverage.covered_to_ms),
                    posts=coverage.posts,
                )
            )
        for reader in self.readers:
            run = asyncio.create_task(reader.run())
            run.add_done_callback(lambda _: self._wake.set())
            self._runs.append(run)
        if self._stopping:
            for reader in self.readers:
                reader.stop()
        self._changed()

    def _resume_after(self, value: bytes | None) -> Coverage:
        if value is None:
            return Coverage(run=self._run_word)
        try:
            return replace(Coverage.decode(value), run=self._run_word)
        except ValueError as exc:
            raise FatalError(f"{exc}; write a tombstone for its key into the offsets topic to begin anew") from exc

    # -- turns

    async def _work(self) -> None:
        """
        Take turns until stopped and drained.

        Raises:
            DeliveryFailed: a commit's outcome is unknown.
            FatalError: a reader or a bad record ends the task, once what was read before is delivered.
        """
        await self._outbox.deliver_again()
        if self._fatal is not None:
            raise self._fatal
        while True:
            over = self._readers_over()  # asked before the turn: what they put before they ended is drained by it
            if await self.poll() or any(reader.buffer.posts for reader in self.readers):
                continue
            if over:
                await self._outbox.confirmed()
                self._raise_reader_error()
                return
            await self._woken(self.settings.poll_interval_secs)

    async def poll(self) -> bool:
        """One turn: drain, convert, hand to Kafka.  Return whether there was anything."""
        await self._outbox.confirmed(unless=lambda: any(reader.buffer.full for reader in self.readers))
        self._wake.clear()
        drained = [(reader, reader.buffer.drain(self.settings.batch_max_records)) for reader in self.readers]
        pending, fatal = await self._convert([(reader, arrivals) for reader, arrivals in drained if arrivals])
        self._fatal = self._fatal or fatal
        if pending is not None:
            await self._outbox.hand_over(pending)
        if self._fatal is not None:
            await self._outbox.confirmed()
            raise self._fatal
        return pending is not None

    def _wake_loop(self) -> None:
        """Let the next turn begin.  Reader thread."""
        self._loop_of_turns.call_soon_threadsafe(self._wake.set)

    async def _woken(self, timeout_secs: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout_secs)

    def _reach_time_limit(self) -> None:
        if not self._stopping:
            self._emit(TimeLimitReached(of=self.settings.task, time_limit_secs=self.settings.time_limit_secs or 0.0))
            self.finished = True
            self.begin_stop()
            self.over.set()

    async def _convert(
        self, drained: Sequence[tuple[Reader, list[Arrival]]]
    ) -> tuple[Pending | None, ToleranceExceeded | None]:
        self._converter.max_record_bytes = self._sink.max_record_bytes
        self._converter.max_dead_letter_bytes = self._sink.max_dead_letter_bytes
        records: list[SourceRecord] = []
        letters: list[DeadLetter] = []
        waits: list[tuple[float, float, int]] = []
        offsets: dict[Reader, OffsetWrite] = {}
        delivering: list[Reader] = []
        error: BadRecord | None = None
        for reader, arrivals in drained:
            result = await self._converted(arrivals)
            if result.records:
                delivering.append(reader)
            records += result.records
            letters += result.dead_letters
            waits += result.waits
            self._tell(result)
            coverage = self._coverage_after(reader, arrivals, result)
            if result.records or result.dead_letters or self._offset_due:
                reader.coverage = coverage
                offsets[reader] = self._offset_of(reader)
            error = error or result.error
        if self._proof_wanted:
            offsets = {reader: self._offset_of(reader) for reader in self.readers} | offsets
        fatal = None if error is None else ToleranceExceeded(f"{error}; errors.tolerance=all would keep it aside")
        if not (records or letters or offsets):
            return None, fatal
        batch = Batch(records=tuple(records), dead_letters=tuple(letters), offsets=tuple(offsets.values()))
        pending = Pending(
            batch=batch,
            encoded=await self._sink.encode(batch),
            waits=tuple(waits),
            readers=tuple(delivering),
            since=time.monotonic(),
        )
        return pending, fatal

    async def _converted(self, arrivals: Sequence[Arrival]) -> Converted:
        result = Converted()
        for arrival in arrivals:
            self._converter.convert([arrival], result)
            if result.error is not None:
                break
            await asyncio.sleep(0)  # the commit in flight sends its next request meanwhile
        return result

    @property
    def _offset_due(self) -> bool:
        return self._stopping or time.monotonic() - self._outbox.committed_at >= IDLE_COMMIT_SECS

    def _offset_of(self, reader: Reader) -> OffsetWrite:
        nothing_yet = replace(reader.coverage, run="") == Coverage()
        value = None if nothing_yet else reader.coverage.encode()
        return OffsetWrite(key=self._sink.offset_key(reader.source.partition), value=value)

    def _coverage_after(self, reader: Reader, arrivals: Sequence[Arrival], result: Converted) -> Coverage:
        connected = reader.last_connected
        if connected is None:
            raise RuntimeError("An arrival without a connection")
        if result.error is not None:  # the offset stays before the line that ends the task
            return replace(
                reader.coverage,
                posts=reader.coverage.posts + len(result.records),
                dead_letters=reader.coverage.dead_letters + len(result.dead_letters),
            )
        skew = connected.skew_secs
        return reader.coverage.after(
            posts=len(result.records),
            dead_letters=len(result.dead_letters),
            heard_ms=int((arrivals[-1].at + skew) * 1000),
            connected_ms=int((connected.at + skew) * 1000),
            settle_ms=int(self.settings.settle_secs * 1000),
        )

    def _tell(self, result: Converted) -> None:
        for error, reason, size in result.dropped:
            self._emit(
                RecordDropped(
                    of=self.settings.task,
                    error=error,
                    reason=reason,
                    dead_letter_topic=self.settings.dead_letter_topic or "",
                    size_bytes=size,
                )
            )
        if result.duplicates:
            self._emit(DuplicatesDropped(of=self.settings.task, posts=result.duplicates))

    # -- what the outbox tells

    def on_confirmed(self, pending: Pending) -> None:
        """Kafka has it."""
        self._restarting = None
        self._proof_wanted = False
        for reader in pending.readers:
            reader.delivered()
        now = time.time()
        self._emit(
            BatchDelivered(
                of=self.settings.task,
                posts=len(pending.batch.records),
                waits=tuple((max(now - at, 0.0), max(now - made, 0.0), posts) for at, made, posts in pending.waits),
                billed=self.settings.billed,
            )
        )

    async def on_delivered(self, pending: Pending) -> None:
        """Print the posts, if that is wanted and somebody reads it."""
        if self._console is not None and not await self._console.show(pending.batch.records):
            self._console = None

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
        Return once this task is known to be owned here: a transaction went through lately.

        A paused worker that wakes must not connect, let alone end the connection of the worker that took over.
        """
        while time.monotonic() - self._outbox.committed_at >= COMMIT_PROVES_SECS and not self._stopping:
            self._proof_wanted = True
            self._wake.set()
            await asyncio.sleep(PROOF_POLL_SECS)

    # -- the outside

    def _readers_over(self) -> bool:
        """Whether nothing more will be put; one reader that failed stops the others."""
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
        """A reader's connection, error or wait has changed."""
        if self.ended.is_set():  # a late answer of X is no news of a task that is over
            return
        limit = self.settings.time_limit_secs
        if self._time_limit is None and limit and any(reader.connected for reader in self.readers):
            self._time_limit = asyncio.get_running_loop().call_later(limit, self._reach_time_limit)
        broken = [reader.error for reader in self.readers if reader.error is not None]
        paused = bool(broken) and all(isinstance(error, OutOfCredit) for error in broken)
        details = [self._detail_of(reader) for reader in self.readers if reader.error is not None]
        self._set(
            TaskStatus(
                state=State.PAUSED if paused and len(broken) == len(self.readers) else State.RUNNING,
                detail="; ".join(details) or None,
                connections=tuple(reader.connection_id for reader in self.readers if reader.connection_id),
            )
        )

    def _detail_of(self, reader: Reader) -> str:
        error: ConnectorError | None = reader.error
        when = "" if reader.retry_at is None else f" (next try in {max(reader.retry_at - time.time(), 0):.0f} s)"
        where = "" if reader.partition is None else f"partition {reader.partition}: "
        return f"{where}{error.name if error else ''}: {error}{when}"

    def _set(self, status: TaskStatus) -> None:
        if status != self.status:
            self.status = status
            self._on_status(status)
