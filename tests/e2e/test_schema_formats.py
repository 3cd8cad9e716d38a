"""Values with a schema in a whole worker: each post once, readable by others, whatever becomes of the registry."""

import base64
import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from grpc_tools import protoc

from connector.config.framework import AVRO_CONVERTER
from connector.formats.post.declaration import POST
from connector.formats.post.protobuf_messages import message_class
from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker, free_port
from tests.registries import Registry
from tests.workers import Worker, Workers, by_rest, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

Read = Callable[[bytes], dict[str, Any]]
WAITS = "RegistryAway: The schema registry at"


class CompilingClient(SchemaRegistryClient):
    """
    Confluent's client, at a registry that gives Protobuf schemas as text only.

    Confluent's registry compiles a schema if it is asked for it `serialized`, as its deserializer in Python does.
    Apicurio ignores that, so this client compiles what it gets with protoc.
    """

    def get_schema(self, *args: Any, **kwargs: Any) -> Schema:
        found = super().get_schema(*args, **kwargs)
        text = found.schema_str or ""
        if found.schema_type != "PROTOBUF" or not text.startswith("syntax"):
            return found
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "schema.proto").write_text(text)
            well_known = Path(grpc_tools.__file__).parent / "_proto"
            arguments = ["protoc", f"-I{folder}", f"-I{well_known}", f"-o{folder}/set", "schema.proto"]
            assert 0 == protoc.main(arguments)
            (file,) = FileDescriptorSet.FromString((Path(folder) / "set").read_bytes()).file
        return Schema(base64.b64encode(file.SerializeToString()).decode(), "PROTOBUF")


@contextlib.contextmanager
def reading(registry: Registry, value_format: str, topic: str) -> Iterator[Read]:
    """Read values as a consumer with Confluent's deserializer would."""
    with CompilingClient({"url": registry.url}) as client:
        yield _reader(client, value_format, topic)


def _reader(client: SchemaRegistryClient, value_format: str, topic: str) -> Read:
    context = SerializationContext(topic, MessageField.VALUE)
    conf = {"subject.name.strategy.type": "TOPIC"}
    if value_format == "avro":
        read = AvroDeserializer(client, conf=conf)
    elif value_format == "json_schema":
        text = client.get_latest_version(f"{topic}-value").schema.schema_str
        read = JSONDeserializer(
            text, conf=conf, schema_registry_client=client
        )  # it checks each value against the schema
    else:
        protobuf = ProtobufDeserializer(message_class(POST), {**conf, "use.deprecated.format": False}, client)
        return lambda value: MessageToDict(protobuf(value, context), preserving_proto_field_name=True)
    return lambda value: read(value, context)


def settings(
    broker: Broker, simulator: SimulatorThread, name: str, registry: Registry, **more: object
) -> dict[str, str]:
    chosen = {"value_format": "avro", "schema_registry_url": registry.url, **more}
    return environment(broker, simulator.url, name, **chosen)


def waits(worker: Worker) -> bool:
    """Whether the status and /ready say that posts wait for the registry."""
    task = worker.status()["tasks"][0]
    unready = worker.get("/ready")
    return str(task.get("detail", "")).startswith(WAITS) and (503, True) == (unready[0], WAITS in str(unready[1]))


@pytest.mark.parametrize("value_format", ["avro", "json_schema", "protobuf"])
def test_read_by_confluents_deserializers(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    value_format: str,
) -> None:
    """What the simulator sent comes back, over a restart, and the subject has one version."""
    simulator = simulate()
    chosen = settings(broker, simulator, fresh, registry, value_format=value_format)
    first = workers.start(chosen).wait_ready()
    texts = {simulator.emit_post(f"a starling {number} & its #murmuration"): number for number in range(20)}
    first.wait_delivered(20)
    found = first.wait_event("schema.found")
    assert 0 == first.stop()
    second = workers.start(chosen).wait_ready()
    texts |= {simulator.emit_post(f"a starling {number} & its #murmuration"): number for number in range(20, 30)}
    second.wait_delivered(30)
    assert 0 == second.stop()

    records = topics.read(broker, fresh)
    with reading(registry, value_format, fresh) as read:
        posts = [read(record.value) for record in records]
    assert sorted(texts) == sorted(post["id"] for post in posts) == sorted(record.key.decode() for record in records)
    for post in posts:
        assert f"a starling {texts[post['id']]} " in post["text"]
        assert "murmuration" == post["entities"]["hashtags"][0]["tag"]
        assert post["author"]["id"]
        assert "posts/murmuration" == post["matching_rules"][0]["tag"]
    assert {found["schema_id"]} == {int.from_bytes(record.value[1:5], "big") for record in records}
    assert [1] == registry.ask(f"/subjects/{fresh}-value/versions")


