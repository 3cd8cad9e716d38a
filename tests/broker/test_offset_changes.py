"""Offsets of a stopped connector are changed on real Kafka, also while a worker still runs its task that should not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from connector.cluster import configs as records
from connector.cluster import offset_changes
from connector.cluster.configs import Configs, Connector, Former, Placement
from connector.cluster.offset_changes import OffsetChanges
from connector.cluster.refused import Conflicting, Refused
from connector.cluster.statuses import Statuses
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import OffsetTable, encode_key
from connector.records.record import TaskId
from connector.task.status import State, TaskStatus
from connector.telemetry.obstacles import Obstacles
from tests import topics
from tests.brokers import Broker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

SLOT = 1
KEY = encode_key("birds", {"stream": "filtered"})
OLD, NEW, NEWER = b'{"covered_to":"old"}', b'{"covered_to":"new"}', b'{"covered_to":"newer"}'


class Offsets:
    """The offsets topic of a group, as one worker follows and changes it."""

    def __init__(self, broker: Broker, group: str) -> None:
        cluster = KafkaCluster(servers=(broker.address,))
        self.topic, self.id = f"{group}-offsets", f"{group}-birds-0"
        self.table = OffsetTable()
        obstacles = Obstacles(lambda _: None)
        self.log = CompactedLog(cluster, self.topic, self.table.apply, obstacles=obstacles, emit=lambda _: None)
        self.configs = Configs()
        self.statuses = Statuses(SimpleNamespace(), f"{group}-statuses", "here:8083", lambda _: None)
        self.changes = OffsetChanges(
            cluster, self.log, self.table, self.configs, self.statuses, trust_end_offsets=lambda: True
        )

    def know(self, *connectors: Connector) -> None:
        for connector in connectors:
            for key, value in records.created(connector):
                self.configs.apply(key.encode(), value)

    def tell(self, state: State) -> None:
        """The task of the slot before, or of the new one, says how it is."""
        self.statuses.publish(TaskId("birds", 0), TaskStatus(state=state))

    async def change(self, value: bytes) -> dict[bytes, bytes]:
        """Set the offset; return what the slot held before."""
        before = {}

        def decide(_: int, held):
            before.update(held)
            return [(KEY, value)]

        await self.changes.write({SLOT: self.id}, decide)
        return before

    @property
    def shown(self) -> list[object]:
        return [each["offset"]["covered_to"] for each in self.table.of("birds")]


@pytest.fixture
async def offsets(broker: Broker, fresh: str) -> AsyncIterator[Offsets]:
    found = Offsets(broker, fresh)
    await topics.create(broker, found.topic, partitions=4, cleanup_policy="compact")
    await found.log.start()
    yield found
    await found.log.stop()


@contextlib.asynccontextmanager
async def task(broker: Broker, offsets: Offsets) -> AsyncIterator[AIOKafkaProducer]:
    """The producer of a task that a worker runs: it has committed an offset, and is about to commit another."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=offsets.id)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(offsets.topic, OLD, KEY, partition=SLOT)
        await producer.begin_transaction()
        await producer.send_and_wait(offsets.topic, b'{"covered_to":"of a zombie"}', KEY, partition=SLOT)
        yield producer
    finally:
        await producer.stop()


async def test_fences_a_live_task(broker: Broker, offsets: Offsets) -> None:
    """A worker that does not know yet that the connector was stopped commits no offset over the new one."""
    async with task(broker, offsets) as zombie:
        before = await offsets.change(NEW)
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await zombie.commit_transaction()

    assert {KEY: OLD} == before
    assert ["new"] == offsets.shown
    values = [record.value async for record in topics.records_of(broker, offsets.topic)]
    assert [OLD, NEW] == values


async def test_task_that_begins_meanwhile(broker: Broker, offsets: Offsets) -> None:
    """A task that begins while its offset is changed reads the old one or the new one; the answer says which."""
    begun: list[AIOKafkaProducer] = []
    changing = asyncio.ensure_future(offsets.change(NEW))
    while not changing.done():
        producer = AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=offsets.id)
        begun.append(producer)
        await producer.start()
    for producer in begun:
        await producer.stop()
    refused = changing.exception()

    assert refused is None or isinstance(refused, Conflicting), refused
    values = [record.value async for record in topics.records_of(broker, offsets.topic)]
    assert [NEW] * (refused is None) == values


