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
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from enum import Enum

import orjson

from connector.coverage.ledger import decode_ids
from connector.coverage.offset import Coverage
from connector.coverage.spend import POST_MILLS, Budget
from connector.errors import BrokerAway, BrokerUnsuitable, DeliveryFailed, Fenced, RecordsRefused, RightMissing
from connector.records import clock
from connector.records.record import (
    Arrival,
    Batch,
    Connected,
    Destination,
    HeldRule,
    Limits,
    Sifted,
    TaskId,
    held_bytes,
)
from connector.records.snowflake import first_id
from connector.sources.handles import Released
from connector.task.repair.policy import Policy
from connector.task.settings import Subscription, TaskSettings
from connector.task.subscribers import Wished
from connector.task.task import SourceTask
from connector.worker.threads import DaemonExecutor

MADE_MS = 1_793_536_496_789
"""When post 0 was made: 2026-11-01T12:34:56.789Z; each later one is a millisecond younger."""

TASK = TaskId("posts", 0)
KEY = b'["posts",{"stream":"filtered"}]'
TO = Destination(connector="posts", topic="posts")
RULE = HeldRule("1", "python", "posts/0")
NO_REPAIR = Policy(ways=frozenset(), none_because="recovery=none")
KEEP_ALIVE = ()
"""A step of a script: a blank line."""


def letters_to(topic):
    """A destination with a dead letter topic."""
    return Destination(connector="posts", topic="posts", dead_letter_topic=topic)


def whole(share, sink=None):
    """The batch of nothing but *share*, as *sink* would deliver it."""
    return Batch((share if sink is None else replace(share, to=sink.destinations[0]),))


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


def shared_post(number, *rules):
    """A line of X with post *number* that matched *rules*, each an id, or an id and a tag."""
    matched = [rule if isinstance(rule, tuple) else (rule, "") for rule in rules]
    listed = b",".join(b'{"id":"%s","tag":"%s"}' % (id_.encode(), tag.encode()) for id_, tag in matched)
    return b'{"data":{"id":"%d","text":"post %d"},"matching_rules":[%s]}' % (id_of(number), number, listed)


class Gate(threading.Event):
    """A step of a script: the source waits here until the test opens it."""


class NoRules:
    """A part of a transformer that takes no interest in rules, and puts nothing around posts."""

    around_bytes = 0

    def know_rules(self, labels):
        pass


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

    def want(self, wanted):
        self.wanted = wanted

    def ask(self, parameters):
        self.parameters = parameters

    def rules_of(self, connector):
        return [rule for rule in self.rules if rule.tag.startswith(f"{connector}/")]

    def prepare(self):
        self.prepared += 1
        if self.prepares and (error := self.prepares.popleft()):
            raise error
        return frozenset()

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
        self._wait()

    def _wait(self):
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


