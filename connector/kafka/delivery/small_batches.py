"""
Writes a small batch into Kafka by a few requests, one after another, without aiokafka's sender.

    add all partitions ─▶ produce to all ─▶ end the transaction
    produce posts ─▶ produce ledger and offsets                     without transactions

aiokafka's sender serves many callers that send at any time.  For that it makes a task for each request and a future for
each record, takes several rounds of its loop, and encodes each field by itself.  A transaction of ten posts takes two
milliseconds of CPU there, and half a millisecond here.

This module writes only while Kafka takes what it sends.  A record batch that Kafka refuses or does not answer is handed
to aiokafka's sender under the sequence number that it has, as for any repeated record batch.  So the sender handles
errors, fencing and leaders that move.  A request of the transaction itself that was sent and not answered is never
repeated: `connector.kafka.delivery.once` says why.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from struct import Struct
from typing import Any, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.producer.transaction_manager import TransactionState

from connector.kafka import internals
from connector.kafka.delivery.gone import PartitionGone
from connector.kafka.delivery.once import NOT_SENT
from connector.kafka.internals import build, ended, numbering

MAX_BYTES = 512 * 1024
"""The largest batch that is written here (bytes): aiokafka's sender copies a larger one fewer times."""

NEXT_TRANSACTION_SECS = 0.005
"""
The wait before the next transaction is asked for again, while the coordinator completes the last one (seconds).

The coordinator takes a few milliseconds for that, and aiokafka waits 20 ms.  With small commits one after another, the
slowest tenth of them takes 25 ms with aiokafka's wait, and 10 ms with this one.
"""

PATIENCE_SECS = 0.5
"""How long the coordinator may take to complete a transaction before the sender takes over (seconds)."""

_NO_ERROR, _CONCURRENT_TRANSACTIONS = 0, 51
_PRODUCE, _ADD_PARTITIONS, _END = (0, 7), (24, 0), (26, 0)
"""Kafka's numbers of the requests, and the versions that are written here, the newest that aiokafka has."""

_INT16, _INT32 = Struct(">h"), Struct(">i")
_HEADER = Struct(">hhih")
_OWNER = Struct(">qh")
_ACKS = Struct(">hii")
_PLACE = Struct(">ii")
_ADDED = Struct(">ih")
_PRODUCED = Struct(">ihqqq")


Errors = dict[tuple[str, int], int]
"""Kafka's numbers of errors, by topic and partition."""


class Part:
    """The part of a small batch that goes to one partition; *build* builds its record batch anew for each attempt."""

    __slots__ = ("_build", "builder", "partition", "topic")

    def __init__(self, topic: str, partition: int, build: Callable[[], Any]) -> None:
        self.topic, self.partition, self._build = topic, partition, build
        self.builder = build()

    @property
    def tp(self) -> TopicPartition:
        """Topic and partition."""
        return TopicPartition(self.topic, self.partition)

    def renew(self) -> Any:
        """Build the record batch again: aiokafka cannot give a new sequence number to one that it has sent."""
        self.builder = self._build()
        return self.builder


class Fallback(StrEnum):
    """Why a small batch was left to aiokafka's sender."""

    BUSY = "busy"
    """The sender has batches or an error to handle, or the producer is not ready for a new transaction."""
    NO_COORDINATOR = "no_coordinator"
    NO_LEADER = "no_leader"
    NOT_ASKED = "not_asked"
    """There was no connection, or the broker does not have a request in the version that is written here."""
    NOT_ANSWERED = "not_answered"
    REFUSED = "refused"
    """Kafka answered with an error."""


