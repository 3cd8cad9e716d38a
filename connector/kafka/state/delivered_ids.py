"""
Reading back which posts were delivered.

The ledger topic holds one record of ids for each transaction, in the partition of the task's slot; its timestamp is the
creation time of the newest of them (`connector.coverage.ledger` has the format).
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence

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

    They begin with the first record of a time from *from_ms* on (UNIX ms), and end with the partition.

    Raises:
        KafkaError, TimeoutError: the broker cannot be asked now.
        FatalError: a record is none of a ledger.
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
    slot: int,
    key: bytes,
    from_ms: int,
    to_ms: int | None,
    *,
    late: bool = False,
    trust_end_offsets: bool,
) -> Sequence[int]:
    """
    Return the ids under *key* in the partition of *slot*.

    They begin with the first record of a time from *from_ms* on (UNIX ms), so no id of that time is before it, and end
    with the partition, or with the first record of live posts that is younger than *to_ms*.  A repair writes old ids
    late: what it wrote behind that record is read only with *late*, and what was live there is left out.

    Raises:
        KafkaError, TimeoutError: the broker cannot be asked now.
        FatalError: a record is none of a ledger.
    """
    found = Runs()
    beyond = False
    partition = TopicPartition(topic, slot)
    reading = partitions.committed(cluster, partition, from_ms=max(from_ms, 0), trust_end_offsets=trust_end_offsets)
    async with contextlib.aclosing(reading) as records:
        async for record in records:
            live = all(name != SOURCE_HEADER for name, _ in record.headers)
            if record.key != key or (beyond and live):
                continue
            try:
                found.append(record.value or b"")
            except ValueError as exc:
                raise FatalError(
                    f"The record at offset {record.offset} of {topic}, partition {slot}, is none of a ledger: {exc};"
                    f" kafka-delete-records.sh up to offset {record.offset + 1} lets the task begin, and what was"
                    " delivered before may then be delivered again"
                ) from exc
            if to_ms is not None and live and record.timestamp > to_ms:
                if not late:
                    break
                beyond = True
    return found
