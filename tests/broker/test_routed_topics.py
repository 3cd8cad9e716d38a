"""Records that transforms have changed: in topics that are created at their first use; without key or value."""

from dataclasses import replace

import pytest

from connector.errors import BrokerUnsuitable
from connector.kafka.delivery.sink import TopicSink
from connector.kafka.state.offsets import encode_key
from connector.records.record import Altered, Batch, NewTopics, OffsetWrite, Records, Share, SourceRecord
from tests import topics
from tests.broker.conftest import MakeSink
from tests.brokers import Broker

pytestmark = pytest.mark.broker

FIRST_ID = 2_125_255_005_154_549_760
KEY = encode_key("posts", {"stream": "filtered"})
NEW = NewTopics(partitions=2, replication=-1, settings=(("cleanup.policy", "delete"), ("retention.ms", "-1")))


def serving(sink: TopicSink, new_topics: NewTopics) -> TopicSink:
    sink.serve([replace(sink.destinations[0], new_topics=new_topics)])
    return sink


def share(sink: TopicSink, *records: SourceRecord, offset: bytes = b"{}") -> Share:
    offsets = (OffsetWrite(key=KEY, value=offset),)
    return Share(to=sink.destinations[0], records=Records.of(records), offsets=offsets)


def record(number: int, topic: str | None, value: bytes = b"{}", **altered: object) -> SourceRecord:
    post_id = FIRST_ID + number
    made_ms = topics.created_ms(str(post_id))
    return SourceRecord(b"%d" % post_id, value, made_ms, None, Altered(post_id, topic, **altered))


async def deliver(sink: TopicSink, what: Share) -> None:
    batch = Batch((what,))
    await sink.deliver(batch, await sink.encode(batch))


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_created_at_first_use(broker: Broker, make_sink: MakeSink, fresh: str, *, exactly_once: bool) -> None:
    """One transaction for records in three topics; those that are absent are created as configured."""
    sink = serving(make_sink(exactly_once=exactly_once), NEW)
    await sink.open()
    await deliver(sink, share(sink, record(1, None), record(2, f"{fresh}.a"), record(3, f"{fresh}.b")))
    await deliver(sink, share(sink, record(4, f"{fresh}.a"), offset=b"{}"))

    found = {
        topic: sorted([int(each.key) - FIRST_ID async for each in topics.records_of(broker, topic)])
        for topic in (fresh, f"{fresh}.a", f"{fresh}.b")
    }
    assert {fresh: [1], f"{fresh}.a": [2, 4], f"{fresh}.b": [3]} == found


async def test_not_allowed(make_sink: MakeSink, fresh: str) -> None:
    """Where no topic may be created, the error names the topic and the command that creates it."""
    sink = serving(make_sink(), replace(NEW, allowed=False))
    await sink.open()
    with pytest.raises(BrokerUnsuitable, match=rf"The topic {fresh}\.a is not there.*kafka-topics.sh --create"):
        await deliver(sink, share(sink, record(1, f"{fresh}.a")))


async def test_no_key_and_no_value(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """Kafka's null, not an empty text; headers of transforms are there."""
    sink = serving(make_sink(), NEW)
    await sink.open()
    without = record(1, None, keyless=True, tombstone=True, headers=(("lang", b"de"),))
    await deliver(sink, share(sink, without._replace(key=b"", value=b"")))

    ((key, value, headers),) = [
        (each.key, each.value, list(each.headers)) async for each in topics.records_of(broker, fresh)
    ]
    assert (None, None, [("lang", b"de")]) == (key, value, headers)
