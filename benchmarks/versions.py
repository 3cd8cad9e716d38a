"""
Measures whether this version is faster or slower than an earlier one.

Each version is installed as users install it, from git and not editable, in a virtual environment of its own
(`revisions`); the bench uses only its command, variables and HTTP routes.  Both use the same Kafka and the simulator of
this tree.  In each round every number is measured of both versions; where they run one after the other, the first one
alternates.

*throughput*   As in `throughput`: posts/s, CPU of a post, peak memory.  The disk rests before each run, because
               it takes writes faster after a rest.
*250*          As in `latency`, by the worker's own clock: arrival to commit, and CPU, at 250 posts/s.  Both versions
               run at the same time, each with a simulator of its own: they hardly disturb each other, and other
               load on the machine slows both.
*idle*         CPU and memory of workers that wait for posts; both versions and both ways run at the same time.

A ratio is the median of the rounds' ratios.  A version compared with itself (`--before HEAD`) shows how much the
machine alone changes the ratios.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.contenders import AT_LEAST_ONCE, EXACTLY_ONCE, Ours
from benchmarks.latency import FINE, commits, percentile
from benchmarks.ratios import Number, Taken, sentence, table
from benchmarks.report import Failures, say
from benchmarks.revisions import Version, packages_that_differ
from benchmarks.rig import SIMULATOR, Failure, Rig, Running, Simulator, Window
from benchmarks.scenario import Effort
from benchmarks.tables import Text
from benchmarks.throughput import measure

WAYS = (EXACTLY_ONCE, AT_LEAST_ONCE)
PARTS = ("throughput", "250", "idle")
RATE = 250
PACED_FACTOR, IDLE_FACTOR = 2.0, 3.0
"""Multiply the length of a window where little happens in a second."""
REST_SECS = 20.0
"""The disk rests this long before each run at full speed."""

THROUGHPUT = Number("posts/s", ",.0f", more_is_better=True)
CPU_OF_A_POST = Number("CPU µs a post", ".2f")
PEAK = Number("peak MB", ",.1f")
COMMIT_P50 = Number(f"ms to commit at {RATE} posts/s, p50", ".2f")
COMMIT_P99 = Number(f"ms to commit at {RATE} posts/s, p99", ".2f")
PACED_CPU = Number(f"CPU at {RATE} posts/s, % of a core", ".2f")
IDLE_CPU = Number("CPU idle, % of a core", ".3f")
IDLE_MEMORY = Number("MB idle", ",.1f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A version with one of the ways to deliver."""

    version: Version
    way: Ours

    @property
    def name(self) -> str:
        return f"{self.way.name}, {self.version.side}"

    @property
    def worker(self) -> Ours:
        """The worker as users start it."""
        program = str(self.version.venv / "bin" / "faust")
        return self._by(program, "-A", "connector", "worker")

    @property
    def fine_worker(self) -> Ours:
        """The worker with a fine histogram of delivery times."""
        return self._by(str(self.version.venv / "bin" / "python"), *FINE)

    def _by(self, *command: str) -> Ours:
        return replace(self.way, name=self.name, command=command, python_path="")


Outcome = tuple[Side, Mapping[Number, float] | Failure]


