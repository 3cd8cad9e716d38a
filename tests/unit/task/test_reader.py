import asyncio
import time

import pytest

from connector.coverage.allowance import Allowance
from connector.coverage.spend import Budget
from connector.errors import (
    BudgetReached,
    ConnectionLost,
    ConnectionTaken,
    Disconnected,
    InvalidRequest,
    NotAuthorized,
    OutOfCredit,
    RateLimited,
    ServiceUnavailable,
)
from connector.records import clock
from connector.task import backoff
from connector.task import reader as reader_module
from connector.task.backoff import RESET_MARGIN_SECS, SCHEDULES, Schedule
from connector.task.buffer import Buffer
from connector.task.reader import Reader
from connector.task.rule_keeper import RuleKeeper
from connector.telemetry.events.task import (
    ConnectionNotFound,
    GhostNotReleased,
    GhostReleased,
    RetryScheduled,
    StreamConnected,
    StreamDisconnected,
    TaskPaused,
)
from connector.worker.threads import DaemonExecutor
from tests.unit.fakes import KEEP_ALIVE, TASK, Gate, ScriptedSource, post, until


class NoBackfill:
    """What decides about backfills for an account that has none."""

    def backfill_minutes(self):
        return None

    def refuse_backfill(self, error):
        raise AssertionError(error)


class Proofs:
    """An ownership of `TASK` that is proven by *prove*."""

    task = TASK

    def __init__(self, prove):
        self.prove = prove


class Reading:
    """A reader at work; its waits are taken down instead of waited for, unless *wait_for_real*."""

    def __init__(self, source, *, ghosts=(), wait_for_real=False, prove=None):
        self.source, self.events, self.waits, self.proofs, self.changes = source, [], [], 0, 0
        self.buffer = Buffer(100_000, lambda: None, full_posts=100)
        executor = DaemonExecutor("reader")
        self.reader = Reader(
            RuleKeeper(source, executor),
            self.buffer,
            executor,
            ownership=Proofs(prove or self._prove),
            allowance=Allowance(Budget()),
            backfill=NoBackfill(),
            emit=self.events.append,
            changed=self._changed,
            ghosts=ghosts,
        )
        if not wait_for_real:
            self.reader._sleep = self._sleep

    async def __aenter__(self):
        self.run = asyncio.create_task(self.reader.run())
        return self

    async def __aexit__(self, *_):
        self.reader.stop()
        async with asyncio.timeout(5):
            await asyncio.wait({self.run})

    async def _prove(self):
        self.proofs += 1

    def _changed(self):
        self.changes += 1

    async def _sleep(self, secs):
        if secs:
            self.waits.append(secs)
        await asyncio.sleep(0)

    def said(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]


@pytest.fixture(autouse=True)
def no_floor(monkeypatch):
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 0.0)


LOST, REFUSED = ConnectionLost("reset"), ServiceUnavailable("X answered 503")

WAITS = [
    # back at once the first time, then linear from 250 ms
    ([[KEEP_ALIVE, LOST]] * 4, [0.25, 0.5, 0.75]),
    # what X says in the stream is a lost connection like any other
    ([[KEEP_ALIVE, Disconnected("operational")]] * 3, [0.25, 0.5]),
    ([[KEEP_ALIVE, LOST], [KEEP_ALIVE, Disconnected("operational")]], [0.25]),
    # 5xx doubles from 5 s
    ([[REFUSED]] * 4, [5, 10, 20, 40]),
    # a rate limit without a reset header doubles from 60 s
    ([[RateLimited("X answered 429")]] * 3, [60, 120, 240]),
    # a slot that another connection holds: growing from 20 s
    ([[ConnectionTaken("TooManyConnections")]] * 3, [20, 30, 40]),
    # credits are looked for every hour
    ([[OutOfCredit("402")]] * 2, [3600, 3600]),
    # each class counts its own failures
    ([[REFUSED], [KEEP_ALIVE, LOST], [REFUSED], [KEEP_ALIVE, LOST]], [5, 10, 0.25]),
]


