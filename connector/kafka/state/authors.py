"""
Reads what a compliance connector needs: its records in the topic of authors, and the topic that the posts are in.

The topic of authors has one partition.  A record's key is the name of its connector, its value what
`connector.compliance.memory` makes.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from connector.errors import BrokerAway, DeliveryFailed
from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer
from connector.kafka.internals import ask
from connector.kafka.login.refusals import words_of
from connector.kafka.metadata import metadata_of
from connector.kafka.rights import READ, refused
from connector.kafka.state.read_partition import FETCH_BYTES, RECORDS_AT_ONCE, committed
from connector.kafka.topics import AUTHORS_PARTITION
from connector.records.record import TopicRecord

FOLLOW_MS = 1_000
"""Longest wait for records in one poll (ms)."""

ANSWER_SECS = 20.0
"""How long Kafka may take to answer a question, and the client to close (seconds)."""

LOOK_SECS = 10.0
"""How often it is asked whether the topic has got more partitions, and records that do not come (seconds)."""


class AuthorsTopic:
    """
    The records of *connector* in *authors*, and the posts in *topic* (`connector.task.ports.Posts`).

    Without *trust_end_offsets*, which some brokers report wrong, the posts are read from the first one on.
    """

    def __init__(
        self, cluster: KafkaCluster, authors: str, connector: str, topic: str, *, trust_end_offsets: Callable[[], bool]
    ) -> None:
        self._cluster, self._authors, self._topic = cluster, authors, topic
        self._key = connector.encode()
        self._trust_end_offsets = trust_end_offsets

    async def kept(self) -> AsyncGenerator[bytes]:
        """
        Yield the values of the connector's records, the oldest first; use it with `contextlib.aclosing`.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """
        partition = TopicPartition(self._authors, AUTHORS_PARTITION)
        try:
            reading = committed(self._cluster, partition, trust_end_offsets=self._trust_end_offsets())
            async with contextlib.aclosing(reading) as records:
                async for record in records:
                    if record.key == self._key and record.value is not None:
                        yield record.value
        except (KafkaError, OSError, TimeoutError) as exc:
            raise self._failure(exc, self._authors) from exc

    async def follow(self, read_to: Mapping[int, int], from_ms: int) -> AsyncGenerator[Sequence[TopicRecord]]:
        """
        Yield the committed records of the topic from the offsets *read_to* on, without end; empty if none come.

        A partition that is not in *read_to* is read from the first record whose timestamp is at least *from_ms* (UNIX
        ms).  It ends when the topic has got more partitions, or the client reads no more.  Use it with
        `contextlib.aclosing`.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
        """
        try:
            async with contextlib.aclosing(self._follow(read_to, from_ms)) as batches:
                async for batch in batches:
                    yield batch
        except (KafkaError, OSError, TimeoutError) as exc:
            raise self._failure(exc, self._topic) from exc

    async def _follow(self, read_to: Mapping[int, int], from_ms: int) -> AsyncGenerator[Sequence[TopicRecord]]:
        consumer = AIOKafkaConsumer(
            **self._cluster.options(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",  # what was deleted by age is not there to be withdrawn
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        admin = AIOKafkaAdminClient(**self._cluster.options())
        try:
            await admin.start()
            await consumer.start()
            partitions = await self._partitions(admin)
            consumer.assign(partitions)
            await self._seek(consumer, partitions, read_to, from_ms)
            looked_at, quiet = time.monotonic(), set[TopicPartition]()
            while True:
                if time.monotonic() - looked_at >= LOOK_SECS:
                    looked_at = time.monotonic()
                    if await self._partitions(admin) != partitions:
                        return
                    # seen after a broker was away for a minute: the client does not fetch some partitions any more, or
                    # all, and says nothing
                    if await _is_behind(consumer, quiet):
                        return
                    quiet = set(partitions)
                polled = await consumer.getmany(*partitions, timeout_ms=FOLLOW_MS, max_records=RECORDS_AT_ONCE)
                quiet -= polled.keys()
                yield [
                    TopicRecord(record.partition, record.offset, record.key, record.value)
                    for records in polled.values()
                    for record in records
                ]
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECS):
                    await stop_consumer(consumer)
                    await admin.close()

    async def _seek(
        self,
        consumer: AIOKafkaConsumer,
        partitions: Sequence[TopicPartition],
        read_to: Mapping[int, int],
        from_ms: int,
    ) -> None:
        fresh = [each for each in partitions if each.partition not in read_to]
        ends = await consumer.end_offsets(fresh) if fresh else {}  # first: a record that comes meanwhile lies behind it
        first = await consumer.offsets_for_times(dict.fromkeys(fresh, max(from_ms, 0))) if fresh else {}
        for each in partitions:
            if each.partition in read_to:
                consumer.seek(each, read_to[each.partition])
            elif self._trust_end_offsets():
                found = first[each]
                consumer.seek(each, ends[each] if found is None else found.offset)
            else:
                await consumer.seek_to_beginning(each)

    async def _partitions(self, admin: AIOKafkaAdminClient) -> list[TopicPartition]:
        async with asyncio.timeout(ANSWER_SECS):
            answer = await ask(admin, metadata_of([self._topic]))
        ((topic),) = answer.to_object()["topics"]
        if topic["error_code"]:
            raise for_code(topic["error_code"])(self._topic)
        return sorted(TopicPartition(self._topic, each["partition"]) for each in topic["partitions"])

    def _failure(self, exc: BaseException, topic: str) -> DeliveryFailed:
        return refused(exc, self._cluster.user, READ, topic=topic) or BrokerAway(f"{topic}: {words_of(exc)}")


async def _is_behind(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> bool:
    """Return whether *consumer* has not read all records of *partitions*, from which none came for a while."""
    if not partitions:
        return False
    async with asyncio.timeout(ANSWER_SECS):
        ends = await consumer.end_offsets(partitions)
        return any([await consumer.position(each) < ends[each] for each in partitions])
