"""
`faust -A connector coverage`: shows covered time and gaps, and asks for a gap to be retried or accepted.

    <group>-configs ──▶ which connectors ──▶ their offsets ──▶ shown, or: cost ──▶ yes? ──▶ a request for each gap

The command reads the topics in which the workers keep their state, so it needs Kafka but no running worker.  `--retry`
and `--accept` write a request to Kafka; the worker that runs the task carries it out.

Exit codes: 0 coverage is shown or the request written; 2 wrong arguments, or not confirmed; 69 Kafka did not answer or
refused; 78 wrong configuration; 130 Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from connector.cli.connectors.setup import confirm, say
from connector.cli.exits import EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, EX_USAGE
from connector.cli.own_loop import own_loop
from connector.cli.placed import Member, configs_of, member_of, slots_in, stored_member
from connector.cluster import requests
from connector.cluster.configs import Configs, TargetState
from connector.cluster.coverage import coverage_or_error, known_gaps
from connector.cluster.statuses import decode_status
from connector.coverage.offset import Coverage
from connector.coverage.spend import MILLS
from connector.errors import ConnectorError
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import REQUEST_TIMEOUT_MS, probe
from connector.kafka.login.refusals import ConnectionRefused, words_of
from connector.kafka.rights import READ, TOPIC, WRITE, Right, named, require
from connector.kafka.state import read_partition as partitions
from connector.kafka.state.offsets import OffsetTable
from connector.records.record import TaskId
from connector.records.snowflake import from_iso, to_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from faust.cli import AppCommand

    from connector.config.connector import ConnectorConfig
    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

BAR_CELLS = (96, 72, 48, 24)
"""Possible numbers of cells for the bar of a day; the widest that fits the terminal is used."""

BAR_MS = 24 * 3_600_000
PACE_MS = 60_000
"""Over less covered time than this (ms) no rate is told."""

TABLE_COLUMNS = 120
"""On a narrower terminal each gap is shown in lines instead of a table, so that nothing is cut off."""

COVERED, MISSING, REPAIRING, UNKNOWN = "█", "░", "▒", "·"
STYLES = {COVERED: "green", MISSING: "red", REPAIRING: "yellow", UNKNOWN: "dim"}

Shown = dict[str, Any]


class Wrong(Exception):
    """The arguments cannot be followed; the message names the cure."""


class Outages:
    """Which source partitions of *connector* have no connection, and why, by the last status of each of its *tasks*."""

    def __init__(self, connector: str, tasks: int) -> None:
        self._keys = {f"status-task-{TaskId(connector, number)}".encode() for number in range(tasks)}
        self._by_task: dict[bytes, dict[str, str]] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in a record of the statuses topic; a later one replaces all that an earlier one of its task said."""
        if key in self._keys:
            self._by_task[key] = {}
            with contextlib.suppress(ValueError):  # not a status
                self._by_task[key] = {} if value is None else dict(decode_status(value).status.outages)

    @property
    def now(self) -> dict[str, str]:
        """The reason for each source partition, `""` for a stream without partitions."""
        return {partition: reason for outages in self._by_task.values() for partition, reason in outages.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    A connector, with its *coverage* in the form of the REST API's `/coverage`.

    *paces* is the mean number of posts a millisecond of covered time, by the field `partition` of source partitions.
    """

    member: Member
    coverage: Shown
    paces: Mapping[str | None, float]


class Group:
    """The coverage of the group, as stored in Kafka; *declared* is the connector of the environment, if it has one."""

    def __init__(self, settings: WorkerSettings, declared: ConnectorConfig | None) -> None:
        self._cluster: KafkaCluster = cluster_of(settings)
        self._group, self._names, self._declared = settings.group_id, settings.names, declared

    async def read(self, wanted: str | None = None) -> list[Seen]:
        """
        Return the connector *wanted*; without one that of the environment, or all if the environment declares none.

        Raises:
            Wrong: the group has no such connector.
            KafkaError, OSError, TimeoutError: Kafka does not answer, or refuses.
        """
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await admin.start()
            trusted = (await probe(admin, self._group)).transactions
            read = [
                Right(READ, TOPIC, name) for name in (self._names.offsets, self._names.statuses, self._names.configs)
            ]
            # without these rights it would look as if nothing were covered
            await require(admin, read, self._cluster.user)
            known = set(await admin.list_topics())
        finally:
            await admin.close()
        configs = await configs_of(self._cluster, self._names, present=known, trusted=trusted)
        members = chosen_members(configs, wanted, self._declared, self._group)
        outages = {member.name: Outages(member.name, member.tasks) for member in members}

        def note(key: bytes, value: bytes | None) -> None:
            for each in outages.values():
                each.apply(key, value)

        tables = [await self._offsets(configs, member, known=known, trusted=trusted) for member in members]
        await self._read(self._names.statuses, 0, note, known=known, trusted=trusted)
        return [
            _seen(member, offsets, outages[member.name].now) for member, offsets in zip(members, tables, strict=True)
        ]

    async def _offsets(self, configs: Configs, member: Member, *, known: set[str], trusted: bool) -> OffsetTable:
        offsets = OffsetTable()
        for slot in slots_in(configs, member.name, tasks=member.tasks):
            apply = partial(offsets.apply, slot=slot)
            await self._read(self._names.offsets, slot, apply, known=known, trusted=trusted)
        return offsets

    async def _read(
        self,
        topic: str,
        number: int,
        apply: Callable[[bytes, bytes | None], None],
        *,
        known: set[str],
        trusted: bool,
    ) -> None:
        if topic not in known:
            return
        reading = partitions.committed(self._cluster, TopicPartition(topic, number), trust_end_offsets=trusted)
        with named(self._cluster.user, READ, topic):
            async with contextlib.aclosing(reading) as records:
                async for record in records:
                    if record.key is not None:
                        apply(record.key, record.value)

    async def ask(self, connector: str, gaps: Sequence[Shown], action: requests.Action) -> None:
        """
        Write a request for *action* on each of *gaps* of *connector*.

        Raises:
            KafkaError, OSError: Kafka has not confirmed the requests.
            RightMissing: this user may not write requests.
        """
        topic = self._names.configs
        with named(self._cluster.user, WRITE, topic):
            async with AIOKafkaProducer(**self._cluster.options(), acks="all") as producer:
                for gap in gaps:
                    request = requests.GapRequest(
                        connector=connector,
                        partition=gap.get("partition"),
                        from_ms=from_iso(gap["from"]),
                        action=action,
                        at_ms=int(time.time() * 1000),
                    )
                    key, value = requests.encode(request)
                    await producer.send_and_wait(topic, value, key=key)


def chosen_members(
    configs: Configs, wanted: str | None, declared: ConnectorConfig | None, group: str
) -> Sequence[Member]:
    """
    Return the connector *wanted* of *configs*; without one that which is *declared*, or all if none is.

    Raises:
        Wrong: there is no such connector.
    """
    stored = {name: found for name in configs.names() if (found := configs.get(name)) is not None}
    name = wanted or (declared.name if declared is not None else None)
    if declared is not None and name == declared.name:  # perhaps no worker has brought it into the group yet
        return [member_of(declared, stored[name].target if name in stored else TargetState.RUNNING)]
    if name is None and stored:
        return [stored_member(each) for each in stored.values()]
    if name in stored:
        return [stored_member(stored[name])]
    if not stored:
        raise Wrong(
            f"The group {group} has no connector: set CONNECTOR_GROUP_ID to that of the workers, or create one"
            " (connectors create)."
        )
    raise Wrong(f"The group {group} has no connector {name}: it has {', '.join(stored)}.")


def _seen(member: Member, offsets: OffsetTable, outages: Mapping[str, str]) -> Seen:
    coverage = coverage_or_error(member.name, offsets, outages, settle_ms=member.settle_ms)
    return Seen(member=member, coverage=coverage, paces={} if "error" in coverage else paces_of(offsets, member.name))


def paces_of(offsets: OffsetTable, connector: str) -> Mapping[str | None, float]:
    """Return how many posts *connector* has delivered for each millisecond of covered time, by source partition."""
    paces: dict[str | None, float] = {}
    for partition, value, _ in offsets.coverage(connector):
        coverage = Coverage.decode(value)
        if coverage.covered_from_ms is None or coverage.covered_to_ms is None:
            continue
        missing_ms = sum(gap.to_ms - gap.from_ms for gap in coverage.gaps)
        covered_ms = coverage.covered_to_ms - coverage.covered_from_ms - missing_ms
        if covered_ms >= PACE_MS:
            paces[partition.get("partition")] = coverage.posts / covered_ms
    return paces


def cost_of(gaps: Sequence[Shown], seen: Seen) -> str:
    """Return in a sentence what it may cost to load the posts of *gaps*."""
    unknown = [gap for gap in gaps if gap.get("partition") not in seen.paces]
    if unknown:
        return "What it will cost is not known, as too little time is covered to tell how many posts come."
    posts = sum(round(seen.paces[gap.get("partition")] * (from_iso(gap["to"]) - from_iso(gap["from"]))) for gap in gaps)
    if not seen.member.mills_each:
        return f"By the mean rate until now it may bring {posts:,} posts, at the price of your contract with X."
    usd = posts * seen.member.mills_each / MILLS
    return f"By the mean rate until now it may bring {posts:,} posts and cost ${usd:,.2f}; the budget counts it, too."


def chosen(coverage: Shown, wanted: str) -> list[Shown]:
    """
    Return the gaps that *wanted* names: `all`, or the begin of one gap.

    Raises:
        Wrong: there is no such gap.
    """
    gaps: list[Shown] = known_gaps(coverage["gaps"])
    if wanted == "all":
        return gaps
    try:
        begin = to_iso(from_iso(wanted))
    except ValueError:
        begin = ""
    found = [gap for gap in gaps if gap["from"] == begin]
    if not found:
        begins = ", ".join(gap["from"] for gap in gaps)
        raise Wrong(
            f"No gap begins at {wanted}: use all, or {begins}."
            if gaps
            else "There is no gap: nothing to retry or accept."
        )
    return found


def bar(coverage: Shown, now_ms: int, size: int = BAR_CELLS[0]) -> str:
    """Return the 24 hours before *now_ms* (UNIX ms) as *size* characters; each shows the worst state in its time."""
    begin_ms, cell_ms = now_ms - BAR_MS, BAR_MS // size
    cells = [UNKNOWN] * size
    if coverage["covered_from"] is None:
        return "".join(cells)

    def paint(mark: str, from_ms: int, to_ms: int) -> None:
        first = max((from_ms - begin_ms) // cell_ms, 0)
        last = min((to_ms - 1 - begin_ms) // cell_ms, size - 1)
        cells[first : last + 1] = [mark] * (last + 1 - first)

    paint(COVERED, from_iso(coverage["covered_from"]), from_iso(coverage["covered_to"]))
    for mark in (REPAIRING, MISSING):
        for gap in coverage["gaps"]:
            if (gap["state"] == "repairing") == (mark is REPAIRING) and from_iso(gap["to"]) > begin_ms:
                paint(mark, from_iso(gap["from"]), from_iso(gap["to"]))
    return "".join(cells)


def show(coverage: Shown, console: Console, now_ms: int) -> None:
    """Print *coverage* as text for people; *now_ms* is UNIX ms."""
    if "error" in coverage:
        console.print(f"{coverage['name']}: {coverage['error']}.", style="red", markup=False)
        return
    if coverage["covered_from"] is None:
        console.print(f"{coverage['name']}: nothing is covered yet; a worker has to connect first.")
        return
    ago = _length(now_ms - from_iso(coverage["covered_to"]))
    console.print(f"[bold]{coverage['name']}[/bold]  covered from {coverage['covered_from']}")
    console.print(f"{'':<{len(coverage['name'])}}            to {coverage['covered_to']}  ({ago} ago)")
    size = next((size for size in BAR_CELLS if size <= console.width), BAR_CELLS[-1])
    cells = bar(coverage, now_ms, size)
    console.print(Text.assemble(*((cell, STYLES[cell]) for cell in cells)), soft_wrap=True)
    console.print(f"{'24 h ago':<{size - 3}}now", style="dim", soft_wrap=True)
    console.print(
        f"{COVERED} delivered   {REPAIRING} under repair   {MISSING} missing   {UNKNOWN} not covered", style="dim"
    )
    if not coverage["gaps"]:
        console.print("[green]Nothing is missing.[/green]")
    else:
        _show_gaps("Missing", coverage["gaps"], console)
    if coverage["repaired"]:
        _show_gaps("Repaired or accepted", coverage["repaired"][-10:], console)


def _show_gaps(title: str, gaps: Sequence[Shown], console: Console) -> None:
    if console.width >= TABLE_COLUMNS:
        console.print(_table(title, gaps))
        return
    console.print(f"[bold]{title}[/bold]")
    for gap in gaps:
        length = _length(from_iso(gap["to"]) - from_iso(gap["from"]))
        console.print(f"  {gap['from']} to {gap['to']}  ({length})", soft_wrap=True)
        facts = [gap["reason"], gap["state"], f"{gap['posts']:,} posts", f"{gap['cost_usd']:.3f} USD"]
        console.print(Padding(Text(", ".join(filter(None, [*facts, gap["detail"]]))), (0, 0, 0, 4)))


def _table(title: str, gaps: Sequence[Shown]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("from", "to", "length", "reason", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("posts", justify="right")
    table.add_column("USD", justify="right")
    table.add_column("detail", overflow="fold")
    for gap in gaps:
        table.add_row(
            gap["from"],
            gap["to"],
            _length(from_iso(gap["to"]) - from_iso(gap["from"])),
            gap["reason"],
            gap["state"],
            f"{gap['posts']:,}",
            f"{gap['cost_usd']:.3f}",
            gap["detail"] or "",
        )
    return table


def _length(ms: int) -> str:
    secs = ms / 1000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(secs) >= size:
            return f"{secs / size:.1f} {unit}"
    return f"{secs:.1f} s"


async def _run(group: Group, values: Mapping[str, Any]) -> int:
    asked = [(action, values[action.value]) for action in requests.Action if values[action.value] is not None]
    if len(asked) > 1:
        raise Wrong("--retry and --accept contradict each other: use one of them.")
    seen = await group.read(values["connector"])
    for action, wanted in asked:
        if len(seen) > 1:
            names = ", ".join(each.member.name for each in seen)
            raise Wrong(f"--connector is required, as the group has several connectors: {names}.")
        return await _ask(group, seen[0], action, wanted, values)
    if values["json_"]:
        sys.stdout.write(json.dumps({"connectors": [each.coverage for each in seen]}) + "\n")
        return EX_OK
    console = Console(highlight=False)
    for place, each in enumerate(seen):
        if place:
            console.print()
        show(each.coverage, console, int(time.time() * 1000))
    return EX_OK


async def _ask(group: Group, seen: Seen, action: requests.Action, wanted: str, values: Mapping[str, Any]) -> int:
    if "error" in seen.coverage:
        raise ValueError(seen.coverage["error"])
    gaps, name = chosen(seen.coverage, wanted), seen.member.name
    count = f"{len(gaps)} gap{'' if len(gaps) == 1 else 's'} of {name}"
    if not gaps:
        sys.stdout.write(f"{name} has no gap: nothing to {action.value}.\n")
        return EX_OK
    if action is requests.Action.RETRY:
        say(f"X is asked for the posts of {count} again. {cost_of(gaps, seen)}")
        question = f"Retry {count}?"
    else:
        say(f"The posts of {count} stay out of the topic, and are shown as missing no more. This cannot be undone.")
        question = f"Accept {count}?"
    confirm(question, yes=values["yes"])
    await group.ask(name, gaps, action)
    when = "the worker that runs the task does it within seconds, or once there is one"
    if seen.member.state is not TargetState.RUNNING:
        when = f"{name} is {seen.member.state}, so a worker does it once it is resumed (connectors resume {name})"
    sys.stdout.write(f"Asked for {count} ({action.value}): {when}.\n")
    return EX_OK


def run(values: Mapping[str, Any], loaded: Loaded) -> int:
    """Run the command with the options *values*; return the exit code."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are told in one sentence below
    try:
        return asyncio.run(_run(Group(loaded.worker, loaded.connector), values))
    except (Wrong, click.UsageError) as wrong:
        say(str(wrong))
        return EX_USAGE
    except (KeyboardInterrupt, click.Abort):
        say("Cut short.")
        return EX_INTERRUPTED
    except (KafkaError, OSError, TimeoutError, ConnectorError, ValueError) as error:
        whose = "" if isinstance(error, ConnectionRefused) else f"Kafka at {loaded.worker.broker_url_redacted}: "
        sys.stderr.write(f"{whose}{words_of(error)}\n")
        return EX_UNAVAILABLE


def register(app: ConnectorApp, loaded: Loaded) -> None:
    """Add the command `coverage` to an application made of *loaded*."""

    @app.command(
        click.option(
            "--connector",
            metavar="NAME",
            help="A connector of the group. [default: the one of this environment, else all]",
        ),
        click.option("--retry", metavar="GAP", help="Try to repair a gap again: its begin, or all."),
        click.option("--accept", metavar="GAP", help="Let a gap be as it is, and show it no more: its begin, or all."),
        click.option("--yes", is_flag=True, help="Do not ask whether a gap shall be retried or accepted."),
        click.option("--json", "json_", is_flag=True, help="Print what /coverage says."),
        base=own_loop(lambda values: run(values, loaded)),
    )
    async def coverage(self: AppCommand, **_values: Any) -> None:
        """
        Show what is delivered and what is missing.

        It reads Kafka and needs no worker, for each connector of the group. --retry and --accept ask for something; the
        worker that runs the task does it, within seconds or once there is one. --retry says before what it may cost:
        X charges for each post.

        Exit codes: 0 shown, or asked for; 2 wrong arguments, or not confirmed; 69 Kafka does not answer; 78 wrong
        settings.
        """
