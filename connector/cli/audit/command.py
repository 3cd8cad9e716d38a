"""
`faust -A connector audit`: compares the posts in the topic with X's counts.

    rules of X ──▶ count queries ──▶ cost, yes? ──▶ ids in Kafka ──▶ counts of X ──▶ report

X charges for counts, so they are asked last.  The report goes to standard output, all else to standard error.

Exit codes: 0 the threshold is reached; 1 it is not; 2 wrong arguments, or the cost was not confirmed; 69 X or Kafka did
not answer, or refused; 78 wrong configuration; 130 Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

import click
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connector.cli.audit.comparison import Hole, Report, Tally, TopicTally, compare, holes, minute_of, shown_minute
from connector.cli.audit.spool import MINUTE_MS, MinuteSpool
from connector.cli.exits import EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNAVAILABLE, EX_USAGE
from connector.cli.own_loop import own_loop
from connector.cli.placed import slots_of
from connector.cli.times import time_of
from connector.coverage.offset import Coverage, Gap
from connector.coverage.spend import DAY_MS, MILLS
from connector.errors import ConfigError, ConnectorError, FatalError
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import REQUEST_TIMEOUT_MS, probe
from connector.kafka.login.refusals import ConnectionRefused, words_of
from connector.kafka.rights import DESCRIBE_CONFIGS, READ, TOPIC, Right, require
from connector.kafka.state import read_partition as partitions
from connector.kafka.state.delivered_ids import read_values
from connector.kafka.state.offsets import OffsetTable, read_committed
from connector.kafka.topics import settings_of
from connector.records.snowflake import created_ms, to_iso
from connector.sources.archive.counts import REQUEST_MILLS, Counting, CountQuery, Packed, Patience, pack
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.rest.api import Api
from connector.sources.rest.rules import held_rules
from connector.worker.process import exit_misconfigured

if TYPE_CHECKING:
    from faust.cli import AppCommand

    from connector.config.connector import ConnectorConfig
    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

REACH_MS = 7 * DAY_MS
"""X's endpoint counts/recent goes back this far."""

GRACE_MS = MINUTE_MS
"""
X may not have counted younger posts yet.

The earliest time allowed is this much later than X's limit, so that the operator has time to confirm the cost.
"""

DEFAULT_THRESHOLD = "99"
"""Percent.  X calls its counts approximate, and posts are deleted between delivery and audit."""

Say = Callable[[str], None]
T = TypeVar("T")


class Wrong(Exception):
    """The command line has *problems*, each a sentence."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


# -- the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options: whole minutes from *from_ms* up to *to_ms* (UNIX ms); *widened* if they named parts of minutes."""

    from_ms: int
    to_ms: int
    widened: bool
    threshold: Decimal

    @property
    def period(self) -> str:
        return f"{shown_minute(self.from_ms)} to {shown_minute(self.to_ms)}"


def read_request(
    from_: str | None, to: str | None, threshold: str, *, now_ms: int, stream: str, value_format: str = "json"
) -> Request:
    """
    Read the options of the command; *now_ms* is the present time (UNIX ms).

    Raises:
        Wrong: options are wrong; it has all problems.
    """
    problems: list[str] = []

    def read(name: str, parse: Callable[[], T], otherwise: T) -> T:
        try:
            return parse()
        except ValueError as error:
            problems.append(f"{name} {error}")
            return otherwise

    earliest_ms = _up(now_ms - REACH_MS + GRACE_MS)
    latest_ms = minute_of(now_ms - GRACE_MS)
    begin_ms = read("--from", lambda: _time(from_, now_ms), latest_ms - MINUTE_MS)
    end_ms = latest_ms if to is None else read("--to", lambda: _time(to, now_ms), latest_ms)
    percent = read("--threshold", lambda: _percent(threshold), Decimal(DEFAULT_THRESHOLD))
    from_ms, to_ms = minute_of(begin_ms), _up(end_ms)
    if from_ms < earliest_ms:
        problems.append(
            f"--from is {to_iso(begin_ms)}, and X counts the last seven days: use {shown_minute(earliest_ms)} or later."
        )
    if to_ms > latest_ms:
        problems.append(
            f"--to is {to_iso(end_ms)}, and X counts everything only a minute later: use {shown_minute(latest_ms)} or"
            " earlier."
        )
    if not problems and from_ms >= to_ms:
        problems.append(f"--from is {to_iso(begin_ms)}, which must lie before --to, {to_iso(end_ms)}.")
    if stream != "filtered":
        problems.append(
            f"CONNECTOR_STREAM is {stream}, which cannot be audited: X counts what rules match, and only"
            " stream=filtered has rules."
        )
    if value_format != "json":
        problems.append(
            f"CONNECTOR_VALUE_FORMAT is {value_format}, which cannot be audited: the audit reads values as lines of X,"
            " so only value.format=json can be."
        )
    if problems:
        raise Wrong(problems)
    return Request(from_ms=from_ms, to_ms=to_ms, widened=(from_ms, to_ms) != (begin_ms, end_ms), threshold=percent)


