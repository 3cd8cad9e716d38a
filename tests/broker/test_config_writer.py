"""Changes of connectors on real Kafka: two workers write the same topic, one of them is killed, Kafka is away."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from connector.cluster import config_writer
from connector.cluster import configs as records
from connector.cluster.config_writer import MARK, ConfigWriter
from connector.cluster.configs import Configs, TargetState
from connector.cluster.connectors import Connectors
from connector.cluster.overview import Overview
from connector.cluster.plugins import Plugins
from connector.cluster.refused import Conflicting, Unavailable
from connector.cluster.statuses import Statuses
from connector.config.load import load
from connector.config.vault import Vault
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.once import Unanswered
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import OffsetTable
from connector.telemetry.obstacles import Obstacles
from connector.worker.plugin import plugin_of
from tests import brokers, topics
from tests.brokers import Broker, KafkaBroker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

ENVIRON = {"CONNECTOR_TOKEN": "AAAAsynthetic%3Dtoken"}
CONFIG = {
    "connector.class": "PostStreamSourceConnector",
    "topic": "birds",
    "hashtags": "birds",
    "x.bearer.token": "${env:CONNECTOR_TOKEN}",
}
WRITES = 30
SLOW_MS = 500.0


class Member:
    """What one worker knows of the connectors of *group*, and its ways to change them."""

    def __init__(self, broker: Broker, group: str, folder) -> None:
        cluster, obstacles = KafkaCluster(servers=(broker.address,)), Obstacles(lambda _: None)
        self.configs, table = Configs(), OffsetTable()
        self.log = CompactedLog(cluster, f"{group}-configs", self._apply, obstacles=obstacles, emit=lambda _: None)
        self.writer = ConfigWriter(cluster, self.log, transactional_id=f"{group}-writer", transactions=lambda: True)
        statuses = Statuses(SimpleNamespace(), f"{group}-statuses", "here:8083", lambda _: None)
        loaded = load(ENVIRON, folder)
        vault = Vault(loaded.worker, ENVIRON, folder)
        self.connectors = Connectors(
            configs=self.configs,
            overview=Overview(
                configs=self.configs,
                herder=None,
                statuses=statuses,
                offsets=table,
                requests=None,
                logs=(self.log,),
                troubles=list,
                rebalancing=bool,
                obstacles=obstacles,
                cluster_id=lambda: "synthetic",
            ),
            writer=self.writer,
            plugins=Plugins([plugin_of(vault, loaded)]),
            vault=vault,
            statuses=statuses,
            changes=None,
            transactional_id=lambda _, task: f"{group}-{task}",
            slots=SimpleNamespace(count=64),
        )

    def _apply(self, key: bytes, value: bytes | None, _: int) -> None:
        if key == MARK:
            self.writer.take_mark(value)
        else:
            self.configs.apply(key, value)

    async def __aenter__(self):
        await self.log.start()
        await asyncio.wait_for(self.log.caught_up.wait(), 20)
        await self.writer.start()
        return self

    async def __aexit__(self, *_):
        await self.writer.stop()
        await self.log.stop()

    def topic_of(self, name: str) -> str | None:
        found = self.configs.get(name)
        return None if found is None else found.config["topic"]


Join = Callable[[], Awaitable[Member]]


@pytest.fixture(scope="module")
def eager_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of this module's own, which compacts at once, and may be frozen."""
    brokers.require()
    with KafkaBroker(tmp_path_factory.mktemp("eager"), properties={"log.cleaner.backoff.ms": "100"}) as started:
        yield started


