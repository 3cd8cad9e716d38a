"""What is in a topic, for a reader of committed records; and is it what the simulator wrote to the connections?"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import ConsumerRecord

from connector.kafka.topics import settings_of
from connector.simulator import Emission
from tests.brokers import Broker

READ_SECS = 120.0
OFFSET_KEY_ELEMENTS = 2
Isolation = Literal["read_committed", "read_uncommitted"]


async def records_of(
    broker: Broker, topic: str, isolation: Isolation = "read_committed"
) -> AsyncIterator[ConsumerRecord]:
    """
    Yield what lies in *topic* now, up to its end.

    Waits for transactions that are still open: a commit is answered before readers see it.
    """
    async with asyncio.timeout(READ_SECS), _consumer(broker, isolation) as consumer:
        partitions = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
        async with _consumer(broker, "read_uncommitted") as other:
            ends = await other.end_offsets(partitions)
        consumer.assign(partitions)
        left = {tp for tp in partitions if ends[tp]}
        while left:
            for records in (await consumer.getmany(*left, timeout_ms=200)).values():
                for record in records:
                    yield record
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}


@contextlib.asynccontextmanager
async def _consumer(broker: Broker, isolation: Isolation) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.address,
        isolation_level=isolation,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    await consumer._client.force_metadata_update()
    consumer.subscribe([topic])
    while not (numbers := consumer.partitions_for_topic(topic)):
        await asyncio.sleep(0.05)
        await consumer._client.force_metadata_update()
    consumer.unsubscribe()
    return sorted(numbers)


def read(broker: Broker, topic: str, isolation: Isolation = "read_committed") -> list[ConsumerRecord]:
    """Return what lies in *topic* now; for tests without an event loop."""

    async def collect() -> list[ConsumerRecord]:
        return [record async for record in records_of(broker, topic, isolation)]

    return asyncio.run(collect())


def size(broker: Broker, topic: str) -> int:
    """Return how many offsets of *topic* are used, those of transactions' markers among them."""

    async def ends() -> int:
        async with _consumer(broker, "read_uncommitted") as consumer:
            partitions = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
            return sum((await consumer.end_offsets(partitions)).values())

    return asyncio.run(ends())


def ids(records: Iterable[ConsumerRecord]) -> list[str]:
    """Return the keys of *records*, which are post ids."""
    return [record.key.decode() for record in records]


def offsets(broker: Broker, group: str) -> dict[str, dict[str, Any]]:
    """Return the committed source offsets of *group*, by key; not what is kept beside them."""
    latest: dict[str, dict[str, Any]] = {}
    for record in read(broker, f"{group}-offsets"):
        if len(orjson.loads(record.key)) == OFFSET_KEY_ELEMENTS:
            latest[record.key.decode()] = orjson.loads(record.value)
    return latest


async def create(broker: Broker, topic: str, *, partitions: int = 1, replicas: int = 1, **settings: str) -> None:
    """Create *topic*; `cleanup_policy="compact"` is `cleanup.policy=compact`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        spelled = {key.replace("_", "."): value for key, value in settings.items()}
        await admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=spelled)])
        await known(admin, topic)
    finally:
        await admin.close()


async def known(admin: AIOKafkaAdminClient, *names: str) -> None:
    """Return once the broker knows topics that were created a moment ago: it answers before that."""
    async with asyncio.timeout(READ_SECS):
        unknown = set(names)
        while unknown := {n for n in unknown if await _is_unknown(admin, n)}:  # noqa: ASYNC110  # nobody would set it
            await asyncio.sleep(0.05)


async def _is_unknown(admin: AIOKafkaAdminClient, name: str) -> bool:
    (described,) = await admin.describe_topics([name])
    try:
        await settings_of(admin, name)
    except UnknownTopicOrPartitionError:
        return True
    return bool(described["error_code"])


@dataclass(slots=True, kw_only=True)
class Place:
    """Where a post lies in the topic."""

    partition: int
    offset: int
    timestamp_ms: int
    source: str | None
    """How it was repaired, by its header; None for what came live."""
    rules: frozenset[tuple[str, str]]
    """Ids and tags of its matching rules."""


@dataclass(slots=True, kw_only=True)
class Contents:
    """The posts of a topic, by id; `doubled` are those that are there more than once."""

    places: dict[str, Place] = field(default_factory=dict)
    doubled: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    """Ids whose record holds another post, or another time than the id's."""

    @property
    def records(self) -> int:
        return len(self.places) + self.doubled.total()


