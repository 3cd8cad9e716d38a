"""
Fakes of our own Protocols.  Their scripts are a test's data and read as its story:

    ScriptedSource([post(1), post(2), ConnectionLost("reset")], [post(3)])
    MemorySink(kafka, [DOUBTFUL, CONFIRMED])
"""

import asyncio
import contextlib
import itertools
import os
import threading
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import orjson

from connector.coverage.ledger import decode_ids
from connector.coverage.spend import POST_MILLS, Budget
from connector.errors import BrokerAway, DeliveryFailed, Fenced, RecordsRefused, RightMissing
from connector.records import clock
from connector.records.record import Arrival, Connected, HeldRule, Sifted, TaskId, held_bytes
from connector.records.snowflake import first_id
from connector.sources.handles import Released
from connector.task.repair.policy import Policy
from connector.task.settings import TaskSettings
from connector.task.task import SourceTask
from connector.worker.threads import DaemonExecutor

MADE_MS = 1_793_536_496_789
"""When post 0 was made: 2026-11-01T12:34:56.789Z; each later one is a millisecond younger."""

TASK = TaskId("posts", 0)
KEY = b'["posts",{"stream":"filtered"}]'
RULE = HeldRule("1", "python", "posts/0")
NO_REPAIR = Policy(ways=frozenset(), none_because="recovery=none")
KEEP_ALIVE = ()
"""A step of a script: a blank line."""


def id_of(number):
    return first_id(MADE_MS + number)


def post(number):
    """A line of X with post *number*."""
    return b'{"data":{"id":"%d","text":"post %d"}}' % (id_of(number), number)


def key_of(number):
    return b"%d" % id_of(number)


def arrival(*lines, at=None, drained=True):
    return Arrival(lines=lines, at=clock.now() if at is None else at, size=held_bytes(lines), drained=drained)


def skew_to(ms):
    """The skew of an X whose clock stands at *ms* now."""
    return ms / 1000 - clock.now()


class Gate(threading.Event):
    """A step of a script: the source waits here until the test opens it."""


class ScriptedSource:
    """
    A source whose connections do what their lists say, step by step.

    A line arrives alone, a tuple of lines arrives together, an error ends the connection; a list that begins with an
    error is a connect that failed.  A connection whose list is over stays open and silent until `stop`.
    """

    def __init__(
        self, *connections, partition=None, prepares=(), skew_secs=0.0, connection_id=None, date=None, rules=()
    ):
        self.partition = partition or {"stream": "filtered"}
        self.rules = rules
        self.backfills = []
        """The minutes that each connect asked for."""
        self.script = deque(list(connection) for connection in connections)
        self.prepares = deque(prepares)
        self.prepared = 0
        self.connects = 0
        self.skew_secs, self.connection_id, self.date = skew_secs, connection_id, date
        self.release_answers = deque()
        self.released = []
        self.put_lines = []
        """Every line handed over, in order."""
        self.stopped = threading.Event()
        self.idle = threading.Event()
        """Set while a connection is open and its script is over."""

    @classmethod
    def after(cls, other):
        """A new source where *other* was stopped: what the next owner of the task reads."""
        successor = cls(partition=other.partition)
        successor.script = other.script
        successor.put_lines = other.put_lines
        return successor

    def prepare(self):
        self.prepared += 1
        if self.prepares and (error := self.prepares.popleft()):
            raise error

    def read(self, put, connected, *, backfill_minutes=None):
        self.connects += 1
        self.backfills.append(backfill_minutes)
        steps = self.script[0] if self.script else []
        if steps and isinstance(steps[0], Exception):
            self.script.popleft()
            raise steps[0]
        connected(Connected(at=clock.now(), skew_secs=self.skew_secs, date=self.date))
        while steps and not self.stopped.is_set():
            self._take(steps.pop(0), put)
        if not steps and len(self.script) == 1:
            self.idle.set()
        self.stopped.wait()

    def _take(self, step, put):
        if isinstance(step, Exception):
            self.script.popleft()
            raise step
        if isinstance(step, Gate):
            while not step.wait(0.002) and not self.stopped.is_set():
                pass
            return
        lines = (step,) if isinstance(step, bytes) else step
        try:
            put(arrival(*lines))
        finally:
            self.put_lines += lines

    def stop(self):
        self.stopped.set()

    def find_connection(self):
        return self.connection_id

    def release(self, connections):
        """X ends as many as the next answer says and has none of the others; None: it does not say."""
        self.released.append(connections)
        answer = self.release_answers.popleft() if self.release_answers else 0
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return Released()
        ordered = sorted(connections, key=str)
        return Released(ended=frozenset(ordered[:answer]), absent=frozenset(ordered[answer:]))