def _time(text: str | None, now_ms: int) -> int:
    if text is None:
        raise ValueError("is required: when the audit is to begin, such as 2026-11-01T12:00Z, or -2h.")
    return time_of(text, now_ms)


def _percent(text: str) -> Decimal:
    try:
        percent = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        percent = Decimal(-1)
    if not (percent.is_finite() and 0 <= percent <= 100):  # noqa: PLR2004  # percent
        raise ValueError(f"cannot be {text!r}: write a percentage from 0 to 100, such as 99.5.")
    return percent


# -- the posts in Kafka


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was read from Kafka: numbers of posts by query and minute, their topic (*source*), and known holes."""

    found: Sequence[Mapping[int, int]]
    source: str
    holes: Sequence[Hole]
    notes: Sequence[str] = ()


class Reading:
    """Reads one connector's topics, without joining the workers' group."""

    def __init__(self, settings: WorkerSettings, config: ConnectorConfig) -> None:
        self._settings, self._config = settings, config
        self._cluster: KafkaCluster = cluster_of(settings)
        self._slots: tuple[int, ...] = ()
        self._trust = True

    async def read(self, packed: Packed, request: Request) -> Contents:
        """
        Return the posts in Kafka that the queries *packed* match.

        Raises:
            KafkaError, OSError, TimeoutError, ConnectorError: Kafka cannot be read.
        """
        group, topic = self._settings.group_id, self._config.topic
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await asyncio.wait_for(admin.start(), REQUEST_TIMEOUT_MS / 1000)
            self._trust = (await probe(admin, group)).transactions
            await require(admin, self._rights, self._cluster.user)
            present = set(await admin.list_topics())
            if topic not in present:
                raise FatalError(
                    f"There is no topic {topic} on {self._settings.broker_url_redacted}: is that the broker?"
                )
            (described,) = await admin.describe_topics([topic])
            numbers = sorted(entry["partition"] for entry in described["partitions"])
            kept_ms = await _retention_ms(admin, topic)
        finally:
            await admin.close()
        name, tasks = self._config.name, self._config.tasks
        names = self._settings.names
        self._slots = await slots_of(self._cluster, names, name, tasks=tasks, present=present, trusted=self._trust)
        ledger = self._settings.names.ledger
        if packed.are_distinct and ledger in present and self._remembers(request):
            found: Sequence[Mapping[int, int]] = [await self._from_ledger(ledger, packed.queries[0], request)]
            source, notes = ledger, []
        else:
            found, strange = await self._from_topic(numbers, packed, request)
            source, notes = topic, _notes_of(strange, topic, kept_ms, request)
        known = await self._holes(request) if self._settings.names.offsets in present else []
        return Contents(found=found, source=source, holes=known, notes=notes)

    @property
    def _rights(self) -> list[Right]:
        names, topic = self._settings.names, self._config.topic
        read = [Right(READ, TOPIC, name) for name in (topic, names.ledger, names.offsets, names.configs)]
        return [Right(DESCRIBE_CONFIGS, TOPIC, topic), *read]

    def _remembers(self, request: Request) -> bool:
        return time.time() * 1000 - request.from_ms < self._settings.ledger_retention_hours * 60 * MINUTE_MS

    async def _from_ledger(self, ledger: str, query: CountQuery, request: Request) -> Counter[int]:
        key = self._config.name.encode()
        with MinuteSpool() as spool:
            for slot in self._slots:
                # Read to the end: a repair writes ids of old posts late.
                reading = read_values(self._cluster, ledger, slot, key, query.from_ms, trust_end_offsets=self._trust)
                async with contextlib.aclosing(reading) as records:
                    async for ids in records:
                        for post_id in ids:
                            if query.from_ms <= created_ms(post_id) < request.to_ms:
                                spool.add(post_id, 0)
            return Counter({minute: len(posts) for minute, posts in spool.minutes()})

    async def _from_topic(
        self, numbers: Iterable[int], packed: Packed, request: Request
    ) -> tuple[list[Counter[int]], int]:
        config = self._config
        has_references = "referenced_tweets" in config.tweet_fields or any(
            name.startswith("referenced_tweets") for name in config.expansions
        )
        asked = [(query.from_ms, [rule.id for rule in query.rules]) for query in packed.queries]
        with TopicTally(asked, request.to_ms, has_references=has_references) as tally:
            for number in numbers:
                reading = partitions.committed(
                    self._cluster,
                    TopicPartition(config.topic, number),
                    from_ms=request.from_ms,
                    trust_end_offsets=self._trust,
                )
                async with contextlib.aclosing(reading) as records:
                    async for record in records:
                        tally.add(record.key, record.value)
            return tally.count()

    async def _holes(self, request: Request) -> list[Hole]:
        table = OffsetTable()
        topic, name = self._settings.names.offsets, self._config.name
        for slot in self._slots:
            committed = await read_committed(self._cluster, topic, slot, trust_end_offsets=self._trust)
            for key, value in committed.latest.items():
                table.apply(key, value, slot)
        closed = [Gap.of(fields) for _, entries in table.kept(name, "repaired") for fields in entries]
        found: list[Hole] = []
        for _, value, _ in table.coverage(name):
            found += holes(Coverage.decode(value), closed, from_ms=request.from_ms, to_ms=request.to_ms)
        return found


async def _retention_ms(admin: AIOKafkaAdminClient, topic: str) -> int | None:
    text = (await settings_of(admin, topic)).get("retention.ms", "")
    return int(text) if text.isdecimal() else None


def _notes_of(strange: int, topic: str, kept_ms: int | None, request: Request) -> list[str]:
    notes = []
    if strange:
        notes.append(f"{strange:,} records of {topic} are no lines of X, and were not counted.")
    if kept_ms is not None and time.time() * 1000 - kept_ms > request.from_ms:
        hours = f"{kept_ms / (60 * MINUTE_MS):g} h"
        notes.append(
            f"The topic {topic} keeps posts for {hours} (retention.ms): older ones are gone, and seem missing."
        )
    return notes


# -- the command


class Audit:
    """One audit; *say* shows a sentence, *confirm* asks the operator to accept the cost, before X is asked to count."""

    def __init__(self, loaded: Loaded, config: ConnectorConfig, say: Say, confirm: Callable[[], bool]) -> None:
        self._settings, self._config = loaded.worker, config
        self._say, self._confirm = say, confirm
        self._billed = config.plan == "pay_per_use"

    def run(self, request: Request, api: Api) -> Report | None:
        """
        Return the report; None if the cost was not confirmed.

        Raises:
            KafkaError, OSError, TimeoutError, ConnectorError: X or Kafka does not answer, or refuses.
        """
        patience = Patience(self._say)
        rules = patience.ask(lambda: held_rules(api))
        packed = pack(
            rules,
            from_ms=request.from_ms,
            to_ms=request.to_ms,
            max_characters=QUERY_CHARACTERS[self._config.plan],
        )
        for one in packed.left_out:
            self._say(f"Left out: {one.rule.value} ({one.reason}).")
        if not packed.queries:
            raise FatalError(
                "X holds no rule that it could count posts for: start the connector, which makes its rules, or wait for"
                " a whole minute after that."
            )
        self._say(
            f"{request.period}, {len(rules)} rules at X: {self._cost(len(packed.queries))},"
            " and one more for each further page of an answer."
        )
        if not self._confirm():
            return None
        contents = asyncio.run(Reading(self._settings, self._config).read(packed, request))
        counting = Counting(api, patience)
        tallies = [
            Tally(from_ms=query.from_ms, counted=counting.by_minute(query, request.to_ms), found=found)
            for query, found in zip(packed.queries, contents.found, strict=True)
        ]
        return Report(
            threshold=request.threshold,
            minutes=compare(tallies, from_ms=request.from_ms, to_ms=request.to_ms, known=contents.holes),
            notes=(*self._notes(packed, contents, request), f"Asked of X: {self._cost(counting.requests)}."),
            facts=self._facts(packed, contents, request, counting.requests),
        )

    def _cost(self, requests: int) -> str:
        counted = f"{requests} request{'' if requests == 1 else 's'} of counts"
        return f"{counted}, ${requests * REQUEST_MILLS / MILLS:.3f}" if self._billed else f"{counted}, by your contract"

    def _notes(self, packed: Packed, contents: Contents, request: Request) -> list[str]:
        notes = [f"Posts were read from {contents.source}, by the time of their creation.", *contents.notes]
        if len(packed.queries) > 1:
            notes.append(
                f"The rules took {len(packed.queries)} queries: a post that several of them find counts in each."
            )
        for query in packed.queries:
            if query.from_ms > request.from_ms:
                names = ", ".join(rule.tag or rule.value for rule in query.rules)
                notes.append(f"Newer than the begin, and counted from {shown_minute(query.from_ms)} on: {names}.")
        notes += [f"Left out, on both sides: {one.rule.value} ({one.reason})." for one in packed.left_out]
        return notes

    def _facts(self, packed: Packed, contents: Contents, request: Request, requests: int) -> dict[str, object]:
        return {
            "connector": self._config.name,
            "topic": self._config.topic,
            "read_from": contents.source,
            "from": to_iso(request.from_ms),
            "to": to_iso(request.to_ms),
            "requests": requests,
            "cost_usd": requests * REQUEST_MILLS / MILLS if self._billed else None,
            "queries": [
                {"query": query.text, "from": to_iso(query.from_ms), "rules": [rule.id for rule in query.rules]}
                for query in packed.queries
            ],
            "left_out": [
                {"id": one.rule.id, "value": one.rule.value, "tag": one.rule.tag, "reason": one.reason}
                for one in packed.left_out
            ],
        }


def run(values: Mapping[str, Any], loaded: Loaded, unconfigured: Sequence[str] = ()) -> int:
    """Run the command with the options *values*; return the exit code."""
    # imported here, because `connector.worker` imports the commands
    from connector.worker.tasks import credentials_of

    config = loaded.connector
    if config is None:
        exit_misconfigured(ConfigError(unconfigured))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are told in one sentence below
    try:
        request = read_request(
            values["from_"],
            values["to"],
            values["threshold"],
            now_ms=int(time.time() * 1000),
            stream=config.stream,
            value_format=config.value_format,
        )
        if request.widened:
            _say(f"Whole minutes are audited: {request.period}.")
        with Api(config.x_api_url, credentials_of(config)) as api:
            report = Audit(loaded, config, _say, _confirmation(yes=values["yes"])).run(request, api)
    except Wrong as wrong:
        for problem in wrong.problems:
            _say(problem)
        return EX_USAGE
    except (KafkaError, OSError, TimeoutError, ConnectorError) as error:
        whose = "" if isinstance(error, ConnectorError | ConnectionRefused) else "Kafka: "
        _say(f"No audit: {whose}{words_of(error)}")
        return EX_UNAVAILABLE
    except (KeyboardInterrupt, click.Abort):
        _say("Cut short.")
        return EX_INTERRUPTED
    if report is None:
        return EX_USAGE
    sys.stdout.write(
        json.dumps(report.fields()) + "\n" if values["json_"] else "".join(f"{line}\n" for line in report.lines())
    )
    return EX_OK if report.complete else EX_FAILED


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def _confirmation(*, yes: bool) -> Callable[[], bool]:
    def confirm() -> bool:
        if yes:
            return True
        if sys.stdin.isatty() and sys.stderr.isatty():
            return click.confirm("Go on?", err=True)
        _say("Nothing was asked of X: without a terminal, --yes says that it may cost that.")
        return False

    return confirm


def _up(ms: int) -> int:
    return minute_of(ms + MINUTE_MS - 1)


def options() -> tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...]:
    """Return the options of the command; `read_request` checks them, so that all problems are reported at once."""
    return (
        click.option("--from", "from_", metavar="TIME", help="Begin: 2026-11-01T12:00Z, or an age: -30m, -2h, -1d."),
        click.option("--to", metavar="TIME", help="End; without it a minute ago, the latest that X has counted."),
        click.option(
            "--threshold",
            metavar="PERCENT",
            default=DEFAULT_THRESHOLD,
            show_default=True,
            help="Exit with 1 if less than that is in the topic.",
        ),
        click.option("--yes", is_flag=True, help="Do not ask whether it may cost what it costs."),
        click.option("--json", "json_", is_flag=True, help="Print the report as JSON."),
    )


def register(app: ConnectorApp, loaded: Loaded) -> None:
    """Add the command `audit` to an application made of *loaded*."""

    @app.command(*options(), base=own_loop(lambda values: run(values, loaded, app.unconfigured)))
    async def audit(self: AppCommand, **_values: Any) -> None:
        """
        Compare the topic with what X counts, minute by minute; this costs money.

        It reads Kafka and needs no worker. X charges $0.005 for each request of counts; without --yes it says the price
        and asks before it spends that.

        Exit codes: 0 the threshold is reached; 1 it is not; 2 wrong arguments, or not confirmed; 69 X or Kafka does not
        answer; 78 wrong settings.
        """
