"""Posts whose schema has no known id wait: in order, without loss, and with a reason."""

import asyncio

import pytest

from connector.errors import RegistryAway, SchemaRefused
from connector.formats.schemas.writer import Stamp, Unfitting
from connector.records.record import Altered, RecordList, SourceRecord
from connector.task import batcher, task
from connector.task.stamping import stamp
from connector.task.status import State
from tests.unit.fakes import (
    MemoryKafka,
    MemorySink,
    Running,
    ScriptedSource,
    SharedSource,
    Sharing,
    post,
    shared_post,
    until,
)

HEAD = b"\0\0\0\0\7"
AWAY = "RegistryAway: nobody answers"


class ScriptedSchemas:
    """`connector.task.ports.Schemas`: nothing is known until `answer`."""

    def __init__(self, *, known=False):
        self.known, self.refusal, self.waiting = known, None, None
        self.asked, self._told = [], []

    def stamps_for(self, topics, told):
        self.asked.append(tuple(topics))
        if self.refusal is not None:
            raise self.refusal
        if not self.known:
            self._told.append(told)
            return None
        return {topic: Stamp(HEAD + topic.encode() + b":") for topic in topics}

    def away(self):
        self.waiting = f"{RegistryAway.__name__}: nobody answers"
        self._tell()

    def answer(self):
        self.known, self.waiting = True, None
        self._tell()

    def refuse(self, error):
        self.refusal = error
        self._tell()

    def _tell(self):
        told, self._told = self._told, []
        for call in told:
            call()


class Bodies:
    """A transformer that writes the line as a body."""

    around_bytes = 0

    def know_rules(self, labels):
        pass

    def record_of(self, post_id, line, made_ms, source, max_bytes):
        return SourceRecord(b"%d" % post_id, line, made_ms, source, Altered(post_id, line=line))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(task, "LOOK_AGAIN_SECS", 0.01)


@pytest.fixture
def kafka():
    return MemoryKafka()


def wish(schemas, **more):
    return {"transformer": Bodies(), "schemas": schemas, "value_format": "avro", **more}


def value_of(line, topic="posts"):
    return HEAD + topic.encode() + b":" + line


