"""
Reads a compacted topic to its end and then follows it: the shared state of a group (Connect's KafkaBasedLog).
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from mode import Service

from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer
from connector.kafka.internals import gather
from connector.kafka.login.refusals import words_of
from connector.kafka.rights import READ, refused
from connector.kafka.state.ends import Ends
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import TopicFollowed, TopicLost
from connector.telemetry.obstacles import Obstacles

CATCH_UP_MS = 500
FOLLOW_MS = 1500
"""
How long Kafka may hold a fetch while it has no record for it (ms); a record ends the wait at once.

Each answer costs half a millisecond of CPU, and shows that Kafka is there.
"""

METADATA_MS = 10_000
"""How long it may go unnoticed that a topic was deleted and made again (ms); aiokafka's default is five minutes."""

GATHER_BYTES = 1024 * 1024
"""With *gather*, Kafka answers a fetch when it has this many bytes, or after `FOLLOW_MS`."""

RETRY_SECS = 1.0
SAY_SECS = 60.0
"""How often the same reason is reported again while the topic cannot be read (seconds)."""

FRESH_MS = 5
"""How often it is looked whether the present end has been read (ms)."""

QUIET_ROUNDS = 2
SILENCE_SECS = 4.0
"""Kafka counts as silent after this time (seconds): longer than a fetch may last, shorter than any session."""


