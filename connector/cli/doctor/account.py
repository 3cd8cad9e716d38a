"""X: the clock, the credentials, the plan, and who holds the connections of a stream."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from connector.cli.doctor.case import AtX, Case
from connector.cli.doctor.finding import Blocked, Finding, State, ok, told, unknown, warning, wrong
from connector.cluster.statuses import decode_status
from connector.config.fields import RECHECK
from connector.errors import (
    ConnectionLost,
    ConnectorError,
    InvalidRequest,
    NotAuthorized,
    OutOfCredit,
    ServiceUnavailable,
)
from connector.kafka.state import read_partition
from connector.sources.handles import Handle
from connector.sources.http.session import CERTIFICATE_CURE
from connector.sources.rest.account import Account, HeldConnection, RuleCounts, Usage, find_own
from connector.sources.rest.api import Api
from connector.sources.stream.streams import STREAMS, at_x, source_partitions

SKEW_SECS = 2.0
"""Clocks that differ by less are right enough for times of gaps and budgets."""

SKEW_SECS_MAX = 60.0
"""Clocks that differ by more are wrong: times of gaps, budgets and certificates are then wrong, too."""

USED_WARNING = 0.8
"""The share of the monthly posts from which on it is worth a warning."""

SELF_SERVE_RULES = 1_000
"""The most rules of an account that is no enterprise account."""

_STATUS = b"status-task-"


# -- clock


async def clock(case: Case) -> list[Finding]:
    """Is this machine's clock that of X?"""
    found: list[Finding] = []
    for url, each in {each.config.x_api_url: each for each in case.x()}.items():
        with contextlib.suppress(ConnectorError):  # an error has a date, too
            await each.held()
        found.append(_skew(each.ahead_secs, url))
    return found


def _skew(ahead_secs: float | None, url: str) -> Finding:
    if ahead_secs is None:
        return unknown(f"{url} does not tell its time, or does not answer.", "See the check credentials.")
    facts = {"ahead_secs": ahead_secs}
    where = "behind" if ahead_secs > 0 else "ahead of"
    words = f"This machine's clock is {abs(ahead_secs):,.0f} s {where} that of {url}."
    cure = "Let the system set its clock by NTP: timedatectl set-ntp true."
    if abs(ahead_secs) > SKEW_SECS_MAX:
        return wrong(words, cure, **facts)
    if abs(ahead_secs) > SKEW_SECS:
        return warning(words, cure, **facts)
    return ok(f"This machine's clock is that of {url}, to the second.", **facts)


# -- credentials


async def credentials(case: Case) -> list[Finding]:
    """Does X know the credentials?"""
    return [await _known(each) for each in case.x()]


async def _known(each: AtX) -> Finding:
    name, url = each.config.name, each.config.x_api_url
    try:
        await each.token()
        await each.answers()
    except Blocked as blocked:
        return _unknown_to_x(blocked.__cause__ or blocked, url)
    except ConnectorError as error:
        return _unknown_to_x(error, url)
    return ok(f"{url} accepts the credentials of {name}.")


def _unknown_to_x(error: BaseException, url: str) -> Finding:
    sentence = str(error)
    if isinstance(error, ConnectionLost) and CERTIFICATE_CURE not in sentence:
        _, _, why = sentence.partition(": ")
        cure = "Check x.api.url, the network, and the proxy in HTTPS_PROXY, if there is one."
        return wrong(f"{url} cannot be reached ({why or sentence}).", cure)
    if isinstance(error, ServiceUnavailable):
        cure = "Ask again in some minutes; if it stays so, check x.api.url."
        return wrong(f"{sentence.rpartition(': ')[0] or sentence}.", cure)
    return told(State.WRONG, sentence)


# -- plan


async def plan(case: Case) -> list[Finding]:
    """Does the account's plan have the stream, and how much of the month is left?"""
    found: list[Finding] = []
    for each in case.x():
        await each.answers()
        found += await _plan_of(each)
    return found


async def _plan_of(each: AtX) -> list[Finding]:
    config = each.config
    refusal = await _refusal(each)
    counts = await each.ask(lambda api: Account(api).rule_counts())
    usage = await each.ask(lambda api: Account(api).usage())
    found = [] if usage is None else list(filter(None, [_usage(usage)]))
    if refusal is not None:
        return [refusal, *found]
    if not each.has_rules:
        why = f"X tells only at the connect whether this account may read the stream {config.stream}."
        return [unknown(why, "Start a worker: its log and the connector's status say it."), *found]
    if counts is not None and counts.app_cap == 0:
        return [
            wrong(
                "The plan of this account has no filtered stream: X allows it no rule.",
                "Change the plan in X's developer console.",
            ),
            *found,
        ]
    return [*_fits(config.plan, counts), *found]


async def _refusal(each: AtX) -> Finding | None:
    """Return why X does not let this account do what the stream needs, or why that is not known; None if X does."""
    try:
        await each.held()
        if each.has_rules:
            await each.tried()
    except (NotAuthorized, OutOfCredit) as error:
        return told(State.WRONG, str(error))
    except InvalidRequest:
        return None  # the check `rules` tells it
    except ConnectorError as error:
        return unknown(f"{error}.", "Ask again with --check plan.")
    return None