@pytest.mark.parametrize(("script", "waits"), WAITS)
async def test_waits_follow_the_class_of_error(monkeypatch, script, waits):
    """How long to wait is the table's decision, by what ended the connection and how often in a row."""
    for kind, schedule in SCHEDULES.items():
        monkeypatch.setitem(SCHEDULES, kind, Schedule(**{**_values(schedule), "jitter": 0.0}))
    async with Reading(ScriptedSource(*map(list, script), [])) as reading:
        await until(lambda: len(script) + 1 == reading.source.connects)

    assert waits == reading.waits
    assert len(script) == len(reading.said(StreamDisconnected))


def _values(schedule):
    return {name: getattr(schedule, name) for name in ("first", "second", "step", "factor", "cap")}


async def test_rate_limit_waits_for_the_reset():
    """A 429 that says when its window ends is waited out by X's clock, to the second and one more."""
    source = ScriptedSource([KEEP_ALIVE, RateLimited("429", reset_at=clock.now() + 100 + 30)], [], skew_secs=30.0)
    async with Reading(source) as reading:
        await until(lambda: 2 == source.connects)

    assert [pytest.approx(100 + RESET_MARGIN_SECS, abs=2)] == reading.waits


async def test_stopped_before_it_is_proven():
    """A worker that has to stop while it waits for the proof touches nothing at X: the rules may be an heir's."""
    source = ScriptedSource([KEEP_ALIVE])
    async with Reading(source, prove=lambda: asyncio.sleep(0, reading.reader.stop())) as reading:
        await asyncio.wait_for(asyncio.shield(reading.run), 20)

    assert (0, 0) == (source.prepared, source.connects)


@pytest.mark.parametrize(("secs", "first"), [(-30.0, 1), (1e12, 961)])
async def test_rate_limits_in_a_row_are_not_hammered(secs, first):
    """Whatever the header says, in the past or in years: the first wait is short, and bounded; the next ones grow."""
    limited = RateLimited("429", reset_at=5.0, reset_secs=secs)
    async with Reading(ScriptedSource(*[[limited]] * 4, [])) as reading:
        await until(lambda: 4 == len(reading.waits))

    grown = [max(wait, first if secs > 0 else 0) for wait in (60, 120, 240)]
    assert pytest.approx([first, *grown], rel=0.1) == reading.waits


async def test_connects_keep_the_floor(monkeypatch):
    """A stream that closes at once is connected ten times in a burst, and then the window has to be over."""
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 600.0)
    monkeypatch.setitem(SCHEDULES, ConnectionLost, Schedule(first=0.0, second=0.0, cap=0.0))
    source = ScriptedSource(*[[KEEP_ALIVE, LOST] for _ in range(10)], [])
    began = time.monotonic()
    async with Reading(source) as reading:
        await until(lambda: 11 == source.connects)
        took = time.monotonic() - began

    (wait,) = reading.waits
    assert 600 - took <= wait <= 600


async def test_backoff_resets_on_delivered_records_only():
    """A connection that opens is not a good one until its records are committed."""
    gate = Gate()
    source = ScriptedSource(*[[KEEP_ALIVE, LOST] for _ in range(3)], [gate, LOST], [KEEP_ALIVE, LOST], [])
    async with Reading(source) as reading:
        await until(lambda: 4 == source.connects)
        assert [0.25, 0.5] == reading.waits
        reading.reader.delivered()
        gate.set()
        await until(lambda: 6 == source.connects)

    assert [0.25, 0.5, 0.25] == reading.waits


async def test_prepares_only_when_needed():
    """After an established connection X is asked nothing twice; after a refusal rules and token are looked at again."""
    source = ScriptedSource([KEEP_ALIVE, LOST], [KEEP_ALIVE, LOST], [gate := Gate(), REFUSED], [])
    async with Reading(source) as reading:
        await until(lambda: 3 == source.connects)
        assert 1 == source.prepared
        gate.set()
        await until(lambda: 4 == source.connects)

    assert 2 == source.prepared
    assert 4 == reading.proofs


async def test_prepare_that_fails_is_waited_for():
    """Rules that cannot be applied now are no reason to connect without them."""
    source = ScriptedSource([], prepares=[REFUSED, None])
    async with Reading(source) as reading:
        await until(lambda: 1 == source.connects)

    assert 2 == source.prepared
    assert ["ServiceUnavailable"] == [event.error for event in reading.said(StreamDisconnected)]


