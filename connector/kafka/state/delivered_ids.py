"""
Reads the ids of delivered posts from the ledger topic.

The ledger topic holds one record of ids for each transaction, in the partition of the task's slot.  The record's
timestamp is the creation time of its newest post.  `connector.coverage.ledger` has the format of the record.
"""

import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence

from aiokafka import TopicPartition

from connector.coverage.ledger import Runs, decode_ids
from connector.errors import FatalError
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state import read_partition as partitions
from connector.records.record import SOURCE_HEADER


async def read_values(
    cluster: KafkaCluster, topic: str, slot: int, key: bytes, from_ms: int, *, trust_end_offsets: bool
) -> AsyncGenerator[Sequence[int]]:
    """
    Yield the ids under *key* in the partition of *slot*, a record at a time; use it with `contextlib.aclosing`.

    Reading begins with the first record whose timestamp is at least *from_ms* (UNIX ms).  It ends with the partition.

    Raises:
        KafkaError, TimeoutError: the broker cannot be asked now.
        FatalError: a record is not a record of a ledger.
    """
    partition = TopicPartition(topic, slot)
    reading = partitions.committed(cluster, partition, from_ms=max(from_ms, 0), trust_end_offsets=trust_end_offsets)
    async with contextlib.aclosing(reading) as records:
        async for record in records:
            if record.key != key:
                continue
            try:
                yield decode_ids(record.value or b"")
            except ValueError as exc:
                raise FatalError(
                    f"The record at offset {record.offset} of {topic}, partition {slot}, is none of a ledger: {exc}"
                ) from exc


async def read_ids(
    cluster: KafkaCluster,
    topic: str,
    slots: Iterable[int],
    key: bytes,
    from_ms: int,
    to_ms: int | None,
    *,
    late: bool = False,
    trust_end_offsets: bool,
) -> Sequence[int]:
    """
    Return the ids under *key* in the partitions of *slots*.

    Reading a partition begins with the first record whose timestamp is at least *from_ms* (UNIX ms): all records before
    it have only older ids.  It ends with the partition, or with the first record of live posts that is newer than
    *to_ms*.

    A repair writes old ids late.  With *late*, reading goes on to the end of the partition, and from there on leaves
    the ids of live posts out.

    Raises:
        KafkaError, TimeoutError: the broker cannot be asked now.
        FatalError: a record is not a record of a ledger.
    """
    found = Runs()
    for slot in slots:
        partition = TopicPartition(topic, slot)
        await _read(cluster, partition, key, from_ms, to_ms, found, late=late, trust_end_offsets=trust_end_offsets)
    return found


async def _read(
    cluster: KafkaCluster,
    partition: TopicPartition,
    key: bytes,
    from_ms: int,
    to_ms: int | None,
    found: Runs,
    *,
    late: bool,
    trust_end_offsets: bool,
) -> None:
    beyond = False
    reading = partitions.committed(cluster, partition, from_ms=max(from_ms, 0), trust_end_offsets=trust_end_offsets)
    async with contextlib.aclosing(reading) as records:
        async for record in records:
            live = all(name != SOURCE_HEADER for name, _ in record.headers)
            if record.key != key or (beyond and live):
                continue
            try:
                found.append(record.value or b"")
            except ValueError as exc:
                topic, slot = partition
                raise FatalError(
                    f"The record at offset {record.offset} of {topic}, partition {slot}, is none of a ledger: {exc};"
                    f" kafka-delete-records.sh up to offset {record.offset + 1} lets the task begin, and what was"
                    " delivered before may then be delivered again"
                ) from exc
            if to_ms is not None and live and record.timestamp > to_ms:
                if not late:
                    break
                beyond = True
