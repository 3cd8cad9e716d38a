import asyncio
import contextlib
import os
import threading
import time
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.coverage.offset import Coverage
from connector.coverage.spend import Budget, Spend, day_of
from connector.errors import ConnectionLost, NotAuthorized, OutOfCredit, RightMissing, ServiceUnavailable
from connector.formats.post.form import ConnectForm
from connector.records import clock
from connector.records.record import Limits, OffsetWrite
from connector.records.snowflake import first_id
from connector.task import backoff, ownership, pace, reader, task
from connector.task.backoff import Schedule
from connector.task.buffer import BATCHES
from connector.task.console import Console
from connector.task.status import State
from connector.telemetry.events.task import (
    BatchDelivered,
    DeliveryDelayed,
    DeliveryResumed,
    DuplicatesDropped,
    GhostReleased,
    RecordDropped,
    RetryScheduled,
    StreamConnected,
    TaskFailed,
    TaskFenced,
    TaskPaused,
    TaskRestarting,
    TaskResumed,
    TaskStarted,
    TaskStopped,
    TimeLimitReached,
)
from connector.transforms.chain import Chain
from connector.transforms.transformer import Transformer
from connector.transforms.values import with_timestamps, write_json
from tests.unit.fakes import (
    AWAY,
    CONFIRMED,
    DOUBTFUL,
    KEEP_ALIVE,
    KEY,
    LOST,
    MADE_MS,
    RULE,
    Gate,
    Held,
    MemoryKafka,
    MemorySink,
    Running,
    ScriptedSource,
    arrival,
    fill,
    key_of,
    letters_to,
    post,
    skew_to,
    until,
)

BAD = b'{"data":{}}'


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(ownership, "PROOF_POLL_SECS", 0.002)
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 0.0)
    monkeypatch.setattr("connector.coverage.offset.MARGIN_MS", 0)
    monkeypatch.setitem(backoff.SCHEDULES, ConnectionLost, Schedule(first=0.0, second=0.0, cap=0.0))
    quick = Schedule(first=0.01, second=0.012, factor=1.2, cap=0.05)
    monkeypatch.setitem(backoff.SCHEDULES, RightMissing, quick)


@pytest.fixture
def kafka():
    return MemoryKafka()


# -- one life


async def test_delivers_what_arrives_in_order(kafka):
    """Posts are committed in the order of the socket, with their ids as keys and their creation times."""
    source = ScriptedSource([post(1), (post(2), post(3)), ConnectionLost("reset")], [post(4)])
    async with Running([source], MemorySink(kafka)):
        await until(lambda: len(kafka.records) == 4)

    assert [post(1), post(2), post(3), post(4)] == kafka.values
    assert [key_of(1), key_of(2), key_of(3), key_of(4)] == [record.key for record in kafka.records]
    assert [MADE_MS + 1, MADE_MS + 2, MADE_MS + 3, MADE_MS + 4] == [record.timestamp_ms for record in kafka.records]


async def test_offset_goes_with_its_posts(kafka):
    """Each commit of posts holds the source offset behind them, which counts them and never goes back."""
    source = ScriptedSource([post(1), KEEP_ALIVE, (post(2), post(3)), ConnectionLost("reset")], [post(4)])
    began = int(time.time() * 1000)
    async with Running([source], MemorySink(kafka)):
        await until(lambda: len(kafka.records) == 4)

    delivered = 0
    for batch in kafka.commits:
        delivered += len(batch.records)
        assert [KEY] == [offset.key for offset in batch.offsets]
        assert delivered == Coverage.decode(batch.offsets[0].value).posts
    covered = [Coverage.decode(value).covered_to_ms for _, value in kafka.offsets]
    assert sorted(covered) == covered
    assert began <= covered[0]
    assert covered[-1] <= int(time.time() * 1000)


async def test_life_is_told(kafka):
    """Start, connection, delivery and stop are events; the states go UNASSIGNED, RUNNING, UNASSIGNED."""
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka)) as running:
        await until(lambda: kafka.records and running.said(StreamConnected))
        assert State.RUNNING is running.task.status.state
        assert running.task.unready is None
        (subscriber,) = running.task.subscribers
        assert running.task.covered_to_ms(subscriber) == Coverage.decode(kafka.offsets[-1][1]).covered_to_ms

    steps = running.said(TaskStarted, TaskResumed, StreamConnected, TaskStopped)
    delivered = [event for event in running.said(BatchDelivered) if event.posts]
    assert [TaskStarted, StreamConnected, TaskStopped] == list(map(type, steps))
    assert [1] == [event.posts for event in delivered]
    assert running.events.index(steps[0]) < running.events.index(delivered[0]) < running.events.index(steps[-1])
    assert 1 == running.said(TaskStopped)[0].posts
    assert [State.RUNNING, State.UNASSIGNED] == [running.states[0], running.states[-1]]
    assert "UNASSIGNED: not running" == running.task.unready


async def test_waits_are_told_by_post(kafka):
    """A delivered batch says from when its posts waited, since they arrived and since they were made; and the price."""
    async with Running([ScriptedSource([(post(1), post(2))])], MemorySink(kafka)) as running:
        await until(lambda: kafka.records)

    (delivered,) = [event for event in running.said(BatchDelivered) if event.posts]
    ((to_commit, age, posts),) = delivered.waits
    assert 2 == posts
    assert 0 <= to_commit < 5
    assert max(time.time() - MADE_MS / 1000, 0) == pytest.approx(age, abs=5)
    assert 0.01 == sum(event.usd for event in running.said(BatchDelivered))


async def test_duplicates_are_dropped_and_counted(kafka):
    """X may send a post twice, also on another connection; it is delivered once."""
    source = ScriptedSource([post(1), (post(2), post(1)), ConnectionLost("reset")], [post(2), post(3)])
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: post(3) in kafka.values)

    assert [post(1), post(2), post(3)] == kafka.values
    assert 2 == sum(event.posts for event in running.said(DuplicatesDropped))


async def test_posts_are_printed_once_delivered(kafka, tmp_path):
    """With a console each delivered post is a line there, the last ones before the task has stopped."""
    with (tmp_path / "out").open("w") as out:
        source = ScriptedSource([post(1), post(2)])
        async with Running([source], MemorySink(kafka), console=Console(out, lambda _: None)):
            await until(lambda: 2 == len(kafka.records))

    assert ["post 1", "post 2"] == [line[-6:] for line in (tmp_path / "out").read_text().splitlines()]


