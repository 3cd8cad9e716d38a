"""Several workers in one group: who runs what, and what happens when one of them dies, sleeps or joins."""

import time
from collections import Counter
from collections.abc import Callable

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import Worker, Workers, environment, seconds_between, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SLACK_SECS = 10.0


def _three(settings: dict[str, str], workers: Workers) -> list[Worker]:
    group = [workers.start(settings).wait_ready()]  # the first one alone, so that it is the owner
    group += [workers.start(settings), workers.start(settings)]
    return [worker.wait_ready() for worker in group]


def test_standby_and_failover(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    One of three runs the task, the others are ready; SIGKILL moves it to one of those, which goes on from the offset.

    A worker that joins moves nothing.
    """
    simulator = simulate(rate=50)
    settings = environment(broker, simulator.url, fresh)
    group = _three(settings, workers)
    owner, *standbys = group
    assert [{0}, set(), set()] == [worker.tasks for worker in group]
    assert 1 == len(owner.events("stream.connected"))  # two have joined, and the connection is still the first
    standbys[0].wait_delivered(100)

    owner.kill()
    wait_for(lambda: any(worker.tasks for worker in standbys), "a new owner")
    heir = next(worker for worker in standbys if worker.tasks)
    resumed = heir.wait_event("task.resumed")
    heir.wait_delivered(resumed["posts"] + 100)
    joined = workers.start(settings).wait_ready()
    heir.wait_delivered(heir.delivered() + 50)
    simulator.rate = 0

    assert resumed["posts"] >= 100
    assert 1 == len(heir.events("stream.connected"))
    assert [] == joined.events("task.started")
    assert [0, 0, 0] == [worker.stop() for worker in (*standbys, joined)]
    found = topics.contents(broker, fresh)
    assert not found.doubled
    assert found.records == topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']["posts"]


def test_heir_ends_the_ghost_of_a_killed_owner(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    X keeps the slot of a killed owner for a minute; its heir ends that connection by the owner's record, and connects.

    The connection of somebody else that X lists beside it stays.
    """
    simulator = simulate(rate=50, ghost_slot_s=60, plan="enterprise")
    simulator.fault("ghost", seconds=60)  # somebody else's: one of the two slots of this plan
    settings = environment(broker, simulator.url, fresh)
    owner = workers.start(settings).wait_ready()
    heir = workers.start(settings).wait_ready()
    wait_for(lambda: owner.status()["tasks"][0]["state"] == "RUNNING", "the task")
    owner.wait_delivered(100)

    killed_at = time.time()
    owner.kill()
    connected = heir.wait_event("stream.connected")

    assert 1 == heir.wait_event("stream.ghost_released")["connections"]
    assert seconds_between(killed_at, connected) <= float(settings["CONNECTOR_BROKER_SESSION_TIMEOUT"]) + SLACK_SECS
    assert 0 == heir.stop()


def test_paused_owner_is_fenced(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """An owner that sleeps beyond its session loses the task, and neither writes nor takes it back when it wakes."""
    simulator = simulate(rate=50)
    settings = environment(broker, simulator.url, fresh)
    owner = workers.start(settings).wait_ready()
    standby = workers.start(settings).wait_ready()
    standby.wait_delivered(50)
    owner.freeze()
    try:
        standby.wait_delivered(standby.wait_event("task.resumed")["posts"] + 100)
    finally:
        owner.thaw()
    owner.wait_event("task.fenced")
    wait_for(lambda: owner.ready and not owner.tasks, "the old owner stands by")
    standby.wait_delivered(standby.delivered() + 200)
    simulator.rate = 0

    assert {0} == standby.tasks
    assert standby.events("stream.ghost_released")  # the sleeping worker's connection, which X still held
    assert 1 == len(standby.events("task.started"))
    assert [] == standby.events("task.restarting")  # the one that woke up did not fence its heir
    assert 1 == len(standby.events("stream.connected"))
    assert [0, 0] == [owner.stop(), standby.stop()]
    found = topics.contents(broker, fresh)
    assert not found.doubled
    assert found.records == topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']["posts"]


def test_leaving_owner_hands_over(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """SIGTERM moves the task without waiting for a session to end."""
    simulator = simulate(rate=50)
    settings = environment(broker, simulator.url, fresh, broker_session_timeout=30)
    owner = workers.start(settings).wait_ready()
    standby = workers.start(settings).wait_ready()
    standby.wait_delivered(50)
    stopping = owner.stop()
    asked = owner.wait_event("worker.stopping")
    connected = standby.wait_event("stream.connected")
    simulator.rate = 0

    assert 0 == stopping
    assert seconds_between(asked, connected) < SLACK_SECS
    assert 0 == standby.stop()
    assert not topics.contents(broker, fresh).doubled


def test_firehose_spreads(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Twenty tasks for the twenty partitions of the firehose spread evenly over three workers; each post once."""
    simulator = simulate(plan="enterprise", rate=50)
    settings = environment(broker, simulator.url, fresh, stream="firehose", tasks_max=20, plan="enterprise")
    del settings["CONNECTOR_HASHTAGS"]
    group = [workers.start(settings) for _ in range(3)]

    def spread() -> bool:
        return sorted(len(worker.tasks) for worker in group) == [6, 7, 7]

    wait_for(lambda: all(worker.ready for worker in group), "all workers ready")
    wait_for(spread, "tasks are spread 7, 7, 6")
    before = group[0].delivered()
    wait_for(lambda: group[0].delivered() >= before + 200, "posts of all partitions")
    simulator.rate = 0
    owned = Counter(number for worker in group for number in worker.tasks)

    assert set(range(20)) == owned.keys()
    assert {1} == set(owned.values())
    assert [0, 0, 0] == [worker.stop() for worker in group]
    offsets = topics.offsets(broker, fresh)
    found = topics.contents(broker, fresh)
    assert 20 == len(offsets)
    assert not found.doubled
    assert found.records == sum(offset["posts"] for offset in offsets.values())
