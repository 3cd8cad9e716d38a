"""Sinks over the internal topics of a group of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.delivery.writing import Slot
from connector.kafka.topics import declare, internal_topics
from connector.records.record import Destination, TaskId
from tests import topics
from tests.brokers import Broker

SLOT = 5
DAY_MS = 86_400_000
RETENTION_MS = 36_500 * DAY_MS
"""The tests' posts are of fixed dates: a broker deletes what is too old at once."""

MakeSink = Callable[..., TopicSink]


@pytest.fixture
async def make_sink(broker: Broker, fresh: str) -> AsyncIterator[MakeSink]:
    """Build sinks of one task, each as a worker of its own would."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    specs = internal_topics(fresh, replication=-1, ledger_retention_ms=RETENTION_MS, history_retention_ms=RETENTION_MS)
    await declare(admin, specs, lambda _: None)
    await topics.known(admin, *(spec.name for spec in specs))
    await admin.close()
    await topics.create(broker, fresh, partitions=3)
    await topics.create(broker, f"{fresh}-letters")
    sinks: list[TopicSink] = []

    def make(*, exactly_once: bool = True, connector: str = "posts", trust_end_offsets: bool = True) -> TopicSink:
        app = faust.App(fresh, broker=broker.url, loop=asyncio.get_running_loop(), topic_disable_leader=True)
        app.finalize()
        sink = TopicSink(
            app,
            KafkaCluster(servers=(broker.address,)),
            [Destination(connector=connector, topic=fresh, dead_letter_topic=f"{fresh}-letters")],
            Slot(offsets_topic=f"{fresh}-offsets", ledger_topic=f"{fresh}-ledger", number=SLOT),
            DeliverySettings(
                task=TaskId(connector, 0),
                transactional_id=f"{fresh}-{connector}-0" if exactly_once else None,
                idempotent=True,
                transaction_timeout_secs=60,
                trust_end_offsets=trust_end_offsets,
            ),
        )
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        await sink.close()
