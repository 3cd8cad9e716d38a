import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from connector.cluster import history_writer as module
from connector.cluster.history_writer import HistoryWriter, Identity, Vitals
from connector.history.fold import History
from connector.history.recorder import Recorder
from connector.history.records import LASTING, MINUTES, Minute, TenMinutes, Told, decode
from connector.records.record import TaskId
from connector.telemetry.events.task import BatchDelivered, TaskStarted
from tests.unit.fakes import until

TEN = 1_796_040_000
OF = TaskId("posts", 0)


class Topic:
    """The topic of a history, behind `RecordWriter`; *away* is what Kafka answers while it is away."""

    def __init__(self):
        self.records, self.away, self.opened, self.closed, self.blocked = [], None, 0, 0, False

    def __call__(self, cluster, transactional_id):
        assert transactional_id is None
        return self

    async def open(self):
        self.opened += 1
        if self.away:
            raise self.away

    async def write(self, topic, partition, records):
        assert topic == "connector-history"
        if self.blocked:
            await asyncio.sleep(3600)
        if self.away:
            raise self.away
        self.records += [(partition, decode(value)) for _, value in records]

    async def close(self):
        self.closed += 1

    def of(self, kind):
        return [record for _, record in self.records if isinstance(record, kind)]


class Clock:
    def __init__(self):
        self.now = float(TEN + 5)

    def __call__(self):
        return self.now


class Case:
    def __init__(self, monkeypatch):
        monkeypatch.setattr(module, "GATHER_SECS", 0.0)
        monkeypatch.setattr(module, "RETRY_SECS", (0.01, 0.02))
        monkeypatch.setattr(module, "STOP_SECS", 0.2)
        self.topic, self.clock, self.events = Topic(), Clock(), []
        monkeypatch.setattr(module, "RecordWriter", self.topic)
        self.recorder, self.history = Recorder(self.clock), History(TEN)
        identity = Identity(
            process="p",
            version="1.0",
            worker=lambda: "w:1",
            tasks=lambda: ("posts-0",),
            vitals=lambda: Vitals(cpu_secs=3.0, memory_bytes=9),
            exit_code=lambda: 3,
        )
        self.writer = HistoryWriter(
            None,
            "connector-history",
            self.recorder,
            self.history,
            identity,
            emit=self.events.append,
            caught_up=lambda: True,
            clock=self.clock,
        )

    def minute_passes(self):
        self.clock.now += 60
        self.recorder.take(TaskStarted(of=OF))  # wakes the writer


@pytest.fixture
async def case(monkeypatch):
    case = Case(monkeypatch)
    async with case.writer:
        yield case


async def test_events_are_written_at_once(case):
    """What happens is in the topic at once, numbered, and among what lasts."""
    for _ in range(3):
        case.recorder.take(TaskStarted(of=OF))
    await until(lambda: len(case.topic.records) == 3)

    assert {LASTING} == {partition for partition, _ in case.topic.records}
    assert [1, 2, 3] == [told.number for told in case.topic.of(Told)]
    assert ("p", "w:1", "task.started", "posts", 0) == (
        (told := case.topic.of(Told)[0]).process, told.worker, told.kind, told.connector, told.task,
    )  # fmt: skip


async def test_minutes_are_written_when_they_end(case):
    """A minute has what was counted in it, whose it is, and what the process took."""
    case.recorder.take(BatchDelivered(of=OF, posts=4, waits=((0.1, 1.0, 4),), usd=0.02))
    case.minute_passes()
    await until(lambda: case.topic.of(Minute))
    case.minute_passes()
    await until(lambda: len(case.topic.of(Minute)) == 2)

    first, second = case.topic.of(Minute)
    assert (TEN, TEN + 60, 1, 2) == (first.at, second.at, first.number, second.number)
    assert (4, {}) == (first.connectors["posts"].delivered, second.connectors)
    assert (("posts-0",), "1.0", 9, "w:1") == (first.tasks, first.version, first.memory_bytes, first.worker)
    assert {MINUTES} == {partition for partition, record in case.topic.records if isinstance(record, Minute)}


