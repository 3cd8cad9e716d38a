"""
Requests that reach Kafka late, twice or never, or whose answers are lost: the hole that KIP-890 closes in the protocol.

Exactly once: every post is in the topic once, and every transaction is whole.  `make late` runs the long form.
"""

import asyncio
import os
import random
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer

from connector.coverage.ledger import encode_ids
from connector.errors import BrokerAway, Superseded
from connector.kafka.delivery.sink import TopicSink
from connector.records.record import LedgerWrite, OffsetWrite, Records, Share, SourceRecord
from connector.task import task as tasks
from connector.task.in_flight import InFlight, Pending
from connector.task.status import State
from connector.task.wake import Wake
from connector.telemetry.events.task import TaskFailed, TaskFenced, TaskRestarting
from tests import brokers, topics
from tests.kafka_proxy import Api, Fault, KafkaProxy, answer_lost, dropped, late, slow, twice
from tests.transactions import Feeder, Task, assert_exact, behind_proxy, make_sink, make_topics, transactions_of
from tests.unit.fakes import KEY, TO, until, whole

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]

TIMES = int(os.environ.get("CONNECTOR_LATE_REQUESTS", "0"))
"""How many late requests of each kind the long form has; 0 is the short form."""

REQUEST_TIMEOUT_SECS = 30.0 if TIMES else 4.0
"""A worker waits 30 s for an answer; nothing but the time that it takes depends on it."""

INVALID_EPOCH, CONCURRENT_TRANSACTIONS = 47, 51
SECS = 300.0 if TIMES else 60.0


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[brokers.KafkaBroker, KafkaProxy]]:
    """A broker with a proxy before it."""
    brokers.require()
    broker, proxy = behind_proxy(tmp_path_factory.mktemp("proxied"))
    with broker, proxy:
        yield broker, proxy


@pytest.fixture
def broker(proxied: tuple[brokers.KafkaBroker, KafkaProxy]) -> brokers.KafkaBroker:
    return proxied[0]


@pytest.fixture
def proxy(proxied: tuple[brokers.KafkaBroker, KafkaProxy]) -> Iterator[KafkaProxy]:
    yield proxied[1]
    proxied[1].forget()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_PAUSE_SECS", 0.1)


@pytest.fixture
async def start(broker, proxy, fresh) -> AsyncIterator[Callable[..., Awaitable[tuple[Task, Feeder]]]]:
    """Start a task behind the proxy that a `Feeder` feeds."""
    await make_topics(broker, fresh)
    running: list[Task] = []

    async def begin(*, exactly_once=True, idempotent=True, pace_secs=None, timeout_secs=REQUEST_TIMEOUT_SECS):
        sink = make_sink(
            proxy.address,
            fresh,
            exactly_once=exactly_once,
            idempotent=idempotent,
            producer_request_timeout=timeout_secs,
        )
        feeder = Feeder()
        paced = {} if pace_secs is None else {"pace_secs": pace_secs}
        task = Task(feeder, sink, exactly_once=exactly_once, **paced)
        running.append(task)
        await task.task.start()
        await until(lambda: task.task.status.state is State.RUNNING, SECS)
        return task, feeder

    yield begin
    for task in running:
        await task.stop()


async def bring(task: Task, feeder: Feeder, count: int, size: int) -> None:
    await asyncio.to_thread(feeder.bring, count, size)
    await task.delivered(len(feeder.ids))


async def is_over(fault: Fault) -> None:
    await until(fault.over.is_set, SECS)


def error_of(fault: Fault, at: int = 8) -> int:
    """Return the error that an answer has *at* a place; without one, in that to an EndTxn of version 0."""
    return struct.unpack_from(">h", fault.answers[0], at)[0]


# -- any request, any fault, while posts come


@dataclass(frozen=True)
class Load:
    """Posts a second, bytes each, and seconds between batches (None: a worker's)."""

    rate: float
    size: int
    pace_secs: float | None = None


SHORT = {"small": Load(500, 700), "large": Load(3_000, 1_000, 0.25)}
LONG = {"50 a second": Load(50, 700), "3,000 a second": Load(3_000, 700), "20,000 a second": Load(20_000, 2_600)}
LOADS = LONG if TIMES else SHORT
SHARE = {"50 a second": 0.4, "3,000 a second": 0.4, "20,000 a second": 0.2}
"""Of the late requests; what goes through at the highest rate must be read back."""

