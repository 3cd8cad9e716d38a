"""
How many posts a second, beside the scripts that people write?

    python -m benchmarks.throughput [--quick] [--rounds 5] [--seconds 10] [--output docs/benchmarks.md]

One real Kafka and the simulator's feed (prepared lines of 2.6 KB, as fast as the socket takes them) run throughout.
In each round every contender runs once, in a rotating order, into a new topic of four partitions: it is started, seen
to deliver, left to warm up, measured over a window, stopped.  What counts is what lies in the topic: end offsets at
both ends of the window; for transactions the last stable offsets, and the records that a reader of committed records
finds between them.  CPU is user and system time of the contender's process over the same window.

What each does and does not do, all with `acks=all`:

`exactly-once`   Our worker as it is configured by default: one transaction per batch with posts and source offset,
                 ids looked up and remembered against duplicates, each line checked to be JSON, keyed by the post's id
                 and stamped with its time, REST API and metrics on.  It is bounded in memory, survives SIGKILL at any
                 moment without a post lost or doubled.
`at-least-once`  The same without transactions: posts are acknowledged before the source offset is written.
`as written`     tweepy's `on_data` into confluent-kafka's `produce`, `poll(0)`, tweepy's default chunk of 512 bytes.
                 No key (to have one, the line would have to be parsed), no duplicates removed, no check, no offset:
                 after a crash nobody knows what is missing.  It is not idempotent, and does not look at delivery
                 errors.  A full queue is waited for.
`tuned`          The same with chunks of 64 KiB, a longer linger and a queue of 350,000 posts; `poll` every 1,000.
                 What is in the queue is lost in a crash.
`kafka-python`   tweepy's `on_data` into kafka-python's `send`, with its defaults.

All share the machine with the simulator and Kafka: where there are two cores, the client's CPU and the others' add up,
so a contender that leaves more CPU to Kafka gets further.  It is the same for all.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks import report
from benchmarks.rig import RULE, TOKEN, Rig, Window, rig
from tests.brokers import free_port

SCRIPTS = Path(__file__).parent / "scripts"
LINE_BYTES = 2600
CHUNK_BYTES = 64 * 1024

GOAL = 0.7
"""Of the confluent-kafka script as people write it, exactly once."""

PAGE = """\
# Throughput

Written by `make bench` ({rounds} rounds, windows of {seconds:g} s, lines of {line_bytes} bytes in HTTP chunks of
{chunk_bytes}); `benchmarks/README.md` says how it measures and how to read this.

{table}

{machine}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way from the stream to Kafka."""

    name: str
    script: str = ""
    delivery: str = ""
    """What our worker is configured with, where there is no script."""

    def measure(self, bench: Rig, *, warmup_secs: float, secs: float) -> Window:
        """Run once."""
        if self.script:
            command, environment = [sys.executable, str(SCRIPTS / self.script)], _script_environment(bench)
        else:
            command = [sys.executable, "-m", "connector", "worker"]
            environment = _worker_environment(bench, self.delivery)
        return bench.measure(
            command,
            environment,
            topic_variable="TOPIC" if self.script else "CONNECTOR_TOPIC",
            transactional=self.delivery == "exactly_once",
            warmup_secs=warmup_secs,
            secs=secs,
        )


AS_WRITTEN, TUNED = "as written", "tuned"

CONTENDERS = (
    Contender(name="exactly-once", delivery="exactly_once"),
    Contender(name=AS_WRITTEN, script="confluent_as_written.py"),
    Contender(name="at-least-once", delivery="at_least_once"),
    Contender(name=TUNED, script="confluent_tuned.py"),
    Contender(name="kafka-python", script="kafka_python.py"),
)
"""In the order of the first round."""


def _script_environment(bench: Rig) -> Mapping[str, str]:
    return {"BOOTSTRAP_SERVERS": bench.broker.address, "X_API_URL": bench.simulator_url, "BEARER_TOKEN": TOKEN}


def _worker_environment(bench: Rig, delivery: str) -> Mapping[str, str]:
    return {
        "CONNECTOR_BROKER_URL": bench.broker.url,
        "CONNECTOR_GROUP_ID": f"bench-{delivery.replace('_', '-')}",
        "CONNECTOR_DELIVERY": delivery,
        "CONNECTOR_RULES": orjson.dumps([{"value": RULE, "tag": "cats"}]).decode(),
        "CONNECTOR_X_API_URL": bench.simulator_url,
        "CONNECTOR_X_BEARER_TOKEN": TOKEN,
        "CONNECTOR_WEB_PORT": str(free_port()),
    }


def run(options: argparse.Namespace) -> dict[str, list[Window]]:
    """Measure, and say each number as it comes."""
    chosen = [contender for contender in CONTENDERS if contender.name in (options.contender or contender.name)]
    results: dict[str, list[Window]] = {contender.name: [] for contender in chosen}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        rig(Path(folder), line_bytes=options.line_bytes, chunk_bytes=options.chunk_bytes) as bench,
    ):
        for number in range(options.rounds):
            first = number % len(chosen)
            for contender in chosen[first:] + chosen[:first]:
                window = contender.measure(bench, warmup_secs=options.warmup, secs=options.seconds)
                results[contender.name].append(window)
                print(
                    f"round {number + 1}: {contender.name:<14} {window.posts_per_sec:>9,.0f} posts/s"
                    f" {window.cpu_us_per_post:>6.1f} µs CPU per post {window.peak_rss_bytes / 1e6:>6,.0f} MB",
                    flush=True,
                )
    return results


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description="Posts a second, compared.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window (%(default)g)")
    parser.add_argument("--warmup", type=float, default=4.0, help="seconds from the first post on (%(default)g)")
    parser.add_argument("--quick", action="store_true", help="one round with short windows, to see that it works")
    parser.add_argument("--contender", action="append", choices=[c.name for c in CONTENDERS], help="only this one")
    parser.add_argument("--line-bytes", type=int, default=LINE_BYTES, help="bytes of a post (%(default)s)")
    parser.add_argument("--chunk-bytes", type=int, default=CHUNK_BYTES, help="bytes of an HTTP chunk (%(default)s)")
    parser.add_argument("--output", type=Path, help="also write the result to this Markdown file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.warmup = 1, 3.0, 2.0
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave through the `with`s, which end the processes
    facts = "\n".join(filter(None, [report.machine(), (warning := report.neighbours()) and f"- {warning}"]))
    print(facts, flush=True)
    results = run(options)
    rows = report.table(results, baselines=(AS_WRITTEN, TUNED))
    print(f"\n{rows}\n")
    if options.output is not None:
        page = PAGE.format(**vars(options), table=rows, machine=facts)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page)


if __name__ == "__main__":
    main()