async def test_ten_minutes_are_written_down(case):
    """Ten minutes after they ended their sum is written, once."""
    case.history.apply(Minute(process="p", number=0, at=TEN, worker="w:1"), 0)
    case.clock.now = TEN + 600 + 100.0
    case.recorder.take(TaskStarted(of=OF))
    await until(lambda: case.topic.of(TenMinutes))

    (ten,) = case.topic.of(TenMinutes)
    assert ("p", TEN, 1) == (ten.process, ten.at, ten.minutes)


async def test_kafka_is_away(case):
    """What happens waits, in its order, and is written when Kafka is back; it is said once that it waits."""
    case.topic.away = KafkaConnectionError("no broker")
    case.recorder.take(TaskStarted(of=OF))
    await until(lambda: case.topic.opened > 3)
    case.minute_passes()
    await until(lambda: case.writer.waiting_bytes > 300)
    case.topic.away = None
    await until(lambda: case.topic.of(Minute))
    await until(lambda: len(case.topic.of(Told)) == 2)

    assert [1, 2] == [told.number for told in case.topic.of(Told)]
    assert ["history.delayed"] == [event.name for event in case.events]
    assert 0 == case.writer.waiting_bytes


async def test_what_waits_is_bounded(case, monkeypatch):
    """Of what has no room the oldest is given up; the next minute and an event say how much, and memory stays."""
    monkeypatch.setattr(module, "WAITING_BYTES_MAX", 2_000)
    case.topic.away = KafkaConnectionError("no broker")
    for number in range(40):
        case.minute_passes()
        await until(lambda number=number: case.writer._numbers[MINUTES] == number + 1)
        assert case.writer.waiting_bytes <= 2_000
    case.topic.away = None
    await until(lambda: case.events and case.events[-1].name == "history.lost")
    case.minute_passes()
    await until(lambda: case.topic.of(Minute)[-1].number == 41)

    minutes, lost = case.topic.of(Minute), case.events[-1]
    assert 40 == lost.minutes + len(minutes) - 1
    assert lost.minutes == minutes[-1].lost
    assert lost.events == minutes[-1].left_out == 40 - (len(case.topic.of(Told)) - 1)


async def test_kafka_is_silent(case, monkeypatch):
    """A write that nobody answers ends, and is tried again with a new writer."""
    monkeypatch.setattr(module, "WRITE_SECS", 0.02)
    case.topic.blocked = True
    case.recorder.take(TaskStarted(of=OF))
    await until(lambda: case.topic.closed)
    case.topic.blocked = False
    await until(lambda: case.topic.of(Told))

    assert "Kafka has not answered in time" == case.events[0].reason


async def test_a_stop_writes_the_last_minute(monkeypatch):
    """A worker that stops writes what it has counted, and what happened until then."""
    case = Case(monkeypatch)
    async with case.writer:
        case.recorder.take(BatchDelivered(of=OF, posts=4, waits=(), usd=0.0))
        case.recorder.take(TaskStarted(of=OF))

    assert 4 == case.topic.of(Minute)[0].connectors["posts"].delivered
    last = case.topic.of(Told)[-1]
    assert ["task.started", "worker.stopped"] == [told.kind for told in case.topic.of(Told)]
    assert ({"exit_code": 3}, None) == (last.fields, last.connector)
    assert 1 == case.topic.closed


async def test_a_stop_while_something_is_written(monkeypatch):
    """The stop waits for it, and neither writes a record twice nor stumbles over what the other has written."""
    case = Case(monkeypatch)
    write, entered, leave = case.topic.write, asyncio.Event(), asyncio.Event()

    async def slow(*args):
        entered.set()
        await leave.wait()
        await write(*args)

    case.topic.write = slow
    async with case.writer:
        case.recorder.take(TaskStarted(of=OF))
        await entered.wait()
        asyncio.get_running_loop().call_later(0.05, leave.set)

    assert ([1, 2], 1) == ([told.number for told in case.topic.of(Told)], len(case.topic.of(Minute)))
    assert case.writer.crash_reason is None


@pytest.mark.parametrize("trouble", [{"blocked": True}, {"away": KafkaConnectionError("no broker")}])
async def test_a_stop_does_not_wait_for_kafka(monkeypatch, trouble):
    """A worker that stops without Kafka stops in time."""
    case = Case(monkeypatch)
    async with asyncio.timeout(5), case.writer:
        vars(case.topic).update(trouble)
        case.recorder.take(TaskStarted(of=OF))

    assert [] == case.topic.records
