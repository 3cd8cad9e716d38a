"""Reads one partition of the connector's own topics, up to its present end."""

import asyncio
from collections.abc import AsyncGenerator

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer

QUIET_SECS = 0.5
"""On brokers that report wrong end offsets, the partition ends after this time without a record (seconds)."""

SILENCE_SECS = 30.0
"""Reading fails after this time without a record before the end (seconds)."""

POLL_MS = 100
"""Longest wait for records in one poll (ms); short, as a fetch of only a transaction's end does not end the wait."""

RECORDS_AT_ONCE = 500
"""Most records that are read before other tasks of the event loop run."""

FETCH_BYTES = 4 * 1024 * 1024


async def committed(
    cluster: KafkaCluster, partition: TopicPartition, *, from_ms: int | None = None, trust_end_offsets: bool
) -> AsyncGenerator[ConsumerRecord[bytes, bytes], None]:
    """
    Yield the committed records of *partition*, up to its present end; use it with `contextlib.aclosing`.

    The first one yielded is the first whose timestamp is at least *from_ms* (UNIX ms), or the first of all.  Without
    *trust_end_offsets* the whole partition is read, and it ends when no record comes for `QUIET_SECS`.

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
            await asyncio.sleep(0)  # lets other tasks run: `getmany` does not wait for records that are fetched already
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
        await stop_consumer(consumer)


async def _span(consumer: AIOKafkaConsumer, partition: TopicPartition, from_ms: int | None) -> int:
    """
    Seek to the first record whose timestamp is at least *from_ms*, and return the present end offset.

    The position may be earlier: for the broker, the end of a transaction is a record, too, with the broker's time.
    """
    end: int = (await consumer.end_offsets([partition]))[partition]
    if from_ms is not None:
        first = (await consumer.offsets_for_times({partition: from_ms}))[partition]
        consumer.seek(partition, end if first is None else first.offset)
    return end