@pytest.mark.parametrize("error", [NotAuthorized("401"), InvalidRequest("400")])
async def test_fatal_error_leaves_the_reader(error):
    """What a person has to cure ends the reader with the error itself."""
    async with Reading(ScriptedSource([post(1), error])) as reading:
        await asyncio.wait({reading.run}, timeout=5)

    assert error is reading.run.exception()
    assert [] == reading.waits
    assert reading.reader.connected is None
    assert 1 == reading.buffer.posts


TAKEN = ConnectionTaken("TooManyConnections")


async def test_ghosts_are_ended_before_the_first_connect():
    """What the last owner left behind is ended once the task is known to be owned here; no connect is refused."""
    proven = asyncio.Event()
    source = ScriptedSource([])
    source.release_answers.append(2)
    async with Reading(source, ghosts=("old-1", "old-2"), prove=proven.wait) as reading:
        await asyncio.sleep(0.01)
        assert ([], 0) == (source.released, source.connects)
        proven.set()
        await until(lambda: 1 == source.connects)

    assert [frozenset({"old-1", "old-2"})] == source.released
    assert [2] == [event.connections for event in reading.said(GhostReleased)]
    assert () == reading.reader.connections


async def test_nothing_is_ended_by_who_is_stopped():
    """A proof that ends because of a stop proves nothing."""
    proven = asyncio.Event()
    source = ScriptedSource([])
    async with Reading(source, ghosts=("old-1",), prove=proven.wait) as reading:
        await asyncio.sleep(0.01)
        reading.reader.stop()
        proven.set()
        await asyncio.wait_for(reading.run, 1)

    assert ([], 0) == (source.released, source.connects)


async def test_owner_that_slept_through_a_refusal_ends_nothing():
    """Who is paused while X refuses the connect has to prove again that the task is still owned here."""
    lost, proofs = asyncio.Event(), []

    async def prove():
        proofs.append(1)
        if len(proofs) > 1:
            await lost.wait()

    source = ScriptedSource([gate := Gate(), LOST], [TAKEN], [], connection_id="own-1")
    async with Reading(source, prove=prove) as reading:
        await until(lambda: "own-1" == reading.reader.connection_id)
        proofs.clear()
        gate.set()
        await until(lambda: 2 == len(proofs))
        await asyncio.sleep(0.01)
        assert [] == source.released
        reading.reader.stop()
        lost.set()
        await asyncio.wait_for(reading.run, 1)

    assert [] == source.released


async def test_released_slot_is_taken_at_once():
    """Where the look-up before the first connect failed, the refusal asks again, and then nothing is waited for."""
    source = ScriptedSource([TAKEN], [])
    source.release_answers.extend([REFUSED, 1])
    async with Reading(source, ghosts=("old-1",)) as reading:
        await until(lambda: 2 == source.connects)

    assert [frozenset({"old-1"})] * 2 == source.released
    assert [] == reading.waits
    assert [1] == [event.connections for event in reading.said(GhostReleased)]


async def test_refused_in_spite_of_a_release_is_waited_for():
    """A slot that stays taken is somebody else's, or frees slowly: no second connect at once."""
    source = ScriptedSource([TAKEN], [TAKEN], [])
    source.release_answers.append(1)
    async with Reading(source, ghosts=("old-1",)) as reading:
        await until(lambda: 3 == source.connects)

    assert 1 == len(source.released)
    assert 2 == len(reading.waits)


async def test_nobody_elses_connection_is_released():
    """Without a record of our own of a connection X is not asked to end any."""
    source = ScriptedSource([TAKEN], [])
    async with Reading(source) as reading:
        await until(lambda: 2 == source.connects)

    assert [] == source.released
    assert 1 == len(reading.waits)


async def test_own_connection_is_remembered():
    """The id that X gave to our connection is ours to end later, and is shown."""
    source = ScriptedSource([gate := Gate(), LOST], [TAKEN], [], connection_id="own-1")
    async with Reading(source) as reading:
        await until(lambda: "own-1" == reading.reader.connection_id)
        assert ("own-1",) == reading.reader.connections
        gate.set()
        await until(lambda: 3 == source.connects)

    assert [frozenset({"own-1"})] == source.released


