"""
Measures 1, 3 and 10 connectors on one stream: the same lines, for one of them each, or each for all of them.

The feed of `throughput` (lines of 2.6 KB as fast as the socket takes them), exactly once, one worker that declares
nothing, connectors made over REST with a topic of four partitions each.  *each for one*: each connector has a rule of
its own, and each line matches one of these rules in turn.  *each for all*: all connectors want the same rule, which X
holds once, and each line goes into all topics.

In each round every way runs once, in a rotating order.  Posts are counted in all topics, as a reader of committed
records gets them.  CPU is given for a line that was read, and for a record that was written.  Then the same at 250
lines/s, one line in each chunk: the time from the read of the socket to the commit, by the worker's own histogram
(`fine_worker`).
"""

import contextlib
import statistics
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import orjson

from benchmarks.latency import FINE, commits, percentile
from benchmarks.report import Failures, say
from benchmarks.rig import LINE_BYTES, PARTITIONS, RULE, TOKEN, Failure, Process, Rig, Running, Simulator
from benchmarks.scenario import Effort
from benchmarks.tables import NOTHING, Text, grid
from tests.brokers import free_port

SPEED, PACE = "speed", "pace"
PARTS = (SPEED, PACE)
PACED_RATE = 250
PACED_FACTOR = 2
"""Windows at 250 lines/s are so much longer: they hold few lines."""

COLUMNS = {
    "lines/s": ",.0f",
    "records/s": ",.0f",
    "CPU µs a line": ".1f",
    "CPU µs a record": ".1f",
    "peak MB": ",.0f",
}
PACED_COLUMNS = {"commit p50, ms": ".1f", "commit p99, ms": ".1f", "CPU of a core, %": ".1f", "peak MB": ",.0f"}
"""What is measured of each way, and its format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """So many *connectors* on one stream, and whether each line is for all of them."""

    name: str
    connectors: int
    for_all: bool = False

    @property
    def rules(self) -> Sequence[str]:
        """The value of each connector's rule."""
        return [RULE if self.for_all else f"{RULE} number{number}" for number in range(self.connectors)]

    @property
    def copies(self) -> int:
        """How many records a line becomes."""
        return self.connectors if self.for_all else 1


WAYS = (
    Way(name="1 connector", connectors=1),
    Way(name="3, each line for one", connectors=3),
    Way(name="10, each line for one", connectors=10),
    Way(name="3, each line for all", connectors=3, for_all=True),
    Way(name="10, each line for all", connectors=10, for_all=True),
)
Numbers = Sequence[float]
"""What was measured of one way in one round, in the order of a table's columns."""


def shared(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run all ways in rounds: at full speed, and at a pace."""
    if effort.wants(SPEED):
        yield from _rounds(bench, effort, COLUMNS, _speed)
    if effort.wants(PACE):
        text, *failures = _rounds(bench, effort, PACED_COLUMNS, _pace)
        yield f"At {PACED_RATE} lines/s, in windows {PACED_FACTOR} times as long:\n\n{text}"
        yield from failures


def _rounds(
    bench: Rig, effort: Effort, columns: Mapping[str, str], measure: Callable[[Rig, Way, Effort], Numbers]
) -> Iterator[Text]:
    taken: dict[Way, dict[int, Numbers]] = {way: {} for way in WAYS}
    failures = Failures()
    for number in range(effort.rounds):
        first = number % len(WAYS)
        for way in WAYS[first:] + WAYS[:first]:
            try:
                taken[way][number] = measure(bench, way, effort)
            except Failure as failure:
                say(f"{way.name}: {failure}")
                failures.add(way.name, failure)
            else:
                told = zip(columns.items(), taken[way][number], strict=True)
                say(f"{way.name:<24} {', '.join(f'{what} {value:{style}}' for (what, style), value in told)}")
    yield _table(columns, taken)
    yield from failures.said


def _table(columns: Mapping[str, str], taken: Mapping[Way, Mapping[int, Numbers]]) -> Text:
    """Return medians, and behind each the median of the rounds' ratios to one connector."""
    alone = taken[WAYS[0]]
    rows: list[Sequence[str]] = [("", *(cell for name in columns for cell in (name, "x 1")))]
    for way, rounds in taken.items():
        cells = [way.name]
        for column, style in enumerate(columns.values()):
            values = [numbers[column] for numbers in rounds.values()]
            ratios = [rounds[n][column] / alone[n][column] for n in rounds.keys() & alone.keys()]
            cells.append(f"{statistics.median(values):{style}}" if values else NOTHING)
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else NOTHING)
        rows.append(cells)
    return grid(rows)


