"""
Writes what this worker has to say into the group's history: its minutes, what happened, and sums of ten minutes.

    recorder ─▶ waiting (bounded in bytes) ─▶ <group>-history

Nothing waits for it.  While Kafka is away the records wait; what has no room is given up, the oldest first; the
records of the minutes say how much that was.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, takewhile

from aiokafka.errors import KafkaError
from mode import Service

from connector.history.fold import History
from connector.history.recorder import Recorder
from connector.history.records import LASTING, MINUTE_SECS, MINUTES, Minute, Written, encode
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.record_writer import RecordWriter
from connector.kafka.login.refusals import words_of
from connector.telemetry.events.cluster import HistoryDelayed, HistoryLost
from connector.telemetry.events.event import Event
from connector.telemetry.events.worker import WorkerStopped

WAITING_BYTES_MAX = 2 * 1024 * 1024
"""What waits for Kafka at most: of an ordinary worker more than a day, of one with 1,000 rules about an hour."""

GATHER_SECS = 0.1
"""Events that come within this time are written together (seconds)."""

WRITE_SECS = 10.0
AT_ONCE = 50
"""The most records in one request."""

RETRY_SECS = (2.0, 60.0)
"""The first and the longest pause before Kafka is tried again (seconds)."""

STOP_SECS = 2.0
"""The most seconds that a stop waits for the last minute to be written."""

MINUTE_KEY, EVENT_KEY = b"minute", b"event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What the process has taken until now: seconds of CPU, and bytes of memory, None where that is not known."""

    cpu_secs: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """
    Who writes: the run of the worker, its version, and functions for its present address and tasks.

    *exit_code* returns the code with which the process will end, as far as it is known.
    """

    process: str
    version: str
    worker: Callable[[], str]
    tasks: Callable[[], tuple[str, ...]]
    vitals: Callable[[], Vitals]
    exit_code: Callable[[], int]


