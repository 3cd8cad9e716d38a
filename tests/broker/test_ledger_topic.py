"""Which posts were delivered: what is written with them, and what is read back."""

import time

import pytest
from aiokafka import AIOKafkaConsumer

from connector.coverage.ledger import encode_ids
from connector.errors import BrokerAway, FatalError
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.sink import TopicSink
from connector.records.record import LedgerWrite, OffsetWrite, Records, Share, SourceRecord
from connector.records.snowflake import created_ms, first_id
from tests import topics
from tests.broker.conftest import SLOT, MakeSink
from tests.brokers import Broker
from tests.unit.fakes import TO, whole

pytestmark = pytest.mark.broker

START_MS = 1_793_536_496_789
LARGEST_TRANSACTION = 100_000
TRANSACTIONS = 200


def ids_of(*seconds: float) -> list[int]:
    return [first_id(START_MS + int(each * 1000)) for each in seconds]


def batch(*seconds: float, source: bytes | None = None) -> Share:
    """A batch with posts that were made so many seconds after the start."""
    ids = ids_of(*seconds)
    return Share(
        to=TO,
        records=Records.of(
            SourceRecord(b"%d" % post, b'{"data":{"id":"%d","text":"a post"}}' % post, created_ms(post), source)
            for post in ids
        ),
        dead_letters=(),
        offsets=(OffsetWrite(key=b'["posts",{"stream":"filtered"}]', value=b'{"posts":1}'),),
        ledger=(LedgerWrite(value=encode_ids(ids), timestamp_ms=created_ms(max(ids)), source=source),),
    )


async def deliver(sink: TopicSink, *batches: Share) -> None:
    """Deliver *batches* and open the sink again: a commit is answered before readers see it, and a start waits."""
    for each in batches:
        what = whole(each, sink)
        await sink.deliver(what, await sink.encode(what))
    await sink.close()
    await sink.open()


async def found(sink: TopicSink, from_sec: float, to_sec: float | None = None, *, late: bool = False) -> list[float]:
    """When the posts in the ledger were made: seconds after the start, in the order of the ledger."""
    ids = await sink.read_ledger(
        sink.destinations[0].connector,
        START_MS + int(from_sec * 1000),
        None if to_sec is None else START_MS + int(to_sec * 1000),
        late=late,
    )
    return [(created_ms(post) - START_MS) / 1000 for post in ids]


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_written_with_the_posts(broker: Broker, make_sink: MakeSink, fresh: str, exactly_once: bool) -> None:  # noqa: FBT001
    """The ids lie in the slot's partition, under the connector's name, at the time of the newest post."""
    sink = make_sink(exactly_once=exactly_once)
    await sink.open()
    await deliver(sink, batch(1, 3, 2), batch(0, source=b"search"))
    live, repaired = [record async for record in topics.records_of(broker, f"{fresh}-ledger")]

    assert [1, 2, 3, 0] == await found(sink, 0)
    assert (SLOT, b"posts", START_MS + 3000, ()) == (live.partition, live.key, live.timestamp, live.headers)
    assert (SLOT, b"posts", START_MS, (("source", b"search"),)) == (
        repaired.partition,
        repaired.key,
        repaired.timestamp,
        repaired.headers,
    )