def versions(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run all parts, round by round."""
    one, other = effort.versions
    taken, failures = Taken(), Failures()
    with contextlib.ExitStack() as stack:
        feed = stack.enter_context(bench.feed()) if effort.wants("throughput") else None
        paced = [stack.enter_context(bench.paced(RATE))[0] for _ in effort.versions] if effort.wants("250") else []
        for number in range(effort.rounds):
            say(f"Round {number + 1} of {effort.rounds}")
            order = [
                Side(version=version, way=way)
                for at, way in enumerate(WAYS)
                for version in ((one, other) if (number + at) % 2 == 0 else (other, one))
            ]
            outcomes: list[Outcome] = []
            if feed is not None:
                outcomes += [(side, _throughput(bench, feed, side, effort)) for side in order]
            if paced:
                for way in WAYS:
                    outcomes += _paced(bench, paced, [side for side in order if side.way is way], effort)
            if effort.wants("idle"):
                outcomes += _idle(bench, order, effort)
            for side, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures.add(side.name, outcome)
                    continue
                for what, value in outcome.items():
                    taken.add(side.way.name, what, side.version.side, number, value)
    ratios = taken.ratios()
    if ratios:
        yield table(ratios)
    yield sentence(ratios)
    yield from failures.said
    yield _compared(one, other)


def _compared(one: Version, other: Version) -> Text:
    lines = [
        f"- {one.side}: {one.revision}; {other.side}: {other.revision}",
        f"- At {RATE} posts/s windows are {PACED_FACTOR:g} times as long, idle ones {IDLE_FACTOR:g} times",
    ]
    if differ := packages_that_differ(one, other):
        lines.append(f"- Packages that differ, {one.side} and {other.side}: {differ}")
    return "\n".join(lines)


def _throughput(bench: Rig, simulator: Simulator, side: Side, effort: Effort) -> Mapping[Number, float] | Failure:
    time.sleep(REST_SECS)
    outcome = measure(bench, simulator, side.worker, effort)
    return outcome if isinstance(outcome, Failure) else _numbers(outcome)


def _numbers(window: Window) -> Mapping[Number, float]:
    return {
        THROUGHPUT: window.posts_per_sec,
        CPU_OF_A_POST: window.cpu_us_per_post,
        PEAK: window.peak_rss_bytes / 1e6,
    }


def _paced(bench: Rig, simulators: Sequence[Simulator], sides: Sequence[Side], effort: Effort) -> list[Outcome]:
    """Measure both versions with one way to deliver, at the same time."""
    with contextlib.ExitStack() as stack:
        started: list[tuple[Side, Running, Simulator]] = []
        for side, simulator in zip(sides, simulators, strict=True):
            running = side.fine_worker.start(bench, simulator, stack.enter_context(bench.topic()))
            stack.callback(_end, running, simulator)
            started.append((side, running, simulator))
        try:
            found = _watched(bench, started, effort)
        except Failure as failure:
            say(f"{sides[0].way.name} at {RATE} posts/s: {failure}")
            return [(side, failure) for side in sides]
    for side, numbers in zip(sides, found, strict=True):
        _say(side, numbers)
    return list(zip(sides, found, strict=True))


def _end(running: Running, simulator: Simulator) -> None:
    running.stop()
    with contextlib.suppress(OSError):
        simulator.await_hang_up()


def _watched(
    bench: Rig, started: Sequence[tuple[Side, Running, Simulator]], effort: Effort
) -> list[Mapping[Number, float]]:
    for _, running, simulator in started:
        running.await_(lambda: simulator.connections == 1, "1 connection")  # noqa: B023  # called here only
        bench.await_first_post(running)
    time.sleep(effort.warmup)
    before = [(commits(running), time.monotonic(), running.cpu_secs) for _, running, _ in started]
    time.sleep(effort.seconds * PACED_FACTOR)
    found = []
    for (_, running, _), (counts, began, cpu) in zip(started, before, strict=True):
        percent = (running.cpu_secs - cpu) / (time.monotonic() - began) * 100
        running.check()
        after = commits(running)
        new = {secs: after[secs] - counts.get(secs, 0.0) for secs in after}
        p50, p99 = percentile(new, 50), percentile(new, 99)
        if not any(new.values()) or p50 is None or p99 is None:
            raise Failure("no post was committed within the window")
        found.append({COMMIT_P50: p50 * 1000, COMMIT_P99: p99 * 1000, PACED_CPU: percent})
    return found


def _idle(bench: Rig, sides: Sequence[Side], effort: Effort) -> list[Outcome]:
    """Measure all *sides* at the same time, each with a simulator of its own, as an app may have only one stream."""
    outcomes: list[Outcome] = []
    with contextlib.ExitStack() as stack:
        started: list[tuple[Side, Running, Simulator]] = []
        for side in sides:
            simulator = stack.enter_context(bench.simulator(*SIMULATOR, "--rate", "0"))
            running = side.worker.start(bench, simulator, stack.enter_context(bench.topic()))
            stack.callback(running.stop)
            started.append((side, running, simulator))
        waiting: list[tuple[Side, Running]] = []
        for side, running, simulator in started:
            try:
                running.await_(lambda: simulator.connections == 1, "1 connection")  # noqa: B023  # called here only
                waiting.append((side, running))
            except Failure as failure:
                say(f"{side.name}, idle: {failure}")
                outcomes.append((side, failure))
        time.sleep(effort.warmup)
        before = [(time.monotonic(), running.cpu_secs) for _, running in waiting]
        time.sleep(effort.seconds * IDLE_FACTOR)
        for (side, running), (began, cpu) in zip(waiting, before, strict=True):
            try:
                running.check()
            except Failure as failure:
                outcomes.append((side, failure))
                continue
            percent = (running.cpu_secs - cpu) / (time.monotonic() - began) * 100
            found = {IDLE_CPU: percent, IDLE_MEMORY: running.rss_bytes / 1e6}
            _say(side, found)
            outcomes.append((side, found))
        for _, running, _ in started:
            running.ask_to_stop()  # all stop at the same time
    return outcomes


def _say(side: Side, found: Mapping[Number, float]) -> None:
    say(f"{side.name:<28} " + ", ".join(f"{value:{number.style}} {number.name}" for number, value in found.items()))
