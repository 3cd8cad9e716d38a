"""
Says where partitions end now, for a reader of committed records.

The connection is one of its own: on that of a reader Kafka answers a fetch first, which it may hold for seconds.
"""

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer


class Ends:
    """Asks the brokers of *cluster*; connects at the first question."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def of(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """
        Return the offset behind the last committed record of each of *partitions*; the caller limits the time.

        Raises:
            KafkaError, OSError: the brokers cannot be asked now.
        """
        async with self._lock:
            consumer = self._consumer or await self._connected()
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends

    async def _connected(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._cluster.options(), isolation_level="read_committed", enable_auto_commit=False
        )
        try:
            await consumer.start()
        except BaseException:
            await stop_consumer(consumer)
            raise
        self._consumer = consumer
        return consumer

    async def close(self) -> None:
        """Close the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)