async def test_two_changes_at_once(broker: Broker, offsets: Offsets) -> None:
    """What is refused is nowhere, and of what is confirmed the last is the offset."""
    found = await asyncio.gather(offsets.change(NEW), offsets.change(NEWER), return_exceptions=True)
    refused = [each for each in found if isinstance(each, BaseException)]
    values = [record.value async for record in topics.records_of(broker, offsets.topic)]

    assert all(isinstance(each, Conflicting) for each in refused), refused
    assert len(found) - len(refused) == len(values) >= 1


async def test_decided_against(broker: Broker, offsets: Offsets) -> None:
    """What the class refuses is not written, and leaves no transaction open."""
    await offsets.change(OLD)

    def decide(*_):
        raise Refused("no such offset")

    with pytest.raises(Refused, match="no such"):
        await offsets.changes.write({SLOT: offsets.id}, decide)
    assert {KEY: OLD} == await offsets.change(NEW)


def moved(*slots: int) -> Connector:
    """A connector whose tasks run in *slots*, after its only one ran in `SLOT`."""
    placement = Placement(slots, "birds", "", (Former(SLOT, TaskId("birds", 0)),))
    return Connector(name="birds", config={}, placement=placement)


async def gather(offsets: Offsets, connector: Connector, number: int, numbers: Mapping[str, int]) -> bool:
    def id_of(of: Connector, task: TaskId) -> str:
        assert of.placement is None
        return offsets.id.replace("birds-0", str(task))

    if offsets.configs.get(connector.name) is None:
        offsets.know(connector)
    return await offsets.changes.gather(connector, number, lambda partition: numbers[partition["stream"]], id_of)


async def held(broker: Broker, offsets: Offsets) -> dict[int, dict[bytes, bytes]]:
    """What each partition of the topic holds."""
    found: dict[int, dict[bytes, bytes]] = {}
    async for record in topics.records_of(broker, offsets.topic):
        values = found.setdefault(record.partition, {})
        values.pop(record.key, None)
        if record.value is not None:
            values[record.key] = record.value
    return found


async def test_moves_to_another_slot(broker: Broker, offsets: Offsets) -> None:
    """All of the connector comes along, also a rule's record; whoever still writes to the old slot is fenced."""
    rules, other = encode_key("birds", {"stream": "filtered"}, "rules"), encode_key("owls", {"stream": "filtered"})
    await offsets.changes.write({SLOT: offsets.id}, lambda *_: [(rules, b"{}"), (other, OLD)])
    async with task(broker, offsets) as zombie:
        await gather(offsets, moved(3), 0, {"filtered": 0})
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await zombie.commit_transaction()
    await gather(offsets, moved(3), 0, {"filtered": 0})

    assert {SLOT: {other: OLD}, 3: {KEY: OLD, rules: b"{}"}} == await held(broker, offsets)
    assert (["old"], {3}) == (offsets.shown, offsets.table.slots_of("birds"))


async def test_what_is_there_is_newer(broker: Broker, offsets: Offsets) -> None:
    """A move that was cut short between two writes does not bring an old offset over a newer one."""
    await offsets.change(OLD)
    await offsets.changes.write({2: f"{offsets.id}-other"}, lambda *_: [(KEY, NEW)])
    await gather(offsets, moved(2), 0, {"filtered": 0})

    assert {SLOT: {}, 2: {KEY: NEW}} == await held(broker, offsets)


async def test_two_tasks_fetch_at_once(broker: Broker, offsets: Offsets) -> None:
    """Of a connector with more tasks than before each gets its own, although they fence each other."""
    keys = {name: encode_key("birds", {"stream": name}) for name in ("a", "b", "c")}
    await offsets.changes.write({SLOT: offsets.id}, lambda *_: [(key, name.encode()) for name, key in keys.items()])
    connector, numbers = moved(SLOT, 2, 3), {name: number for number, name in enumerate(keys)}
    await asyncio.gather(*(gather(offsets, connector, number, numbers) for number in range(3)))

    assert {SLOT: {keys["a"]: b"a"}, 2: {keys["b"]: b"b"}, 3: {keys["c"]: b"c"}} == await held(broker, offsets)


