"""Checks that each post that the simulator wrote to the worker is in the topic exactly once."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer
from connector.kafka.internals import client_of

READ_SECS = 60.0
QUIET_SECS = 1.0
"""The embedded broker does not tell the end of a topic: reading ends when no record has come for this time."""

PATIENCE_SECS = 4.0
"""Replaces `QUIET_SECS` while expected posts are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """
    Numbers of posts in the simulator's log and in the topic.

    *cut_off* were written to a connection that was then reset, and are not in the topic; *missed* matched while no
    client was connected.  The worker never read either, so they do not count as *lost*.  *repaired* matched likewise,
    and are in the topic.
    """

    written: int
    found: int
    doubled: int
    lost: int
    cut_off: int
    missed: int
    foreign: int
    repaired: int = 0

    @property
    def holds(self) -> bool:
        return not (self.doubled or self.lost or self.foreign)

    def sentences(self) -> list[str]:
        """Return the numbers as sentences."""
        said = [f"{self.written} posts written by the simulator, {self.found} in the topic"]
        said[0] += f", {self.doubled} twice, {self.lost} lost."
        if self.cut_off:
            said.append(f"{self.cut_off} of those written went down with a connection that was reset, unread.")
        if self.missed:
            said.append(f"{self.missed} matched while nobody was connected: at the start, or during a fault.")
        if self.repaired:
            said.append(f"{self.repaired} matched while nobody was connected, and repairs have found them.")
        if self.foreign:
            said.append(f"{self.foreign} records in the topic are none of the simulator's.")
        return said


def compare(
    emissions: Iterable[Mapping[str, Any]], connections: Iterable[Mapping[str, Any]], keys: Counter[str]
) -> Proof:
    """Compare the simulator's logs with the *keys* in the topic."""
    unclean = {entry["id"] for entry in connections if entry["closed_at"] is not None and not entry["clean"]}
    log = list(emissions)
    unheard = {entry["post_id"] for entry in log if entry["outcome"] == "missed"}
    written = {entry["post_id"]: entry["connection"] for entry in log if entry["outcome"] == "written"}
    missing = written.keys() - keys.keys()
    cut_off = {post_id for post_id in missing if written[post_id] in unclean}
    return Proof(
        written=len(written),
        found=len(keys),
        doubled=sum(count > 1 for count in keys.values()),
        lost=len(missing - cut_off),
        cut_off=len(cut_off),
        missed=len(unheard - keys.keys()),
        repaired=len(unheard & keys.keys() - written.keys()),
        foreign=len(keys.keys() - {entry["post_id"] for entry in log}),
    )


async def keys_of(cluster: KafkaCluster, topic: str, expected: Collection[str]) -> Counter[str]:
    """
    Return the keys in *topic*, as a reader of committed records sees them, and how often each is there.

    Raises:
        KafkaError, TimeoutError: the topic cannot be read.
    """
    consumer = AIOKafkaConsumer(
        **cluster.options(), isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False
    )
    keys: Counter[str] = Counter()
    wanted = set(expected)
    async with asyncio.timeout(READ_SECS):
        try:
            await consumer.start()
            await client_of(consumer).force_metadata_update()  # a new client knows no topic yet
            consumer.assign([TopicPartition(topic, number) for number in await _partitions(consumer, topic)])
            heard = time.monotonic()
            while time.monotonic() - heard < (PATIENCE_SECS if wanted else QUIET_SECS):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found = [record.key.decode() for record in records]
                    keys.update(found)
                    wanted.difference_update(found)
                    heard = time.monotonic()
        finally:
            await stop_consumer(consumer)
    return keys


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    while topic not in await consumer.topics():  # noqa: ASYNC110  # Kafka has no event for a new topic
        await asyncio.sleep(0.1)
    return sorted(consumer.partitions_for_topic(topic))


async def forget(cluster: KafkaCluster, topics: Iterable[str]) -> bool:
    """Delete *topics*; return whether the broker allowed that.  The empty group needs no deletion: it expires."""
    admin = AIOKafkaAdminClient(**cluster.options())
    try:
        await admin.start()
        await admin.delete_topics([*{*topics} & {*await admin.list_topics()}])
    except (KafkaError, OSError):
        return False
    else:
        return True
    finally:
        await admin.close()