async def test_stalled_terminal_delays_no_delivery(kafka, monkeypatch):
    """Nobody reads standard output: all posts are delivered, Kafka is not blamed for it, and the task stops in time."""
    monkeypatch.setattr("connector.task.in_flight.DELAYED_SECS", 0.05)
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w", encoding="utf-8") as out:  # noqa: ASYNC230, PTH123
        fill(writing)
        source = ScriptedSource([post(number) for number in range(20)])
        console = Console(out, lambda _: None)
        async with Running([source], MemorySink(kafka), console=console) as running:
            await until(lambda: 20 == len(kafka.records))
            async with asyncio.timeout(20):
                await running.task._in_flight.confirmed()
            assert running.task.unready is None
            await running.stop()

    assert [] == running.said(DeliveryDelayed, TaskRestarting)


async def test_next_owner_goes_on_from_the_offset(kafka):
    """A task that starts reads the committed offset and counts on from it."""
    source = ScriptedSource([post(1), post(2)])
    async with Running([source], MemorySink(kafka)):
        await until(lambda: 2 == len(kafka.records))
    async with Running([ScriptedSource([post(3)])], MemorySink(kafka)) as second:
        await until(lambda: 3 == len(kafka.records))

    assert 2 == second.said(TaskResumed)[0].posts
    assert 3 == kafka.offset()["posts"]


async def test_ledger_is_dated_by_xs_clock(kafka):
    """A host's clock that is an hour slow does not make posts of now seem to lie ahead."""
    made_ms = int((time.time() + 3600) * 1000)
    line = b'{"data":{"id":"%d"}}' % first_id(made_ms)
    async with Running([ScriptedSource([line], skew_secs=3600.0)], MemorySink(kafka)):
        await until(lambda: kafka.records)

    assert [made_ms] == [write.timestamp_ms for write in kafka.ledger]


# -- a commit whose outcome is unknown


async def test_commit_that_took_effect_is_not_repeated(kafka):
    """A commit fails, but the offsets topic says it is in: nothing is delivered twice."""
    sink = MemorySink(kafka, [CONFIRMED, DOUBTFUL])
    source = ScriptedSource([post(1), gate := Gate(), post(2), second := Gate(), post(3)])
    async with Running([source], sink) as running:
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: running.said(TaskRestarting) and 2 == sink.opened)
        second.set()
        await until(lambda: 3 == len(kafka.records))

    assert [post(1), post(2), post(3)] == kafka.values
    assert 3 == sum(event.posts for event in running.said(BatchDelivered))


async def test_commit_that_did_not_take_effect_is_repeated(kafka):
    """A commit fails and is not in: the same posts are delivered by the next producer, in order."""
    sink = MemorySink(kafka, [LOST, LOST])
    source = ScriptedSource([(post(1), post(2)), post(3)])
    async with Running([source], sink) as running:
        await until(lambda: 3 == len(kafka.records))

    assert [post(1), post(2), post(3)] == kafka.values
    assert 3 == sink.opened
    assert 1 == source.connects
    assert 3 == sum(event.posts for event in running.said(BatchDelivered))


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL, AWAY])
async def test_batch_built_meanwhile_survives(kafka, outcome):
    """While a commit is in flight the next batch is built; if the commit then fails both are delivered, once."""
    sink = MemorySink(kafka, [held := Held(outcome)])
    source = ScriptedSource([post(1), gate := Gate(), (post(2), post(3)), post(4)])
    async with Running([source], sink, batch_max_records=2) as running:
        await asyncio.wait_for(held.begun.wait(), 20)
        gate.set()
        await until(lambda: 4 == len(source.put_lines))
        await until(lambda: running.task.readers[0].buffer.posts < 3)  # the next batch is built
        assert 4 == running.task.undelivered_posts
        held.released.set()
        await until(lambda: 4 == len(kafka.records))

    assert [post(1), post(2), post(3), post(4)] == kafka.values


async def test_what_is_around_each_post_counts(kafka):
    """A batch takes no more memory than a third of the buffer, whatever stands around the posts in it."""
    form = ConnectForm(write_json, with_timestamps, changed=False, with_raw=False)
    transformer = Transformer(Chain(()), connector="posts", topic="posts", labels=(), reserved=(), form=form)
    sink = MemorySink(kafka, [held := Held(CONFIRMED)])
    sink.limits = Limits(record_bytes=100_000)
    source = ScriptedSource([post(1), gate := Gate(), *map(post, range(2, 9))])
    of_three = {"buffer_max_bytes": BATCHES * 3 * form.around_bytes, "transformer": transformer, "form": form}
    async with Running([source], sink, **of_three) as running:
        await asyncio.wait_for(held.begun.wait(), 20)
        gate.set()
        await until(lambda: 8 == len(source.put_lines))
        held.released.set()
        await until(lambda: 8 == len(kafka.records))

    assert 3 == max(event.posts for event in running.said(BatchDelivered))


async def test_dead_letter_alone_survives_a_failed_commit(kafka):
    """A dead letter whose commit fails is delivered by the next one, although it moves no other part of the offset."""
    sink = MemorySink(kafka, [CONFIRMED, LOST])
    source = ScriptedSource([post(1), gate := Gate(), BAD])
    tolerant = {"tolerate_bad_records": True, "destination": letters_to("bad"), "settle_secs": 60.0}
    async with Running([source], sink, **tolerant) as running:
        await until(lambda: kafka.records)
        gate.set()
        await until(lambda: running.said(TaskRestarting))
        await until(lambda: kafka.dead_letters)

    assert [BAD] == [letter.value for letter in kafka.dead_letters]


async def test_broker_away_is_no_failure(kafka):
    """Kafka may be away for as long as it likes: the task tries again and again, and then delivers all."""
    sink = MemorySink(kafka, [AWAY], opens=[CONFIRMED, *[AWAY] * 12])
    source = ScriptedSource([post(1), post(2)])
    async with Running([source], sink) as running:
        await until(lambda: 2 == len(kafka.records))
        assert State.RUNNING is running.task.status.state

    assert [post(1), post(2)] == kafka.values
    assert 13 == len(running.said(TaskRestarting))
    assert {"BrokerAway"} == {event.error for event in running.said(TaskRestarting)}


async def test_task_waits_for_a_broker_at_its_start(kafka):
    """Without Kafka nothing is read: a post that X has sent costs money and must have a place to go."""
    sink = MemorySink(kafka, opens=[AWAY] * 3)
    source = ScriptedSource([post(1)])
    async with Running([source], sink) as running:
        await until(lambda: 3 == len(running.said(TaskRestarting)))
        assert 0 == source.connects or 4 == sink.opened
        await until(lambda: kafka.records)

    assert 1 == source.prepared


REFUSED = RightMissing("User alice lacks a right in Kafka: allow WRITE on topic posts.")


