"""
Writes records of a group's own topics, those of one call in one transaction, and never waits without a bound.

A request of a transaction is sent once (`delivery.once`): after one that is not answered the outcome is unknown, and
the caller has to look whether the records are in the topic.  The next writer with the same transactional id aborts what
this one has left open.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from connector.kafka import internals
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.once import Unanswered, give_up, send_once
from connector.kafka.topics import LARGE_RECORD_BYTES

TRANSACTION_MS = 15_000
CLOSE_SECS = 1.0
"""The most seconds for the end of requests under way when a writer is closed, and for that of its connections."""

FENCED = (ProducerFenced, InvalidProducerEpoch)
"""Another writer with the same transactional id has begun: nothing more of this one is written."""

Record: TypeAlias = tuple[bytes, bytes | None]
"""Key and value; None removes the key."""


class RecordWriter:
    """
    Writes with *transactional_id*; without one each record is written by itself.

    Opening it fences the writer that had the id before.
    """

    def __init__(self, cluster: KafkaCluster, transactional_id: str | None) -> None:
        self._whole = transactional_id is not None
        self._producer = AIOKafkaProducer(
            **cluster.options(),
            acks="all",
            enable_idempotence=self._whole,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_MS,
            max_request_size=LARGE_RECORD_BYTES,
        )
        if self._whole:
            send_once(self._producer)

    async def open(self) -> None:
        """
        Begin.  Call `close` whether this succeeds or not; the caller limits the time.

        Raises:
            KafkaError, OSError: Kafka does not answer, or refuses.
        """
        await self._producer.start()

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """
        Write *records*, at least one, and return the offset of the last one; the caller limits the time.

        Raises:
            ProducerFenced, InvalidProducerEpoch: see `FENCED`.
            KafkaError, OSError: whether the records are in the topic is not known.
        """
        return (await self.write_all(topic, {partition: records}))[partition]

    async def write_all(self, topic: str, records: Mapping[int, Sequence[Record]]) -> dict[int, int]:
        """
        Write the records of each partition, at least one, and return the offset of the last one of each.

        Without a transactional id the partitions are written one after the other, in the order of *records*.

        Raises:
            ProducerFenced, InvalidProducerEpoch, KafkaError, OSError: as `write`.
        """
        if not self._whole:
            return {partition: await self._write_each(topic, partition, those) for partition, those in records.items()}
        if internals.transaction_manager(self._producer).is_fatal_error():  # aiokafka asserts that it is not
            raise Unanswered("The writer has failed before")
        await self._producer.begin_transaction()
        sent = [
            await self._producer.send(topic, value, key, partition=partition)
            for partition, those in records.items()
            for key, value in those
        ]
        offsets: dict[int, int] = {}
        for written in await asyncio.gather(*sent):
            offsets[written.partition] = max(written.offset, offsets.get(written.partition, 0))
        await self._producer.commit_transaction()
        return offsets

    async def _write_each(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        sent = [await self._producer.send_and_wait(topic, value, key, partition=partition) for key, value in records]
        return max(int(written.offset) for written in sent)

    async def close(self) -> None:
        """Close the connections, whatever is under way."""
        give_up(self._producer, Unanswered("The writer was closed"))
        # Its last transaction is aborted by the next writer.  aiokafka's sender ends with a KeyError if it puts a batch
        # back that `give_up` has failed meanwhile.
        with contextlib.suppress(TimeoutError, KafkaError, KeyError):
            await asyncio.wait_for(self._producer.stop(), CLOSE_SECS)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._producer.client.close(), CLOSE_SECS)
