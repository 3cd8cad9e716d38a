"""
Measures whether the memory of a worker stays bounded.

*flat*     A worker runs at full speed, exactly once; its resident memory is read every second.
*frozen*   The same, but Kafka is stopped for a time (SIGSTOP: sockets stay open, Kafka does not answer).
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.contenders import AT_LEAST_ONCE, EXACTLY_ONCE, Ours
from benchmarks.report import first_line, say
from benchmarks.rig import Failure, Rig, Running, Simulator
from benchmarks.scenario import Effort
from benchmarks.tables import NOTHING, Text, grid

PARTS = ("flat", "frozen")
KEEP_BYTES = 512 * 1024**2
"""Kafka keeps only this much of each partition, because nobody reads it."""
BUFFER_BYTES = 64 * 1024**2
BOUND_BYTES = BUFFER_BYTES + 100_000_000
MARKS = (0.25, 0.5, 0.75, 1.0)
SAMPLE_SECS = 1.0


def endurance(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run the parts of the scenario."""
    if effort.wants("flat"):
        yield f"### Over {effort.minutes:g} minutes at full speed\n\n{_flat(bench, effort)}"
    if effort.wants("frozen"):
        yield (
            f"### With Kafka frozen for {effort.seconds:g} s\n\n{_frozen(bench, effort)}\n\n"
            f"The bound is `buffer.max.bytes`, 64 MiB, and 100 MB: {BOUND_BYTES / 1e6:.0f} MB."
        )


def _flat(bench: Rig, effort: Effort) -> Text:
    head = ("", "posts/s", *(f"MB at {mark * effort.minutes:g} min" for mark in MARKS), "peak MB", "MB/min, 2nd half")
    rows = [head]
    for way in (EXACTLY_ONCE,):
        try:
            with bench.feed() as simulator, bench.topic(keep_bytes=KEEP_BYTES) as topic:
                rows.append(_watched(bench, simulator, way, effort, topic))
        except Failure as failure:
            rows.append(_failed(way, failure, len(head)))
    return grid(rows)


def _watched(bench: Rig, simulator: Simulator, way: Ours, effort: Effort, topic: str) -> Sequence[str]:
    running = _started(bench, simulator, way, effort, topic)
    try:
        began, ends = time.monotonic(), sum(bench.ends(topic).values())
        samples = _sampled(running, effort.minutes * 60)
        posts, secs = sum(bench.ends(topic).values()) - ends, time.monotonic() - began
        peak = running.peak_rss_bytes
    finally:
        running.stop()
    marks = [samples[max(round(mark * len(samples)) - 1, 0)][1] for mark in MARKS]
    row = (
        way.name,
        f"{posts / secs:,.0f}",
        *(f"{rss / 1e6:,.0f}" for rss in marks),
        f"{peak / 1e6:,.0f}",
        f"{_slope(samples[len(samples) // 2 :]) * 60 / 1e6:+.1f}",
    )
    say("  ".join(row))
    return row


def _frozen(bench: Rig, effort: Effort) -> Text:
    head = ("", "MB before", "most MB while frozen", "MB after", "peak MB", "seconds until posts came again")
    rows = [head]
    ways = [replace(way, settings={"buffer.max.bytes": BUFFER_BYTES}) for way in (EXACTLY_ONCE, AT_LEAST_ONCE)]
    for way in ways:
        try:
            with bench.feed() as simulator, bench.topic(keep_bytes=KEEP_BYTES) as topic:
                rows.append(_through_frost(bench, simulator, way, effort, topic))
        except Failure as failure:
            rows.append(_failed(way, failure, len(head)))
    return grid(rows)


def _through_frost(bench: Rig, simulator: Simulator, way: Ours, effort: Effort, topic: str) -> Sequence[str]:
    running = _started(bench, simulator, way, effort, topic)
    try:
        before, ends = running.rss_bytes, sum(bench.ends(topic).values())
        bench.broker.freeze()
        try:
            most = max(rss for _, rss in _sampled(running, effort.seconds))
        finally:
            bench.broker.thaw()
        thawed = time.monotonic()
        now = sum(bench.ends(topic).values())  # counts requests that Kafka had received before it was stopped
        running.await_(lambda: sum(bench.ends(topic).values()) > max(now, ends) + 10_000, "posts after the frost")
        waited = time.monotonic() - thawed
        running.sleep(effort.warmup)
        row = (
            way.name,
            *(f"{rss / 1e6:,.0f}" for rss in (before, most, running.rss_bytes, running.peak_rss_bytes)),
            f"{waited:.1f}",
        )
    finally:
        running.stop()
    say("  ".join(row))
    return row


def _started(bench: Rig, simulator: Simulator, way: Ours, effort: Effort, topic: str) -> Running:
    running = way.start(bench, simulator, topic)
    try:
        bench.await_first_post(running)
        running.sleep(effort.warmup)
    except BaseException:
        running.stop()
        raise
    return running


def _failed(way: Ours, failure: Failure, columns: int) -> Sequence[str]:
    say(f"{way.name}: {failure}")
    return (f"{way.name}: {first_line(failure)}", *[NOTHING] * (columns - 1))


def _sampled(running: Running, secs: float) -> list[tuple[float, int]]:
    """Return resident memory over time: pairs of seconds and bytes."""
    samples, began = [], time.monotonic()
    while not samples or time.monotonic() - began < secs:
        running.sleep(min(SAMPLE_SECS, secs))
        samples.append((time.monotonic(), running.rss_bytes))
    return samples


def _slope(samples: Sequence[tuple[float, int]]) -> float:
    """Return the growth of memory in bytes per second, by least squares."""
    if len(samples) < 2:
        return 0.0
    middle = sum(at for at, _ in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at, _ in samples)
    return sum((at - middle) * rss for at, rss in samples) / spread
