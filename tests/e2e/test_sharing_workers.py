"""Several connectors on one stream of X: one connection, and each has its own posts in its topic, once."""

import time
from collections.abc import Callable

import pytest

from connector.coverage.offset import MARGIN_MS
from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def config_of(hashtags: str, topic: str, url: str) -> dict[str, str]:
    return {
        "connector.class": "PostStreamSourceConnector",
        "topic": topic,
        "hashtags": hashtags,
        "settle.secs": "2",
        "x.api.url": url,
        "x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}",
    }


def create(worker: Worker, name: str, hashtags: str, topic: str, url: str) -> None:
    status, body = worker.post("/connectors", {"name": name, "config": config_of(hashtags, topic, url)})
    assert 201 == status, body


def running(worker: Worker, name: str) -> bool:
    """Whether X holds the rules of the connector, and posts come."""
    status = worker.status(name)
    return [("RUNNING", None)] == [(task["state"], task.get("detail")) for task in status["tasks"]]


def rules(simulator: SimulatorThread) -> set[str]:
    return {(rule.tag or "").partition("/")[0] for rule in simulator.call(lambda: list(simulator.simulator.rules))}


def ids(broker: Broker, topic: str) -> list[str]:
    return sorted(record.key.decode() for record in topics.read(broker, topic))


def test_connectors_come_and_go(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Created, paused, resumed and deleted without a reconnect; over a kill; each topic has just its posts, once."""
    simulator = simulate()
    first, second = (workers.start(environment(broker, simulator.url, fresh)) for _ in range(2))
    first.wait_ready()
    second.wait_ready()
    create(first, "kafkas", "kafka", f"{fresh}-k", simulator.url)
    create(second, "both", "kafka,murmuration", f"{fresh}-b", simulator.url)
    for name in ("posts", "kafkas", "both"):
        wait_for(lambda name=name: running(first, name) and running(second, name), f"{name} runs")
    birds = [simulator.emit_post(f"a starling {number} #murmuration") for number in range(20)]
    kafkas = [simulator.emit_post(f"a topic {number} #kafka") for number in range(20)]
    every = [simulator.emit_post(f"{number} #kafka #murmuration") for number in range(5)]
    wait_for(lambda: second.delivered("both") >= 45, "all posts for both")

    # a connector covers nothing of its first second; X's clock is known to half a second
    time.sleep(MARGIN_MS / 1000 + 1)
    assert 202 == first.put("/connectors/kafkas/pause")[0]
    wait_for(lambda: [task["state"] for task in second.status("kafkas")["tasks"]] == ["PAUSED"], "kafkas is paused")
    missed = [simulator.emit_post(f"while it is paused {number} #kafka") for number in range(5)]
    wait_for(lambda: second.delivered("both") >= 50, "the others read on")
    assert len(kafkas) + len(every) == second.delivered("kafkas")
    assert 202 == second.put("/connectors/kafkas/resume")[0]
    wait_for(lambda: running(first, "kafkas"), "kafkas runs again")
    wait_for(lambda: second.delivered("kafkas") >= 30, "what it missed is repaired")
    connected = len(first.events("stream.connected")) + len(second.events("stream.connected"))

    owner = first if first.events("task.started") else second
    other = second if owner is first else first
    owner.kill()
    more = [simulator.emit_post(f"a starling after the kill {number} #murmuration") for number in range(10)]
    wait_for(lambda: other.delivered("both") >= 60 and other.delivered() >= 35, "the heir delivers")
    status, body = other.delete("/connectors/both")
    assert 204 == status, body
    wait_for(lambda: rules(simulator) == {"posts", "kafkas"}, "the rules of the deleted connector are gone")
    assert 0 == other.stop()

    assert 1 == connected
    assert sorted(birds + every + more) == ids(broker, fresh)
    assert sorted(kafkas + every + missed) == ids(broker, f"{fresh}-k")
    assert sorted(birds + kafkas + every + missed + more) == ids(broker, f"{fresh}-b")


def test_connector_that_changes_its_stream(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """From one app's stream to another's and back, then deleted and created again: its offsets come along."""
    here, there = simulate(), simulate()
    first, second = (workers.start(environment(broker, here.url, fresh)) for _ in range(2))
    first.wait_ready()
    second.wait_ready()
    topic, expected = f"{fresh}-k", []

    def read(simulator: SimulatorThread, worker: Worker, posts: int = 10) -> None:
        """Let X have some posts; return once all are delivered that are expected by now."""
        wait_for(lambda: running(first, "kafkas") and running(second, "kafkas"), "kafkas runs")
        wait_for(lambda: "kafkas" in rules(simulator), "X has its rules")
        expected.extend(simulator.emit_post(f"a topic {number} #kafka") for number in range(posts))
        wait_for(lambda: sorted(expected) == ids(broker, topic), f"{len(expected)} posts")

    create(first, "kafkas", "kafka", topic, here.url)
    read(here, first)
    assert 200 == second.put("/connectors/kafkas/config", config_of("kafka", topic, there.url))[0]
    read(there, second)
    missed = [here.emit_post(f"while it reads elsewhere {number} #kafka") for number in range(5)]
    assert 200 == first.put("/connectors/kafkas/config", config_of("kafka", topic, here.url))[0]
    expected += missed
    read(here, first)
    assert 204 == first.delete("/connectors/kafkas")[0]
    create(second, "owls", "owl", f"{fresh}-o", there.url)
    wait_for(lambda: running(first, "owls"), "another stream is read")
    create(second, "kafkas", "kafka", topic, there.url)
    read(there, second)

    assert [0, 0] == [worker.stop() for worker in (first, second)]
    assert "Traceback" not in first.log + second.log
