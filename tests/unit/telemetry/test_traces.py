"""Traces: a span for each connection, repair and transaction, linked, out of what the parts of a worker tell."""

import re
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from connector.errors import ConnectionLost
from connector.records.record import TaskId
from connector.task import ownership, task
from connector.telemetry import traces
from connector.telemetry.events.coverage import GapAccepted, GapLost, GapRepaired
from connector.telemetry.events.task import (
    BatchConfirmed,
    BatchNotConfirmed,
    RepairDelayed,
    RepairStarted,
    StreamClosed,
    StreamConnected,
    StreamDisconnected,
    TaskStopped,
)
from connector.telemetry.traces import Export, Traces
from tests.unit.fakes import DOUBTFUL, Gate, MemoryKafka, MemorySink, Running, ScriptedSource, post, until

TASK, OTHER = TaskId("posts", 0), TaskId("others", 0)
GAP = {"of": TASK, "gap_from": "2026-11-01T12:00:00.000Z", "gap_to": "2026-11-01T12:01:00.000Z", "partition": None}
WHY = {**GAP, "seconds": 60.0, "reason": "connection_lost"}


class Told:
    """What traces make of events."""

    def __init__(self):
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.traces = Traces(provider.get_tracer("test"))

    def __call__(self, *events):
        for event in events:
            self.traces(event)
        return self.spans()

    def spans(self, name=None):
        return [span for span in self._kept.get_finished_spans() if name in {None, span.name}]


@pytest.fixture
def told():
    return Told()


def connected(of=TASK, partition=None):
    return StreamConnected(of=of, stream="filtered", partition=partition, clock_skew_secs=0.1)


def disconnected(of=TASK, partition=None):
    return StreamDisconnected(
        of=of, error="ConnectionLost", reason="reset", title=None, detail=None, partition=partition
    )


def confirmed(**given):
    fields = {"posts": 5, "dead_letters": 0, "connectors": 1, "partitions": ("",), "repaired": (), "took_secs": 0.5}
    return BatchConfirmed(of=TASK, **fields | given)


def ids(spans):
    return [span.context.span_id for span in spans]


def linked(span):
    return [link.context.span_id for link in span.links]


def test_a_connection(told):
    """From its begin to its end, with how it ended."""
    assert [] == told(connected())
    (span,) = told(disconnected())

    assert "connection" == span.name
    assert ("posts", 0, "filtered", 0.1) == tuple(
        span.attributes[f"murmuration.{name}"] for name in ("connector", "task", "stream", "clock_skew_secs")
    )
    assert (StatusCode.ERROR, "reset") == (span.status.status_code, span.status.description)
    assert "ConnectionLost" == span.attributes["error.type"]
    assert span.parent is None


def test_a_connect_that_is_refused(told):
    """It is a connection that ended where it began."""
    (span,) = told(disconnected())

    assert "connection" == span.name
    assert StatusCode.ERROR is span.status.status_code


def test_connections_of_partitions_and_tasks_are_apart(told):
    """Each has its own span; the end of a task ends all of its connections and none of others."""
    told(connected(partition="1"), connected(partition="2"), connected(OTHER))
    spans = told(StreamClosed(of=TASK))

    assert ["1", "2"] == sorted(span.attributes["murmuration.partition"] for span in spans)
    assert all(StatusCode.UNSET is span.status.status_code for span in spans)


def test_a_transaction(told):
    """It began when the batch was built, and leads to the connection that its posts came by."""
    before = time.time_ns()
    told(connected())
    (span,) = told(confirmed(dead_letters=2))
    told(disconnected())

    assert "transaction" == span.name
    shown = ("posts", "dead_letters", "connectors")
    assert (5, 2, 1) == tuple(span.attributes[f"murmuration.{name}"] for name in shown)
    assert 0.5 == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-6)
    assert before <= span.end_time <= time.time_ns()
    assert ids(told.spans("connection")) == linked(span)