async def test_missing_right_is_waited_for(kafka):
    """A right that is missing is no failure: the task says what to allow, waits longer each time, and delivers all."""
    sink = MemorySink(kafka, [REFUSED], opens=[CONFIRMED, *[REFUSED] * 7])
    source = ScriptedSource([post(1), post(2), post(3)])
    async with Running([source], sink) as running:
        await until(lambda: 3 == len(kafka.records))
        await until(lambda: running.task.unready is None)
        told = [status.detail for status in running.statuses]

    assert [post(1), post(2), post(3)] == kafka.values
    assert {("RightMissing", str(REFUSED))} == {(event.error, event.reason) for event in running.said(TaskRestarting)}
    pauses = [event.retry_in_secs for event in running.said(TaskRestarting)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1]
    assert f"RightMissing: {REFUSED}" in told
    assert [] == running.said(TaskFailed)


async def test_missing_right_at_the_start(kafka):
    """Before the first post, too, the status names the right; it is RUNNING, and no detail stays once that is given."""
    sink = MemorySink(kafka, opens=[REFUSED] * 3)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: running.task.status.detail == f"RightMissing: {REFUSED}")
        assert State.RUNNING is running.task.status.state
        assert running.task.unready == f"starting over: RightMissing: {REFUSED}"
        await until(lambda: kafka.records)
        await until(lambda: running.task.status.detail is None)


async def test_stop_does_not_wait_for_a_right(kafka):
    """A task that has read nothing and waits for a right ends when it is stopped."""
    sink = MemorySink(kafka, opens=[REFUSED] * 10**6)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: running.said(TaskRestarting))
        await asyncio.wait_for(running.task.stop(), 20)

        assert State.UNASSIGNED is running.task.status.state


async def test_stop_with_posts_tries_until_it_is_cut_short(kafka):
    """A task that has read posts goes on trying while it is stopped, and delivers them if the right is given."""
    sink = MemorySink(kafka, [REFUSED], opens=[CONFIRMED, *[REFUSED] * 5])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: running.said(TaskRestarting))
        await asyncio.wait_for(running.task.stop(), 20)

    assert [post(1)] == kafka.values


async def test_five_failures_in_a_row_fail_the_task(kafka):
    """After five deliveries without a commit between a person has to look: FAILED, with the reason."""
    sink = MemorySink(kafka, [LOST] * 9)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await running.ended()

    reason = "5 deliveries failed without a commit between: KafkaError: the outcome is unknown"
    assert State.FAILED is running.task.status.state
    assert f"DeliveriesFailed: {reason}" == running.task.status.trace
    assert reason == running.said(TaskFailed)[0].reason
    assert 5 == len(sink.attempts)
    assert f"FAILED: DeliveriesFailed: {reason}" == running.task.unready


async def test_a_commit_between_forgives(kafka):
    """Failures are counted from the last commit on: after one, four more are survived, and the fifth is not."""
    sink = MemorySink(kafka, [*[LOST] * 4, CONFIRMED, *[LOST] * 4, CONFIRMED, *[LOST] * 5])
    source = ScriptedSource([post(1), first := Gate(), post(2), second := Gate(), post(3)])
    async with Running([source], sink) as running:
        await until(lambda: 1 == len(kafka.records))
        first.set()
        await until(lambda: 2 == len(kafka.records))
        second.set()
        await running.ended()

    assert [post(1), post(2)] == kafka.values
    assert State.FAILED is running.task.status.state


async def test_unknown_error_fails_the_task(kafka, monkeypatch):
    """An error that nobody thought of is FAILED with its class, never a task that is silently dead."""
    sink = MemorySink(kafka)
    monkeypatch.setattr(sink, "encode", lambda _: 1 / 0)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await running.ended()

    assert "ZeroDivisionError: division by zero" == running.task.status.trace
    assert "ZeroDivisionError" == running.said(TaskFailed)[0].error


async def test_a_cancellation_that_nobody_asked_for_fails_the_task(kafka, monkeypatch):
    """A library may raise one at whoever awaits it: the task is FAILED and tried again, not silently dead."""
    sink = MemorySink(kafka)

    async def encode(_):
        raise asyncio.CancelledError

    monkeypatch.setattr(sink, "encode", encode)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await running.ended()

    assert running.task.status.trace.startswith("Interrupted: ")
    assert running.task.status.may_pass
    assert "Interrupted" == running.said(TaskFailed)[0].error


async def test_a_part_that_was_cancelled_fails_the_task(kafka):
    """Such as a repair: nothing else would show that it has ended."""
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka)) as running:
        await until(lambda: kafka.records)
        (subscriber,) = running.task.subscribers
        subscriber.runs[0].cancel()
        await running.ended()

    assert State.FAILED is running.task.status.state
    assert running.task.status.may_pass


# -- owners


async def test_fenced_task_starts_over_if_nobody_delivered(kafka):
    """A fenced task starts a producer anew, and goes on if the other owner has delivered nothing."""
    sink = MemorySink(kafka)
    source = ScriptedSource([post(1), gate := Gate(), post(2)])
    async with Running([source], sink) as running:
        await until(lambda: kafka.records)
        await MemorySink(kafka).open()
        gate.set()
        await until(lambda: 2 == len(kafka.records))

    assert ["Fenced"] == [event.error for event in running.said(TaskRestarting)]
    assert [post(1), post(2)] == kafka.values


async def test_superseded_task_ends(kafka):
    """If another owner has delivered since, the task is over here: what it holds is dropped, and counted."""
    sink, other = MemorySink(kafka), MemorySink(kafka)
    source = ScriptedSource([post(1), gate := Gate(), (post(2), post(3))])
    async with Running([source], sink) as running:
        await until(lambda: kafka.records)
        async with Running([ScriptedSource([post(7), post(8), post(9)])], other):
            await until(lambda: 4 == len(kafka.records))
        gate.set()
        await running.ended()

    assert [post(1), post(7), post(8), post(9)] == kafka.values
    assert 2 == running.said(TaskFenced)[0].dropped_posts
    assert State.UNASSIGNED is running.task.status.state
    assert not running.said(TaskFailed)
    assert source.stopped.is_set()


async def test_fenced_while_stopping(kafka):
    """A task that is fenced while it drains does not fence back: it ends."""
    sink = MemorySink(kafka, [held := Held()])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await held.begun.wait()
        stopping = asyncio.create_task(running.stop())
        await asyncio.sleep(0)
        await MemorySink(kafka).open()
        held.released.set()
        await stopping

    assert [] == kafka.records
    assert 1 == sink.opened
    assert 1 == running.said(TaskFenced)[0].dropped_posts


async def test_ownership_is_proven_before_a_reconnect(kafka, monkeypatch):
    """After a long silence a commit goes through before the task connects again: it may have lost its slot."""
    monkeypatch.setattr(ownership, "COMMIT_PROVES_SECS", 0.03)
    commits_at_connect = []
    source = ScriptedSource([post(1), gate := Gate(), ConnectionLost("reset")], [post(2)])
    read = source.read

    def observed(put, connected, **asked):
        commits_at_connect.append(len(kafka.commits))
        read(put, connected, **asked)

    source.read = observed
    async with Running([source], MemorySink(kafka)):
        await until(lambda: kafka.records)
        await asyncio.sleep(0.05)
        before = len(kafka.commits)
        gate.set()
        await until(lambda: 2 == len(kafka.records))

    assert [0, before + 1] == commits_at_connect
    assert 0 == len(kafka.commits[before].records)
    assert KEY == kafka.commits[before].offsets[0].key


