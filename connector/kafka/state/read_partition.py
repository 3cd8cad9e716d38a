"""One partition of a topic of ours, read up to where it ends now."""

import asyncio
from collections.abc import AsyncGenerator

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connector.kafka.brokers import KafkaCluster

QUIET_SECS = 0.5
"""So long without a record is the end, on brokers that do not tell the end offset truthfully."""

SILENCE_SECS = 30.0
"""So long without a record before the end is no answer."""

POLL_MS = 100
"""Short, as a fetch that brings nothing but the end of a transaction does not end the wait for records."""

RECORDS_AT_ONCE = 500
"""Records that are read before the event loop has its turn."""

FETCH_BYTES = 4 * 1024 * 1024


async def committed(
    cluster: KafkaCluster, partition: TopicPartition, *, from_ms: int | None = None, trust_end_offsets: bool
) -> AsyncGenerator[ConsumerRecord[bytes, bytes], None]:
    """
    Yield the committed records of *partition*, to its end as of now; use it with `contextlib.aclosing`.

    They begin with the first one whose timestamp is at least *from_ms* (UNIX ms), or with the first of all.  Where
    offsets are not to be trusted the whole partition is read, and the end is where nothing more comes.

    Raises:
        KafkaError, TimeoutError: the broker cannot be asked now.
    """
    consumer = AIOKafkaConsumer(
        **cluster.options(),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    loop = asyncio.get_running_loop()
    try:
        await consumer.start()
        consumer.assign([partition])
        end = await _span(consumer, partition, from_ms) if trust_end_offsets else None
        begun = from_ms is None
        heard = loop.time()
        while end is None or await consumer.position(partition) < end:
            await asyncio.sleep(0)  # what has been fetched comes at once
            polled = await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=RECORDS_AT_ONCE)
            for record in polled.get(partition, []):
                begun = begun or record.timestamp >= (from_ms or 0)
                if begun:
                    yield record
            if polled:
                heard = loop.time()
            elif end is None and loop.time() - heard >= QUIET_SECS:
                return
            elif loop.time() - heard >= SILENCE_SECS:
                raise TimeoutError(f"Partition {partition.partition} of {partition.topic} does not come to its end")
    finally:
        await consumer.stop()


async def _span(consumer: AIOKafkaConsumer, partition: TopicPartition, from_ms: int | None) -> int:
    """
    Go to the first record of *from_ms* or younger, and return where the partition ends now.

    Or go to an earlier one: to the broker the end of a transaction is a record, too, of the time by the broker's clock.
    """
    end: int = (await consumer.end_offsets([partition]))[partition]
    if from_ms is not None:
        first = (await consumer.offsets_for_times({partition: from_ms}))[partition]
        consumer.seek(partition, end if first is None else first.offset)
    return end
