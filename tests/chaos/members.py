"""
Connectors that share a stream, and come and go: created, paused, resumed, changed, stopped, restarted, deleted.

Every connector has a thread of its own, which asks any of the workers alive over REST, again until it is done: what is
asked twice is the same.  It notes what it has asked for and from when on that surely was so (`wanted`), and starts its
connector again if a bad line has ended it.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tests.brokers import Broker
from tests.chaos.sightings import Watch
from tests.chaos.stage import Stage
from tests.chaos.times import Times
from tests.chaos.wanted import Act, Firm, History, Labels
from tests.workers import TOKEN, undeclared

_NEITHER = " -is:retweet -is:quote"
VALUES: Mapping[str, str] = {
    "murmurations": f"#murmuration{_NEITHER}",
    "starlings": f"#starling{_NEITHER}",
    "meadows": f"#meadow{_NEITHER}",
    "english": f"(#murmuration OR #starling) lang:en{_NEITHER}",
    "lanterns": f"lantern{_NEITHER}",
    "author": "from:synthetic_user_00007",
    "authors": " OR ".join(f"from:synthetic_user_{number:05d}" for number in range(20)),
}
"""Rules by label; search finds by each exactly what the stream sends, see `alone`."""

SURE_SECS = 2.0
"""A task has heard so long after X holds rules that it does."""

LOOK_SECS = 0.25
PATIENCE_SECS = 150.0
ANSWER_SECS = 30.0
RESTS = (0.1, 1.0, 4.0, 13.0)
"""About how long a connector is left alone after an act (seconds); after the longest it surely reads."""

AGAIN = frozenset({0, 404, 409, 500, 503})
"""Nobody answers; another worker has not read of it yet; the group is not ready, or another request was faster."""

BAD_LINE = "ToleranceExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a connector always wants, by label, what it wants now and then, and how it differs from the others."""

    name: str
    always: Labels
    sometimes: Labels
    settings: Mapping[str, str] = field(default_factory=dict)


PARTS = (
    Part(
        name="birds",
        always=frozenset({"murmurations", "starlings"}),
        sometimes=frozenset({"english", "authors", "lanterns"}),
    ),
    Part(
        name="meadows",
        always=frozenset({"meadows", "murmurations"}),
        sometimes=frozenset({"starlings", "author"}),
    ),
    Part(
        name="writers",
        always=frozenset({"authors", "lanterns"}),
        sometimes=frozenset({"english", "murmurations"}),
        settings={"errors.tolerance": "all", "dead.letter.topic": "{topic}-dead"},
    ),
)


def shared_settings(times: Times, broker: Broker, group: str) -> dict[str, str]:
    """Return the environment of a worker that declares nothing."""
    return undeclared(broker, group) | {
        "CONNECTOR_GOOD_TOKEN": TOKEN,
        "CONNECTOR_BROKER_SESSION_TIMEOUT": str(times.session),
    }


