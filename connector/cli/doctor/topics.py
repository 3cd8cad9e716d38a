"""Kafka's topics: those of the group, and those of the connectors; absent ones are not made, but Kafka is asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError

from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import Finding, State, ok, told, unknown, warning, wrong
from connector.config.connector import ConnectorConfig
from connector.coverage.spend import DAY_MS
from connector.errors import BrokerUnsuitable, RightMissing
from connector.kafka.compaction import doubts
from connector.kafka.gate.preparation import own_topics, topics_of
from connector.kafka.rights import CREATE, TOPIC, Right, right_missing
from connector.kafka.topics import TopicSpec, by_hand, declare, settings_of, would_create

HOUR_MS = 3_600_000
REPAIR_MS = 7 * DAY_MS
"""A repair by search finds posts of up to this age."""

POST_BYTES_MAX = 262_144
"""The largest line that X sends, by its limits."""

_CONFIGS = "kafka-configs.sh --alter --topic {topic} --add-config {setting}={value}"


async def internal_topics(case: Case) -> list[Finding]:
    """Are the group's own topics as a worker needs them, or may it make them?"""
    admin = await case.admin()
    return await _each(case, admin, topics_of(case.settings, None))


async def topics(case: Case) -> list[Finding]:
    """Are the connectors' topics there, or may a worker make them, and do they take what X sends?"""
    case.need_settings()
    admin = await case.admin()
    if not case.connectors:
        return [ok("No connector is declared, so there is no topic to look at.")]
    specs = {spec.name: spec for config in case.connectors for spec in own_topics(case.settings, config)}
    found = await _each(case, admin, list(specs.values()))
    letters = {config.dead_letter_topic for config in case.connectors}
    letters.add(case.settings.names.authors)
    for name in specs.keys() & set(await admin.list_topics()):
        found += await _doubts(admin, name, takes_posts=name not in letters)
    for config in case.connectors:
        if config.withdraws and config.topic in set(await admin.list_topics()):
            found += await _forgets(admin, config)
    return found


async def _forgets(admin: AIOKafkaAdminClient, config: ConnectorConfig) -> list[Finding]:
    """Return why the topic keeps posts that are withdrawn from it too long."""
    try:
        settings = await settings_of(admin, config.topic)
    except TopicAuthorizationFailedError:
        return []  # `_doubts` says so
    found = [warning(doubt.why, doubt.cure) for doubt in doubts(config.topic, settings)]
    kept_ms, window_ms = _number(settings, "retention.ms"), config.compliance_window_hours * HOUR_MS
    if kept_ms is None or "delete" not in settings.get("cleanup.policy", "") or kept_ms > window_ms:
        found.append(
            warning(
                f"The topic {config.topic} keeps posts for longer than the {config.compliance_window_hours} hours for"
                f" which {config.name} knows their authors: events about users withdraw no older posts.",
                "Raise compliance.window.hours, or lower retention.ms of the topic.",
            )
        )
    return found or [ok(f"The topic {config.topic} forgets withdrawn posts in the time that X allows.")]


