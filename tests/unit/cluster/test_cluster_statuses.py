import asyncio
from types import SimpleNamespace

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.statuses import MAX_UNTOLD, SharedStatus, Statuses
from connector.records.record import TaskId
from connector.task.status import State, TaskStatus
from connector.telemetry.events.cluster import StatusNotPublished
from connector.telemetry.events.kafka import KafkaAdmits, KafkaRefuses
from tests.unit.fakes import TASK, until


class FakeProducer:
    """Faust's producer, as far as statuses need it."""

    def __init__(self):
        self.sent, self.fail = [], None

    async def send(self, topic, key, value, *_):
        if self.fail:
            raise self.fail
        self.sent.append((topic, key, value))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def statuses(worker_id="here:8083", producer=None, emit=lambda _: None):
    return Statuses(SimpleNamespace(producer=producer), "connector-statuses", worker_id, emit)


RUNNING = TaskStatus(state=State.RUNNING, detail="waiting", connections=("a", 1793536496.0), open_now=("a",))
FAILED = TaskStatus(state=State.FAILED, trace="NotAuthorized: X answered 401")
CONNECTIONS = st.lists(st.text("0123456789abc") | st.floats(0, 4e9), max_size=3)
WORDS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


async def test_published_in_order():
    """Each state is told in Connect's words with four fields more, in the order it came."""
    producer = FakeProducer()
    async with statuses(producer=producer) as publishing:
        publishing.publish(TASK, RUNNING)
        publishing.publish(TASK, FAILED)
        await asyncio.wait_for(publishing.flush(), 5)

    assert [("connector-statuses", b"status-task-posts-0")] * 2 == [sent[:2] for sent in producer.sent]
    assert [
        {
            "state": "RUNNING",
            "trace": None,
            "worker_id": "here:8083",
            "generation": 0,
            "version": None,
            "detail": "waiting",
            "connections": ["a", 1793536496.0],
            "open_now": ["a"],
            "outages": [],
            "process": publishing.process,
        },
        {
            "state": "FAILED",
            "trace": "NotAuthorized: X answered 401",
            "worker_id": "here:8083",
            "generation": 0,
            "version": None,
            "detail": None,
            "connections": [],
            "open_now": [],
            "outages": [],
            "process": publishing.process,
        },
    ] == [orjson.loads(sent[2]) for sent in producer.sent]


async def test_own_state_is_never_behind():
    """What this worker says of itself it knows at once, before Kafka does."""
    mine = statuses()
    mine.publish(TASK, FAILED)

    assert SharedStatus(status=FAILED, worker_id="here:8083") == mine.of(TASK)
    assert mine.of(TaskId("posts", 1)) is None


async def test_kafka_away():
    """A state that cannot be told is said in the log, and the next one is tried."""
    producer, events = FakeProducer(), []
    producer.fail = KafkaConnectionError("no broker")
    async with statuses(producer=producer, emit=events.append) as publishing:
        publishing.publish(TASK, RUNNING)
        await until(lambda: events)
        producer.fail = None
        publishing.publish(TASK, FAILED)
        await asyncio.wait_for(publishing.flush(), 5)

    assert [StatusNotPublished(reason="KafkaConnectionError: KafkaConnectionError: no broker")] == events
    assert 1 == len(producer.sent)


@given(st.sampled_from(State), WORDS, WORDS, CONNECTIONS, CONNECTIONS)
def test_other_workers_read_what_was_written(state, trace, detail, connections, open_now):
    """What one worker encodes, another applies."""
    status = TaskStatus(
        state=state, trace=trace, detail=detail, connections=tuple(connections), open_now=tuple(open_now)
    )

    async def told():
        there = statuses("there:8083")
        here = statuses()
        here.apply(b"status-task-posts-0", there._encode(status))
        return here.of(TASK)

    assert SharedStatus(status=status, worker_id="there:8083") == asyncio.run(told())


async def test_tombstone_removes():
    """A removed state is unknown; a tombstone for nothing changes nothing."""
    here = statuses()
    here.publish(TASK, RUNNING)
    here.apply(b"status-task-posts-0", None)
    here.apply(b"status-task-posts-0", None)

    assert here.of(TASK) is None


async def test_connects_own_record():
    """A status as Kafka Connect writes it lacks our two fields, and is read all the same."""
    here = statuses()
    here.apply(b"status-task-posts-0", b'{"state":"PAUSED","trace":null,"worker_id":"w:1","generation":3}')

    assert SharedStatus(status=TaskStatus(state=State.PAUSED), worker_id="w:1") == here.of(TASK)


GARBAGE = [
    b"",
    b"\xff",
    b"null",
    b"7",
    b"[]",
    b"{}",
    b'{"state":"RUNNING"}',
    b'{"state":"DANCING","worker_id":"w:1"}',
    b'{"state":["RUNNING"],"worker_id":"w:1"}',
    b'{"state":"RUNNING","worker_id":"w:1","connections":7}',
    b'{"state":"RUNNING","worker_id":"w:1","open_now":7}',
    b'{"state":"RUNNING","worker_id":"w:1","connections":null}',
    b'{"state":"RUNNING","worker_id":"w:1","connections":[null]}',
    b'{"state":"RUNNING","worker_id":"w:1","connections":[["a"]]}',
]


