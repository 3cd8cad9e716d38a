"""The history of a group in a real Kafka: what each worker shows, after restarts, and while Kafka is away."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from itertools import pairwise
from typing import Any

import pytest

from connector.simulator import SimulatorThread
from tests.brokers import Broker, KafkaBroker
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ANSWER_SECS = 2.0
AWAY_SECS = 12.0


def history(worker: Worker) -> dict[str, Any]:
    status, document = worker.get("/history?range=15m")
    assert status == 200, document
    return dict(document)


def told(worker: Worker) -> list[tuple[str, str, str]]:
    """Return the events that a worker shows, newest first."""
    return [(event["id"], event["kind"], event["text"]) for event in history(worker)["events"]]


def past(worker: Worker) -> object:
    """Return all that a worker shows of the past: events, counts, and sums of connectors and rules."""
    document = history(worker)
    shown = document["range"]
    return document["events"], shown["series"], shown["connectors"], shown["rules"]


def counted(worker: Worker) -> int:
    """Return the posts that the minutes count as delivered."""
    return int(history(worker)["range"]["connectors"]["posts"]["delivered"])


@contextmanager
def listening(worker: Worker, last: str | None = None) -> Iterator[HTTPResponse]:
    """Yield the open answer of /events, after what has the id *last*."""
    connection = HTTPConnection("127.0.0.1", worker.port, timeout=30)
    connection.request("GET", "/events?range=15m", headers={} if last is None else {"Last-Event-ID": last})
    answer = connection.getresponse()
    assert (200, "text/event-stream") == (answer.status, answer.headers["Content-Type"])
    yield answer
    connection.close()


def messages(answer: HTTPResponse) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield id, kind and document of each message."""
    fields: dict[str, str] = {}
    for raw in answer:
        line = raw.decode().rstrip("\n")
        if not line and "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}
        name, _, value = line.partition(": ")
        fields[name] = value


def test_all_workers_show_the_same_after_a_restart_of_all(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Two workers show the same events and counts, a third that is started after both have ended does, too."""
    simulator = simulate(rate=40)
    settings = environment(broker, simulator.url, fresh)
    first = workers.start(settings).wait_ready()
    second = workers.start(settings).wait_ready()
    wait_for(lambda: first.delivered() >= 80, "posts are delivered")
    assert 202 == second.put("/connectors/posts/pause")[0]
    wait_for(lambda: "connector.paused" in [kind for _, kind, _ in told(first)], "the other worker tells of the pause")
    assert 202 == first.put("/connectors/posts/resume")[0]
    owner = wait_for(lambda: next((each for each in (first, second) if each.tasks), None), "a worker runs the task")
    other = second if owner is first else first
    wait_for(lambda: told(first) == told(second) and "stream.connected" in str(told(first)), "both tell the same")
    assert 0 == owner.stop()
    delivered = wait_for(lambda: counted(other), "the minute of the worker that stopped is known")
    place = history(other)["id"]
    wait_for(lambda: "worker.stopped" in [kind for _, kind, _ in told(other)], "its goodbye is known")
    stopped = {each["state"] for each in history(other)["state"]["workers"].values()}
    goes_on = other.delivered() + 40
    wait_for(lambda: other.delivered() >= goes_on, "the other one goes on")
    simulator.rate = 0
    assert 0 == other.stop()
    third = workers.start(settings).wait_ready()
    wait_for(lambda: history(third)["state"]["history"]["complete"], "the past is read")
    fourth = workers.start(settings).wait_ready()
    wait_for(lambda: history(fourth)["state"]["history"]["complete"], "the past is read")
    wait_for(lambda: str(told(fourth)).count("worker.ready") == 4, "all four starts are known")
    wait_for(lambda: past(third) == past(fourth), "both show the same")

    kinds = [kind for _, kind, _ in told(third)]
    assert {"here", "stopped"} == stopped
    assert {"worker.ready", "stream.connected", "connector.paused", "connector.resumed"} <= set(kinds)
    assert [2, 2] == [kinds.count(kind) for kind in ("worker.stopping", "worker.stopped")]
    assert delivered < counted(third)
    assert history(third)["range"]["rules"]["posts/murmuration"]["posts"] > 0
    with listening(fourth, place) as answer:  # the id came from a worker that is no more
        _, kind, document = next(messages(answer))
    assert "delta" == kind
    assert "worker.stopping" in [event["kind"] for event in document["events"]]
    assert "connector.paused" not in [event["kind"] for event in document["events"]]


def test_kafka_is_away(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Without Kafka the worker answers at once and says so; what happened meanwhile is told when Kafka is back."""
    simulator = simulate(rate=20)
    worker = workers.start(environment(frail_broker, simulator.url, fresh)).wait_ready()
    wait_for(lambda: worker.delivered() >= 40, "posts are delivered")
    frail_broker.freeze()
    began, slowest = time.monotonic(), 0.0
    while time.monotonic() - began < AWAY_SECS:
        asked = time.monotonic()
        history(worker)
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.5)
    frail_broker.thaw()
    worker.wait_event("delivery.resumed")
    wait_for(lambda: {"delivery.delayed", "delivery.resumed"} <= {kind for _, kind, _ in told(worker)}, "it is told")

    assert slowest < ANSWER_SECS
    assert [] == worker.events("history.lost")
    assert [] == worker.events("task.failed")


def test_events_are_live(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """What changes is told within two seconds, at most once a second; the stream ends when the worker stops."""
    simulator = simulate(rate=20)
    worker = workers.start(environment(broker, simulator.url, fresh)).wait_ready()
    worker.wait_delivered(20)
    with listening(worker) as answer:
        told_of = messages(answer)
        _, kind, document = next(told_of)
        assert ("snapshot", "RUNNING") == (kind, document["state"]["connectors"]["posts"]["state"])
        simulator.fault("refuse_tcp", seconds=8)
        simulator.fault("rst")
        began, times = time.monotonic(), []
        for _, kind, document in told_of:  # noqa: B007  # its last one is looked at below
            times.append(time.monotonic() - began)
            if (document.get("patch", {}).get("verdict") or {}).get("level") == "warning":
                break
        assert "delta" == kind
        worker.terminate()
        list(told_of)  # it ends
    assert 0 == worker.wait()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[-1] < 2.5
    assert all(gap > 0.5 for gap in gaps)
