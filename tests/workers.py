"""The worker as a process: started, looked at by its log and its web interface, stopped, killed, frozen."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import connector
from connector.simulator import SimulatorThread
from tests.brokers import Broker, free_port

SOURCE = Path(connector.__file__).parent.parent
PATIENCE_SECS = 60.0
"""How long a slow machine may take for what takes a second."""

POLL_SECS = 0.05
ANSWER_SECS = 5.0
TOKEN = "simulated-token"  # noqa: S105  # opens nothing but a simulator
SESSION_SECS = 6

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, secs: float = PATIENCE_SECS) -> T:
    """Return the first true value of *condition*, which is asked again and again."""
    end = time.monotonic() + secs
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise AssertionError(f"Waited {secs:g} s in vain: {what}")
        time.sleep(POLL_SECS)


class Worker:
    """One worker process; its log, in JSON, and its output go to files in *folder*."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        *,
        through: Sequence[str] = (),
        stdout: int | None = None,
    ) -> None:
        """Start it with the words of *through* before its command, and with *stdout* instead of a file."""
        self.name, self.folder = name, folder
        self.port = int(environment["CONNECTOR_WEB_PORT"])
        self.login = environment.get("CONNECTOR_WEB_USERS", "").partition(",")[0]
        """`name:password` of the user who asks, where the worker wants one."""
        self.answers: list[str] = []
        """Every HTTP answer, for those who look for secrets in them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._log, self._out = folder / "log", folder / "out"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")}
        with self._log.open("ab") as log, self._out.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603
                [*through, sys.executable, "-m", "connector", "worker"],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    # -- what it says

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log's events of that name that have these fields."""
        found = []
        for line in self.log.splitlines():
            if f'"{name}"' in line:
                with contextlib.suppress(json.JSONDecodeError):  # the last line may be half written
                    entry = json.loads(line)
                    if entry.get("event") == name and fields.items() <= entry.items():
                        found.append(entry)
        return found

    def wait_event(self, name: str, *, count: int = 1, secs: float = PATIENCE_SECS, **fields: object) -> dict[str, Any]:
        """Return the event of that name, the *count*th with these fields, once it is logged."""
        return wait_for(lambda: self._nth(name, count, fields), f"{self.name}: {name} {fields or ''}", secs)

    def _nth(self, name: str, count: int, fields: dict[str, object]) -> dict[str, Any] | None:
        running = self.running  # asked first: what it logged last is then read
        found = self.events(name, **fields)
        if len(found) >= count:
            return found[count - 1]
        if not running:
            raise AssertionError(f"{self.name} has ended with {self._process.returncode}, without {name}")
        return None

    # -- its web interface

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Send *body* as JSON; return what `get` returns."""
        return self._send("POST", path, body)

    def put(self, path: str, body: object = None) -> tuple[int, Any]:
        """Send a PUT with *body* as JSON, or without one."""
        return self._send("PUT", path, body)

    def _send(self, method: str, path: str, body: object) -> tuple[int, Any]:
        data, headers = (
            (None, {}) if body is None else (json.dumps(body).encode(), {"Content-Type": "application/json"})
        )
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers, method=method))

    def delete(self, path: str) -> tuple[int, Any]:
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}", method="DELETE"))

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and decoded body of an answer; (0, reason) where nobody answers."""
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}"))

    def ask(self, method: str, path: str, body: object = None, *, secs: float = ANSWER_SECS) -> tuple[int, Any]:
        """Send any request, with *body* as JSON; return what `get` returns."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        return self._ask(Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method), secs)

    def _ask(self, request: Request, secs: float = ANSWER_SECS) -> tuple[int, Any]:
        if self.login:
            request.add_header("Authorization", f"Basic {base64.b64encode(self.login.encode()).decode()}")
        try:
            with urlopen(request, timeout=secs) as response:  # noqa: S310  # http, see above
                status, raw = response.status, response.read()
        except HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        except (URLError, OSError) as error:
            return 0, str(error)
        text = raw.decode()
        self.answers.append(text)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    @property
    def ready(self) -> bool:
        return self.get("/ready")[0] == 200

    def wait_ready(self, secs: float = PATIENCE_SECS) -> Self:
        def ask() -> bool:
            if not self.running:
                raise AssertionError(f"{self.name} has ended with {self._process.returncode}, not become ready")
            return self.ready

        wait_for(ask, f"{self.name}: /ready", secs)
        return self

    def status(self, connector: str = "posts") -> dict[str, Any]:
        """Return the connector's status, or nothing while there is none."""
        status, body = self.get(f"/connectors/{connector}/status")
        return body if status == 200 else {"tasks": []}

    def delivered(self, connector: str = "posts") -> int:
        """Return how many posts the committed source offsets count, as this worker knows them."""
        status, body = self.get(f"/connectors/{connector}/offsets")
        return sum(entry["offset"]["posts"] for entry in body["offsets"]) if status == 200 else 0

    def wait_delivered(self, posts: int, secs: float = PATIENCE_SECS) -> None:
        wait_for(lambda: self.delivered() >= posts, f"{self.name}: {posts} posts delivered", secs)

    @property
    def tasks(self) -> set[int]:
        """The tasks that this worker runs, by its own metrics."""
        status, text = self.get("/metrics")
        lines = text.splitlines() if status == 200 else []
        running = [line for line in lines if 'state="RUNNING"' in line and line.endswith(" 1.0")]
        return {int(line.partition('task="')[2].partition('"')[0]) for line in running}

    # -- its life

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=30)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def wait(self, secs: float = PATIENCE_SECS) -> int:
        """Return the exit code, once it has ended."""
        try:
            return self._process.wait(timeout=secs)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {secs:g} s") from None

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.terminate()
        return self.wait()

    def close(self) -> None:
        """Leave nothing behind, not even a frozen process."""
        if self.running:
            self.kill()