# -- at full speed


def _speed(bench: Rig, way: Way, effort: Effort) -> Numbers:
    with _running(bench, way, rate=0, fine=False) as (running, topics):
        running.sleep(effort.warmup)
        before, cpu_secs = bench.moment(running, topics), running.cpu_secs
        running.sleep(effort.seconds)
        after, used = bench.moment(running, topics), running.cpu_secs - cpu_secs
        peak = running.peak_rss_bytes
        records = bench.records_between(before, after)
    if not records:
        raise Failure(f"no record within {effort.seconds:g} s\n{running.processes[0].said}")
    lines, secs = records / way.copies, after.at - before.at
    return (lines / secs, records / secs, used / lines * 1e6, used / records * 1e6, peak / 1e6)


# -- at a pace


def _pace(bench: Rig, way: Way, effort: Effort) -> Numbers:
    with _running(bench, way, rate=PACED_RATE, fine=True) as (running, _):
        running.sleep(effort.warmup)
        before, cpu_secs = commits(running), running.cpu_secs
        running.sleep(effort.seconds * PACED_FACTOR)
        after, used = commits(running), running.cpu_secs - cpu_secs
        peak = running.peak_rss_bytes
    counts = {secs: after[secs] - before.get(secs, 0.0) for secs in after}
    p50, p99 = percentile(counts, 50), percentile(counts, 99)
    if p50 is None or p99 is None:
        raise Failure("nothing was committed")
    return (p50 * 1000, p99 * 1000, used / (effort.seconds * PACED_FACTOR) * 100, peak / 1e6)


# -- a worker with connectors


@contextlib.contextmanager
def _running(bench: Rig, way: Way, *, rate: float, fine: bool) -> Iterator[tuple[Running, Sequence[str]]]:
    """Run a feed, and a worker whose connectors all deliver; yield the worker and its topics."""
    rules = dict.fromkeys(f"{value}=>{_name(number)}/cats" for number, value in enumerate(way.rules))
    held = list(rules)[:1] if way.for_all else list(rules)
    emissions = str(bench.folder / "emissions-shared")
    arguments = ("benchmarks.shared_feed", str(rate), str(LINE_BYTES), emissions, *held)
    with bench.simulator(*arguments) as simulator, bench.topic() as topic:
        running = _worker(bench, topic, fine=fine)
        try:
            topics = [_connector(running, simulator, topic, number, value) for number, value in enumerate(way.rules)]
            running.await_(lambda: simulator.connections == 1, "1 connection")
            running.await_(lambda: all(sum(bench.ends(each).values()) for each in topics), "posts in all topics")
            yield running, topics
        finally:
            running.stop()


def _name(number: int) -> str:
    return f"c{number}"


def _worker(bench: Rig, topic: str, *, fine: bool) -> Running:
    port = free_port()
    environment = {
        "CONNECTOR_BROKER_URL": bench.broker.url,
        "CONNECTOR_GROUP_ID": f"{topic}-group",
        "CONNECTOR_WEB_PORT": str(port),
        "CONNECTOR_GOOD_TOKEN": TOKEN,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    command = [sys.executable, *(FINE if fine else ("-m", "connector", "worker"))]
    process = Process(command, bench.log(topic), environment)
    running = Running(topic, [process], urls=[f"http://127.0.0.1:{port}"])
    running.await_(lambda: _is_ready(running), "a ready worker")
    return running


def _is_ready(running: Running) -> bool:
    try:
        with urllib.request.urlopen(f"{running.urls[0]}/ready", timeout=10):  # noqa: S310  # http
            return True
    except OSError:
        return False


def _connector(running: Running, simulator: Simulator, topic: str, number: int, rule: str) -> str:
    """Create a connector; return its topic."""
    config = {
        "connector.class": "PostStreamSource",
        "topic": f"{topic}-{_name(number)}",
        "topic.creation.default.partitions": str(PARTITIONS),
        "rules": orjson.dumps([{"value": rule, "tag": "cats"}]).decode(),
        "x.bearer.token": "${env:CONNECTOR_GOOD_TOKEN}",
        "x.api.url": simulator.url,
        "recovery": "none",  # the simulator's search does not have the feed's posts
    }
    body = orjson.dumps({"name": _name(number), "config": config})
    request = urllib.request.Request(  # noqa: S310  # http
        f"{running.urls[0]}/connectors", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # http
            return config["topic"]
    except HTTPError as error:
        with error:
            raise Failure(f"POST /connectors: {error.code}, {error.read().decode()}") from error