@dataclass
class Piece:
    """`connector.task.repair.repairer.Found`."""

    lines: tuple
    down_to_id: int
    fetched: tuple


class ScriptedFinder:
    """
    X's past: the posts *numbers*, given out *size* at a time.

    Before each page of a search, and after each piece of a replay, a step of *steps* is taken: an error is raised, a
    gate waited for, None is nothing.  *lost* are the rules that a search cannot have.
    """

    def __init__(self, numbers=(), *steps, size=2, lost=None):
        self.numbers, self.steps, self.size, self.lost = sorted(numbers), deque(steps), size, lost or {}
        self.asked = []
        """Every search's rules and range of ids, every replay's range of times."""
        self.pages = 0
        self.stopped = threading.Event()

    def search(self, rules, low_id, high_id):
        self.asked.append((tuple(rules), low_id, high_id))
        return _ScriptedSearch(self, low_id, high_id)

    def replay(self, from_ms, to_ms):
        self.asked.append((from_ms, to_ms))
        return _ScriptedReplay(self, from_ms, to_ms)

    def stop(self):
        self.stopped.set()

    def take_step(self, stopped):
        step = self.steps.popleft() if self.steps else None
        if isinstance(step, Exception):
            raise step
        while step is not None and not step.wait(0.002) and not stopped.is_set():
            pass


class _ScriptedSearch:
    def __init__(self, finder, low_id, high_id):
        self.lost = finder.lost
        self._finder, self._low = finder, low_id
        numbers = [number for number in reversed(finder.numbers) if low_id <= id_of(number) < high_id]
        self._left = numbers if low_id < high_id else None

    def next(self):
        finder = self._finder
        if self._left is None:
            return None
        finder.take_step(finder.stopped)
        finder.pages += 1
        page, rest = self._left[: finder.size], self._left[finder.size :]
        self._left = rest or None
        return Piece(tuple(map(post, page)), id_of(page[-1]) if rest else self._low, tuple(map(id_of, page)))


class _ScriptedReplay:
    def __init__(self, finder, from_ms, to_ms):
        self._finder, self._stopped = finder, threading.Event()
        self._lines = [post(number) for number in finder.numbers if from_ms <= MADE_MS + number < to_ms]

    def read(self, put, connected):
        connected(Connected(at=clock.now(), skew_secs=0.0))
        finder = self._finder
        for begin in range(0, len(self._lines) or 1, finder.size):
            put(arrival(*self._lines[begin : begin + finder.size]))
            finder.pages += 1
            finder.take_step(self)
            if self.is_set():
                return

    def is_set(self):
        return self._stopped.is_set() or self._finder.stopped.is_set()

    def stop(self):
        self._stopped.set()


@dataclass(frozen=True)
class Asked:
    """`connector.task.repair.orders.Request`."""

    from_ms: int
    action: str
    partition: str | None = None


