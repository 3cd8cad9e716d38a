import asyncio
from collections import defaultdict
from io import BytesIO
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, NodeNotReadyError, NotEnoughReplicasError
from aiokafka.producer.transaction_manager import TransactionManager, TransactionState
from aiokafka.protocol.produce import ProduceRequest, ProduceRequest_v7, ProduceResponse_v7
from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnRequest_v0,
    AddPartitionsToTxnResponse_v0,
    EndTxnRequest,
    EndTxnRequest_v0,
    EndTxnResponse_v0,
)

from connector.kafka.delivery import small_batches
from connector.kafka.delivery.small_batches import Fallback, Part, SmallBatches

ADD, PRODUCE, END = "add", "produce", "end"
KINDS = {24: ADD, 0: PRODUCE, 26: END}
CONCURRENT_TRANSACTIONS, NOT_LEADER, NOT_COORDINATOR = 51, 6, 16
LEADERS = {"posts": 1, "connector-ledger": 1, "connector-offsets": 1, "far": 2}
COORDINATOR = 7


class Builder:
    """A record batch of *count* records."""

    def __init__(self, count=2, size=100):
        self.count, self._size, self.numbered = count, size, None

    def size(self):
        return self._size

    def record_count(self):
        return self.count

    def _set_producer_state(self, *numbered):
        self.numbered = numbered

    def _build(self):
        return b"head", b"records"


class Kafka:
    """
    aiokafka's producer and the brokers behind it: *asked* is what came the short way, *sent* what the sender was given.

    *errors* are the answers to each kind of request, one after another: numbers by topic, or an exception.
    """

    def __init__(self, *, transactional=True, idempotent=True, **errors):
        self.asked, self.requests, self.sent, self.ends = [], [], [], []
        self.told = []
        self._errors = {kind: list(each) for kind, each in errors.items()}
        manager = TransactionManager("connector-posts-0" if transactional else None, 60_000) if idempotent else None
        if manager is not None:
            manager.set_pid_and_epoch(4711, 3)
            manager.notify_task_waiter = lambda: self.ends.append("woken")
        self._txn_manager, self.refuse = manager, None
        self.cluster = SimpleNamespace(leader_for_partition=lambda tp: LEADERS.get(tp.topic))
        self._message_accumulator = SimpleNamespace(_batches={}, _pending_batches=set(), _exception=None, _closed=False)
        coordinators = {CoordinationType.TRANSACTION: COORDINATOR}
        self._sender = SimpleNamespace(_coordinators=coordinators, _acks=-1, _request_timeout_ms=30_000)
        self.client = self

    async def send(self, node, request, *, group):
        kind = KINDS[request._kind[0]]
        self.asked.append((kind, node))
        self.requests.append(request.prepare({0: (0, 12), 24: (0, 5), 26: (0, 5)}).encode())
        await asyncio.sleep(0)
        script = self._errors.get(kind)
        errors = script.pop(0) if script else {}
        if isinstance(errors, Exception):
            raise errors
        if kind == END:
            return errors or 0
        return {(topic, partition): errors.get(topic, 0) for topic, partition in self.wanted(node)}

    def wanted(self, node):
        return [place for place in self.places if node in (COORDINATOR, LEADERS[place[0]])]

    async def send_batch(self, builder, topic, *, partition):
        manager, tp = self._txn_manager, TopicPartition(topic, partition)
        self.sent.append((topic, None if manager is None else manager.sequence_number(tp)))
        assert manager is None or not manager.transactional_id or manager.is_in_transaction()
        ack = asyncio.get_running_loop().create_future()
        if self.refuse:
            ack.set_exception(self.refuse)
        else:
            ack.set_result(None)
        return ack

    async def commit_transaction(self):
        self.ends.append("commit")


def part(topic, partition=0, **builder):
    return Part(topic, partition, lambda: Builder(**builder))


def parts(*topics):
    return [part(topic, number) for number, topic in enumerate(topics)]


async def deliver(kafka, front, behind=()):
    kafka.places = [(each.topic, each.partition) for each in [*front, *behind]]
    short = SmallBatches(kafka, kafka.told.append)
    assert short.takes([*front, *behind])
    await asyncio.wait_for(short.deliver(front, list(behind)), 5)


