"""
Runs the benchmarks, prints each number at once, and writes the tables into docs/benchmarks.md.

    python -m benchmarks                                  all that are not for themselves, in full length
    python -m benchmarks --only contenders --rounds 9     one scenario, with more rounds
    python -m benchmarks --quick                          a short run of the contenders; writes nothing
    python -m benchmarks --only versions --before REV     this tree compared with an earlier revision of it
"""

import argparse
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import (
    cluster,
    endurance,
    formats,
    growth,
    latency,
    page,
    report,
    revisions,
    shared,
    throughput,
    versions,
)
from benchmarks.contenders import CONTENDERS
from benchmarks.revisions import BEFORE, NEW, Unavailable, Version
from benchmarks.rig import ROOT, Failure, rig
from benchmarks.scenario import Effort, Scenario
from tests.brokers import JARS, JarsMissing, fetch_jars, why_not

VERSIONS, CLUSTER, SHARED, FORMATS, OPEN_PAGES = "versions", "cluster", "shared", "formats", "page"
ASKED_FOR = (VERSIONS, CLUSTER, SHARED, FORMATS, OPEN_PAGES)
"""Scenarios that run only if they are named."""

PAGE = ROOT / "docs" / "benchmarks.md"

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="contenders",
            title="Throughput",
            run=throughput.contenders,
            effort=Effort(rounds=5, seconds=5, warmup=2),
            about="nine ways to Kafka, in rounds",
        ),
        Scenario(
            name="latency",
            title="Latency",
            run=latency.latency,
            effort=Effort(rounds=1, seconds=20, warmup=3),
            about="at 250 and 2,500 posts/s, and what an idle worker costs",
        ),
        Scenario(
            name="growth",
            title="Cost as work grows",
            run=growth.growth,
            effort=Effort(rounds=2, seconds=3, warmup=2),
            about="line sizes, rules, dedupe window, tasks and workers, partitions, zstd",
        ),
        Scenario(
            name="endurance",
            title="Memory",
            run=endurance.endurance,
            effort=Effort(rounds=1, seconds=20, warmup=3, minutes=2),
            about="over time, and with Kafka frozen",
        ),
        Scenario(
            name=CLUSTER,
            title="Many connectors",
            run=cluster.cluster,
            effort=Effort(rounds=1, seconds=20, warmup=3),
            about="one worker with up to 100 connectors and 200 tasks: REST, memory, idle CPU; only if it is asked for",
        ),
        Scenario(
            name=SHARED,
            title="Several connectors on one stream",
            run=shared.shared,
            effort=Effort(rounds=3, seconds=3, warmup=2),
            about="1, 3 and 10 connectors on one stream, in rounds; only if it is asked for",
        ),
        Scenario(
            name=FORMATS,
            title="Value formats",
            run=formats.formats,
            effort=Effort(rounds=3, seconds=3, warmup=2),
            about="json, avro, json_schema and protobuf, in a worker and alone; only if it is asked for",
        ),
        Scenario(
            name=OPEN_PAGES,
            title="The page and the history",
            run=page.page,
            effort=Effort(rounds=2, seconds=3, warmup=2),
            about="a worker with five open pages, and one without history, in turn; only if it is asked for",
        ),
        Scenario(
            name=VERSIONS,
            title="Beside an earlier revision",
            run=versions.versions,
            effort=Effort(rounds=5, seconds=5, warmup=2),
            about="this tree and the revision --before, in rounds; only if it is asked for",
        ),
    )
}

_OF_OTHERS = (
    *latency.PARTS,
    *growth.PARTS,
    *endurance.PARTS,
    *cluster.PARTS,
    *shared.PARTS,
    *page.PARTS,
    *versions.PARTS,
)
PARTS = [*dict.fromkeys([*(contender.name for contender in CONTENDERS), *_OF_OTHERS])]

