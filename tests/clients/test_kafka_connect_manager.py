"""kafka-connect-manager: its command `kcm`.  It logs in with what stands in the address."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.cluster import REFUSED_TOKEN, Cluster
from tests.clients.driving import ENVIRONMENT, Commands, address_with_login
from tests.clients.installed import require
from tests.workers import Worker, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def line(worker: Worker, words: list[str]) -> list[str]:
    return ["--host", address_with_login(worker), *words]


@pytest.fixture
def program() -> Path:
    return require("kafka-connect-manager") / "bin" / "kcm"


@pytest.fixture
def kcm(cluster: Cluster, program: Path) -> Commands:
    return Commands(cluster, program, line)


def test_commands(cluster: Cluster, kcm: Commands, tmp_path: Path) -> None:
    """Add, list, update and status, which shows why a task FAILED."""
    file = tmp_path / "birds.json"

    assert "Total Connectors Found: 0" in kcm("list")
    file.write_text(json.dumps({"name": "birds", "config": cluster.config("birds", plan="none")}))
    assert "plan cannot be 'none'" in unframed(kcm("add", "-f", file, code=2))
    file.write_text(json.dumps({"name": "birds", "config": cluster.config("birds", x_bearer_token=REFUSED_TOKEN)}))
    assert "Connector Registered: birds" in kcm("add", "-f", file)
    cluster.wait("birds", "RUNNING", "FAILED")
    assert "already exists" in unframed(kcm("add", "-f", file, code=2))
    shown = kcm("status", "--connector", "birds")
    assert "State - RUNNING" in shown
    assert "FAILED" in shown
    assert "401" in shown
    file.write_text(json.dumps({"name": "birds", "config": cluster.config("birds")}))
    assert "Connector Updated: birds" in kcm("update", "birds", "-f", file)
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert "N/A" in kcm("status", "--connector", "birds")
    for words in (("list",), ("list", "--type", "source")):
        assert "PostStreamSourceConnector" in kcm(*words)
    assert "PostStreamSourceConnector" not in kcm("list", "--type", "sink")


def test_watch(cluster: Cluster, program: Path, tmp_path: Path) -> None:
    """The dashboard shows connectors and tasks."""
    for name, changes in {"birds": {}, "owls": {"x_bearer_token": REFUSED_TOKEN}}.items():
        assert cluster.one.post("/connectors", {"name": name, "config": cluster.config(name, **changes)})[0] == 201
    cluster.wait("birds", "RUNNING", "RUNNING")
    cluster.wait("owls", "RUNNING", "FAILED")
    screen = tmp_path / "screen"
    environment = ENVIRONMENT | {"COLUMNS": "200", "FORCE_COLOR": "1", "TERM": "xterm"}
    with screen.open("wb") as out:
        command = [program, *line(cluster.two, ["watch", "--refresh-interval", "1"])]
        watching = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)  # noqa: S603  # ours
        try:
            wait_for(lambda: "Failed Tasks" in screen.read_text() and "owls" in screen.read_text(), "the dashboard")
        finally:
            watching.kill()
            watching.wait()
    assert "Total Connectors" in screen.read_text()


def unframed(text: str) -> str:
    """Return the words of an error, which stand in a box."""
    return " ".join(text.replace("│", " ").split())
