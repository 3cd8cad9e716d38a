"""Topics are created as the connector needs them, and existing ones are looked at, never changed."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.errors import BrokerUnsuitable
from connector.kafka.gate.gate import probe
from connector.kafka.topics import TASK_SLOTS, TopicSpec, declare, internal_topics, settings_of
from connector.telemetry.events.kafka import TopicCreated
from tests import topics
from tests.broker.conftest import DAY_MS
from tests.brokers import Broker

pytestmark = pytest.mark.broker


@pytest.fixture
async def admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await client.start()
    yield client
    await client.close()


async def test_created(admin: AIOKafkaAdminClient, fresh: str) -> None:
    """Absent topics are created with their settings, said once, and are right when they are looked at again."""
    events = []
    specs = internal_topics(fresh, replication=-1, ledger_retention_ms=8 * DAY_MS, history_retention_ms=8 * DAY_MS)
    await declare(admin, specs, events.append)
    await topics.known(admin, *[spec.name for spec in specs])
    await declare(admin, specs, events.append)
    described = {topic["topic"]: topic for topic in await admin.describe_topics([spec.name for spec in specs])}

    assert [TopicCreated] * 6 == [type(event) for event in events]
    assert {
        f"{fresh}-{name}" for name in ("offsets", "statuses", "configs", "ledger", "history", "tasks")
    } == described.keys()
    assert TASK_SLOTS == len(described[f"{fresh}-offsets"]["partitions"])
    assert "compact" == (await settings_of(admin, f"{fresh}-offsets"))["cleanup.policy"]
    assert "delete" == (await settings_of(admin, f"{fresh}-tasks"))["cleanup.policy"]
    assert "compact" == (await settings_of(admin, f"{fresh}-configs"))["cleanup.policy"]
    ledger = await settings_of(admin, f"{fresh}-ledger")
    assert ("delete", "691200000", "-1", "86400000", "CreateTime") == tuple(
        ledger[setting]
        for setting in ("cleanup.policy", "retention.ms", "retention.bytes", "segment.ms", "message.timestamp.type")
    )
    assert TASK_SLOTS == len(described[f"{fresh}-ledger"]["partitions"])


async def test_wrong_ones_are_all_named(admin: AIOKafkaAdminClient, broker: Broker, fresh: str) -> None:
    """An existing topic with a wrong cleanup policy or too few partitions is an error with the cure in it."""
    await topics.create(broker, f"{fresh}-offsets", partitions=3, cleanup_policy="delete")
    await topics.create(broker, f"{fresh}-statuses", cleanup_policy="delete")
    await topics.create(
        broker, f"{fresh}-ledger", partitions=TASK_SLOTS, cleanup_policy="compact", retention_ms="604800000"
    )

    with pytest.raises(BrokerUnsuitable) as caught:
        await declare(
            admin,
            internal_topics(fresh, replication=-1, ledger_retention_ms=8 * DAY_MS, history_retention_ms=8 * DAY_MS),
            lambda _: None,
        )

    few, forgetful, small, other, compacted, short = str(caught.value).splitlines()
    assert few == (
        f"The topic {fresh}-offsets has 3 partitions and needs 64: delete it, or set CONNECTOR_GROUP_ID to a new group."
    )
    assert f"--alter --topic {fresh}-offsets --add-config cleanup.policy=compact" in forgetful
    assert f"--alter --topic {fresh}-offsets --add-config max.message.bytes=8388608" in small
    assert f"--alter --topic {fresh}-statuses --add-config cleanup.policy=compact" in other
    assert f"--alter --topic {fresh}-ledger --add-config cleanup.policy=delete" in compacted
    assert f"--alter --topic {fresh}-ledger --add-config retention.ms=691200000" in short
    assert "delete" == (await settings_of(admin, f"{fresh}-offsets"))["cleanup.policy"]


async def test_refused(admin: AIOKafkaAdminClient, fresh: str) -> None:
    """A topic that the broker refuses to create is an error that names what was asked."""
    spec = TopicSpec(name=fresh, partitions=1, replication=3, settings={})

    with pytest.raises(BrokerUnsuitable, match=rf"{fresh} with 1 partitions, replication factor 3"):
        await declare(admin, [spec], lambda _: None)


async def test_capabilities(admin: AIOKafkaAdminClient, fresh: str) -> None:
    """Apache Kafka has transactions and idempotence."""
    capabilities = await probe(admin, fresh)

    assert capabilities.transactions
    assert capabilities.idempotence
    capabilities.check("exactly_once")
