"""Gauges: what the tasks of a worker are, at the moment at which somebody asks."""

import time

import pytest

from connector.coverage import offset
from connector.coverage.offset import Coverage, Gap, GapState
from connector.coverage.spend import Budget, Spend, day_of
from connector.errors import ServiceUnavailable
from connector.records import clock
from connector.records.record import TaskId
from connector.task import ownership
from connector.task.status import State
from connector.telemetry.catalogue import CONNECTORS_MAX, OTHER
from connector.worker.gauges import gauges_of
from tests.unit.fakes import (
    KEY,
    MADE_MS,
    Gate,
    MemoryKafka,
    MemorySink,
    Running,
    ScriptedSource,
    post,
    skew_to,
    until,
)


class Host:
    """The tasks of a worker, and their states."""

    def __init__(self, *tasks, states=None):
        self.tasks = dict(enumerate(tasks))
        self.states = lambda: states or {}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(ownership, "PROOF_POLL_SECS", 0.002)
    monkeypatch.setattr(offset, "MARGIN_MS", 0)


def samples(name, host, *, ready=True):
    """The samples of the gauge *name*: values of labels to value."""
    families = {family.name: family for family in gauges_of(host, lambda: ready)}
    return {tuple(sample.labels.values()): sample.value for sample in families[name].samples}


def test_a_worker_without_tasks():
    """It has nothing to say of connectors, and says so without a sample, but how it is itself."""
    host = Host()

    assert {(): 1.0} == samples("connector_worker_ready", host)
    assert {(): 0.0} == samples("connector_worker_ready", host, ready=False)
    assert {(): 0.0} == samples("connector_delivery_waiting_seconds", host)
    assert {(): 0.0} == samples("connector_buffer_bytes", host)
    assert {} == samples("connector_covered_to_timestamp_seconds", host)
    assert {} == samples("connector_heard_timestamp_seconds", host)
    assert {("open",): 0.0, ("repairing",): 0.0, ("lost",): 0.0} == samples("connector_gap_seconds", host)


async def test_a_task_at_work():
    """Covered time is that of the offset in Kafka, and what was heard has the time of this machine."""
    kafka, gate = MemoryKafka(), Gate()
    running = Running([ScriptedSource([(post(1),), gate], skew_secs=skew_to(MADE_MS + 500))], MemorySink(kafka))
    async with running:
        await until(lambda: kafka.offsets and kafka.offset().get("covered_to"))
        host = Host(running.task)
        (covered,) = samples("connector_covered_to_timestamp_seconds", host).values()
        heard = samples("connector_heard_timestamp_seconds", host)
        gate.set()

        assert MADE_MS / 1000 <= covered <= MADE_MS / 1000 + 30
        assert ("posts",) in heard
        assert time.time() - 30 < heard["posts",] <= time.time()


async def test_money():
    """What the day and the month have cost outlives restarts; the part of a budget is that of all source partitions."""
    kafka, gate = MemoryKafka(), Gate()
    day = day_of(MADE_MS)
    spent = Spend(day=day, posts=40, month=day[:7], mills=200)
    kafka.offsets.append((KEY, Coverage(covered_from_ms=MADE_MS, covered_to_ms=MADE_MS, spent=spent).encode()))
    others = Spend(day=day, posts=10, month=day[:7], mills=50)
    running = Running(
        [ScriptedSource([gate], skew_secs=skew_to(MADE_MS))],
        MemorySink(kafka),
        budget=Budget(posts_per_day=100, mills_per_month=1_000),
        others=lambda: (others,),
    )
    async with running:
        await until(lambda: running.task.readers and running.task.readers[0].connected)
        host = Host(running.task)
        await until(lambda: {("posts",): 40.0} == samples("connector_billed_today_posts", host))
        assert {("posts",): 0.2} == samples("connector_spent_this_month_usd", host)
        assert {("posts", "day"): 0.5, ("posts", "month"): 0.25} == samples("connector_budget_used_ratio", host)
        gate.set()


def test_states():
    """Each task has one state, and a zero for each of the others."""
    states = {TaskId("birds", 0): State.RUNNING, TaskId("birds", 1): State.FAILED}
    found = samples("connector_task_state", Host(states=states))

    assert 2 * len(State) == len(found)
    assert {("birds", "0", "RUNNING"), ("birds", "1", "FAILED")} == {key for key, value in found.items() if value}


def test_connectors_have_a_bound():
    """Beyond it they are one, with the number of their tasks in each state."""
    states = {TaskId(f"connector-{number:04}", 0): State.RUNNING for number in range(CONNECTORS_MAX + 5)}
    found = samples("connector_task_state", Host(states=states))

    assert (CONNECTORS_MAX + 1) * len(State) == len(found)
    assert 5.0 == found[OTHER, OTHER, "RUNNING"]
    assert 1.0 == found["connector-0000", "0", "RUNNING"]


def missing(task):
    """`connector_gap_seconds` by state."""
    return {state: seconds for (state,), seconds in samples("connector_gap_seconds", Host(task)).items()}


async def test_seconds_that_are_missing(monkeypatch):
    """Gaps by what becomes of them; `open` counts an outage that goes on, from the last gap, and nothing twice."""
    gaps = (
        Gap(from_ms=MADE_MS, to_ms=MADE_MS + 1_000, reason="budget", state=GapState.LOST),
        Gap(from_ms=MADE_MS + 2_000, to_ms=MADE_MS + 4_000, reason="silent", state=GapState.REPAIRING),
        Gap(from_ms=MADE_MS + 10_000, to_ms=MADE_MS + 14_000, reason="connection_lost"),
    )
    kafka, gate, now = MemoryKafka(), Gate(), clock.now
    before = Coverage(covered_from_ms=MADE_MS, covered_to_ms=MADE_MS + 10_000, gaps=gaps)
    kafka.offsets.append((KEY, before.encode()))
    source = ScriptedSource([gate, ServiceUnavailable("X answered 503")], skew_secs=skew_to(MADE_MS + 12_500))
    async with Running([source], MemorySink(kafka)) as running:
        task = running.task
        await until(lambda: kafka.commits)
        monkeypatch.setattr(clock, "now", lambda: now() + 1.6)
        assert MADE_MS + 14_000 < task.progresses[0].now_ms  # behind the end of the last gap
        assert {"open": 4.0, "repairing": 2.0, "lost": 1.0} == missing(task)
        gate.set()
        await until(lambda: 4.0 < missing(task)["open"])

        assert missing(task)["open"] < 6.0
        assert {"repairing": 2.0, "lost": 1.0}.items() <= missing(task).items()
