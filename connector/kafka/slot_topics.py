"""
How many slots a group has: the partitions of its topics of tasks, offsets and ids, which grow when a task finds none.

A slot is the partition with its number in each of the three topics, and a task keeps its slot; so partitions can be
added at any time, by a worker or by hand, and nothing moves.  The topic of tasks grows last: a slot that is dealt has
its partitions in the others.
"""

import asyncio
from collections.abc import Callable

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidPartitionsError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from connector.config.names import Names
from connector.errors import BrokerUnsuitable
from connector.kafka.brokers import KafkaCluster
from connector.kafka.topics import TASK_SLOTS
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import SlotsAdded

MAX_SLOTS = 1024
"""The most slots to which a worker lets the topics grow: each is a partition in three topics."""

GROW_SECS = 15.0
POLL_SECS = 0.2
REQUEST_TIMEOUT_MS = 10_000


class SlotTopics:
    """The topics of *names* that have a partition for each slot; *grown* is called with their new number."""

    def __init__(
        self, cluster: KafkaCluster, names: Names, emit: Callable[[Event], None], *, grown: Callable[[int], None]
    ) -> None:
        self.count = TASK_SLOTS
        """How many slots there are, as far as this worker knows."""
        self._cluster, self._names, self._emit, self._grown = cluster, names, emit, grown
        self._lock = asyncio.Lock()

    async def grow(self, wanted: int) -> None:
        """
        See to it that there are at least *wanted* slots.

        Raises:
            BrokerUnsuitable: there may not be so many, or Kafka does not let this worker add partitions.
            KafkaError, OSError, TimeoutError: Kafka does not answer.
        """
        async with asyncio.timeout(GROW_SECS), self._lock:
            admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
            try:
                await admin.start()
                await self._grow(admin, wanted)
            finally:
                await admin.close()

    async def _grow(self, admin: AIOKafkaAdminClient, wanted: int) -> None:
        found = await self._partitions(admin)
        if min(found.values()) < wanted:
            target = -(-wanted // TASK_SLOTS) * TASK_SLOTS
            if target > MAX_SLOTS:
                raise BrokerUnsuitable(
                    f"All {min(found.values())} slots of the group are in use, and a worker makes no more than"
                    f" {MAX_SLOTS}: delete connectors, or run some in a group of their own (CONNECTOR_GROUP_ID)."
                )
            for topic in self._topics:
                if found[topic] < target:
                    await self._add(admin, topic, target)
            found = await self._until(admin, target)
            self._emit(SlotsAdded(slots=min(found.values())))
        self.count = min(found.values())
        self._grown(self.count)

    @property
    def _topics(self) -> tuple[str, str, str]:
        return self._names.offsets, self._names.ledger, self._names.tasks

    async def _add(self, admin: AIOKafkaAdminClient, topic: str, target: int) -> None:
        try:
            await admin.create_partitions({topic: NewPartitions(target)})
        except InvalidPartitionsError:  # another worker was faster
            return
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError) as exc:
            raise BrokerUnsuitable(
                f"All {self.count} slots of the group are in use, and this worker may not add partitions to the topic"
                f" {topic}: allow ALTER on it, or for each of {', '.join(self._topics)} run kafka-topics.sh --alter"
                f" --topic {topic} --partitions {target}"
            ) from exc
        except KafkaError as exc:
            if getattr(exc, "retriable", False):
                raise
            raise BrokerUnsuitable(f"Kafka does not add partitions to the topic {topic}: {exc}") from exc

    async def _until(self, admin: AIOKafkaAdminClient, target: int) -> dict[str, int]:
        while True:
            found = await self._partitions(admin)
            if min(found.values()) >= target:
                return found
            await asyncio.sleep(POLL_SECS)  # the broker confirms partitions before it knows them

    async def _partitions(self, admin: AIOKafkaAdminClient) -> dict[str, int]:
        answer = await admin.describe_topics(list(self._topics))
        return {entry["topic"]: len(entry["partitions"]) for entry in answer}
