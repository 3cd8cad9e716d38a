"""How many requests are under way, with aiokafka's own accumulator and sender; no broker is needed for that."""

import asyncio

import faust
import pytest
from aiokafka.producer import sender as module
from aiokafka.structs import TopicPartition

from connector.kafka.delivery.pipelining import REQUEST_BYTES, REQUESTS
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import BatchStyle, record_batches
from connector.records.record import Records, SourceRecord

NODE = 7
PARTITIONS = [TopicPartition("posts", number) for number in range(6)]


@pytest.fixture
async def producer():
    """A producer that was not started, in whose topic one broker leads all partitions."""
    app = faust.App("posts", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
    app.finalize()
    made = TaskProducer(app, transactional_id=None, idempotent=False, transaction_timeout_secs=60)._new_producer()
    made.client.cluster.leader_for_partition = lambda _: NODE
    yield made
    await made.client.close()
    made._closed = True


async def put(producer, partition, size):
    records = Records.of([SourceRecord(b"1", b"x" * size, 0)])
    (batch,) = record_batches(records, BatchStyle(2 * REQUEST_BYTES, transactional=False, compression=None))
    accumulator = producer._message_accumulator
    ack = await accumulator.add_batch(batch, partition, 10)
    ack.add_done_callback(lambda done: done.cancelled() or done.exception())


def drain(producer, muted=frozenset()):
    """Return what the sender would put into its next request."""
    batches, _ = producer._message_accumulator.drain_by_nodes(
        ignore_nodes=producer._sender._in_flight, muted_partitions=muted
    )
    return [partition.partition for partition in batches.get(NODE, ())]


@pytest.mark.parametrize(
    ("size", "requests"),
    [
        (100, [[0, 1, 2, 3, 4, 5], []]),
        (REQUEST_BYTES // 3, [[0, 1, 2], [3, 4, 5], []]),
        (REQUEST_BYTES, [[0], [1], [2], [3], [4], [5], []]),
    ],
)
async def test_a_request_is_closed_when_it_is_large(producer, size, requests):
    """Its partitions are the first ones; the sender comes again at once for the others, and waits when none is left."""
    for partition in PARTITIONS:
        await put(producer, partition, size)

    for number, expected in enumerate(requests):
        assert expected == drain(producer)
        assert producer._message_accumulator.waiter().done() is (number < len(requests) - 2)


async def test_a_partition_under_way_waits(producer):
    """What keeps the order: a muted partition gives nothing, and takes no room in a request."""
    for partition in PARTITIONS:
        await put(producer, partition, REQUEST_BYTES // 2)

    assert [2, 3] == drain(producer, muted={PARTITIONS[0], PARTITIONS[1]})
    assert [0, 1] == drain(producer)


async def test_a_broker_gets_no_more_than_that(producer):
    """With all its requests under way a broker gets none, until one is answered."""
    for partition in PARTITIONS:
        await put(producer, partition, REQUEST_BYTES)
    in_flight = producer._sender._in_flight
    for _ in range(REQUESTS):
        assert drain(producer)
        in_flight.add(NODE)

    assert [] == drain(producer)
    assert not producer._message_accumulator.waiter().done()  # else the sender would spin
    in_flight.remove(NODE)
    assert [REQUESTS] == drain(producer)


async def test_the_sender_counts_with_it(producer, monkeypatch):
    """aiokafka's sender adds and removes: after the answers nothing is under way, whoever came first."""
    sender = producer._sender
    answers = [asyncio.Event(), asyncio.Event()]

    class Handler:
        def __init__(self, _, batches):
            self.answer = answers[len(batches) - 1]

        async def do(self, node):
            await self.answer.wait()

    monkeypatch.setattr(module, "SendProduceReqHandler", Handler)
    requests = []
    for batches in ({PARTITIONS[0]: None}, {PARTITIONS[1]: None, PARTITIONS[2]: None}):
        sender._in_flight.add(NODE)
        sender._muted_partitions.update(batches)
        requests.append(asyncio.create_task(sender._send_produce_req(NODE, batches)))
    answers[1].set()
    await requests[1]
    assert {PARTITIONS[0]} == sender._muted_partitions
    answers[0].set()
    await requests[0]

    assert set() == sender._muted_partitions
    assert 0 == sender._in_flight._requests[NODE]
