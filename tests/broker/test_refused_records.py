"""Records that Kafka refuses: they are found and are bad records, and the others go on."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import ConsumerRecord

from connector.coverage.ledger import decode_ids
from connector.errors import RecordsRefused
from connector.kafka.delivery import sieve, small_batches
from connector.records.record import Altered, Batch, Destination, OffsetWrite, Records, Share, SourceRecord
from connector.records.snowflake import created_ms, first_id
from connector.task.status import State
from connector.telemetry.events.task import RecordDropped, TaskFailed
from tests import topics
from tests.broker.conftest import MakeSink
from tests.brokers import Broker
from tests.topics import ids
from tests.unit.fakes import Gate, Running, ScriptedSource, until

pytestmark = pytest.mark.broker

HOUR_MS = 3_600_000
LARGEST_ID = 2**63 - 1
KEY = b'["posts",{"stream":"filtered"}]'


@pytest.fixture
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "sender":
        monkeypatch.setattr(small_batches, "MAX_BYTES", 0)
    return request.param


def id_at(after_ms: int, number: int = 0) -> int:
    """The id of a post made so long after now."""
    return first_id(int(time.time() * 1000) + after_ms) + number


def line(post_id: int, size: int = 20) -> bytes:
    return b'{"data":{"id":"%d","text":"%s"}}' % (post_id, b"x" * size)


def records(*post_ids: int) -> Records:
    return Records.of(SourceRecord(b"%d" % each, line(each), created_ms(each)) for each in post_ids)


async def alter(broker: Broker, topic: str, **settings: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        spelled = {key.replace("_", "."): value for key, value in settings.items()}
        (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, spelled)])
        assert 0 == answer.resources[0][0]
    finally:
        await admin.close()


async def read(broker: Broker, topic: str) -> list[ConsumerRecord]:
    return [record async for record in topics.records_of(broker, topic)]


async def ledger_ids(broker: Broker, group: str) -> list[int]:
    return sorted(each for record in await read(broker, f"{group}-ledger") for each in decode_ids(record.value))


async def last_offset(broker: Broker, group: str) -> dict[str, Any]:
    return orjson.loads([record.value for record in await read(broker, f"{group}-offsets") if record.key == KEY][-1])


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("exactly_once", [True, False])
async def test_the_records_are_found(
    broker: Broker,
    make_sink: MakeSink,
    monkeypatch: pytest.MonkeyPatch,
    fresh: str,
    exactly_once: bool,  # noqa: FBT001
    names: bool,  # noqa: FBT001
) -> None:
    """By Kafka's answer where it names them, and by halves where it does not: the same ones."""
    if not names:
        monkeypatch.setattr(sieve._Produce, "_CLASSES", sieve._Produce._CLASSES[:-1])
    good = [id_at(-5000, number) for number in range(300)]
    bad = [id_at(2 * HOUR_MS), LARGEST_ID]
    sink = make_sink(exactly_once=exactly_once)
    share = Share(
        to=sink.destinations[0],
        records=records(*good[:100], bad[0], *good[100:], bad[1]),
        offsets=(OffsetWrite(key=KEY, value=b"{}"),),
    )
    batch = Batch((share,))
    await sink.open()
    with pytest.raises(RecordsRefused, match=r"InvalidTimestamp; check message\.timestamp\.before"):
        await sink.deliver(batch, await sink.encode(batch))
    await sink.close()
    await sink.open()
    found = await sink.sift(batch, RecordsRefused("", places=[(fresh, number) for number in range(3)]))

    assert [(0, 100), (0, 301)] == sorted(found.refused)
    assert f"Kafka refuses the post {bad[0]} for the topic" in found.refused[0, 100]
    assert f"Kafka refuses the post {bad[1]} for the topic" in found.refused[0, 301]
    assert all(("of message with offset" in reason) == names for reason in found.refused.values())
    assert found.taken is not exactly_once


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_the_records_of_several_topics_are_found(
    broker: Broker,
    make_sink: MakeSink,
    fresh: str,
    exactly_once: bool,  # noqa: FBT001
) -> None:
    """Each connector's own ones, also where a transform has sent them to a topic of its choice."""
    await topics.create(broker, f"{fresh}-other", partitions=2)
    good, bad = [id_at(-5000, number) for number in range(40)], id_at(2 * HOUR_MS)
    sink = make_sink(exactly_once=exactly_once)
    to = sink.destinations[0]
    other = Destination(connector="birds", topic=f"{fresh}-other")
    sink.serve([to, other])
    elsewhere = SourceRecord(b"key", line(bad), created_ms(bad), None, Altered(bad, f"{fresh}-other"))
    first = Share(to=to, records=Records.of([*records(*good), elsewhere]))
    batch = Batch((first, Share(to=other, records=records(*good[:5], bad))))
    await sink.open()
    with pytest.raises(RecordsRefused, match=f"{fresh}-other") as refused:
        await sink.deliver(batch, await sink.encode(batch))
    await sink.close()
    await sink.open()
    found = await sink.sift(batch, refused.value)

    assert [(0, 40), (1, 5)] == sorted(found.refused)
    assert all(f"refuses the post {bad} for the topic {fresh}-other" in reason for reason in found.refused.values())
    assert {40: found.refused[0, 40]} == found.refused_of(0)