@pytest.fixture
def broker(eager_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    yield eager_broker
    eager_broker.recover()


@pytest.fixture
async def join(broker: KafkaBroker, fresh: str, tmp_path: Path) -> AsyncIterator[Join]:
    """Let workers join the test's own group."""
    eager = {"cleanup_policy": "compact", "segment_ms": "100", "min_cleanable_dirty_ratio": "0.01"}
    await topics.create(broker, f"{fresh}-configs", **eager)
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> Member:
            return await stack.enter_async_context(Member(broker, fresh, tmp_path))

        yield start


async def in_topic(broker: Broker, group: str) -> list[tuple[bytes, bytes | None]]:
    """Return the committed records as another program reads them."""
    return [(record.key, record.value) async for record in topics.records_of(broker, f"{group}-configs")]


async def outcomes(*changes):
    return await asyncio.gather(*changes, return_exceptions=True)


def changed(topic: str) -> dict[str, str]:
    return {**CONFIG, "topic": topic}


async def test_one_of_two_wins(broker: Broker, join: Join, fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two changes of a connector at the same moment one is confirmed; the other is refused, and is nowhere."""
    one, two = await join(), await join()
    await one.connectors.create("birds", CONFIG)
    both, look = asyncio.Barrier(2), ConfigWriter.fresh

    async def look_together(writer: ConfigWriter) -> None:
        await look(writer)
        await both.wait()  # so that neither request comes after the other's answer

    monkeypatch.setattr(ConfigWriter, "fresh", look_together)
    wins = []
    for number in range(5):
        ours, theirs = f"one-{number}", f"two-{number}"
        found = await outcomes(
            one.connectors.put_config("birds", changed(ours)), two.connectors.put_config("birds", changed(theirs))
        )
        winner, loser = (ours, theirs) if isinstance(found[1], Exception) else (theirs, ours)
        assert [Conflicting] == [type(each) for each in found if isinstance(each, Exception)]
        await outcomes(one.writer.fresh(), two.writer.fresh())
        assert [winner, winner] == [one.topic_of("birds"), two.topic_of("birds")]
        assert not any(loser.encode() in (value or b"") for _, value in await in_topic(broker, fresh))
        wins.append(winner)

    monkeypatch.undo()
    await compacted(broker, fresh, one)
    three = await join()
    assert wins[-1] == three.topic_of("birds")


async def compacted(broker: Broker, group: str, writing: Member) -> None:
    """Wait until Kafka has compacted the topic: of the changes of each connector only the last ones are left."""
    before, written = len(await in_topic(broker, group)), 0
    async with asyncio.timeout(60):
        while len(await in_topic(broker, group)) - written > before // 2:
            await writing.connectors.restart("birds", include_tasks=False, only_failed=False)  # begins a segment
            written += 1
            await asyncio.sleep(0.2)


async def test_two_connectors_both_win(join: Join) -> None:
    """Changes of two connectors at the same moment are both confirmed, and each worker knows both."""
    one, two = await join(), await join()
    await outcomes(one.connectors.create("birds", CONFIG), two.connectors.create("trees", CONFIG))
    await one.writer.fresh()
    assert ["birds", "trees"] == one.configs.names()
    assert {0} == one.configs.slots_in_use()  # they share a stream
    for number in range(3):
        topic = f"topic-{number}"
        found = await outcomes(
            one.connectors.put_config("birds", changed(topic)), two.connectors.put_config("trees", changed(topic))
        )
        await outcomes(one.writer.fresh(), two.writer.fresh())

        assert [] == [each for each in found if isinstance(each, Exception)]
        assert [topic] * 4 == [each.topic_of(name) for each in (one, two) for name in ("birds", "trees")]


async def test_what_one_confirmed_the_other_decides_on(join: Join) -> None:
    """A change at one worker, confirmed, is never news to a change at the other: no 404, no 409, nothing lost."""
    both = [await join(), await join()]
    for number in range(5):
        here, there = both[number % 2], both[1 - number % 2]
        await here.connectors.create("birds", CONFIG)
        await there.connectors.put_config("birds", changed("first"))
        await here.connectors.patch_config("birds", {"settle.secs": "20"})
        await there.connectors.set_state("birds", TargetState.STOPPED)
        assert "first" == there.topic_of("birds")
        await here.connectors.delete("birds")


async def test_lost_answer(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that took effect and was not answered is confirmed all the same, and is not made twice."""
    one, two = await join(), await join()
    await one.connectors.create("trees", CONFIG)
    commit = AIOKafkaProducer.commit_transaction
    losing = [True]

    async def lose(producer: AIOKafkaProducer) -> None:
        await commit(producer)
        if losing:
            losing.clear()
            raise Unanswered("lost")

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", lose)
    info = await one.connectors.create("birds", CONFIG)
    await two.writer.fresh()

    assert "birds" == info["name"]
    assert ["birds", "trees"] == two.configs.names()
    assert not losing


async def test_cancelled_at_the_mark(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is cancelled before it has read the others' changes leaves no producer that others would trust."""
    one, two = await join(), await join()
    await one.connectors.create("birds", CONFIG)
    reach, waits = CompactedLog.reach, asyncio.Event()

    async def wait(log: CompactedLog, partition: int, offset: int) -> None:
        if not waits.is_set():
            waits.set()
            await asyncio.sleep(60)
        await reach(log, partition, offset)

    monkeypatch.setattr(CompactedLog, "reach", wait)
    cancelled = asyncio.ensure_future(two.connectors.put_config("birds", changed("two")))
    await waits.wait()
    cancelled.cancel()
    await outcomes(cancelled)

    assert two.writer._writer is None
    await two.connectors.put_config("birds", changed("three"))
    assert "three" == two.topic_of("birds")


async def test_killed_in_the_middle(broker: KafkaBroker, join: Join, fresh: str) -> None:
    """Nothing of a change that was sent and not committed is read; the next worker does not wait for its end."""
    one, two = await join(), await join()
    await one.connectors.create("birds", CONFIG)
    producer = one.writer._writer._producer
    await producer.begin_transaction()
    written = records.configured(replace(one.configs.get("birds"), config=changed("half")))
    await producer.send_and_wait(f"{fresh}-configs", written[1], written[0].encode(), partition=0)
    begun = time.monotonic()
    await two.connectors.set_state("birds", TargetState.PAUSED)

    assert time.monotonic() - begun < 5
    with pytest.raises(KafkaError):  # woken up, it cannot end what it began
        await producer.commit_transaction()
    await one.connectors.put_config("birds", changed("whole"))
    await two.writer.fresh()
    assert ("whole", TargetState.PAUSED) == (two.topic_of("birds"), two.configs.get("birds").target)
    assert not any(b'"half"' in (value or b"") for _, value in await in_topic(broker, fresh))


async def test_kafka_is_frozen(broker: KafkaBroker, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Kafka is silent a change is refused in bounded time, and later ones are not held up by it."""
    one = await join()
    await one.connectors.create("birds", CONFIG)
    broker.freeze()
    begun = time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(config_writer, "WRITE_SECS", 2.0)
        patched.setattr(config_writer, "FRESH_SECS", 1.0)
        found = await outcomes(
            one.connectors.set_state("birds", TargetState.PAUSED),
            one.writer.write(lambda: [("gap-x", b"1")]),
            one.writer.write(lambda: [("gap-y", b"1")]),
        )
    took = time.monotonic() - begun
    broker.thaw()

    assert [Unavailable] * 3 == [type(each) for each in found]
    assert took < 2 * 2 + 2 * 2
    await one.connectors.put_config("birds", changed("after"))
    assert "after" == one.topic_of("birds")


async def test_forgotten_id(join: Join) -> None:
    """A worker whose producer Kafka does not know any more, after a week without a change, begins anew by itself."""
    one = await join()
    await one.connectors.create("birds", CONFIG)
    manager = one.writer._writer._producer._txn_manager
    manager._pid_and_epoch = manager._pid_and_epoch._replace(pid=987_654)
    await one.connectors.set_state("birds", TargetState.PAUSED)

    assert TargetState.PAUSED is one.configs.get("birds").target


async def test_log_reads_on_where_it_was(join: Join) -> None:
    """A worker that lost its connection to Kafka does not go back to what the connectors were once."""
    one = await join()
    for topic in ("first", "second", "third"):
        await one.connectors.put_config("birds", changed(topic))
    seen = []
    one.configs.on_change(lambda: seen.append(one.topic_of("birds")))
    consumer = one.log._consumer
    getmany = consumer.getmany

    async def break_once(*partitions, timeout_ms):
        if not timeout_ms:  # asked by a change, not by the log itself
            return await getmany(*partitions, timeout_ms=timeout_ms)
        consumer.getmany = getmany
        raise KafkaConnectionError("broken")

    consumer.getmany = break_once
    await one.connectors.put_config("birds", changed("fourth"))
    await one.connectors.put_config("birds", changed("fifth"))

    assert consumer is not one.log._consumer
    assert {"fourth", "fifth"} == set(seen)


async def test_latency(join: Join, record_property: Callable[[str, object], None]) -> None:
    """How long a change takes: by one worker, and by two that take turns and so fence each other each time."""
    one, two = await join(), await join()
    await one.connectors.create("birds", CONFIG)
    for name, turn in (("one worker", [one]), ("two in turns", [one, two])):
        took = []
        for number in range(WRITES):
            begun = time.monotonic()
            await turn[number % len(turn)].connectors.put_config("birds", changed(f"topic-{number}"))
            took.append((time.monotonic() - begun) * 1000)
        median = statistics.median(took)
        record_property(f"median of a change, {name} (ms)", round(median, 1))
        print(f"a change, {name}: median {median:.1f} ms, longest {max(took):.1f} ms")  # noqa: T201

        assert median < SLOW_MS