QUICK = Effort(rounds=2, seconds=2, warmup=1, connect_rounds=1)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What the connector costs.",
        epilog="; ".join(f"{scenario.name}: {scenario.about}" for scenario in SCENARIOS.values()),
    )
    parser.add_argument("--only", action="append", choices=[*SCENARIOS], help="this scenario, and no other; repeatable")
    parser.add_argument(
        "--part",
        action="append",
        choices=PARTS,
        help="of the scenarios only this contender or part; repeatable; writes nothing, unless --output is given",
    )
    parser.add_argument("--rounds", type=int, help="how often each is run")
    parser.add_argument("--seconds", type=float, help="length of a window")
    parser.add_argument("--warmup", type=float, help="seconds before a window")
    parser.add_argument("--minutes", type=float, help="how long memory is watched")
    parser.add_argument("--before", metavar="REV", help=f"the git revision that {VERSIONS} compares this tree with")
    parser.add_argument("--quick", action="store_true", help="the contenders alone, shortly; writes nothing")
    parser.add_argument("--output", type=Path, help="the page that has the markers (docs/benchmarks.md)")
    parser.add_argument("--print", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    if (VERSIONS in (options.only or ())) != bool(options.before):
        parser.error(f"--only {VERSIONS} and --before REV go together")
    return options


def _command(arguments: Sequence[str] | None) -> str:
    return shlex.join(["python", "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _options(arguments)
    try:
        _prepare()
        compared = _install(options.before) if options.before else ()
    except (JarsMissing, Failure, Unavailable) as error:
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # exit normally: `with` blocks end the processes
    chosen = ["contenders"] if options.quick else options.only or [name for name in SCENARIOS if name not in ASKED_FOR]
    failed = False
    for name in chosen:
        scenario = SCENARIOS[name]
        effort = (QUICK if options.quick else scenario.effort).changed(
            rounds=options.rounds,
            seconds=options.seconds,
            warmup=options.warmup,
            minutes=options.minutes,
            only=tuple(options.part or ()),
            versions=compared,
        )
        failed = not _run(scenario, effort, options, _command(arguments)) or failed
    sys.exit(failed)


def _prepare() -> None:
    """Get the files that a fresh clone lacks."""
    if reason := why_not():
        raise Failure(f"No bench without a broker: {reason}.")
    if not list(JARS.glob("kafka_2.13-*.jar")):
        report.say("Getting Kafka's jars with Maven, once ...")
        fetch_jars()


def _install(before: str) -> tuple[Version, Version]:
    """Install both versions."""
    new, earlier = revisions.revisions(before)
    report.say(
        f"Installing {new.said} and {earlier.said} into {revisions.FOLDER.relative_to(ROOT)}, unless they are ..."
    )
    revisions.keep_only(new, earlier)
    return revisions.install(NEW, new), revisions.install(BEFORE, earlier)


def _run(scenario: Scenario, effort: Effort, options: argparse.Namespace, command: str) -> bool:
    """Run one scenario with a Kafka of its own; an error ends this scenario only."""
    report.say(f"{scenario.title}: {scenario.about}")
    facts, begin = report.machine(), time.monotonic()
    texts: list[str] = []
    error: Exception | None = None
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, rig(Path(folder)) as bench:
            for text in scenario.run(bench, effort):
                texts.append(text)  # noqa: PERF402  # keeps the texts before an error
    except Exception as exc:  # noqa: BLE001  # reported; the next scenario runs
        error = exc
        texts.append(f"- It ended early: {report.first_line(exc)}")
        report.say(f"{scenario.name}: {exc!r}")
    took = time.monotonic() - begin
    made = f"Made by `{command}` in {took / 60:.0f} min: {effort}."
    text = "\n\n".join([made, *texts, facts])
    print(f"\n{text}\n", flush=True)
    if not (options.quick or options.print) and (options.output or not options.part):
        report.write(options.output or PAGE, scenario.name, text)
    return error is None


if __name__ == "__main__":
    main()
