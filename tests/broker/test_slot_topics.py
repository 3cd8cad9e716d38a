"""The group's topics grow when a task finds no slot."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.config.names import Names
from connector.errors import BrokerUnsuitable
from connector.kafka.brokers import KafkaCluster
from connector.kafka.slot_topics import MAX_SLOTS, SlotTopics
from connector.kafka.topics import TASK_SLOTS, declare, internal_topics
from connector.telemetry.events.kafka import SlotsAdded

pytestmark = pytest.mark.broker


async def test_slots_grow(broker, fresh):
    """All three topics get partitions, up to a multiple of 64; whoever asks second finds them there."""
    cluster, names, events, grown = KafkaCluster(servers=(broker.address,)), Names(fresh), [], []
    admin = AIOKafkaAdminClient(**cluster.options())
    await admin.start()
    try:
        await declare(
            admin,
            internal_topics(fresh, replication=1, ledger_retention_ms=3_600_000, history_retention_ms=3_600_000),
            lambda _: None,
        )
        slots, others = (SlotTopics(cluster, names, events.append, grown=grown.append) for _ in range(2))
        assert TASK_SLOTS == slots.count
        await asyncio.gather(slots.grow(70), others.grow(65))
        described = await admin.describe_topics([names.offsets, names.ledger, names.tasks, names.statuses])
    finally:
        await admin.close()

    assert {names.offsets: 128, names.ledger: 128, names.tasks: 128, names.statuses: 1} == {
        entry["topic"]: len(entry["partitions"]) for entry in described
    }
    assert (128, 128, {128}) == (slots.count, others.count, set(grown))
    assert {SlotsAdded(slots=128)} == set(events)
    with pytest.raises(BrokerUnsuitable, match=f"no more than {MAX_SLOTS}"):
        await slots.grow(MAX_SLOTS + 1)