async def test_woken_worker_does_not_reconnect(kafka, monkeypatch):
    """A worker that was paused while another took its task over finds out before it connects."""
    monkeypatch.setattr(ownership, "COMMIT_PROVES_SECS", 0.03)
    source = ScriptedSource([post(1), gate := Gate(), ConnectionLost("cut off by X")], [post(2)])
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: kafka.records)
        await asyncio.sleep(0.04)
        async with Running([ScriptedSource([post(5)])], MemorySink(kafka)):
            await until(lambda: 2 == len(kafka.records))
            gate.set()
            await running.ended()

    assert 1 == source.connects
    assert [post(1), post(5)] == kafka.values


async def test_proof_without_an_offset_claims_nothing(kafka, monkeypatch):
    """A first start that waits long for its connect proves ownership with an empty offset."""
    monkeypatch.setattr(ownership, "COMMIT_PROVES_SECS", -1.0)
    source = ScriptedSource([post(1)])
    async with Running([source], MemorySink(kafka)):
        await until(lambda: kafka.commits)
        monkeypatch.setattr(ownership, "COMMIT_PROVES_SECS", 60.0)
        await until(lambda: kafka.records)

    assert (OffsetWrite(key=KEY, value=None),) == kafka.commits[0].offsets


# -- stopping


async def test_stop_before_the_sink_is_open(kafka):
    """A stop while the task opens its sink ends it, and nothing is read."""
    source = ScriptedSource([post(1)])
    running = Running([source], MemorySink(kafka))
    await running.task.start()
    await running.stop()

    assert running.task.ended.is_set()
    assert 0 == len(source.put_lines)
    assert State.UNASSIGNED is running.task.status.state


async def test_stop_while_connecting(kafka):
    """A stop while the first connect is under way ends the task."""
    source = ScriptedSource([post(1)])
    entered = Gate()
    source.prepare = lambda: (entered.set(), source.stopped.wait())
    async with Running([source], MemorySink(kafka)) as running:
        await until(entered.is_set)
        await running.stop()

    assert State.UNASSIGNED is running.task.status.state


async def test_stop_in_the_wait_for_a_reconnect(kafka):
    """A stop in the middle of a long wait ends it at once."""
    source = ScriptedSource([ServiceUnavailable("X answered 503")])
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: running.said(RetryScheduled))
        began = time.monotonic()
        await running.stop()

    assert time.monotonic() - began < 1


async def test_stop_in_the_middle_of_a_commit(kafka):
    """What was read when the stop came is delivered: the commit in flight, and what waits behind it."""
    sink = MemorySink(kafka, [held := Held()])
    source = ScriptedSource([post(1), gate := Gate(), post(2), post(3), Gate(), post(4)])
    async with Running([source], sink) as running:
        await held.begun.wait()
        gate.set()
        await until(lambda: 3 == len(source.put_lines))
        running.task.begin_stop()
        await asyncio.sleep(0.01)
        assert not running.task.ended.is_set()
        held.released.set()
        await running.stop()

    assert [post(1), post(2), post(3)] == kafka.values[:3]
    assert source.put_lines == kafka.values


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL])
async def test_stop_in_the_restart_pause(kafka, outcome, monkeypatch):
    """A stop in the pause after a failed commit still delivers all that was read, once."""
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.1)
    source = ScriptedSource([post(1), post(2)])
    async with Running([source], MemorySink(kafka, [outcome])) as running:
        await until(lambda: running.said(TaskRestarting) and 2 == len(source.put_lines))
        await running.stop()

    assert [post(1), post(2)] == kafka.values


async def test_commit_fails_while_stopping(kafka):
    """A commit that fails during the stop is repeated by a new producer."""
    sink = MemorySink(kafka, [held := Held(LOST)])
    async with Running([ScriptedSource([post(1), post(2)])], sink) as running:
        await held.begun.wait()
        running.task.begin_stop()
        held.released.set()
        await running.stop()

    assert [post(1), post(2)][: len(kafka.values)] == kafka.values
    assert kafka.values
    assert State.UNASSIGNED is running.task.status.state


async def test_stop_is_idempotent(kafka):
    """Stopping twice, and ending twice, changes nothing."""
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka)) as running:
        await until(lambda: kafka.records)
        running.task.begin_stop()
        running.task.begin_stop()
        await asyncio.gather(running.stop(), running.stop())

    assert 1 == len(running.said(TaskStopped))


async def test_abandon_gives_up(kafka):
    """An abandoned task ends although Kafka does not answer; the committed offset says where the next one begins."""
    sink = MemorySink(kafka, [Held()])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: sink.attempts)
        running.task.abandon()
        await running.ended()

    assert [] == kafka.records
    assert 1 == running.task.undelivered_posts
    assert 1 == sink.closed


@pytest.mark.parametrize("steps", range(4))
async def test_abandon_while_something_wakes_the_task(kafka, steps):
    """An abandoned task ends, also in the moment in which its next turn begins."""
    async with Running([ScriptedSource([post(1)])], MemorySink(kafka), poll_interval_secs=60.0) as running:
        await until(lambda: kafka.records and not running.task.undelivered_posts)
        await asyncio.sleep(0.05)
        running.task._wake.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        running.task.abandon()
        await running.ended()

    assert State.UNASSIGNED is running.task.status.state


async def test_sink_that_cannot_be_closed(kafka):
    """An error while the producer is let go does not leave a task that never ends."""
    sink = MemorySink(kafka)

    async def close():
        raise OSError("socket gone")

    sink.close = close
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: kafka.records)
        running.task.begin_stop()
        await running.ended()

    assert State.UNASSIGNED is running.task.status.state


async def test_look_up_that_ends_late_says_nothing(kafka):
    """A FAILED task stays FAILED although X names its connection afterwards."""
    source = ScriptedSource([BAD])
    asked, answered = Gate(), Gate()

    def find_connection():
        asked.set()
        answered.wait(5)
        return "conn-1"

    source.find_connection = find_connection
    async with Running([source], MemorySink(kafka)) as running:
        await running.ended()
        await until(asked.is_set)
        answered.set()
        await until(lambda: "conn-1" == running.task.readers[0].connection_id)
        await asyncio.sleep(0.01)

    assert State.FAILED is running.statuses[-1].state


# -- the time limit