class SharedSource(ScriptedSource):
    """A filtered stream that holds the rules that its connectors want; a rule's id is its value."""

    def __init__(self, *connections, **more):
        super().__init__(*connections, **more)
        self.wants = [{}]
        """What was wanted at each `prepare`."""
        self.asked = []
        """The fields that each connect asked for."""
        self.parameters, self.moved = {}, ()
        self.hung_up = threading.Event()

    def prepare(self):
        super().prepare()
        self.wants.append({name: dict(rules) for name, rules in self.wanted.items()})
        held = {}
        for name, rules in self.wanted.items():
            for value, label in rules.items():
                held.setdefault(value, HeldRule(value, value, f"{name}/{label}"))
        self.rules = tuple(held.values())
        return frozenset(self.moved)

    def rules_of(self, connector):
        return [rule for rule in self.rules if rule.value in self.wants[-1].get(connector, {})]

    def read(self, put, connected, **options):
        self.asked.append(self.parameters)
        self.hung_up.clear()
        super().read(put, connected, **options)

    def _wait(self):
        while not self.stopped.wait(0.002) and not self.hung_up.is_set():
            pass

    def hang_up(self):
        self.hung_up.set()


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
        self.line_of = post
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
        self._lines = [finder.line_of(number) for number in finder.numbers if from_ms <= MADE_MS + number < to_ms]

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
        self.ledgers = defaultdict(list)
        """The ledger of each connector."""
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
        for share in batch.shares:
            self.commits.append(share)
            self.records += share.records
            self.dead_letters += share.dead_letters
            self.offsets += [(offset.key, offset.value) for offset in share.offsets]
            self.ledger += share.ledger
            self.ledgers[share.to.connector] += share.ledger

    def of(self, connector):
        """The lines in the topic of *connector*."""
        return [value for share in self.commits if share.to.connector == connector for value in share.records.values]

    def delivered_ids(self, from_ms, to_ms=None, *, late=False, connector="posts"):
        """What a sink's `read_ledger` finds."""
        ledger = self.ledger if connector == "posts" else self.ledgers[connector]
        later = itertools.dropwhile(lambda write: write.timestamp_ms < from_ms, ledger)
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
        self.refusing = ()
        """The topics that do not take them; none stands for all."""
        self.unsuitable = ()
        """The connectors of which a topic is absent, and may not be created."""
        self.sifts, self.encodes = deque(sifts), deque(encodes)
        self.when_away = lambda: None
        """Called when `encode` is about to fail."""
        self.outcomes, self.opens, self.reads = deque(outcomes), deque(opens), deque(reads)
        self.ledger_reads = []
        self.attempts, self.closed, self.opened = [], 0, 0
        self._kafka, self._owner, self._every, self._epoch = kafka, owner, every, None
        self.destinations, self.limits = (TO,), Limits(record_bytes=10_000, dead_letter_bytes=10_000)

    async def open(self):
        self.opened += 1
        await asyncio.sleep(0)
        _raise_for(self.opens.popleft() if self.opens else CONFIRMED)
        self._epoch = self._kafka.epochs[self._owner] = self._kafka.epochs.get(self._owner, 0) + 1
        return Committed(self._kafka.latest, set(self._kafka.offsets))

    def serve(self, destinations):
        self.destinations = tuple(destinations)

    def limits_of(self, destination):
        return self.limits

    def offset_key(self, connector, partition, kind=None):
        return orjson.dumps([connector, partition] + ([] if kind is None else [kind]))

    async def read_ledger(self, connector, from_ms, to_ms, *, late=False):
        self.ledger_reads.append((from_ms, to_ms))
        await asyncio.sleep(0)
        _raise_for(self.reads.popleft() if self.reads else CONFIRMED)
        return self._kafka.delivered_ids(from_ms, to_ms, late=late, connector=connector)

    async def encode(self, batch):
        if batch.posts:
            outcome = self.encodes.popleft() if self.encodes else CONFIRMED
            if outcome is not CONFIRMED:
                self.when_away()
            _raise_for(outcome)
        if any(share.records and share.to.connector in self.unsuitable for share in batch.shares):
            raise BrokerUnsuitable("The topic owls does not exist")
        return self._epoch, batch

    async def deliver(self, batch, encoded):
        assert (self._epoch, batch) == encoded  # what was built for a producer that is gone cannot be sent
        outcome = CONFIRMED
        if batch.posts or batch.has_more or self._every:
            self.attempts += batch.shares
            outcome = self.outcomes.popleft() if self.outcomes else CONFIRMED
        if isinstance(outcome, Held):
            outcome.begun.set()
            await outcome.released.wait()
            outcome = outcome.outcome
        await asyncio.sleep(0)
        if self._kafka.epochs[self._owner] != self._epoch:
            raise Fenced("ProducerFenced")
        if any(self._refused(share) for share in batch.shares):
            raise RecordsRefused("Kafka refuses records for the topic posts: InvalidTimestamp", places=[("posts", 0)])
        if outcome in (CONFIRMED, DOUBTFUL):
            self._kafka.commit(batch)
        _raise_for(outcome)

    async def sift(self, batch, refused):
        await asyncio.sleep(0)
        _raise_for(self.sifts.popleft() if self.sifts else CONFIRMED)
        words = {}
        for number, share in enumerate(batch.shares):
            refused = self._refused(share)
            for place, key in enumerate(share.records.keys):
                if key in refused:
                    words[number, place] = REFUSED_WORDS.format(key.decode())
        return Sifted(refused=words)

    def _refused(self, share):
        own = share.to.topic in (self.refusing or (share.to.topic,))
        return self.refuses.intersection(share.records.keys) if own else set()

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
    "time_limit_secs": None,
    "traced": False,
}
WISHES = {
    "settle_secs": 0.0,
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
        wishes = {"task": TASK, "destination": sink.destinations[0], **WISHES}
        self.subscription = Subscription(
            finder=lambda _: finder or ScriptedFinder(),
            on_status=self.statuses.append,
            console=console,
            **wishes | {name: value for name, value in changed.items() if name not in SETTINGS},
        )
        self.task = SourceTask(
            TaskSettings(**SETTINGS | {name: value for name, value in changed.items() if name in SETTINGS}),
            sources,
            Wished(subscriptions=(self.subscription,)),
            sink,
            DaemonExecutor("reader"),
            requests=requests or MemoryRequests(),
            emit=self.events.append,
            ghosts=ghosts,
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


class Sharing(Running):
    """A task that reads one stream for several connectors: *wishes* has the changed settings of each, by name."""

    def __init__(self, source, sink, wishes, *, idle=(), **changed):
        self.events, self.told, self.finders = [], defaultdict(list), {}
        self.source, self.sink = source, sink
        self.task = SourceTask(
            TaskSettings(**SETTINGS | changed),
            [source],
            self.wished(wishes, idle=frozenset(idle)),
            sink,
            DaemonExecutor("reader"),
            requests=MemoryRequests(),
            emit=self.events.append,
        )

    def wish(self, name, **changed):
        """What *name* wants: the rule that is named like it, if nothing else is said."""
        its = {"task": TaskId(name, 0), "destination": Destination(connector=name, topic=name), "wanted": {name: "r"}}
        finder = self.finders.setdefault(name, ScriptedFinder())
        return Subscription(finder=lambda _: finder, on_status=self.told[name].append, **WISHES | its | changed)

    def wished(self, wishes, **more):
        return Wished(subscriptions=tuple(self.wish(name, **each) for name, each in wishes.items()), **more)

    def change(self, wishes, **more):
        self.task.change(self.wished(wishes, **more))

    def offset(self, name):
        """The last committed offset of *name*."""
        key = self.sink.offset_key(name, self.source.partition)
        return Coverage.decode(self.sink._kafka.latest[key])

    def states(self, name):
        return [status.state for status in self.told[name]]


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
