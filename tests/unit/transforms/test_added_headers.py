"""Headers on request: a record is a CloudEvent, names its rules, and carries the parent of a trace."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from connector.config.chain import Chosen, Kind
from connector.records.snowflake import first_id
from connector.transforms.chain import Chain
from connector.transforms.headers import AddedHeaders, CloudEvents
from connector.transforms.transformer import Transformer
from tests.unit import hostile

SOURCE = "https://api.x.com/2/tweets/search/stream"
EVENTS = CloudEvents(source=SOURCE, content_type="application/json")
POST = first_id(1_793_536_496_789)  # 2026-11-01T12:34:56.789Z
RULES = [{"id": "1", "tag": "posts/b, c"}, {"id": "2", "tag": "other/x"}, {"id": "3", "tag": "posts/a"}]
LINE = json.dumps({"data": {"id": str(POST), "text": "hello"}, "matching_rules": RULES}).encode()


def doing(change):
    """A transform that does *change* to each record."""

    class Own:
        def apply(self, record):
            change(record)
            return record

    return Chosen(alias="own", kind=Kind(name="own", doc="", options={}, model=dict, make=lambda _: Own()), options={})


def record_of(*chosen, line=LINE, source=None, **added):
    labels = ("a", "b, c")
    headers = AddedHeaders(**added)
    each = Transformer(Chain(chosen), connector="posts", topic="posts", labels=labels, reserved=(), added=headers)
    return each.record_of(POST, line, 1_793_536_496_789, source, 1_000_000)


def test_an_event():
    """CloudEvents' own SDK reads the record as an event; its value is X's line, untouched."""
    record = record_of(cloud_events=EVENTS)
    event = from_kafka_event(KafkaMessage(headers=dict(record.altered.headers), key=record.key, value=record.value))

    assert record.value is LINE
    assert ("1.0", str(POST), SOURCE) == (event.get_specversion(), event.get_id(), event.get_source())
    assert ("murmuration.post", "application/json") == (event.get_type(), event.get_datacontenttype())
    assert datetime(2026, 11, 1, 12, 34, 56, 789_000, tzinfo=UTC) == event.get_time()
    assert "hello" == event.get_data()["data"]["text"]


def test_an_event_without_data():
    """A tombstone has no type of content."""
    names = [
        name
        for name, _ in record_of(
            doing(lambda record: setattr(record, "value", None)), cloud_events=EVENTS
        ).altered.headers
    ]

    assert ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"] == names


def test_rules():
    """The labels of this connector's rules, in the order of its configuration; a comma in one separates nothing."""
    assert (("rules", b'["a", "b, c"]'),) == record_of(rules=True).altered.headers


@pytest.mark.parametrize("rules", ["null", "5", '{"a":1}', "[]", '[{"tag":5},[],{"id":"1"}]'])
def test_no_rules(rules):
    """An empty list, whatever X sends in their place."""
    line = b'{"data":{"id":"7"},"matching_rules":%b}' % rules.encode()

    assert (("rules", b"[]"),) == record_of(line=line, rules=True).altered.headers


def test_rules_of_what_parsers_refuse():
    """A header never costs a post: half of a surrogate pair, any depth, any number beside the rules."""
    for line in hostile.POSTS:
        assert (("rules", b"[]"),) == record_of(line=line, rules=True).altered.headers
    for levels in hostile.DEPTHS:
        line = b'{"x":%b1%b,"data":{"id":"7"},"matching_rules":[{"id":"1","tag":"posts/\\ud83d"}]}' % (
            b"[" * levels,
            b"]" * levels,
        )

        assert (("rules", '["\ufffd"]'.encode()),) == record_of(line=line, rules=True).altered.headers


def test_the_parent_of_a_trace():
    """As the worker's tracer says; a worker without one adds no header."""
    asked = []
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record = record_of(trace=lambda post_id: asked.append(post_id) or parent)

    assert (("traceparent", parent.encode()),) == record.altered.headers
    assert [POST] == asked
    assert () == record_of(trace=lambda _: None).altered.headers


def test_after_the_transforms_and_the_repair():
    """The header of a repair stays first, then those of transforms; ours are last."""
    record = record_of(
        doing(lambda record: setattr(record, "headers", (*record.headers, ("lang", b"de")))),
        source=b"search",
        rules=True,
    )

    assert b"search" == record.source
    assert ["lang", "rules"] == [name for name, _ in record.altered.headers]


def test_nothing_to_add():
    """Is false, so that no record is made otherwise."""
    assert not AddedHeaders()
    assert AddedHeaders(rules=True)
