"""Without X's compliance stream: posts are asked for by their ids, and those that are gone get tombstones."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker, KafkaBroker
from tests.withdrawals import delete, emit, lying, withdrawn
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NAME = "recheck"
AWAY_SECS = 8.0


def config(topic: str, url: str, **more: str) -> dict[str, str]:
    return {
        "connector.class": "PostStreamSourceConnector",
        "stream": "recheck",
        "recheck.hours": "0",
        "topic": topic,
        "settle.secs": "2",
        "x.api.url": url,
        "x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}",
        **more,
    }


def offset(broker: Broker, group: str) -> dict[str, Any]:
    """Return the source offset of the connector."""
    found = topics.offsets(broker, group)
    return next((value for key, value in found.items() if json.loads(key) == [NAME, {"stream": "recheck"}]), {})


def begun(
    broker: Broker, worker: Worker, simulator: SimulatorThread, topic: str
) -> tuple[list[str], list[str], set[str]]:
    """
    Let thousands of posts be delivered, delete some and recheck them.

    Return all, which are to be withdrawn, and which of these are.
    """
    posts = emit(simulator, 4_000)
    wait_for(lambda: set(lying(broker, topic)) == set(posts), "all posts are there", 60.0)
    gone = posts[::9]
    delete(simulator, gone)
    status, body = worker.post("/connectors", {"name": NAME, "config": config(topic, simulator.url)})
    assert 201 == status, body
    return posts, gone, wait_for(lambda: withdrawn(broker, topic), "the first are withdrawn", 60.0)


def assert_withdrawn_once(broker: Broker, group: str, posts: Sequence[str], gone: Collection[str]) -> None:
    """Each of *gone* has one tombstone behind it, the others of *posts* have none, and there is no gap."""
    found = lying(broker, group)
    assert {key: [True, False] for key in gone} == {key: found[key] for key in gone}
    assert all([True] == found[key] for key in posts if key not in gone)
    assert [] == offset(broker, group)["gaps"]


def test_what_is_gone_goes_also_over_a_takeover(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Each post that X has no more gets one tombstone, whoever asks; the others stay, and no gap is opened."""
    simulator = simulate(plan="ppu")
    group = [workers.start(environment(broker, simulator.url, fresh)).wait_ready() for _ in range(2)]
    posts, gone, _ = begun(broker, group[0], simulator, fresh)
    (owner,) = (each for each in group if each.events("task.started", connector=NAME))
    owner.kill()
    assert withdrawn(broker, fresh) < set(gone)
    (heir,) = (each for each in group if each is not owner)
    wait_for(lambda: withdrawn(broker, fresh) == set(gone), "all are withdrawn", 120.0)

    assert 0 == heir.stop()
    assert_withdrawn_once(broker, fresh, posts, gone)
    assert [] == heir.events("gap.opened", connector=NAME) + owner.events("gap.opened", connector=NAME)


def test_kafka_goes_away_meanwhile(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """What X has answered and Kafka has not taken is asked again: nothing stays, and nothing goes twice."""
    simulator = simulate(plan="ppu")
    worker = workers.start(environment(frail_broker, simulator.url, fresh)).wait_ready()
    posts, gone, first = begun(frail_broker, worker, simulator, fresh)
    frail_broker.kill()
    assert first < set(gone)
    time.sleep(AWAY_SECS)
    frail_broker.start()
    wait_for(lambda: withdrawn(frail_broker, fresh) == set(gone), "all are withdrawn", 120.0)

    assert 0 == worker.stop()
    assert_withdrawn_once(frail_broker, fresh, posts, gone)


def test_a_budget_stops_it_until_there_is_more(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """It is PAUSED with the reason, and asks no more; with a larger budget it goes on where it was."""
    simulator = simulate(plan="ppu")
    worker = workers.start(environment(broker, simulator.url, fresh)).wait_ready()
    posts = emit(simulator, 450)
    wait_for(lambda: set(lying(broker, fresh)) == set(posts), "all posts are there")
    delete(simulator, posts[-5:])
    narrow = config(fresh, simulator.url, **{"budget.posts.per.day": "150"})
    status, body = worker.post("/connectors", {"name": NAME, "config": narrow})
    assert 201 == status, body
    wait_for(lambda: "PAUSED" in {task["state"] for task in worker.status(NAME)["tasks"]}, "PAUSED")
    (task,) = worker.status(NAME)["tasks"]
    assert "budget.posts.per.day is used up: 150 of 150" in task["detail"]
    assert set() == withdrawn(broker, fresh)
    wait_for(lambda: offset(broker, fresh).get("spent", {}).get("posts") == 150, "what was spent is in Kafka")

    wide = narrow | {"budget.posts.per.day": "1000"}
    assert 200 == worker.put(f"/connectors/{NAME}/config", wide)[0]
    wait_for(lambda: withdrawn(broker, fresh) == set(posts[-5:]), "the others are withdrawn", 60.0)
    assert 0 == worker.stop()
    assert 445 == offset(broker, fresh)["spent"]["posts"]
