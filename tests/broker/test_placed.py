"""Commands that read Kafka themselves find a connector in whichever slot it is, and what it left in earlier ones."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from connector.cli import coverage as command
from connector.cli.coverage import Group
from connector.cli.placed import slots_of
from connector.cluster import configs as records
from connector.cluster.configs import Connector, Former, Placement, TargetState
from connector.config.load import load
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.offsets import encode_key
from connector.records.record import TaskId
from tests import topics
from tests.brokers import Broker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

PLACEMENT = Placement((5,), "posts", earlier=(Former(2, TaskId("posts", 0)),))
OFFSET = b'{"covered_from":"2026-11-01T12:00:00.000Z","covered_to":"2026-11-01T12:30:00.000Z","gaps":[],"posts":1}'
GAP_FROM = "2026-11-01T12:10:00.000Z"
GAP_OFFSET = (
    b'{"covered_from":"2026-11-01T12:00:00.000Z","covered_to":"2026-11-01T12:30:00.000Z","posts":240,'
    b'"gaps":[{"from":"2026-11-01T12:10:00.000Z","to":"2026-11-01T12:20:00.000Z","reason":"budget","state":"lost"}]}'
)


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
    (seen,) = await Group(loaded.worker, loaded.connector).read()
    shown = seen.coverage

    assert ((0,), (5, 2)) == (before, after)
    assert ("posts", "2026-11-01T12:30:00.000Z") == (shown["name"], shown["covered_to"])


async def coverage(loaded, capsys, **values):
    given = {"connector": None, "retry": None, "accept": None, "yes": True, "json_": False, **values}
    code = await asyncio.to_thread(command.run, given, loaded)
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_connectors_of_the_group(broker: Broker, fresh: str, tmp_path, capsys) -> None:
    """`coverage` shows, retries and accepts gaps of connectors that no environment declares; the cost comes first."""
    loaded = load({"CONNECTOR_BROKER_URL": broker.url, "CONNECTOR_GROUP_ID": fresh}, tmp_path)
    names = loaded.worker.names
    for topic, partitions in ((names.offsets, 8), (names.configs, 1), (names.statuses, 1)):
        await topics.create(broker, topic, partitions=partitions, cleanup_policy="compact")
    nobody = await coverage(loaded, capsys)
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        for name, slot, target in (("birds", 3, TargetState.RUNNING), ("owls", 4, TargetState.PAUSED)):
            config = {"expansions": "author_id", "settle.secs": "3"}
            placed = Placement((slot,), name)
            stored = Connector(name=name, config=config, placement=placed, tasks=1, target=target)
            for key, value in records.created(stored):
                await producer.send_and_wait(names.configs, value, key.encode())
            key = encode_key(name, {"stream": "filtered"})
            await producer.send_and_wait(names.offsets, GAP_OFFSET, key, partition=slot)

    code, out, _ = await coverage(loaded, capsys, json_=True)
    one = await coverage(loaded, capsys, json_=True, connector="owls")
    unknown = await coverage(loaded, capsys, connector="emus")
    which = await coverage(loaded, capsys, retry="all")
    unconfirmed = await coverage(loaded, capsys, retry="all", connector="birds", yes=False)
    untouched = await requests_in(broker, names.configs)
    retried = await coverage(loaded, capsys, retry="all", connector="birds")
    accepted = await coverage(loaded, capsys, accept=GAP_FROM, connector="owls")
    asked = await requests_in(broker, names.configs)

    assert (2, True) == (nobody[0], "has no connector: set CONNECTOR_GROUP_ID" in nobody[2])
    assert (0, ["birds", "owls"]) == (code, [each["name"] for each in json.loads(out)["connectors"]])
    assert ["owls"] == [each["name"] for each in json.loads(one[1])["connectors"]]
    assert (2, f"The group {fresh} has no connector emus: it has birds, owls.\n") == (unknown[0], unknown[2])
    assert (2, True) == (which[0], "--connector is required" in which[2])
    assert (2, {}) == (unconfirmed[0], untouched)
    cost = "may bring 120 posts and cost $1.80"  # 10 minutes of one post each 5 s, each with its author
    assert (0, True) == (retried[0], cost in retried[2])
    assert "does it within seconds" in retried[1]
    assert (0, True) == (accepted[0], "owls is PAUSED, so a worker does it once it is resumed" in accepted[1])
    assert {("birds", "retry"), ("owls", "accept")} == set(asked.values())


async def requests_in(broker: Broker, topic: str):
    written = await asyncio.to_thread(topics.read, broker, topic)
    wanted = [json.loads(each.value) for each in written if each.key.startswith(b"gap-")]
    return {each["connector"]: (each["connector"], each["action"]) for each in wanted}
