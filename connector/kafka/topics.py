"""
Creates the topics that the connector needs, and checks the settings of existing ones.

An existing topic is never changed: wrong settings are an error that names the cure.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError, for_code

from connector.config.names import Names
from connector.errors import BrokerUnsuitable
from connector.kafka import limits
from connector.kafka.rights import CREATE, DESCRIBE_CONFIGS, TOPIC, Right, right_missing
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import TopicCreated

TASK_SLOTS = 64
"""
Partitions with which the topics are made in which each task has one of its own.

They grow by as many when a task finds no slot (`slot_topics`).
"""

LARGE_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record of those internal topics that may hold large records (bytes); no managed Kafka refuses this value."""

LEDGER_SEGMENTS = 8
"""The ledger's retention spans at least this number of segments, so records stay at most an eighth of it longer."""

AUTHORS_PARTITION = 0
"""The one partition of the topic of authors."""

MIN_SEGMENT_MS = 3_600_000
"""Segments of the topic of authors are not shorter than this (ms), however short its window is."""

HISTORY_PARTITIONS = 2
"""The minutes of the history, and what is kept of it for longer (`connector.history.records`)."""

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
"""Kafka's default of `max.message.bytes`, for brokers that do not tell their value."""

KNOWN_SECS = 10.0
KNOWN_POLL_SECS = 0.1
_TOPIC_ALREADY_EXISTS = 36
_SHOW_SETTINGS = ("cleanup.policy", "retention.ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """
    A topic to create with *partitions*, *replication* (-1: the broker's default) and *settings*.

    An existing topic needs at least *min_partitions* partitions, one of the given values for each setting in
    *required*, and at least the given value for each setting in *least*.
    """

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]
    min_partitions: int = 1
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    chosen: bool = False
    """Whether an operator has chosen the settings: then they are not replaced to keep within a broker's limits."""


def internal_topics(
    group_id: str,
    *,
    replication: int,
    ledger_retention_ms: int,
    history_retention_ms: int,
    slots: int = TASK_SLOTS,
) -> tuple[TopicSpec, ...]:
    """
    Return the topics in which a group with so many *slots* keeps its state.

    The ledger topic keeps records for *ledger_retention_ms*, the history topic for *history_retention_ms*.
    """
    names = Names(group_id)
    # Small segments, so that compaction keeps up with one offset for each transaction and a start reads little.
    compacted = {"cleanup.policy": "compact", "segment.bytes": str(4 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"}
    must_compact = {"cleanup.policy": ("compact",)}
    # The rules of a large account are one record.  Kafka refuses a record that is larger than a segment.
    large = {"max.message.bytes": LARGE_RECORD_BYTES, "segment.bytes": LARGE_RECORD_BYTES}
    return (
        TopicSpec(
            name=names.offsets,
            partitions=slots,
            replication=replication,
            settings=compacted | {setting: str(number) for setting, number in large.items()},
            min_partitions=TASK_SLOTS,
            required=must_compact,
            least=large,
        ),
        *(
            TopicSpec(
                name=topic,
                partitions=1,
                replication=replication,
                settings=compacted | more,
                required=must_compact,
            )
            for topic, more in (
                (names.statuses, {}),
                (names.configs, {setting: str(number) for setting, number in large.items()}),
            )
        ),
        _ledger(names.ledger, replication, ledger_retention_ms, slots),
        TopicSpec(
            name=names.tasks,
            partitions=slots,
            replication=replication,
            settings={"cleanup.policy": "delete"},
            min_partitions=TASK_SLOTS,
        ),
        _history(names.history, replication, history_retention_ms),
    )


def _ledger(name: str, replication: int, retention_ms: int, slots: int) -> TopicSpec:
    by_creation = {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}  # readers seek by creation time
    return TopicSpec(
        name=name,
        partitions=slots,
        replication=replication,
        settings=by_creation
        | {
            "retention.ms": str(retention_ms),
            "retention.bytes": "-1",
            # Kafka deletes only whole segments, each once its newest record is too old.
            "segment.ms": str(retention_ms // LEDGER_SEGMENTS),
            "segment.bytes": str(64 * 1024 * 1024),
            "max.message.bytes": str(LARGE_RECORD_BYTES),
        },
        min_partitions=TASK_SLOTS,
        required={setting: (value,) for setting, value in by_creation.items()},
        least={"retention.ms": retention_ms},
    )


def authors_topic(group_id: str, *, replication: int, window_ms: int) -> TopicSpec:
    """
    Return the topic in which compliance connectors keep what they have learnt of the last *window_ms*.

    Only a group with such a connector has it.
    """
    return TopicSpec(
        name=Names(group_id).authors,
        partitions=1,
        replication=replication,
        settings={
            "cleanup.policy": "delete",
            "retention.ms": str(window_ms),
            "retention.bytes": "-1",
            "segment.ms": str(max(window_ms // LEDGER_SEGMENTS, MIN_SEGMENT_MS)),
            "segment.bytes": str(64 * 1024 * 1024),
        },
        required={"cleanup.policy": ("delete",)},
        least={"retention.ms": window_ms},
    )


def _history(name: str, replication: int, retention_ms: int) -> TopicSpec:
    return TopicSpec(
        name=name,
        partitions=HISTORY_PARTITIONS,
        replication=replication,
        settings={
            "cleanup.policy": "delete",
            "retention.ms": str(retention_ms),
            "retention.bytes": "-1",
            "segment.ms": str(retention_ms // LEDGER_SEGMENTS),
            "segment.bytes": str(64 * 1024 * 1024),
            "max.message.bytes": str(LARGE_RECORD_BYTES),
        },
        min_partitions=HISTORY_PARTITIONS,
        required={"cleanup.policy": ("delete",)},
    )


async def declare(
    admin: AIOKafkaAdminClient,
    specs: Iterable[TopicSpec],
    emit: Callable[[Event], None],
    *,
    user: str | None = None,
    create: bool = True,
) -> None:
    """
    Create the topics of *specs* that are absent, unless *create* is False, and check those that exist.

    If the broker has limits, a topic is created within them.

    Raises:
        BrokerUnsuitable: a topic has wrong settings, or the broker refuses to create one.
        RightMissing: *user* may not create a topic, or may not read settings that have to be checked.
        KafkaError: the broker cannot be asked now.
    """
    wanted = list(specs)
    present = set(await admin.list_topics())
    absent = [spec for spec in wanted if spec.name not in present]
    if absent and not create:
        raise BrokerUnsuitable("\n".join(_absent(spec) for spec in absent))
    lacking: list[Right] = []
    limited: list[limits.Limited] = []
    for spec in absent:
        try:
            limited += await _create(admin, spec, emit)
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            lacking.append(Right(CREATE, TOPIC, spec.name))
    if limited:
        emit(limits.told(limited))
    refused = {right.name for right in lacking}
    await _until_known(admin, [spec.name for spec in absent if spec.name not in refused])
    adapted = {each.topic for each in limited}
    problems: list[str] = []
    for spec in wanted:
        if spec.name in present or spec.name in adapted:
            try:
                problems += await _problems(admin, spec)
            except TopicAuthorizationFailedError:
                lacking.append(Right(DESCRIBE_CONFIGS, TOPIC, spec.name))
    if problems:
        raise BrokerUnsuitable("\n".join(problems))
    if lacking:
        raise right_missing(lacking, user)


async def would_create(admin: AIOKafkaAdminClient, spec: TopicSpec, *, user: str | None = None) -> tuple[str, ...]:
    """
    Ask the broker whether it would create the topic of *spec*, and with which other settings; none is created.

    Only for brokers that surely create none (`gate.inspection`): some ignore that they are asked for no more than that.

    Raises:
        BrokerUnsuitable: the broker would refuse.
        RightMissing: *user* may not create the topic, or not see that it is there.
        KafkaError: the broker cannot be asked now.
    """
    try:
        limited = await _create(admin, spec, lambda _: None, dry_run=True)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError) as exc:
        raise right_missing([Right(CREATE, TOPIC, spec.name)], user) from exc
    return tuple(change for each in limited for change in each.changes)


async def settings_of(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """Return the effective settings of *topic*; brokers other than Kafka may tell only a few of them."""
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings: dict[str, str] = {}
    for resource in response.to_object()["resources"]:
        if resource["error_code"]:
            raise for_code(resource["error_code"])(resource["error_message"])
        settings |= {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}
    return settings


async def _create(
    admin: AIOKafkaAdminClient, spec: TopicSpec, emit: Callable[[Event], None], *, dry_run: bool = False
) -> list[limits.Limited]:
    """Create the topic of *spec*; return how the broker's limits changed it, or an empty list if they did not."""
    asked = limits.Asked(spec.replication, dict(spec.settings))
    ladder = limits.Ladder(asked, chosen=spec.chosen)
    reason = ""
    while True:
        new = NewTopic(spec.name, spec.partitions, abs(asked.replication), topic_configs=dict(asked.settings))
        new.replication_factor = asked.replication  # the constructor refuses -1, the broker's default; brokers take it
        response = await admin.create_topics([new], validate_only=dry_run)
        ((_, code, message, *_),) = response.topic_errors
        if code == 0:
            shown = ", ".join(f"{key}={asked.settings[key]}" for key in _SHOW_SETTINGS if key in asked.settings)
            if not dry_run:
                emit(TopicCreated(topic=spec.name, partitions=spec.partitions, settings=shown))
            return [limits.Limited(spec.name, ladder.changes(asked), reason)] if reason else []
        if code == _TOPIC_ALREADY_EXISTS:  # another worker was faster
            return []
        error = for_code(code)
        if getattr(error, "retriable", False) or error in {
            TopicAuthorizationFailedError,
            ClusterAuthorizationFailedError,
        }:
            raise error(message)
        words = message or error.__name__
        lower = ladder.below(asked, code, words)
        if lower is None:
            raise BrokerUnsuitable(_uncreatable(spec, reason or words))
        asked, reason = lower, reason or words


def _uncreatable(spec: TopicSpec, words: str) -> str:
    options = "CONNECTOR_TOPIC_CREATION_DEFAULT_..." if spec.chosen else "CONNECTOR_INTERNAL_REPLICATION_FACTOR"
    return (
        f"Kafka refuses to create the topic {spec.name} with {spec.partitions} partitions, "
        f"replication factor {spec.replication}: {words.rstrip('.')}. Change {options}, "
        f"or create the topic by hand with what the broker takes: {by_hand(spec)}"
    )


def _absent(spec: TopicSpec) -> str:
    return (
        f"The topic {spec.name} is not there, or this user may not see it, and CONNECTOR_TOPIC_ALLOW_DECLARE=false"
        f" creates none: allow this user to see it, or create it: {by_hand(spec)}"
    )


def by_hand(spec: TopicSpec) -> str:
    """Return the command that creates the topic of *spec*."""
    replication = "" if spec.replication == -1 else f" --replication-factor {spec.replication}"
    settings = "".join(f" --config {setting}={value}" for setting, value in spec.settings.items())
    return f"kafka-topics.sh --create --topic {spec.name} --partitions {spec.partitions}{replication}{settings}"


async def _until_known(admin: AIOKafkaAdminClient, topics: Collection[str]) -> None:
    """Wait until the broker knows *topics*, which it has created: it confirms a topic before it knows the topic."""
    async with asyncio.timeout(KNOWN_SECS):
        while topics:
            answer = await admin.describe_topics(list(topics))
            # a topic that this user may create but not see is left to the next check
            unknown = {0, TopicAuthorizationFailedError.errno}
            topics = [entry["topic"] for entry in answer if entry["error_code"] not in unknown]
            await asyncio.sleep(KNOWN_POLL_SECS if topics else 0)


async def _problems(admin: AIOKafkaAdminClient, spec: TopicSpec) -> list[str]:
    problems = []
    (topic,) = [entry for entry in await admin.describe_topics([spec.name]) if entry["topic"] == spec.name]
    count = len(topic["partitions"])
    if topic["error_code"]:
        raise for_code(topic["error_code"])(spec.name)
    if count < spec.min_partitions:
        problems.append(
            f"The topic {spec.name} has {count} partitions and needs {spec.min_partitions}: "
            f"delete it, or set CONNECTOR_GROUP_ID to a new group."
        )
    try:
        settings = await settings_of(admin, spec.name) if spec.required or spec.least else {}
    except KafkaError as exc:
        if getattr(exc, "retriable", False) or isinstance(exc, TopicAuthorizationFailedError):
            raise
        raise BrokerUnsuitable(f"The settings of the topic {spec.name} cannot be read: {exc}") from exc
    for setting, allowed in spec.required.items():
        value = settings.get(setting)
        if value is not None and value not in allowed:
            problems.append(_wrong(spec.name, setting, value, allowed[0]))
    for setting, least in spec.least.items():
        value = settings.get(setting)
        if value is not None and 0 <= int(value) < least:  # -1 means no limit
            problems.append(_wrong(spec.name, setting, value, f"{least}"))
    return problems


def _wrong(topic: str, setting: str, value: str, needed: str) -> str:
    return (
        f"The topic {topic} has {setting}={value} and needs {setting}={needed}: change it with "
        f"kafka-configs.sh --alter --topic {topic} --add-config {setting}={needed}"
    )