class CompactedLog(Service):
    """
    Calls *apply* with key, value and partition of each committed record of *topic*; a None value is a tombstone.

    *caught_up* is set once everything that was in the topic at the start has been read.  While Kafka is away, the log
    waits, and reads on later where it was: what *apply* has built never goes back to an older state.  With *gather*,
    one fetch brings the records of 1.5 s; without, each commit costs a fetch, also this worker's own commits.
    """

    mundane_level = "debug"  # our events say what an operator wants to know
    follow_ms = FOLLOW_MS

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        apply: Callable[[bytes, bytes | None, int], None],
        *,
        obstacles: Obstacles,
        emit: Callable[[Event], None],
        trust_end_offsets: Callable[[], bool] = lambda: True,
        gather: bool = False,
    ) -> None:
        super().__init__()
        self.topic = topic
        self.caught_up = asyncio.Event()
        self._cluster, self._apply, self._trust_end_offsets = cluster, apply, trust_end_offsets
        self._gather, self._emit, self._obstacles = gather, emit, obstacles
        self._lost: str | None = None
        """The class of the error for which the topic cannot be read; None while it is read."""
        self._lost_said_at = -math.inf
        self._consumer: AIOKafkaConsumer | None = None
        self._ends = Ends(cluster)
        self._anew = False
        self._fetched_ms = 0
        self._answered_at = time.monotonic()
        self._back_at = -math.inf
        self._reached: dict[int, int] = {}
        self._next: dict[TopicPartition, int] = {}
        """Where to read on; empty: at the first record."""
        self._progress = asyncio.Condition()

    def was_silent(self, within_secs: float) -> bool:
        """Return whether Kafka does not answer, or began to answer again less than *within_secs* ago."""
        return self.silent_secs > SILENCE_SECS or time.monotonic() - self._back_at < within_secs

    async def on_start(self) -> None:
        self._answered_at = time.monotonic()  # Kafka has answered other clients before this start

    @property
    def silent_secs(self) -> float:
        """Seconds since Kafka's last answer; a few are normal."""
        self._look_for_answer()
        return time.monotonic() - self._answered_at

    def follow_anew(self) -> None:
        """Read from the first record again: another topic has this name now."""
        self._anew = True
        self._next.clear()
        self._reached.clear()

    async def reach(self, partition: int, offset: int) -> None:
        """Wait until the record at *offset* of *partition* has been applied; the caller limits the time."""
        async with self._progress:
            await self._progress.wait_for(lambda: self._reached.get(partition, -1) >= offset)

    async def fresh(self) -> None:
        """
        Wait until everything that was committed before this call has been applied; the caller limits the time.

        On brokers whose end offsets are not to be trusted it returns at once.

        Raises:
            KafkaError: the broker cannot be asked now.
        """
        await self.caught_up.wait()
        if not self._trust_end_offsets():
            return
        while (consumer := self._consumer) is None:  # noqa: ASYNC110  # it connects again, which is rare
            await asyncio.sleep(FRESH_MS / 1000)
        ends = await self._ends.of(consumer.assignment())
        while not await self._is_at(ends):  # noqa: ASYNC110  # the end of a transaction is no record, and tells nobody
            await asyncio.sleep(FRESH_MS / 1000)

    async def _is_at(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether the topic has been read up to *ends*: a record is applied before anything else runs."""
        consumer = self._consumer
        if consumer is None or self._anew or not consumer.assignment().issuperset(ends):
            return False
        return all([await consumer.position(tp) >= end for tp, end in ends.items()])

    async def on_stop(self) -> None:
        await self._ends.close()

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            self._anew = False
            consumer = AIOKafkaConsumer(  # without a group it reads all partitions
                self.topic,
                **self._cluster.options(),
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=self.follow_ms,
                metadata_max_age_ms=METADATA_MS,
                consumer_timeout_ms=self.follow_ms,  # by default aiokafka checks all partitions 5 times a second
            )
            try:
                await consumer.start()
                await self._read(consumer)
            except (KafkaError, OSError) as exc:
                if missing := refused(exc, self._cluster.user, READ, topic=self.topic):
                    self._note_answer()  # a refusal is an answer
                    self._obstacles.meet(self.topic, str(missing))
                else:
                    self._note_lost(exc)
                await self.sleep(RETRY_SECS)
            finally:
                self._consumer = None
                with contextlib.suppress(KafkaError):
                    await stop_consumer(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._partitions(consumer)
        for tp in partitions:
            if tp in self._next:
                consumer.seek(tp, self._next[tp])
            elif (first := await self._first(consumer, tp)) is not None:
                consumer.seek(tp, first)
        ends = await consumer.end_offsets(partitions)
        self._note_answer()
        self._note_read()
        self._fetched_ms, self._consumer = 0, consumer
        wait_ms, quiet = CATCH_UP_MS, 0
        if self.caught_up.is_set():
            wait_ms = self._take_time(consumer)
        elif self._trust_end_offsets() and not any(ends.values()):  # nothing was ever written: no fetch would end soon
            self.caught_up.set()
            wait_ms = self._take_time(consumer)
        while not self.should_stop and not self._anew and consumer.assignment() == set(partitions):
            rounds = await consumer.getmany(*partitions, timeout_ms=wait_ms)
            self._look_for_answer()
            await self._take(rounds)
            if not self.caught_up.is_set():
                quiet = 0 if rounds else quiet + 1
                if self._trust_end_offsets():
                    at_end = all([await consumer.position(tp) >= ends[tp] for tp in partitions])
                else:
                    at_end = quiet >= QUIET_ROUNDS
                if at_end:
                    self.caught_up.set()
                    wait_ms = self._take_time(consumer)

    async def _first(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
        """Return the offset at which *partition* is begun; None for its first record."""
        return None

    async def _take(self, rounds: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]) -> None:
        if self._anew:  # these are of the topic that is gone
            return
        for tp, records in rounds.items():
            for record in records:
                if record.key is not None:
                    self._apply(record.key, record.value, tp.partition)
            self._reached[tp.partition] = records[-1].offset
            self._next[tp] = records[-1].offset + 1
        if rounds:
            async with self._progress:
                self._progress.notify_all()

    def _take_time(self, consumer: AIOKafkaConsumer) -> int:
        """Let *consumer* gather records if *gather* is set; return how long to wait for records (ms)."""
        if self._gather:  # only now: before, the end would be reached a second later
            gather(consumer, GATHER_BYTES)
        return self.follow_ms

    def _look_for_answer(self) -> None:
        """Note whether Kafka has answered a fetch; `getmany` does not show an answer without records."""
        if self._consumer is not None:
            times = map(self._consumer.last_poll_timestamp, self._consumer.assignment())
            fetched_ms = max((ms for ms in times if ms is not None), default=0)
            if fetched_ms != self._fetched_ms:
                self._fetched_ms = fetched_ms
                self._note_answer()
                self._obstacles.pass_(self.topic)

    def _note_answer(self) -> None:
        now = time.monotonic()
        if now - self._answered_at > SILENCE_SECS:
            self._back_at = now
        self._answered_at = now

    def _note_lost(self, error: Exception) -> None:
        now = time.monotonic()
        if type(error).__name__ != self._lost or now - self._lost_said_at >= SAY_SECS:
            self._lost, self._lost_said_at = type(error).__name__, now
            self._emit(TopicLost(topic=self.topic, reason=words_of(error), retry_in_secs=RETRY_SECS))

    def _note_read(self) -> None:
        if self._lost is not None:
            self._lost = None
            self._emit(TopicFollowed(topic=self.topic))

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        while not (assigned := consumer.assignment()) and not self.should_stop and not self._anew:
            await self.sleep(RETRY_SECS / 10)
        return sorted(assigned)
