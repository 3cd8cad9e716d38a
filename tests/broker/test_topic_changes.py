"""The output topic gets more partitions while a task delivers."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from connector.errors import DeliveryFailed
from connector.kafka.delivery.partitioner import partition_of
from connector.kafka.delivery.sink import TopicSink
from tests import topics
from tests.broker.conftest import MakeSink
from tests.broker.test_delivery import batch
from tests.brokers import Broker
from tests.unit.fakes import whole

pytestmark = pytest.mark.broker

POSTS = 60


async def deliver(sink: TopicSink, number: int) -> None:
    """Deliver the batch of that number as a task does: with a new producer as long as it is not confirmed."""
    what = whole(batch(number * POSTS, POSTS, b"%d" % number), sink)
    async with asyncio.timeout(120):
        while True:
            try:
                await sink.deliver(what, await sink.encode(what))
            except DeliveryFailed:
                await sink.close()
                committed = await sink.open()
                if b"%d" % number in {value for _, value in committed.seen}:
                    return
            else:
                return


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_partitions_are_added(broker: Broker, make_sink: MakeSink, fresh: str, exactly_once: bool) -> None:  # noqa: FBT001
    """Each post is there once; once the producer has heard of them, new partitions have theirs, by Java's rule."""
    sink = make_sink(exactly_once=exactly_once)
    await sink.open()
    await deliver(sink, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_partitions({fresh: NewPartitions(7)})
    await admin.close()
    await deliver(sink, 1)
    async with asyncio.timeout(60):
        while sink._client.partitions(fresh) < 7:
            await sink._client.client.client.force_metadata_update()
            await asyncio.sleep(0.05)
    await deliver(sink, 2)

    found = [record async for record in topics.records_of(broker, fresh)]
    newest = [record for record in found if record.key >= batch(2 * POSTS, 1, b"").records.keys[0]]
    assert 3 * POSTS == len({record.key for record in found}) == len(found)
    assert [partition_of(record.key, 7) for record in newest] == [record.partition for record in newest]
    assert set(range(7)) == {record.partition for record in newest}