TRANSACTIONAL = [Api.END_TXN, Api.ADD_PARTITIONS, Api.PRODUCE, Api.INIT_PRODUCER_ID, Api.FIND_COORDINATOR]
ONLY_AT_OPEN = {Api.INIT_PRODUCER_ID, Api.FIND_COORDINATOR}


def faults_of(api: Api, share: float, rng: random.Random) -> list[Fault]:
    lates = [late(rng.uniform(0.02, 0.6)) for _ in range(max(round(TIMES * share), 1))]
    return [*lates, answer_lost(), dropped(), twice()]


async def harm(proxy: KafkaProxy, api: Api, fault: Fault) -> None:
    """Let *fault* happen to the next request, and return when it has."""
    proxy.plan(api, fault)
    if api in ONLY_AT_OPEN:
        proxy.plan(Api.END_TXN, answer_lost())
    await is_over(fault)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("api", TRANSACTIONAL, ids=lambda api: api.name)
async def test_exactly_once(start, proxy, broker, fresh, load, api) -> None:
    """Whatever becomes of single requests, and however often: nothing twice, nothing lost, every transaction whole."""
    rate = LOADS[load]
    rng = random.Random(f"{load} {api}")
    task, feeder = await start(pace_secs=rate.pace_secs)
    over = threading.Event()
    feeding = asyncio.create_task(asyncio.to_thread(feeder.bring_steadily, rate.rate, rate.size, over))
    try:
        await until(lambda: task.commits > 1, SECS)
        for fault in faults_of(api, SHARE.get(load, 1), rng):
            commits = task.commits
            await harm(proxy, api, fault)
            await until(lambda now=commits: task.commits > now + 1, SECS)
    finally:
        over.set()
        await feeding
    await task.delivered(len(feeder.ids))
    await task.stop()

    restarts = task.said(TaskRestarting)
    print(f"{load}, {api.name}: {len(feeder.ids)} posts, {task.commits} commits, {len(restarts)} restarts")  # noqa: T201  # for the record
    assert [] == task.said(TaskFailed, TaskFenced)
    await assert_exact(broker, fresh, feeder.ids)


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("load", LOADS)
async def test_at_least_once(start, proxy, broker, fresh, load, idempotent) -> None:
    """Nothing is lost, ledger and offsets are not ahead of the posts; an idempotent producer doubles nothing."""
    rate = LOADS[load]
    task, feeder = await start(exactly_once=False, idempotent=idempotent, pace_secs=rate.pace_secs)
    over = threading.Event()
    feeding = asyncio.create_task(asyncio.to_thread(feeder.bring_steadily, rate.rate, rate.size, over))
    rng = random.Random(load)
    try:
        for fault in faults_of(Api.PRODUCE, SHARE.get(load, 1), rng):
            commits = task.commits
            await harm(proxy, Api.PRODUCE, fault)
            await until(lambda now=commits: task.commits > now + 1, SECS)
    finally:
        over.set()
        await feeding
    await task.delivered(len(feeder.ids))
    await task.stop()
    found = await transactions_of(broker, fresh)

    print(f"{load}: {len(feeder.ids)} posts, {found.doubled} doubled, {len(task.said(TaskRestarting))} restarts")  # noqa: T201  # likewise
    assert [] == task.said(TaskFailed, TaskFenced)
    assert 0 == found.lost(feeder.ids)
    assert {post for ids in found.ledger for post in ids} <= found.posts.keys()
    assert len(feeder.ids) == found.delivered[-1]
    if idempotent:  # else a late copy of an offset is written, and the next offset is right again
        assert found.delivered == sorted(found.delivered)
        assert 0 == found.doubled


# -- one request, at the worst moment

LARGE = (1_500, 700)
"""Posts, and bytes each: more than the short way takes."""


async def test_a_late_end_does_not_end_the_next_transaction(start, proxy, broker, fresh) -> None:
    """
    An EndTxn reaches Kafka when the next transaction has written its posts, and not yet its offset.

    This committed half a transaction: its posts were in and its offset was not, so the batch was sent again.
    """
    task, feeder = await start()
    await bring(task, feeder, *LARGE)
    gate = threading.Event()
    end = proxy.plan(Api.END_TXN, late(gate=gate))
    await asyncio.to_thread(feeder.bring, *LARGE)
    await until(end.begun.is_set, SECS)
    offset = proxy.plan(Api.PRODUCE, slow(gate=end.over), containing=b"-offsets")
    await asyncio.to_thread(feeder.bring, *LARGE)
    await until(offset.begun.is_set, SECS)
    gate.set()
    await is_over(end)
    await task.delivered(len(feeder.ids))
    await bring(task, feeder, *LARGE)
    await task.stop()

    assert INVALID_EPOCH == error_of(end)
    await assert_exact(broker, fresh, feeder.ids)