async def test_time_limit_counts_from_the_first_connection(kafka):
    """The clock of the limit starts when a stream is open, not while X refuses; at the end all is delivered."""
    source = ScriptedSource([ConnectionLost("refused")], [post(1)])
    source.prepares.extend([None])
    slow = source.prepare
    source.prepare = lambda: (time.sleep(0.15), slow())
    async with Running([source], MemorySink(kafka), time_limit_secs=0.1) as running:
        await running.ended()

    assert [post(1)] == kafka.values
    assert running.task.finished
    assert 0.1 == running.said(TimeLimitReached)[0].time_limit_secs
    assert not running.said(TaskFailed)


async def test_time_limit_is_kept_while_kafka_is_away(kafka):
    """Reading stops at the limit although a delivery waits for Kafka; what was read is delivered when it is back."""
    source = ScriptedSource([post(1), gate := Gate(), post(2)])
    sink = MemorySink(kafka, [held := Held()])
    async with Running([source], sink, time_limit_secs=0.05) as running:
        await until(lambda: running.said(TimeLimitReached))

        assert running.task.finished
        assert running.task.over.is_set()
        assert not running.task.ended.is_set()
        gate.set()
        held.released.set()
        await running.ended()

    assert [post(1)] == kafka.values


async def test_time_limit_begins_although_x_names_no_connection(kafka):
    """The limit begins with the connection itself, even if the loop is faster than the reader thread."""
    source = ScriptedSource([post(1)])

    def read(put, connected, **_):
        connected_at = task.time.time()
        connected(reader.Connected(at=connected_at, skew_secs=0.0))
        source.stopped.wait()

    source.read = read
    original = asyncio.get_running_loop().call_soon_threadsafe

    def slow(callback, *args):
        handle = original(callback, *args)
        time.sleep(0.02)  # the loop takes its turn while the thread has not gone on
        return handle

    asyncio.get_running_loop().call_soon_threadsafe = slow
    try:
        async with Running([source], MemorySink(kafka), time_limit_secs=0.05) as running:
            await running.ended()
    finally:
        asyncio.get_running_loop().call_soon_threadsafe = original

    assert running.task.finished


async def test_task_that_never_connects_is_not_finished(kafka):
    """Without a connection the limit does not run."""
    source = ScriptedSource([ServiceUnavailable("X answered 503")])
    async with Running([source], MemorySink(kafka), time_limit_secs=0.02) as running:
        await until(lambda: running.said(RetryScheduled))
        await asyncio.sleep(0.06)

    assert not running.task.finished


async def test_a_topic_without_metadata_loses_nothing(kafka):
    """Posts that left the buffer and cannot be built, as Kafka does not tell of the topic, are delivered later."""
    source = ScriptedSource([(post(1), post(2)), post(3)])
    async with Running([source], MemorySink(kafka, encodes=[AWAY, AWAY])) as running:
        await until(lambda: len(kafka.records) == 3)

    assert [post(1), post(2), post(3)] == kafka.values
    assert [] == running.said(TaskFailed)


# -- bad records


async def test_bad_line_fails_the_task(kafka):
    """Under errors.tolerance=none the posts before a bad line are delivered, the offset stays before it: FAILED."""
    source = ScriptedSource([gate := Gate(), (post(1), BAD, post(2))], skew_secs=skew_to(MADE_MS - 50))
    async with Running([source], MemorySink(kafka), settle_secs=0.0) as running:
        await until(lambda: kafka.commits)
        before = Coverage.decode(kafka.offsets[-1][1])
        await asyncio.sleep(0.1)  # X has made the posts by now
        gate.set()
        await running.ended()

    assert [post(1)] == kafka.values
    committed = Coverage.decode(kafka.offsets[-1][1])
    assert (before.covered_to_ms, 1) == (committed.covered_to_ms, committed.posts)
    assert State.FAILED is running.task.status.state
    assert running.task.status.trace.startswith("ToleranceExceeded: A line of 11 bytes is no post")
    assert running.task.status.trace.endswith("errors.tolerance=all would keep it aside")


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL, AWAY])
async def test_bad_line_is_not_forgotten_over_a_failed_commit(kafka, outcome):
    """If the commit of the posts before a bad line fails they are delivered again, and then the task is FAILED."""
    source = ScriptedSource([(post(1), BAD, post(2)), post(3)])
    async with Running([source], MemorySink(kafka, [outcome])) as running:
        await running.ended()

    assert [post(1)] == kafka.values
    assert State.FAILED is running.task.status.state


async def test_bad_line_of_one_reader_leaves_the_others_posts(kafka):
    """What another source partition had read in the same turn is delivered before the task is FAILED."""
    sink = MemorySink(kafka, [held := Held()])
    first = ScriptedSource([post(1), gate := Gate(), BAD], partition={"stream": "firehose", "partition": "1"})
    second = ScriptedSource([other := Gate(), post(2)], partition={"stream": "firehose", "partition": "2"})
    async with Running([first, second], sink) as running:
        await held.begun.wait()
        gate.set()
        other.set()
        await until(lambda: first.put_lines[-1:] == [BAD] and second.put_lines)
        held.released.set()
        await running.ended()

    assert [post(1), post(2)] == kafka.values


async def test_bad_line_goes_to_the_dead_letter_topic(kafka):
    """Under errors.tolerance=all it is in the same commit as its neighbours, with headers that say why."""
    source = ScriptedSource([(post(1), BAD, post(2))])
    async with Running(
        [source], MemorySink(kafka), tolerate_bad_records=True, destination=letters_to("bad")
    ) as running:
        await until(lambda: 2 == len(kafka.records))

    (batch,) = [commit for commit in kafka.commits if commit.records]
    (letter,) = batch.dead_letters
    headers = dict(letter.headers)
    assert BAD == letter.value
    assert ["error.class", "error.message", "connector", "received_at"] == list(headers)
    assert b"BadRecord" == headers["error.class"]
    assert b"posts" == headers["connector"]
    (dropped,) = running.said(RecordDropped)
    assert ("BadRecord", "bad", len(BAD)) == (dropped.error, dropped.dead_letter_topic, dropped.size_bytes)


async def test_post_larger_than_the_topic_takes(kafka):
    """A post that the topic would refuse is a bad record that names both sizes."""
    sink = MemorySink(kafka)
    sink.limits = Limits(record_bytes=len(post(1)) + len(key_of(1)) - 1)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await running.ended()

    assert "raise max.message.bytes of the topic" in running.task.status.trace


# -- several source partitions


def partition(number, *connections):
    return ScriptedSource(*connections, partition={"stream": "firehose", "partition": str(number)})


async def test_two_source_partitions_have_an_offset_each(kafka):
    """A task with two readers delivers both, and each has its own offset."""
    sources = [partition(1, [post(1), post(3)]), partition(2, [post(2)])]
    async with Running(sources, MemorySink(kafka)) as running:
        await until(lambda: 3 == len(kafka.records))

    assert sorted([post(1), post(2), post(3)]) == sorted(kafka.values)
    offsets = {key: Coverage.decode(value).posts for key, value in kafka.latest.items()}
    assert [2, 1] == [offsets[key] for key in sorted(offsets)]
    assert ["1", "2"] == sorted(event.partition for event in running.said(StreamConnected))


