"""The command `connectors` on a worker that declares nothing, on real Kafka, beside the simulator."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import SOURCE, TOKEN, Worker, Workers, undeclared, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

COMMAND_SECS = 60


class Commands:
    """The command line of whoever manages the group of *worker*, which runs in *folder*."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        """Everything that the commands printed, for those who look for secrets in it."""
        self._environment = {"PYTHONPATH": str(SOURCE), "CONNECTOR_REST_URL": f"http://127.0.0.1:{worker.port}"}

    def __call__(self, *words: object, code: int = 0) -> str:
        done = subprocess.run(  # noqa: S603  # ours
            [sys.executable, "-m", "connector", "connectors", *map(str, words)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECS,
            check=False,
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def json(self, *words: object) -> Any:
        return json.loads(self(*words, "--json"))

    def write(self, name: str, config: Mapping[str, object]) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(config))
        return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "config.keys"
    path.write_text("ab" * 32)
    path.chmod(0o600)
    return path


def test_a_connectors_life(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, tmp_path: Path, keys: Path
) -> None:
    """Created, watched, changed, paused, stopped, its offsets changed, restarted, deleted; its secret is never seen."""
    simulator = simulate()
    worker = workers.start(undeclared(broker, fresh), config_key_file=keys).wait_ready()
    run = Commands(worker, tmp_path)
    birds = {
        "name": "birds",
        "connector.class": "PostStreamSourceConnector",
        "topic": fresh,
        "hashtags": "murmuration",
        "x.bearer.token": TOKEN,
        "x.api.url": simulator.url,
        "settle.secs": 2,
    }
    file = run.write("birds.json", birds)

    assert run("list") == "There is no connector.\n"
    assert "error    plan cannot be 'none'" in refused(
        run, "validate", run.write("wrong.json", birds | {"plan": "none"})
    )
    assert "The configuration is valid." in run("validate", file)
    assert run("create", file) == "birds is created.\n"
    assert "already exists" in run("create", file, code=1)
    wait_for(lambda: running(run), "birds runs")
    sent = simulator.emit(50)
    wait_for(lambda: worker.delivered("birds") >= 50, "50 posts of birds")
    assert "[hidden]" in run("show", "birds")
    assert "covered_to" in run("offsets", "birds")

    assert run("update", file) == "birds is updated.\n"
    run("update", "birds", "--set", "batch.max.records=100", "--remove", "settle.secs")
    config = run.json("show", "birds")["info"]["config"]
    assert (config["batch.max.records"], config["x.bearer.token"], "settle.secs" in config) == (
        "100",
        "[hidden]",
        False,
    )

    run("pause", "birds")
    wait_for(lambda: state(run) == "PAUSED", "birds is paused")
    run("resume", "birds")
    wait_for(lambda: running(run), "birds runs again")
    assert run("restart", "birds") == "birds is being restarted.\n"
    wait_for(lambda: running(run), "birds runs after a restart")
    run("restart", "birds", "--task", "0")
    wait_for(lambda: running(run), "birds runs after its task's restart")
    run("restart", "birds", "--only-failed")

    offsets = run.json("offsets", "birds")
    assert "STOPPED state" in run("offsets", "birds", "--reset", "--yes", code=1)
    run("stop", "birds")
    wait_for(lambda: state(run) == "STOPPED", "birds is stopped")
    assert "altered successfully" in run("offsets", "birds", "--set", run.write("offsets.json", offsets))
    assert "reset successfully" in run("offsets", "birds", "--reset", "--yes")
    assert run.json("offsets", "birds") == {"offsets": []}
    assert run("delete", "birds", "--yes") == "birds is deleted.\n"
    assert run.json("list") == {}
    assert "Connector birds not found" in run("show", "birds", code=1)

    assert worker.stop() == 0
    assert "No worker answers" in run("list", code=3)
    assert sorted(sent) == sorted(topics.ids(topics.read(broker, fresh)))
    kept = b"".join(record.key + (record.value or b"") for record in topics.read(broker, f"{fresh}-configs"))
    assert b"${sealed:" in kept
    assert TOKEN.encode() not in kept
    assert TOKEN not in run.said + worker.log + "".join(worker.answers)


def test_a_folder(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, tmp_path: Path
) -> None:
    """`apply` makes the group what the folder says, one of its files from a connector in Java; then nothing changes."""
    simulator = simulate()
    worker = workers.start(undeclared(broker, fresh), birds_token=TOKEN).wait_ready()
    run = Commands(worker, tmp_path)
    folder = tmp_path / "connectors"
    folder.mkdir()
    (folder / "birds.properties").write_text(
        "name=birds\n"
        "connector.class=com.github.jcustenborder.kafka.connect.twitter.TwitterSourceConnector\n"
        "twitter.bearerToken=${env:CONNECTOR_BIRDS_TOKEN}\n"
        f"kafka.status.topic={fresh}\n"
        "process.deletes=false\n"
        "filter.keywords=murmuration\n"
        f"x.api.url={simulator.url}\n"
    )
    (folder / "owls.toml").write_text(
        f"""
        name = "owls"
        initial_state = "STOPPED"
        [config]
        connector.class = "PostStreamSource"
        topic = "{fresh}-owls"
        hashtags = ["owls"]
        x.bearer.token = "${{env:CONNECTOR_BIRDS_TOKEN}}"
        x.api.url = "{simulator.url}"
        """
    )

    assert "+ birds is created" in run("apply", folder, "--dry-run")
    assert run.json("list") == {}
    assert "2 created, 0 updated, 0 unchanged, 0 deleted." in run("apply", folder)
    wait_for(lambda: running(run), "birds runs")
    sent = simulator.emit(20)
    wait_for(lambda: worker.delivered("birds") >= 20, "20 posts of birds")
    assert "0 created, 0 updated, 2 unchanged, 0 deleted." in run("apply", folder)
    assert state(run, "owls") == "STOPPED"
    (folder / "owls.toml").unlink()
    assert "0 created, 0 updated, 1 unchanged, 0 deleted." in run("apply", folder)
    assert "- owls is deleted" in run("apply", folder, "--prune")
    assert run.json("list").keys() == {"birds"}
    assert worker.stop() == 0
    assert sorted(sent) == sorted(topics.ids(topics.read(broker, fresh)))
    assert TOKEN not in run.said


def refused(run: Commands, *words: object) -> str:
    """Return what a command that ends with 1 prints on standard output."""
    before = len(run.said)
    run(*words, code=1)
    return run.said[before:]


def state(run: Commands, name: str = "birds") -> str:
    return str(run.json("show", name)["status"]["connector"]["state"])


def running(run: Commands) -> bool:
    status = run.json("show", "birds")["status"]
    return [status["connector"]["state"], *(task["state"] for task in status["tasks"])] == ["RUNNING", "RUNNING"]
