"""`value.shape=post` and `connect`, and headers, in whole workers: each post once over a kill, as X's line says."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from connector.records.post import payload_of
from connector.simulator import SimulatorThread
from tests import ROOT, topics
from tests.brokers import Broker
from tests.e2e.test_traced_worker import Collector, attributes, collector, traced_to
from tests.unit.formats.oracle import conforms, expected
from tests.workers import Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

__all__ = ["collector"]  # a fixture

EXPANSIONS = "author_id,referenced_tweets.id,referenced_tweets.id.author_id,attachments.media_keys"


@pytest.mark.parametrize(
    ("shape", "headers"), [("post", False), ("post", True), ("connect", False)], ids=["alone", "headers", "connect"]
)
def test_each_post_once_over_a_kill(
    broker: Broker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    shape: str,
    headers: bool,  # noqa: FBT001  # pytest gives it
) -> None:
    """Killed while posts flow, and taken over: what lies in the topic is what the lines say, each once."""
    simulator = simulate(plan="enterprise", keepalive_s=1, rate=150)
    settings = environment(
        broker,
        simulator.url,
        fresh,
        plan="enterprise",
        hashtags="murmuration,kafka",
        value_shape=shape,
        value_raw="true",
        headers_cloudevents=headers,
        headers_rules=headers,
        expansions=EXPANSIONS,
        user_fields="username,name,created_at,public_metrics,verified",
        media_fields="url,type,width,height,variants,preview_image_url",
    )
    worker = workers.start(settings).wait_ready()
    worker.wait_delivered(300)
    worker.kill()
    second = workers.start(settings).wait_ready()
    second.wait_event("gap.repaired")
    simulator.rate = 0
    known = simulator.emissions.complete_ids
    wait_for(lambda: set(known()) <= set(topics.ids(topics.read(broker, fresh))), "the last posts")
    assert 0 == second.stop()

    records = topics.read(broker, fresh)
    values = [orjson.loads(payload_of(record.value)) for record in records]
    assert (shape == "connect") == records[0].value.startswith(b'{"schema":{"type":"struct"')
    assert len(set(topics.ids(records))) == len(records) > 300
    assert topics.ids(records) == [value["id"] for value in values]
    assert all(conforms(value) for value in values)
    assert [expected(orjson.loads(value.pop("raw"))) for value in values] == values
    assert {"author", "created_at", "matching_rules", "lang"} <= values[0].keys()
    assert any("username" in value["author"] for value in values)
    assert {dict(record.headers).get("source") for record in records} <= {None, b"backfill"}
    if headers:
        for record, value in zip(records, values, strict=True):
            _is_event(record, value, f"{simulator.url}/2/tweets/search/stream")
    else:
        assert {"source"} >= {name for record in records for name, _ in record.headers}


def _is_event(record: ConsumerRecord, value: dict[str, Any], source: str) -> None:
    headers = dict(record.headers)
    event = from_kafka_event(KafkaMessage(headers=headers, key=record.key, value=record.value))
    tags = [rule["tag"] for rule in value["matching_rules"]]
    assert (value["id"], source) == (event.get_id(), event.get_source())
    assert b"application/json" == headers["content-type"]
    assert record.timestamp == round(event.get_time().timestamp() * 1000)
    assert sorted(orjson.loads(headers["rules"])) == sorted(tag.removeprefix("posts/") for tag in tags)


@pytest.mark.parametrize("value_shape", ["post", "connect"])
def test_bad_lines_and_the_other_commands(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, value_shape: str
) -> None:
    """A line that is no post is kept aside as X sent it; `tail --rule` and `print` show posts of the shape."""
    simulator = simulate()
    shape = {
        "value_shape": value_shape,
        "errors_tolerance": "all",
        "dead_letter_topic": f"{fresh}-dead",
        "print": "true",
    }
    settings = environment(broker, simulator.url, fresh, hashtags="murmuration,kafka", **shape)
    worker = workers.start(settings).wait_ready()
    simulator.emit_post("a starling #murmuration")
    simulator.emit_post("a broker #kafka")
    worker.wait_delivered(2)
    simulator.fault("bad_line")
    wait_for(lambda: topics.size(broker, f"{fresh}-dead"), "a dead letter")
    wait_for(lambda: worker.out.count("\n") == 2, "printed posts")
    tailed = subprocess.run(  # ours
        [sys.executable, "-m", "faust", "-A", "connector", "tail", "--rule", "kafka"],
        env={"PATH": "/usr/bin:/bin", **settings},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert 0 == worker.stop()

    (letter,) = topics.read(broker, f"{fresh}-dead")
    assert b"BadRecord" == dict(letter.headers)["error.class"]
    assert "a starling #murmuration" in worker.out
    assert "a broker #kafka" in worker.out
    (line,) = tailed.stdout.splitlines()
    assert "[kafka]" in line
    assert line.endswith("a broker #kafka")


def test_records_name_their_spans(
    collector: Collector,  # the fixture
    broker: Broker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """Each `traceparent` is that of a span that comes to the collector, for the very post; X's line stays as it is."""
    simulator = simulate()
    settings = environment(broker, simulator.url, fresh, headers_traceparent="true")
    worker = workers.start(settings | traced_to(collector.url)).wait_ready()
    sent = simulator.emit(20)
    worker.wait_delivered(20)
    assert 0 == worker.stop()

    spans = {str(attributes(span)["murmuration.post"]): span for span in collector.spans("post")}
    records = topics.read(broker, fresh)
    assert sorted(sent) == sorted(spans) == sorted(topics.ids(records))
    for record in records:
        version, trace_id, span_id, flags = dict(record.headers)["traceparent"].decode().split("-")
        span = spans[record.key.decode()]
        assert ("00", 1) == (version, int(flags, 16) & 1)
        assert (span.trace_id.hex(), span.span_id.hex()) == (trace_id, span_id)
        assert record.key.decode() == orjson.loads(record.value)["data"]["id"]
    assert len(spans) == len({span.trace_id for span in spans.values()})
