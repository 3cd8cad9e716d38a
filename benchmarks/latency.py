"""
Measures how long a post takes at moderate rates.

The simulator sends lines of 2.6 KB at 250 and at 2,500 posts/s, one line in each chunk, as X does (`paced_feed`).  Two
times are measured:

*arrival to commit*    The time that the contender itself can measure.  Our worker: from the read of the socket to the
                       confirmed commit (at least once: to the acknowledgements), by its histogram (`fine_worker`).  The
                       script: from `produce` to the delivery report, for which a thread waits; the time that a line
                       waits in tweepy is not included.
*emission to visible*  The time that a user sees: from the moment the simulator hands the post to the kernel, to the
                       moment a consumer with `read_committed` and librdkafka's defaults has it.  Both use the clock of
                       this machine.  A post that is never seen counts as infinitely late.

CPU is that of the contender's process in the same window.  An idle worker is measured, too.
"""

import contextlib
import math
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from confluent_kafka import Consumer, TopicPartition

from benchmarks.contenders import AT_LEAST_ONCE, EXACTLY_ONCE, Contender, Ours, Script
from benchmarks.report import first_line, say
from benchmarks.rig import PARTITIONS, SIMULATOR, Failure, Rig, Running, Simulator
from benchmarks.scenario import Effort
from benchmarks.tables import NOTHING, Text, grid

RATES = (250, 2500)
PERCENTILES = (50, 99, 99.9)
GRACE_SECS = 3.0
"""Posts of the window may become visible until this long after its end."""

FINE = ("-P", str(Path(__file__).parent / "fine_worker.py"), "worker")
"""Arguments of Python that run a worker with a fine histogram."""

WAYS: Sequence[Contender] = (
    replace(EXACTLY_ONCE, command=(sys.executable, *FINE)),
    replace(AT_LEAST_ONCE, command=(sys.executable, *FINE)),
    Script(name="as written", file="confluent_timed.py"),
)
PARTS = ("250", "2500", "idle")
LEAST_BOUNDS = 500

HEAD = (
    *("", "posts/s", *(f"commit p{number}" for number in PERCENTILES)),
    *(*(f"visible p{number}" for number in PERCENTILES), "CPU of a core", "posts"),
)


