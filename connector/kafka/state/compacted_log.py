"""
A compacted topic, read to its end and then followed: the shared state of a group (Connect's KafkaBasedLog).
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from connector.kafka.brokers import KafkaCluster
from connector.kafka.internals import gather
from connector.kafka.login.refusals import words_of
from connector.kafka.rights import READ, refused
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import TopicFollowed, TopicLost
from connector.telemetry.obstacles import Obstacles

CATCH_UP_MS = 500
FOLLOW_MS = 1500
"""
How long Kafka may hold a fetch for which it has nothing; a record ends the wait at once.

Each answer costs half a millisecond of CPU, and tells that Kafka is there.
"""

METADATA_MS = 10_000
"""How long a topic that was deleted and made again may go unnoticed; aiokafka's default is five minutes."""

GATHER_BYTES = 1024 * 1024
"""Kafka gathers as much, or as long, where nobody waits for each record."""

RETRY_SECS = 1.0
SAY_SECS = 60.0
"""How often the same reason is said again while the topic cannot be read."""

QUIET_ROUNDS = 2
SILENCE_SECS = 4.0
"""Longer than a fetch may last, and shorter than any session."""


class CompactedLog(Service):
    """
    Calls *apply* with key and value of each committed record of *topic*; a None value is a tombstone.

    *caught_up* is set once the end as of the start has been read.  While Kafka is away it waits, and goes on then.
    With *gather* the records of 1.5 s come together: each commit would cost a fetch otherwise, ours too.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        apply: Callable[[bytes, bytes | None], None],
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
        self._anew = False
        self._fetched_ms = 0
        self._answered_at = time.monotonic()
        self._back_at = -math.inf

    def was_silent(self, within_secs: float) -> bool:
        """Return whether Kafka does not answer, or did not until less than *within_secs* ago."""
        return self.silent_secs > SILENCE_SECS or time.monotonic() - self._back_at < within_secs

    async def on_start(self) -> None:
        self._answered_at = time.monotonic()  # it was asked by others before, and has answered them

    @property
    def silent_secs(self) -> float:
        """For how long Kafka has not answered; some seconds are normal."""
        self._look_for_answer()
        return time.monotonic() - self._answered_at

    def follow_anew(self) -> None:
        """Read from the first record again: the topic is another one of the same name."""
        self._anew = True

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
                fetch_max_wait_ms=FOLLOW_MS,
                metadata_max_age_ms=METADATA_MS,
                consumer_timeout_ms=FOLLOW_MS,  # by default it goes through its partitions 5 times a second
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
                await self.sleep(RETRY_SECS)  # applying a record twice changes nothing, so the next round begins anew
            finally:
                self._consumer = None
                with contextlib.suppress(KafkaError):
                    await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._partitions(consumer)
        ends = await consumer.end_offsets(partitions)
        self._note_answer()
        self._note_read()
        self._fetched_ms, self._consumer = 0, consumer
        wait_ms, quiet = CATCH_UP_MS, 0
        if self.caught_up.is_set():
            wait_ms = self._take_time(consumer)
        while not self.should_stop and not self._anew and consumer.assignment().issuperset(partitions):
            rounds = await consumer.getmany(*partitions, timeout_ms=wait_ms)
            self._look_for_answer()
            for records in rounds.values():
                for record in records:
                    if record.key is not None:
                        self._apply(record.key, record.value)
            if not self.caught_up.is_set():
                quiet = 0 if rounds else quiet + 1
                if self._trust_end_offsets():
                    at_end = all([await consumer.position(tp) >= ends[tp] for tp in partitions])
                else:
                    at_end = quiet >= QUIET_ROUNDS
                if at_end:
                    self.caught_up.set()
                    wait_ms = self._take_time(consumer)

    def _take_time(self, consumer: AIOKafkaConsumer) -> int:
        """Let *consumer* gather what it brings, if it is to; return for how long to wait for that."""
        if self._gather:  # not sooner, as the end would be reached a second later; and no argument changes it
            gather(consumer, GATHER_BYTES)
        return FOLLOW_MS

    def _look_for_answer(self) -> None:
        """See whether Kafka has answered a fetch: one that brings nothing looks the same as none otherwise."""
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
