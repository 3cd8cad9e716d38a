"""
The output topic as a typed channel.

`PostsTopic` is a `faust.Topic`: an agent that reads it gets `Post` objects under string keys.  `write` writes a batch,
with the posts as the bytes that X sent.  (The names `send` and `deliver` belong to Faust's channels.)
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from connector.formats import Format, codec_name
from connector.kafka.delivery.partitioner import split
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import RecordBatch, record_batches
from connector.kafka.delivery.small_batches import Part
from connector.records.post import Post
from connector.records.record import SOURCE_HEADER, Batch, Records

RECORD_OVERHEAD_BYTES = 128
"""Most bytes that a record batch of one post has beside key and value: 61 of batch head, and the record's varints."""

POSTS_AT_ONCE = 512
"""Posts that are encoded before other tasks of the event loop run: about a quarter of a millisecond in Python."""

Encoded = list[tuple[int, RecordBatch]]
"""Record batches with their partition, in the order to send them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The topics to which a task writes beside the output topic."""

    offsets_topic: str
    ledger_topic: str
    slot: int
    """The partition of the offsets topic and of the ledger topic that is the task's own."""
    ledger_key: bytes
    """The connector's name."""
    dead_letter_topic: str | None


class PostsTopic(faust.Topic):
    """The topic that receives the posts of one connector."""

    def __init__(
        self, app: faust.App, *, topic: str | None = None, value_format: Format = "json", **kwargs: Any
    ) -> None:
        if topic is not None:  # None when Faust copies a topic for an agent: *kwargs* is complete then
            kwargs |= {"topics": [topic], "key_type": str, "value_type": Post}
            kwargs["value_serializer"] = codec_name(value_format)
        super().__init__(app, **kwargs)
        self.name = self.get_topic_name()

    async def encode(self, producer: TaskProducer, records: Records) -> Encoded:
        """
        Build the record batches of *records* for their partitions; nothing is sent yet.

        Each partition gets its batches in the order of *records*.  A produce request carries one batch for each
        partition, so the first batches of all partitions come before any second batch.
        """
        rounds: list[tuple[int, int, RecordBatch]] = []
        fresh = 0
        for partition, its_records in split(records, producer.partitions(self.name)):
            for number, batch in enumerate(record_batches(its_records, producer.batch_style)):
                rounds.append((number, partition, batch))
                fresh += batch.record_count()
                if fresh >= POSTS_AT_ONCE:
                    fresh = 0
                    await asyncio.sleep(0)  # the commit in flight sends its next request meanwhile
        rounds.sort(key=itemgetter(0))
        return [(partition, batch) for _, partition, batch in rounds]

    async def write(self, producer: TaskProducer, encoded: Encoded, batch: Batch, destination: Destination) -> None:
        """
        Write *batch*: its records, which are *encoded*, its dead letters and its ledger, and its offsets last.

        With a transactional producer, readers of committed records see the whole batch or nothing.  Without, ledger and
        offsets are sent after Kafka has acknowledged everything else.

        Raises:
            KafkaError: the outcome is unknown; the offsets topic tells it.
        """
        if not await _write_by_small_batches(producer, self.name, encoded, batch, destination):
            await self._write_by_sender(producer, encoded, batch, destination)

    async def _write_by_sender(
        self, producer: TaskProducer, encoded: Encoded, batch: Batch, destination: Destination
    ) -> None:
        client = producer.client
        if producer.transactional_id is not None:
            await client.begin_transaction()
            where = destination
            slots = [(where.offsets_topic, where.slot), *((where.ledger_topic, where.slot) for _ in batch.ledger)]
            producer.announce({*((self.name, partition) for partition, _ in encoded), *slots})
        acks: list[asyncio.Future[Any]] = []
        try:
            await self._send_posts(producer, encoded, batch, destination, acks)
            if producer.transactional_id is None:
                await _all_of(acks)  # the ledger must not have posts that may still be lost
            await _send_ledger(producer, batch, destination, acks)
            for offset in batch.offsets:
                acks.append(  # noqa: PERF401  # after an error, `finally` needs the acks before it
                    await client.send(
                        destination.offsets_topic,
                        offset.value,
                        key=offset.key,
                        partition=destination.slot,
                    )
                )
            await _all_of(acks)
        finally:
            for ack in acks:
                ack.add_done_callback(_look)  # after an error nobody awaits the other acks; asyncio would log them
        if producer.transactional_id is not None:
            await client.commit_transaction()  # no abort after an error: the next producer of this id does that

    async def _send_posts(
        self,
        producer: TaskProducer,
        encoded: Encoded,
        batch: Batch,
        destination: Destination,
        acks: "list[asyncio.Future[Any]]",
    ) -> None:
        client = producer.client
        for partition, built in encoded:
            acks.append(await client.send_batch(built, self.name, partition=partition))
        for letter in batch.dead_letters:
            topic = destination.dead_letter_topic
            if topic is None:
                raise RuntimeError("A dead letter, but no topic for it")
            chosen = zlib.crc32(letter.value) % producer.partitions(topic)
            acks.append(await client.send(topic, letter.value, headers=list(letter.headers), partition=chosen))


async def _write_by_small_batches(
    producer: TaskProducer, topic: str, encoded: Encoded, batch: Batch, destination: Destination
) -> bool:
    """Write like `PostsTopic.write`, with `small_batches`, and return True; False if it does not take the batch."""
    small_batches, client = producer.small_batches, producer.client
    if small_batches is None or batch.dead_letters or len(encoded) > producer.partitions(topic):
        return False
    where = destination
    parts = [Part(topic, partition, partial(_same, built)) for partition, built in encoded]
    ledger = [(where.ledger_key, each.value, each.timestamp_ms, _headers(each.source)) for each in batch.ledger]
    offsets: list[_Fields] = [(each.key, each.value, None, []) for each in batch.offsets]
    behind = []
    for its_topic, fields in ((where.ledger_topic, ledger), (where.offsets_topic, offsets)):
        if fields:
            behind.append(Part(its_topic, where.slot, partial(_batch_of, client, fields)))
            if behind[-1].builder.record_count() < len(fields):
                return False
    if not small_batches.takes([*parts, *behind]):
        return False
    await small_batches.deliver(parts, behind)
    return True


_Fields = tuple[bytes, bytes | None, int | None, list[tuple[str, bytes]]]
"""Key, value, timestamp and headers of a record."""


def _same(built: RecordBatch) -> RecordBatch:
    return built  # a `RecordBatch` takes a new sequence number; it need not be built again


def _batch_of(client: AIOKafkaProducer, records: Sequence[_Fields]) -> BatchBuilder:
    """Return a record batch of the first *records*, as many as fit."""
    builder = client.create_batch()
    for key, value, timestamp_ms, headers in records:
        if builder.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
            break
    return builder


async def _send_ledger(
    producer: TaskProducer, batch: Batch, destination: Destination, acks: "list[asyncio.Future[Any]]"
) -> None:
    for write in batch.ledger:
        acks.append(
            await producer.client.send(
                destination.ledger_topic,
                write.value,
                key=destination.ledger_key,
                partition=destination.slot,
                timestamp_ms=write.timestamp_ms,
                headers=_headers(write.source),
            )
        )


def _headers(source: bytes | None) -> list[tuple[str, bytes]]:
    return [] if source is None else [(SOURCE_HEADER, source)]


async def _all_of(acks: "list[asyncio.Future[Any]]") -> None:
    for result in await asyncio.gather(*acks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _look(ack: "asyncio.Future[Any]") -> None:
    if not ack.cancelled():
        ack.exception()
