"""
Any requests in any order at two workers, either of which is killed now and then: Kafka, tasks, simulated X.

The model is Kafka Connect's table of states.  No answer is an error of ours, nothing that was confirmed is lost, and in
the end both workers say the same.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from connector.simulator import SimulatorThread
from tests.brokers import Broker, free_port
from tests.connect.translated import COVERED_TO, PARTITION
from tests.workers import SESSION_SECS, TOKEN, Worker, Workers, wait_for

SECS = int(os.environ.get("CONNECTOR_REST_STATES_SECS", "40"))
"""How long requests are made."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(SECS + 300)]

EXAMPLE_SECS = 2.0
"""About how long one example takes, in which connectors come and go."""

STEPS = 30
AGREE_SECS = 30.0
ANSWER_SECS = 30.0
STARTING, NO_ANSWER = 503, 0

NAMES = st.sampled_from(["birds", "trees", "stars"])
TURNS = st.booleans()
STATES = st.sampled_from([None, "RUNNING", "PAUSED", "STOPPED"])
SETTLE = st.integers(2, 60).map(str)
ACTS = st.sampled_from(["pause", "resume", "stop"])

AFTER = {"pause": "PAUSED", "resume": "RUNNING", "stop": "STOPPED"}
DONE = {"pause": 202, "resume": 202, "stop": 204}
ALIVE = {"RUNNING", "UNASSIGNED", "FAILED", "RESTARTING"}
"""What a connector that should run may say of itself while its task begins, waits for X, or moves."""


@dataclass(frozen=True)
class Known:
    """What was confirmed of one connector; *covered_to* is None where a task may have moved it since."""

    settle: str
    state: str
    covered_to: str | None = None


@dataclass
class Host:
    """One worker that is killed and started again at the same port."""

    start: Callable[[], Worker]
    worker: Worker
    starting: bool = False
    answers: list[int] = field(default_factory=list)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and decoded body; (0, reason) where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = Request(f"http://127.0.0.1:{self.worker.port}{path}", data, headers, method=method)
        try:
            with urlopen(request, timeout=ANSWER_SECS) as response:  # noqa: S310  # http, see above
                status, raw = response.status, response.read()
        except HTTPError as error:
            with error:
                status, raw = error.code, error.read()
        except (URLError, OSError) as error:
            return NO_ANSWER, str(error)
        self.answers.append(status)
        return status, json.loads(raw) if raw else None

    def look(self) -> None:
        """Find out whether it has started meanwhile."""
        self.starting = self.starting and self.ask("GET", "/health")[0] != 200

    def kill(self) -> None:
        """SIGKILL, and start it again."""
        self.worker.kill()
        self.worker, self.starting = self.start(), True


class Group:
    """Two workers, and how a connector of theirs is configured."""

    def __init__(self, broker: Broker, simulator: SimulatorThread, workers: Workers, name: str) -> None:
        self.topic, self.url = name, simulator.url
        shared = {
            "CONNECTOR_BROKER_URL": broker.url,
            "CONNECTOR_GROUP_ID": name,
            "CONNECTOR_BROKER_SESSION_TIMEOUT": str(SESSION_SECS),
            "CONNECTOR_LOG_FORMAT": "json",
            "CONNECTOR_GOOD_TOKEN": TOKEN,
        }
        self.hosts = [self._host(workers, {**shared, "CONNECTOR_WEB_PORT": str(free_port())}) for _ in range(2)]
        for host in self.hosts:
            host.worker.wait_ready()

    @staticmethod
    def _host(workers: Workers, environment: Mapping[str, str]) -> Host:
        def start() -> Worker:
            return workers.start(environment)

        return Host(start, start())

    def config(self, settle: str) -> dict[str, str]:
        return {
            "connector.class": "PostStreamSource",
            "topic": self.topic,
            "hashtags": "murmuration",
            "x.bearer.token": "${env:CONNECTOR_GOOD_TOKEN}",
            "x.api.url": self.url,
            "settle.secs": settle,
        }