@pytest.mark.parametrize("answer", [0, None, REFUSED, NotAuthorized("401")])
async def test_ghost_that_cannot_be_released_is_waited_for(answer):
    """If X holds none of ours, has no such endpoint or does not answer, the slot is waited for, and asked for again."""
    source = ScriptedSource([TAKEN], [TAKEN], [])
    source.release_answers.extend([answer] * 3)
    async with Reading(source, ghosts=("old-1",)) as reading:
        await until(lambda: 3 == source.connects)

    assert [frozenset({"old-1"})] * 3 == source.released
    assert 20 <= reading.waits[0] <= 22
    assert 2 == len(reading.waits)
    assert [] == reading.said(GhostReleased)


async def test_look_up_that_hangs_delays_the_takeover_by_seconds_only(monkeypatch):
    """X's REST host may take the request and never answer; the stream's host is another matter."""
    monkeypatch.setattr(reader_module, "RELEASE_SECS", 0.05)
    source, hung = ScriptedSource([]), Gate()
    source.release = lambda _: hung.wait(5)
    async with Reading(source, ghosts=("old-1",)) as reading:
        await until(lambda: 1 == source.connects)
        hung.set()
        await asyncio.sleep(0.01)

        assert ("old-1",) == reading.reader.connections


async def test_ghost_that_is_not_released_is_said(monkeypatch):
    """What was only an attempt leaves a trace: which error, or that X did not answer."""
    source, hung = ScriptedSource([TAKEN], []), Gate()

    def refuse():
        monkeypatch.setattr(reader_module, "RELEASE_SECS", 0.05)  # for the next one; this one gets all of the time
        raise REFUSED

    answers = iter([refuse, lambda: hung.wait(5)])
    source.release = lambda _: next(answers)()
    async with Reading(source, ghosts=("old-1",)) as reading:
        await until(lambda: 2 == source.connects)
        hung.set()

    first, second = reading.said(GhostNotReleased)
    assert ("ServiceUnavailable", str(REFUSED), 1) == (first.error, first.reason, first.connections)
    assert ("TimeoutError", "X has not answered within 0.05 s") == (second.error, second.reason)


@pytest.mark.parametrize(("answer", "kept"), [(0, ()), (None, ("old-1",)), (REFUSED, ("old-1",))])
async def test_ghost_is_forgotten_once_it_is_certainly_gone(answer, kept):
    """X did not list it, and had a slot; as long as that is not known, an heir has to know of it, too."""
    source = ScriptedSource([gate := Gate()])
    source.release_answers.append(answer)
    async with Reading(source, ghosts=("old-1",)) as reading:
        assert ("old-1",) == reading.reader.connections
        await until(lambda: reading.said(StreamConnected))
        gate.set()

        assert kept == reading.reader.connections


async def test_connection_is_known_by_its_time_until_x_tells_its_id():
    """An owner that is killed in between leaves something to go by."""
    source, told = ScriptedSource([], date=1000.0, connection_id="own-1"), Gate()
    find = source.find_connection
    source.find_connection = lambda: told.wait(5) and find()
    async with Reading(source) as reading:
        await until(lambda: reading.changes)
        assert (1000.0,) == reading.reader.connections
        changes = reading.changes
        told.set()
        await until(lambda: reading.changes > changes)

        assert ("own-1",) == reading.reader.connections


async def test_connection_that_x_cannot_tell_from_others_is_left():
    """If X has answered without certainty, its time would not be certain later either."""
    source = ScriptedSource([], date=1000.0)
    async with Reading(source) as reading:
        await until(lambda: 2 == reading.changes)

        assert () == reading.reader.connections


async def test_only_one_connection_is_open():
    """Of a connection that was lost X may still count the slot, but it is not open; one whose id X does not tell is."""
    source = ScriptedSource([KEEP_ALIVE, LOST], [], date=1000.0)
    source.find_connection = lambda: _raise(REFUSED)
    async with Reading(source) as reading:
        await until(lambda: 2 == len(reading.said(StreamConnected)))

        assert (1000.0, 1000.0) == reading.reader.connections
        assert 1000.0 == reading.reader.open_now
    assert reading.reader.open_now is None