def test_a_transaction_after_its_connection(told):
    """Posts are confirmed after the connection has ended that brought them; without posts there is no link."""
    told(connected(), disconnected(), confirmed(), confirmed(partitions=()))
    with_posts, without = told.spans("transaction")

    assert ids(told.spans("connection")) == linked(with_posts)
    assert [] == linked(without)


def test_a_transaction_that_kafka_does_not_confirm(told):
    """It is an error, with the time that it had taken."""
    (span,) = told(BatchNotConfirmed(of=TASK, took_secs=3.0, posts=7, error="DeliveryFailed", reason="no answer"))

    assert (StatusCode.ERROR, "no answer") == (span.status.status_code, span.status.description)
    assert 3.0 == pytest.approx((span.end_time - span.start_time) / 1e9, abs=0.5)
    assert 7 == span.attributes["murmuration.posts"]


def test_a_repair(told):
    """From the first try over delays to the end, linked to the connection; its transactions are linked to it."""
    told(connected(), RepairStarted(**GAP, way="search"))
    delay = {"error": "RateLimited", "reason": "X answered 429", "retry_in_secs": 9.0}
    told(RepairDelayed(of=TASK, gap_from=GAP["gap_from"], partition=None, **delay))
    told(RepairStarted(**GAP, way="search"), confirmed(partitions=(), repaired=("posts",)))
    told(GapRepaired(**WHY, way="search", posts=30, cost_usd=0.15), confirmed(partitions=(), repaired=("posts",)))
    (repair,) = told.spans("repair")
    told(StreamClosed(of=TASK))

    shown = ("way", "gap_from", "outcome", "reason", "posts")
    assert ("search", GAP["gap_from"], "repaired", "connection_lost", 30) == tuple(
        repair.attributes[f"murmuration.{name}"] for name in shown
    )
    assert ["repair delayed", "repair goes on"] == [event.name for event in repair.events]
    assert "RateLimited" == repair.events[0].attributes["error.type"]
    assert ids(told.spans("connection")) == linked(repair)
    assert [[repair.context.span_id]] * 2 == [linked(span) for span in told.spans("transaction")]


def test_a_repair_of_another_connector_is_not_linked(told):
    """A transaction has posts of the repairs that it names."""
    told(RepairStarted(**GAP | {"of": OTHER}, way="search"), confirmed(partitions=(), repaired=("posts",)))

    assert [[]] == [linked(span) for span in told.spans("transaction")]


def test_a_repair_by_the_connection_itself(told):
    """A backfill begins with its connection."""
    told(connected(), GapRepaired(**WHY, way="backfill", posts=3, cost_usd=None), StreamClosed(of=TASK))
    (repair,), (connection,) = told.spans("repair"), told.spans("connection")

    assert connection.start_time == repair.start_time
    assert [connection.context.span_id] == linked(repair)


@pytest.mark.parametrize(
    ("end", "outcome", "status"),
    [
        (GapLost(**WHY, detail="search is refused"), "lost", StatusCode.ERROR),
        (GapAccepted(**WHY), "accepted", StatusCode.UNSET),
        (TaskStopped(of=TASK, posts=1), "left", StatusCode.UNSET),
        (RepairStarted(**GAP | {"gap_from": "2026-11-01T11:00:00.000Z"}, way="search"), "left", StatusCode.UNSET),
    ],
)
def test_repairs_that_end_otherwise(told, end, outcome, status):
    """Lost, accepted by somebody, or left for another gap or another owner."""
    (repair,) = told(RepairStarted(**GAP, way="search"), end)

    assert (outcome, status) == (repair.attributes["murmuration.outcome"], repair.status.status_code)


def test_gaps_that_nobody_tried_to_repair(told):
    """They are no repairs."""
    assert [] == told(GapLost(**WHY, detail="too old"), GapAccepted(**WHY))