@pytest.mark.parametrize("way", ["small batches", "sender"], indirect=True)
@pytest.mark.parametrize("exactly_once", [True, False])
async def test_a_refused_post_becomes_a_dead_letter(
    broker: Broker,
    make_sink: MakeSink,
    fresh: str,
    way: str,
    exactly_once: bool,  # noqa: FBT001
) -> None:
    """With tolerance: it is in the dead letter topic with Kafka's words, the others are in the topic, each once."""
    good = [id_at(-5000, number) for number in range(40)]
    bad = [id_at(2 * HOUR_MS), LARGEST_ID]
    source = ScriptedSource([(*map(line, good[:10]),), (*map(line, [*good[10:30], *bad]),), (*map(line, good[30:]),)])
    tolerant = {"tolerate_bad_records": True}
    interval = 0.0 if exactly_once else 0.1
    async with Running([source], make_sink(exactly_once=exactly_once), offset_interval_secs=interval, **tolerant) as it:
        await until(lambda: it.task.status.state is State.FAILED or source.idle.is_set(), 60)
        await until(lambda: it.task._in_flight.posts == 0 and len(it.said(RecordDropped)) == 2, 60)

    assert [] == it.said(TaskFailed)
    found = ids(await read(broker, fresh))
    assert set(map(str, good)) == set(found)
    if exactly_once:
        assert len(good) == len(found)
    letters = await read(broker, f"{fresh}-letters")
    assert {line(each) for each in bad} == {letter.value for letter in letters}
    headers = dict(letters[0].headers)
    assert b"BadRecord" == headers["error.class"]
    assert b"InvalidTimestamp: Timestamp" in headers["error.message"]
    assert b"message.timestamp.after.max.ms" in headers["error.message"]
    offset = await last_offset(broker, fresh)
    assert (40, 2) == (offset["posts"], offset["dead_letters"])
    assert sorted(good) == await ledger_ids(broker, fresh)
    assert {("BadRecord", f"{fresh}-letters")} == {(e.error, e.dead_letter_topic) for e in it.said(RecordDropped)}


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_a_refused_post_ends_an_intolerant_task(
    broker: Broker,
    make_sink: MakeSink,
    fresh: str,
    exactly_once: bool,  # noqa: FBT001
) -> None:
    """Without: what came before is delivered, the offset covers nothing behind it, and the reason names it."""
    good = [id_at(-5000, number) for number in range(40)]
    bad = id_at(2 * HOUR_MS)
    source = ScriptedSource([(*map(line, [*good[:25], bad, *good[25:]]),)])
    async with Running([source], make_sink(exactly_once=exactly_once)) as it, asyncio.timeout(60):
        await it.task.ended.wait()

    (failed,) = it.said(TaskFailed)
    assert "ToleranceExceeded" == failed.error
    assert failed.reason.startswith(f"Kafka refuses the post {bad} for the topic {fresh}: InvalidTimestamp: Timestamp")
    assert "message.timestamp.after.max.ms" in failed.reason
    assert "errors.tolerance=all" in failed.reason
    found = sorted(map(int, ids(await read(broker, fresh))))
    assert good[:25] == [each for each in found if each in good[:25]]
    if exactly_once:
        assert good[:25] == found
    assert found == await ledger_ids(broker, fresh)
    offset = await last_offset(broker, fresh)
    assert len(found) == offset["posts"]
    assert State.FAILED is it.task.status.state


async def test_a_topic_that_takes_nothing_is_at_fault_itself(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """Where every post is refused the topic is: FAILED with the setting, and nothing is dead-lettered without end."""
    await alter(broker, fresh, message_timestamp_before_max_ms="1000")
    old = [(line(id_at(-HOUR_MS, number)),) for number in range(100)]
    source = ScriptedSource(old)
    tolerant = {"tolerate_bad_records": True}
    async with Running([source], make_sink(), **tolerant) as it, asyncio.timeout(60):
        await it.task.ended.wait()

    (failed,) = it.said(TaskFailed)
    assert "BrokerUnsuitable" == failed.error
    assert failed.reason.startswith("The topic took none of the last")
    assert "message.timestamp.before.max.ms" in failed.reason
    assert len(await read(broker, f"{fresh}-letters")) < 20


async def test_a_limit_that_is_lowered_while_running(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """Batches are cut to what the topic takes by now, and the post that alone is too large is a dead letter."""
    good = [id_at(-5000, number) for number in range(60)]
    large = id_at(-4000)
    sink = make_sink()
    tolerant = {"tolerate_bad_records": True}
    gate = Gate()
    first = ScriptedSource([(line(good[0]),), gate, (*(line(each, 500) for each in good[1:]), line(large, 5000))])
    async with Running([first], sink, **tolerant) as it:
        await until(lambda: it.task._in_flight.commits > 0, 30)
        await alter(broker, fresh, max_message_bytes="3000")
        gate.set()
        await until(lambda: (it.said(RecordDropped) and it.task._in_flight.posts == 0) or it.said(TaskFailed), 60)

    assert [] == it.said(TaskFailed)
    assert sorted(map(str, good)) == sorted(ids(await read(broker, fresh)))
    (letter,) = await read(broker, f"{fresh}-letters")
    assert line(large, 5000) == letter.value
    assert b"MessageTooLarge" in dict(letter.headers)["error.message"]