async def test_nothing_to_move(broker: Broker, offsets: Offsets) -> None:
    """A task that begins where it was disturbs nobody."""
    async with task(broker, offsets) as running:
        await gather(offsets, moved(SLOT), 0, {"filtered": 0})
        await running.commit_transaction()

    assert [SLOT] == list(await held(broker, offsets))


@pytest.mark.parametrize("others", [False, True], ids=["alone", "for others, too"])
async def test_task_lets_go_first(
    broker: Broker, offsets: Offsets, monkeypatch: pytest.MonkeyPatch, *, others: bool
) -> None:
    """A task that still reads for the connector commits what it has, and is not fenced if it is told to let go."""
    monkeypatch.setattr(offset_changes, "RELEASE_SECS", (60.0, 60.0))
    offsets.tell(State.RUNNING)
    if others:
        offsets.know(Connector(name="owls", config={}, placement=Placement((SLOT,), "birds")))
    async with task(broker, offsets) as running:
        moving = asyncio.ensure_future(gather(offsets, moved(3), 0, {"filtered": 0}))
        await asyncio.sleep(1.0)
        early = moving.done()
        await running.commit_transaction()
        offsets.tell(State.UNASSIGNED)
        there = await moving

    assert (False, True) == (early, there)
    assert {SLOT: {}, 3: {KEY: b'{"covered_to":"of a zombie"}'}} == await held(broker, offsets)


@pytest.mark.parametrize("others", [False, True], ids=["alone", "for others, too"])
async def test_task_that_does_not_let_go(
    broker: Broker, offsets: Offsets, monkeypatch: pytest.MonkeyPatch, *, others: bool
) -> None:
    """A worker that has died, or hangs, is not waited for for ever: its task is fenced."""
    monkeypatch.setattr(offset_changes, "RELEASE_SECS", (60.0, 0.5) if others else (0.5, 60.0))
    offsets.tell(State.RUNNING)
    if others:
        offsets.know(Connector(name="owls", config={}, placement=Placement((SLOT,), "birds")))
    async with task(broker, offsets) as zombie:
        assert await gather(offsets, moved(3), 0, {"filtered": 0})
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await zombie.commit_transaction()

    assert {SLOT: {}, 3: {KEY: OLD}} == await held(broker, offsets)


async def test_a_task_that_stays_is_not_waited_for(
    broker: Broker, offsets: Offsets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a connector that gets more tasks, the first one reads on in its slot: it lets nothing go."""
    monkeypatch.setattr(offset_changes, "RELEASE_SECS", (60.0, 60.0))
    await offsets.change(OLD)
    offsets.tell(State.RUNNING)
    async with asyncio.timeout(30):
        assert await gather(offsets, moved(SLOT, 3), 1, {"filtered": 1})

    assert {SLOT: {}, 3: {KEY: OLD}} == await held(broker, offsets)


@pytest.mark.parametrize("change", ["deleted", "moved back"])
async def test_changed_again_meanwhile(
    broker: Broker, offsets: Offsets, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Who is not to begin there any more takes nobody's id, and moves nothing."""
    monkeypatch.setattr(offset_changes, "RELEASE_SECS", (60.0, 60.0))
    offsets.tell(State.RUNNING)
    async with task(broker, offsets) as running:
        moving = asyncio.ensure_future(gather(offsets, moved(3), 0, {"filtered": 0}))
        await asyncio.sleep(0.5)
        back = records.deleted(moved(3)) if change == "deleted" else [records.placed(moved(SLOT))]
        for key, value in back:
            offsets.configs.apply(key.encode(), value)
        there = await moving
        await running.commit_transaction()

    assert not there
    assert {SLOT: {KEY: b'{"covered_to":"of a zombie"}'}} == await held(broker, offsets)