class MemoryRequests:
    """What operators ask, and when it was taken out."""

    def __init__(self, kafka=None, *dones):
        self.asked, self.done_at = [], []
        """*done_at* has, for each request that was taken out, how many commits there were before."""
        self._kafka, self._dones = kafka, deque(dones)

    def pending(self, connector, partition):
        return [request for request in self.asked if (connector, partition) == ("posts", request.partition)]

    async def done(self, request):
        await asyncio.sleep(0)
        _raise_for(self._dones.popleft() if self._dones else CONFIRMED)
        self.asked.remove(request)
        self.done_at.append(len(self._kafka.commits))


class Outcome(Enum):
    """How a delivery ends."""

    CONFIRMED = "in the topic, and confirmed"
    DOUBTFUL = "in the topic, but the confirmation is lost"
    LOST = "not in the topic"
    AWAY = "the broker is not there"


CONFIRMED, DOUBTFUL, LOST, AWAY = Outcome


@dataclass
class Held:
    """A delivery that waits until `released`, and then has *outcome*."""

    outcome: Outcome = CONFIRMED
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Committed:
    """`connector.task.in_flight.CommittedOffsets`."""

    latest: dict
    seen: set


class MemoryKafka:
    """What the sinks of all workers have committed, and which of them owns which transactional id."""

    def __init__(self):
        self.records, self.dead_letters, self.offsets, self.commits = [], [], [], []
        self.ledger = []
        self.epochs = {}

    @property
    def values(self):
        return [record.value for record in self.records]

    @property
    def latest(self):
        return {key: value for key, value in dict(self.offsets).items() if value is not None}

    def offset(self, number=-1):
        """The decoded value of a committed offset, by default the last one."""
        return orjson.loads(self.offsets[number][1])

    def commit(self, batch):
        self.commits.append(batch)
        self.records += batch.records
        self.dead_letters += batch.dead_letters
        self.offsets += [(offset.key, offset.value) for offset in batch.offsets]
        self.ledger += batch.ledger

    def delivered_ids(self, from_ms, to_ms=None, *, late=False):
        """What a sink's `read_ledger` finds."""
        later = itertools.dropwhile(lambda write: write.timestamp_ms < from_ms, self.ledger)
        ids, beyond = [], False
        for write in later:
            if beyond and write.source is None:
                continue
            ids += decode_ids(write.value)
            if to_ms is not None and write.source is None and write.timestamp_ms > to_ms:
                if not late:
                    break
                beyond = True
        return ids


REFUSED_WORDS = "Kafka refuses the post {} for the topic posts: InvalidTimestamp; check message.timestamp.after.max.ms"


