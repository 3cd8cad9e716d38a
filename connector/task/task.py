"""
One task: poll, deliver, commit, and start over from the committed offset when the outcome of a commit is unknown.

    assigned ─▶ open the sink ─▶ read the offset ─▶ connect ─▶ ( drain, convert, deliver and commit )* ─▶ stopped
                  (fences)              ▲                                    │
                                        └── pause ◀── outcome unknown ───────┘

The task takes turns and combines these parts: `subscribers` are the connectors that it reads the stream for, `readers`
put into buffers what X sends, `batcher` makes the batches, and `in_flight` holds the batches until Kafka has confirmed
them, and finds out which ones are in the topics if the outcome of a commit is unknown.  For each connector and source
partition, `coverage/progress` knows which posts are delivered and which times are missing, and `repair/repairer`
repairs the gaps.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from secrets import token_hex
from typing import Any

from mode import Service

from connector.coverage.offset import Coverage
from connector.coverage.progress import OFFSET, REPAIRED, RULES, Progress
from connector.coverage.spend import MILLS, Spend
from connector.errors import (
    INTERRUPTED,
    BrokerAway,
    ConnectorError,
    DeliveriesFailed,
    DeliveryFailed,
    FatalError,
    Fenced,
    Interrupted,
    RecordsRefused,
    RightMissing,
    Superseded,
)
from connector.records import clock
from connector.records.record import TaskId
from connector.sources.handles import Handle
from connector.task.backoff import Backoff
from connector.task.batcher import Batcher, BatcherSettings
from connector.task.endings import to_the_end
from connector.task.in_flight import InFlight, Pending
from connector.task.ownership import Ownership
from connector.task.pace import Pace
from connector.task.partition import Partition, PartitionMaker
from connector.task.ports import CommittedOffsets, Requests, Sink, Source
from connector.task.readers import Readers
from connector.task.reporting import status_of, unready_of
from connector.task.settings import TaskSettings
from connector.task.sifting import Sifting
from connector.task.status import State, TaskStatus
from connector.task.subscriber import Subscriber
from connector.task.subscribers import Subscribers, Wished
from connector.task.time_limit import TimeLimit
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import (
    BatchConfirmed,
    BatchDelivered,
    BatchNotConfirmed,
    DeliveryDelayed,
    DeliveryResumed,
    StreamClosed,
    SubscriberJoined,
    SubscriberLeft,
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

LOOK_AGAIN_SECS = 0.25
"""How often a task that waits for a schema registry looks whether the connectors have changed."""

IDLE_COMMIT_SECS = 5.0
"""Without posts, the offset is committed once in this time at most; keep-alives come every 20 s."""


class SourceTask(Service):
    """
    The running copy of a stream to the topics of its connectors, on the worker that owns it.

    Most tasks read for one connector, and it gets all that X sends.  If several share the stream, each gets the posts
    of its own rules.

    *ended* is set when the task has ended.  Its status is then FAILED; or UNASSIGNED, if the task was stopped, another
    owner has fenced it, or its time limit was reached (`finished`).  *over* is set when the task has ended or its time
    limit is reached, whichever comes first; after the time limit the task still delivers what it has read.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        settings: TaskSettings,
        sources: Sequence[Source],
        wished: Wished,
        sink: Sink,
        executor: Executor,
        *,
        requests: Requests[Any],
        emit: Callable[[Event], None],
        ghosts: Collection[Handle] = (),
    ) -> None:
        """
        Begin to read *sources*, the source partitions of one stream, for the connectors *wished*, one or more.

        *ghosts* are connections that the task's last owner may have left open at X.
        """
        super().__init__()
        self.settings = settings
        self.ended, self.over = asyncio.Event(), asyncio.Event()
        self.finished = False
        self._sources, self._sink, self._emit = sources, sink, emit
        self._run_word = token_hex(4)
        self._restarting: DeliveryFailed | None = None
        self._refused: RecordsRefused | None = None
        self._fatal: ConnectorError | None = None
        self._stopping = False
        self._some_ended = False
        self._written: set[tuple[TaskId, str]] = set()
        self._main: asyncio.Task[Any] | None = None
        self._wake = Wake()
        self._pace = Pace(settings.poll_interval_secs, settings.pace_secs, self._wake)
        self._time_limit = TimeLimit(settings.time_limit_secs, self._reach_time_limit)
        self._in_flight = InFlight(sink, self, self._wake, ours=self._is_ours)
        self._ownership = Ownership(settings.task, self._in_flight, self._wake)
        self._batcher = Batcher(
            BatcherSettings(
                task=settings.task,
                batch_max_records=settings.batch_max_records,
                offset_interval_secs=settings.offset_interval_secs,
            ),
            sink,
            in_flight=self._in_flight,
            emit=emit,
            told=self._wake.set,
        )
        self._waiting: tuple[str, ...] = ()
        self._sifting = Sifting(self._in_flight, self._batcher, sink)
        self._maker = PartitionMaker(
            run_word=self._run_word,
            requests=requests,
            ownership=self._ownership,
            in_flight=self._in_flight,
            executor=executor,
            wake=self._wake,
            emit=emit,
        )
        self.subscribers = Subscribers(wished, sources, sink, self._ownership, emit=emit, changed=self._changed)
        """The connectors that the task reads for."""
        self.readers = Readers(
            sources,
            self.subscribers,
            executor,
            settings,
            ownership=self._ownership,
            wake=self._wake,
            emit=emit,
            changed=self._changed,
            ghosts=ghosts,
        )
        """The reader of each source partition."""
        self._wished: Wished | None = None

    # -- life

    @Service.task
    async def _run(self) -> None:
        self._main = asyncio.current_task()
        for subscriber in self.subscribers:
            self._emit(TaskStarted(of=subscriber.task))
        status = TaskStatus(state=State.UNASSIGNED)
        try:
            await self._live()
        except (Fenced, Superseded):
            self._emit(TaskFenced(of=self.settings.task, dropped_posts=self.undelivered_posts))
        except FatalError as exc:
            status = self._failed(exc)
        except asyncio.CancelledError:
            if self._main is None or self._main.cancelling():  # we were asked to end
                raise
            self.log.exception("Task %s was interrupted", self.settings.task)
            status = self._failed(Interrupted(INTERRUPTED))
        except Exception as exc:
            self.log.exception("Task %s failed unexpectedly", self.settings.task)
            for subscriber in self.reading:
                self._emit(TaskFailed(of=subscriber.task, error=type(exc).__name__, reason=str(exc)))
            status = TaskStatus(state=State.FAILED, trace=f"{type(exc).__name__}: {exc}")
        finally:
            await self._end(status)

    def _failed(self, error: FatalError) -> TaskStatus:
        for subscriber in self.reading:
            self._emit(TaskFailed(of=subscriber.task, error=error.name, reason=str(error)))
        return TaskStatus(state=State.FAILED, trace=f"{error.name}: {error}", may_pass=error.may_pass)

    async def _end(self, status: TaskStatus) -> None:
        self.begin_stop()
        self._time_limit.cancel()
        for run in (*self.readers.runs, *(run for each in self.subscribers for run in each.runs)):
            run.cancel()
        try:
            await to_the_end(self._in_flight.discard())
        except Exception:
            self.log.exception("Task %s could not let go of its producer", self.settings.task)
        finally:  # also if the task is cancelled once more: whoever stops it waits for `ended`
            for subscriber in self.subscribers:
                self._tell_stopped(subscriber)
                subscriber.close()
            self._emit(StreamClosed(of=self.settings.task))
            for subscriber in self.reading:
                subscriber.status.set(status)
            self.ended.set()
            self.over.set()

    def _tell_stopped(self, subscriber: Subscriber) -> None:
        self._batcher.tell_received(subscriber)
        posts = sum(progress.coverage.posts for progress in subscriber.progresses)
        self._emit(TaskStopped(of=subscriber.task, posts=posts))

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
                    raise DeliveriesFailed(f"{failures} deliveries failed without a commit between: {exc}") from exc
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
        self._tell_not_confirmed(exc)
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

    def _tell_not_confirmed(self, exc: DeliveryFailed) -> None:
        for pending in self._in_flight.pending[:1]:  # the others were not sent yet
            self._emit(
                BatchNotConfirmed(
                    of=self.settings.task,
                    took_secs=time.monotonic() - pending.since,
                    posts=pending.batch.posts,
                    error=exc.name,
                    reason=str(exc),
                )
            )

    async def _wait_for_right(self, secs: float) -> None:
        """Tell the group why this task waits, and wait for *secs* or until it is stopped."""
        self._changed()
        for subscriber in self.subscribers:
            # without proof; but the task is still assigned here, so no other worker tells its status
            subscriber.status.tell()
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
        consoles = {each.subscription.console for each in self.subscribers}
        for console in consoles:
            if console is not None:
                await console.printed()

    def abandon(self) -> None:
        """Give up posts that are not delivered; the next owner begins at the committed offset."""
        if self._main is not None:
            self._main.cancel()

    def begin_stop(self) -> None:
        """Stop reading at once; what has been read is still delivered."""
        if not self._stopping:
            self._stopping = True
            self._ownership.stop()
            self._stop_reading()
            self._wake.set()

    def _stop_reading(self) -> None:
        self.readers.stop()
        for subscriber in self.subscribers:
            subscriber.stop()

    def look_at_rules(self) -> None:
        """See at once whether X holds the rules, and add what is missing there."""
        self.readers.look_at_rules()

    def take_written(self) -> set[tuple[TaskId, str]]:
        """Return the tasks and topics to which posts were delivered since this was last asked."""
        written, self._written = self._written, set()
        return written

    def rewrite_offsets(self) -> None:
        """Write all values of this task into the offsets topic again: it was deleted."""
        for progress in self.progresses:
            progress.forget_written()
        self._wake.set()

    @property
    def status(self) -> TaskStatus:
        """The state of the first connector that goes on, or of the last one that has FAILED."""
        return next((each.status.now for each in (*self.reading, *reversed(self.subscribers.all))), _GONE)

    @property
    def statuses(self) -> dict[TaskId, TaskStatus]:
        """The state of each connector's task, as the group is told it."""
        return {subscriber.task: subscriber.status.now for subscriber in self.subscribers}

    @property
    def reading(self) -> tuple[Subscriber, ...]:
        """The connectors that have not FAILED."""
        return self.subscribers.reading

    @property
    def partitions(self) -> list[Partition]:
        """What each connector has of each source partition."""
        return [partition for subscriber in self.subscribers for partition in subscriber.partitions]

    @property
    def progresses(self) -> list[Progress]:
        """The state of each connector's part of each source partition."""
        return [partition.progress for partition in self.partitions]

    @property
    def undelivered_posts(self) -> int:
        """Posts read and not confirmed by Kafka."""
        return self._in_flight.posts + self._batcher.held_posts + self.readers.posts

    def covered_to_ms(self, subscriber: Subscriber) -> int | None:
        """Return the earliest `covered_to` of *subscriber* that is committed, over its source partitions (UNIX ms)."""
        partitions = [progress.partition for progress in subscriber.progresses]
        covered = [self._in_flight.coverage_of(subscriber.name, each).covered_to_ms for each in partitions]
        return min((ms for ms in covered if ms is not None), default=None)

    @property
    def delayed_secs(self) -> float | None:
        """How long Kafka has not confirmed a batch; None while it confirms."""
        return self._in_flight.delayed_secs

    def _is_ours(self, key: bytes, value: bytes | None) -> bool:
        """Return whether this run of the task may have written *value*; True for keys that are not of an offset."""
        keys = {
            self._sink.offset_key(subscriber.name, progress.partition)
            for subscriber in self.subscribers
            for progress in subscriber.progresses
        }
        if key not in keys:
            return True
        try:
            return value is not None and Coverage.decode(value).run == self._run_word
        except ValueError:
            return False

    @property
    def unready(self) -> str | None:
        """Why this task does not do its work at the moment; None if it does."""
        delayed_secs = self._in_flight.delayed_secs
        return unready_of(self.status, self._restarting, delayed_secs, self._waiting, self.readers)

    # -- the connectors of the stream

    def change(self, wished: Wished) -> None:
        """
        Read for the connectors *wished* from now on: some may have come, changed or gone.  Event loop; returns at once.

        The connection stays open, unless the stream has to be asked for other fields.  Who comes is covered from the
        moment at which X holds its rules; who goes is told UNASSIGNED once its last offset is in Kafka.
        """
        self._wished = wished
        self._wake.set()

    async def _follow_wishes(self) -> None:
        wished, self._wished = self._wished, None
        subscribers = self.subscribers
        moved = False
        if wished is not None and not self._stopping:
            subscribers.compare(wished)
            if wished.parameters is not None:
                self.readers.ask(wished.parameters)
            self.readers.try_budget_again()
            moved = not set(subscribers.destinations) <= set(self._sink.destinations)
        subscribers.rest_and_resume()
        if gone := subscribers.leaving:
            await self._let_go(gone)
        if moved or subscribers.fresh:
            await self._in_flight.confirmed()
            await to_the_end(self._in_flight.discard())
            await self._open()

    async def _let_go(self, gone: Collection[Subscriber]) -> None:
        """Commit the last offsets of *gone*, and read for them no more."""
        self._ownership.want_proof()  # so that the batch has all offsets
        await self.poll()
        await self._in_flight.confirmed()
        for subscriber in gone:
            self.subscribers.remove(subscriber)
            keys = [
                self._sink.offset_key(subscriber.name, each.partition, kind)
                for each in subscriber.progresses
                for kind in (OFFSET, REPAIRED, RULES)
            ]
            self._in_flight.forget(keys)
            self._tell_stopped(subscriber)
            subscriber.close()
            self._emit(SubscriberLeft(of=subscriber.task, stream=self._stream))
            subscriber.status.set(_GONE)
        if not self.reading and not self.subscribers.joining:
            self.begin_stop()

    def _fail(self, failed: Mapping[Subscriber, ConnectorError]) -> None:
        """End what the task does for those that have *failed*, and the task if no other connector is left."""
        self._fatal = self.subscribers.fail(failed) or self._fatal

    @property
    def _stream(self) -> str:
        return self._sources[0].partition["stream"] if self._sources else ""

    # -- from the sink to the readers

    async def _open(self) -> None:
        self._sink.serve(self.subscribers.destinations)
        committed = await self._in_flight.open()
        named = self.subscribers.named
        unfit = {named[name]: error for name, error in self._in_flight.take_unfit().items()}
        self._fail({each: error for each, error in unfit.items() if each in self.reading})
        if self._in_flight.emptied:
            self.rewrite_offsets()
        await self._join(committed)
        if self._refused is not None and self._in_flight.pending:
            refused, self._refused = self._refused, None
            self._fail(await self._sifting.sift(refused, self.subscribers.named))
        self._tell_held()
        if not self._in_flight.pending:
            self._settle()

    @property
    def _steps(self) -> int:
        return self._in_flight.commits + self._sifting.done

    async def _join(self, committed: CommittedOffsets) -> None:
        """Let all begin that are to join; the first ones begin the stream."""
        first = not self.readers.runs
        if not self.readers:
            self.readers.make()
        for subscriber in self.subscribers.coming:
            try:
                await self._begin(subscriber, committed, joined=not first)
            except FatalError as error:
                if not any(each is not subscriber for each in self.reading):
                    raise
                self.subscribers.fail_alone(subscriber, error)
            self.subscribers.joining.remove(subscriber)
            if subscriber not in self.subscribers.all:
                self._welcome(subscriber)
        self.subscribers.share_out()
        if first:
            self._start_reading()
        self.subscribers.ask_for_rules()

    def _welcome(self, subscriber: Subscriber) -> None:
        others = tuple(each.name for each in self.subscribers)
        self.subscribers.add(subscriber)
        self._emit(TaskStarted(of=subscriber.task))
        self._emit(SubscriberJoined(of=subscriber.task, stream=self._stream, others=others))
        self.readers.try_budget_again()

    async def _begin(self, subscriber: Subscriber, committed: CommittedOffsets, *, joined: bool) -> None:
        """Read what was delivered for *subscriber*, and begin to repair its gaps."""
        progresses: list[Progress] = []
        for source in self._sources:
            progresses.append(self._progress_of(subscriber, source, committed, progresses))
        since = [progress.wanted_from_ms for progress in progresses if progress.wanted_from_ms is not None]
        if since:  # X may send again the posts that the last owner delivered
            await subscriber.known_ids.load(min(since), None)
        if subscriber.withdrawals is not None:
            await subscriber.withdrawals.load()
        for number, (reader, progress) in enumerate(zip(self.readers, progresses, strict=True)):
            finder = subscriber.subscription.finder(number)
            partition = self._maker.make(subscriber.subscription, reader, finder, progress, subscriber.known_ids)
            partition.joined = joined
            progress.allowance.fly(reader.buffer.posts)
            subscriber.start(partition, self._note_ended)
        subscriber.follow(self._wake.set, self._note_ended)

    def _start_reading(self) -> None:
        self.readers.start()
        if self._stopping:
            self._stop_reading()

    def _progress_of(
        self, subscriber: Subscriber, source: Source, committed: CommittedOffsets, progresses: Sequence[Progress]
    ) -> Progress:
        """Return the state of *source*'s partition; *progresses* come to have those of all partitions of this task."""
        name = subscriber.name
        keys = {kind: self._sink.offset_key(name, source.partition, kind) for kind in (OFFSET, REPAIRED, RULES)}
        kept = {kind: committed.latest.get(key) for kind, key in keys.items()}
        self._in_flight.note_committed({keys[kind]: value for kind, value in kept.items()})

        def others() -> Collection[Spend]:
            mine = (other.coverage.spent for other in progresses if other is not progress)
            return [*subscriber.subscription.others(), *mine]

        rules = partial(self.subscribers.rules_for, subscriber, source)
        progress = self._maker.progress_of(subscriber.subscription, source, kept, others, rules)
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
            await self._follow_wishes()
            over = self._readers_over()  # asked before the turn, which then drains all that they put before they ended
            if await self.poll():
                self._pace.note_work()
                continue
            if self._batcher.waits:
                await self._wake.wait(LOOK_AGAIN_SECS)
                continue
            if self.readers.posts:
                self._pace.note_work()
                continue
            if over:
                await self._in_flight.confirmed()
                self._raise_reader_error()
                return
            await self._pace.rest(self._batcher.owed_secs(self.reading))

    async def poll(self) -> bool:
        """Take one turn: drain, convert, hand to Kafka.  Return whether there was a batch."""
        await self._in_flight.confirmed(unless=self.readers.full)
        self._tell_held()
        await self._pace.between_batches(self._batcher.built_at, unless=lambda: self._stopping or self.readers.full())
        self._wake.clear()
        self.readers.say_next_drain(time.monotonic() + self._pace.batch_interval_secs)
        pending, failed = await self._batcher.gather(
            self.readers, self.reading, self.subscribers.router, prove=self._ownership.proof_wanted, quiet=self._quiet
        )
        for subscriber in self.subscribers:
            for progress in subscriber.progresses:
                progress.tell_allowance()
        if pending is None:
            self.readers.say_next_drain(0.0)  # without a batch there is no pause: the next arrival begins a turn
        else:
            await self._in_flight.hand_over(pending)
        self._fail(failed)
        self._tell_held()
        self._tell_waiting()
        if self._fatal is not None:
            await self._in_flight.confirmed()
            raise self._fatal
        return pending is not None

    def _tell_held(self) -> None:
        """Tell the buffers how many bytes are not delivered yet."""
        self.readers.hold(self._batcher.size_bytes + self._in_flight.size_bytes)

    def _tell_waiting(self) -> None:
        """Tell the group what a batch is held for, if that has changed."""
        waiting = self._batcher.waiting
        if waiting == self._waiting:
            return
        self._waiting = waiting
        self._changed()
        if waiting:
            # without proof, as nothing is committed meanwhile; but the task is still assigned here
            for subscriber in self.subscribers:
                subscriber.status.tell()

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
        for number in pending.live:
            self.readers[number].delivered()
        now = clock.now()
        named = self.subscribers.named
        for share, receipt in zip(pending.batch.shares, pending.receipts, strict=True):
            subscriber = named[share.to.connector]
            subscriber.judge.hear_taken(share.records)
            self._written.update((subscriber.task, topic) for topic in share.records.topics(share.to.topic))
            self._emit(
                BatchDelivered(
                    of=subscriber.task,
                    posts=len(share.records),
                    waits=tuple((max(now - at, 0.0), max(now - made, 0.0), n) for at, made, n in receipt.waits),
                    usd=receipt.mills / MILLS,
                )
            )
        if self.settings.traced:
            self._tell_confirmed(pending)
        for subscriber in self.subscribers:
            subscriber.status.tell()

    def _tell_confirmed(self, pending: Pending) -> None:
        shares = pending.batch.shares
        self._emit(
            BatchConfirmed(
                of=self.settings.task,
                took_secs=time.monotonic() - pending.since,
                posts=pending.batch.posts,
                dead_letters=sum(len(share.dead_letters) for share in shares),
                connectors=len(shares),
                partitions=tuple(self.readers[number].partition or "" for number in pending.live),
                repaired=tuple(
                    share.to.connector for share in shares if any(write.source is not None for write in share.ledger)
                ),
            )
        )

    def on_delivered(self, pending: Pending) -> None:
        """Print the posts, if that is wanted."""
        named = self.subscribers.named
        for share in pending.batch.shares:
            console = named[share.to.connector].subscription.console
            if console is not None:
                console.show(share.records)

    def on_delayed(self, waiting_secs: float) -> None:
        """Say that Kafka does not confirm."""
        self._emit(
            DeliveryDelayed(
                of=self.settings.task,
                waiting_secs=round(waiting_secs, 1),
                undelivered_posts=self.undelivered_posts,
                buffer_bytes=self.readers.size_bytes,
            )
        )

    def on_resumed(self, waited_secs: float) -> None:
        """Say that Kafka confirms again."""
        self._emit(DeliveryResumed(of=self.settings.task, waited_secs=round(waited_secs, 1)))

    # -- the outside

    def _note_ended(self) -> None:
        """Look at what has become of a repair: it has ended."""
        self._some_ended = True
        self._wake.set()

    def _readers_over(self) -> bool:
        """Return whether all readers and repairs have ended; if one has failed, stop the others."""
        if not self._some_ended and not self.readers.some_ended:  # as in nearly all turns
            return False
        for subscriber in self.reading:
            errors = [error for run in subscriber.runs if (error := self._error_of(run))]
            if errors and isinstance(errors[0], ConnectorError) and len(self.reading) > 1:
                self._fail({subscriber: errors[0]})
        runs = [*self.readers.runs, *(run for subscriber in self.reading for run in subscriber.runs)]
        if any(self._error_of(run) for run in runs):
            self.begin_stop()
        return all(run.done() for run in runs)

    @staticmethod
    def _error_of(run: "asyncio.Task[None]") -> BaseException | None:
        if run.cancelled():  # we cancel runs only at the very end
            return Interrupted(INTERRUPTED)
        return run.exception() if run.done() else None

    def _raise_reader_error(self) -> None:
        for run in (*self.readers.runs, *(run for subscriber in self.reading for run in subscriber.runs)):
            if error := self._error_of(run):
                raise error

    def _changed(self) -> None:
        """Update the status: a reader's connection, error or wait has changed."""
        if self.ended.is_set():  # a late answer of X no longer changes the status
            return
        if any(reader.connected for reader in self.readers):
            self._time_limit.begin()
        if not self.readers and self._restarting is None:
            return
        status = status_of(self.readers, self._restarting, self._waiting)
        for subscriber in self.subscribers:
            subscriber.status.set(subscriber.own(status))


_GONE = TaskStatus(state=State.UNASSIGNED)
