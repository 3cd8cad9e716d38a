"""What fails when a partition is gone, with aiokafka's own accumulator and sender; no broker is needed for that."""

import asyncio
from types import SimpleNamespace

import faust
import pytest
from aiokafka.structs import TopicPartition

from connector.kafka.delivery import producer as module
from connector.kafka.delivery.gone import PartitionGone
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import BatchStyle, record_batches
from connector.records.record import Records, SourceRecord

NODE = 7
GONE, THERE = TopicPartition("posts", 3), TopicPartition("posts", 0)
PRODUCE, ADD_PARTITIONS, END = 0, 24, 26
UNKNOWN = 3


class Answered:
    """Kafka, which knows some `leaders`, others `after_update`, and answers each request with `answer`."""

    def __init__(self):
        self.leaders = {GONE: NODE, THERE: NODE}
        self.after_update = None
        self.answer = None

    def leader_of(self, partition):
        return self.leaders.get(partition)

    async def send(self, _node, _request, **_):
        return self.answer

    async def force_metadata_update(self):
        self.leaders = self.leaders if self.after_update is None else self.after_update


@pytest.fixture
def kafka():
    return Answered()


@pytest.fixture(params=["posts-0", None])
async def producer(kafka, monkeypatch, request):
    """A producer of *kafka* that was not started."""
    app = faust.App("posts", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
    app.finalize()
    copy_once = module.copy_once

    def copy_once_and_pretend(client):
        copy_once(client)
        client.send, client.force_metadata_update = kafka.send, kafka.force_metadata_update

    monkeypatch.setattr(module, "copy_once", copy_once_and_pretend)
    transactional_id = request.param
    made = TaskProducer(
        app, transactional_id=transactional_id, idempotent=transactional_id is not None, transaction_timeout_secs=60
    )._new_producer()
    made.client.cluster.leader_for_partition = kafka.leader_of
    if transactional_id is not None:
        made._txn_manager.set_pid_and_epoch(1, 0)
        made._txn_manager.begin_transaction()
    yield made
    await made.client.close()
    made._closed = True


async def put(producer, partition):
    records = Records.of([SourceRecord(b"1", b"x", 0)])
    style = BatchStyle(1_000, transactional=producer._txn_manager is not None, compression=None)
    (batch,) = record_batches(records, style)
    return await producer._message_accumulator.add_batch(batch, partition, 10)


def drain(producer):
    batches, _ = producer._message_accumulator.drain_by_nodes(ignore_nodes=(), muted_partitions=frozenset())
    return [partition for its in batches.values() for partition in its]


def request(api):
    return SimpleNamespace(API_KEY=api)


async def test_what_waits_fails_with_the_partition_that_is_gone(producer, kafka):
    """Nothing of the batch goes out any more, also not to the partitions that are there, and nothing new is taken."""
    acks = [await put(producer, partition) for partition in (THERE, GONE)]
    kafka.leaders = {THERE: NODE}

    assert [] == drain(producer)
    for ack in acks:
        with pytest.raises(PartitionGone, match=r"no partition 3 of the topic posts any more"):
            await ack
    with pytest.raises(PartitionGone):
        await put(producer, THERE)


async def test_a_partition_without_a_leader_is_waited_for(producer, kafka):
    ack = await put(producer, GONE)
    kafka.leaders = {THERE: NODE, GONE: -1}

    assert [] == drain(producer)
    assert not ack.done()
    ack.cancel()


@pytest.mark.parametrize(
    ("api", "answer"),
    [
        (PRODUCE, {GONE: UNKNOWN, THERE: 0}),
        (ADD_PARTITIONS, {GONE: UNKNOWN}),
        (ADD_PARTITIONS, SimpleNamespace(errors=[("posts", [(0, 0), (3, UNKNOWN)])])),
        (PRODUCE, SimpleNamespace(topics=[("posts", [(0, 0, 17, -1, 0), (3, UNKNOWN, -1, -1, 0)])])),
    ],
)
async def test_a_broker_does_not_know_it(producer, kafka, api, answer):
    """Metadata decides: a broker may hear of a new topic late, and what is gone fails what is under way, too."""
    ack = await put(producer, GONE)
    (drained,) = drain(producer)
    assert drained == GONE
    kafka.answer = answer

    assert answer == await producer.client.send(NODE, request(api))
    assert not ack.done()
    kafka.after_update = {THERE: NODE}
    with pytest.raises(PartitionGone):
        await producer.client.send(NODE, request(api))
    with pytest.raises(PartitionGone):
        await ack


async def test_what_has_failed_is_not_sent_again(producer, kafka):
    """aiokafka puts back what was under way with another request; it is off the list by then."""
    ack = await put(producer, THERE)
    assert [THERE] == drain(producer)
    (batch,) = producer._message_accumulator._pending_batches
    await put(producer, GONE)
    kafka.leaders = {THERE: NODE}
    drain(producer)
    await asyncio.sleep(0)
    producer._message_accumulator.reenqueue(batch)

    assert [] == drain(producer)
    with pytest.raises(PartitionGone):
        await ack


async def test_other_answers_pass(producer, kafka):
    kafka.answer = 0

    assert 0 == await producer.client.send(NODE, request(END))
