"""
Measures one worker with many connectors: how fast REST answers, what the worker takes while nothing happens.

Each connector has an account of its own, so each of its tasks has a connection, a slot and a producer; or it was
created PAUSED.  A group begins with 64 slots: 200 tasks let its topics grow three times.
"""

import itertools
import math
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import orjson

from benchmarks.report import first_line, say
from benchmarks.rig import ROOT, TOKEN, Failure, Process, Rig, Running
from benchmarks.scenario import Effort
from benchmarks.tables import NOTHING, Text, grid
from tests.brokers import free_port

READS, CHANGES = 200, 40
"""How many requests of a kind are timed."""

SETTLE_SECS = 30.0
"""Time for all tasks to begin before anything is measured."""

TASKS_SECS = 300.0
"""Two hundred tasks may take so long to begin: workers learn of new slots every ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many *connectors* of one worker with so many *tasks* each, in the *state*."""

    name: str
    connectors: int
    tasks: int = 1
    state: str = "RUNNING"

    @property
    def stream(self) -> Mapping[str, str]:
        """The options that say what they read; `sample10` has two partitions."""
        if self.tasks == 1:
            return {"hashtags": "murmuration"}
        return {"stream": "sample10", "plan": "enterprise", "tasks.max": str(self.tasks)}


CROWDS = (
    Crowd(name="no connector", connectors=0),
    Crowd(name="60 that read", connectors=60),
    Crowd(name="60 paused", connectors=60, state="PAUSED"),
    Crowd(name="100 with 200 tasks", connectors=100, tasks=2),
)
PARTS = tuple(crowd.name for crowd in CROWDS)
HEAD = (
    "ms, median and 99th percentile",
    "list",
    "status",
    "all with `expand`",
    "put config",
    "create",
    "MB",
    "idle CPU %",
)


def cluster(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run the parts of the scenario."""
    rows: list[Sequence[str]] = [HEAD]
    for crowd in CROWDS:
        if effort.wants(crowd.name):
            try:
                rows.append(_measured(bench, crowd, effort))
            except Failure as failure:
                say(f"{crowd.name}: {failure}")
                rows.append((f"{crowd.name}: {first_line(failure)}", *[NOTHING] * (len(HEAD) - 1)))
            else:
                say("  ".join(rows[-1]))
    yield grid(rows)


def _measured(bench: Rig, crowd: Crowd, effort: Effort) -> Sequence[str]:
    with bench.topic() as topic:
        simulators, urls = _simulators(bench, topic, crowd.connectors)
        try:
            running = _worker(bench, topic)
            try:
                return _asked(running, crowd, urls, topic, effort)
            finally:
                running.stop()
        finally:
            simulators.stop()


def _simulators(bench: Rig, topic: str, count: int) -> tuple[Process, Sequence[str]]:
    log = bench.log(topic, 2)
    process = Process([sys.executable, str(ROOT / "benchmarks/scripts/many_simulators.py"), str(count)], log, {})
    while "ready" not in (said := log.read_text()):
        process.sleep(0.1)
    return process, [line for line in said.splitlines() if line.startswith("http://")]


def _worker(bench: Rig, topic: str) -> Running:
    port = free_port()
    environment = {
        "CONNECTOR_BROKER_URL": bench.broker.url,
        "CONNECTOR_GROUP_ID": f"{topic}-group",
        "CONNECTOR_WEB_PORT": str(port),
        "CONNECTOR_GOOD_TOKEN": TOKEN,
    }
    process = Process([sys.executable, "-m", "connector", "worker"], bench.log(topic), environment)
    running = Running(topic, [process], urls=[f"http://127.0.0.1:{port}"])
    running.await_(lambda: _is_up(running), "the worker's REST interface")
    return running


def _is_up(running: Running) -> bool:
    try:
        _ask(running, "GET", "/health")
    except (Failure, OSError):
        return False
    return True


def _ask(running: Running, method: str, path: str, body: object = None) -> Any:
    """
    Return the decoded answer.

    Raises:
        Failure: it is an error.
        OSError: nobody answers.
    """
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(  # noqa: S310  # http
        f"{running.urls[0]}{path}", data, {"Content-Type": "application/json"} if data else {}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # http
            raw = answer.read()
    except HTTPError as error:
        with error:
            raise Failure(f"{method} {path}: {error.code}, {error.read().decode()}") from error
    return orjson.loads(raw) if raw else None


def _asked(running: Running, crowd: Crowd, urls: Sequence[str], topic: str, effort: Effort) -> Sequence[str]:
    names = [f"{topic}-c{number}" for number in range(crowd.connectors)]
    configs = [_config(topic, url) | crowd.stream for url in urls]
    creates = [
        _timed(running, "POST", "/connectors", {"name": name, "config": config, "initial_state": crowd.state})
        for name, config in zip(names, configs, strict=True)
    ]
    running.await_(
        lambda: _settled(running, crowd), f"{crowd.connectors * crowd.tasks} tasks that run", secs=TASKS_SECS
    )
    running.sleep(SETTLE_SECS if names else effort.warmup)
    cpu_secs, begun = running.cpu_secs, time.monotonic()
    running.sleep(effort.seconds)
    idle = (running.cpu_secs - cpu_secs) / (time.monotonic() - begun) * 100
    lists = [_timed(running, "GET", "/connectors") for _ in range(READS)]
    every = [_timed(running, "GET", "/connectors?expand=status&expand=info") for _ in range(READS)]
    states = [_timed(running, "GET", f"/connectors/{name}/status") for name, _ in _each(names, READS)]
    puts = [
        _timed(running, "PUT", f"/connectors/{name}/config", configs[number % len(names)] | _changed(number))
        for name, number in _each(names, CHANGES)
    ]
    memory = f"{running.rss_bytes / 1e6:,.0f}"
    return (crowd.name, *map(_middle, (lists, states, every, puts, creates)), memory, f"{idle:.1f}")


def _each(names: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
    return zip(itertools.cycle(names), range(count if names else 0), strict=False)


def _config(topic: str, url: str) -> dict[str, str]:
    return {
        "connector.class": "PostStreamSource",
        "topic": topic,
        "x.bearer.token": "${env:CONNECTOR_GOOD_TOKEN}",
        "x.api.url": url,
    }


def _changed(number: int) -> dict[str, str]:
    return {"settle.secs": str(20 + number)}


def _settled(running: Running, crowd: Crowd) -> bool:
    found = _ask(running, "GET", "/connectors?expand=status")
    tasks = [task["state"] for each in found.values() for task in each["status"]["tasks"]]
    if crowd.state == "PAUSED":
        return len(found) == crowd.connectors
    return len(tasks) == crowd.connectors * crowd.tasks and set(tasks) <= {"RUNNING"}


def _timed(running: Running, method: str, path: str, body: object = None) -> float:
    """Return how long an answer took (ms)."""
    begun = time.perf_counter()
    _ask(running, method, path, body)
    return (time.perf_counter() - begun) * 1000


def _middle(times_ms: Sequence[float]) -> str:
    """Return the median and the 99th percentile."""
    if not times_ms:
        return NOTHING
    last = sorted(times_ms)[math.ceil(len(times_ms) * 0.99) - 1]
    return f"{statistics.median(times_ms):.1f}, {last:.0f}"