async def _each(case: Case, admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> list[Finding]:
    present = set(await admin.list_topics())
    found: list[Finding] = []
    fine: list[str] = []
    absent: list[str] = []
    untried: list[str] = []
    tries_out = (await case.facts()).tries_out
    for spec in specs:
        try:
            if spec.name in present:
                await declare(admin, [spec], lambda _: None, user=case.cluster.user, create=False)
                fine.append(spec.name)
            elif not case.settings.topic_allow_declare:
                found.append(_not_there(spec))
            elif not tries_out:
                untried.append(spec.name)
            else:
                changes = await would_create(admin, spec, user=case.cluster.user)
                absent.append(spec.name)
                found += _limited(spec, changes)
        except BrokerUnsuitable as error:
            found += [told(State.WRONG, sentence) for sentence in str(error).splitlines()]
        except RightMissing as error:
            found.append(await _hidden(case, spec, error))
    if untried:
        words = f"{', '.join(untried)} will be made by a worker; whether this broker lets it, no request tells surely."
        found.append(unknown(words, "Start a worker: it makes them, or says why not.", absent=untried))
    if absent:
        found.insert(0, ok(f"A worker will make {', '.join(absent)}, as Kafka allows.", absent=absent))
    if fine:
        found.insert(0, ok(f"{', '.join(fine)} {'is' if len(fine) == 1 else 'are'} there."))
    return found


async def _hidden(case: Case, spec: TopicSpec, error: RightMissing) -> Finding:
    """Return which rights are missing: a topic that this user may not create may also be there unseen."""
    rights = [*error.rights]
    if any(right.operation == CREATE for right in rights):
        rights += [
            Right(operation, need.kind, need.name)
            for need in await case.needs()
            if (need.kind, need.name) == (TOPIC, spec.name)
            for operation in need.required
        ]
    return told(State.WRONG, str(right_missing(rights, case.cluster.user)))


def _not_there(spec: TopicSpec) -> Finding:
    return wrong(
        f"The topic {spec.name} is not there, or this user may not see it, and CONNECTOR_TOPIC_ALLOW_DECLARE=false"
        " lets no worker make it.",
        f"Allow this user to see it, or create it: {by_hand(spec)}",
    )


def _limited(spec: TopicSpec, changes: Sequence[str]) -> Iterator[Finding]:
    if changes:
        yield warning(
            f"Kafka lets the topic {spec.name} be made only with {', '.join(changes)}.",
            "Nothing, if these values are meant; else let Kafka's operator allow ours.",
        )


async def _doubts(admin: AIOKafkaAdminClient, name: str, *, takes_posts: bool) -> list[Finding]:
    """Return what stands in the way of posts in the existing topic *name*."""
    (described,) = [entry for entry in await admin.describe_topics([name]) if entry["topic"] == name]
    partitions = described["partitions"]
    found = list(_replicas(name, partitions))
    try:
        settings = await settings_of(admin, name)
    except TopicAuthorizationFailedError:
        cure = f"Allow DESCRIBE_CONFIGS on topic {name}."
        return [*found, unknown(f"This user may not read the settings of the topic {name}.", cure)]
    found += _in_sync(name, settings, partitions)
    return [*found, *_record_settings(name, settings)] if takes_posts else found


def _replicas(name: str, partitions: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    headless = [str(each["partition"]) for each in partitions if each["leader"] < 0]
    if headless:
        yield wrong(
            f"Partition {', '.join(headless)} of the topic {name} has no leader: nothing can be written there.",
            "Start the brokers that hold it.",
        )


def _in_sync(name: str, settings: Mapping[str, str], partitions: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    least = _number(settings, "min.insync.replicas")
    replicas = min((len(each["replicas"]) for each in partitions), default=0)
    if least is not None and replicas and least > replicas:
        yield wrong(
            f"The topic {name} has min.insync.replicas={least} and {replicas} replica{'' if replicas == 1 else 's'}:"
            " Kafka confirms no post.",
            "Lower it with "
            + _CONFIGS.format(topic=name, setting="min.insync.replicas", value=replicas)
            + ", or give the topic more replicas.",
        )
    in_sync = min((len(each["isr"]) for each in partitions), default=0)
    if least is not None and in_sync < least <= replicas:
        yield wrong(
            f"A partition of {name} has {in_sync} replicas in sync and needs {least}: Kafka confirms no post there.",
            "Start the brokers that are away.",
        )


def _record_settings(name: str, settings: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what makes a topic refuse posts, or changes what they say."""
    if (size := _number(settings, "max.message.bytes")) is not None and size < POST_BYTES_MAX:
        yield wrong(
            f"The topic {name} takes records of up to {size:,} bytes (max.message.bytes), and a post may have"
            f" {POST_BYTES_MAX:,}.",
            f"Raise it with {_CONFIGS.format(topic=name, setting='max.message.bytes', value=1_048_588)}",
        )
    if settings.get("message.timestamp.type") == "LogAppendTime":
        yield warning(
            f"The topic {name} has message.timestamp.type=LogAppendTime: a record's time is then not that of the post's"
            " creation.",
            f"Change it with {_CONFIGS.format(topic=name, setting='message.timestamp.type', value='CreateTime')}",
        )
    before = _number(settings, "message.timestamp.before.max.ms")
    if before is not None and before < REPAIR_MS:
        yield warning(
            f"The topic {name} refuses posts that are older than {before / 1000:,.0f} s"
            " (message.timestamp.before.max.ms), and a repair may find posts of seven days.",
            f"Raise it with {_CONFIGS.format(topic=name, setting='message.timestamp.before.max.ms', value=REPAIR_MS)}",
        )


def _number(settings: Mapping[str, str], name: str) -> int | None:
    text = settings.get(name) or ""
    return int(text) if text.isdecimal() else None
