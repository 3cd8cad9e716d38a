"""
Source offsets in Connect's format.

Key: compact JSON `["<connector>",{<source partition>}]`; value: a JSON map; a tombstone removes.
A task writes into the partition of its slot only: in a shared one the open transaction of one task would hide the
committed offset of another.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connector.kafka.cluster import KafkaCluster
from connector.records import SourcePartition

QUIET_SECS = 0.5
"""So long without a record is the end, on brokers that do not tell the end offset truthfully."""


def encode_key(connector: str, partition: SourcePartition) -> bytes:
    """Return the key of an offset, with the source partition's fields in one canonical order."""
    return orjson.dumps([connector, dict(partition)], option=orjson.OPT_SORT_KEYS)


def decode_key(key: bytes) -> tuple[str, dict[str, str]] | None:
    """Return connector and source partition, or None for a key that is not an offset's."""
    try:
        connector, partition = orjson.loads(key)
    except (ValueError, TypeError):
        return None
    if isinstance(connector, str) and isinstance(partition, dict):
        return connector, partition
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedOffsets:
    """
    What one slot's partition says: the *latest* value of each key, and every value *seen* on the way.

    The latter tells of a transaction whose outcome was unknown whether it was committed.
    """

    latest: Mapping[bytes, bytes] = field(default_factory=dict)
    seen: frozenset[tuple[bytes, bytes | None]] = frozenset()


class OffsetTable:
    """The latest offset of each key, as far as the topic has been followed."""

    def __init__(self) -> None:
        self._latest: dict[bytes, bytes] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in a record of the offsets topic."""
        if value is None:
            self._latest.pop(key, None)
        else:
            self._latest[key] = value

    def of(self, connector: str) -> list[dict[str, object]]:
        """Return source partitions and offsets of *connector* in Connect's JSON."""
        entries: list[dict[str, object]] = []
        for key, value in sorted(self._latest.items()):
            decoded = decode_key(key)
            if decoded is not None and decoded[0] == connector:
                entries.append({"partition": decoded[1], "offset": orjson.loads(value)})
        return entries


async def read_committed(
    cluster: KafkaCluster, topic: str, slot: int, *, trust_end_offsets: bool = True
) -> CommittedOffsets:
    """
    Read the committed offsets of *slot*; call it after the slot's producer is fenced, never before.

    Raises:
        KafkaError: the broker cannot be asked now.
    """
    latest: dict[bytes, bytes] = {}
    seen: set[tuple[bytes, bytes | None]] = set()
    partition = TopicPartition(topic, slot)
    consumer = AIOKafkaConsumer(
        **cluster.options(),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        consumer.assign([partition])
        async for record in _to_the_end(consumer, partition, trust_end_offsets=trust_end_offsets):
            if record.key is None:
                continue
            if record.value is None:
                latest.pop(record.key, None)
            else:
                latest[record.key] = record.value
            seen.add((record.key, record.value))
    finally:
        await consumer.stop()
    return CommittedOffsets(latest=latest, seen=frozenset(seen))


async def _to_the_end(
    consumer: AIOKafkaConsumer, partition: TopicPartition, *, trust_end_offsets: bool
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    if trust_end_offsets:
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                yield record
        return
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while loop.time() - heard < QUIET_SECS:
        for record in (await consumer.getmany(partition, timeout_ms=100)).get(partition, []):
            heard = loop.time()
            yield record
