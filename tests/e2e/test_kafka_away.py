"""Kafka is not there yet, goes away, comes back, or stays away: what does the worker do, and how does it stop?"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker, NamedBroker, free_port
from tests.workers import Worker, Workers, all_delivered, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

STOP_SECS = 6
AWAY_SECS = 12.0
"""Longer than a session, so that the broker expels the worker meanwhile."""

BEYOND_TIMEOUT_SECS = (31.0, 45.0)
"""Longer than aiokafka waits for an answer: what it asked may still be carried out when the broker wakes."""

FREEZES = int(os.environ.get("CONNECTOR_FREEZES", "1"))
LINES_A_SEC = 3
OFFSET_KEY = '["posts",{"stream":"filtered"}]'


def _chatter(worker: Worker, before: str) -> list[str]:
    """Return the lines that libraries logged since *before*; our own events have no logger of theirs."""
    return [line for line in worker.log[len(before) :].splitlines() if '"logger"' in line]


def test_away_at_start(
    tmp_path: Path,
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """Without Kafka the worker waits, alive and unready, says so every few seconds, and begins when it comes."""
    simulator = simulate()
    frail_broker.kill()
    worker = workers.start(environment(frail_broker, simulator.url, fresh))
    worker.wait_event("kafka.waiting", count=2)
    assert 200 == worker.get("/ping")[0]
    assert 503 == worker.get("/ready")[0]
    said, lines = len(worker.events("kafka.waiting")), len(worker.log.splitlines())
    frail_broker.start()
    worker.wait_ready()
    sent = simulator.emit(20)
    worker.wait_delivered(20)

    assert said <= 3
    assert lines < 20
    assert 0 == worker.stop()
    assert sorted(sent) == sorted(topics.ids(topics.read(frail_broker, fresh)))


def test_no_kafka_at_all(workers: Workers, fresh: str) -> None:
    """SIGTERM ends the wait for a Kafka that never comes, well within the stop timeout."""
    worker = workers.start(environment(NamedBroker(f"127.0.0.1:{free_port()}"), "http://127.0.0.1:9", fresh))
    worker.wait_event("kafka.waiting")
    worker.terminate()

    assert 0 == worker.wait(15)
    assert "Traceback" not in worker.log


@pytest.mark.parametrize("way", ["frozen", "restarted"])
def test_away_later(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, way: str
) -> None:
    """
    While Kafka is away the buffer fills, the reader waits, the worker is unready and quiet; nothing is lost.

    The connection to X outlives it.
    """
    simulator = simulate(rate=200, keepalive_s=0.5)  # with each of them the simulator looks what the kernel took
    worker = workers.start(environment(frail_broker, simulator.url, fresh), buffer_max_bytes=256 * 1024).wait_ready()
    worker.wait_delivered(200)
    before = worker.log
    began = time.monotonic()
    frail_broker.freeze() if way == "frozen" else frail_broker.kill()
    worker.wait_event("delivery.delayed")
    assert 503 == worker.get("/ready")[0]
    assert 200 == worker.get("/ping")[0]
    time.sleep(max(began + AWAY_SECS - time.monotonic(), 0))
    buffered = max(event["buffer_bytes"] for event in worker.events("delivery.delayed"))
    frail_broker.recover()
    worker.wait_event("delivery.resumed")
    worker.wait_ready()
    lines = len(_chatter(worker, before))
    away = time.monotonic() - began
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all posts are delivered")
    written = simulator.emissions.complete_ids()

    assert buffered <= 256 * 1024
    assert lines <= away * LINES_A_SEC
    assert 1 == len(worker.events("stream.connected"))
    assert 0 == worker.stop()
    found = topics.contents(frail_broker, fresh)
    assert not found.doubled
    assert set(written) == found.places.keys()
    assert found.records == topics.offsets(frail_broker, fresh)[OFFSET_KEY]["posts"]


@pytest.mark.timeout(240 + 100 * FREEZES)
@pytest.mark.parametrize("rate", [1000])
def test_frozen_beyond_the_request_timeout(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, rate: int
) -> None:
    """
    A request that was given up may take effect when the broker wakes; no post is lost for it, and none is doubled.

    CONNECTOR_FREEZES says how often, once without it.
    """
    simulator = simulate(rate=rate)
    worker = workers.start(environment(frail_broker, simulator.url, fresh)).wait_ready()
    worker.wait_delivered(rate)
    for _ in range(FREEZES):
        frail_broker.freeze()
        time.sleep(random.uniform(*BEYOND_TIMEOUT_SECS))
        frail_broker.thaw()
        wait_for(lambda: worker.ready, "the worker is ready", 120)
        worker.wait_delivered(worker.delivered() + rate)
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all posts are delivered", 120)

    assert 1 == len(worker.events("stream.connected"))
    assert 0 == worker.stop()
    found = topics.contents(frail_broker, fresh)
    assert not found.doubled
    assert set(simulator.emissions.complete_ids()) == found.places.keys()
    assert found.records == topics.offsets(frail_broker, fresh)[OFFSET_KEY]["posts"]


@pytest.mark.parametrize(("how", "way"), [("SIGTERM", "frozen"), ("Ctrl-C", "gone")])
def test_stop_without_kafka(
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    how: str,
    way: str,
) -> None:
    """What Kafka does not take cannot be drained: exit code 1 within the stop timeout, and a line says what is left."""
    simulator = simulate(rate=200)
    settings = environment(frail_broker, simulator.url, fresh, stop_timeout_secs=STOP_SECS)
    worker = workers.start(settings).wait_ready()
    worker.wait_delivered(100)
    frail_broker.freeze() if way == "frozen" else frail_broker.kill()
    worker.wait_event("delivery.delayed")
    worker.terminate() if how == "SIGTERM" else worker.interrupt()
    began = time.monotonic()
    exit_code = worker.wait()
    took = time.monotonic() - began
    (left,) = worker.events("worker.stop_timed_out")

    assert 1 == exit_code
    assert took < STOP_SECS + 3
    assert left["undelivered_posts"] > 0
    assert left["exit_code"] == 1


def test_second_interrupt(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    simulator = simulate(rate=100)
    worker = workers.start(environment(frail_broker, simulator.url, fresh, stop_timeout_secs=60)).wait_ready()
    worker.wait_delivered(100)
    frail_broker.freeze()
    worker.wait_event("delivery.delayed")
    worker.interrupt()
    worker.wait_event("worker.stopping")
    began = time.monotonic()
    worker.interrupt()

    assert 1 == worker.wait(20)
    assert time.monotonic() - began < 5
    assert worker.events("worker.stop_timed_out")


def test_stop_drains(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Ctrl-C delivers what was read, also what Kafka took only after it, and exits 0."""
    simulator = simulate(rate=200)
    worker = workers.start(environment(frail_broker, simulator.url, fresh, stop_timeout_secs=60)).wait_ready()
    worker.wait_delivered(100)
    frail_broker.freeze()
    worker.wait_event("delivery.delayed")
    held = worker.wait_event("delivery.delayed")["undelivered_posts"]
    worker.interrupt()
    worker.wait_event("worker.stopping")
    wait_for(lambda: not simulator.call(simulator.simulator.streams.live), "the stream is let go at once")
    frail_broker.thaw()

    assert 0 == worker.wait()
    found = topics.contents(frail_broker, fresh)
    written = simulator.emissions.complete_ids()
    assert held > 0
    assert not found.doubled
    assert set(written[: found.records]) == found.places.keys()  # all but the last ones, which nobody read
    assert len(written) - found.records < 200
    assert found.records == topics.offsets(frail_broker, fresh)[OFFSET_KEY]["posts"]


def test_owner_that_is_expelled_for_kafkas_silence_keeps_its_task(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    A broker that wakes expels the owner for its own silence and deals the task to a standby, which waits for the owner.

    The owner's heartbeat is held up for a second, so that it is the one to be expelled.
    """
    simulator = simulate(rate=100)
    settings = environment(frail_broker, simulator.url, fresh)
    owner = workers.start(settings).wait_ready()
    standby = workers.start(settings).wait_ready()
    owner.wait_delivered(100)
    assigned = len(standby.events("tasks.assigned"))

    frail_broker.freeze()
    time.sleep(AWAY_SECS)
    owner.freeze()
    frail_broker.thaw()
    standby.wait_event("tasks.assigned", count=assigned + 1)
    owner.thaw()
    owner.wait_ready()
    owner.wait_delivered(owner.delivered() + 200)
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, owner), "all that was written")

    assert [] == standby.events("task.started")
    assert 1 == len(owner.events("stream.connected"))
    assert [0, 0] == [standby.stop(), owner.stop()]
    assert sorted(simulator.emissions.complete_ids()) == sorted(topics.ids(topics.read(frail_broker, fresh)))
