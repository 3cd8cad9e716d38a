"""
OpenTelemetry traces: a span for each transaction, each repair and each connection, made of events.

For connectors that ask for it, also a span for each post, of which the post's record has the context.

    stream.connected … stream.disconnected         connection
    gap.repair_started … gap.repaired or gap.lost  repair        ──link──▶ the connection now open
    batch.confirmed, batch.not_confirmed           transaction   ──link──▶ its connections, and repairs with posts in it
    (a record is made)                             post          ──link──▶ the connector's connections

Each span is a trace of its own: a connection lasts for days, and has millions of transactions.  The extra `otel` brings
the SDK.  This module is imported, and the SDK with it, only where `OTEL_TRACES_EXPORTER` says `otlp`.
"""

import threading
import time
from collections.abc import Iterable, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from connector import __version__
from connector.records.record import TaskId
from connector.telemetry.events.coverage import GapAccepted, GapLost, GapRepaired
from connector.telemetry.events.event import Event, TaskEvent
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

STOP_SECS = 2.0
"""The most seconds that a stop waits until the last spans are sent."""

SERVICE = "murmuration"
PREFIX = "murmuration."
"""The begin of our attributes' names."""

NANOS = 1_000_000_000

_W3C = TraceContextTextMapPropagator()

Place = tuple[TaskId, str | None]
"""A task and one of its source partitions; None for a stream that has only one."""