def test_nothing_is_kept_of_tasks_that_are_gone(told):
    """However many tasks come and go, and whatever of them was open."""
    for number in range(100):
        of = TaskId("posts", number)
        told(
            connected(of),
            RepairStarted(**GAP | {"of": of}, way="search"),
            TaskStopped(of=of, posts=1),
            StreamClosed(of=of),
        )

    assert [{}] * 4 == [told.traces._connections, told.traces._repairs, told.traces._known, told.traces._repaired]


async def test_a_task_at_work(told, monkeypatch):
    """Its connections, and each of its transactions, also one that Kafka has not confirmed at once."""
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(ownership, "PROOF_POLL_SECS", 0.002)
    kafka, gate = MemoryKafka(), Gate()
    sink = MemorySink(kafka, [DOUBTFUL])
    source = ScriptedSource([(post(1),), ConnectionLost("reset")], [(post(2),), gate])
    running = Running([source], sink, traced=True)
    async with running:
        await until(lambda: 2 == len(kafka.records))
        gate.set()
    told(*running.events)

    assert 2 == len(told.spans("connection"))
    failed = [span for span in told.spans("transaction") if span.status.status_code is StatusCode.ERROR]
    done = [span for span in told.spans("transaction") if span not in failed]
    assert 1 == len(failed)
    assert 2 == sum(span.attributes["murmuration.posts"] for span in done)
    known = set(ids(told.spans("connection")))
    assert all(known & set(linked(span)) for span in done if span.attributes["murmuration.posts"])


@pytest.mark.slow
def test_nobody_pays_who_does_not_ask():
    """A worker without traces imports nothing of OpenTelemetry."""
    code = "import sys; from connector.worker import process, wiring; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # ours

    assert "False" == done.stdout.strip()


def test_a_collector_that_hangs_does_not_hold_the_stop(monkeypatch):
    """The last spans have so much time, and no more."""
    monkeypatch.setattr(traces, "STOP_SECS", 0.05)
    export, hanging = Export(group="birds"), threading.Event()
    provider = export._provider
    monkeypatch.setattr(provider, "shutdown", hanging.wait)
    began = time.monotonic()
    export.stop()
    took = time.monotonic() - began
    hanging.set()
    monkeypatch.undo()
    provider.shutdown()

    assert took < 2.0


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "murmuration"),
        ({"OTEL_SERVICE_NAME": "birds"}, "birds"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=flocks,deployment.environment=test"}, "flocks"),
    ],
)
def test_what_a_worker_calls_itself(monkeypatch, variables, name):
    """Its own name, unless the standard variables give another one; and its group."""
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    export = Export(group="birds")
    resource = export._provider.resource.attributes
    export.stop()

    assert (name, "birds") == (resource["service.name"], resource["murmuration.group"])


def test_a_post_that_a_record_names(told):
    """Its span begins a trace of its own, linked to the connections of its connector; the header says which."""
    told(connected(), connected(OTHER))
    header = told.traces.parent_of("posts", 7)
    told(StreamClosed(of=TASK), StreamClosed(of=OTHER))
    (span,) = told.spans("post")
    version, trace_id, span_id, flags = header.split("-")

    assert ("00", 1) == (version, int(flags, 16) & 1)
    assert (span.context.trace_id, span.context.span_id) == (int(trace_id, 16), int(span_id, 16))
    assert (32, 16) == (len(trace_id), len(span_id))
    assert span.parent is None
    assert {"murmuration.connector": "posts", "murmuration.post": "7"} == dict(span.attributes)
    opened = {span.attributes["murmuration.connector"]: span.context for span in told.spans("connection")}
    assert [opened["posts"].span_id] == [link.context.span_id for link in span.links]


def test_the_sampler_decides():
    """What it leaves out is told to whoever goes on with the trace."""
    header = Traces(TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")).parent_of("posts", 7)

    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]", header)  # not sampled
