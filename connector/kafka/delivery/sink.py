"""
Delivers the batches of one task to Kafka, and reads its committed offset.

    open:     start the producer (fences the previous owner) ─▶ read the committed offset
    deliver:  begin ─▶ posts, dead letters, ledger, offsets ─▶ commit
    close:    stop the producer, in bounded time
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    IllegalStateError,
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)
from faust.exceptions import NotReady

from connector.errors import BrokerAway, BrokerUnsuitable, DeliveryFailed, Fenced, RecordsRefused
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.gone import PartitionGone
from connector.kafka.delivery.posts_topic import RECORD_OVERHEAD_BYTES, Encoded, PostsTopic
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.rejects import refusal_of
from connector.kafka.delivery.sieve import Sieve
from connector.kafka.delivery.small_batches import Fallback
from connector.kafka.delivery.writing import Slot, write
from connector.kafka.gate.transactions import too_long
from connector.kafka.login.refusals import ConnectionRefused
from connector.kafka.rights import READ, WRITE, refused
from connector.kafka.state import delivered_ids, offsets
from connector.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES, TopicSpec, declare, settings_of
from connector.records.record import Batch, Destination, Limits, Share, Sifted, SourcePartition, TaskId
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import DeliveryFellBack, ProducerNotClosed, ShortWayUnused

OPEN_TIMEOUT_SECS = 60.0
BATCH_BYTES = 1024 * 1024
"""Record batches of this size carry the most posts a second in transactions."""
LETTER_HEADER_BYTES = 4_600
"""Most bytes of the headers of a dead letter, with a reason of a thousand characters."""
MAX_REQUEST_BYTES = 32 * 1024 * 1024
FALLBACKS_TOLD = 100
"""An event is emitted when this number of small batches in a row was left to aiokafka's sender."""
_AWAY = (OSError, TimeoutError, KafkaTimeoutError, IllegalStateError, PartitionGone)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How a task delivers; *transactional_id* is None for at-least-once."""

    task: TaskId
    transactional_id: str | None
    idempotent: bool
    transaction_timeout_secs: float
    trust_end_offsets: bool
    """False for brokers that report wrong end offsets: a partition then ends where no more records come."""


class TopicSink:
    """
    Delivers batches to the topics of *destinations* and their offsets to *slot* (`connector.task.ports.Sink`).

    Each connector has a destination; several connectors may share a stream, and so the task and its transactions.
    """

    def __init__(
        self,
        app: faust.App,
        cluster: KafkaCluster,
        destinations: Sequence[Destination],
        slot: Slot,
        settings: DeliverySettings,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._app, self._cluster, self._slot, self._settings = app, cluster, slot, settings
        self.destinations: tuple[Destination, ...] = tuple(destinations)
        self._limits: dict[str, int] = {}
        """The largest record that each topic takes (bytes)."""
        self._channels: dict[str, PostsTopic] = {}
        self._routed: set[str] = set()
        """The topics of transforms that are known to be there."""
        self._producer: TaskProducer | None = None
        self._emit = emit
        self._fallbacks = 0
        """Small batches in a row that were left to aiokafka's sender."""

    def serve(self, destinations: Sequence[Destination]) -> None:
        """Deliver to *destinations*, from the next `open` on."""
        self.destinations = tuple(destinations)

    def limits_of(self, destination: Destination) -> Limits:
        """Return the largest sizes that the topics of *destination* take; 0 for what is not known before `open`."""
        letters = destination.dead_letter_topic
        return Limits(
            record_bytes=self._limits.get(destination.topic, 0),
            dead_letter_bytes=0 if letters is None else max(self._limits.get(letters, 0) - LETTER_HEADER_BYTES, 0),
        )

    def offset_key(self, connector: str, partition: SourcePartition, kind: str | None = None) -> bytes:
        """Return the key of *connector*'s source offset for *partition*, or of the record of *kind* beside it."""
        return offsets.encode_key(connector, partition, kind)

    async def open(self) -> offsets.CommittedOffsets:
        """
        Fence the previous owner of the transactional id, then read the committed offsets.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses a request.
            BrokerUnsuitable: Kafka does not allow transactions of this length.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_SECS):  # `wait_for` of Python 3.11 may swallow what cancels it
                return await self._open()
        except InvalidTransactionTimeout as exc:
            raise BrokerUnsuitable(too_long(self._settings.transaction_timeout_secs, None)) from exc
        except (KafkaError, NotReady, OSError, TimeoutError) as exc:
            raise self._failure(exc, READ) from exc

    async def _open(self) -> offsets.CommittedOffsets:
        await self._measure_topics()
        self._channels, self._routed = {}, set()
        producer = self._producer = self._new_producer()
        producer.max_batch_size = min(BATCH_BYTES, *(self._limits[topic] for topic in self._topics))
        producer.max_request_size = MAX_REQUEST_BYTES
        await producer.start()
        slot = self._slot
        try:
            for topic in (*self._topics, slot.ledger_topic, slot.offsets_topic):
                await producer.client.partitions_for(topic)  # waits for the metadata that the partitioner needs
        except TopicAuthorizationFailedError as exc:
            raise self._failure(exc, WRITE) from exc
        return await offsets.read_committed(
            self._cluster,
            slot.offsets_topic,
            slot.number,
            trust_end_offsets=self._settings.trust_end_offsets,
        )

    @property
    def _topics(self) -> list[str]:
        """The topics of all destinations, each once."""
        both = (topic for to in self.destinations for topic in (to.topic, to.dead_letter_topic, to.authors_topic))
        return list(dict.fromkeys(topic for topic in both if topic is not None))

    def _new_producer(self) -> TaskProducer:
        return TaskProducer(
            self._app,
            transactional_id=self._settings.transactional_id,
            idempotent=self._settings.idempotent,
            transaction_timeout_secs=self._settings.transaction_timeout_secs,
            told=self._count_fallback,
            unclosed=lambda reason: self._emit(ProducerNotClosed(of=self._settings.task, reason=reason)),
        )

    async def read_ledger(
        self, connector: str, from_ms: int, to_ms: int | None, *, late: bool = False
    ) -> Sequence[int]:
        """
        Return the ids of posts delivered for *connector* that were made from *from_ms* to *to_ms* (UNIX ms).

        With None as *to_ms*, up to the newest.

        The result may also have older and newer ids, and an id twice.  Ids that a repair delivered long after that
        time are in it only with *late*, which reads more of the topic.  Call this only while the sink is open.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses a request.
            FatalError: a record of the ledger cannot be read.
        """
        earlier = [slot for to in self.destinations if to.connector == connector for slot in to.earlier_slots]
        try:
            return await delivered_ids.read_ids(
                self._cluster,
                self._slot.ledger_topic,
                (self._slot.number, *earlier),
                connector.encode(),
                from_ms,
                to_ms,
                late=late,
                trust_end_offsets=self._settings.trust_end_offsets,
            )
        except (KafkaError, OSError, TimeoutError) as exc:
            raise self._failure(exc, READ, self._slot.ledger_topic) from exc

    def _failure(self, exc: BaseException, operation: str, topic: str = "") -> DeliveryFailed:
        """Return the error for *exc*, which an *operation* on a topic raised: on *topic*, if *exc* names none."""
        missing = refused(
            exc,
            self._cluster.user,
            operation,
            topic=topic or self.destinations[0].topic,
            transactional_id=self._settings.transactional_id,
        )
        return missing or failure_of(exc)

    async def _measure_topics(self) -> None:
        admin = AIOKafkaAdminClient(**self._cluster.options())
        try:
            await admin.start()
            for topic in self._topics:
                self._limits[topic] = await _max_bytes(admin, topic, self._limits.get(topic, 0))
        finally:
            await admin.close()

    async def encode(self, batch: Batch) -> list[Encoded]:
        """
        Build the record batches of *batch*, in the order to send them; nothing is sent yet.

        The topics to which transforms route records are created first, if they are absent.

        Raises:
            DeliveryFailed: Kafka does not answer what is needed to build them, or a right is missing.
            BrokerUnsuitable: a topic is absent and may not be created, or Kafka refuses to create it.
        """
        for share in batch.shares:
            if share.records.altered is not None:
                await self._make_topics(share)
        encoded: list[Encoded] = []
        for topic, records in batch.by_topic().items():
            encoded += await (await self._channel(topic)).encode(self._client, records)
        # a produce request carries one batch for each partition, so the first ones of all come before any second one
        encoded.sort(key=itemgetter(0))
        return encoded

    async def _make_topics(self, share: Share) -> None:
        new, how = share.records.other_topics - self._routed, share.to.new_topics
        if not new or how is None:
            return
        specs = [
            TopicSpec(
                name=topic,
                partitions=how.partitions,
                replication=how.replication,
                settings=dict(how.settings),
                chosen=True,
            )
            for topic in sorted(new)
        ]
        admin = AIOKafkaAdminClient(**self._cluster.options())
        try:
            await admin.start()
            await declare(admin, specs, self._emit, user=self._cluster.user, create=how.allowed)
            for topic in new:
                self._limits[topic] = await _max_bytes(admin, topic, self._limits.get(topic, 0))
        except (KafkaError, OSError, TimeoutError) as exc:
            raise self._failure(exc, WRITE, specs[0].name) from exc
        finally:
            await admin.close()
        self._routed |= new
        self._client.max_batch_size = min(self._client.max_batch_size, *(self._limits[topic] for topic in new))

    async def _channel(self, topic: str) -> PostsTopic:
        """Return the typed channel of *topic*, once the number of the topic's partitions is known."""
        channel = self._channels.get(topic)
        if channel is None:
            try:
                await self._client.client.partitions_for(topic)
            except (KafkaError, NotReady, OSError, TimeoutError) as exc:
                raise self._failure(exc, WRITE, topic) from exc
            channel = self._channels[topic] = PostsTopic(self._app, topic=topic)
        return channel

    async def deliver(self, batch: Batch, encoded: Sequence[Encoded]) -> None:
        """
        Write *batch* with its offsets and return once it is committed.

        Raises:
            DeliveryFailed: the outcome is unknown.
            RecordsRefused: a topic does not take some of the records.
            BrokerUnsuitable: one of the connector's own topics does not take the connector's records.
        """
        try:
            await write(self._client, encoded, batch, self._slot)
        except (KafkaError, NotReady, OSError, TimeoutError, AssertionError) as exc:
            posts = {each.topic for each in encoded} | {share.to.topic for share in batch.shares}
            letters = {share.to.dead_letter_topic for share in batch.shares} - {None}
            refusal = refusal_of(self._client.refused, posts, letters)
            raise refusal or self._failure(self._client.refusal or exc, WRITE) from exc

    async def sift(self, batch: Batch, refused: RecordsRefused) -> Sifted:
        """
        Return which records of *batch* their topics refuse, after `deliver` has raised *refused*.

        Raises:
            DeliveryFailed: Kafka does not answer, or a request fails for another reason than the records.
        """
        try:
            return await Sieve(self._client).sift(batch, refused.places)
        except (KafkaError, NotReady, OSError, TimeoutError, AssertionError) as exc:
            raise self._failure(exc, WRITE) from exc

    def _count_fallback(self, reason: Fallback | None) -> None:
        if reason is None:
            self._fallbacks = 0
            return
        self._fallbacks += 1
        self._emit(DeliveryFellBack(of=self._settings.task, reason=reason))
        if self._fallbacks == FALLBACKS_TOLD:
            self._emit(ShortWayUnused(of=self._settings.task, batches=self._fallbacks, reason=reason))

    async def close(self) -> None:
        """Stop the producer, in bounded time."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    @property
    def _client(self) -> TaskProducer:
        if self._producer is None:
            raise RuntimeError("The sink is not open")
        return self._producer


def failure_of(exc: BaseException) -> DeliveryFailed:
    """Return our error for aiokafka's *exc*: `Fenced`, `BrokerAway`, or `DeliveryFailed` with an unknown outcome."""
    name, said = type(exc).__name__, str(exc)
    words = said if said.startswith(name) else f"{name}: {said}" if said else name  # aiokafka's errors say their name
    if isinstance(exc, ConnectionRefused):
        words = str(exc)
    if isinstance(exc, ProducerFenced | InvalidProducerEpoch):
        return Fenced(words)
    if isinstance(exc, _AWAY) or getattr(exc, "retriable", False):
        return BrokerAway(words)
    return DeliveryFailed(words)


async def _max_bytes(admin: AIOKafkaAdminClient, topic: str, known: int) -> int:
    """Return the largest record that *topic* takes (bytes); if we may not ask, *known* or else Kafka's default."""
    try:
        settings = await settings_of(admin, topic)
    except TopicAuthorizationFailedError:  # the gate has reported what this missing right costs
        return known or DEFAULT_MAX_MESSAGE_BYTES - RECORD_OVERHEAD_BYTES
    return int(settings.get("max.message.bytes") or DEFAULT_MAX_MESSAGE_BYTES) - RECORD_OVERHEAD_BYTES
