"""What `value.shape=connect` writes is what the JsonConverter of Apache Kafka Connect reads, and would write itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from connector.config.framework import JSON_CONVERTER
from connector.formats.post.form import ConnectForm
from connector.simulator import SimulatorThread
from connector.transforms.values import with_timestamps, write_json
from tests import topics
from tests.brokers import Broker
from tests.sinks.json_converter import json_converter, require
from tests.unit.formats.lines import as_line, lines, recorded
from tests.workers import Workers, by_rest, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

FORM = ConnectForm(write_json, with_timestamps, changed=False, with_raw=True)
Converter = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    require()
    with json_converter() as again:
        yield again


def present(value: Any) -> Any:
    """Without the nulls that the converter writes for what is absent."""
    if isinstance(value, dict):
        return {name: present(inner) for name, inner in value.items() if inner is not None}
    return [present(item) for item in value] if isinstance(value, list) else value


def _check(line: bytes, converter: Converter) -> None:
    value = FORM.write(FORM.shape(line))
    again = converter(value)
    ours, theirs = json.loads(value), json.loads(again)
    schema = json.dumps(ours["schema"], separators=(",", ":"))

    assert ours["payload"] == present(theirs["payload"])
    assert {"schema", "payload"} == theirs.keys()
    assert schema.encode() in value
    assert again.startswith(b'{"schema":%b,"payload":{"id":' % schema.encode())


@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind_comes_back(converter: Converter, kind: str) -> None:
    """Field by field, and the schema byte for byte."""
    _check(recorded()[kind], converter)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(decoded=lines)
def test_any_line_comes_back(converter: Converter, decoded: Any) -> None:
    """Of X's types, with any subset of its members; 64-bit numbers, times and any text are exact."""
    _check(as_line(decoded), converter)


def test_what_does_not_fit_would_be_refused(converter: Converter) -> None:
    """So the test above would fail for a value that the converter does not understand."""
    broken = json.loads(FORM.write(FORM.shape(recorded()["retweet_full"])))
    del broken["payload"]["created_at"]

    with pytest.raises(AssertionError, match="Invalid null value for required INT64 field"):
        converter(json.dumps(broken).encode())


def test_connects_names_by_rest(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, converter: Converter
) -> None:
    """A configuration for Connect is taken as it is, with a transform that leaves a post by its schema."""
    simulator = simulate()
    options = {
        "value.converter": JSON_CONVERTER,
        "value.converter.schemas.enable": "true",
        "transforms": "lang",
        "transforms.lang.type": "org.apache.kafka.connect.transforms.ReplaceField$Value",
        "transforms.lang.exclude": "lang",
    }
    worker, config = by_rest(broker, workers, simulator.url, fresh, options)
    assert "true" == config["value.converter.schemas.enable"]
    texts = {simulator.emit_post(text): text for text in ("a starling #murmuration", "a stream #kafka")}
    wait_for(lambda: worker.delivered("birds") == 2, "two posts")
    assert 0 == worker.stop()

    read = [json.loads(converter(record.value))["payload"] for record in topics.read(broker, fresh)]
    assert texts == {post["id"]: post["text"] for post in read}
    assert {None} == {post["lang"] for post in read}