def contents(broker: Broker, topic: str, read: Callable[[bytes], dict[str, Any]] | None = None) -> Contents:
    """
    Read *topic* as a consumer of committed records does; the values are looked at, not kept.

    *read* returns the post in a value with a schema; without it, a value is a line of X.
    """

    async def collect() -> Contents:
        found = Contents()
        async for record in records_of(broker, topic):
            post_id = record.key.decode()
            post = orjson.loads(record.value) if read is None else read(record.value)
            said = post["data"]["id"] if read is None else post["id"]
            if said != post_id or record.timestamp != created_ms(post_id):
                found.strange.append(post_id)
            if post_id in found.places:
                found.doubled[post_id] += 1
            else:
                found.places[post_id] = _place(record, post.get("matching_rules", ()))
        return found

    return asyncio.run(collect())


def _place(record: ConsumerRecord, rules: Iterable[Mapping[str, Any]]) -> Place:
    source = dict(record.headers).get("source")
    return Place(
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        source=None if source is None else source.decode(),
        rules=frozenset((rule["id"], rule.get("tag", "")) for rule in rules),
    )


def created_ms(post_id: str) -> int:
    """Return the time in a post id, by X's published recipe and not by the connector's code."""
    return (int(post_id) >> 22) + 1288834974657


@dataclass(slots=True, kw_only=True)
class Carried:
    """What one connection carried, and what of it is missing in the topic."""

    connection: str
    written: list[Emission]
    missing: list[Emission]

    @property
    def is_tail(self) -> bool:
        """Whether what is missing are the last posts written to this connection, and nothing else."""
        return self.missing == self.written[len(self.written) - len(self.missing) :]


def by_connection(emissions: Iterable[Emission], found: Contents) -> list[Carried]:
    """Compare what was written to each connection with what was *found*."""
    written: dict[str, list[Emission]] = defaultdict(list)
    for emission in emissions:
        if emission.complete and emission.connection is not None:
            written[emission.connection].append(emission)
    return [
        Carried(connection=name, written=posts, missing=[post for post in posts if post.post_id not in found.places])
        for name, posts in written.items()
    ]


def out_of_order(carried: Sequence[Carried], found: Contents) -> list[str]:
    """Return the ids that lie, in their partition, before a post that was written to the same connection earlier."""
    late = []
    for connection in carried:
        last: dict[int, int] = defaultdict(lambda: -1)
        for post in connection.written:
            if place := found.places.get(post.post_id):
                if place.offset < last[place.partition]:
                    late.append(post.post_id)
                last[place.partition] = place.offset
    return late


def never_emitted(emissions: Iterable[Emission], found: Contents) -> set[str]:
    """Return ids in the topic that the simulator knows nothing of."""
    return found.places.keys() - {emission.post_id for emission in emissions}


def summary(carried: Sequence[Carried], causes: Mapping[str, str]) -> str:
    """Return a line for each connection: how it was cut, what it carried, what is missing."""
    return "\n".join(
        f"{causes.get(one.connection, '-'):>16}  written {len(one.written):>6}  missing {len(one.missing):>5}"
        f"{'' if one.is_tail else '  NOT A TAIL'}"
        for one in carried
    )


def iso_ms(text: str) -> int:
    """Return UNIX milliseconds of a time in an offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def ms_iso(ms: int) -> str:
    """Return a time as offsets and pages spell it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
