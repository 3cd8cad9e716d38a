"""kafkaconnect, of the Rubin Observatory: a command line.  It logs in with what stands in the address."""

import json
from pathlib import Path

import pytest

from tests.clients.cluster import CLASS, REFUSED_TOKEN, Cluster
from tests.clients.driving import Commands, address_with_login
from tests.clients.installed import require
from tests.workers import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def line(worker: Worker, words: list[str]) -> list[str]:
    return ["--connect", address_with_login(worker), *words]


@pytest.fixture
def run(cluster: Cluster) -> Commands:
    return Commands(cluster, require("kafkaconnect") / "bin" / "kafkaconnect", line)


def test_commands(cluster: Cluster, run: Commands, tmp_path: Path) -> None:
    """Each command, on a connector that runs; what it does not find or may not do is a sentence."""
    file, config = tmp_path / "birds.json", cluster.config("birds")
    file.write_text(json.dumps(config))

    assert run.json("list") == []
    assert CLASS in {plugin["class"] for plugin in run.json("plugins")}
    assert run.json("upload", "--name", "birds", "--dry-run", file)["error_count"] == 0
    assert run.json("list") == []
    assert uploaded(run("upload", "--name", "birds", file))["type"] == "source"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert run.json("list") == ["birds"]
    assert run.json("info", "birds")["config"] == run.json("config", "birds") == config | {"name": "birds"}
    assert run.json("status", "birds")["connector"]["state"] == "RUNNING"
    assert run.json("tasks", "birds")[0]["config"]["topic"] == cluster.topic("birds")
    cluster.deliver("birds")
    assert run.json("topics", "birds") == {"birds": {"topics": [cluster.topic("birds")]}}

    assert run("pause", "birds") == "\n"
    cluster.wait("birds", "PAUSED", "PAUSED")
    assert run("resume", "birds") == "\n"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert run("restart", "birds") == "\n"
    cluster.wait("birds", "RUNNING", "RUNNING")
    file.write_text(json.dumps(config | {"batch.max.records": 100}))
    assert uploaded(run("upload", "--name", "birds", file))["config"]["batch.max.records"] == "100"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert run("delete", "birds") == "\n"
    cluster.wait_gone("birds")
    for command in ("info", "status", "config", "tasks", "restart", "pause", "resume", "delete"):
        assert "not found" in run(command, "birds")


def test_what_is_wrong(cluster: Cluster, run: Commands, tmp_path: Path) -> None:
    """A configuration with errors is shown with them and not created; a token that X refuses fails the task."""
    file = tmp_path / "birds.json"
    file.write_text(json.dumps(cluster.config("birds", plan="none")))
    validation = uploaded(run("upload", "--name", "birds", file))
    assert validation["error_count"] == 1
    assert ["plan"] == [each["value"]["name"] for each in validation["configs"] if each["value"]["errors"]]
    assert run.json("list") == []

    file.write_text(json.dumps(cluster.config("birds", x_bearer_token=REFUSED_TOKEN)))
    uploaded(run("upload", "--name", "birds", file))
    cluster.wait("birds", "RUNNING", "FAILED")
    assert "401" in run.json("status", "birds")["tasks"][0]["trace"]


def test_create(cluster: Cluster, run: Commands, tmp_path: Path) -> None:
    """`create` of its commands for other connectors: they send whatever class the file names."""
    files = {}
    for name in ("heartbeat", "checkpoint", "mirror-source"):
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps(cluster.config(name) | {"name": name}))
    words = [word for name, file in files.items() for word in (f"--{name}", file)]
    assert run("create", "mirrormaker2", "--dry-run", "--name", "x", *words).count('"error_count": 0') == 3
    assert run("create", "mirrormaker2", "--name", "x", *words).count('"type": "source"') == 3
    for name in files:
        cluster.wait(f"x-{name}", "RUNNING", "RUNNING")
    assert run("create", "jdbc-sink", "--name", "owls", files["heartbeat"]).count('"type": "source"') == 1
    cluster.wait("owls", "RUNNING", "RUNNING")


def uploaded(said: str) -> dict:
    """Return the JSON behind the line that says what is being done."""
    return json.loads(said.partition("\n")[2])
