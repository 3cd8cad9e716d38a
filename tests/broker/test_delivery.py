"""The sink of one task: what readers see of a transaction, who may write, what the committed offset says."""

import asyncio
import random
from dataclasses import replace

import pytest

from connector.coverage.ledger import encode_ids
from connector.errors import DeliveryFailed, Fenced
from connector.kafka.delivery import producer, small_batches
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.internals import FALL_BACKS, Use
from connector.kafka.state.offsets import encode_key
from connector.kafka.topics import LARGE_RECORD_BYTES
from connector.records.record import (
    Altered,
    Batch,
    DeadLetter,
    Destination,
    LedgerWrite,
    OffsetWrite,
    Records,
    Share,
    SourceRecord,
    TaskId,
)
from tests import topics
from tests.broker.conftest import SLOT, MakeSink
from tests.brokers import Broker
from tests.topics import created_ms
from tests.unit.fakes import TO, whole

pytestmark = pytest.mark.broker

FIRST_ID = 2_125_255_005_154_549_760
PARTITION = {"stream": "filtered"}
KEY = encode_key("posts", PARTITION)


def batch(first: int, count: int, offset: bytes, letters: tuple[DeadLetter, ...] = ()) -> Share:
    numbers = range(FIRST_ID + first, FIRST_ID + first + count)
    records = Records.of(
        SourceRecord(b"%d" % n, b'{"data":{"id":"%d","text":"a post"}}' % n, created_ms(str(n))) for n in numbers
    )
    return Share(to=TO, records=records, dead_letters=letters, offsets=(OffsetWrite(key=KEY, value=offset),))


async def deliver(sink: TopicSink, what: Share) -> None:
    batch = whole(what, sink)
    await sink.deliver(batch, await sink.encode(batch))


async def keys(broker: Broker, topic: str) -> list[int]:
    return sorted([int(record.key) - FIRST_ID async for record in topics.records_of(broker, topic)])


def read_by_confluent(
    broker: Broker, topic: str, count: int
) -> list[tuple[bytes, bytes, int, list[tuple[str, bytes]]]]:
    """Return *count* committed records of *topic*, as librdkafka reads them, which checks their CRCs."""
    confluent = pytest.importorskip("confluent_kafka", reason="a second reader comes with the group `bench`")
    settings = {"bootstrap.servers": broker.address, "group.id": f"{topic}-reader", "auto.offset.reset": "earliest"}
    consumer = confluent.Consumer({**settings, "isolation.level": "read_committed", "check.crcs": True})
    try:
        consumer.assign([confluent.TopicPartition(topic, number, 0) for number in range(3)])
        found: list[tuple[bytes, bytes, int, list[tuple[str, bytes]]]] = []
        while len(found) < count:
            messages = consumer.consume(count, timeout=10)
            assert messages
            assert not any(each.error() for each in messages)
            found += [(each.key(), each.value(), each.timestamp()[1], each.headers() or []) for each in messages]
        return found
    finally:
        consumer.close()


