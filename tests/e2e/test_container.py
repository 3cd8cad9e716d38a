"""The image: built from docker/Dockerfile, and run as compose.yaml and the manifests of Kubernetes run it."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from connector.simulator import SimulatorThread
from tests import containers, topics
from tests.brokers import Broker, free_port
from tests.containers import Container
from tests.workers import environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

USER = "10001"
STARTUP_SECS = 120.0


@pytest.fixture(scope="module")
def image() -> str:
    containers.require()
    return containers.build()


@pytest.fixture
def settings(broker: Broker, simulate: Callable[..., SimulatorThread], fresh: str) -> dict[str, str]:
    port = str(free_port())
    return environment(broker, simulate(rate=50).url, fresh) | {"CONNECTOR_WEB_PORT": port}


@pytest.fixture
def container(image: str, settings: dict[str, str], fresh: str) -> Iterator[Container]:
    began = time.time()
    with Container(image, fresh, settings) as started:
        wait_for(lambda: started.events("worker.ready") or _ended(started), "the worker is ready", STARTUP_SECS)
        (ready,) = started.events("worker.ready")
        (starting,) = started.events("worker.starting")
        at, from_ = (datetime.fromisoformat(each["timestamp"]).timestamp() for each in (ready, starting))
        print(f"ready {at - began:.2f} s after `podman run`, {at - from_:.2f} s after the first line of the log")  # noqa: T201  # for docs/operations.md
        yield started


def _ended(container: Container) -> None:
    assert container.state["Running"], container.log


def _delivered(container: Container) -> int:
    """Return how many posts the worker's own page says are delivered."""
    asked = container.execute("python3", "-m", "connector", "offsets", "show", "posts", "--json")
    if asked.returncode:
        return 0
    return sum(each["offset"]["posts"] for each in json.loads(asked.stdout)["offsets"])


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_a_worker_in_a_container(container: Container, broker: Broker, settings: dict[str, str], fresh: str) -> None:
    """
    It runs as nobody in particular, can write nothing and gain no right; it delivers, and SIGTERM drains it.

    All that it has read is in the topic once, and its exit code is 0.
    """
    wait_for(lambda: _delivered(container) > 50, "posts are delivered", STARTUP_SECS)
    process = _status(container.state["Pid"])
    mounted = Path(f"/proc/{container.state['Pid']}/mountinfo").read_text().splitlines()
    (root,) = [line.split() for line in mounted if line.split()[4] == "/"]
    written = container.execute("touch", "/srv/x", "/tmp/x")  # noqa: S108  # must fail
    compiled = container.events("worker.starting")[0]["compiled"]
    healthy = container.execute(*containers.inspected(containers.IMAGE)["Healthcheck"]["Test"][1:])
    container.terminate()
    state = container.state
    records = topics.read(broker, fresh)
    (offset,) = topics.offsets(broker, fresh).values()

    assert [USER] * 4 == process["Uid"].split()
    assert {0} == {int(process[each], 16) for each in ("CapEff", "CapPrm", "CapBnd")}
    assert "1" == process["NoNewPrivs"]
    assert "ro" in root[5].split(",")
    assert 2 == written.stderr.count("Read-only file system")
    assert compiled is True
    assert 0 == healthy.returncode, healthy.stderr
    assert 0 == state["ExitCode"]
    assert [0] == [each["exit_code"] for each in container.events("worker.stopped")]
    assert offset["posts"] == len(records) == len(set(topics.ids(records)))
    assert [] == container.events("worker.stop_timed_out")


def test_the_image_is_slim(image: str) -> None:
    """Neither a compiler nor pip nor setuptools, and less than 100 MB beside the base."""
    contents = containers.inspected(image)
    own = contents["Size"] - containers.inspected(containers.base())["Size"]
    print(f"the image has {contents['Size'] / 1e6:.0f} MB, {own / 1e6:.0f} MB of them beside its base")  # noqa: T201  # for docs/operations.md
    asked = "command -v cc gcc || ls /opt/murmuration/lib/python3*/site-packages | grep -E '^(pip|setuptools)$'"
    locked = (*containers.LIMITS, *containers.LOCKED, "--rm", "--entrypoint", "sh")
    found = containers.run("podman", "--runtime", "runc", "run", *locked, image, "-c", f"{asked} || true")

    assert "" == found
    assert own < 100e6


def test_wrong_settings_end_the_container(image: str, settings: dict[str, str], fresh: str) -> None:
    """With exit code 78, for which compose.yaml and systemd do not start it for ever; all problems are in its log."""
    with Container(image, fresh, {**settings, "CONNECTOR_STREAM": "flood", "CONNECTOR_SETTLE_SECS": "soon"}) as started:
        wait_for(lambda: not started.state["Running"], "it has ended", STARTUP_SECS)

        assert 78 == started.state["ExitCode"]
        assert "CONNECTOR_STREAM" in started.log
        assert "CONNECTOR_SETTLE_SECS" in started.log