FRONT = ("posts", "posts", "connector-ledger")


async def test_a_transaction_is_three_requests():
    """All partitions are added at once and written to at once, then the transaction is ended; and so the next one."""
    kafka = Kafka()
    for _ in range(2):
        await deliver(kafka, parts(*FRONT), [part("connector-offsets", 5)])

    assert [(ADD, COORDINATOR), (PRODUCE, 1), (END, COORDINATOR)] * 2 == kafka.asked
    assert ([], []) == (kafka.sent, kafka.ends)
    assert TransactionState.READY is kafka._txn_manager.state


async def test_sequence_numbers_go_on():
    """Each batch carries the producer, its epoch, and how many records were written to its partition before."""
    kafka = Kafka()
    first, second = parts(*FRONT), parts(*FRONT)
    await deliver(kafka, first)
    await deliver(kafka, second)

    assert [(4711, 3, 0)] * 3 == [each.builder.numbered for each in first]
    assert [(4711, 3, 2)] * 3 == [each.builder.numbered for each in second]


async def test_each_broker_is_asked_for_what_it_leads():
    """Where partitions have several leaders each gets what is its own."""
    kafka = Kafka()
    await deliver(kafka, parts("posts", "far"))

    assert [(ADD, COORDINATOR), (PRODUCE, 1), (PRODUCE, 2), (END, COORDINATOR)] == kafka.asked


async def test_offsets_come_behind_where_there_are_no_transactions():
    """At least once: the offsets are sent when everything else is confirmed, by the sender if need be."""
    kafka = Kafka(transactional=False, produce=[{"posts": NOT_LEADER}])
    await deliver(kafka, parts("posts", "connector-ledger"), [part("connector-offsets", 5)])

    assert [(PRODUCE, 1), (PRODUCE, 1)] == kafka.asked
    assert [("posts", 0)] == kafka.sent
    assert [b"connector-offsets" in each for each in kafka.requests] == [False, True]


async def test_posts_may_go_without_offsets():
    """At least once: where nothing is to come behind, the posts are all that is sent."""
    kafka = Kafka(transactional=False)
    await deliver(kafka, parts("posts", "posts"))

    assert [(PRODUCE, 1)] == kafka.asked


async def test_offsets_stay_behind_what_is_refused():
    """At least once: what the sender cannot write either keeps the offsets back."""
    kafka = Kafka(transactional=False, idempotent=False, produce=[{"posts": NOT_LEADER}])
    kafka.refuse = NotEnoughReplicasError()
    with pytest.raises(NotEnoughReplicasError):
        await deliver(kafka, parts("posts"), [part("connector-offsets", 5)])

    assert [(PRODUCE, 1)] == kafka.asked


async def test_the_last_transaction_may_take_a_moment(monkeypatch):
    """While the coordinator still completes the last transaction it is asked again soon."""
    monkeypatch.setattr(small_batches, "NEXT_TRANSACTION_SECS", 0.0)
    kafka = Kafka(add=[{"posts": CONCURRENT_TRANSACTIONS}] * 2)
    await deliver(kafka, parts("posts"))

    assert [ADD, ADD, ADD, PRODUCE, END] == [kind for kind, _ in kafka.asked]
    assert [] == kafka.sent


@pytest.mark.parametrize(
    "answer",
    [
        {"posts": NOT_COORDINATOR},  # it has moved
        NodeNotReadyError("no connection"),  # it was not asked
        IncompatibleBrokerVersion("too old"),
    ],
)
async def test_what_cannot_be_added_is_the_senders(answer):
    """Without its partitions in the transaction nothing is written here: the sender begins anew, and ends it."""
    kafka = Kafka(add=[answer])
    await deliver(kafka, parts("posts", "connector-ledger"))

    assert [(ADD, COORDINATOR)] == kafka.asked
    assert [("posts", 0), ("connector-ledger", 0)] == kafka.sent
    assert ["commit"] == kafka.ends