async def test_posts_wait_and_go_in_order(kafka):
    """Until the registry answers nothing is committed; then all that came is there, once and in order."""
    schemas, lines = ScriptedSchemas(), [post(number) for number in range(9)]
    async with Running([ScriptedSource([tuple(lines[:4]), *lines[4:]])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: running.task.undelivered_posts == 9)
        schemas.away()
        await until(lambda: running.task.status.detail == AWAY)
        unready = running.task.unready
        before = list(kafka.commits)
        schemas.answer()
        await until(lambda: len(kafka.records) == 9)
        await until(lambda: running.task.status.detail is None)

    assert [] == [share for share in before if share.records]
    assert f"posts wait: {AWAY}" == unready
    assert list(map(value_of, lines)) == kafka.values
    assert 9 == kafka.offset()["posts"]


async def test_coverage_begins_before_posts_wait(kafka):
    """If the worker dies while the very first posts wait, the next owner knows that it has missed them."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([(post(1), post(2))])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: schemas.asked)
        await until(lambda: kafka.offsets)
        offset = kafka.offset()
        running.task.abandon()
        await asyncio.wait_for(running.task.ended.wait(), 10)

    assert offset["covered_from"]
    assert 0 == offset["posts"]
    assert [] == kafka.records


async def test_the_wait_is_told_to_the_group(kafka):
    """Nothing is committed while posts wait, so the status does not wait for a proof."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: schemas.asked)
        schemas.away()
        await until(lambda: any(status.detail == AWAY for status in running.statuses))
        schemas.answer()
        await until(lambda: kafka.records)


async def test_held_posts_count_in_the_buffer(kafka):
    """What waits takes memory, so the buffer is full when it waits long enough."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([post(1), post(2)])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: schemas.asked)
        held = running.task._batcher.size_bytes
        schemas.answer()
        await until(lambda: len(kafka.records) == 2)

    assert held > 0
    assert 0 == running.task._batcher.size_bytes


async def test_refused(kafka):
    """The task FAILS with the registry's words; nothing of the batch is committed, and it may be tried again."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: schemas.asked)
        schemas.refuse(SchemaRefused("409: incompatible"))
        await asyncio.wait_for(running.task.ended.wait(), 10)

    assert (State.FAILED, "SchemaRefused: 409: incompatible") == (running.task.status.state, running.task.status.trace)
    assert running.task.status.may_pass
    assert [] == kafka.records


async def test_a_stop_does_not_lose_what_waits(kafka):
    """The next owner begins at the committed offset, which knows nothing of posts that wait."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: schemas.asked)
        running.task.begin_stop()
        await asyncio.sleep(0.05)
        ended_early = running.task.ended.is_set()
        running.task.abandon()
        await asyncio.wait_for(running.task.ended.wait(), 10)

    assert not ended_early
    assert [] == kafka.records
    assert [] == [write for write in kafka.ledger if write.value]


async def test_an_answer_while_stopping(kafka):
    """A registry that answers before the end lets all that was read go out."""
    schemas = ScriptedSchemas()
    async with Running([ScriptedSource([post(1), post(2)])], MemorySink(kafka), **wish(schemas)) as running:
        await until(lambda: running.task.undelivered_posts == 2)
        running.task.begin_stop()
        schemas.answer()
        await asyncio.wait_for(running.task.ended.wait(), 10)

    assert [value_of(post(1)), value_of(post(2))] == kafka.values


async def test_others_do_not_wait_for_long(kafka, monkeypatch):
    """On a shared stream, whose registry is away FAILS after a while; the others go on, and lose nothing."""
    monkeypatch.setattr(batcher, "SHARED_WAIT_SECS", 0.05)
    schemas = ScriptedSchemas()
    wishes = {"birds": wish(schemas), "cats": {}}
    lines = (shared_post(1, "birds"), shared_post(2, "cats"), shared_post(3, "birds", "cats"))
    async with Sharing(SharedSource([lines]), MemorySink(kafka), wishes) as running:
        await until(lambda: len(kafka.of("cats")) == 2)
        statuses = running.task.statuses

    birds = next(status for of, status in statuses.items() if of.connector == "birds")
    assert list(lines[1:]) == kafka.of("cats")
    assert [] == kafka.of("birds")
    assert (State.FAILED, True) == (birds.state, birds.may_pass)
    assert birds.trace.startswith("RegistryUnanswered: The schema registry does not answer; connectors that share")


async def test_all_wait_if_nobody_is_held_up(kafka, monkeypatch):
    """Where all connectors of a stream wait, none of them FAILS: that would cost a gap and help nobody."""
    monkeypatch.setattr(batcher, "SHARED_WAIT_SECS", 0.05)
    schemas = ScriptedSchemas()
    wishes = {"birds": wish(schemas), "cats": wish(schemas)}
    async with Sharing(SharedSource([(shared_post(1, "birds", "cats"),)]), MemorySink(kafka), wishes) as running:
        await until(lambda: schemas.asked)
        schemas.away()
        await asyncio.sleep(0.3)
        states = {status.state for status in running.task.statuses.values()}
        schemas.answer()
        await until(lambda: kafka.of("birds") and kafka.of("cats"))

    assert {State.RUNNING} == states


async def test_who_joins_does_not_wait_for_long(kafka, monkeypatch):
    """A connector that comes to the stream of one that waits is held up like those that were there."""
    monkeypatch.setattr(batcher, "SHARED_WAIT_SECS", 0.05)
    schemas = ScriptedSchemas()
    source = SharedSource([(shared_post(1, "birds"),)])
    async with Sharing(source, MemorySink(kafka), {"birds": wish(schemas)}) as running:
        await until(lambda: schemas.asked)
        running.change({"birds": wish(schemas), "cats": {}})
        await until(lambda: any(status.state is State.FAILED for status in running.task.statuses.values()))
        states = {of.connector: status.state for of, status in running.task.statuses.items()}

    assert {"birds": State.FAILED, "cats": State.RUNNING} == states


async def test_one_refused_schema_stops_one_connector(kafka):
    """The others on the stream go on."""
    schemas = ScriptedSchemas()
    schemas.refusal = SchemaRefused("409: incompatible")
    wishes = {"birds": wish(schemas), "cats": wish(ScriptedSchemas(known=True))}
    async with Sharing(SharedSource([(shared_post(1, "birds", "cats"),)]), MemorySink(kafka), wishes) as running:
        await until(lambda: kafka.of("cats"))
        states = {of.connector: status.state for of, status in running.task.statuses.items()}

    assert {"birds": State.FAILED, "cats": State.RUNNING} == states
    assert [value_of(shared_post(1, "birds", "cats"), "cats")] == kafka.of("cats")


# -- a list of records


def listed(*altered):
    records = RecordList()
    for number, each in enumerate(altered):
        records.append(SourceRecord(b"%d" % number, b"body", number, None, each))
    return records


def test_each_topic_has_its_own_stamp():
    """A routed record has the id of its topic's subject; a tombstone has no head."""
    records = listed(Altered(1), None, Altered(3, topic="cats"), Altered(4, tombstone=True))
    schemas = ScriptedSchemas(known=True)

    assert stamp(records, "posts", schemas, lambda: None)
    assert [value_of(b"body"), value_of(b"body"), value_of(b"body", "cats"), b"body"] == records.values
    assert [("posts", "cats")] == schemas.asked


def test_untouched_while_unknown():
    """A list that waits is as it was, so it is stamped once."""
    records = listed(None, None)

    assert not stamp(records, "posts", ScriptedSchemas(), lambda: None)
    assert [b"body", b"body"] == records.values


def test_a_version_that_cannot_take_a_post():
    """It is refused like a schema that the registry refuses."""

    class Latest(ScriptedSchemas):
        def stamps_for(self, topics, told):
            def change(body):
                raise Unfitting("no default")

            return {topic: Stamp(HEAD, change) for topic in topics}

    with pytest.raises(SchemaRefused, match="latest version of its schema: no default"):
        stamp(listed(None), "posts", Latest(), lambda: None)
