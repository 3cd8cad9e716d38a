"""
Measures posts per second of our worker, of scripts that users write, and of Kafka Connect.

One real Kafka and the simulator's feed (prepared lines of 2.6 KB, as fast as the socket takes them) run all the time.
In each round every contender runs once, in a rotating order, into a new topic of four partitions.  The bench starts the
contender, waits for its first post, lets it warm up, measures over a window, and stops it.  Posts are counted in the
topic: by the end offsets at the begin and the end of the window; with transactions by the records that a reader of
committed records gets between the last stable offsets.  CPU is user and system time of the contender's process in the
window.

A contender that fails in a round has no number for that round; the other contenders have theirs.
"""

import contextlib
from collections.abc import Iterator

from benchmarks.contenders import AS_WRITTEN, CONTENDERS, TUNED, Connect, Contender
from benchmarks.report import Results, say, table
from benchmarks.rig import PARTITIONS, Failure, Rig, Simulator, Window
from benchmarks.scenario import Effort
from benchmarks.tables import Text

BASELINES = (AS_WRITTEN.name, TUNED.name)


def contenders(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run all contenders, in rounds."""
    chosen = [contender for contender in CONTENDERS if effort.wants(contender.name)]
    results = Results()
    with bench.feed() as simulator:
        for number in range(effort.rounds):
            first = number % len(chosen)
            for contender in chosen[first:] + chosen[:first]:
                if isinstance(contender, Connect) and number >= (effort.connect_rounds or effort.rounds):
                    continue
                results.add(contender.name, number, measure(bench, simulator, contender, effort))
    order = {contender.name: None for contender in chosen}
    yield table(results.in_order(order), BASELINES)
    yield from results.failures


def measure(
    bench: Rig,
    simulator: Simulator,
    contender: Contender,
    effort: Effort,
    *,
    partitions: int = PARTITIONS,
    connections: int = 1,
) -> Window | Failure:
    """Run *contender* once; return its window, or the failure."""
    try:
        with bench.topic(partitions) as topic:
            window = _measure(bench, simulator, contender, effort, topic, connections)
    except Failure as failure:
        say(f"{contender.name}: {failure}")
        return failure
    say(
        f"{contender.name:<28} {window.posts_per_sec:>9,.0f} posts/s {window.cpu_us_per_post:>6.1f} µs CPU a post"
        f" {window.peak_rss_bytes / 1e6:>6,.0f} MB"
    )
    return window


def _measure(
    bench: Rig, simulator: Simulator, contender: Contender, effort: Effort, topic: str, connections: int
) -> Window:
    running = contender.start(bench, simulator, topic)
    try:
        running.await_(lambda: simulator.connections == connections, f"{connections} connections")
        bench.await_first_post(running)
        running.sleep(effort.warmup * contender.warmup_factor)
        return bench.window(
            running,
            effort.seconds,
            transactional=contender.transactional,
            ordered=contender.keyed and connections == 1,
        )
    finally:
        running.stop()
        with contextlib.suppress(OSError):
            simulator.await_hang_up()