async def test_one_reader_that_fails_stops_the_others_drained(kafka):
    """A fatal error of one connection ends the task after the posts of all are delivered."""
    gate = Gate()
    sources = [partition(1, [post(1), gate, NotAuthorized("X answered 403: not this plan")]), partition(2, [post(2)])]
    async with Running(sources, MemorySink(kafka)) as running:
        await until(lambda: 2 == len(kafka.records))
        gate.set()
        await running.ended()

    assert sorted([post(1), post(2)]) == sorted(kafka.values)
    assert sources[1].stopped.is_set()
    assert "NotAuthorized: X answered 403: not this plan" == running.task.status.trace


async def test_posts_before_a_fatal_end_are_delivered(kafka):
    """An error never overtakes the posts that were read before it."""
    source = ScriptedSource([post(1), post(2), NotAuthorized("X answered 403")])
    async with Running([source], MemorySink(kafka)) as running:
        await running.ended()

    assert [post(1), post(2)] == kafka.values


async def test_one_partitions_posts_do_not_reset_the_others_backoff(kafka, monkeypatch):
    """Only a reader's own delivered posts make its connections good ones."""
    monkeypatch.setitem(backoff.SCHEDULES, ServiceUnavailable, Schedule(first=0.01, second=0.01, cap=0.01))
    gates = [Gate(), Gate()]
    steady = partition(1, [post(1), gates[0], post(2)])
    broken = partition(2, [ServiceUnavailable("503")], [KEEP_ALIVE, gates[1], ServiceUnavailable("503")])
    async with Running([steady, broken], MemorySink(kafka)) as running:
        await until(lambda: running.said(RetryScheduled) and kafka.records)
        gates[0].set()
        await until(lambda: 2 == len(kafka.records))
        gates[1].set()
        await until(lambda: 2 == len(running.said(RetryScheduled)))

    assert [1, 2] == [event.attempt for event in running.said(RetryScheduled)]


# -- when Kafka is slow


async def test_full_buffer_holds_the_reader_up(kafka):
    """While nothing can be delivered the reader waits: what is not delivered, anywhere, is bounded together."""
    sink = MemorySink(kafka, [held := Held()])
    size = arrival(post(1)).size
    source = ScriptedSource([post(0), gate := Gate(), *[post(number) for number in range(1, 9)]])
    # one is on its way, and a copy of it in a request; so two more have room
    async with Running([source], sink, buffer_max_bytes=4 * size) as running:
        await held.begun.wait()
        gate.set()
        await until(lambda: 3 == len(source.put_lines))
        await asyncio.sleep(0.02)
        assert 3 == len(source.put_lines) == running.task.undelivered_posts
        held.released.set()
        await until(lambda: 9 == len(kafka.records))

    assert [post(number) for number in range(9)] == kafka.values


async def test_delayed_delivery_is_said(kafka, monkeypatch):
    """While Kafka does not confirm the task is unready and says so again and again; then it says that it is over."""
    monkeypatch.setattr("connector.task.in_flight.DELAYED_SECS", 0.03)
    sink = MemorySink(kafka, [held := Held()])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: 2 <= len(running.said(DeliveryDelayed)))
        assert "Kafka has not confirmed a delivery for 0 s" == running.task.unready
        held.released.set()
        await until(lambda: running.said(DeliveryResumed))
        assert running.task.unready is None

    waits = [event.waiting_secs for event in running.said(DeliveryDelayed)]
    assert sorted(waits) == waits
    assert 1 == running.said(DeliveryDelayed)[0].undelivered_posts


async def test_idle_stream_is_not_a_delay(kafka, monkeypatch):
    """A commit that comes after a long silence is not late: a delay is counted from when Kafka was given something."""
    monkeypatch.setattr("connector.task.in_flight.DELAYED_SECS", 60.0)
    sink = MemorySink(kafka, [CONFIRMED, held := Held()])
    source = ScriptedSource([post(1), gate := Gate(), post(2), second := Gate(), post(3)])
    async with Running([source], sink) as running:
        await until(lambda: kafka.records and not running.task.undelivered_posts)
        running.task._in_flight.committed_at -= 120  # so long ago was that
        gate.set()
        await held.begun.wait()
        second.set()
        await until(lambda: 3 == len(source.put_lines))
        await asyncio.sleep(0.03)
        held.released.set()
        await until(lambda: 3 == len(kafka.records))

    assert [] == running.said(DeliveryDelayed)


async def test_failed_delivery_is_not_over(kafka, monkeypatch):
    """A delay ends with a commit: a failure after a long wait leaves the task unready until Kafka confirms."""
    monkeypatch.setattr("connector.task.in_flight.DELAYED_SECS", 0.02)
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.05)
    sink = MemorySink(kafka, [held := Held(LOST)])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: running.said(DeliveryDelayed))
        held.released.set()
        await until(lambda: running.said(TaskRestarting))
        assert [] == running.said(DeliveryResumed)
        assert running.task.unready.startswith("starting over: DeliveryFailed")
        await until(lambda: running.said(DeliveryResumed))

    assert [post(1)] == kafka.values


# -- silence


async def test_keep_alives_move_the_offset_now_and_then(kafka, monkeypatch):
    """Without posts the offset is committed, at most every `IDLE_COMMIT_SECS`."""
    monkeypatch.setattr(task, "IDLE_COMMIT_SECS", 0.05)
    gates = [Gate() for _ in range(4000)]
    source = ScriptedSource([step for gate in gates for step in (KEEP_ALIVE, gate)])
    began = time.monotonic()
    async with Running([source], MemorySink(kafka)):
        for gate in gates:
            await asyncio.sleep(0.005)
            gate.set()
            if len(kafka.commits) > 2:
                break
        took = time.monotonic() - began
        commits = len(kafka.commits)

    assert [] == kafka.records
    assert 2 < commits <= took / 0.05 + 1
    covered = [Coverage.decode(value).covered_to_ms for _, value in kafka.offsets]
    assert all(earlier < later for earlier, later in pairwise(covered[:commits]))


async def test_last_keep_alive_is_committed_at_a_stop(kafka):
    """What was heard last counts at a stop, although no commit was due."""
    sink = MemorySink(kafka, [held := Held()])
    source = ScriptedSource([post(1), gate := Gate(), KEEP_ALIVE])
    async with Running([source], sink) as running:
        await held.begun.wait()
        await asyncio.sleep(0.01)
        gate.set()
        await until(source.idle.is_set)
        running.task.begin_stop()
        held.released.set()

    (batch,) = sink.attempts
    first, last = Coverage.decode(batch.offsets[0].value), Coverage.decode(kafka.offsets[-1][1])
    assert first.covered_to_ms < last.covered_to_ms


