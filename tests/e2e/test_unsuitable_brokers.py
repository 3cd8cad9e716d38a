"""Brokers whose settings stand in the way: the worker names the setting, and a stop ends at once."""

import time
from pathlib import Path

import pytest

from tests.brokers import KafkaBroker, free_port
from tests.workers import Workers, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

NO_X = "http://127.0.0.1:9"
STOP_SECS = 10
"""On a busy machine; the stop timeout is 20 s."""


def test_no_transaction_log(tmp_path: Path, workers: Workers, fresh: str) -> None:
    """One broker and Kafka's default for three: waiting names both settings and the way out; no task has begun."""
    replicas = "transaction.state.log.replication.factor"
    with KafkaBroker(tmp_path / "broker", properties={replicas: "3"}) as broker:
        worker = workers.start(environment(broker, NO_X, fresh))
        reason = worker.wait_event("kafka.waiting")["reason"]
        began = time.monotonic()
        worker.terminate()
        code = worker.wait(60)
        took = time.monotonic() - began
        other = workers.start(environment(broker, NO_X, f"{fresh}b", delivery="at_least_once"))
        other.wait_event("kafka.connected")

    assert f"{replicas}=3 and transaction.state.log.min.isr=1" in reason
    assert "with 1 broker" in reason
    assert "CONNECTOR_DELIVERY=at_least_once" in reason
    assert 0 == code
    assert took < STOP_SECS
    assert "Traceback" not in worker.log


def test_short_transactions(tmp_path: Path, workers: Workers, fresh: str) -> None:
    """A broker's limit below ours ends the worker with both settings."""
    with KafkaBroker(tmp_path / "broker", properties={"transaction.max.timeout.ms": "30000"}) as broker:
        worker = workers.start(environment(broker, NO_X, fresh))
        code = worker.wait(60)

    (failed,) = worker.events("worker.failed")
    assert 1 == code
    assert failed["reason"].startswith(
        "CONNECTOR_TRANSACTION_TIMEOUT_SECS=60 is more than the broker's transaction.max.timeout.ms=30000 allows: "
        "lower it to 30"
    )
    assert "Traceback" not in worker.log


def test_an_advertised_host_that_does_not_resolve(tmp_path: Path, workers: Workers, fresh: str) -> None:
    """The first connect goes well and no other: the reason names host, port and advertised.listeners."""
    port = free_port()
    listeners = {"advertised.listeners": f"PLAINTEXT://broker.invalid:{port}"}
    with KafkaBroker(tmp_path / "broker", port, properties=listeners) as broker:
        worker = workers.start(environment(broker, NO_X, fresh))
        reason = worker.wait_event("kafka.waiting")["reason"]
        worker.terminate()
        code = worker.wait(60)

    assert reason.startswith(
        f"Kafka advertises its broker 1 as broker.invalid:{port}, and broker.invalid does not resolve"
    )
    assert "advertised.listeners" in reason
    assert 0 == code
    assert "Traceback" not in worker.log