@pytest.mark.parametrize("exactly_once", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
async def test_two_readers_agree(
    broker: Broker,
    make_sink: MakeSink,
    fresh: str,
    compression: str | None,
    exactly_once: bool,  # noqa: FBT001
) -> None:
    """Batches of all kinds of posts, several to a partition, are what aiokafka's and librdkafka's consumers read."""
    if compression == "zstd":
        pytest.importorskip("cramjam", reason="zstd needs the extra")
    sink = make_sink(exactly_once=exactly_once)
    sink._app.conf.producer_compression_type = compression
    await sink.open()
    rng = random.Random(fresh)
    records = [
        SourceRecord(
            b"%d" % (FIRST_ID + number),
            rng.choice([b"x" * 9_000, rng.randbytes(rng.choice([1, 60, 2_600, 20_000]))]),
            created_ms(str(FIRST_ID)) + rng.choice([0, -1, number, 100_000 * (number % 3)]),
            rng.choice([None, None, None, b"search"]),
        )
        for number in range(2_000)
    ]
    write = OffsetWrite(key=KEY, value=b"1")
    for part in (records[:1_990], records[1_990:]):
        await deliver(sink, Share(to=TO, records=Records.of(part), offsets=(write,)))
    expected = [
        (key, value, ms, [] if source is None else [("source", source)])
        for key, value, ms, source, _ in sorted(records)
    ]
    read = [record async for record in topics.records_of(broker, fresh)]
    by_partition: dict[int, list[bytes]] = {}
    for record in read:
        by_partition.setdefault(record.partition, []).append(record.key)

    assert expected == sorted((each.key, each.value, each.timestamp, list(each.headers)) for each in read)
    assert expected == sorted(await asyncio.to_thread(read_by_confluent, broker, fresh, len(records)))
    assert {0, 1, 2} == by_partition.keys()
    assert all(keys == sorted(keys) for keys in by_partition.values())


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_delivered(broker: Broker, make_sink: MakeSink, fresh: str, exactly_once: bool) -> None:  # noqa: FBT001
    """Posts, dead letters and offset are there, byte for byte, once `deliver` returns."""
    sink = make_sink(exactly_once=exactly_once)
    opened = await sink.open()
    letter = DeadLetter(b"<html>", (("error.class", b"BadRecord"),))
    await deliver(sink, batch(0, 300, b'{"posts":300}', (letter,)))
    records = [record async for record in topics.records_of(broker, fresh)]
    (aside,) = [record async for record in topics.records_of(broker, f"{fresh}-letters")]
    (offset,) = [record async for record in topics.records_of(broker, f"{fresh}-offsets")]

    assert {} == opened.latest
    assert set(range(300)) == {int(record.key) - FIRST_ID for record in records}
    assert 300 == len(records)
    assert all(record.value == b'{"data":{"id":"%s","text":"a post"}}' % record.key for record in records)
    assert all(record.timestamp == created_ms(record.key.decode()) for record in records)
    assert (b"<html>", (("error.class", b"BadRecord"),)) == (aside.value, tuple(aside.headers))
    assert (SLOT, KEY, b'{"posts":300}') == (offset.partition, offset.key, offset.value)


@pytest.mark.parametrize("exactly_once", [True, False])
@pytest.mark.parametrize("off", [(Use.SMALL_BATCHES,), (Use.PIPELINING,), tuple(FALL_BACKS)])
async def test_delivered_without_fast_paths(
    broker: Broker,
    make_sink: MakeSink,
    fresh: str,
    monkeypatch: pytest.MonkeyPatch,
    off: tuple[Use, ...],
    exactly_once: bool,  # noqa: FBT001
) -> None:
    """With one of them turned off, or both, small and large batches are in the topic once, and so is the offset."""
    monkeypatch.setattr(producer, "missing", lambda use: ("aiokafka", "_gone") if use in off else ())
    sink = make_sink(exactly_once=exactly_once)
    await sink.open()
    for first, count in ((0, 3), (3, 3), (6, 20_000), (20_006, 3)):
        await deliver(sink, batch(first, count, b'{"posts":%d}' % (first + count)))

    assert (Use.SMALL_BATCHES in off) == (sink._client.small_batches is None)
    assert list(range(20_009)) == await keys(broker, fresh)
    assert b'{"posts":20009}' == [record.value async for record in topics.records_of(broker, f"{fresh}-offsets")][-1]


async def test_committed_offset_is_read(make_sink: MakeSink) -> None:
    """The next owner finds the last offset, and every one on the way to it."""
    first, second = make_sink(), make_sink()
    await first.open()
    await deliver(first, batch(0, 1, b"1"))
    await deliver(first, batch(1, 1, b"2"))
    await first.close()
    committed = await second.open()

    assert {KEY: b"2"} == committed.latest
    assert {(KEY, b"1"), (KEY, b"2")} == committed.seen


async def test_previous_owner_is_fenced(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """Opening a sink shuts out the one before, and nothing that it writes afterwards is seen."""
    old, new = make_sink(), make_sink()
    await old.open()
    await deliver(old, batch(0, 10, b"10"))
    committed = await new.open()

    with pytest.raises(Fenced):
        await deliver(old, batch(10, 10, b"20"))

    await deliver(new, batch(100, 10, b"20"))
    assert {KEY: b"10"} == committed.latest
    assert [*range(10), *range(100, 110)] == await keys(broker, fresh)


async def test_open_transaction_is_aborted(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """What a dead owner had written and not committed is in no reader's way, and the offset is the one before."""
    old, new = make_sink(), make_sink()
    await old.open()
    await deliver(old, batch(0, 10, b"10"))
    unfinished = batch(10, 10, b"20")
    client = old._client.client
    await client.begin_transaction()
    for each in await old.encode(whole(unfinished, old)):
        await (await client.send_batch(each.batch, fresh, partition=each.partition))
    await (await client.send(f"{fresh}-offsets", b"20", key=KEY, partition=SLOT))
    committed = await new.open()
    await deliver(new, batch(10, 10, b"20"))

    assert {KEY: b"10"} == committed.latest
    assert list(range(20)) == await keys(broker, fresh)


async def test_offset_is_read_after_fencing(make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old owner committed at the last moment before it was fenced is in the offset that the new one reads."""
    old, new = make_sink(), make_sink()
    await old.open()
    fence = TaskProducer.start

    async def fence_late(producer: TaskProducer) -> None:
        await deliver(old, batch(0, 10, b"10"))
        await fence(producer)

    monkeypatch.setattr(TaskProducer, "start", fence_late)
    committed = await new.open()

    assert {KEY: b"10"} == committed.latest


async def test_other_slots_do_not_hide_the_offset(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """An open transaction of another task does not hold back what a new owner reads."""
    busy, owner, heir = make_sink(), make_sink(), make_sink()
    busy._settings = DeliverySettings(
        task=TaskId("posts", 0),
        transactional_id=f"{fresh}-posts-1",
        idempotent=True,
        transaction_timeout_secs=60,
        trust_end_offsets=True,
    )
    await busy.open()
    await owner.open()
    client = busy._client.client
    await client.begin_transaction()
    await (await client.send(f"{fresh}-offsets", b"1", key=KEY, partition=SLOT + 1))
    await deliver(owner, batch(0, 10, b"10"))
    committed = await heir.open()

    assert {KEY: b"10"} == committed.latest


async def test_too_large_for_the_topic(broker: Broker, make_sink: MakeSink) -> None:
    """The largest record that the topic takes is known, and one of that size goes through."""
    sink = make_sink()
    await sink.open()
    size = sink.limits_of(sink.destinations[0]).record_bytes
    value = b'{"data":{"id":"%d","text":"%s"}}' % (FIRST_ID, b"x" * size)
    value = value[: size - len(str(FIRST_ID))]
    record = SourceRecord(b"%d" % FIRST_ID, value, created_ms(str(FIRST_ID)))
    await deliver(sink, Share(to=TO, records=Records.of([record]), offsets=(OffsetWrite(key=KEY, value=b"1"),)))
    larger = SourceRecord(record.key, value + b"x" * 1024, record.timestamp_ms)

    with pytest.raises(DeliveryFailed):
        await deliver(
            sink,
            Share(to=TO, records=Records.of([larger]), offsets=(OffsetWrite(key=KEY, value=b"2"),)),
        )


async def test_kept_beside_the_offset(make_sink: MakeSink) -> None:
    """Closed gaps and rules have keys of their own beside the offset's, and the rules of a large account go through."""
    old, new = make_sink(), make_sink()
    await old.open()
    rules = b'{"abc":[%s["1","%s",""]]}' % (b'["1","a rule",""],' * 100_000, b"x" * 300_000)
    kept = {
        KEY: b'{"posts":1}',
        old.offset_key("posts", PARTITION, "repaired"): b'[{"state":"repaired"}]',
        old.offset_key("posts", PARTITION, "rules"): rules,
    }
    writes = tuple(OffsetWrite(key=key, value=value) for key, value in kept.items())
    await deliver(old, Share(to=TO, offsets=writes))
    committed = await new.open()
    await deliver(new, batch(0, 1, b"2"))

    assert 2_000_000 < len(rules)
    assert kept == committed.latest
    assert set(kept.items()) == committed.seen
    assert [b'["posts",{"stream":"filtered"},"repaired"]', b'["posts",{"stream":"filtered"},"rules"]'] == list(kept)[1:]


async def test_largest_record_of_the_offsets_topic(make_sink: MakeSink) -> None:
    """The topic takes records up to its limit, which no smaller segment undercuts."""
    sink = make_sink()
    await sink.open()
    value = b"x" * (LARGE_RECORD_BYTES - 256)
    write = OffsetWrite(key=sink.offset_key("posts", PARTITION, "rules"), value=value)
    await deliver(sink, Share(to=TO, offsets=(write,)))
    committed = await make_sink().open()

    assert {write.key: value} == committed.latest


@pytest.mark.parametrize("way", ["small batches", "sender"])
async def test_connectors_that_share_transactions(
    broker: Broker, make_sink: MakeSink, fresh: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Each post is in the topic of each connector, altered ones in a topic of their own, or nothing is anywhere."""
    if way == "sender":
        monkeypatch.setattr(small_batches, "MAX_BYTES", 0)
    for end in ("birds", "routed"):
        await topics.create(broker, f"{fresh}-{end}", partitions=2)
    owner, heir = make_sink(), make_sink()
    birds = Destination(connector="birds", topic=f"{fresh}-birds")
    owner.serve([owner.destinations[0], birds])
    mine = batch(0, 10, b"mine")
    routed = Altered(FIRST_ID, f"{fresh}-routed", (("rule", b"owls"),))
    its = Share(
        to=birds,
        records=Records.of([*mine.records, SourceRecord(b"key", b"{}", created_ms(str(FIRST_ID)), None, routed)]),
        offsets=(OffsetWrite(key=encode_key("birds", PARTITION), value=b"its"),),
        ledger=(LedgerWrite(value=encode_ids([FIRST_ID]), timestamp_ms=created_ms(str(FIRST_ID)), source=None),),
    )
    await owner.open()
    both = Batch((replace(mine, to=owner.destinations[0]), its))
    await owner.deliver(both, await owner.encode(both))
    committed = await heir.open()
    again = await owner.encode(both)
    with pytest.raises(Fenced):
        await owner.deliver(both, again)
    (one,) = [record async for record in topics.records_of(broker, f"{fresh}-routed")]

    assert list(range(10)) == await keys(broker, fresh) == await keys(broker, f"{fresh}-birds")
    assert [("rule", b"owls")] == list(one.headers)
    assert {KEY: b"mine", encode_key("birds", PARTITION): b"its"} == committed.latest
    assert [[FIRST_ID], []] == [list(await heir.read_ledger(name, 0, None)) for name in ("birds", "posts")]
