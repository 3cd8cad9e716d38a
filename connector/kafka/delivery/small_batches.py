"""
The short way of a small batch into Kafka: its requests one after another, and nothing around them.

    add all partitions ─▶ produce to all ─▶ end the transaction
    produce posts ─▶ produce ledger and offsets                     without transactions

aiokafka's sender is made for many who send at any time; that costs it a task for each request, a future for each
record, several rounds of its loop, and takes apart field by field what is of a fixed form.  For ten posts in a
transaction that is two milliseconds of CPU, and this is half of one.

Only what goes well goes this way.  What Kafka has answered with an error is handed to aiokafka's sender, and so are
batches without an answer, under the same sequence numbers as is usual for something sent again; so errors, fencing and
leaders that move are its affair as ever.  A request of the transaction itself that is sent and not answered is never
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
"""More than that is carried better by the sender, which overlaps it with other work and copies it less."""

NEXT_TRANSACTION_SECS = 0.005
"""
Wait before asking again for the next transaction, while the coordinator still completes the last one.

That takes a few milliseconds, and aiokafka waits 20: where small commits follow each other the slowest tenth takes
25 ms that way, and 10 this way.
"""

PATIENCE_SECS = 0.5
"""A coordinator that takes longer has more to do than to complete a transaction."""

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


class Parcel:
    """What goes to one partition: record batches are built of it by *build*, anew each time it is sent."""

    __slots__ = ("_build", "builder", "partition", "topic")

    def __init__(self, topic: str, partition: int, build: Callable[[], Any]) -> None:
        self.topic, self.partition, self._build = topic, partition, build
        self.builder = build()

    @property
    def tp(self) -> TopicPartition:
        """Topic and partition."""
        return TopicPartition(self.topic, self.partition)

    def renew(self) -> Any:
        """Build it again: what aiokafka has sent once it cannot number again."""
        self.builder = self._build()
        return self.builder


class Fallback(StrEnum):
    """Why a small batch was left to aiokafka's sender."""

    BUSY = "busy"
    """The sender has work, or trouble, of its own."""
    NO_COORDINATOR = "no_coordinator"
    NO_LEADER = "no_leader"
    NOT_ASKED = "not_asked"
    """There was no connection, or the broker does not have a request in the version that is written here."""
    NOT_ANSWERED = "not_answered"
    REFUSED = "refused"
    """Kafka answered with an error."""


