"""Commands that read Kafka themselves find a connector in whichever slot it is, and what it left in earlier ones."""

import pytest
from aiokafka import AIOKafkaProducer

from connector.cli.coverage import Group
from connector.cli.placed import slots_of
from connector.cluster import configs as records
from connector.cluster.configs import Connector, Former, Placement
from connector.config.load import load
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.offsets import encode_key
from connector.records.record import TaskId
from tests import topics
from tests.brokers import Broker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

PLACEMENT = Placement((5,), "posts", earlier=(Former(2, TaskId("posts", 0)),))
OFFSET = b'{"covered_from":"2026-11-01T12:00:00.000Z","covered_to":"2026-11-01T12:30:00.000Z","gaps":[],"posts":1}'


async def test_declared_connector_in_another_slot(broker: Broker, fresh: str, tmp_path) -> None:
    """Other connectors had the lower slots: `coverage` looks where the group says that it is."""
    environ = {"CONNECTOR_BROKER_URL": broker.url, "CONNECTOR_GROUP_ID": fresh, "CONNECTOR_TOPIC": fresh}
    loaded = load(environ | {"CONNECTOR_HASHTAGS": "a", "CONNECTOR_X_BEARER_TOKEN": "t"}, tmp_path)
    names, cluster = loaded.worker.names, KafkaCluster(servers=(broker.address,))
    for topic, partitions in ((names.offsets, 8), (names.configs, 1), (names.statuses, 1)):
        await topics.create(broker, topic, partitions=partitions, cleanup_policy="compact")
    before = await slots_of(cluster, names, "posts", tasks=1, present={names.configs}, trusted=True)
    written = records.created(Connector(name="posts", config={}, placement=PLACEMENT, tasks=1))
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        for key, value in written:
            await producer.send_and_wait(names.configs, value, key.encode())
        await producer.send_and_wait(names.offsets, OFFSET, encode_key("posts", {"stream": "filtered"}), partition=5)
    after = await slots_of(cluster, names, "posts", tasks=1, present={names.configs}, trusted=True)
    shown = await Group(loaded.worker, loaded.connector).read()

    assert ((0,), (5, 2)) == (before, after)
    assert ("posts", "2026-11-01T12:30:00.000Z") == (shown["name"], shown["covered_to"])