class Member:
    """One connector that comes and goes; *seed* decides what is asked of it, and when."""

    def __init__(self, part: Part, stage: Stage, watch: Watch, *, topic: str, seed: str) -> None:
        self.name, self.topic, self.part = part.name, topic, part
        self.history = History()
        self.answers: Counter[int] = Counter()
        """How often which status was answered."""
        self._stage, self._watch = stage, watch
        self._rng = random.Random(f"{seed} {part.name}")
        self._state, self._rules = "GONE", self._choice()
        self._held_at: float | None = None
        self._firm = False
        self._ending, self._over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=part.name, daemon=True)

    def __enter__(self) -> Self:
        self._do("create")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._over.set()
        self._thread.join(timeout=PATIENCE_SECS)

    def check(self) -> None:
        """
        Look whether all is well with it.

        Raises:
            AssertionError: it was answered what it must not be, or has FAILED.
        """
        if self._error is not None:
            raise AssertionError(f"{self.name}: {self._error}") from self._error

    def come_to_rest(self) -> None:
        """Ask nothing more of it than to run, and return once it surely does."""
        self._ending.set()
        end = time.monotonic() + 2 * PATIENCE_SECS
        while not (self._firm and self._state == "RUNNING"):
            self.check()
            assert time.monotonic() < end, f"{self.name} does not read with the rules {sorted(self._rules)}"
            time.sleep(LOOK_SECS)

    # -- its thread

    def _run(self) -> None:
        next_at = time.monotonic() + self._rest()
        try:
            while not self._over.wait(LOOK_SECS):
                self._look()
                if self._ending.is_set():
                    if self._state != "RUNNING":
                        self._do("create" if self._state == "GONE" else "resume")
                elif time.monotonic() >= next_at:
                    self._do(self._next_act())
                    next_at = time.monotonic() + self._rest()
        except BaseException as error:  # noqa: BLE001  # the test hears of it by `check`
            self._error = error

    def _rest(self) -> float:
        return self._rng.choice(RESTS) * self._rng.uniform(0.5, 1.5)

    def _next_act(self) -> str:
        if self._state == "GONE":
            return "create"
        if self._state == "RUNNING":
            return self._rng.choice(["pause", "stop", "change", "change", "restart", "delete"])
        return self._rng.choice(["resume", "resume", "resume", "change", "delete"])

    def _choice(self) -> Labels:
        chosen = self._rng.sample(sorted(self.part.sometimes), self._rng.randint(0, len(self.part.sometimes)))
        return self.part.always | frozenset(chosen)

    def _look(self) -> None:
        """Note whether it surely reads by now, and start it again if a bad line has ended it."""
        if self._state != "RUNNING":
            return
        failure = self._failure()
        if failure is not None:
            assert failure.startswith(BAD_LINE), f"it has FAILED, and is not tried again by itself: {failure}"
            assert "errors.tolerance" not in self.part.settings, f"it has FAILED of a bad line: {failure}"
            self._do("restart")
        elif not self._firm:
            self._look_for_rules()

    def _failure(self) -> str | None:
        """Return why it has FAILED for good."""
        for worker in list(self._stage.alive):
            for task in worker.status(self.name)["tasks"]:
                if task["state"] == "FAILED" and "autoRestart" not in task:
                    return str(task.get("trace"))
        return None

    def _look_for_rules(self) -> None:
        simulator = self._stage.simulator
        held = simulator.call(lambda: {rule.value: rule.tag or "" for rule in simulator.simulator.rules})
        left = {value for value, tag in held.items() if tag.startswith(f"{self.name}/")}
        wanted = {VALUES[label] for label in self._rules}
        if not (wanted <= held.keys() and left <= wanted):
            self._held_at = None
            return
        self._held_at = self._held_at or time.time()
        seen = self._watch.latest(self.name)
        if seen is not None and seen.covered_to_ms >= (self._held_at + SURE_SECS) * 1000:
            self.history.firms.append(Firm(at=time.time(), claimed_ms=seen.covered_to_ms, rules=self._rules))
            self._firm = True

    # -- what it asks

    def _do(self, kind: str) -> None:
        self._firm, self._held_at = False, None
        began = time.time()
        if kind in ("change", "create"):
            self._rules = self._choice()
        # noted at once: whoever compares may see what has come of it before it is known here
        self.history.acts.append(Act(kind=kind, began=began, done=began, rules=self._rules))
        getattr(self, f"_{kind}")()
        self.history.acts[-1] = Act(kind=kind, began=began, done=time.time(), rules=self._rules)

    def _create(self) -> None:
        body = {"name": self.name, "config": self._config()}
        if self._ask("POST", "/connectors", body, {201, 409}) == 409:  # perhaps it was done before
            self._change()
        self._state = "RUNNING"

    def _change(self) -> None:
        self._ask("PUT", f"/connectors/{self.name}/config", self._config(), {200, 201})

    def _pause(self) -> None:
        self._ask("PUT", f"/connectors/{self.name}/pause", None, {202})
        self._state = "PAUSED"

    def _stop(self) -> None:
        self._ask("PUT", f"/connectors/{self.name}/stop", None, {204})
        self._state = "STOPPED"

    def _resume(self) -> None:
        self._ask("PUT", f"/connectors/{self.name}/resume", None, {202})
        self._state = "RUNNING"

    def _restart(self) -> None:
        self._ask("POST", f"/connectors/{self.name}/restart?includeTasks=true", None, {200, 202, 204})

    def _delete(self) -> None:
        self._ask("DELETE", f"/connectors/{self.name}", None, {204}, done_before={404})
        self._state = "GONE"

    def _ask(
        self,
        method: str,
        path: str,
        body: object,
        accepted: Collection[int],
        *,
        done_before: Collection[int] = (),
    ) -> int:
        """Ask until the status is one of *accepted*, or *done_before* after a request whose outcome is not known."""
        end = time.monotonic() + PATIENCE_SECS
        while True:
            alive = list(self._stage.alive)
            status, answer = 0, "no worker is alive"
            if alive:
                with self._stage.requests:
                    status, answer = self._rng.choice(alive).ask(method, path, body, secs=ANSWER_SECS)
                self.answers[status] += 1
            if status in accepted:
                return status
            if status != 404:  # another worker may know it already
                accepted = {*accepted, *done_before}
            self._check_answer(method, path, status, answer, late=time.monotonic() > end)
            time.sleep(LOOK_SECS)

    @staticmethod
    def _check_answer(method: str, path: str, status: int, answer: Any, *, late: bool) -> None:
        assert status in AGAIN, f"{method} {path}: {status}, {answer}"
        assert not late, f"{method} {path}, again and again: {status}, {answer}"

    def _config(self) -> dict[str, str]:
        times, simulator = self._stage.times, self._stage.simulator
        own = {key: value.format(topic=self.topic) for key, value in self.part.settings.items()}
        return {
            "connector.class": "PostStreamSource",
            "topic": self.topic,
            "rules": json.dumps([{"value": VALUES[label], "tag": label} for label in sorted(self._rules)]),
            "x.bearer.token": "${env:CONNECTOR_GOOD_TOKEN}",
            "x.api.url": simulator.url,
            "plan": "pay_per_use",
            "recovery": "auto",
            "settle.secs": f"{times.settle:g}",
            "silence.timeout.secs": f"{times.silence:g}",
            **own,
        }