async def test_few_connections_are_remembered():
    """A stream that breaks off all day does not fill the memory, nor the status."""
    count = reader_module.MAX_HANDLES + 5
    source = ScriptedSource(*[[KEEP_ALIVE, LOST] for _ in range(count)], [], date=1000.0)
    source.find_connection = lambda: _raise(REFUSED)
    async with Reading(source) as reading:
        await until(lambda: count + 1 == len(reading.said(StreamConnected)))

        assert reader_module.MAX_HANDLES == len(reading.reader.connections)


def _raise(error):
    raise error


async def test_look_up_that_fails_costs_nothing():
    """If X does not tell the id of our connection, the stream goes on without it."""
    source = ScriptedSource([post(1)])

    source.date = 1000.0
    source.find_connection = lambda: _raise(REFUSED)
    async with Reading(source) as reading:
        await until(lambda: reading.reader._look_up and reading.reader._look_up.done())

        assert reading.reader.connected
        (event,) = reading.said(ConnectionNotFound)
        assert ("ServiceUnavailable", str(REFUSED)) == (event.error, event.reason)
        assert reading.reader.connection_id is None
        assert (1000.0,) == reading.reader.connections
        assert not reading.run.done()


@pytest.mark.parametrize("error", [REFUSED, RateLimited("429"), ConnectionTaken("taken"), OutOfCredit("402")])
async def test_stop_ends_a_wait_at_once(error):
    """However long the wait, a stop does not wait for its end."""
    async with Reading(ScriptedSource([error]), wait_for_real=True) as reading:
        await until(lambda: reading.reader.retry_at is not None)
        began = time.monotonic()
        reading.reader.stop()
        await asyncio.wait_for(reading.run, 1)

    assert time.monotonic() - began < 0.5
    assert reading.run.exception() is None


async def test_stop_ends_the_floors_wait_at_once(monkeypatch):
    """The floor's wait ends with a stop, and nothing is connected then."""
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 60.0)
    monkeypatch.setattr(backoff, "CONNECTS_PER_WINDOW", 1)
    source = ScriptedSource([KEEP_ALIVE, LOST], [])
    async with Reading(source, wait_for_real=True) as reading:
        await until(lambda: reading.reader.error is not None)
        await asyncio.sleep(0.01)
        reading.reader.stop()
        await asyncio.wait_for(reading.run, 1)

    assert 1 == source.connects


async def test_stop_lets_a_blocked_put_finish():
    """What the source holds when the stop comes is put although the buffer is full."""
    source = ScriptedSource([post(1), post(2), post(3)])
    reading = Reading(source)
    reading.buffer.max_bytes = len(post(1))
    async with reading:
        await until(lambda: [post(1)] == source.put_lines)

    # first that there was a connection; each is more than the bytes of a batch
    _, *arrivals = [taken for _ in range(3) for taken in reading.buffer.drain(9)]
    assert [post(1), post(2)] == [line for taken in arrivals for line in taken.lines][:2]


async def test_error_of_a_stopped_connection_is_no_news():
    """A connection that breaks because of our own stop is neither told nor waited for."""
    source = ScriptedSource([post(1)])
    read = source.read

    def breaking(put, connected, **_):
        read(put, connected)
        raise ConnectionLost("cut")

    source.read = breaking
    async with Reading(source) as reading:
        await until(source.idle.is_set)

    assert [] == reading.said(StreamDisconnected, RetryScheduled)


async def test_ownership_is_asked_before_every_connect():
    """Neither rules nor stream are touched before the task is known to be owned here."""
    proven = asyncio.Event()
    source = ScriptedSource([post(1)])
    async with Reading(source, prove=proven.wait) as reading:
        await asyncio.sleep(0.01)
        assert (0, 0) == (source.prepared, source.connects)
        proven.set()
        await until(lambda: 1 == source.connects)
        assert reading.reader.heard_at