@pytest.mark.parametrize("api", [Api.END_TXN, Api.ADD_PARTITIONS, Api.PRODUCE], ids=lambda api: api.name)
async def test_late_without_a_reset(start, proxy, broker, fresh, api) -> None:
    """A request that waits somewhere for longer than its answer is waited for, on a connection that stays."""
    task, feeder = await start(timeout_secs=1.0)
    for count in (20, 1_500):  # the short way, and aiokafka's
        await bring(task, feeder, 20, 700)
        fault = proxy.plan(api, slow(2.0))
        await bring(task, feeder, count, 700)
        await is_over(fault)
        await bring(task, feeder, count, 700)
    await task.stop()

    assert [] == task.said(TaskFailed, TaskFenced)
    await assert_exact(broker, fresh, feeder.ids)


@pytest.mark.parametrize("batches", [1, 3, 8])
@pytest.mark.parametrize("count", [20, 1_500], ids=["small", "large"])
async def test_a_late_produce_adds_nothing(start, proxy, broker, fresh, batches, count) -> None:
    """
    A copy of a produce request that comes after its transaction, also long after, is ignored and holds nobody back.

    Kafka knows a producer's last five batches in a partition, and of older ones that their numbers are used up.
    """
    task, feeder = await start()
    await bring(task, feeder, count, 700)
    gate = threading.Event()
    copy = proxy.plan(Api.PRODUCE, late(gate=gate))
    for _ in range(batches):
        await bring(task, feeder, count, 700)
    gate.set()
    await is_over(copy)
    async with asyncio.timeout(SECS / 2):  # a transaction that the copy had opened would last longer
        await assert_exact(broker, fresh, feeder.ids)
    await bring(task, feeder, count, 700)
    await task.stop()

    assert [] == task.said(TaskFailed, TaskFenced)  # Kafka may refuse what comes behind a late copy, once
    await assert_exact(broker, fresh, feeder.ids)


async def test_a_late_add_while_idle(start, proxy, broker, fresh) -> None:
    """The next producer is opened at once and fences it: readers see everything, although no post comes any more."""
    task, feeder = await start()
    await bring(task, feeder, 20, 700)
    gate = threading.Event()
    add = proxy.plan(Api.ADD_PARTITIONS, late(gate=gate))
    await bring(task, feeder, 20, 700)
    gate.set()
    await is_over(add)
    async with asyncio.timeout(SECS / 2):
        await assert_exact(broker, fresh, feeder.ids)

    assert error_of(add, 4 + 4 + 4 + 2 + len(fresh) + 4 + 4) in {
        INVALID_EPOCH,
        CONCURRENT_TRANSACTIONS,
    }  # refused, in any case


# -- and nobody comes after it


def batch(number: int, count: int = 20) -> Share:
    first = (int(time.time() * 1000) - 1_288_834_974_657 << 22) + number * 1000
    records = Records.of(
        SourceRecord(b"%d" % post, b'{"data":{"id":"%d"}}' % post, int(time.time() * 1000))
        for post in range(first, first + count)
    )
    return Share(
        to=TO,
        records=records,
        offsets=(OffsetWrite(key=KEY, value=b'{"posts":%d,"batch":%d}' % (count * number, number)),),
        ledger=(
            LedgerWrite(
                value=encode_ids(range(first, first + count)), timestamp_ms=int(time.time() * 1000), source=None
            ),
        ),
    )