class SmallBatches:
    """
    Writes small batches for *producer*, a producer of aiokafka that has started.

    *told* is called for each small batch: with the reason why it was left to the sender, or with None if it was not.
    """

    def __init__(self, producer: AIOKafkaProducer, told: Callable[[Fallback | None], None]) -> None:
        self._told = told
        self._why: Fallback | None = None
        self._producer, self._client = producer, producer.client
        manager, sender = internals.transaction_manager(producer), internals.sender(producer)
        self._manager, self._accumulator = manager, internals.accumulator(producer)
        self._waiting, self._under_way = internals.waiting(self._accumulator), internals.under_way(self._accumulator)
        self._coordinators = internals.coordinators(sender)
        self._acks, self._request_timeout_ms = internals.request_settings(sender)
        self._become: Any = None if manager is None else internals.transition(manager)
        transactional_id = None if manager is None else manager.transactional_id
        self._transactional = transactional_id is not None
        self._id = _string(transactional_id)

    def takes(self, parts: Sequence[Part]) -> bool:
        """Return whether *parts* can be written here: few bytes, one part a partition, and an idle sender."""
        places = {(part.topic, part.partition) for part in parts}
        if len(places) < len(parts) or sum(part.builder.size() for part in parts) > MAX_BYTES:
            return False
        why_not = self._why_not(parts)
        if why_not is not None:
            self._told(why_not)
        return why_not is None

    def _why_not(self, parts: Sequence[Part]) -> Fallback | None:
        manager = self._manager
        if self._waiting or self._under_way or any(ended(self._accumulator)):
            return Fallback.BUSY
        if manager is not None and not manager.has_pid():
            return Fallback.BUSY
        if self._transactional and manager.state is not TransactionState.READY:
            return Fallback.BUSY
        if self._transactional and self._coordinator is None:
            return Fallback.NO_COORDINATOR
        if any(self._leader(part) is None for part in parts):
            return Fallback.NO_LEADER
        return None

    async def deliver(self, parts: Sequence[Part], behind: Sequence[Part]) -> None:
        """
        Write *parts* and *behind* in one transaction; without transactions, *behind* once Kafka has confirmed *parts*.

        Call this only if `takes` is True for both together.

        Raises:
            KafkaError: the outcome is unknown.
        """
        self._why = None
        if self._transactional:
            await self._transact([*parts, *behind])
        else:
            for some in filter(None, (parts, behind)):
                await self._write(some)
        self._told(self._why)

    async def _transact(self, everything: Sequence[Part]) -> None:
        self._manager.begin_transaction()
        added = await self._add(everything)
        if not added:
            await self._by_sender(everything)
        if not (added and await self._write(everything) and await self._end()):
            # no abort after an error: the next producer of this id does that
            await self._producer.commit_transaction()

    # -- the requests; each returns whether Kafka has confirmed it, and raises if that is unknown

    async def _add(self, parts: Sequence[Part]) -> bool:
        topics = _by_topic(parts)
        body = [self._id, self._owner, _INT32.pack(len(topics))]
        for topic, its_parts in topics.items():
            body += _string(topic), _INT32.pack(len(its_parts))
            body += (_INT32.pack(part.partition) for part in its_parts)
        request = _Request(_ADD_PARTITIONS, b"".join(body), _added)
        until = asyncio.get_running_loop().time() + PATIENCE_SECS
        while True:
            errors = await self._ask_once(request)
            if errors and not any(errors.values()):
                self._manager.txn_partitions.update(part.tp for part in parts)
                return True
            again = bool(errors) and _CONCURRENT_TRANSACTIONS in errors.values()
            if not again or asyncio.get_running_loop().time() > until:
                self._why = self._why or Fallback.REFUSED
                return False
            await asyncio.sleep(NEXT_TRANSACTION_SECS)

    async def _write(self, parts: Sequence[Part]) -> bool:
        """Write *parts*, and leave those that Kafka does not confirm to the sender; return whether there were none."""
        nodes: dict[int, list[Part]] = defaultdict(list)
        for part in parts:
            nodes[self._leader(part) or 0].append(part)
        asked = [self._produce(node, its_parts) for node, its_parts in nodes.items()]
        # mostly one broker leads all parts; `gather` would make a task, which costs as much as a request
        left = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        unconfirmed = [part for some in left for part in some]
        if unconfirmed:
            await self._by_sender(unconfirmed)
        return not unconfirmed

    async def _produce(self, node: int, parts: Sequence[Part]) -> Sequence[Part]:
        """Return those of *parts* that the broker *node* has not confirmed."""
        manager = self._manager
        if manager is not None:
            for part in parts:
                sequence = manager.sequence_number(part.tp)
                numbering(part.builder)(manager.producer_id, manager.producer_epoch, sequence)
        topics = _by_topic(parts)
        body = [self._id, _ACKS.pack(self._acks, self._request_timeout_ms, len(topics))]
        for topic, its_parts in topics.items():
            body += _string(topic), _INT32.pack(len(its_parts))
            for part in its_parts:
                batch = build(part.builder)
                pieces = batch if isinstance(batch, tuple) else (batch,)
                body += _PLACE.pack(part.partition, sum(map(len, pieces))), *pieces
        errors = await self._ask(node, _Request(_PRODUCE, b"".join(body), _produced))
        left = []
        for part in parts:
            if errors.get((part.topic, part.partition)) != _NO_ERROR:
                left.append(part)
                self._why = self._why or Fallback.REFUSED
            elif manager is not None:  # only now: a part that is sent again keeps its number
                manager.increment_sequence_number(part.tp, part.builder.record_count())
        return left

    async def _end(self) -> bool:
        request = _Request(_END, b"".join((self._id, self._owner, b"\1")), _ended)
        if await self._ask_once(request) != _NO_ERROR:
            self._why = self._why or Fallback.REFUSED
            return False
        # Only after the answer: the sender ends a transaction that it finds in this state.
        self._become(TransactionState.COMMITTING_TRANSACTION)
        self._manager.complete_transaction()
        return True

    async def _ask_once(self, request: "_Request") -> Any:
        """
        Return the coordinator's answer, or None if no request was sent.

        Raises:
            KafkaError: the coordinator was asked and has not answered; this producer cannot be used any more.
        """
        node = self._coordinator
        if node is None:
            self._why = Fallback.NO_COORDINATOR
            return None
        try:
            return await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
        except NOT_SENT:  # the sender will meet the same error and report it
            self._why = Fallback.NOT_ASKED
            return None

    async def _ask(self, node: int, request: "_Request") -> Errors:
        """Return the answer of the broker *node*; empty if there is none."""
        try:
            answered: Errors = await self._client.send(node, request, group=ConnectionGroup.DEFAULT)
        except PartitionGone:
            raise
        except KafkaError as exc:  # the sender sends these parts again and reports its own error
            self._why = Fallback.NOT_ASKED if isinstance(exc, NOT_SENT) else Fallback.NOT_ANSWERED
            return {}
        return answered

    async def _by_sender(self, parts: Sequence[Part]) -> None:
        send = self._producer.send_batch
        sent = [send(part.renew(), part.topic, partition=part.partition) for part in parts]
        acks = await asyncio.gather(*sent)  # no call waits: each is its partition's only batch
        for result in await asyncio.gather(*acks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # -- the brokers to ask, and this producer's id and epoch

    @property
    def _coordinator(self) -> int | None:
        found: int | None = self._coordinators.get(CoordinationType.TRANSACTION)
        return found

    @property
    def _owner(self) -> bytes:
        return _OWNER.pack(self._manager.producer_id, self._manager.producer_epoch)

    def _leader(self, part: Part) -> int | None:
        leader: int | None = self._client.cluster.leader_for_partition(part.tp)
        return None if leader == -1 else leader


def _by_topic(parts: Sequence[Part]) -> dict[str, list[Part]]:
    topics: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        topics[part.topic].append(part)
    return topics


def _string(text: str | None) -> bytes:
    if text is None:
        return _INT16.pack(-1)
    encoded = text.encode()
    return _INT16.pack(len(encoded)) + encoded


class _Request:
    """A request that is already bytes; for aiokafka's connection also its encoded form and the type of its answer."""

    def __init__(self, kind: tuple[int, int], body: bytes, decode: Callable[[bytes], Any]) -> None:
        self._kind, self._body, self._decode = kind, body, decode
        self.API_KEY = kind[0]  # aiokafka's name for it
        self.correlation_id = 0

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Self:
        key, version = self._kind
        low, high = versions.get(key, (0, -1))
        if not low <= version <= high:
            raise IncompatibleBrokerVersion(f"The broker does not have version {version} of request {key}")
        return self

    def build_request_header(self, *, correlation_id: int, client_id: str) -> "_Header":
        name = client_id.encode()
        return _Header(_HEADER.pack(*self._kind, correlation_id, len(name)) + name)

    def encode(self) -> bytes:
        return self._body

    def parse_response_header(self, answer: BytesIO) -> Self:
        (self.correlation_id,) = _INT32.unpack(answer.read(_INT32.size))
        return self

    @property
    def RESPONSE_TYPE(self) -> Self:  # noqa: N802  # aiokafka's name for it
        return self

    def decode(self, answer: BytesIO) -> Any:
        return self._decode(answer.read())


@dataclass(frozen=True, slots=True)
class _Header:
    encoded: bytes

    def encode(self) -> bytes:
        return self.encoded


def _added(answer: bytes) -> Errors:
    return dict(_errors_in(answer, _INT32.size, _ADDED))  # after the throttle time


def _produced(answer: bytes) -> Errors:
    return dict(_errors_in(answer, 0, _PRODUCED))


def _ended(answer: bytes) -> int:
    error: int
    (error,) = _INT16.unpack_from(answer, _INT32.size)
    return error


def _errors_in(answer: bytes, at: int, of_partition: Struct) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield ((topic, partition), Kafka's error number); each partition in *answer* begins with *of_partition*."""
    (topics,) = _INT32.unpack_from(answer, at)
    at += _INT32.size
    for _ in range(topics):
        (length,) = _INT16.unpack_from(answer, at)
        at += _INT16.size + length
        topic = answer[at - length : at].decode()
        (partitions,) = _INT32.unpack_from(answer, at)
        at += _INT32.size
        for _ in range(partitions):
            partition, error, *_ = of_partition.unpack_from(answer, at)
            at += of_partition.size
            yield (topic, partition), error
