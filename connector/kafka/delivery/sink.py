"""
Delivers the batches of one task to Kafka, and reads its committed offset.

    open:     start the producer (fences the previous owner) ─▶ read the committed offset
    deliver:  begin ─▶ posts, dead letters, ledger, offsets ─▶ commit
    close:    stop the producer, in bounded time
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from connector.kafka.delivery.posts_topic import RECORD_OVERHEAD_BYTES, Destination, Encoded, PostsTopic
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.rejects import refusal_of
from connector.kafka.delivery.sieve import Sieve
from connector.kafka.delivery.small_batches import Fallback
from connector.kafka.gate.transactions import too_long
from connector.kafka.login.refusals import ConnectionRefused
from connector.kafka.rights import READ, WRITE, refused
from connector.kafka.state import delivered_ids, offsets
from connector.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES, settings_of
from connector.records.record import Batch, Sifted, SourcePartition, TaskId
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
    """Delivers batches to *posts* and their offsets to the slot's partition (`connector.task.in_flight.Sink`)."""

    def __init__(
        self,
        app: faust.App,
        cluster: KafkaCluster,
        posts: PostsTopic,
        destination: Destination,
        settings: DeliverySettings,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.max_record_bytes = self.max_dead_letter_bytes = 0
        self._app, self._cluster, self._posts = app, cluster, posts
        self._destination, self._settings = destination, settings
        self._producer: TaskProducer | None = None
        self._emit = emit
        self._fallbacks = 0
        """Small batches in a row that were left to aiokafka's sender."""

    def offset_key(self, partition: SourcePartition, kind: str | None = None) -> bytes:
        """Return the key of *partition*'s source offset, or of the record of *kind* beside the offset."""
        return offsets.encode_key(self._settings.task.connector, partition, kind)

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
        producer = self._producer = self._new_producer()
        letters = (self.max_dead_letter_bytes + LETTER_HEADER_BYTES,) if self.max_dead_letter_bytes else ()
        producer.max_batch_size = min(BATCH_BYTES, self.max_record_bytes, *letters)
        producer.max_request_size = MAX_REQUEST_BYTES
        await producer.start()
        where = self._destination
        try:
            for topic in (self._posts.name, where.dead_letter_topic, where.ledger_topic, where.offsets_topic):
                if topic is not None:
                    await producer.client.partitions_for(topic)  # waits for the metadata that the partitioner needs
        except TopicAuthorizationFailedError as exc:
            raise self._failure(exc, WRITE) from exc
        return await offsets.read_committed(
            self._cluster,
            where.offsets_topic,
            where.slot,
            trust_end_offsets=self._settings.trust_end_offsets,
        )

    def _new_producer(self) -> TaskProducer:
        return TaskProducer(
            self._app,
            transactional_id=self._settings.transactional_id,
            idempotent=self._settings.idempotent,
            transaction_timeout_secs=self._settings.transaction_timeout_secs,
            told=self._count_fallback,
            unclosed=lambda reason: self._emit(ProducerNotClosed(of=self._settings.task, reason=reason)),
        )

    async def read_ledger(self, from_ms: int, to_ms: int | None, *, late: bool = False) -> Sequence[int]:
        """
        Return the ids of delivered posts that were created from *from_ms* to *to_ms* (UNIX ms; None: to the newest).

        The result may also have older and newer ids, and an id twice.  Ids that a repair delivered long after that
        time are in it only with *late*, which reads more of the topic.  Call this only while the sink is open.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses a request.
            FatalError: a record of the ledger cannot be read.
        """
        try:
            return await delivered_ids.read_ids(
                self._cluster,
                self._destination.ledger_topic,
                self._destination.slot,
                self._destination.ledger_key,
                from_ms,
                to_ms,
                late=late,
                trust_end_offsets=self._settings.trust_end_offsets,
            )
        except (KafkaError, OSError, TimeoutError) as exc:
            raise self._failure(exc, READ, self._destination.ledger_topic) from exc

    def _failure(self, exc: BaseException, operation: str, topic: str = "") -> DeliveryFailed:
        """Return the error for *exc*, which an *operation* on a topic raised: on *topic*, if *exc* names none."""
        missing = refused(
            exc,
            self._cluster.user,
            operation,
            topic=topic or self._posts.name,
            transactional_id=self._settings.transactional_id,
        )
        return missing or failure_of(exc)

    async def _measure_topics(self) -> None:
        admin = AIOKafkaAdminClient(**self._cluster.options())
        letters = self._destination.dead_letter_topic
        try:
            await admin.start()
            self.max_record_bytes = await _max_bytes(admin, self._posts.name, self.max_record_bytes)
            if letters is not None:
                known = self.max_dead_letter_bytes and self.max_dead_letter_bytes + LETTER_HEADER_BYTES
                self.max_dead_letter_bytes = max(await _max_bytes(admin, letters, known) - LETTER_HEADER_BYTES, 0)
        finally:
            await admin.close()

    async def encode(self, batch: Batch) -> Encoded:
        """Build the record batches of *batch*; nothing is sent yet."""
        return await self._posts.encode(self._client, batch.records)

    async def deliver(self, batch: Batch, encoded: Encoded) -> None:
        """
        Write *batch* with its offsets and return once it is committed.

        Raises:
            DeliveryFailed: the outcome is unknown.
            RecordsRefused: the topic does not take some of the records.
            BrokerUnsuitable: one of the connector's own topics does not take the connector's records.
        """
        try:
            await self._posts.write(self._client, encoded, batch, self._destination)
        except (KafkaError, NotReady, OSError, TimeoutError, AssertionError) as exc:
            letters = self._destination.dead_letter_topic
            refusal = refusal_of(self._client.refused, self._posts.name, () if letters is None else (letters,))
            raise refusal or self._failure(self._client.refusal or exc, WRITE) from exc

    async def sift(self, batch: Batch, refused: RecordsRefused) -> Sifted:
        """
        Return which records of *batch* the topic refuses, after `deliver` has raised *refused*.

        Raises:
            DeliveryFailed: Kafka does not answer, or a request fails for another reason than the records.
        """
        try:
            return await Sieve(self._client, self._posts.name).sift(batch.records, refused.partitions)
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
