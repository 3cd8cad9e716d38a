"""A compliance connector follows the topic of the posts over a time without a broker."""

import asyncio
import contextlib

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from connector.errors import DeliveryFailed
from connector.kafka.brokers import KafkaCluster
from connector.kafka.closing import stop_consumer
from connector.kafka.state import authors
from connector.kafka.state.authors import AuthorsTopic
from tests import topics
from tests.brokers import KafkaBroker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PATIENCE_SECS = 120.0
"""A question that Kafka did not answer may take 20 s to be given up, and the client as long to close."""

AWAY_SECS = 5.0
"""Long enough for the client to wait between two tries to fetch."""


async def send(broker: KafkaBroker, topic: str, keys: list[str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        for key in keys:
            await producer.send_and_wait(topic, b"{}", key.encode())


async def test_followed_again_when_the_broker_is_back(frail_broker: KafkaBroker, fresh: str, monkeypatch) -> None:
    """Whoever follows hears that the broker is away, begins again where it was, and misses nothing."""
    await topics.create(frail_broker, fresh, partitions=3)
    monkeypatch.setattr(authors, "LOOK_SECS", 0.5)
    cluster = KafkaCluster(servers=(frail_broker.address,))
    topic = AuthorsTopic(cluster, f"{fresh}-authors", "erasure", fresh, trust_end_offsets=lambda: True)
    read_to: dict[int, int] = {}
    seen: list[str] = []
    errors: list[DeliveryFailed] = []

    async def follow() -> None:
        while True:
            try:
                async with contextlib.aclosing(topic.follow(dict(read_to), 0)) as batches:
                    async for batch in batches:
                        for partition, offset, key, _ in batch:
                            seen.append(key.decode())
                            read_to[partition] = offset + 1
            except DeliveryFailed as error:
                errors.append(error)
                await asyncio.sleep(0.5)

    following = asyncio.create_task(follow())
    try:
        await send(frail_broker, fresh, [str(number) for number in range(30)])
        async with asyncio.timeout(PATIENCE_SECS):
            while len(seen) < 30:  # noqa: ASYNC110  # a list wakes nobody
                await asyncio.sleep(0.1)
        await asyncio.to_thread(frail_broker.kill)
        await asyncio.sleep(AWAY_SECS)
        await asyncio.to_thread(frail_broker.start)
        await send(frail_broker, fresh, [str(number) for number in range(30, 60)])
        async with asyncio.timeout(PATIENCE_SECS):
            while len(seen) < 60 and not following.done():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert not following.done()
        assert sorted(map(str, range(60))) == sorted(seen)
        assert errors
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def test_a_consumer_is_closed_while_its_fetches_wait(frail_broker: KafkaBroker, fresh: str) -> None:
    """Closing it neither looks like a cancellation of whoever closes it, nor leaves a connection open."""
    await topics.create(frail_broker, fresh, partitions=1)
    before = asyncio.all_tasks()
    consumer = AIOKafkaConsumer(fresh, bootstrap_servers=frail_broker.address, retry_backoff_ms=60_000)
    await consumer.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(consumer.getone(), 1)
    await asyncio.to_thread(frail_broker.kill)
    await asyncio.sleep(1)
    await stop_consumer(consumer)
    assert before == asyncio.all_tasks()
