"""The output topic read back with Faust, through the same typed channel."""

import asyncio
from datetime import UTC, datetime

import faust
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from connector.kafka.delivery.posts_topic import PostsTopic
from connector.records.post import Post
from tests import topics
from tests.brokers import Broker
from tests.topics import created_ms

pytestmark = pytest.mark.broker

SAMPLE = {
    "data": {
        "id": "2125255005154549760",
        "text": "a murmuration over the meadow",
        "author_id": "1000000000000000042",
        "created_at": "2026-11-24T15:47:05.000Z",
        "lang": "en",
        "something_new": {"that": ["X", "adds"]},
    },
    "matching_rules": [{"id": "11", "tag": "posts/birds"}, {"id": "12"}],
}
BARE = {"data": {"id": "2125255005154549761", "text": "as sparse as X may send it"}}
LONG = {
    "data": {"id": "2125255005154549762", "text": "cut …", "note_tweet": {"text": "cut no more"}},
    "matching_rules": [],
}


async def test_agent_reads_posts(broker: Broker, fresh: str, tmp_path) -> None:
    """An agent on the typed channel gets `Post` objects: text, author, creation time, the rules that matched."""
    await topics.create(broker, fresh)
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        for line in (SAMPLE, BARE, LONG):
            await producer.send_and_wait(fresh, orjson.dumps(line), key=line["data"]["id"].encode())
    read = await _read_with_an_agent(broker, fresh, 3, tmp_path)

    full, bare, long = read.values()
    assert ["2125255005154549760", "2125255005154549761", "2125255005154549762"] == list(read)
    assert all(isinstance(post, Post) for post in read.values())
    assert "a murmuration over the meadow" == full.text == full.full_text
    assert "1000000000000000042" == full.author_id
    assert datetime(2026, 11, 24, 15, 47, 5, tzinfo=UTC) == full.created_at
    assert [("11", "posts/birds"), ("12", "")] == [(rule.id, rule.tag) for rule in full.matching_rules]
    assert (None, []) == (bare.author_id, bare.matching_rules)
    assert created_ms(bare.id) == round(bare.created_at.timestamp() * 1000)
    assert ("cut …", "cut no more") == (long.text, long.full_text)


async def _read_with_an_agent(broker: Broker, topic: str, count: int, folder) -> dict[str, Post]:
    app = faust.App(
        f"{topic}-reader",
        broker=broker.url,
        loop=asyncio.get_running_loop(),
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    read: dict[str, Post] = {}
    enough = asyncio.Event()

    @app.agent(PostsTopic(app, topic=topic, value_format="json"))
    async def collect(stream: faust.StreamT[Post]) -> None:
        async for key, post in stream.items():
            read[key] = post
            if len(read) == count:
                enough.set()

    app.finalize()
    await app.start()
    try:
        await asyncio.wait_for(enough.wait(), 60)
    finally:
        await app.stop()
    return read