class Traces:
    """Makes spans of events, with *tracer*; call it with each event.  Any thread."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._lock = threading.Lock()
        self._connections: dict[Place, Span] = {}
        self._repairs: dict[Place, tuple[str, Span]] = {}
        self._known: dict[Place, SpanContext] = {}
        """The last connection of each source partition, also if it has ended."""
        self._repaired: dict[Place, SpanContext] = {}
        """The last repair of each, likewise: its last posts are confirmed after it has ended."""

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TaskEvent):
            return
        with self._lock:
            self._take(event)

    def _take(self, event: TaskEvent) -> None:
        match event:
            case StreamConnected():
                self._connected(event)
            case StreamDisconnected():
                self._disconnected(event)
            case RepairStarted():
                self._repair_started(event)
            case RepairDelayed():
                self._repair_delayed(event)
            case GapRepaired() | GapLost() | GapAccepted():
                self._gap_ended(event)
            case BatchConfirmed():
                self._confirmed(event)
            case BatchNotConfirmed():
                self._not_confirmed(event)
            case StreamClosed():
                self._closed(event.of)
            case TaskStopped():
                self._stopped(event.of)

    # -- connections

    def _connected(self, event: StreamConnected) -> None:
        place = (event.of, event.partition)
        self._end_connection(place)
        span = self._span(
            "connection",
            event.of,
            {"stream": event.stream, "partition": event.partition, "clock_skew_secs": event.clock_skew_secs},
            kind=SpanKind.CLIENT,
        )
        self._connections[place] = span
        self._known[place] = span.get_span_context()

    def _disconnected(self, event: StreamDisconnected) -> None:
        place = (event.of, event.partition)
        if place not in self._connections:  # a connect that X refused
            refused = {"partition": event.partition}
            self._connections[place] = self._span("connection", event.of, refused, kind=SpanKind.CLIENT)
        self._end_connection(place, error=event.error, reason=event.reason)

    def _end_connection(self, place: Place, *, error: str | None = None, reason: str = "") -> None:
        span = self._connections.pop(place, None)
        if span is not None:
            _end(span, error=error, reason=reason)

    # -- repairs

    def _repair_started(self, event: RepairStarted) -> None:
        place = (event.of, event.partition)
        known = self._repairs.get(place)
        if known is not None and known[0] == event.gap_from:
            known[1].add_event("repair goes on", {PREFIX + "way": event.way})
            return
        self._end_repair(place, "left")
        span = self._span("repair", event.of, _of_gap(event), links=self._connection_of(event.of, event.partition))
        self._repairs[place] = event.gap_from, span
        self._repaired[place] = span.get_span_context()

    def _repair_delayed(self, event: RepairDelayed) -> None:
        known = self._repairs.get((event.of, event.partition))
        if known is not None:
            why: dict[str, str | float] = {"error.type": event.error, "error.message": event.reason}
            known[1].add_event("repair delayed", {**why, PREFIX + "retry_in_secs": event.retry_in_secs})

    def _gap_ended(self, event: GapRepaired | GapLost | GapAccepted) -> None:
        place = (event.of, event.partition)
        if place not in self._repairs:
            if not isinstance(event, GapRepaired):  # nobody tried
                return
            self._repairs[place] = event.gap_from, self._of_backfill(event)
            self._repaired[place] = self._repairs[place][1].get_span_context()
        outcome = {GapRepaired: "repaired", GapLost: "lost", GapAccepted: "accepted"}[type(event)]
        span = self._repairs[place][1]
        span.set_attribute(PREFIX + "reason", event.reason)
        if isinstance(event, GapRepaired):
            span.set_attribute(PREFIX + "posts", event.posts)
        lost = event.detail if isinstance(event, GapLost) else None
        self._end_repair(place, outcome, lost=lost)

    def _of_backfill(self, event: GapRepaired) -> Span:
        """Return the span of a repair that the connection itself has made: it began with the connection."""
        began = getattr(self._connections.get((event.of, event.partition)), "start_time", None)
        connection = self._connection_of(event.of, event.partition)
        return self._span("repair", event.of, _of_gap(event), links=connection, start_ns=began)

    def _connection_of(self, of: TaskId, partition: str | None) -> Iterable[SpanContext]:
        """Return the last connection of the task *of*; none for a connector that shares the connection of another."""
        context = self._known.get((of, partition))
        return () if context is None else (context,)

    def _end_repair(self, place: Place, outcome: str, *, lost: str | None = None) -> None:
        known = self._repairs.pop(place, None)
        if known is not None:
            known[1].set_attribute(PREFIX + "outcome", outcome)
            _end(known[1], error=None if lost is None else "GapLost", reason=lost or "")

    # -- transactions

    def _confirmed(self, event: BatchConfirmed) -> None:
        now = time.time_ns()
        links = [self._known.get((event.of, partition or None)) for partition in event.partitions]
        links += [context for (of, _), context in self._repaired.items() if of.connector in event.repaired]
        span = self._span(
            "transaction",
            event.of,
            {"posts": event.posts, "dead_letters": event.dead_letters, "connectors": event.connectors},
            links=filter(None, links),
            kind=SpanKind.PRODUCER,
            start_ns=now - int(event.took_secs * NANOS),
        )
        span.end(now)

    def _not_confirmed(self, event: BatchNotConfirmed) -> None:
        start_ns = time.time_ns() - int(event.took_secs * NANOS)
        posts = {"posts": event.posts}
        span = self._span("transaction", event.of, posts, kind=SpanKind.PRODUCER, start_ns=start_ns)
        _end(span, error=event.error, reason=event.reason)

    # -- posts

    def parent_of(self, connector: str, post_id: int) -> str:
        """
        Return the context of a new span for the post *post_id* of *connector*, as the header `traceparent` has it.

        The span begins a trace of its own, and whoever reads the record goes on with it.
        """
        with self._lock:
            links = [Link(context) for (of, _), context in self._known.items() if of.connector == connector]
        named: dict[str, AttributeValue] = {PREFIX + "connector": connector, PREFIX + "post": str(post_id)}
        span = self._tracer.start_span("post", context=Context(), kind=SpanKind.PRODUCER, attributes=named, links=links)
        span.end()
        headers: dict[str, str] = {}
        _W3C.inject(headers, set_span_in_context(span))
        return headers["traceparent"]

    # -- the end

    def _closed(self, of: TaskId) -> None:
        for place in [place for place in self._connections if place[0] == of]:
            self._end_connection(place)
        _forget(self._known, of)

    def _stopped(self, of: TaskId) -> None:
        for place in [place for place in self._repairs if place[0] == of]:
            self._end_repair(place, "left")
        _forget(self._repaired, of)

    def _span(
        self,
        name: str,
        of: TaskId,
        attributes: Mapping[str, AttributeValue | None],
        *,
        links: Iterable[SpanContext] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        start_ns: int | None = None,
    ) -> Span:
        given = {"connector": of.connector, "task": of.number, **attributes}
        named = {PREFIX + key: value for key, value in given.items() if value is not None}
        linked = [Link(context) for context in links]
        return self._tracer.start_span(name, kind=kind, attributes=named, links=linked, start_time=start_ns)


def _of_gap(event: RepairStarted | GapRepaired) -> dict[str, AttributeValue | None]:
    return {"gap_from": event.gap_from, "gap_to": event.gap_to, "partition": event.partition, "way": event.way}


def _forget(contexts: dict[Place, SpanContext], of: TaskId) -> None:
    for place in [place for place in contexts if place[0] == of]:
        del contexts[place]


def _end(span: Span, *, error: str | None, reason: str) -> None:
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR, reason))
    span.end()


class Export:
    """Sends the spans of a worker to a collector, in a thread of its own; *traces* makes them."""

    def __init__(self, *, group: str) -> None:
        """Begin to export for a worker of *group*; the variables `OTEL_…` say where and how much."""
        ours = {SERVICE_NAME: SERVICE, SERVICE_VERSION: __version__, PREFIX + "group": group}
        theirs = OTELResourceDetector().detect().attributes  # `Resource.create` would prefer ours
        self._provider = TracerProvider(resource=Resource.create({**ours, **theirs}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.traces = Traces(self._provider.get_tracer("connector", __version__))

    def stop(self) -> None:
        """Send the last spans, within `STOP_SECS`; what has not been sent by then is dropped."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(STOP_SECS)
