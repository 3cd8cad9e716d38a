"""Released schemas in a real registry, and values in a real topic, read through Faust."""

import asyncio
from importlib.resources import files
from pathlib import Path

import faust
import pytest
from aiokafka import AIOKafkaProducer

from connector.formats.post.resolving import post_of
from connector.formats.schemas.confluent import ConfluentRegistry
from connector.formats.schemas.form import writer_of
from connector.formats.schemas.reading import SchemaCodec
from connector.formats.schemas.registry import RegistrySettings
from connector.formats.schemas.subjects import subject_of
from connector.formats.schemas.writer import Schema, stamp_of
from connector.kafka.delivery.posts_topic import PostsTopic
from connector.records.post import Post
from tests import topics
from tests.brokers import Broker
from tests.registries import Registry
from tests.unit.formats.lines import recorded

pytestmark = pytest.mark.broker

FORMATS = {"avro": ".avsc", "json_schema": ".schema.json", "protobuf": ".proto"}
RELEASED = Path(str(files("tests"))) / "unit" / "formats" / "released"


def client(registry: Registry, **changed: object) -> ConfluentRegistry:
    settings = {
        "login": None,
        "token": None,
        "authorities": None,
        "certificate": None,
        "key": None,
        "key_password": None,
        "auto_register": True,
        "use_latest": False,
        "normalize": False,
        "compatibility": "FULL_TRANSITIVE",
    }
    return ConfluentRegistry(RegistrySettings(urls=(registry.url,), **settings | changed))


@pytest.mark.parametrize("value_format", FORMATS)
async def test_released_schemas_follow_each_other(registry: Registry, fresh: str, value_format: str) -> None:
    """A registry takes them all under FULL_TRANSITIVE, and then the one that is written today; the last is its own."""
    ours = writer_of(value_format).schema
    asking, latest = client(registry), client(registry, auto_register=False, use_latest=True, compatibility=None)
    try:
        for path in sorted(
            RELEASED.glob(f"v*{FORMATS[value_format]}"), key=lambda path: int(path.name.split(".")[0][1:])
        ):
            await asking.find(fresh, Schema(ours.type, path.read_text(), ours.name))
        registered = await asking.find(fresh, ours)
        found = await latest.find(fresh, ours)
    finally:
        await asking.close()
        await latest.close()

    assert registered.id == found.id
    assert stamp_of(writer_of(value_format), found.id, found.text).change is None
    assert {"compatibilityLevel": "FULL_TRANSITIVE"} == registry.ask(f"/config/{fresh}")


@pytest.mark.parametrize("value_format", FORMATS)
async def test_the_typed_channel(
    broker: Broker, registry: Registry, fresh: str, tmp_path: Path, value_format: str
) -> None:
    """A Faust agent over the topic gets `Post`s, whatever the format."""
    await _deliver(broker, registry, fresh, value_format)
    codec = await asyncio.to_thread(SchemaCodec, value_format, {"url": registry.url})
    expected = {post["id"]: post["text"] for post in map(post_of, recorded().values())}
    found = await _read(broker, fresh, codec, len(expected), tmp_path)
    codec.close()

    assert expected == {key: post.text for key, post in found.items()}
    assert all(isinstance(post, Post) and key == post.id for key, post in found.items())


async def _deliver(broker: Broker, registry: Registry, topic: str, value_format: str) -> None:
    """Write each recorded kind of post into *topic*, as a worker does."""
    writer, asking = writer_of(value_format), client(registry)
    registered = await asking.find(subject_of("TopicNameStrategy", topic, writer.schema.name), writer.schema)
    await asking.close()
    stamp = stamp_of(writer, registered.id, None)
    await topics.create(broker, topic)
    async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
        for post in map(post_of, recorded().values()):
            await producer.send_and_wait(topic, stamp.of(writer.body(post)), post["id"].encode())


async def _read(broker: Broker, topic: str, codec: SchemaCodec, count: int, folder: Path) -> dict[str, Post]:
    app = faust.App(
        f"{topic}-reader",
        broker=broker.url,
        loop=asyncio.get_running_loop(),
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    found: dict[str, Post] = {}
    enough = asyncio.Event()

    @app.agent(PostsTopic(app, topic=topic, value_codec=codec))
    async def collect(stream: faust.StreamT[Post]) -> None:
        async for key, post in stream.items():
            found[key] = post
            if len(found) == count:
                enough.set()

    app.finalize()
    await app.start()
    try:
        await asyncio.wait_for(enough.wait(), 60)
    finally:
        await app.stop()
    return found