async def write_beside(broker: brokers.KafkaBroker, topic: str, key: bytes) -> None:
    """Write a record into each partition of *topic*, without a transaction."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, acks="all")
    await producer.start()
    try:
        for partition in await producer.partitions_for(topic):
            await producer.send_and_wait(topic, b'{"posts":0}', key=key, partition=partition)
    finally:
        await producer.stop()


@pytest.mark.parametrize("api", [Api.ADD_PARTITIONS, Api.PRODUCE], ids=lambda api: api.name)
async def test_nobody_follows(broker, proxy, fresh, api) -> None:
    """
    The owner is gone for good, and then its request arrives.

    A transaction that was only begun holds no reader back.  One with records in it does, until the broker ends it after
    the transaction's timeout; none of its records is seen.
    """
    await make_topics(broker, fresh)
    timeout_secs = 3.0
    sink = make_sink(proxy.address, fresh, timeout_secs=timeout_secs)
    await sink.open()
    gate = threading.Event()
    fault = proxy.plan(api, late(gate=gate))
    what = whole(batch(1), sink)
    delivering = asyncio.create_task(sink.deliver(what, await sink.encode(what)))
    await until(fault.begun.is_set, SECS)
    proxy.plan(api, dropped())  # it is not sent again either
    delivering.cancel()
    await asyncio.wait({delivering})
    await sink.close()
    gate.set()
    await is_over(fault)
    begun = time.monotonic()
    await write_beside(broker, fresh, b"0")
    async with asyncio.timeout(SECS):
        seen = [record.key async for record in topics.records_of(broker, fresh)]
    held_secs = time.monotonic() - begun

    print(f"{api.name}: readers were held for {held_secs:.1f} s, timeout {timeout_secs:g} s")  # noqa: T201  # likewise
    assert {b"0"} == set(seen)


# -- what decides afterwards


class Heard:
    """`connector.task.in_flight.Listener`."""

    def __init__(self) -> None:
        self.confirmed: list[Pending] = []

    def on_confirmed(self, pending: Pending) -> None:
        self.confirmed.append(pending)

    def on_delivered(self, pending: Pending) -> None:
        """Nothing is printed."""

    def on_delayed(self, waiting_secs: float) -> None:
        """Nothing is told."""

    def on_resumed(self, waited_secs: float) -> None:
        """Likewise."""


def in_flight(sink: TopicSink) -> tuple[InFlight, Heard]:
    heard = Heard()
    return InFlight(sink, heard, Wake()), heard


async def hand_over(box: InFlight, what: Share) -> None:
    batch = whole(what, box.sink)
    pending = Pending(batch=batch, receipts=(), encoded=await box.sink.encode(batch), since=time.monotonic())
    await box.hand_over(pending)


async def test_compacted_meanwhile(broker, proxy, fresh) -> None:
    """The commit took effect and its answer was lost; the offset is still found when the topic was compacted since."""
    eager = {"segment_ms": "100", "segment_bytes": "1048576", "max_compaction_lag_ms": "100"}
    await make_topics(broker, fresh, min_cleanable_dirty_ratio="0.01", **eager)
    box, heard = in_flight(make_sink(proxy.address, fresh))
    await box.open()
    await hand_over(box, batch(1))
    await box.confirmed()
    proxy.plan(Api.END_TXN, answer_lost())
    await hand_over(box, batch(2))
    with pytest.raises(BrokerAway):
        await box.confirmed()
    await box.discard()

    async def kept() -> list[bytes]:
        records = [record async for record in topics.records_of(broker, f"{fresh}-offsets")]
        return [record.value for record in records if record.key == KEY]

    async with asyncio.timeout(SECS):
        while len(await kept()) > 1:  # the broker compacts in its own time
            await write_beside(broker, f"{fresh}-offsets", b'["other",{"stream":"filtered"}]')
            await asyncio.sleep(0.2)
    await box.open()
    await box.discard()

    assert [1, 2] == [int(each.batch.offsets[0].value[-2:-1]) for each in heard.confirmed]
    assert [] == box.pending
    found = await transactions_of(broker, fresh)
    assert (40, 0) == (len(found.posts), found.doubled)


async def test_taken_over_meanwhile(broker, proxy, fresh) -> None:
    """The next owner has begun when the old one's EndTxn arrives: nothing of the old one's is seen."""
    await make_topics(broker, fresh)
    box, heard = in_flight(make_sink(proxy.address, fresh))
    await box.open()
    await hand_over(box, batch(1))
    await box.confirmed()
    gate = threading.Event()
    end = proxy.plan(Api.END_TXN, late(gate=gate))
    await hand_over(box, batch(2))
    await until(end.begun.is_set, SECS)
    heir, _ = in_flight(make_sink(proxy.address, fresh))
    committed = await heir.open()
    gate.set()
    await is_over(end)
    await hand_over(heir, batch(3))
    await heir.confirmed()
    with pytest.raises(BrokerAway):
        await box.confirmed()
    await box.discard()
    with pytest.raises(Superseded):
        await box.open()
    await box.discard()
    await heir.discard()

    assert INVALID_EPOCH == error_of(end)
    assert 1 == len(heard.confirmed)
    assert batch(1).offsets[0].value == committed.latest[KEY]
    found = await transactions_of(broker, fresh)
    assert (40, 0) == (len(found.posts), found.doubled)
    assert [20, 60] == found.delivered