async def test_a_coordinator_with_more_to_do_is_the_senders(monkeypatch):
    """After some patience it is for the sender to wait."""
    monkeypatch.setattr(small_batches, "PATIENCE_SECS", -1.0)
    kafka = Kafka(add=[{"posts": CONCURRENT_TRANSACTIONS}])
    await deliver(kafka, parts("posts"))

    assert ([(ADD, COORDINATOR)], [("posts", 0)]) == (kafka.asked, kafka.sent)


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        ({"posts": NOT_LEADER}, [("posts", 2)]),
        (KafkaConnectionError("gone"), [("posts", 2), ("connector-ledger", 2)]),
    ],
)
async def test_unconfirmed_batches_keep_their_numbers(answer, again):
    """
    The sender sends again what is not confirmed, under the same sequence numbers: if Kafka has it, it says so.

    Then the sender ends the transaction, as it knows what became of it.
    """
    kafka = Kafka(produce=[{}, answer])
    await deliver(kafka, parts("posts", "connector-ledger"))
    await deliver(kafka, parts("posts", "connector-ledger"))

    assert again == kafka.sent
    assert ["commit"] == kafka.ends
    assert [ADD, PRODUCE, END, ADD, PRODUCE] == [kind for kind, _ in kafka.asked]


async def test_batches_are_built_anew_for_the_sender():
    """aiokafka's own batches cannot be numbered twice, so the sender gets others."""
    kafka, front = Kafka(produce=[{"posts": NOT_LEADER}]), parts("posts")
    before = front[0].builder
    await deliver(kafka, front)

    assert before is not front[0].builder


@pytest.mark.parametrize("answer", [NOT_COORDINATOR, NodeNotReadyError("no connection")])
async def test_an_end_that_is_refused_is_the_senders(answer):
    """What the coordinator has refused, or was not asked, is no longer under way: the sender ends the transaction."""
    kafka = Kafka(end=[answer])
    await deliver(kafka, parts("posts"))

    assert ["commit"] == kafka.ends


async def test_an_end_is_under_way_for_nobody_else():
    """While the coordinator has the request the sender must not find a transaction that is to be ended."""
    kafka = Kafka()
    states = []
    send = kafka.send

    async def watched(node, request, *, group):
        states.append((KINDS[request.API_KEY], kafka._txn_manager.needs_transaction_commit()))
        return await send(node, request, group=group)

    kafka.send = watched
    await deliver(kafka, parts("posts"))

    assert [(ADD, None), (PRODUCE, None), (END, None)] == states


@pytest.mark.parametrize(("kind", "asked"), [(ADD, [ADD]), (END, [ADD, PRODUCE, END])])
async def test_what_is_not_answered_is_in_doubt(kind, asked):
    """A request of the transaction that may be under way is not repeated, by nobody, and nothing comes behind it."""
    kafka = Kafka(**{kind: [KafkaConnectionError("gone")]})
    with pytest.raises(KafkaConnectionError):
        await deliver(kafka, parts("posts"))

    assert asked == [each for each, _ in kafka.asked]
    assert ([], []) == (kafka.sent, kafka.ends)


def _busy(kafka):
    kafka._message_accumulator._batches = {"somebody": "else's"}


def _unsettled(kafka):
    kafka._message_accumulator._pending_batches = {"under way"}


def _failed(kafka):
    kafka._message_accumulator._exception = KafkaConnectionError()


def _fenced(kafka):
    kafka._txn_manager.state = TransactionState.FATAL_ERROR


def _without_coordinator(kafka):
    kafka._sender._coordinators.clear()


@pytest.mark.parametrize("change", [_busy, _unsettled, _failed, _fenced, _without_coordinator])
async def test_only_where_all_is_quiet(change):
    """While the sender has work, or trouble, everything goes through it."""
    kafka = Kafka()
    assert SmallBatches(kafka, kafka.told.append).takes(parts("posts"))
    change(kafka)

    assert not SmallBatches(kafka, kafka.told.append).takes(parts("posts"))


