"""
Writes a batch into Kafka: records and dead letters, then what was learnt of a topic, ledger and offsets.

    begin ─▶ records and dead letters of all connectors ─▶ ledger ─▶ offsets ─▶ commit      one transaction
             records and dead letters of all connectors ─▶ acks ─▶ ledger, offsets ─▶ acks  without transactions

Small batches are written by `small_batches`, all others by aiokafka's sender.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from connector.kafka.delivery.posts_topic import Encoded
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import RecordBatch
from connector.kafka.delivery.small_batches import Part
from connector.kafka.topics import AUTHORS_PARTITION
from connector.records.record import SOURCE_HEADER, Batch, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The internal topics, and the partition *number* of both that belongs to one task alone."""

    offsets_topic: str
    ledger_topic: str
    number: int


async def write(producer: TaskProducer, encoded: Sequence[Encoded], batch: Batch, slot: Slot) -> None:
    """
    Write *batch*: its records, which are *encoded*, its dead letters and its ledgers, and its offsets last.

    With a transactional producer, readers of committed records see the whole batch or nothing.  Without, ledgers and
    offsets are sent after Kafka has acknowledged everything else.

    Raises:
        KafkaError: the outcome is unknown; the offsets topic tells it.
    """
    if not await _by_small_batches(producer, encoded, batch, slot):
        await _by_sender(producer, encoded, batch, slot)


async def _by_sender(producer: TaskProducer, encoded: Sequence[Encoded], batch: Batch, slot: Slot) -> None:
    client = producer.client
    ledger, offsets, authors = _ledger_of(batch), _offsets_of(batch), _authors_of(batch)
    if producer.transactional_id is not None:
        await client.begin_transaction()
        places = {(each.topic, each.partition) for each in encoded}
        places |= {(slot.offsets_topic, slot.number), *((slot.ledger_topic, slot.number) for _ in ledger)}
        places |= {(topic, AUTHORS_PARTITION) for topic, _, _ in authors}
        producer.announce(places)
    acks: list[asyncio.Future[Any]] = []
    try:
        for each in encoded:
            acks.append(await client.send_batch(each.batch, each.topic, partition=each.partition))  # noqa: PERF401
        for share in batch.shares:
            await _send_letters(producer, share, acks)
        if producer.transactional_id is None:
            await _all_of(acks)  # the ledger must not have posts that may still be lost
        for topic, name, learnt in authors:
            acks.append(await client.send(topic, learnt, key=name, partition=AUTHORS_PARTITION))
        for topic, records in ((slot.ledger_topic, ledger), (slot.offsets_topic, offsets)):
            for key, value, timestamp_ms, headers in records:
                acks.append(  # after an error, `finally` needs the acks before it
                    await client.send(
                        topic, value, key=key, partition=slot.number, timestamp_ms=timestamp_ms, headers=headers
                    )
                )
        await _all_of(acks)
    finally:
        for ack in acks:
            ack.add_done_callback(_look)  # after an error nobody awaits the other acks; asyncio would log them
    if producer.transactional_id is not None:
        await client.commit_transaction()  # no abort after an error: the next producer of this id does that


async def _send_letters(producer: TaskProducer, share: Share, acks: "list[asyncio.Future[Any]]") -> None:
    for letter in share.dead_letters:
        topic = share.to.dead_letter_topic
        if topic is None:
            raise RuntimeError("A dead letter, but no topic for it")
        chosen = zlib.crc32(letter.value) % producer.partitions(topic)
        acks.append(await producer.client.send(topic, letter.value, headers=list(letter.headers), partition=chosen))


async def _by_small_batches(producer: TaskProducer, encoded: Sequence[Encoded], batch: Batch, slot: Slot) -> bool:
    """Write like `write`, with `small_batches`, and return True; False if they do not take the batch."""
    small_batches, client = producer.small_batches, producer.client
    if small_batches is None or batch.has_more or any(each.round for each in encoded):
        return False
    parts = [Part(each.topic, each.partition, partial(_same, each.batch)) for each in encoded]
    behind = []
    for topic, fields in ((slot.ledger_topic, _ledger_of(batch)), (slot.offsets_topic, _offsets_of(batch))):
        if fields:
            behind.append(Part(topic, slot.number, partial(_batch_of, client, fields)))
            if behind[-1].builder.record_count() < len(fields):
                return False
    if not small_batches.takes([*parts, *behind]):
        return False
    await small_batches.deliver(parts, behind)
    return True


_Fields = tuple[bytes, bytes | None, int | None, list[tuple[str, bytes]]]
"""Key, value, timestamp and headers of a record."""


def _ledger_of(batch: Batch) -> list[_Fields]:
    return [
        (share.to.connector.encode(), each.value, each.timestamp_ms, _headers(each.source))
        for share in batch.shares
        for each in share.ledger
    ]


def _authors_of(batch: Batch) -> list[tuple[str, bytes, bytes]]:
    """Return topic, key and value of each record of what was learnt of a topic."""
    found = []
    for share in batch.shares:
        if share.authors and share.to.authors_topic is None:
            raise RuntimeError("Something was learnt of a topic, but there is no topic for it")
        topic = share.to.authors_topic or ""
        found += [(topic, share.to.connector.encode(), value) for value in share.authors]
    return found


def _offsets_of(batch: Batch) -> list[_Fields]:
    return [(each.key, each.value, None, []) for each in batch.offsets]


def _headers(source: bytes | None) -> list[tuple[str, bytes]]:
    return [] if source is None else [(SOURCE_HEADER, source)]


def _same(built: RecordBatch) -> RecordBatch:
    return built  # a `RecordBatch` takes a new sequence number; it need not be built again


def _batch_of(client: AIOKafkaProducer, records: Sequence[_Fields]) -> BatchBuilder:
    """Return a record batch of the first *records*, as many as fit."""
    builder = client.create_batch()
    for key, value, timestamp_ms, headers in records:
        if builder.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
            break
    return builder


async def _all_of(acks: "list[asyncio.Future[Any]]") -> None:
    for result in await asyncio.gather(*acks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _look(ack: "asyncio.Future[Any]") -> None:
    if not ack.cancelled():
        ack.exception()
