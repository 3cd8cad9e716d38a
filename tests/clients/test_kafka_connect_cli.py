"""
kafka-connect-cli: a command line.  It logs in with what stands in the address.

It knows UNASSIGNED, RUNNING, PAUSED and FAILED, so a STOPPED connector makes it fail, with Kafka Connect too.  Its
commands for all connectors have no option for the address and fail before they ask a worker; the test calls the
functions behind them.
"""

import json
from pathlib import Path

import pytest

from tests.clients.cluster import REFUSED_TOKEN, Cluster
from tests.clients.driving import Commands, Consoles, address_with_login, python_console
from tests.clients.installed import require
from tests.workers import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def line(worker: Worker, words: list[str]) -> list[str]:
    return [*words, "--url", address_with_login(worker)]


@pytest.fixture
def run(cluster: Cluster) -> Commands:
    return Commands(cluster, require("kafka-connect-cli") / "bin" / "kafka_connect", line)


def test_commands(cluster: Cluster, run: Commands, tmp_path: Path) -> None:
    """Each command, on a connector that runs."""
    config = cluster.config("birds")
    file = tmp_path / "birds.json"
    file.write_text(json.dumps(config | {"batch.max.records": 100}))
    birds = {"connector": "birds", "state": "RUNNING", "failedTasks": []}
    create = ("connector", "create", "--name", "birds", "--configuration", json.dumps(config))

    run("health-check")
    assert run.json("connector", "list") == []
    assert run.json(*create)["type"] == "source"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert "already exists" in run(*create, code=1)
    assert run(*create, "--if-not-exists") == "null\n"
    assert run.json("connector", "get", "--name", "birds") == birds
    assert run.json("connector", "list") == [birds]
    assert run.json("connector", "configuration", "--name", "birds") == config | {"name": "birds"}
    assert run.json("task", "list", "--connector", "birds") == [{"taskId": 0, "state": "RUNNING", "trace": ""}]
    run("health-check", "--verbose")

    updated = run.json("connector", "update", "--name", "birds", "--configuration-file", file)
    assert updated["config"]["batch.max.records"] == "100"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert run("connector", "pause", "--name", "birds") == ""
    cluster.wait("birds", "PAUSED", "PAUSED")
    assert run("connector", "resume", "--name", "birds") == ""
    cluster.wait("birds", "RUNNING", "RUNNING")
    starts = cluster.starts("birds")
    assert run("task", "restart", "--connector", "birds", "--task", 0) == ""
    cluster.wait_restarted("birds", starts)
    assert run("connector", "restart", "--name", "birds") == ""
    assert run("connector", "delete", "--name", "birds") == ""
    cluster.wait_gone("birds")
    assert "404" in run("connector", "get", "--name", "birds", code=1)


def test_failed(cluster: Cluster, run: Commands) -> None:
    """A task that failed is found by the health check and listed."""
    config = json.dumps(cluster.config("birds", x_bearer_token=REFUSED_TOKEN))
    run("connector", "create", "--name", "birds", "--configuration", config)
    cluster.wait("birds", "RUNNING", "FAILED")

    assert "Task 0 of connector birds in state FAILED" in run("health-check", "--verbose", code=1)
    assert run.json("connector", "get", "--name", "birds")["failedTasks"] == [0]
    (task,) = run.json("task", "list", "--connector", "birds")
    assert task["state"] == "FAILED"
    assert "401" in task["trace"]


def test_all_connectors(cluster: Cluster, run: Commands) -> None:
    """Pause, resume and delete those whose name matches."""
    for name in ("birds", "owls"):
        run("connector", "create", "--name", name, "--configuration", json.dumps(cluster.config(name)))
    with Consoles(cluster, library) as call:
        call("client('pause_all_connectors', 'birds')")
        cluster.wait("birds", "PAUSED", "PAUSED")
        cluster.wait("owls", "RUNNING", "RUNNING")
        call("client('resume_all_connectors', None)")
        cluster.wait("birds", "RUNNING", "RUNNING")
        call("client('delete_all_connectors', '.*s')")
        cluster.wait_gone("birds")
        cluster.wait_gone("owls")


def library(worker: Worker) -> list[object]:
    client = f"lambda function, pattern: globals()[function]({address_with_login(worker)!r}, pattern)"
    return python_console(require("kafka-connect-cli"), "kafka_connect.kafka_connect", client)