@pytest.mark.parametrize(
    "too_much",
    [
        [part("posts", size=small_batches.MAX_BYTES + 1)],
        [part("posts"), part("posts")],  # the second batch of a partition must wait for the first
        [part("unknown")],  # nobody leads it
    ],
)
async def test_only_what_is_small_and_has_a_place(too_much):
    """More bytes, several batches for a partition, and leaders that are not known are for the sender."""
    assert not SmallBatches(Kafka(), print).takes(too_much)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ({}, None),
        ({"add": [{"posts": NOT_COORDINATOR}]}, Fallback.REFUSED),
        ({"add": [IncompatibleBrokerVersion("too old")]}, Fallback.NOT_ASKED),
        ({"produce": [{"posts": NOT_LEADER}]}, Fallback.REFUSED),
        ({"produce": [KafkaConnectionError("gone")]}, Fallback.NOT_ANSWERED),
        ({"produce": [NodeNotReadyError("no connection")]}, Fallback.NOT_ASKED),
        ({"end": [NOT_COORDINATOR]}, Fallback.REFUSED),
    ],
)
async def test_what_is_left_to_the_sender_is_told(script, why):
    """Somebody counts the batches that do not go the short way, by the reason."""
    kafka = Kafka(**script)
    await deliver(kafka, parts("posts"))

    assert [why] == kafka.told


@pytest.mark.parametrize(
    ("change", "why"),
    [(_busy, Fallback.BUSY), (_fenced, Fallback.BUSY), (_without_coordinator, Fallback.NO_COORDINATOR)],
)
async def test_what_is_not_taken_is_told(change, why):
    """A small batch that is not even begun counts, too; a large one does not."""
    kafka = Kafka()
    change(kafka)
    short = SmallBatches(kafka, kafka.told.append)
    for each in (part("posts"), part("posts", size=small_batches.MAX_BYTES + 1)):
        short.takes([each])

    assert [why] == kafka.told


async def test_requests_are_aiokafkas():
    """What goes over the wire is what aiokafka would send, byte for byte."""
    kafka, front = Kafka(), [part("posts", 3), part("connector-ledger", 5), part("posts", 1)]
    await deliver(kafka, front)
    topics = defaultdict(list)
    for each in front:
        topics[each.topic].append(each.partition)
    records = [(topic, [(number, b"headrecords") for number in numbers]) for topic, numbers in topics.items()]

    assert [
        AddPartitionsToTxnRequest("connector-posts-0", 4711, 3, list(topics.items()))
        .build(AddPartitionsToTxnRequest_v0)
        .encode(),
        ProduceRequest("connector-posts-0", -1, 30_000, records).build(ProduceRequest_v7).encode(),
        EndTxnRequest("connector-posts-0", 4711, 3, True).build(EndTxnRequest_v0).encode(),  # noqa: FBT003  # aiokafka's
    ] == kafka.requests


async def test_headers_are_aiokafkas():
    """The head of a request is aiokafka's, and so is what is looked for in that of an answer."""
    request = small_batches._Request((26, 0), b"", small_batches._ended)
    theirs = EndTxnRequest("id", 1, 2, True).build(EndTxnRequest_v0)  # noqa: FBT003  # aiokafka's
    head = theirs.build_request_header(correlation_id=77, client_id="faust")

    assert head.encode() == request.build_request_header(correlation_id=77, client_id="faust").encode()
    assert 77 == request.parse_response_header(BytesIO(b"\0\0\0\x4d")).correlation_id


def test_answers_are_read():
    """The errors in answers are found, each at its topic and partition."""
    errors = {("posts", 0): 0, ("posts", 2): 6, ("connector-offsets", 5): 51}
    added = AddPartitionsToTxnResponse_v0(0, [("posts", [(0, 0), (2, 6)]), ("connector-offsets", [(5, 51)])])
    produced = ProduceResponse_v7(
        [("posts", [(0, 0, 10, -1, 0), (2, 6, -1, -1, -1)]), ("connector-offsets", [(5, 51, -1, -1, -1)])], 0
    )

    assert errors == small_batches._added(added.encode())
    assert errors == small_batches._produced(produced.encode())
    assert 51 == small_batches._ended(EndTxnResponse_v0(0, 51).encode())


def test_a_broker_without_the_version():
    """A broker that does not have a request's version is not asked; the sender knows others."""
    with pytest.raises(IncompatibleBrokerVersion):
        small_batches._Request((0, 7), b"", small_batches._produced).prepare({0: (0, 6)})
