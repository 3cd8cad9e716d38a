"""kafka-connect-py: its command `kc` and its library."""

import json

import pytest

from tests.clients.cluster import CLASS, REFUSED_TOKEN, Cluster
from tests.clients.driving import ClientError, Commands, Consoles, address, python_console
from tests.clients.installed import require
from tests.workers import Worker, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NAME = "kafka-connect-py"


def line(worker: Worker, words: list[str]) -> list[str]:
    login = ["--auth", worker.login] if worker.login else []
    return ["--url", address(worker), *login, *words]


@pytest.fixture
def kc(cluster: Cluster) -> Commands:
    return Commands(cluster, require(NAME) / "bin" / "kc", line)


def library(worker: Worker) -> list[object]:
    client = f"KafkaConnect({address(worker)!r}, auth={worker.login or None!r})"
    return python_console(require(NAME), "kafka_connect", client)


def test_commands(cluster: Cluster, kc: Commands) -> None:
    """Each command of `kc`, on a connector that runs."""
    config = cluster.config("birds")

    assert kc.json("info")["version"] == "4.1.0"
    assert {"class": CLASS, "type": "source"}.items() <= kc.json("list-plugins")[0].items()
    assert kc.json("list") == []
    created = kc.json("create", "-d", json.dumps({"name": "birds", "config": config}))
    assert (created["name"], created["type"]) == ("birds", "source")
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert "409" in kc("create", "-d", json.dumps({"name": "birds", "config": config}))
    assert kc.json("list") == kc.json("list", "--pattern", "bi.*") == kc.json("list", "--state", "running") == ["birds"]
    assert kc.json("list", "--state", "paused") == []
    assert kc.json("list", "--expand", "status")["birds"]["status"]["connector"]["state"] == "RUNNING"
    assert kc.json("list", "--expand", "info")["birds"]["info"]["config"] == config | {"name": "birds"}
    assert kc.json("get", "birds")["tasks"] == [{"connector": "birds", "task": 0}]
    assert kc.json("config", "birds") == config | {"name": "birds"}
    assert kc.json("status", "birds")["tasks"][0]["state"] == "RUNNING"
    assert kc.json("list-tasks", "birds")[0]["id"] == {"connector": "birds", "task": 0}
    assert kc.json("task-status", "birds", "0")["state"] == "RUNNING"

    cluster.deliver("birds")
    assert kc.json("list-topics", "birds") == {"birds": {"topics": [cluster.topic("birds")]}}
    assert kc("reset-topics", "birds") == "null\n"

    changed = config | {"batch.max.records": "100"}
    assert kc.json("update", "birds", "-d", json.dumps(changed))["config"] == changed | {"name": "birds"}
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert kc("pause", "birds") == ""
    cluster.wait("birds", "PAUSED", "PAUSED")
    assert kc("resume", "--all", "--state", "paused") == ""
    cluster.wait("birds", "RUNNING", "RUNNING")
    starts = cluster.starts("birds")
    assert kc.json("restart", "birds", "--include-tasks")["name"] == "birds"
    cluster.wait_restarted("birds", starts)
    assert kc("restart-task", "birds", "0") == "null\n"
    cluster.wait_restarted("birds", starts + 1)
    assert kc.json("restart", "birds")["name"] == "birds"
    assert kc.json("restart", "--all", "--only-failed").keys() == {"birds"}
    cluster.wait("birds", "RUNNING", "RUNNING")

    assert kc("delete", "birds") == ""
    cluster.wait_gone("birds")
    assert "404" in kc("status", "birds")
    assert kc.json("list") == []


def test_failed(cluster: Cluster, kc: Commands) -> None:
    """A task that failed says why, and is the only one to be restarted."""
    for name, changes in {"owls": {"x_bearer_token": REFUSED_TOKEN}, "birds": {}}.items():
        kc.json("update", name, "-d", json.dumps(cluster.config(name, **changes)))
    cluster.wait("owls", "RUNNING", "FAILED")
    cluster.wait("birds", "RUNNING", "RUNNING")
    failed, started = cluster.starts("owls"), cluster.starts("birds")

    assert "401" in kc.json("task-status", "owls", "0")["trace"]
    restarted = kc.json("restart", "--all", "--include-tasks", "--only-failed")
    assert restarted.keys() == {"owls", "birds"}
    wait_for(lambda: cluster.starts("owls") > failed, "the task of owls is started again")
    cluster.wait("owls", "RUNNING", "FAILED")
    assert cluster.starts("birds") == started
    assert "400" in kc("create", "-d", json.dumps({"name": "x", "config": {}}))


def test_library(cluster: Cluster) -> None:
    """What `kc` cannot do: it has no stop, and its validate-config sends JSON within JSON, which Connect refuses."""
    config = cluster.config("birds")
    with Consoles(cluster, library) as call:
        wrong = config | {"plan": "none"}
        assert call(f"client.validate_connector_config({CLASS!r}, {config | {'name': 'birds'}!r})")["error_count"] == 0
        assert call(f"client.validate_connector_config({CLASS!r}, {wrong | {'name': 'birds'}!r})")["error_count"] == 1
        call(f"client.create_connector({{'name': 'birds', 'config': {config!r}}})")
        cluster.wait("birds", "RUNNING", "RUNNING")
        assert call("client.restart_connector('birds', include_tasks=True)")["name"] == "birds"
        cluster.wait("birds", "RUNNING", "RUNNING")
        assert call("client.stop_connector('birds')") is None
        cluster.wait("birds", "STOPPED")
        assert call("client.resume_all_connectors(state='stopped')") is None
        cluster.wait("birds", "RUNNING", "RUNNING")
        assert call("client.stop_all_connectors()") is None
        cluster.wait("birds", "STOPPED")
        assert call("client.delete_all_connectors(pattern='bi')") is None
        cluster.wait_gone("birds")
        with pytest.raises(ClientError, match="Unknown connector: birds"):
            call("client.restart_connector('birds')")