class States(RuleBasedStateMachine):
    """Requests at the two workers of *group*, until *end* (monotonic)."""

    group: ClassVar[Group]
    end: ClassVar[float]
    kills: ClassVar[random.Random]
    """Draws the moments at which a worker is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Known] = {}
        if not self.over:
            self._sweep()

    @property
    def over(self) -> bool:
        return time.monotonic() > self.end

    def _sweep(self) -> None:
        for host in self.group.hosts:
            wait_for(lambda host=host: (host.look(), not host.starting)[1], "a worker that has started")
        for name in self.group.hosts[0].ask("GET", "/connectors")[1]:
            assert 204 == self.group.hosts[0].ask("DELETE", f"/connectors/{name}")[0]

    def ask(self, second: object, method: str, path: str, body: object = None) -> tuple[int, Any] | None:
        """Return the answer of a worker; None if that has only begun to start, and so has done nothing."""
        host = self.group.hosts[second]
        if self.over:
            return None
        status, answer = host.ask(method, path, body)
        if host.starting and status in {NO_ANSWER, STARTING}:
            host.look()
            return None
        host.starting = False
        assert 200 <= status < 500, (method, path, status, answer)
        return status, answer

    def expect(self, wanted: int, found: tuple[int, Any] | None) -> bool:
        """Return whether an answer came; it must have the status *wanted*."""
        if found is not None:
            assert wanted == found[0], found
        return found is not None

    # -- requests

    @rule(name=NAMES, second=TURNS, settle=SETTLE, state=STATES)
    def create(self, *, name: str, second: bool, settle: str, state: str | None) -> None:
        body = {"name": name, "config": self.group.config(settle)} | ({"initial_state": state} if state else {})
        found = self.ask(second, "POST", "/connectors", body)
        if self.expect(409 if name in self.known else 201, found) and name not in self.known:
            self.known[name] = Known(settle, state or "RUNNING")

    @rule(name=NAMES, second=TURNS, settle=SETTLE)
    def put(self, *, name: str, second: bool, settle: str) -> None:
        found = self.ask(second, "PUT", f"/connectors/{name}/config", self.group.config(settle))
        if self.expect(200 if name in self.known else 201, found):
            before = self.known.get(name, Known(settle, "RUNNING"))
            self.known[name] = replace(before, settle=settle)

    @rule(name=NAMES, second=TURNS, settle=SETTLE)
    def patch(self, *, name: str, second: bool, settle: str) -> None:
        found = self.ask(second, "PATCH", f"/connectors/{name}/config", {"settle.secs": settle})
        if self.expect(200 if name in self.known else 404, found) and name in self.known:
            self.known[name] = replace(self.known[name], settle=settle)

    @rule(name=NAMES, second=TURNS, act=ACTS)
    def move(self, *, name: str, second: bool, act: str) -> None:
        found = self.ask(second, "PUT", f"/connectors/{name}/{act}")
        if self.expect(DONE[act] if name in self.known else 404, found) and name in self.known:
            kept = self.known[name].covered_to if AFTER[act] == "STOPPED" == self.known[name].state else None
            self.known[name] = replace(self.known[name], state=AFTER[act], covered_to=kept)

    @rule(name=NAMES, second=TURNS, tasks=st.booleans())
    def restart(self, *, name: str, second: bool, tasks: bool) -> None:
        found = self.ask(second, "POST", f"/connectors/{name}/restart?includeTasks={tasks}")
        self.expect((202 if tasks else 204) if name in self.known else 404, found)

    @rule(name=NAMES, second=TURNS)
    def delete(self, *, name: str, second: bool) -> None:
        if self.expect(204 if name in self.known else 404, self.ask(second, "DELETE", f"/connectors/{name}")):
            self.known.pop(name, None)

    @rule(name=NAMES, second=TURNS)
    def alter(self, *, name: str, second: bool) -> None:
        body = {"offsets": [{"partition": PARTITION, "offset": {"covered_to": COVERED_TO}}]}
        self._offsets(name, self.ask(second, "PATCH", f"/connectors/{name}/offsets", body), COVERED_TO)

    @rule(name=NAMES, second=TURNS)
    def reset(self, *, name: str, second: bool) -> None:
        self._offsets(name, self.ask(second, "DELETE", f"/connectors/{name}/offsets"), "")

    def _offsets(self, name: str, found: tuple[int, Any] | None, covered_to: str) -> None:
        stopped = name in self.known and self.known[name].state == "STOPPED"
        if self.expect(200 if stopped else 400 if name in self.known else 404, found) and stopped:
            self.known[name] = replace(self.known[name], covered_to=covered_to)

    # -- kills

    @rule(second=TURNS, often=st.integers(0, 3))
    def kill(self, *, second: bool, often: int) -> None:
        if not self.over and not often and not any(host.starting for host in self.group.hosts):
            self.group.hosts[second].kill()

    @rule(name=NAMES, second=TURNS, settle=SETTLE, often=st.integers(0, 1))
    def kill_at_work(self, *, name: str, second: bool, settle: str, often: int) -> None:
        """A worker is killed while it changes a connector: then the change is there, whole, or it is not."""
        host = self.group.hosts[second]
        if self.over or often or any(each.starting for each in self.group.hosts) or name not in self.known:
            return
        after = replace(self.known[name], settle=settle)
        timer = threading.Timer(self.kills.uniform(0, 0.08), host.worker.kill)
        timer.start()
        status, answer = host.ask("PUT", f"/connectors/{name}/config", self.group.config(settle))
        timer.join()
        host.worker, host.starting = host.start(), True
        assert status in {NO_ANSWER, 200}, answer
        if status == NO_ANSWER:
            other = self.group.hosts[not second]
            assert 204 == other.ask("POST", f"/connectors/{name}/restart")[0]  # decides on all that was written
            found = other.ask("GET", f"/connectors/{name}/config")[1]["settle.secs"]
            assert found in {settle, self.known[name].settle}
            after = replace(after, settle=found)
        self.known[name] = after

    # -- what must be

    @invariant()
    def other_worker_knows(self) -> None:
        """What one worker has confirmed, every worker says a moment later."""
        for host in self.group.hosts:
            if not self.over and not host.starting:
                wait_for(lambda host=host: self._agrees(host), f"{host.worker.name} knows {self.known}", AGREE_SECS)

    def _agrees(self, host: Host) -> bool:
        _, said = host.ask("GET", "/connectors?expand=status&expand=info")
        return said.keys() == self.known.keys() and all(
            self._is(known, said[name]) and self._has(host, name, known) for name, known in self.known.items()
        )

    @staticmethod
    def _is(known: Known, said: Mapping[str, Any]) -> bool:
        state, tasks = said["status"]["connector"]["state"], said["status"]["tasks"]
        right = state in ALIVE if known.state == "RUNNING" else state == known.state
        fits = not tasks if known.state == "STOPPED" else True
        return right and fits and said["info"]["config"]["settle.secs"] == known.settle

    @staticmethod
    def _has(host: Host, name: str, known: Known) -> bool:
        if known.covered_to is None:
            return True
        offsets = host.ask("GET", f"/connectors/{name}/offsets")[1]["offsets"]
        return [known.covered_to] * bool(known.covered_to) == [each["offset"]["covered_to"] for each in offsets]

    def teardown(self) -> None:
        if not self.over:
            self._sweep_starting()
            wait_for(self._same, "both workers say the same", AGREE_SECS)

    def _sweep_starting(self) -> None:
        for host in self.group.hosts:
            wait_for(lambda host=host: (host.look(), not host.starting)[1], "a worker that has started")

    def _same(self) -> bool:
        one, two = (host.ask("GET", "/connectors?expand=status&expand=info")[1] for host in self.group.hosts)
        return one == two and all(self._is(known, one[name]) for name, known in self.known.items())


def test_rest_states(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """See the module."""

    class Asked(States):
        group = Group(broker, simulate(enforce_rate_limits=False), workers, fresh)
        end = time.monotonic() + SECS
        kills = random.Random(fresh)  # no secret

    run_state_machine_as_test(
        Asked,
        settings=settings(
            max_examples=max(1, round(SECS / EXAMPLE_SECS)),
            stateful_step_count=STEPS,
            phases=(Phase.generate,),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    answers = [status for host in Asked.group.hosts for status in host.answers]
    print(f"{len(answers)} answers, {len(workers.all) - 2} kills")  # noqa: T201  # for who reads the output

    assert not [status for status in answers if status >= 500 and status != STARTING]