# -- what the status says


async def test_status_says_why_there_is_no_connection(kafka):
    """A retriable error keeps the task RUNNING with the reason and the wait; the next connection clears it."""
    source = ScriptedSource([post(1), ServiceUnavailable("X answered 503")], [post(2)], connection_id="conn-1")
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: running.task.status.detail)
        status = running.task.status

        assert State.RUNNING is status.state
        assert status.detail.startswith("ServiceUnavailable: X answered 503 (next try in 5 s)")
        assert "not connected: X answered 503" == running.task.unready
        await until(lambda: ("conn-1",) == running.task.status.connections)


async def test_status_is_cleared_by_the_next_connection(kafka):
    """Once connected again the status has no detail."""
    source = ScriptedSource([post(1), ConnectionLost("reset")], [post(2)])
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: 2 == len(kafka.records))
        await until(lambda: running.task.status.detail is None)

    assert "ConnectionLost: reset (next try in 0 s)" in [status.detail for status in running.statuses]


async def test_out_of_credit_pauses(kafka):
    """Used-up credits make the task PAUSED with the reason, and it is tried again after an hour."""
    source = ScriptedSource([post(1), OutOfCredit("X answered 402: credits are used up")])
    async with Running([source], MemorySink(kafka)) as running:
        await until(lambda: State.PAUSED is running.task.status.state)

        assert "OutOfCredit: X answered 402: credits are used up" in running.task.status.detail
        assert running.task.unready.startswith("PAUSED: OutOfCredit")
        assert 3600 == running.said(TaskPaused)[0].retry_in_secs
        await until(lambda: [post(1)] == kafka.values)


async def test_one_partition_out_of_credit_is_not_a_pause(kafka):
    """While another source partition is read the task is RUNNING, and names the one that is not."""
    sources = [partition(1, [post(1)]), partition(2, [OutOfCredit("no credit")])]
    async with Running(sources, MemorySink(kafka)) as running:
        await until(lambda: running.task.status.detail and kafka.records)

        assert State.RUNNING is running.task.status.state
        assert running.task.status.detail.startswith("partition 2: OutOfCredit: no credit")


async def test_ghosts_come_from_the_last_owner(kafka):
    """The connections that the last owner told of are ended before the first connect, which then has their slot."""
    source = ScriptedSource([post(1)])
    source.release_answers.append(1)
    async with Running([source], MemorySink(kafka), ghosts=("old-1",)) as running:
        await until(lambda: kafka.records)

    assert [frozenset({"old-1"})] == source.released
    assert 1 == source.connects
    assert 1 == running.said(GhostReleased)[0].connections


# -- all of it together


ENDS = st.sampled_from([ConnectionLost("reset"), ConnectionLost("silence")])


@st.composite
def stories(draw):
    """Two source partitions' scripts, how commits and opens end, and after how many posts a worker stops."""
    numbers = iter(range(1, 1000))
    scripts = []
    for _ in range(draw(st.integers(1, 2))):
        script = []
        for _ in range(draw(st.integers(1, 3))):
            steps = [
                tuple(post(next(numbers)) for _ in range(size))
                for size in draw(st.lists(st.integers(0, 3), max_size=4))
            ]
            script.append([KEEP_ALIVE, *steps, draw(ENDS)])
        scripts.append([*script, []])
    outcomes, failed = [], 0
    for outcome in draw(st.lists(st.sampled_from([CONFIRMED, DOUBTFUL, LOST, AWAY]), max_size=12)):
        failed += outcome in (LOST, DOUBTFUL)
        outcomes.append(CONFIRMED if failed >= task.MAX_FAILED_DELIVERIES else outcome)
        failed = 0 if outcomes[-1] is CONFIRMED else failed
    opens = draw(st.lists(st.sampled_from([CONFIRMED, AWAY]), max_size=6))
    stops = draw(st.lists(st.integers(0, 12), max_size=2))
    return scripts, outcomes, opens, stops, draw(st.integers(1, 4))


