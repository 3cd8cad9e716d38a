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

from connector.kafka.cluster import KafkaCluster

FETCH_MS = 500
RETRY_SECS = 1.0
QUIET_ROUNDS = 2
ASK_EVERY_SECS = 1.5
SILENCE_SECS = 4.0
"""Longer than it takes to ask, and shorter than any session."""


class CompactedLog(Service):
    """
    Calls *apply* with key and value of each committed record of *topic*; a None value is a tombstone.

    *caught_up* is set once the end as of the start has been read.  While Kafka is away it waits, and goes on then.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        topic: str,
        apply: Callable[[bytes, bytes | None], None],
        *,
        trust_end_offsets: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self.topic = topic
        self.caught_up = asyncio.Event()
        self._cluster, self._apply, self._trust_end_offsets = cluster, apply, trust_end_offsets
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
        return time.monotonic() - self._answered_at

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            consumer = AIOKafkaConsumer(  # without a group it reads all partitions
                self.topic,
                **self._cluster.options(),
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            try:
                await consumer.start()
                await self._read(consumer)
            except (KafkaError, OSError):
                await self.sleep(RETRY_SECS)  # applying a record twice changes nothing, so the next round begins anew
            finally:
                with contextlib.suppress(KafkaError):
                    await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = await self._partitions(consumer)
        ends = await consumer.end_offsets(partitions)
        quiet = 0
        while not self.should_stop:
            await self._ask(consumer, partitions[0])
            rounds = await consumer.getmany(*partitions, timeout_ms=FETCH_MS)
            if rounds:
                self._note_answer()
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

    async def _ask(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        """See whether Kafka answers: a fetch that brings nothing looks the same with and without a broker."""
        if self.silent_secs >= ASK_EVERY_SECS:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(consumer.end_offsets([partition]), ASK_EVERY_SECS)
                self._note_answer()

    def _note_answer(self) -> None:
        now = time.monotonic()
        if now - self._answered_at > SILENCE_SECS:
            self._back_at = now
        self._answered_at = now

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        while not (assigned := consumer.assignment()) and not self.should_stop:
            await self.sleep(RETRY_SECS / 10)
        return sorted(assigned)
