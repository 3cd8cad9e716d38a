"""
Measures what more work costs.

One parameter grows at a time; all others are as in `throughput`: exactly once, lines of 2.6 KB, one rule, four
partitions, one task.

*window*   A first worker starts, delivers and stops.  Then a number of ids, made for the last minutes, are written into
           the ledger of its group.  The measured worker reads them when it starts, as after a failover, looks up each
           new post among them, and adds it.  Its start and its memory include this reading.
*tasks*    The firehose, with 20 partitions and so 20 connections, is shared by the tasks of one worker or two.  CPU and
           memory are those of all workers together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import time

from confluent_kafka import Producer

from benchmarks.contenders import EXACTLY_ONCE, Contender, Ours, rules
from benchmarks.report import Results, table
from benchmarks.rig import LINE_BYTES, Rig, Running, Simulator
from benchmarks.scenario import Effort
from benchmarks.tables import Text
from benchmarks.throughput import measure

LINES = (512, LINE_BYTES, 10_240)
RULES = (1, 1000)
WINDOWS = (10_000, 10_000_000)
TASKS = ((1, 1), (2, 1), (4, 1), (2, 2), (4, 2))
"""Pairs of the number of tasks and the number of workers."""
TOPIC_PARTITIONS = (1, 4, 32)
FIREHOSE_CONNECTIONS = 20

COMPARED = frozenset({"rules", "window"})
"""These parts may differ by less than 10 %, so they run in all rounds; the other parts run in half of them."""
JOINING_FACTOR = 3.0
"""Multiplies the warm-up of two workers, which need longer until each has its tasks."""

IDS_AT_ONCE = 8000
"""Ids in one record of the ledger, as in one transaction of a busy task."""
WINDOW_SECS = 150.0
"""The ids are spread over this time; the worker still remembers all of them when the measurement ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering(Ours):
    """A worker whose group has delivered *ids* posts in the last minutes."""

    ids: int

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        first = Ours.start(self, bench, simulator, topic)
        try:
            bench.await_first_post(first)
        finally:
            first.stop()
        simulator.await_hang_up()
        _remember(bench, f"{topic}-group-ledger", self.ids)
        return Ours.start(self, bench, simulator, topic)


def _remember(bench: Rig, ledger: str, count: int) -> None:
    # imported here: where two versions are compared, this process may load neither
    from connector.coverage.ledger import encode_ids
    from connector.records.snowflake import created_ms, first_id

    end = int(time() * 1000)
    begin = first_id(int(end - WINDOW_SECS * 1000))
    step = (first_id(end) - begin) // count
    producer = Producer({"bootstrap.servers": bench.broker.address, "acks": "all", "linger.ms": 20})
    for at in range(0, count, IDS_AT_ONCE):
        ids = [begin + number * step for number in range(at, min(at + IDS_AT_ONCE, count))]
        # slot 0, and the default name of a connector
        producer.produce(ledger, encode_ids(ids), key=b"posts", partition=0, timestamp=created_ms(ids[-1]))
        producer.poll(0)
    producer.flush()


def growth(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run all parts, or those that *effort* names."""
    for name, (title, part) in _PARTS.items():
        if effort.wants(name):
            results = Results()
            for number in range(effort.rounds if name in COMPARED else (effort.rounds + 1) // 2):
                part(bench, effort, number, results)
            rows = table(results.windows, [next(iter(results.windows))])
            yield "\n\n".join([f"### {title}", rows, *results.failures])


def _of(
    bench: Rig, simulator: Simulator, effort: Effort, number: int, results: Results, ways: Sequence[Contender]
) -> None:
    for way in ways:
        results.add(way.name, number, measure(bench, simulator, way, effort))


def _lines(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    for size in LINES:
        way = replace(EXACTLY_ONCE, name=f"{size / 1000:.1f} KB")
        with bench.feed(line_bytes=size) as simulator:
            _of(bench, simulator, effort, number, results, [way])


def _rules(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    ways = [
        replace(EXACTLY_ONCE, name=f"{count:,} rule{'s' * (count > 1)}", settings={"rules": rules(count)})
        for count in RULES
    ]
    with bench.feed() as simulator:
        _of(bench, simulator, effort, number, results, ways)


def _windows(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    ways = [Remembering(name=f"{count:,} ids", delivery="exactly_once", ids=count) for count in WINDOWS]
    with bench.feed() as simulator:
        _of(bench, simulator, effort, number, results, ways)


def _tasks(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    with bench.feed("--plan", "enterprise") as simulator:
        for tasks, workers in TASKS:
            way = replace(
                EXACTLY_ONCE,
                name=f"{tasks} task{'s' * (tasks > 1)}, {workers} worker{'s' * (workers > 1)}",
                settings={"stream": "firehose", "plan": "enterprise", "tasks.max": tasks, "rules": None},
                workers=workers,
                warmup_factor=1.0 if workers == 1 else JOINING_FACTOR,
            )
            results.add(way.name, number, measure(bench, simulator, way, effort, connections=FIREHOSE_CONNECTIONS))


def _partitions(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    with bench.feed() as simulator:
        for count in TOPIC_PARTITIONS:
            name = f"{count} partition{'s' * (count > 1)}"
            way = replace(EXACTLY_ONCE, name=name)
            results.add(name, number, measure(bench, simulator, way, effort, partitions=count))


def _zstd(bench: Rig, effort: Effort, number: int, results: Results) -> None:
    ways = [replace(EXACTLY_ONCE, name=name, settings={"compression": name}) for name in ("none", "zstd")]
    with bench.feed() as simulator:
        _of(bench, simulator, effort, number, results, ways)


_PARTS: Mapping[str, tuple[str, Callable[[Rig, Effort, int, Results], None]]] = {
    "lines": ("Size of a line", _lines),
    "rules": ("Rules", _rules),
    "window": ("Ids remembered against duplicates", _windows),
    "tasks": ("Firehose over tasks and workers", _tasks),
    "partitions": ("Partitions of the topic", _partitions),
    "zstd": ("Compression", _zstd),
}
PARTS = tuple(_PARTS)