def _fits(plan_: str, counts: RuleCounts | None) -> list[Finding]:
    cap = None if counts is None else counts.app_cap
    if plan_ == "enterprise" and cap is not None and cap <= SELF_SERVE_RULES:
        return [
            warning(
                f"The plan is set to enterprise, and X allows {cap:,} rules, as it does with pay-per-use: backfill and"
                " recovery by range may be refused.",
                "Set plan=pay_per_use, or ask X about the contract.",
            )
        ]
    if plan_ != "enterprise" and cap is not None and cap > SELF_SERVE_RULES:
        return [
            warning(
                f"X allows {cap:,} rules, as it does with an enterprise contract, and the plan is set to {plan_}: gaps"
                " are repaired by search alone.",
                "Set plan=enterprise.",
            )
        ]
    allowed = "" if cap is None else f", and X allows {cap:,} rules"
    return [ok(f"The account may use the stream with plan={plan_}{allowed}.")]


def _usage(usage: Usage) -> Finding | None:
    if usage.posts is None or not usage.cap:
        return None
    words = f"{usage.posts:,} of {usage.cap:,} posts of this cycle are read"
    days = usage.days_left
    left = "" if days is None else f"; the next begins in {days} day{'' if days == 1 else 's'}"
    share = usage.posts / usage.cap
    facts = {"posts": usage.posts, "cap": usage.cap}
    if share >= 1:
        return wrong(f"{words}{left}.", "Raise the cap in X's developer console, or wait for the next cycle.", **facts)
    if share >= USED_WARNING:
        return warning(f"{words}{left}.", "Narrow the rules, or raise the cap in X's developer console.", **facts)
    return ok(f"{words}{left}.", **facts)


# -- connections


async def connections(case: Case) -> list[Finding]:
    """Is a connection to the stream free, and who holds those that are not?"""
    found: list[Finding] = []
    for each in case.x():
        await each.answers()
        if each.config.stream == RECHECK:
            found.append(ok(f"{each.config.name} needs no connection to a stream: it asks for posts by their ids."))
            continue
        endpoints = dict.fromkeys(at_x(part).endpoint for part in source_partitions(STREAMS[each.config.stream]))
        held: list[HeldConnection] | None = []
        for endpoint in endpoints:
            listed = await each.ask(partial(_listed, endpoint=endpoint))
            held = None if listed is None or held is None else [*held, *listed]
        if held is None:
            found.append(
                unknown(
                    f"X does not list the connections of {each.config.name}'s app.",
                    "Start a worker: if X has none left for it, its status says so.",
                )
            )
        elif not held:
            found.append(ok(f"No connection to the stream {each.config.stream} is open."))
        else:
            found += _holders(each, held, await _ours(case))
    return found


def _listed(api: Api, *, endpoint: str) -> list[HeldConnection] | None:
    return Account(api).connections(endpoint, addresses=True)


def _holders(each: AtX, held: Sequence[HeldConnection], ours: Mapping[Handle, str] | None) -> list[Finding]:
    known = {} if ours is None else ours
    by_time = {find_own(held, handle): task for handle, task in known.items() if isinstance(handle, float)}
    tasks = {one.id: known.get(one.id) or by_time.get(one.id) for one in held}
    found = [
        ok(f"{_shown(one)} is held by {tasks[one.id]}.", id=one.id, address=one.address)
        for one in held
        if tasks[one.id]
    ]
    reads = bool(found)
    others = [one for one in held if not tasks[one.id]]
    for one in others:
        facts = {"id": one.id, "address": one.address}
        cure = (
            "End the program that reads there, or give it another app at X: one app has one connection. A dead one's is"
            f" free after a while, or at once with DELETE /2/connections and the id {one.id}."
        )
        if ours is None:
            found.append(warning(f"{_shown(one)} is held, and Kafka cannot be asked by whom.", cure, **facts))
        elif reads or each.config.plan == "enterprise":
            found.append(warning(f"{_shown(one)} is held by no task of this group.", cure, **facts))
        else:
            found.append(wrong(f"{_shown(one)} is held by no task of this group: none is left.", cure, **facts))
    return found


def _shown(one: HeldConnection) -> str:
    since = datetime.fromtimestamp(one.connected_at, UTC)
    place = f" from {one.address}" if one.address else ""
    return f"A connection to {one.endpoint}{place}, open since {since:%Y-%m-%dT%H:%M:%SZ},"


async def _ours(case: Case) -> Mapping[Handle, str] | None:
    """Return the connections that the group's tasks hold, each with its task; None if Kafka cannot be asked."""
    try:
        admin = await case.admin()
        topic = case.settings.names.statuses
        if topic not in await admin.list_topics():
            return {}
        latest: dict[bytes, bytes | None] = {}
        trust = (await case.facts()).capabilities.transactions
        reading = read_partition.committed(case.cluster, TopicPartition(topic, 0), trust_end_offsets=trust)
        async with contextlib.aclosing(reading) as records:
            async for record in records:
                if record.key is not None and record.key.startswith(_STATUS):
                    latest[record.key] = record.value
    except (Blocked, KafkaError, OSError, TimeoutError):
        return None
    return _handles(latest)


def _handles(latest: Mapping[bytes, bytes | None]) -> dict[Handle, str]:
    handles: dict[Handle, str] = {}
    for key, value in latest.items():
        with contextlib.suppress(ValueError):  # a deleted task, or a record that is no status
            shared = decode_status(value or b"")
            task = f"the task {key.removeprefix(_STATUS).decode()} of this group ({shared.worker_id})"
            handles |= dict.fromkeys(shared.status.connections, task)
    return handles
