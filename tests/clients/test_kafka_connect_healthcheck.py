"""kafka-connect-healthcheck: a server that says whether all is well."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.brokers import free_port
from tests.clients.cluster import REFUSED_TOKEN, Cluster
from tests.clients.driving import ENVIRONMENT, address
from tests.clients.installed import require
from tests.workers import Worker, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Healthcheck:
    """The server, for all connectors and tasks, or for those on *worker* only; as a context manager it runs."""

    def __init__(self, program: Path, worker: Worker, *options: str) -> None:
        self._address = f"http://127.0.0.1:{(port := free_port())}"
        login = ["--basic-auth", worker.login] if worker.login else []
        command = [program, "--port", str(port), "--connect-url", address(worker), "--log-level", "ERROR"]
        self._process = subprocess.Popen([*command, *login, *options], env=ENVIRONMENT)  # noqa: S603  # ours

    def __enter__(self) -> Self:
        wait_for(lambda: self._get("/ping"), "the healthcheck answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def __call__(self) -> dict[str, Any]:
        status, body = self._get("/")
        assert body["healthy"] is (status == 200)
        return body

    def _get(self, path: str) -> tuple[int, Any] | None:
        try:
            with urlopen(self._address + path, timeout=30) as response:  # noqa: S310  # http, see above
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)
        except URLError:
            return None


@pytest.fixture
def program() -> Path:
    return require("kafka-connect-healthcheck") / "bin" / "kafka-connect-healthcheck"


@pytest.fixture(params=["one", "two"])
def worker(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Worker]:
    return getattr(cluster, request.param)


def test_healthcheck(cluster: Cluster, program: Path, worker: Worker) -> None:
    """Healthy without connectors and with one that runs or is paused, unhealthy while a task is FAILED."""
    other = next(each for each in cluster.both if each is not worker)
    with Healthcheck(program, worker) as ask:
        assert ask()["healthy"] is True
        other_config = cluster.config("owls", x_bearer_token=REFUSED_TOKEN)
        for name, config in {"birds": cluster.config("birds"), "owls": other_config}.items():
            status, body = other.post("/connectors", {"name": name, "config": config})
            assert status == 201, body
        cluster.wait("owls", "RUNNING", "FAILED")
        status = cluster.wait("birds", "RUNNING", "RUNNING")

        (failure,) = ask()["failures"]
        assert ("task", "owls", 0, "FAILED") == (failure["type"], failure["connector"], failure["id"], failure["state"])
        assert "401" in failure["trace"]
        here = {f"127.0.0.1:{each.port}" for each in cluster.both}
        assert {failure["worker_id"], status["tasks"][0]["worker_id"]} <= here
        with Healthcheck(program, worker, "--connect-worker-id", failure["worker_id"]) as ask_there:
            assert ask_there()["healthy"] is False
        (elsewhere,) = here - {failure["worker_id"]}
        with Healthcheck(program, worker, "--connect-worker-id", elsewhere) as ask_elsewhere:
            assert ask_elsewhere()["healthy"] is True

        other.delete("/connectors/owls")
        cluster.wait_gone("owls")
        assert ask()["healthy"] is True
        assert ask()["failures"] == []


def test_wrong_login(cluster: Cluster, program: Path) -> None:
    """With a wrong password nothing is healthy."""
    with Healthcheck(program, cluster.two, "--basic-auth", "ci:wrong") as ask:
        assert ask()["healthy"] is False
