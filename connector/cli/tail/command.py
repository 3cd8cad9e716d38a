"""
`faust -A connector tail`: prints posts from the topic, committed ones alone.

    topic ──▶ from a time, or the last ones ──▶ rule? ──▶ lines ──▶ standard output

Exit codes: 0 printed, also after Ctrl-C or if the reader of a pipe has ended; 2 wrong arguments; 69 Kafka did not
answer, or refused; 78 wrong configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connector.cli.connectors.setup import say
from connector.cli.exits import EX_OK, EX_UNAVAILABLE
from connector.cli.own_loop import own_loop
from connector.cli.tail.shown import Shown, lines
from connector.cli.times import time_of
from connector.errors import ConfigError, ConnectorError, FatalError
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import REQUEST_TIMEOUT_MS, probe
from connector.kafka.login.refusals import ConnectionRefused, words_of
from connector.kafka.rights import READ, TOPIC, Right, require
from connector.kafka.state.read_topic import Records, TopicReader
from connector.worker.process import exit_misconfigured

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from faust.cli import AppCommand

    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

DEFAULT_POSTS = 10
POSTS_MAX = 1_000_000

LOOK_BACK = 4
"""How many times as many offsets as posts are looked through first: ends of transactions have offsets, too."""

LOOK_BACK_MAX = 200_000
"""The most offsets of a partition that are looked through for the last posts; the bound for a rule that is rare."""

BEGINNING, END = "beginning", "end"


class Closed(Exception):
    """Nobody reads standard output any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    The options of the command.

    *from_ms* (UNIX ms) is None for the last posts, of which there are *posts*; else *posts* is the most that are
    printed, None without limit.
    """

    topic: str
    rules: frozenset[str]
    from_ms: int | None
    posts: int | None
    follow: bool
    json: bool


def read_request(values: Mapping[str, Any], topic: str | None, *, now_ms: int) -> Request:
    """
    Read the options of the command; *topic* is that of the connector, *now_ms* the present time (UNIX ms).

    Raises:
        click.UsageError: the options cannot be followed.
    """
    topic = values["topic"] or topic
    if not topic:
        raise click.UsageError("--topic is required, as the environment declares no connector.")
    begin, posts, from_ms = values["from_"], values["posts"], None
    if begin == BEGINNING:
        from_ms = 0
    elif begin == END:
        if not values["follow"]:
            raise click.UsageError("--from end prints nothing without --follow.")
        posts = 0
    elif begin is not None:
        try:
            from_ms = time_of(begin, now_ms)
        except ValueError as error:
            raise click.UsageError(f"--from {error}") from None
    if posts is None and begin is None:
        posts = DEFAULT_POSTS
    return Request(
        topic=topic,
        rules=frozenset(values["rules"]),
        from_ms=from_ms,
        posts=posts,
        follow=values["follow"],
        json=values["json_"],
    )


class Tail:
    """Prints what *request* asks for, from the brokers of *cluster*."""

    def __init__(self, cluster: KafkaCluster, group: str, request: Request) -> None:
        self._cluster, self._group, self._request = cluster, group, request
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    async def run(self) -> None:
        """
        Print posts until there are no more, or without end if they are followed.

        Raises:
            Closed: nobody reads the output.
            KafkaError, OSError, TimeoutError, ConnectorError: Kafka does not answer, or refuses.
        """
        request = self._request
        numbers, trusted = await self._partitions()
        async with TopicReader(self._cluster, request.topic, numbers, trust_end_offsets=trusted) as reader:
            if request.from_ms is None:
                self._print(await self._last(reader, request.posts or 0))
            else:
                await reader.begin_at(request.from_ms)
                if not await self._stream(reader.to_end(), request.posts):
                    return
            if request.follow:
                await self._stream(reader.on(), None)

    async def _partitions(self) -> tuple[Sequence[int], bool]:
        """Return the partitions of the topic, and whether the broker's end offsets can be trusted."""
        topic = self._request.topic
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await asyncio.wait_for(admin.start(), REQUEST_TIMEOUT_MS / 1000)
            trusted = (await probe(admin, self._group)).transactions
            await require(admin, [Right(READ, TOPIC, topic)], self._cluster.user)
            if topic not in await admin.list_topics():
                raise FatalError(f"there is no topic {topic}: is that the broker, and has a worker started?")
            (described,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
        return sorted(entry["partition"] for entry in described["partitions"]), trusted

    async def _last(self, reader: TopicReader, posts: int) -> Sequence[Shown]:
        offsets = posts * LOOK_BACK
        while True:
            earlier = await reader.begin_before_end(min(offsets, LOOK_BACK_MAX))
            found: deque[Shown] = deque(maxlen=posts)
            if offsets:
                async with contextlib.aclosing(reader.to_end()) as read:
                    async for records in read:
                        found.extend(self._wanted(records))
            if len(found) >= posts or not earlier or offsets >= LOOK_BACK_MAX:
                if len(found) < posts and earlier:
                    say(f"Of each partition the last {LOOK_BACK_MAX:,} records were looked through: --from reads more.")
                return sorted(found, key=lambda record: record.timestamp_ms)
            offsets *= LOOK_BACK

    async def _stream(self, reading: AsyncGenerator[Records], posts: int | None) -> bool:
        """Print what is read, at most *posts*; return whether there is room for more."""
        async with contextlib.aclosing(reading) as read:
            async for records in read:
                found = self._wanted(records)[:posts]
                self._print(found)
                if posts is not None:
                    posts -= len(found)
                    if not posts:
                        return False
        return True

    def _wanted(self, records: Records) -> list[Shown]:
        found = (Shown(record.key, record.value, record.timestamp) for record in records)
        return [record for record in found if record.matches(self._request.rules)]

    def _print(self, records: Sequence[Shown]) -> None:
        out = sys.stdout
        try:
            if records:
                text = lines(records, as_json=self._request.json, colours=self._colours)
                out.buffer.write(text.encode(out.encoding or "utf-8", "replace"))
                out.buffer.flush()
            elif _is_closed(out.fileno()):
                raise Closed
        except BrokenPipeError:
            raise Closed from None


def _is_closed(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed, which a write would show."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def run(values: Mapping[str, Any], loaded: Loaded, unconfigured: Sequence[str] = ()) -> int:
    """Run the command with the options *values*; return the exit code."""
    config, settings = loaded.connector, loaded.worker
    if config is None and not values["topic"]:
        exit_misconfigured(ConfigError([*unconfigured, "Or name a topic by --topic."]))
    request = read_request(values, config.topic if config else None, now_ms=int(time.time() * 1000))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are told in one sentence below
    return _run(request, settings)


def _run(request: Request, settings: WorkerSettings) -> int:
    try:
        asyncio.run(Tail(cluster_of(settings), settings.group_id, request).run())
    except KeyboardInterrupt:
        return EX_OK
    except Closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more
        return EX_OK
    except (KafkaError, OSError, TimeoutError, ConnectorError) as error:
        whose = "" if isinstance(error, ConnectionRefused) else f"Kafka at {settings.broker_url_redacted}: "
        say(f"{whose}{words_of(error)}")
        return EX_UNAVAILABLE
    return EX_OK


def options() -> tuple[Any, ...]:
    """Return the options of the command."""
    return (
        click.option("--topic", metavar="TOPIC", help="Another topic than that of the declared connector."),
        click.option(
            "--rule",
            "rules",
            multiple=True,
            metavar="TAG",
            help="Only posts of this rule, by its tag; may be repeated.",
        ),
        click.option(
            "--from",
            "from_",
            metavar="TIME",
            help="Begin there: beginning, end, 2026-11-01T12:00Z, or an age: -30m, -2h. [default: the last posts]",
        ),
        click.option(
            "-n",
            "posts",
            type=click.IntRange(1, POSTS_MAX),
            metavar="NUMBER",
            help=f"How many posts; with --from the first ones. [default: {DEFAULT_POSTS}, with --from all]",
        ),
        click.option("-f", "--follow", is_flag=True, help="Go on with new posts, until Ctrl-C."),
        click.option("--json", "json_", is_flag=True, help="Print each post as X sent it, a line of JSON each."),
    )


def register(app: ConnectorApp, loaded: Loaded) -> None:
    """Add the command `tail` to an application made of *loaded*."""

    @app.command(*options(), base=own_loop(lambda values: run(values, loaded, app.unconfigured)))
    async def tail(self: AppCommand, **_values: Any) -> None:
        """Print posts from the topic."""