@pytest.mark.parametrize("value", GARBAGE)
async def test_garbage_is_said_and_skipped(value, caplog):
    """A record that is no status neither ends the worker nor replaces what is known."""
    here = statuses()
    here.publish(TASK, RUNNING)
    here.apply(b"status-task-posts-0", value)

    assert RUNNING == here.of(TASK).status
    assert "A record of connector-statuses is no status: key b'status-task-posts-0'" in caplog.text


async def test_nothing_to_catch_up_with():
    """Without a log to follow, all is known that can be."""
    await asyncio.wait_for(statuses().caught_up(), 1)


async def test_catches_up_with_the_log():
    """Before the log has been read nobody trusts what is known."""
    here, log = statuses(), SimpleNamespace(caught_up=asyncio.Event())
    here.follow(log)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(here.caught_up(), 0.01)
    log.caught_up.set()

    await asyncio.wait_for(here.caught_up(), 1)


ENDED = TaskStatus(state=State.UNASSIGNED)


def told_by(worker, status):
    return b"status-task-posts-0", worker._encode(status)


@pytest.mark.parametrize("address", ["old:1", "heir:1"])
async def test_fenced_owner_does_not_speak_for_its_heir(address):
    """
    One that wakes up and ends its task has the last word in the topic, but not on the task.

    Also where both have one address: each serves its web interface on the loopback address of its own host.
    """
    here, old, heir = statuses(), statuses(address), statuses("heir:1")
    here.apply(*told_by(old, RUNNING))
    here.apply(*told_by(heir, RUNNING))
    here.apply(*told_by(old, ENDED))
    assert SharedStatus(status=RUNNING, worker_id="heir:1") == here.of(TASK)
    here.apply(*told_by(heir, ENDED))

    assert SharedStatus(status=ENDED, worker_id="heir:1") == here.of(TASK)


async def test_states_of_older_versions_are_told_apart_by_their_address():
    """During an upgrade some workers do not say in which process they told a state."""
    here = statuses()
    for worker, state in (("old:1", "RUNNING"), ("heir:1", "RUNNING"), ("old:1", "UNASSIGNED")):
        here.apply(b"status-task-posts-0", b'{"state":"%s","worker_id":"%s"}' % (state.encode(), worker.encode()))

    assert SharedStatus(status=TaskStatus(state=State.RUNNING), worker_id="heir:1") == here.of(TASK)


async def test_heir_says_again_what_was_overwritten():
    """Whoever reads the topic from its begin finds only the last record of a task."""
    producer = FakeProducer()
    async with statuses(producer=producer) as here:
        here.publish(TASK, RUNNING)
        here.apply(*told_by(statuses("old:1"), ENDED))
        await asyncio.wait_for(here.flush(), 5)

    assert SharedStatus(status=RUNNING, worker_id="here:8083") == here.of(TASK)
    assert ["RUNNING", "RUNNING"] == [orjson.loads(sent[2])["state"] for sent in producer.sent]


async def test_heir_that_ends_before_it_began_leaves_the_ghosts():
    """What the dead owner told of its connections is still true."""
    here = statuses()
    here.apply(*told_by(statuses("dead:1"), RUNNING))
    here.apply(*told_by(statuses("heir:1"), ENDED))

    assert SharedStatus(status=RUNNING, worker_id="dead:1") == here.of(TASK)


async def test_status_that_may_not_be_written():
    """Without the right to write states that is said once, and the newest one is told as soon as it is allowed."""
    producer, events = FakeProducer(), []
    producer.fail = TopicAuthorizationFailedError("connector-statuses")
    async with Statuses(
        SimpleNamespace(producer=producer), "connector-statuses", "here:8083", events.append, user="alice"
    ) as publishing:
        publishing.publish(TASK, RUNNING)
        publishing.publish(TASK, FAILED)
        await asyncio.wait_for(publishing.flush(), 5)
        producer.fail = None
        publishing._publish_refused_now()
        await until(lambda: producer.sent)
        await asyncio.wait_for(publishing.flush(), 5)

    assert ["FAILED"] == [orjson.loads(value)["state"] for *_, value in producer.sent]
    assert [KafkaRefuses, KafkaAdmits] == [type(event) for event in events]
    assert events[0].reason.endswith("allow WRITE on topic connector-statuses.")


async def test_untold_states_are_bounded():
    """While Kafka is away thousands of reconnects wait no longer than the last of each task; that one is told."""
    other = TaskId("posts", 1)
    here = statuses(producer=FakeProducer())
    here.publish(other, FAILED)
    for number in range(5_000):
        here.publish(TASK, TaskStatus(state=State.RUNNING, detail=str(number)))
        assert len(here._untold) <= MAX_UNTOLD + 1
    async with here:
        await asyncio.wait_for(here.flush(), 20)

    told = [(key, orjson.loads(value)["detail"]) for _, key, value in here._app.producer.sent]
    assert (b"status-task-posts-1", None) in told
    assert (b"status-task-posts-0", "4999") == told[-1]
