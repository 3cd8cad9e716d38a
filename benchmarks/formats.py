"""
Measures each value format and shape in a worker, and what a format costs alone.

The feed of `throughput` (lines of 2.6 KB as fast as the socket takes them), exactly once, one worker, in rounds of a
rotating order; the schema formats with a real registry (Apicurio), which is asked once.  CPU is that of the worker.

Then lines of the same feed are written by each format alone (`formats_alone`).
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

from confluent_kafka import TopicPartition

from benchmarks.contenders import Ours
from benchmarks.report import Results, table
from benchmarks.rig import ROOT, Failure, Rig, Simulator
from benchmarks.scenario import Effort
from benchmarks.tables import Text
from benchmarks.throughput import measure
from tests.registries import Registry

JSON = "json"
SETTINGS: Mapping[str, Mapping[str, object]] = {
    JSON: {},
    "json, shape=post": {"value.shape": "post"},
    "json, shape=connect": {"value.shape": "connect"},
    "avro": {"value.format": "avro"},
    "json_schema": {"value.format": "json_schema"},
    "protobuf": {"value.format": "protobuf"},
}
"""What is set for each way."""

LINES = 500


def formats(bench: Rig, effort: Effort) -> Iterator[Text]:
    """Run all ways in rounds, then each format alone."""
    with Registry(bench.folder / "registry") as registry, bench.feed() as simulator:
        ways = [_way(name, registry) for name in SETTINGS]
        results = Results()
        for number in range(effort.rounds):
            first = number % len(ways)
            for way in ways[first:] + ways[:first]:
                results.add(way.name, number, measure(bench, simulator, way, effort))
        yield table(results.in_order(dict.fromkeys(SETTINGS)), (JSON,))
        yield from results.failures
        lines = _lines(bench, simulator, ways[0])
        yield _alone(bench, lines)


def _way(name: str, registry: Registry) -> Ours:
    settings = dict(SETTINGS[name])
    if "value.format" in settings:
        settings["schema.registry.url"] = registry.url
    return Ours(name=name, delivery="exactly_once", settings=settings)


def _lines(bench: Rig, simulator: Simulator, way: Ours) -> Sequence[bytes]:
    """Return lines of the feed, as a worker has delivered them."""
    with bench.topic() as topic:
        running = way.start(bench, simulator, topic)
        try:
            bench.await_first_post(running)
            consumer = bench.consumer(auto_offset_reset="earliest")
            consumer.assign([TopicPartition(topic, number, 0) for number in range(4)])
            messages = consumer.consume(LINES, timeout=30)
            consumer.close()
        finally:
            running.stop()
    lines = [message.value() for message in messages if message.error() is None]
    if len(lines) < LINES:
        raise Failure(f"{len(lines)} lines in place of {LINES}")
    return lines


def _alone(bench: Rig, lines: Sequence[bytes]) -> Text:
    """Measure in a process of its own, which loads the connector."""
    kept = bench.folder / "lines"
    kept.write_bytes(b"\n".join(lines))
    command = [sys.executable, "-m", "benchmarks.formats_alone", str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603  # ours
    if done.returncode:
        raise Failure(f"the formats alone could not be measured\n{done.stderr[-1500:]}")
    return "Alone, in one process:\n\n" + done.stdout.strip()