def latency(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Measure both rates, and an idle worker."""
    rows = [HEAD]
    for rate in RATES:
        if not effort.wants(str(rate)):
            continue
        with bench.paced(rate) as (simulator, emissions):
            rows += [_row(bench, simulator, emissions, way, rate, effort) for way in WAYS]
    if len(rows) > 1:
        yield f"Milliseconds from arrival to commit, and from emission to visible.\n\n{grid(rows)}"
    if effort.wants("idle"):
        yield _idle(bench, effort)


@dataclass(slots=True, kw_only=True)
class Times:
    """Times in seconds: *commits*, from arrival to commit, with the number of posts; *visible*, from emission on."""

    commits: Mapping[float, float]
    visible: Sequence[float]
    rate: float
    """Posts that the simulator emitted per second."""
    cpu_percent: float


def _row(bench: Rig, simulator: Simulator, emissions: Path, way: Contender, rate: int, effort: Effort) -> Sequence[str]:
    taken: list[Times] = []
    why = ""
    for _ in range(effort.rounds):
        try:
            with bench.topic() as topic:
                taken.append(_measure(bench, simulator, emissions, way, effort, topic))
        except Failure as failure:
            say(f"{way.name} at {rate} posts/s: {failure}")
            why = first_line(failure)
    if not taken:
        return (f"{way.name}: {why}", f"{rate:,}", *[NOTHING] * (len(HEAD) - 2))
    commits: dict[float, float] = {}
    for times in taken:
        for secs, posts in times.commits.items():
            commits[secs] = commits.get(secs, 0.0) + posts
    visible = Counter(secs for times in taken for secs in times.visible)
    row = (
        way.name,
        f"{sum(times.rate for times in taken) / len(taken):,.0f}",
        *_percentiles(commits),
        *_percentiles(visible),
        f"{sum(times.cpu_percent for times in taken) / len(taken):.1f} %",
        f"{sum(len(times.visible) for times in taken):,}",
    )
    say("  ".join(row))
    return row


def _percentiles(counts: Mapping[float, float]) -> list[str]:
    found = [percentile(counts, percent) for percent in PERCENTILES]
    return [NOTHING if secs is None else "never" if math.isinf(secs) else f"{secs * 1000:,.1f}" for secs in found]


def percentile(counts: Mapping[float, float], percent: float) -> float | None:
    """Return the percentile in seconds; *counts* are the numbers of posts by their time."""
    left = sum(counts.values()) * percent / 100
    for secs, posts in sorted(counts.items()):
        left -= posts
        if left <= 0:
            return secs
    return None


def _measure(bench: Rig, simulator: Simulator, emissions: Path, way: Contender, effort: Effort, topic: str) -> Times:
    running = way.start(bench, simulator, topic)
    watcher = Watcher(bench, topic)
    try:
        running.await_(lambda: simulator.connections == 1, "1 connection")
        bench.await_first_post(running)
        running.sleep(effort.warmup)
        before, began, cpu = commits(running), time.time(), running.cpu_secs
        running.sleep(effort.seconds)
        ended, used = time.time(), running.cpu_secs - cpu
        after = commits(running)
        running.sleep(GRACE_SECS)
    finally:
        seen = watcher.stop()
        running.stop()
    with contextlib.suppress(OSError):
        simulator.await_hang_up()
    times = map(bytes.split, emissions.read_bytes().splitlines())
    emitted = {post_id.decode(): at for post_id, at in times if began <= float(at) < ended}
    if not emitted:
        raise Failure("nothing was emitted")
    if not isinstance(way, Ours):
        after = _acknowledged(running, began, ended)
    return Times(
        commits={secs: after[secs] - before.get(secs, 0.0) for secs in after},
        visible=[seen.get(post_id, math.inf) - float(at) for post_id, at in emitted.items()],
        rate=len(emitted) / (ended - began),
        cpu_percent=used / (ended - began) * 100,
    )


def commits(running: Running) -> dict[float, float]:
    """Return the numbers of posts that our worker has committed so far, by the upper bound of their time (seconds)."""
    counts: dict[float, float] = {}
    for url in running.urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310  # http
            lines = answer.read().decode().splitlines()
        upto: dict[str, float] = {}
        for line in lines:
            if line.startswith("connector_delivery_seconds_bucket{"):
                labels, _, number = line.rpartition(" ")
                before, _, behind = labels.partition('le="')
                written, _, others = behind.partition('"')
                bound, series, total = float(written), before + others, float(number)
                counts[bound] = counts.get(bound, 0.0) + total - upto.get(series, 0.0)
                upto[series] = total
        if len(counts) < LEAST_BOUNDS:
            raise Failure("the worker's histogram is too coarse: `fine_worker` does not work any more")
    return counts


def _acknowledged(running: Running, began: float, ended: float) -> dict[float, float]:
    counts: dict[float, float] = {}
    path = running.processes[0].log.parent / f"{running.topic}.times"
    if not path.exists():
        raise Failure(f"the script has written no times\n{running.processes[0].said}")
    for line in path.read_text().splitlines():
        at, secs = map(float, line.split())
        if began <= at < ended:
            counts[secs] = counts.get(secs, 0.0) + 1.0
    return counts


class Watcher:
    """A consumer in a thread, which notes the time at which it gets each post."""

    def __init__(self, bench: Rig, topic: str) -> None:
        self._consumer = bench.consumer()
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        self._seen: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._consumer,), daemon=True)
        self._thread.start()

    def _watch(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._seen.append((time.time(), message.value()))

    def stop(self) -> Mapping[str, float]:
        """Stop, and return the time at which each post was seen first, by its id."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        return {orjson.loads(value)["data"]["id"]: at for at, value in reversed(self._seen)}


def _idle(bench: Rig, effort: Effort) -> Text:
    """Measure a worker that waits for posts."""
    with bench.simulator(*SIMULATOR, "--rate", "0") as simulator, bench.topic() as topic:
        running = EXACTLY_ONCE.start(bench, simulator, topic)
        try:
            running.await_(lambda: simulator.connections == 1, "1 connection")
            running.sleep(effort.warmup)
            began, cpu = time.monotonic(), running.cpu_secs
            running.sleep(effort.seconds)
            used, secs = running.cpu_secs - cpu, time.monotonic() - began
            text = (
                f"- An idle worker (connected, keep-alives only, over {secs:.0f} s): {used / secs * 100:.2f} % of a"
                f" core, {running.rss_bytes / 1e6:,.0f} MB"
            )
        finally:
            running.stop()
    say(text)
    return text