async def test_what_is_told_of_a_connection():
    """Connect, disconnect and retry say stream, source partition, X's own words, and the clock's skew."""
    lost = ConnectionLost("X closed the stream", title="operational-disconnect", detail="shutting down")
    source = ScriptedSource(
        [KEEP_ALIVE, lost],
        [KEEP_ALIVE, lost],
        [],
        partition={"stream": "firehose", "partition": "3"},
        skew_secs=1.23456,
    )
    async with Reading(source) as reading:
        await until(source.idle.is_set)
        await until(lambda: 3 == len(reading.said(StreamConnected)))

    connected, disconnected = reading.said(StreamConnected)[0], reading.said(StreamDisconnected)[0]
    assert ("firehose", "3", 1.235) == (connected.stream, connected.partition, connected.clock_skew_secs)
    assert ("ConnectionLost", "X closed the stream") == (disconnected.error, disconnected.reason)
    assert ("operational-disconnect", "shutting down") == (disconnected.title, disconnected.detail)
    assert [(2, 0.25)] == [(event.attempt, event.wait_secs) for event in reading.said(RetryScheduled)]


async def test_out_of_credit_is_told_as_a_pause():
    """Used-up credits are a pause that names its length, not a retry."""
    async with Reading(ScriptedSource([OutOfCredit("X answered 402")], [])) as reading:
        await until(lambda: 2 == reading.source.connects)

    assert [3600] == [event.retry_in_secs for event in reading.said(TaskPaused)]
    assert [] == reading.said(RetryScheduled)


LOSSES = [
    # a connect that is not the first has a reason, in the words of the gap
    ([[KEEP_ALIVE, LOST]], "connection_lost"),
    ([[KEEP_ALIVE, Disconnected("operational")]], "disconnected"),
    ([[KEEP_ALIVE, OutOfCredit("402")]], "credit"),
    ([[KEEP_ALIVE, BudgetReached("spent", resume_at=0.0)]], "budget"),
    # refused connects come after the cause
    ([[KEEP_ALIVE, LOST], [REFUSED], [TAKEN], [RateLimited("429")]], "connection_lost"),
    ([[KEEP_ALIVE, Disconnected("operational")], [OutOfCredit("402")], [TAKEN]], "disconnected"),
    # each gap has its own
    ([[KEEP_ALIVE, LOST], [KEEP_ALIVE, ServiceUnavailable("X answered 503")], [TAKEN]], "service_unavailable"),
    ([[KEEP_ALIVE, RateLimited("429")]], "rate_limited"),
    ([[KEEP_ALIVE, LOST], [KEEP_ALIVE, TAKEN]], "connection_taken"),
    # what was before the first connection of this task is not this reader's to say
    ([], None),
    ([[REFUSED], [TAKEN]], None),
]


@pytest.mark.parametrize(("script", "word"), LOSSES)
async def test_connection_says_why_there_was_none(script, word):
    """The first cause since the last connection, in a word, and it is known already while there is none."""
    source, gate = ScriptedSource(*map(list, script), []), asyncio.Event()

    async def prove():
        if len(script) == source.connects:
            await gate.wait()

    reading = Reading(source, prove=prove)
    async with reading:
        await until(lambda: len(script) == len(reading.said(StreamDisconnected)))
        await asyncio.sleep(0.01)
        assert word == reading.reader.lost_since
        gate.set()
        await until(lambda: source.idle.is_set() and reading.reader.connected)

        assert word == reading.reader.last_connected.after
        assert reading.reader.lost_since is None


async def test_jump_of_the_machines_clock_changes_nothing(monkeypatch):
    """Between an arrival and the wait for a rate limit's end an hour is added to the clock, and not to the wait."""
    begun = clock.now()
    source = ScriptedSource([KEEP_ALIVE, gate := Gate(), RateLimited("429", reset_at=begun + 100)], [])
    async with Reading(source) as reading:
        await until(lambda: reading.reader.heard_at)
        monkeypatch.setattr(time, "time", lambda: begun + 3600)
        gate.set()
        await until(lambda: 2 == source.connects)

    assert [pytest.approx(100 + RESET_MARGIN_SECS, abs=2)] == reading.waits
    assert begun <= reading.reader.heard_at <= begun + 5
