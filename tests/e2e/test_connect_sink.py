"""A sink of Apache Kafka Connect reads what the connector writes, with the converters that it has for each format."""

from collections.abc import Callable
from pathlib import Path

import pytest

from connector.simulator import SimulatorThread
from tests.brokers import Broker
from tests.registries import Registry
from tests.sinks.connect import file_sink, require
from tests.workers import Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

POSTS = 25
TEXT = {
    "transforms": "text",
    "transforms.text.type": "org.apache.kafka.connect.transforms.ExtractField$Value",
    "transforms.text.field": "text",
}
"""The file has a record's value as text: of the whole post that is no format that anybody reads."""


def converter_of(value_format: str, shape: str, registry: Registry) -> dict[str, str]:
    if value_format == "json":
        with_schemas = "true" if shape == "connect" else "false"
        return {"": "org.apache.kafka.connect.json.JsonConverter", ".schemas.enable": with_schemas}
    return {
        "": "io.apicurio.registry.utils.converter.AvroConverter",
        ".apicurio.registry.url": f"http://127.0.0.1:{registry.port}/apis/registry/v2",
        # Confluent's wire format: four bytes, and the id that the compatible API gives
        ".apicurio.registry.id-handler": "io.apicurio.registry.serde.Legacy4ByteIdHandler",
        ".apicurio.registry.use-id": "contentId",
    }


@pytest.mark.parametrize(("value_format", "shape"), [("json", "post"), ("json", "connect"), ("avro", "post")])
def test_a_sink_of_connect_gets_each_post_once(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    tmp_path: Path,
    value_format: str,
    shape: str,
) -> None:
    """Its converter gives transforms the fields of the post, whose text comes to the file as it was written."""
    require()
    simulator = simulate()
    chosen = {"value_shape": shape, "value_format": value_format}
    if value_format != "json":
        chosen["schema_registry_url"] = registry.url
    worker = workers.start(environment(broker, simulator.url, fresh, **chosen)).wait_ready()
    wait_for(simulator.simulator.streams.live, "a connection")
    texts = [f"a starling {number} \N{BIRD} #murmuration" for number in range(POSTS)]
    for text in texts:
        simulator.emit_post(text)
    worker.wait_delivered(POSTS)
    assert 0 == worker.stop()

    with file_sink(broker, fresh, converter_of(value_format, shape, registry), TEXT, tmp_path / "connect") as lines:
        wait_for(lambda: len(lines()) >= POSTS, "the file of the sink", 120.0)
        assert sorted(texts) == sorted(lines())
