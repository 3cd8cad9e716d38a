"""What X withdraws goes from the topic: by tombstones after their posts, whoever delivers these, and by compaction."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.registries import Registry
from tests.withdrawals import delete, emit, lying, withdrawn
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NAME = "erasure"
COMPACTED = {
    "cleanup_policy": "compact",
    "segment_ms": "500",
    "min_cleanable_dirty_ratio": "0.001",
    "max_compaction_lag_ms": "1000",
    "delete_retention_ms": "0",
}


def set_up(worker: Worker, topic: str, url: str, **more: str) -> None:
    """Create the connector that withdraws posts, and wait until it reads all eight partitions."""
    config = {
        "connector.class": "PostStreamSourceConnector",
        "stream": "compliance",
        "plan": "enterprise",
        "topic": topic,
        "settle.secs": "2",
        "x.api.url": url,
        "x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}",
        **more,
    }
    status, body = worker.post("/connectors", {"name": NAME, "config": config})
    assert 201 == status, body


def reads_all(simulator: SimulatorThread) -> bool:
    """Whether all partitions of both compliance streams are read."""
    live = simulator.call(lambda: [each.wanted.endpoint for each in simulator.simulator.streams.live()])
    return 8 == sum("compliance" in endpoint for endpoint in live)


def owner_of(group: Collection[Worker]) -> Worker:
    """Return the worker that withdraws posts."""
    (owner,) = (each for each in group if each.running and each.events("task.started", connector=NAME))
    return owner


def test_what_is_deleted_goes_also_over_a_takeover(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    Each deleted post gets one tombstone, behind itself; what X withdrew while nobody listened, too.

    The heir knows who wrote the posts that were delivered before the takeover.  It withdraws a late post, too, of whose
    deletion only its predecessor has heard.
    """
    simulator = simulate(plan="enterprise")
    settings = environment(broker, simulator.url, fresh, plan="enterprise")
    group = [workers.start(settings).wait_ready() for _ in range(2)]
    set_up(group[0], fresh, simulator.url)
    wait_for(lambda: reads_all(simulator), "all partitions are read")
    kept, gone = emit(simulator, 20, "bo"), emit(simulator, 5, "ada")
    users = emit(simulator, 10, "lena")
    wait_for(lambda: group[1].delivered() >= 35, "all posts are delivered")
    late = simulator.call(lambda: simulator.simulator.make_post())  # noqa: PLW0108  # in the simulator's thread
    delete(simulator, [*gone[:2], str(late.id)])
    wait_for(lambda: withdrawn(broker, fresh) == set(gone[:2]), "the deleted posts are withdrawn")

    owner = owner_of(group)
    owner.kill()
    wait_for(lambda: not reads_all(simulator), "nobody listens")
    delete(simulator, gone[2:])
    simulator.call(lambda: simulator.simulator.delete_user("lena", kind="user_suspend"))
    simulator.call(lambda: simulator.simulator.streams.emit(late))
    expected = {*gone, *users, str(late.id)}
    wait_for(lambda: withdrawn(broker, fresh) == expected, "the heir withdraws the others", 120.0)

    (told,) = owner.events("topic.keeps_posts")
    assert "cleanup.policy=delete" in told["reason"]
    (heir,) = (each for each in group if each is not owner)
    assert 0 == heir.stop()
    found = lying(broker, fresh)
    assert {key: [True, False] for key in expected} == {key: found[key] for key in expected}
    assert {key: [True] for key in kept} == {key: found[key] for key in kept}
    offsets = topics.offsets(broker, fresh)
    assert 8 == sum(NAME in key for key in offsets)


