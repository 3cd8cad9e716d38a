"""Reads the committed records of a topic over all its partitions: from a time or its last ones, and on, if wanted."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer
from connector.kafka.state.read_partition import FETCH_BYTES, POLL_MS, QUIET_SECS, RECORDS_AT_ONCE, SILENCE_SECS

Records = Sequence[ConsumerRecord[bytes, bytes]]


class TopicReader:
    """
    Reads *topic*, which has the partitions *numbers*; used with `async with`, and joins no group.

    Without *trust_end_offsets*, which some brokers report wrong, it always begins at the first record, and the end is
    where no record comes for `QUIET_SECS`, or one that is younger than the reading.

    Raises:
        KafkaError, OSError, TimeoutError: in all methods, the broker cannot be asked now.
    """

    def __init__(
        self, cluster: KafkaCluster, topic: str, numbers: Sequence[int], *, trust_end_offsets: bool = True
    ) -> None:
        self._partitions = [TopicPartition(topic, number) for number in numbers]
        self._trust_end_offsets = trust_end_offsets
        self._from_ms = 0
        self._consumer = AIOKafkaConsumer(
            **cluster.options(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=FETCH_BYTES,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:
            await stop_consumer(self._consumer)
            raise
        self._consumer.assign(self._partitions)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await stop_consumer(self._consumer)

    async def begin_at(self, from_ms: int) -> None:
        """Begin at the first records whose timestamp is at least *from_ms* (UNIX ms); 0 is the first of all."""
        self._from_ms = from_ms
        if not (from_ms and self._trust_end_offsets):
            await self._consumer.seek_to_beginning(*self._partitions)
            return
        ends = await self._consumer.end_offsets(self._partitions)
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, from_ms))
        for partition in self._partitions:
            first = found[partition]
            self._consumer.seek(partition, ends[partition] if first is None else first.offset)

    async def begin_before_end(self, offsets: int) -> bool:
        """
        Begin this many *offsets* before the end of each partition; return whether earlier records were left out.

        Ends of transactions have offsets, too, so fewer records may follow.
        """
        self._from_ms = 0
        if not self._trust_end_offsets and offsets:
            await self._consumer.seek_to_beginning(*self._partitions)
            return False
        ends = await self._consumer.end_offsets(self._partitions)
        begins = await self._consumer.beginning_offsets(self._partitions)
        places = {partition: max(ends[partition] - offsets, begins[partition]) for partition in self._partitions}
        for partition, place in places.items():
            self._consumer.seek(partition, place)
        return any(place != begins[partition] for partition, place in places.items())

    async def to_end(self) -> AsyncGenerator[Records]:
        """Yield records up to the present end; those that are read together in the order of their timestamps."""
        ends = await self._consumer.end_offsets(self._partitions) if self._trust_end_offsets else None
        loop, begun_ms = asyncio.get_running_loop(), time.time() * 1000
        heard, left = loop.time(), {partition.partition for partition in self._partitions}
        while left if ends is None else not await self._is_at(ends):
            records = await self._poll()
            if any(record.partition in left for record in records):
                heard = loop.time()
            if records:
                yield records
            # without end offsets a partition ends where a record is that was made after the reading began, too
            left -= {record.partition for record in records if record.timestamp >= begun_ms}
            if ends is None and loop.time() - heard >= QUIET_SECS:
                return
            if loop.time() - heard >= SILENCE_SECS:
                raise TimeoutError(f"{self._partitions[0].topic} does not come to its end")

    async def on(self) -> AsyncGenerator[Records]:
        """Yield records without end; none of them after `POLL_MS` in which none came."""
        while True:
            yield await self._poll()

    async def _is_at(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all([await self._consumer.position(partition) >= end for partition, end in ends.items()])

    async def _poll(self) -> Records:
        await asyncio.sleep(0)  # lets other tasks run: `getmany` does not wait for records that are fetched already
        polled = await self._consumer.getmany(*self._partitions, timeout_ms=POLL_MS, max_records=RECORDS_AT_ONCE)
        return sorted(
            (record for records in polled.values() for record in records if record.timestamp >= self._from_ms),
            key=lambda record: (record.timestamp, record.key or b""),
        )
