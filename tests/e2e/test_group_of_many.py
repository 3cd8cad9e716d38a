"""Many connectors in one group: how they spread over workers, and what becomes of them when workers come and go."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker, free_port
from tests.workers import TOKEN, Worker, Workers, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONNECTORS = 20
SESSION_SECS = 8
MOVE_SECS = 2.0
SLACK_SECS = 10.0
"""What a busy machine may take on top."""

INTERRUPTIONS = 2
"""How often a rolling restart may interrupt a task: it has to leave a worker, and may be dealt once more."""


def waiting(broker: Broker, group: str, port: int | None = None) -> dict[str, str]:
    """Return what a worker needs that declares nothing."""
    return {
        "CONNECTOR_BROKER_URL": broker.url,
        "CONNECTOR_GROUP_ID": group,
        "CONNECTOR_BROKER_SESSION_TIMEOUT": str(SESSION_SECS),
        "CONNECTOR_LOG_FORMAT": "json",
        "CONNECTOR_GOOD_TOKEN": TOKEN,
        "CONNECTOR_WEB_PORT": str(port or free_port()),
    }


def create(worker: Worker, name: str, simulator: SimulatorThread, **more: str) -> None:
    """Create a connector that reads all that *simulator* has, into the topic with its name."""
    config = {
        "connector.class": "PostStreamSource",
        "topic": name,
        "hashtags": "murmuration",
        "x.bearer.token": "${env:CONNECTOR_GOOD_TOKEN}",
        "x.api.url": simulator.url,
        "settle.secs": "2",
        **more,
    }
    status, answer = worker.post("/connectors", {"name": name, "config": config})
    assert 201 == status, answer


def places(worker: Worker) -> dict[str, str] | None:
    """Return which worker runs each connector's task, as *worker* knows it; None while one of them does not run."""
    status, found = worker.get("/connectors?expand=status")
    tasks = {name: each["status"]["tasks"] for name, each in found.items()} if status == 200 else {}
    if not tasks or not all(task and task[0]["state"] == "RUNNING" for task in tasks.values()):
        return None
    return {name: task[0]["worker_id"] for name, task in tasks.items()}


def wait_spread(asked: Worker, group: Sequence[Worker], secs: float = 60.0) -> float:
    """Wait until all tasks run, evenly, on the workers of *group* and nowhere else; return how long that took (s)."""
    begun = time.monotonic()
    alive = {f"127.0.0.1:{worker.port}" for worker in group}

    def even() -> bool:
        found = places(asked)
        counts = Counter(found.values()) if found else Counter()
        return bool(found) and counts.keys() == alive and max(counts.values()) - min(counts.values()) <= 1

    wait_for(even, f"{len(group)} workers with the same number of tasks; now {places(asked)}", secs)
    return time.monotonic() - begun


def test_twenty_connectors_spread(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    Twenty connectors on 1, 2, 3 and 4 workers: the counts differ by at most one.

    A killed worker's tasks run elsewhere a session timeout later; those of one that leaves do at once.
    """
    group = [workers.start(waiting(broker, fresh)).wait_ready()]
    names = [f"{fresh}-{number}" for number in range(CONNECTORS)]
    for name in names:
        create(group[0], name, simulate(rate=1))
    took = {"1 worker": wait_spread(group[0], group)}
    for _ in range(3):
        group.append(workers.start(waiting(broker, fresh)).wait_ready())
        took[f"{len(group)} workers"] = wait_spread(group[0], group)

    group.pop().kill()
    took["killed"] = wait_spread(group[0], group)
    leaving = group.pop()
    leaving.terminate()
    took["left"] = wait_spread(group[0], group)
    print({what: round(secs, 1) for what, secs in took.items()})  # noqa: T201  # for who reads the output

    assert took["killed"] <= SESSION_SECS + MOVE_SECS + SLACK_SECS
    assert took["left"] <= MOVE_SECS + SLACK_SECS / 2  # no session has to end
    assert 0 == leaving.wait()
    assert [0, 0] == [worker.stop() for worker in group]


def test_rolling_restart(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Three workers are restarted one after the other under load: each post is in its topic, once."""
    ports = [free_port() for _ in range(3)]
    group = [workers.start(waiting(broker, fresh, port)).wait_ready() for port in ports]
    names = [f"{fresh}-{number}" for number in range(6)]
    simulators = [simulate(plan="enterprise", keepalive_s=1) for _ in names]
    for name, simulator in zip(names, simulators, strict=True):
        create(group[0], name, simulator, plan="enterprise")
    wait_spread(group[0], group)
    time.sleep(2)  # X's clock is known to the second: what is older than the connect counts as backfill
    for simulator in simulators:
        simulator.rate = 20
    wait_for(lambda: all(group[0].delivered(name) >= 20 for name in names), "posts of all connectors")
    before = {name: starts(workers.all, name) for name in names}
    for number, port in enumerate(ports):
        assert 0 == group[number].stop()
        group[number] = workers.start(waiting(broker, fresh, port)).wait_ready()
        wait_spread(group[number], group)
    interrupted = {name: starts(workers.all, name) - before[name] for name in names}
    for simulator in simulators:
        simulator.rate = 0
    time.sleep(1)  # what is on its way is written
    expected = {name: {each.post_id for each in s.emissions} for name, s in zip(names, simulators, strict=True)}
    wait_for(
        lambda: all(group[0].delivered(name) >= len(expected[name]) for name in names),
        f"all posts are delivered: {[(len(expected[name]), group[0].delivered(name)) for name in names]}",
    )
    print(f"interruptions: {sorted(interrupted.values())}")  # noqa: T201  # for who reads the output

    assert max(interrupted.values()) <= INTERRUPTIONS, interrupted
    assert [0, 0, 0] == [worker.stop() for worker in group]
    for name in names:
        found = topics.contents(broker, name)
        assert not found.doubled
        assert expected[name] == found.places.keys()


def starts(every: Sequence[Worker], name: str) -> int:
    """Return how often the task of the connector *name* has begun on any of the workers."""
    return len(list(itertools.chain(*(worker.events("stream.connected", connector=name) for worker in every))))