def test_a_deleted_post_leaves_a_compacted_topic(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Once Kafka has compacted the topic, a reader from its begin finds no trace of the post; the others are there."""
    asyncio.run(topics.create(broker, fresh, partitions=1, **COMPACTED))
    simulator = simulate(plan="enterprise")
    worker = workers.start(environment(broker, simulator.url, fresh, plan="enterprise")).wait_ready()
    set_up(worker, fresh, simulator.url)
    wait_for(lambda: reads_all(simulator), "all partitions are read")
    kept, gone = emit(simulator, 5, "bo"), emit(simulator, 3, "ada")
    worker.wait_delivered(8)
    delete(simulator, gone)

    def compacted() -> bool:
        kept.extend(emit(simulator, 1, "bo"))  # the segment that is written to is not compacted
        return not any(any(lying(broker, fresh).get(post, ())) for post in gone)

    wait_for(compacted, "Kafka compacts the topic", 120.0)
    assert [] == worker.events("topic.keeps_posts")
    worker.wait_delivered(len(kept) + len(gone))
    assert 0 == worker.stop()
    found = lying(broker, fresh)
    assert set(kept) <= found.keys()
    assert all(values == [True] for key, values in found.items() if key in kept)


def test_events_as_records(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """`compliance.action=event` writes X's lines, each once, also after a backfill; no topic of authors is made."""
    simulator = simulate(plan="enterprise")
    worker = workers.start(environment(broker, simulator.url, fresh, plan="enterprise")).wait_ready()
    events = f"{fresh}-events"
    set_up(worker, events, simulator.url, **{"compliance.action": "event"})
    wait_for(lambda: reads_all(simulator), "all partitions are read")
    post = simulator.emit_post("a starling #murmuration", author="ada")
    delete(simulator, [post])
    simulator.call(lambda: simulator.simulator.delete_user("lena"))
    user = simulator.call(lambda: simulator.simulator.user_id("lena"))

    def written() -> dict[str, Any]:
        return {record.key.decode(): record.value for record in topics.read(broker, events)}

    wait_for(lambda: len(written()) == 2, "both events")
    simulator.fault("rst")
    worker.wait_event("stream.connected", connector=NAME, count=16)
    delete(simulator, ["1"])
    wait_for(lambda: len(written()) == 3, "the third")

    assert 0 == worker.stop()
    assert {post, f"user-{user}", "1"} == written().keys()
    assert 3 == len(topics.read(broker, events))
    assert b'"delete"' in written()[post]


@pytest.mark.parametrize("value_format", ["avro", "protobuf"])
def test_a_user_goes_from_a_topic_with_a_schema(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    value_format: str,
) -> None:
    """The author is found in the value; also by the heir, which reads only what its predecessor has written down."""
    simulator = simulate(plan="enterprise")
    chosen = {"plan": "enterprise", "value_format": value_format, "schema_registry_url": registry.url}
    settings = environment(broker, simulator.url, fresh, **chosen)
    group = [workers.start(settings).wait_ready() for _ in range(2)]
    set_up(group[0], fresh, simulator.url)
    wait_for(lambda: reads_all(simulator), "all partitions are read")
    kept, gone = emit(simulator, 10, "bo"), emit(simulator, 5, "ada")
    later = emit(simulator, 5, "lena")
    wait_for(lambda: set(lying(broker, fresh)) == {*kept, *gone, *later}, "all posts are there")
    assert all(record.value[0] == 0 for record in topics.read(broker, fresh))
    simulator.call(lambda: simulator.simulator.delete_user("ada", kind="user_suspend"))
    wait_for(lambda: withdrawn(broker, fresh) == set(gone), "the posts of the user are withdrawn")

    owner = owner_of(group)
    owner.kill()
    wait_for(lambda: not reads_all(simulator), "nobody listens")
    simulator.call(lambda: simulator.simulator.delete_user("lena", kind="user_suspend"))
    wait_for(lambda: withdrawn(broker, fresh) == {*gone, *later}, "the heir withdraws the others", 120.0)
    (heir,) = (each for each in group if each is not owner)
    assert 0 == heir.stop()
    found = lying(broker, fresh)
    assert {key: [True] for key in kept} == {key: found[key] for key in kept}
    assert {key: [True, False] for key in (*gone, *later)} == {key: found[key] for key in (*gone, *later)}
    assert [] == owner.events("posts.author_missing") + heir.events("posts.author_missing")