class Express:
    """
    The short way of one *producer* of aiokafka, which has started.

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

    def takes(self, parcels: Sequence[Parcel]) -> bool:
        """Return whether *parcels* can go this way: few bytes, one batch for each partition, and all is quiet."""
        places = {(parcel.topic, parcel.partition) for parcel in parcels}
        if len(places) < len(parcels) or sum(parcel.builder.size() for parcel in parcels) > MAX_BYTES:
            return False
        why_not = self._why_not(parcels)
        if why_not is not None:
            self._told(why_not)
        return why_not is None

    def _why_not(self, parcels: Sequence[Parcel]) -> Fallback | None:
        manager = self._manager
        if self._waiting or self._under_way or any(ended(self._accumulator)):
            return Fallback.BUSY
        if manager is not None and not manager.has_pid():
            return Fallback.BUSY
        if self._transactional and manager.state is not TransactionState.READY:
            return Fallback.BUSY
        if self._transactional and self._coordinator is None:
            return Fallback.NO_COORDINATOR
        if any(self._leader(parcel) is None for parcel in parcels):
            return Fallback.NO_LEADER
        return None

    async def deliver(self, parcels: Sequence[Parcel], behind: Sequence[Parcel]) -> None:
        """
        Write *parcels*, which it `takes` with those *behind*: in one transaction, or these once all others are in.

        Raises:
            KafkaError: the outcome is unknown.
        """
        self._why = None
        if self._transactional:
            await self._transact([*parcels, *behind])
        else:
            for some in filter(None, (parcels, behind)):
                await self._write(some)
        self._told(self._why)

    async def _transact(self, everything: Sequence[Parcel]) -> None:
        self._manager.begin_transaction()
        added = await self._add(everything)
        if not added:
            await self._by_sender(everything)
        if not (added and await self._write(everything) and await self._end()):
            # no abort after an error: the next producer of this id does that
            await self._producer.commit_transaction()

    # -- the requests; each returns whether Kafka has confirmed it, and raises where nobody knows

    async def _add(self, parcels: Sequence[Parcel]) -> bool:
        topics = _by_topic(parcels)
        body = [self._id, self._owner, _INT32.pack(len(topics))]
        for topic, its_parcels in topics.items():
            body += _string(topic), _INT32.pack(len(its_parcels))
            body += (_INT32.pack(parcel.partition) for parcel in its_parcels)
        request = _Request(_ADD_PARTITIONS, b"".join(body), _added)
        until = asyncio.get_running_loop().time() + PATIENCE_SECS
        while True:
            errors = await self._ask_once(request)
            if errors and not any(errors.values()):
                self._manager.txn_partitions.update(parcel.tp for parcel in parcels)
                return True
            again = bool(errors) and _CONCURRENT_TRANSACTIONS in errors.values()
            if not again or asyncio.get_running_loop().time() > until:
                self._why = self._why or Fallback.REFUSED
                return False
            await asyncio.sleep(NEXT_TRANSACTION_SECS)

    async def _write(self, parcels: Sequence[Parcel]) -> bool:
        """Write *parcels*, those that Kafka does not confirm with the sender's help; return whether it had none."""
        nodes: dict[int, list[Parcel]] = defaultdict(list)
        for parcel in parcels:
            nodes[self._leader(parcel) or 0].append(parcel)
        asked = [self._produce(node, its_parcels) for node, its_parcels in nodes.items()]
        # most have one broker for all, and a task costs as much as a request
        left = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        unconfirmed = [parcel for some in left for parcel in some]
        if unconfirmed:
            await self._by_sender(unconfirmed)
        return not unconfirmed

    async def _produce(self, node: int, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Return those of *parcels* that the broker *node* has not confirmed."""
        manager = self._manager
        if manager is not None:
            for parcel in parcels:
                sequence = manager.sequence_number(parcel.tp)
                numbering(parcel.builder)(manager.producer_id, manager.producer_epoch, sequence)
        topics = _by_topic(parcels)
        body = [self._id, _ACKS.pack(self._acks, self._request_timeout_ms, len(topics))]
        for topic, its_parcels in topics.items():
            body += _string(topic), _INT32.pack(len(its_parcels))
            for parcel in its_parcels:
                batch = build(parcel.builder)
                pieces = batch if isinstance(batch, tuple) else (batch,)
                body += _PLACE.pack(parcel.partition, sum(map(len, pieces))), *pieces
        errors = await self._ask(node, _Request(_PRODUCE, b"".join(body), _produced))
        left = []
        for parcel in parcels:
            if errors.get((parcel.topic, parcel.partition)) != _NO_ERROR:
                left.append(parcel)
                self._why = self._why or Fallback.REFUSED
            elif manager is not None:  # not before: what is sent again has the same number
                manager.increment_sequence_number(parcel.tp, parcel.builder.record_count())
        return left

    async def _end(self) -> bool:
        request = _Request(_END, b"".join((self._id, self._owner, b"\1")), _ended)
        if await self._ask_once(request) != _NO_ERROR:
            self._why = self._why or Fallback.REFUSED
            return False
        # Not before the answer: the sender ends a transaction that it finds in this state.
        self._become(TransactionState.COMMITTING_TRANSACTION)
        self._manager.complete_transaction()
        return True

    async def _ask_once(self, request: "_Request") -> Any:
        """
        Return the coordinator's answer, None if it was not asked.

        Raises:
            KafkaError: it was asked and has not answered; this producer is done with.
        """
        node = self._coordinator
        if node is None:
            self._why = Fallback.NO_COORDINATOR
            return None
        try:
            return await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
        except NOT_SENT:  # the sender will meet it, too, and says it
            self._why = Fallback.NOT_ASKED
            return None

    async def _ask(self, node: int, request: "_Request") -> Errors:
        """Return what the broker *node* answers, nothing when there is no answer."""
        try:
            answered: Errors = await self._client.send(node, request, group=ConnectionGroup.DEFAULT)
        except PartitionGone:
            raise
        except KafkaError as exc:  # likewise
            self._why = Fallback.NOT_ASKED if isinstance(exc, NOT_SENT) else Fallback.NOT_ANSWERED
            return {}
        return answered

    async def _by_sender(self, parcels: Sequence[Parcel]) -> None:
        send = self._producer.send_batch
        sent = [send(parcel.renew(), parcel.topic, partition=parcel.partition) for parcel in parcels]
        acks = await asyncio.gather(*sent)  # none waits: each is its partition's only batch
        for result in await asyncio.gather(*acks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    # -- who is asked, and who asks

    @property
    def _coordinator(self) -> int | None:
        found: int | None = self._coordinators.get(CoordinationType.TRANSACTION)
        return found

    @property
    def _owner(self) -> bytes:
        return _OWNER.pack(self._manager.producer_id, self._manager.producer_epoch)

    def _leader(self, parcel: Parcel) -> int | None:
        leader: int | None = self._client.cluster.leader_for_partition(parcel.tp)
        return None if leader == -1 else leader


def _by_topic(parcels: Sequence[Parcel]) -> dict[str, list[Parcel]]:
    topics: dict[str, list[Parcel]] = defaultdict(list)
    for parcel in parcels:
        topics[parcel.topic].append(parcel)
    return topics


def _string(text: str | None) -> bytes:
    if text is None:
        return _INT16.pack(-1)
    encoded = text.encode()
    return _INT16.pack(len(encoded)) + encoded


class _Request:
    """A request as bytes; to aiokafka's connection a request, its encoded form and the type of its answer in one."""

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
    return dict(_errors_in(answer, _INT32.size, _ADDED))  # behind the time for which we are throttled


def _produced(answer: bytes) -> Errors:
    return dict(_errors_in(answer, 0, _PRODUCED))


def _ended(answer: bytes) -> int:
    error: int
    (error,) = _INT16.unpack_from(answer, _INT32.size)
    return error


def _errors_in(answer: bytes, at: int, of_partition: Struct) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield topic and partition, and the number of the error there, of which each *of_partition* begins."""
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
