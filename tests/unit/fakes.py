"""
Fakes of our own Protocols.  Their scripts are a test's data and read as its story:

    ScriptedSource([post(1), post(2), ConnectionLost("reset")], [post(3)])
    MemorySink(kafka, [DOUBTFUL, CONFIRMED])
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import orjson

from connector.errors import BrokerAway, DeliveryFailed, Fenced
from connector.records import Arrival, Connected, TaskId
from connector.snowflake import first_id

MADE_MS = 1_793_536_496_789
"""When post 0 was made: 2026-11-01T12:34:56.789Z; each later one is a millisecond younger."""

TASK = TaskId("posts", 0)
KEEP_ALIVE = ()
"""A step of a script: a blank line."""


def id_of(number):
    return first_id(MADE_MS + number)


def post(number):
    """A line of X with post *number*."""
    return b'{"data":{"id":"%d","text":"post %d"}}' % (id_of(number), number)


def key_of(number):
    return b"%d" % id_of(number)


def arrival(*lines, at=None):
    return Arrival(lines=lines, at=time.time() if at is None else at, size=sum(map(len, lines)))


class Gate(threading.Event):
    """A step of a script: the source waits here until the test opens it."""


class ScriptedSource:
    """
    A source whose connections do what their lists say, step by step.

    A line arrives alone, a tuple of lines arrives together, an error ends the connection; a list that begins with an
    error is a connect that failed.  A connection whose list is over stays open and silent until `stop`.
    """

    def __init__(self, *connections, partition=None, prepares=(), skew_secs=0.0, connection_id=None):
        self.partition = partition or {"stream": "filtered"}
        self.script = deque(list(connection) for connection in connections)
        self.prepares = deque(prepares)
        self.prepared = 0
        self.connects = 0
        self.skew_secs, self.connection_id = skew_secs, connection_id
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

    def read(self, put, connected):
        self.connects += 1
        steps = self.script[0] if self.script else []
        if steps and isinstance(steps[0], Exception):
            self.script.popleft()
            raise steps[0]
        connected(Connected(at=time.time(), skew_secs=self.skew_secs))
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
        put(arrival(*lines))
        self.put_lines += lines

    def stop(self):
        self.stopped.set()

    def find_connection(self):
        return self.connection_id

    def release(self, ids):
        self.released.append(ids)
        answer = self.release_answers.popleft() if self.release_answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer


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
    """`connector.outbox.CommittedOffsets`."""

    latest: dict
    seen: set


class MemoryKafka:
    """What the sinks of all workers have committed, and which of them owns which transactional id."""

    def __init__(self):
        self.records, self.dead_letters, self.offsets, self.commits = [], [], [], []
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


class MemorySink:
    """
    A sink whose deliveries end as *outcomes* say, and all later ones well; *opens* likewise.

    A second sink with the same *owner* fences the first one when it opens.
    """

    max_record_bytes = 10_000
    max_dead_letter_bytes = 10_000

    def __init__(self, kafka, outcomes=(), *, opens=(), owner="connector-posts-0"):
        self.outcomes, self.opens = deque(outcomes), deque(opens)
        self.attempts, self.closed, self.opened = [], 0, 0
        self._kafka, self._owner, self._epoch = kafka, owner, None

    async def open(self):
        self.opened += 1
        await asyncio.sleep(0)
        _raise_for(self.opens.popleft() if self.opens else CONFIRMED)
        self._epoch = self._kafka.epochs[self._owner] = self._kafka.epochs.get(self._owner, 0) + 1
        return Committed(self._kafka.latest, set(self._kafka.offsets))

    def offset_key(self, partition):
        return orjson.dumps(["posts", partition])

    async def encode(self, batch):
        return self._epoch, batch

    async def deliver(self, batch, encoded):
        assert (self._epoch, batch) == encoded  # what was built for a producer that is gone cannot be sent
        self.attempts.append(batch)
        outcome = self.outcomes.popleft() if self.outcomes else CONFIRMED
        if isinstance(outcome, Held):
            outcome.begun.set()
            await outcome.released.wait()
            outcome = outcome.outcome
        await asyncio.sleep(0)
        if self._kafka.epochs[self._owner] != self._epoch:
            raise Fenced("ProducerFenced")
        if outcome in (CONFIRMED, DOUBTFUL):
            self._kafka.commit(batch)
        _raise_for(outcome)

    async def close(self):
        self._epoch = None
        self.closed += 1
        await asyncio.sleep(0)


def _raise_for(outcome):
    if outcome is AWAY:
        raise BrokerAway("KafkaConnectionError: no broker")
    if outcome is not CONFIRMED:
        raise DeliveryFailed("KafkaError: the outcome is unknown")


async def until(condition, secs=5.0):
    """Return once *condition* is true; a story that never gets there fails instead of hanging."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(secs):
            while not condition():  # noqa: ASYNC110  # a fake's thread changes it, too
                await asyncio.sleep(0.002)
    assert condition()