@pytest.mark.slow
@settings(max_examples=60)
@given(stories())
def test_each_post_is_committed_once_and_in_order(story):
    """Whatever connections, commits and workers do, each post is committed once, in the order of its source."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "RESTART_PAUSE_SECS", 0.0)
        asyncio.run(_tell(*story))


async def _tell(scripts, outcomes, opens, stops, batch_max_records):
    kafka = MemoryKafka()
    sources = [partition(number, *script) for number, script in enumerate(scripts)]
    sink = MemorySink(kafka, outcomes, opens=opens, every=True)
    changed = {"batch_max_records": batch_max_records, "buffer_max_bytes": 300, "poll_interval_secs": 0.002}

    def all_are_delivered():
        put = sum(len(source.put_lines) for source in sources)
        return all(source.idle.is_set() for source in sources) and put == len(kafka.records)

    for posts in stops:
        async with Running(sources, sink, **changed):
            with contextlib.suppress(AssertionError):  # Kafka is away
                await until(lambda posts=posts: posts <= len(kafka.records) or all_are_delivered(), secs=0.05)
        assert sorted(line for source in sources for line in source.put_lines) == sorted(kafka.values)
        sources = [ScriptedSource.after(source) for source in sources]
        last, sink = sink, MemorySink(kafka, every=True)
        sink.outcomes, sink.opens = last.outcomes, last.opens
    async with Running(sources, sink, **changed) as running:
        await until(all_are_delivered)
        assert State.RUNNING is running.task.status.state
    for source in sources:
        assert source.put_lines == [value for value in kafka.values if value in source.put_lines]
    assert len(set(kafka.values)) == len(kafka.values)
    assert sum(len(source.put_lines) for source in sources) == sum(
        Coverage.decode(value).posts for value in kafka.latest.values()
    )


async def test_batches_keep_their_pace(kafka):
    """Posts that come one by one share a commit; a full batch, and the first post after a silence, do not wait."""
    source = ScriptedSource([post(1), gate := Gate(), post(2), post(3), other := Gate(), *map(post, range(4, 8))])
    async with Running([source], MemorySink(kafka), pace_secs=30.0, batch_max_records=4) as running:
        # The first post's batch is built, or another one was built just before it came: the pace holds from then on.
        await until(lambda: 1 == len(source.put_lines) and running.task._batcher.built_at)
        gate.set()
        await until(lambda: 3 == len(source.put_lines))
        await asyncio.sleep(0.05)
        before = len(kafka.values)
        other.set()
        await until(lambda: len(kafka.values) > before and len(source.put_lines) == 7)

    assert before <= 1
    assert [post(number) for number in range(1, 8)] == kafka.values


class Rests:
    """In place of what wakes a task between its turns: *wait* waits."""

    def __init__(self, wait):
        self.wait = wait


async def test_turns_become_rarer_while_nothing_happens(kafka, monkeypatch):
    """An idle task takes a turn each second, not each poll interval; an arrival is taken at once all the same."""
    gate = Gate()
    async with Running([ScriptedSource([gate, post(1)])], MemorySink(kafka), poll_interval_secs=0.002) as running:
        rests, wake = [], running.task._wake
        monkeypatch.setattr(running.task._pace, "_wake", Rests(lambda secs: rests.append(secs) or asyncio.sleep(0.001)))
        await until(lambda: rests[-1:] == [pace.IDLE_TURN_SECS] and running.said(StreamConnected))
        longest = rests[-1]
        monkeypatch.setattr(pace, "IDLE_TURN_SECS", 600.0)
        await until(lambda: rests[-1] == 600.0)
        monkeypatch.setattr(running.task._pace, "_wake", Rests(lambda secs: rests.append(0.0) or wake.wait(secs)))
        await until(lambda: rests[-1] == 0.0)
        gate.set()
        await until(lambda: kafka.records)

    assert 1.0 == longest


async def test_an_interval_beyond_a_second_is_kept(kafka, monkeypatch):
    """Rarer than the poll interval says turns are never: one of an hour is one of an hour."""
    async with Running([ScriptedSource([])], MemorySink(kafka), poll_interval_secs=3600.0) as running:
        rests = []
        monkeypatch.setattr(running.task._pace, "_wake", Rests(lambda secs: rests.append(secs) or asyncio.sleep(0.001)))
        running.task._wake.set()
        await until(lambda: len(rests) > 3)

    assert {3600.0} == set(rests)


async def test_the_buffer_knows_when_the_next_turn_begins(kafka):
    """After a batch what is put need not wake the task, which keeps its pace; where no batch was made it has to."""
    gate, again = Gate(), Gate()
    source = ScriptedSource([gate, post(1), again, post(1)])
    async with Running([source], MemorySink(kafka), pace_secs=0.3) as running:
        told = []
        await until(lambda: running.said(StreamConnected))
        buffer = running.task.readers[0].buffer
        buffer.will_drain = lambda at: told.append(at and at - time.monotonic())
        gate.set()
        await until(lambda: kafka.records)
        assert 0.2 < told[-1] < 0.3
        again.set()  # a post that is there already makes no batch
        await until(lambda: source.idle.is_set() and told[-1] == 0.0)

    assert [post(1)] == kafka.values


async def test_what_others_spend_stops_the_reader(kafka):
    """The reader thread hears within a turn what other tasks have spent, without asking for it itself."""
    gate = Gate()
    source = ScriptedSource([post(1), gate, post(2), KEEP_ALIVE])
    day = day_of(int(clock.now() * 1000))
    spent, threads = [], set()

    def others():
        threads.add(threading.current_thread())
        return tuple(spent)

    budget = Budget(posts_per_day=10, mills_each=5)
    async with Running([source], MemorySink(kafka), budget=budget, others=others) as running:
        await until(lambda: 1 == len(kafka.values))
        spent.append(Spend(day=day, posts=9, month=day[:7], mills=45))
        known = running.task.progresses[0].allowance
        await until(lambda: known._known.others)
        gate.set()
        await until(lambda: State.PAUSED in running.states)

    assert {threading.main_thread()} == threads
    (paused,) = [status for status in running.statuses if status.state is State.PAUSED]
    assert "BudgetReached" in paused.detail


class SlowSink(MemorySink):
    """A sink that takes its time to close."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.closing, self.may_close = asyncio.Event(), asyncio.Event()

    async def close(self):
        self.closing.set()
        await self.may_close.wait()
        await super().close()


async def test_abandoned_again_while_it_lets_go_of_its_producer(kafka):
    """The producer is closed to its end, the task has ended, with a state, and whoever waits for that goes on."""
    sink = SlowSink(kafka)
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await until(lambda: kafka.records)
        running.task.abandon()
        await sink.closing.wait()
        for _ in range(3):
            running.task.abandon()
            await asyncio.sleep(0.001)
        assert not running.task.ended.is_set()
        sink.may_close.set()
        await running.ended()

    assert 1 == sink.closed
    assert State.UNASSIGNED is running.task.status.state
    assert 1 == len(running.said(TaskStopped))


async def test_abandoned_while_it_changes_its_producer(kafka):
    """A producer of which the outcome is unknown is closed to its end, too, before the task ends."""
    sink = SlowSink(kafka, [LOST])
    async with Running([ScriptedSource([post(1)])], sink) as running:
        await sink.closing.wait()
        running.task.abandon()
        await asyncio.sleep(0.001)
        sink.may_close.set()
        await running.ended()

    assert 2 == sink.closed  # that one, and the none that the end of the task finds


# -- the offsets topic is deleted


async def test_offsets_are_written_again(kafka):
    """A task writes from memory what the deleted topic held, all kinds of it, and is not taken for superseded."""
    gate, later = Gate(), Gate()
    source = ScriptedSource([post(1), gate, post(2), later, post(3)], rules=[RULE])
    async with Running([source], MemorySink(kafka, [CONFIRMED, LOST])) as running:
        await until(lambda: len(kafka.records) == 1)
        covered_from = kafka.offset(0)["covered_from"]
        kafka.offsets.clear()
        gate.set()
        await until(lambda: len(kafka.records) == 2 and kafka.offsets)
        later.set()
        await until(lambda: len(kafka.records) == 3)

    assert [post(1), post(2), post(3)] == kafka.values
    assert [] == running.said(TaskFenced, TaskFailed)
    offset = Coverage.decode(kafka.latest[KEY])
    assert 3 == offset.posts
    assert covered_from == orjson.loads(kafka.latest[KEY])["covered_from"]
    assert {2, 3} <= {len(orjson.loads(key)) for key in kafka.latest}


async def test_the_ledger_tells_of_a_doubtful_commit_where_the_offsets_are_gone(kafka):
    """A transaction writes there too: what it has is in the topic, and is not delivered twice."""
    gate = Gate()
    held = Held(DOUBTFUL)
    source = ScriptedSource([post(1), gate, post(2)])
    async with Running([source], MemorySink(kafka, [CONFIRMED, held])) as running:
        await until(lambda: len(kafka.records) == 1)
        gate.set()
        async with asyncio.timeout(5):
            await held.begun.wait()
        commit = kafka.commit

        def commit_and_lose(batch):
            commit(batch)
            kafka.offsets.clear()

        kafka.commit = commit_and_lose
        held.released.set()
        await until(lambda: running.said(TaskRestarting))
        kafka.commit = commit
        await until(lambda: kafka.latest)

    assert [post(1), post(2)] == kafka.values
    assert [] == running.said(TaskFenced, TaskFailed)
    assert 2 == Coverage.decode(kafka.latest[KEY]).posts
