"""Requests of a transaction on aiokafka's own sender, whose network is a script."""

import asyncio
import gc
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, ProducerFenced, RequestTimedOutError
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager, TransactionState
from aiokafka.protocol.transaction import AddPartitionsToTxnResponse_v0, EndTxnResponse_v0

from connector.errors import BrokerAway
from connector.kafka.delivery.once import Unanswered, send_once
from connector.kafka.delivery.sink import failure_of

ADD, END = 24, 26
NOT_COORDINATOR, INVALID_EPOCH = 16, 47
POSTS = TopicPartition("posts", 3)


def _answer(key, error):
    if key == ADD:
        return AddPartitionsToTxnResponse_v0(0, [(POSTS.topic, [(POSTS.partition, error)])])
    return EndTxnResponse_v0(0, error)


class Network:
    """An aiokafka client: *asked* are the API keys that came; *script* has the answers, errors or exceptions."""

    _client_id = "faust"

    def __init__(self, *script):
        self.asked, self.script, self.lookups = [], list(script), []
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 1)

    async def send(self, node, request, *, group):
        self.asked.append(request.API_KEY)
        await asyncio.sleep(0)
        step = self.script.pop(0) if self.script else 0
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
            step = 0
        return _answer(request.API_KEY, step)

    async def ready(self, node, *, group):
        return True

    async def coordinator_lookup(self, kind, key):
        self.lookups.append(key)
        step = self.script.pop(0) if self.script and isinstance(self.script[0], KafkaConnectionError) else None
        if step is not None:
            raise step
        return 7

    async def force_metadata_update(self):
        return True


@pytest.fixture
async def produce():
    """Build a producer of aiokafka's parts on a `Network`; its sender runs."""
    running = []

    async def build(*script, coordinator=7):
        network = Network(*script)
        manager = TransactionManager("connector-posts-0", 60_000)
        manager.set_pid_and_epoch(4711, 3)
        accumulator = MessageAccumulator(network.cluster, 16_384, 0, 30, txn_manager=manager)
        sender = Sender(
            network,
            acks=-1,
            txn_manager=manager,
            message_accumulator=accumulator,
            retry_backoff_ms=1,
            request_timeout_ms=30_000,
        )
        producer = SimpleNamespace(
            client=network, _txn_manager=manager, _message_accumulator=accumulator, _sender=sender
        )
        send_once(producer)
        if coordinator is not None:
            sender._coordinators[CoordinationType.TRANSACTION] = coordinator
        await sender.start()
        running.append(sender)
        return producer

    yield build
    for sender in running:
        await sender.close()


async def transact(producer):
    """Add a partition, and commit."""
    manager = producer._txn_manager
    manager.begin_transaction()
    manager.maybe_add_partition_to_txn(POSTS)
    await asyncio.sleep(0.01)
    if not manager.is_fatal_error():
        manager.committing_transaction()
    await asyncio.wait_for(asyncio.shield(manager.wait_for_transaction_end()), 5)


async def settled():
    """A sender that would send something again has done so."""
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("lost", [KafkaConnectionError("reset"), RequestTimedOutError(), OSError("broken pipe")])
@pytest.mark.parametrize("before", [[], [0]], ids=["add", "end"])
async def test_what_is_not_answered_is_not_repeated(produce, before, lost):
    """aiokafka would send it again, in the same epoch; here the producer is done with."""
    producer = await produce(*before, lost)
    with pytest.raises(Unanswered) as caught:
        await transact(producer)
    await settled()

    assert [ADD, END][: len(before) + 1] == producer.client.asked
    assert TransactionState.FATAL_ERROR is producer._txn_manager.state
    assert isinstance(failure_of(caught.value), BrokerAway)
    assert ("AddPartitionsToTxn", "EndTxn")[len(before)] in str(failure_of(caught.value))


async def test_nothing_is_sent_behind_it(produce):
    """What waits for the producer fails with the reason, and so does what comes."""
    producer = await produce(KafkaConnectionError("reset"))
    with pytest.raises(Unanswered):
        await transact(producer)
    with pytest.raises(Unanswered):
        await producer._message_accumulator.add_message(POSTS, b"key", b"value", 1)
    with pytest.raises(AssertionError):
        producer._txn_manager.begin_transaction()


@pytest.mark.parametrize("passing", [NOT_COORDINATOR, NodeNotReadyError("no connection")])
async def test_what_is_refused_or_not_sent_is_repeated(produce, passing):
    """What the coordinator has answered, or never got, is not under way."""
    producer = await produce(passing, 0, passing, 0)
    await transact(producer)

    assert [ADD, ADD, END, END] == producer.client.asked
    assert TransactionState.READY is producer._txn_manager.state


async def test_a_wait_that_is_cut_short_is_in_doubt(produce):
    """A stop, too, leaves a request under way."""
    producer = await produce(0, asyncio.Event())
    transacting = asyncio.create_task(transact(producer))
    while END not in producer.client.asked:  # noqa: ASYNC110  # the sender's own task sends it
        await asyncio.sleep(0.001)
    sending = producer._sender.sender_task
    sending.cancel()
    await asyncio.sleep(0)
    sending.cancel()  # the first one lets requests under way end
    with pytest.raises(Unanswered):
        await transacting

    assert TransactionState.FATAL_ERROR is producer._txn_manager.state


async def test_the_coordinator_is_looked_for_again(produce):
    """To ask who it is changes nothing, so a connection that breaks meanwhile is no reason to end."""
    producer = await produce(KafkaConnectionError("reset"), coordinator=None)
    await transact(producer)

    assert 2 == len(producer.client.lookups)
    assert [ADD, END] == producer.client.asked


async def test_a_refusal_is_told_once(produce):
    """A producer that another one has fenced leaves no traceback for each batch that was waiting."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    producer = await produce(INVALID_EPOCH)
    manager, accumulator = producer._txn_manager, producer._message_accumulator
    manager.begin_transaction()
    manager.maybe_add_partition_to_txn(POSTS)
    builder = accumulator.create_builder()
    builder.append(key=b"key", value=b"value", timestamp=1)
    delivered = await accumulator.add_batch(builder, POSTS, 1)
    with pytest.raises(ProducerFenced):
        await asyncio.wait_for(delivered, 5)
    accumulator._batches.clear()
    manager._transaction_waiter = None
    del delivered
    gc.collect()

    assert [] == complaints
