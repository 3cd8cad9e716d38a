"""Prometheus scrapes a worker: every query of the dashboard and every rule finds what it asks for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from connector.simulator import SimulatorThread
from tests.brokers import Broker
from tests.dashboard import EMPTY, queries
from tests.prometheus import SETTINGS, Prometheus, promtool
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

LOGIN = "prometheus:opens-nothing"
QUIET = {
    "job_reason_intentional:connector_posts_dropped:rate5m",
}
"""Records that are there once something was dropped."""


@pytest.fixture
def worker(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> Worker:
    """A worker with a budget and a login that has delivered posts, lost its connection and repaired the gap."""
    simulator = simulate(plan="enterprise", keepalive_s=1, rate=20)
    asked = {"plan": "enterprise", "web_users": LOGIN, "budget_posts_per_day": 100_000}
    settings = environment(broker, simulator.url, fresh, **asked)
    worker = workers.start(settings).wait_ready()
    worker.wait_delivered(20)
    simulator.fault("clean_close")
    worker.wait_event("stream.disconnected")
    worker.wait_event("gap.repaired")
    return worker


@pytest.fixture
def prometheus(worker: Worker, tmp_path: Path) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = Prometheus(folder, [f"127.0.0.1:{worker.port}"], login=LOGIN)
    yield server
    server.stop()


def test_dashboard_and_rules(worker: Worker, prometheus: Prometheus) -> None:
    """In a group that is well each query brings data, each rule is evaluated, no alert fires; then the worker dies."""
    wait_for(lambda: [each["value"][1] for each in prometheus.query("up")] == ["1"], "Prometheus scrapes the worker")
    wait_for(lambda: prometheus.query("rate(connector_posts_delivered_total[5m]) > 0"), "two scrapes with posts")
    for title, expression in queries():
        if expression in EMPTY:
            assert [] == prometheus.query(expression), title
        else:
            wait_for(lambda asked=expression: prometheus.query(asked), f"{title}: {expression}", 20)
    records = [
        rule["record"]
        for group in yaml.safe_load((SETTINGS / "rules.yaml").read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]
    for record in records:
        if record not in QUIET:
            wait_for(lambda asked=record: prometheus.query(asked), record, 20)
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {"ok"} == {rule["health"] for rule in rules}
    assert [] == prometheus.query('ALERTS{alertstate="firing"}')
    assert "" == promtool("check", "metrics", given=worker.get("/metrics")[1].encode()).strip()

    worker.kill()
    gone = 'ALERTS{alertname="MurmurationNoReadyWorker", alertstate="pending", job="murmuration"}'
    wait_for(lambda: prometheus.query(gone), "the alert that no worker is ready", 20)