def test_a_registry_that_comes_late(
    broker: Broker,
    frail_registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """Posts wait for it, also over a worker that is killed meanwhile; then each is there once."""
    simulator = simulate()
    chosen = settings(broker, simulator, fresh, frail_registry, recovery="auto")
    first = workers.start(chosen)
    first.wait_event("stream.connected")
    ids = [simulator.emit_post(f"early {number} #murmuration") for number in range(30)]
    wait_for(lambda: waits(first), "the status to say that posts wait")
    assert [] == topics.read(broker, fresh)
    frail_registry.start()
    first.wait_delivered(30)
    wait_for(lambda: first.ready, "ready again")
    ids += [simulator.emit_post(f"more {number} #murmuration") for number in range(10)]
    first.wait_delivered(40)
    frail_registry.freeze()
    ids += [simulator.emit_post(f"frozen {number} #murmuration") for number in range(10)]
    first.wait_delivered(50)  # the id is known, so nobody asks
    first.kill()
    second = workers.start(chosen)
    second.wait_event("stream.connected")
    ids += [simulator.emit_post(f"late {number} #murmuration") for number in range(10)]
    wait_for(lambda: waits(second), "the second worker to wait for the frozen registry")
    frail_registry.thaw()
    second.wait_delivered(60)
    assert 0 == second.stop()

    records = topics.read(broker, fresh)
    with reading(frail_registry, "avro", fresh) as read:
        assert sorted(ids) == sorted(read(record.value)["id"] for record in records)


def test_a_stop_while_posts_wait(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """The very first posts wait for a registry that is nowhere: a stop ends in time, and the offset has the begin."""
    simulator = simulate()
    chosen = {"value_format": "avro", "schema_registry_url": f"http://127.0.0.1:{free_port()}", "stop_timeout_secs": 5}
    worker = workers.start(environment(broker, simulator.url, fresh, **chosen))
    worker.wait_event("stream.connected")
    simulator.emit_post("a starling #murmuration")
    wait_for(lambda: waits(worker), "the status to say that posts wait")
    code = worker.stop()

    offset = topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']
    assert 1 == code
    assert [] == topics.read(broker, fresh)
    assert (True, 0) == (bool(offset["covered_from"]), offset["posts"])


def test_a_schema_that_is_refused(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """FAILED with the registry's words; it goes on by itself once somebody has put the subject right."""
    other = {"type": "record", "name": "Post", "namespace": "murmuration", "fields": [{"name": "id", "type": "int"}]}
    registry.ask(f"/subjects/{fresh}-value/versions", {"schema": json.dumps(other)})
    registry.ask(f"/config/{fresh}-value", {"compatibility": "FULL_TRANSITIVE"}, "PUT")
    simulator = simulate()
    worker = workers.start(settings(broker, simulator, fresh, registry))
    worker.wait_event("stream.connected")
    post = simulator.emit_post("a starling #murmuration")
    failed = worker.wait_event("task.failed")
    wait_for(lambda: worker.status()["tasks"][0]["state"] == "FAILED", "the task to be FAILED")
    trace = worker.status()["tasks"][0]["trace"]
    registry.ask(f"/config/{fresh}-value", {"compatibility": "NONE"}, "PUT")
    later = wait_for(lambda: worker.events("task.started")[1:], "another try", 120)
    worker.wait_event("stream.connected", count=2)
    again = simulator.emit_post("another starling #murmuration")
    worker.wait_delivered(1, 120)
    assert 0 == worker.stop()

    assert "answers 409: " in failed["reason"]
    assert trace.startswith("SchemaRefused: The schema registry was asked to register the schema")
    assert later
    ids = topics.ids(topics.read(broker, fresh))
    assert again in ids
    assert {post, again} >= set(ids)  # whether search repairs the first one depends on how long it was away
    assert [1, 2] == registry.ask(f"/subjects/{fresh}-value/versions")


def test_connects_names_by_rest(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """A configuration for Connect is taken as it is; transforms route to topics with subjects of their own."""
    simulator = simulate()
    options = {
        "value.converter": AVRO_CONVERTER,
        "value.converter.schema.registry.url": registry.url,
        "transforms": "route",
        "transforms.route.type": "RuleRouter",
        "transforms.route.topic.format": "${topic}.${rule}",
    }
    worker, config = by_rest(broker, workers, simulator.url, fresh, options)
    assert AVRO_CONVERTER == config["value.converter"]
    starling = simulator.emit_post("a starling #murmuration")
    stream = simulator.emit_post("a stream #kafka")
    wait_for(lambda: worker.delivered("birds") == 2, "two posts")
    assert 0 == worker.stop()

    for topic, expected in ((f"{fresh}.murmuration", starling), (f"{fresh}.kafka", stream)):
        with reading(registry, "avro", topic) as read:
            assert [expected] == [read(record.value)["id"] for record in topics.read(broker, topic)]
        assert [1] == registry.ask(f"/subjects/{topic}-value/versions")