class MemorySink:
    """
    A sink whose deliveries end as *outcomes* say, and all later ones well; *opens* and *reads* of the ledger likewise.

    A delivery of nothing but an offset ends well without being one of *attempts*, unless *every* one is meant: when it
    comes, with its posts or before them, depends on threads.  A second sink with the same *owner* fences the first one
    when it opens.
    """

    max_record_bytes = 10_000
    max_dead_letter_bytes = 10_000

    def __init__(
        self,
        kafka,
        outcomes=(),
        *,
        opens=(),
        reads=(),
        sifts=(),
        encodes=(),
        owner="connector-posts-0",
        every=False,
        refuses=(),
    ):
        self.refuses = {key_of(number) for number in refuses}
        """The keys of posts that the topic does not take."""
        self.sifts, self.encodes = deque(sifts), deque(encodes)
        self.outcomes, self.opens, self.reads = deque(outcomes), deque(opens), deque(reads)
        self.ledger_reads = []
        self.attempts, self.closed, self.opened = [], 0, 0
        self._kafka, self._owner, self._every, self._epoch = kafka, owner, every, None

    async def open(self):
        self.opened += 1
        await asyncio.sleep(0)
        _raise_for(self.opens.popleft() if self.opens else CONFIRMED)
        self._epoch = self._kafka.epochs[self._owner] = self._kafka.epochs.get(self._owner, 0) + 1
        return Committed(self._kafka.latest, set(self._kafka.offsets))

    def offset_key(self, partition, kind=None):
        return orjson.dumps(["posts", partition] + ([] if kind is None else [kind]))

    async def read_ledger(self, from_ms, to_ms, *, late=False):
        self.ledger_reads.append((from_ms, to_ms))
        await asyncio.sleep(0)
        _raise_for(self.reads.popleft() if self.reads else CONFIRMED)
        return self._kafka.delivered_ids(from_ms, to_ms, late=late)

    async def encode(self, batch):
        if batch.records:
            _raise_for(self.encodes.popleft() if self.encodes else CONFIRMED)
        return self._epoch, batch

    async def deliver(self, batch, encoded):
        assert (self._epoch, batch) == encoded  # what was built for a producer that is gone cannot be sent
        outcome = CONFIRMED
        if batch.records or batch.dead_letters or self._every:
            self.attempts.append(batch)
            outcome = self.outcomes.popleft() if self.outcomes else CONFIRMED
        if isinstance(outcome, Held):
            outcome.begun.set()
            await outcome.released.wait()
            outcome = outcome.outcome
        await asyncio.sleep(0)
        if self._kafka.epochs[self._owner] != self._epoch:
            raise Fenced("ProducerFenced")
        if self.refuses.intersection(batch.records.keys):
            raise RecordsRefused("Kafka refuses records for the topic posts: InvalidTimestamp", partitions=[0])
        if outcome in (CONFIRMED, DOUBTFUL):
            self._kafka.commit(batch)
        _raise_for(outcome)

    async def sift(self, batch, refused):
        await asyncio.sleep(0)
        _raise_for(self.sifts.popleft() if self.sifts else CONFIRMED)
        keys = enumerate(batch.records.keys)
        return Sifted(refused={place: REFUSED_WORDS.format(key.decode()) for place, key in keys if key in self.refuses})

    async def close(self):
        self._epoch = None
        self.closed += 1
        await asyncio.sleep(0)


def _raise_for(outcome):
    if isinstance(outcome, RightMissing):
        raise outcome
    if outcome is AWAY:
        raise BrokerAway("KafkaConnectionError: no broker")
    if outcome is not CONFIRMED:
        raise DeliveryFailed("KafkaError: the outcome is unknown")


SETTINGS = {
    "task": TASK,
    "poll_interval_secs": 0.005,
    "pace_secs": 0.0,
    "offset_interval_secs": 0.0,
    "batch_max_records": 100,
    "buffer_max_bytes": 100_000,
    "settle_secs": 0.0,
    "time_limit_secs": None,
    "dead_letter_topic": None,
    "tolerate_bad_records": False,
    "policy": NO_REPAIR,
    "metered": True,
    "budget": Budget(mills_each=POST_MILLS),
    "others": tuple,
}


class Running:
    """A task at work, and what it has told; a source without a finder of its own has one that finds nothing."""

    def __init__(self, sources, sink, *, finder=None, requests=None, ghosts=(), console=None, **changed):
        self.events, self.statuses = [], []
        self.task = SourceTask(
            TaskSettings(**SETTINGS | changed),
            [(source, finder or ScriptedFinder()) for source in sources],
            sink,
            DaemonExecutor("reader"),
            requests=requests or MemoryRequests(),
            emit=self.events.append,
            on_status=self.statuses.append,
            ghosts=ghosts,
            console=console,
        )

    async def __aenter__(self):
        await self.task.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        async with asyncio.timeout(5):
            await self.task.stop()

    async def ended(self):
        async with asyncio.timeout(5):
            await self.task.ended.wait()

    def said(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def states(self):
        return [status.state for status in self.statuses]


def fill(pipe):
    """Let *pipe* take no byte more; return how many it took."""
    took = 0
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            took += os.write(pipe, b"\n")
    os.set_blocking(pipe, True)
    return took


async def until(condition, secs=20.0):
    """Return once *condition* is true; a story that never gets there fails instead of hanging."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(secs):
            while not condition():  # noqa: ASYNC110  # a fake's thread changes it, too
                await asyncio.sleep(0.002)
    assert condition()