async def test_repaired_posts_say_so(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """A post that a repair found has a header that says how; a live one has none."""
    sink = make_sink()
    await sink.open()
    live, repaired = batch(1), batch(0, source=b"recovery")
    await deliver(
        sink,
        Share(to=TO, records=Records.of([*live.records, *repaired.records]), offsets=live.offsets),
    )
    headers = {int(record.key): record.headers async for record in topics.records_of(broker, fresh)}

    assert {ids_of(1)[0]: (), ids_of(0)[0]: (("source", b"recovery"),)} == headers


async def test_aborted_transaction_leaves_no_ids(broker: Broker, make_sink: MakeSink, fresh: str) -> None:
    """What a dead owner had written and not committed is in no ledger, whether it is in the topic's log or not."""
    old, new = make_sink(), make_sink()
    await old.open()
    await deliver(old, batch(1))
    client = old._client.client
    await client.begin_transaction()
    unfinished = batch(2)
    for each in await old.encode(whole(unfinished, old)):
        await (await client.send_batch(each.batch, fresh, partition=each.partition))
    (write,) = unfinished.ledger
    await (
        await client.send(f"{fresh}-ledger", write.value, key=b"posts", partition=SLOT, timestamp_ms=write.timestamp_ms)
    )
    await new.open()
    await deliver(new, batch(3))

    assert [1, 3] == await found(new, 0)
    assert [3] == await found(new, 2)
    assert 3 == len([record async for record in topics.records_of(broker, f"{fresh}-ledger", "read_uncommitted")])


WINDOWS = [
    # all of it
    (0, None, [0, 1, 2, 3, 4]),
    # from the first record with a post of that time; what is older in it comes along
    (2, None, [2, 3, 4]),
    (1.5, None, [2, 3, 4]),
    # up to the first record that is younger, which is read still: an older post may be in it, too
    (1, 2, [1, 2, 3]),
    (1, 2.5, [1, 2, 3]),
    (0, -1, [0]),
    # nothing is as young, or as old
    (5, None, []),
    (4, 9, [4]),
    (-10_000_000_000, 0, [0, 1]),
]


@pytest.mark.parametrize("trust_end_offsets", [True, False])
async def test_windows(make_sink: MakeSink, trust_end_offsets: bool) -> None:  # noqa: FBT001
    """A window of time is read without what lies before it, also where offsets are not to be trusted."""
    sink = make_sink(trust_end_offsets=trust_end_offsets)
    await sink.open()
    await deliver(sink, *(batch(second) for second in range(5)))

    for from_sec, to_sec, expected in WINDOWS:
        assert expected == await found(sink, from_sec, to_sec), (from_sec, to_sec)


async def test_what_lies_before_is_not_fetched(make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A week of ids is not read for the last minutes: the broker knows where they begin."""
    sink = make_sink()
    await sink.open()
    old, young = 0.0, 0.0
    for _ in range(3):
        old, young = young, time.time() - START_MS / 1000  # as live posts are: the broker stamps transactions by now
        await deliver(sink, batch(young))
    fetched = []
    getmany = AIOKafkaConsumer.getmany

    async def watched(consumer: AIOKafkaConsumer, *partitions: object, **options: object) -> dict[object, list[object]]:
        polled = await getmany(consumer, *partitions, **options)
        fetched.extend(record.timestamp for records in polled.values() for record in records)
        return polled

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", watched)
    await found(sink, (old + young) / 2)
    await found(sink, young + 100)

    assert [START_MS + int(young * 1000)] == fetched


async def test_records_of_repairs_are_out_of_order(make_sink: MakeSink) -> None:
    """A repair writes old ids late: they hide no live ones, and do not end a window."""
    sink = make_sink()
    await sink.open()
    await deliver(
        sink,
        batch(100),
        batch(103),
        batch(50, source=b"search"),
        batch(104),
        batch(110, source=b"search"),
        batch(105),
        batch(120),
        batch(102, source=b"search"),
        batch(121),
    )

    assert [104, 110, 105, 120, 102, 121] == await found(sink, 104)
    assert [103, 50, 104, 110, 105] == await found(sink, 101, 104)
    assert [103, 50, 104, 110, 105, 120] == await found(sink, 101, 115)
    assert [103, 50, 104, 110, 105, 102] == await found(sink, 101, 104, late=True)
    assert [100, 103, 50, 104, 110, 105, 120, 102, 121] == await found(sink, 10)


async def test_empty(make_sink: MakeSink) -> None:
    """A ledger into which nothing was written holds nothing."""
    sink = make_sink()
    await sink.open()

    assert [] == await found(sink, 0)
    assert [] == await found(sink, 0, 1)


async def test_others_are_apart(make_sink: MakeSink) -> None:
    """Another connector that held the slot once has a ledger of its own."""
    mine, other = make_sink(), make_sink(connector="other")
    await mine.open()
    await other.open()
    await deliver(mine, batch(1))
    await deliver(other, batch(2))
    await deliver(mine, batch(3))

    assert [1, 3] == await found(mine, 0)
    assert [2] == await found(other, 0)


async def test_several_large_ones(make_sink: MakeSink) -> None:
    """The ids of the largest transaction go through, and more than one record of them."""
    sink = make_sink()
    await sink.open()
    halves = [[first_id(START_MS + half * 10**9 + 977 * n) for n in range(LARGEST_TRANSACTION)] for half in (0, 1)]
    ledger = tuple(
        LedgerWrite(value=encode_ids(ids), timestamp_ms=created_ms(ids[-1]), source=source)
        for ids, source in zip(halves, (None, b"search"), strict=True)
    )
    await deliver(sink, Share(to=TO, offsets=batch(0).offsets, ledger=ledger))

    assert halves[0] + halves[1] == list(await sink.read_ledger("posts", START_MS, None))


async def test_garbage(make_sink: MakeSink, fresh: str) -> None:
    """A record that is no ledger's stops the task with the place where it lies: to go on could deliver posts twice."""
    sink = make_sink()
    await sink.open()
    good = batch(1)
    garbage = LedgerWrite(value=b"garbage", timestamp_ms=START_MS + 1000, source=None)
    await deliver(sink, batch(0))
    await deliver(
        sink,
        Share(to=TO, records=good.records, offsets=good.offsets, ledger=(*good.ledger, garbage)),
    )

    with pytest.raises(FatalError, match=rf"at offset 3 of {fresh}-ledger, partition {SLOT}, .*up to offset 4 "):
        await found(sink, 0)

    assert [] == await found(sink, 2)


async def test_kafka_away(make_sink: MakeSink) -> None:
    """Without Kafka the error is the one that waiting cures."""
    sink = make_sink()
    await sink.open()
    sink._cluster = KafkaCluster(servers=("127.0.0.1:1",))

    with pytest.raises(BrokerAway):
        await found(sink, 0)


async def test_fast_after_a_crash(make_sink: MakeSink) -> None:
    """What is read back at a start, minutes of 250 posts a second, takes a fraction of a second."""
    sink = make_sink()
    await sink.open()
    await deliver(
        sink,
        *(Share(to=TO, ledger=some(n)) for n in range(TRANSACTIONS)),
    )
    began = time.monotonic()
    ids = await sink.read_ledger("posts", START_MS, None)
    elapsed_secs = time.monotonic() - began

    assert 25 * TRANSACTIONS == len(ids)
    assert elapsed_secs < 1


def some(number: int) -> tuple[LedgerWrite, ...]:
    return batch(*(number * 0.1 + post * 0.004 for post in range(25))).ledger