class Workers:
    """The workers of one test, in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Worker] = []

    def start(
        self,
        environment: Mapping[str, str],
        *,
        through: Sequence[str] = (),
        stdout: int | None = None,
        **overrides: object,
    ) -> Worker:
        """Start a worker; `topic="x"` is CONNECTOR_TOPIC."""
        name = f"w{len(self.all) + 1}"
        own = {f"CONNECTOR_{key.upper()}": str(value) for key, value in overrides.items()}
        settings = {"CONNECTOR_WEB_PORT": str(free_port()), **environment, **own}
        worker = Worker(name, self._folder / name, settings, through=through, stdout=stdout)
        self.all.append(worker)
        return worker

    def logs(self, lines: int = 60) -> list[tuple[str, str]]:
        """Return title and last lines of each worker's log."""
        return [(f"log of {worker.name}", "\n".join(worker.log.splitlines()[-lines:])) for worker in self.all]

    def close(self) -> None:
        for worker in self.all:
            worker.close()


def undeclared(broker: Broker, name: str) -> dict[str, str]:
    """Return what a worker of the group *name* needs that declares no connector."""
    return _variables(broker_url=broker.url, group_id=name, broker_session_timeout=SESSION_SECS, log_format="json")


def by_rest(
    broker: Broker, workers: "Workers", url: str, name: str, options: Mapping[str, str]
) -> tuple[Worker, dict[str, str]]:
    """
    Start a worker of the group *name* that declares no connector, and create `birds` by REST.

    It follows two hashtags from the simulator at *url* into the topic *name*, with *options*.  Return the worker, once
    the stream is connected, and the configuration as it answers it.
    """
    worker = workers.start(undeclared(broker, name) | {"CONNECTOR_SIMULATED_TOKEN": TOKEN}).wait_ready()
    config = {
        "connector.class": "PostStreamSourceConnector",
        "topic": name,
        "hashtags": "murmuration,kafka",
        "x.bearer.token": "${env:CONNECTOR_SIMULATED_TOKEN}",
        "x.api.url": url,
        **options,
    }
    status, answer = worker.put("/connectors/birds/config", config)
    assert status == 201, answer
    worker.wait_event("stream.connected")
    return worker, answer["config"]


def environment(broker: Broker, url: str, name: str, **overrides: object) -> dict[str, str]:
    """Return what a worker needs to follow #murmuration from the simulator at *url* into the topic *name*."""
    settings = {
        "topic": name,
        "x_api_url": url,
        "x_bearer_token": TOKEN,
        "hashtags": "murmuration",
        "topic_creation_default_partitions": 3,
        "settle_secs": 2,
        **overrides,
    }
    return undeclared(broker, name) | _variables(**settings)


def _variables(**settings: object) -> dict[str, str]:
    return {f"CONNECTOR_{key.upper()}": str(value) for key, value in settings.items()}


def all_delivered(simulator: SimulatorThread, worker: Worker) -> bool:
    """Return whether *worker* has delivered all that was written; what no kernel has taken yet is still to be."""
    backlog = simulator.call(lambda: sum(c.backlog for c in simulator.simulator.streams.live()))
    return not backlog and worker.delivered() == len(simulator.emissions.complete_ids())


def seconds_between(earlier: Mapping[str, Any] | float, later: Mapping[str, Any] | float) -> float:
    """Return the seconds between two events of logs, or UNIX times."""
    a, b = (
        at if isinstance(at, float) else datetime.fromisoformat(at["timestamp"]).timestamp() for at in (earlier, later)
    )
    return b - a
