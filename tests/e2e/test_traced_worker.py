"""Traces of a real worker, as they come to a collector over HTTP; and a collector that is away disturbs nobody."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker, free_port
from tests.workers import Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Collector(ThreadingHTTPServer):
    """Takes what an exporter sends by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self, name: str) -> list[Span]:
        found = [
            span
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return [span for span in found if span.name == name]


class Taker(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.add(self.path)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def traced_to(url: str) -> dict[str, str]:
    """Return what lets a worker send its spans to *url*, five times a second."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    return {"OTEL_TRACES_EXPORTER": "otlp", **where}


def links(span: Span) -> set[bytes]:
    return {link.span_id for link in span.links}


def attributes(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_spans_of_a_worker(
    collector: Collector, broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Each connection, repair and transaction comes, linked, the last ones at the stop; each post is in one of them."""
    simulator = simulate(plan="enterprise", keepalive_s=1, rate=20)
    settings = environment(broker, simulator.url, fresh, plan="enterprise")
    worker = workers.start(settings | traced_to(collector.url)).wait_ready()
    worker.wait_delivered(20)
    simulator.fault("clean_close")
    worker.wait_event("gap.repaired")
    wait_for(lambda: collector.spans("connection") and collector.spans("repair"), "spans of what has ended")
    assert 0 == worker.stop()

    connections, transactions = collector.spans("connection"), collector.spans("transaction")
    (repair,) = collector.spans("repair")
    known = {span.span_id for span in connections}
    with_posts = [span for span in transactions if attributes(span)["murmuration.posts"]]
    (resource, *_) = collector.requests[0].resource_spans
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert {"/v1/traces"} == collector.paths
    assert 2 == len(connections)
    assert "ConnectionLost" in {attributes(span).get("error.type") for span in connections}
    assert ("backfill", "repaired") == tuple(attributes(repair)[f"murmuration.{name}"] for name in ("way", "outcome"))
    assert links(repair) <= known
    assert len(topics.read(broker, fresh)) == sum(attributes(span)["murmuration.posts"] for span in with_posts)
    assert all(links(span) & known for span in with_posts)
    assert ("murmuration", fresh) == (named["service.name"], named["murmuration.group"])


def test_a_collector_that_is_away(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Posts are delivered, and the stop takes no longer than it may."""
    simulator = simulate(keepalive_s=1, rate=20)
    nowhere = f"http://127.0.0.1:{free_port()}"
    worker = workers.start(environment(broker, simulator.url, fresh) | traced_to(nowhere)).wait_ready()
    worker.wait_delivered(20)

    assert 0 == worker.stop()