class HistoryWriter(Service):
    """Writes the records of this worker, in order; *clock* gives UNIX seconds."""

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        recorder: Recorder,
        history: History,
        identity: Identity,
        *,
        emit: Callable[[Event], None],
        caught_up: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._cluster, self._topic, self._recorder, self._history = cluster, topic, recorder, history
        self._identity, self._emit, self._caught_up, self._clock = identity, emit, caught_up, clock
        self._waiting: deque[tuple[int, bytes, bytes]] = deque()
        self._waiting_bytes = 0
        self._numbers = {MINUTES: 0, LASTING: 0}
        self._lost_minutes = self._lost_events = 0
        self._said = (0, 0)
        self._minute = self._minute_now()
        self._minute_begun = self._clock()
        self._cpu_secs = 0.0
        self._started_ms = int(self._clock() * 1000)
        self._writer: RecordWriter | None = None
        self._news, self._writing = asyncio.Event(), asyncio.Lock()
        self._failing_since: float | None = None
        self._reason = ""

    @property
    def waiting_bytes(self) -> int:
        """The bytes of the records that wait for Kafka."""
        return self._waiting_bytes

    async def on_start(self) -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._news.set)

        self._recorder.woken = wake
        self._cpu_secs = self._identity.vitals().cpu_secs

    async def on_stop(self) -> None:
        self._recorder.woken = lambda: None
        # The tasks have drained, and the worker has left the group.  The log says it later, too late for Kafka.
        self._recorder.take(WorkerStopped(exit_code=self._identity.exit_code()))
        self._end_minute()
        self._collect()
        try:
            async with asyncio.timeout(STOP_SECS):
                while self._waiting:
                    await self._write_some()
        except (KafkaError, OSError, TimeoutError) as exc:
            self.log.debug("The last of the history is not written: %s", words_of(exc))
        finally:
            await self._close()

    # -- what is to be written

    def _minute_now(self) -> int:
        return int(self._clock()) // MINUTE_SECS * MINUTE_SECS

    def _end_minute(self) -> None:
        """Make the record of the minute that goes on, and begin the next one."""
        identity, now = self._identity, self._clock()
        vitals = identity.vitals()
        minute = Minute(
            process=identity.process,
            number=self._number(MINUTES),
            at=self._minute,
            worker=identity.worker(),
            version=identity.version,
            started=self._started_ms,
            secs=max(round(now - self._minute_begun), 0),
            cpu_ms=max(round((vitals.cpu_secs - self._cpu_secs) * 1000), 0),
            memory_bytes=vitals.memory_bytes or 0,
            tasks=identity.tasks(),
            lost=self._lost_minutes,
            left_out=self._lost_events + self._recorder.left_out,
            connectors=self._recorder.take_counts(),
        )
        self._cpu_secs, self._minute, self._minute_begun = vitals.cpu_secs, self._minute_now(), now
        self._keep(MINUTES, MINUTE_KEY, minute)

    def _collect(self) -> None:
        """Take what happened since this was last done."""
        identity = self._identity
        for happened in self._recorder.take_happened():
            told = happened.told(identity.process, self._number(LASTING), identity.worker())
            self._keep(LASTING, EVENT_KEY, told)

    def _write_down_tens(self) -> None:
        if self._caught_up():
            for ten in self._history.tens_due(self._identity.process, self._clock()):
                if not any(key == _ten_key(ten.process, ten.at) for _, key, _ in self._waiting):
                    self._keep(LASTING, _ten_key(ten.process, ten.at), ten)

    def _number(self, partition: int) -> int:
        self._numbers[partition] += 1
        return self._numbers[partition]

    def _keep(self, partition: int, key: bytes, record: Written) -> None:
        value = encode(record)
        self._waiting.append((partition, key, value))
        self._waiting_bytes += len(value)
        while self._waiting_bytes > WAITING_BYTES_MAX and len(self._waiting) > 1:
            self._give_up(*self._waiting.popleft())

    def _give_up(self, partition: int, key: bytes, value: bytes) -> None:
        self._waiting_bytes -= len(value)
        if partition == MINUTES:
            self._lost_minutes += 1
        elif key == EVENT_KEY:
            self._lost_events += 1

    # -- writing

    @Service.task
    async def _write(self) -> None:
        pause_secs, longest = RETRY_SECS
        while not self.should_stop:
            await self._something()
            try:
                async with asyncio.timeout(WRITE_SECS):
                    while self._waiting:
                        await self._write_some()
            except (KafkaError, OSError, TimeoutError) as exc:
                await self._close()
                self._note_failure(words_of(exc), pause_secs)
                await self._rest(pause_secs)
                pause_secs = min(pause_secs * 2, longest)
            else:
                pause_secs = RETRY_SECS[0]
                self._note_success()

    async def _something(self) -> None:
        """Wait until there is something to write, and make its records."""
        while not self._waiting and not self.should_stop:
            left = self._minute + MINUTE_SECS - self._clock()
            if left > 0:
                await self._news_within(min(left, MINUTE_SECS))
            self._look()

    def _look(self) -> None:
        self._news.clear()
        if self._minute_now() != self._minute:
            self._end_minute()
            self._write_down_tens()
        self._collect()

    async def _news_within(self, secs: float) -> None:
        try:
            async with asyncio.timeout(secs):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECS)

    async def _rest(self, secs: float) -> None:
        """Wait for *secs*; minutes end meanwhile, and what happens is kept."""
        until = time.monotonic() + secs
        while (left := until - time.monotonic()) > 0 and not self.should_stop:
            await self._news_within(min(left, 1.0))
            self._look()

    async def _write_some(self) -> None:
        """Write the first records that wait; raise what Kafka answers, or that it does not."""
        async with self._writing:  # a stop writes, too
            if self._writer is None:
                self._writer = RecordWriter(self._cluster, None)
                await self._writer.open()
            some = self._first()
            if not some:
                return
            await self._writer.write(self._topic, some[0][0], [(key, value) for _, key, value in some])
            for _ in some:
                self._waiting_bytes -= len(self._waiting.popleft()[2])

    def _first(self) -> list[tuple[int, bytes, bytes]]:
        """Return the first records that wait, all for one partition."""
        some = islice(self._waiting, AT_ONCE)
        return list(takewhile(lambda record: record[0] == self._waiting[0][0], some))

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    def _note_failure(self, reason: str, pause_secs: float) -> None:
        if self._failing_since is None or reason != self._reason:
            self._failing_since, self._reason = self._clock(), reason
            self._emit(HistoryDelayed(reason=reason, waiting_bytes=self._waiting_bytes, retry_in_secs=pause_secs))

    def _note_success(self) -> None:
        self._failing_since = None
        minutes, events = self._lost_minutes - self._said[0], self._lost_events - self._said[1]
        if minutes or events:
            self._said = (self._lost_minutes, self._lost_events)
            self._emit(HistoryLost(minutes=minutes, events=events, reason=self._reason))


def _ten_key(process: str, at: int) -> bytes:
    return f"ten-{process}-{at}".encode()
