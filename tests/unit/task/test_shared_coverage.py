"""Several connectors on one stream, in any order of events: nothing lost, nothing doubled, nothing of others."""

import asyncio
import contextlib
import heapq
import itertools
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from connector.coverage.offset import Coverage
from connector.coverage.progress import OFFSET, REPAIRED, RULES, Progress
from connector.records import clock
from connector.records.record import Arrival, Connected, HeldRule
from connector.records.snowflake import first_id
from connector.task import batcher as module
from connector.task.batcher import Batcher, BatcherSettings
from connector.task.buffer import Buffer
from connector.task.partition import Partition, progress_settings
from connector.task.router import Router
from connector.task.settings import Subscription
from connector.task.subscriber import Subscriber
from tests.unit.fakes import MADE_MS, WISHES, Destination, MemoryKafka, MemorySink, TaskId

SETTLE_MS, LAG_MS = 15_000, 7_000
WANTED = {"birds": {"a", "x"}, "cats": {"b", "x"}, "dogs": {"c"}}
"""`x` is wanted by two: X holds it once."""
SEEDS = st.integers(0, 2**20)
PAUSES = st.integers(1, 40_000) | st.sampled_from([1, 15_000, 16_001, 60_000])
NAMES = st.sampled_from(sorted(WANTED))


@dataclass(frozen=True, order=True)
class Post:
    """A post that matches *values*, of which X held *held* when it was made."""

    post_id: int
    made_ms: int
    sent_ms: int
    values: frozenset
    held: frozenset

    @property
    def line(self):
        matched = b",".join(b'{"id":"%s"}' % value.encode() for value in sorted(self.values & self.held))
        return b'{"data":{"id":"%d"},"matching_rules":[%s]}' % (self.post_id, matched)


class FakeReader:
    """What a batcher and the parts of connectors need of a reader."""

    def __init__(self):
        self.buffer = Buffer(10**9, lambda: None, full_posts=10**6)
        self.connected = None


class NoRepairs:
    page = None

    def stop(self):
        pass


@dataclass
class Worker:
    """What a crash ends."""

    subscribers: dict = field(default_factory=dict)
    reader: FakeReader = field(default_factory=FakeReader)
    batcher: Batcher | None = None
    pending: list = field(default_factory=list)


class Shared(RuleBasedStateMachine):
    """X, a task that reads from it for some of three connectors, and Kafka; X's clock is the only one."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now_ms, self.made = MADE_MS, itertools.count()
        self.kafka = MemoryKafka()
        self.sink = MemorySink(self.kafka)
        self.posts, self.coming, self.queue = [], [], None
        self.at_x, self.asked, self.here = frozenset(), None, frozenset()
        """The names whose rules X holds; those of a change under way; those that read."""
        self.patches = contextlib.ExitStack()
        self.patches.enter_context(patch.object(clock, "now", lambda: self.now_ms / 1000))
        self.patches.enter_context(patch.object(module, "POSTS_AT_ONCE", 3))

    def teardown(self):
        try:
            self._check()
        finally:
            self.patches.close()
            self.loop.close()

    @initialize(names=st.sets(NAMES, min_size=1))
    def begin(self, names):
        self.here = frozenset(names)
        self._start()

    def _start(self):
        self.task = Worker()
        in_flight = SimpleNamespace(coverage_of=lambda name, _: self._committed(name))
        self.task.batcher = Batcher(
            BatcherSettings(task=TaskId("birds", 0), batch_max_records=10**6, offset_interval_secs=0.0),
            self.sink,
            in_flight=in_flight,
            emit=lambda _: None,
            told=lambda: None,
        )
        for name in sorted(self.here):
            self._join(name, joined=False)
        self.at_x, self.asked, self.queue = self.here, None, None
        for subscriber in self.task.subscribers.values():
            subscriber.partitions[0].rules_applied(moved=False)

    def _join(self, name, *, joined):
        wish = Subscription(
            finder=None,
            on_status=lambda _: None,
            **WISHES
            | {
                "task": TaskId(name, 0),
                "destination": Destination(connector=name, topic=name),
                "settle_secs": SETTLE_MS / 1000,
            },
        )
        subscriber = Subscriber(wish, None, self.sink)
        keys = {kind: self._key(name, kind) for kind in (OFFSET, REPAIRED, RULES)}
        kept = {kind: self.kafka.latest.get(key) for kind, key in keys.items()}
        progress = Progress(
            {"stream": "filtered"}, progress_settings(wish, tuple), emit=lambda _: None, kept=kept, run="run"
        )
        if progress.wanted_from_ms is not None:
            subscriber.converter.ledger.update(self.kafka.delivered_ids(progress.wanted_from_ms, connector=name))
        partition = Partition(reader=self.task.reader, progress=progress, repairer=NoRepairs(), joined=joined)
        subscriber.partitions.append(partition)
        subscriber.progresses.append(progress)
        self.task.subscribers[name] = subscriber

    def _key(self, name, kind=None):
        return self.sink.offset_key(name, {"stream": "filtered"}, kind)

    def _committed(self, name):
        value = self.kafka.latest.get(self._key(name))
        return Coverage() if value is None else Coverage.decode(value)

    # -- X

    @property
    def held(self):
        return frozenset().union(*(WANTED[name] for name in self.at_x))

    @rule(pause_ms=PAUSES, seed=SEEDS)
    def time_passes(self, pause_ms, seed):
        """X makes posts, and sends those that match a rule which it holds when they are made."""
        random = Random(seed)
        begin, self.now_ms = self.now_ms, self.now_ms + pause_ms
        for made_ms in sorted([begin + 1, self.now_ms, *(random.randint(begin + 1, self.now_ms) for _ in range(5))]):
            values = frozenset(random.sample("abcx", random.randint(1, 3)))
            sent_ms = made_ms + random.choice([0, random.randint(0, LAG_MS), LAG_MS])
            post = Post(first_id(made_ms) + next(self.made), made_ms, sent_ms, values, self.held)
            self.posts.append(post)
            if values & self.held:
                heapq.heappush(self.coming, (sent_ms, post))
        while self.coming and self.coming[0][0] <= self.now_ms:
            due = heapq.heappop(self.coming)
            if self.queue is not None:
                self.queue.append(due[1])

    @rule()
    @precondition(lambda self: self.queue is None)
    def connect(self):
        """The rules were applied before."""
        after = "connection_lost" if self.task.reader.connected else None
        self.queue = []
        connected = Connected(at=clock.now(), skew_secs=0.0, after=after)
        self.task.reader.connected = connected
        self.task.reader.buffer.put_connected(connected)

    @rule()
    @precondition(lambda self: self.queue is not None)
    def connection_is_lost(self):
        self.queue = None
        self.task.reader.connected = None

    @rule(seed=SEEDS)
    @precondition(lambda self: self.queue is not None)
    def x_repeats_a_post(self, seed):
        sent = [each for each in self.posts if each.values & each.held and self.now_ms - 300_000 < each.made_ms]
        if sent := [each for each in sent if each.sent_ms <= self.now_ms]:
            self.queue.append(Random(seed).choice(sent))

    @rule(count=st.integers(1, 10), alive=st.booleans())
    @precondition(lambda self: self.queue is not None)
    def read(self, count, alive):
        """Some of what has come, and perhaps a keep-alive behind all of it."""
        lines, self.queue = [post.line for post in self.queue[:count]], self.queue[count:]
        drained = not self.queue
        buffer = self.task.reader.buffer
        if lines:
            buffer.put(Arrival(lines=tuple(lines), at=clock.now(), size=1, drained=drained))
        if alive and drained:
            buffer.put(Arrival(lines=(), at=clock.now(), size=1))

    # -- the task

    @rule()
    def turn(self):
        """Make a batch of what was read."""
        self._turn(prove=False)

    def _turn(self, *, prove):
        subscribers = list(self.task.subscribers.values())
        rules = {name: [HeldRule(value, value, "") for value in WANTED[name]] for name in self.task.subscribers}
        router = Router(self.task.subscribers, lambda: rules)
        made = self.task.batcher.gather([self.task.reader], subscribers, router, prove=prove, quiet=True)
        pending, failed = self.loop.run_until_complete(made)
        assert not failed
        if pending is not None:
            self.task.pending.append(pending)

    @rule()
    @precondition(lambda self: self.task.pending)
    def commit(self):
        """Kafka has the oldest batch."""
        self.kafka.commit(self.task.pending.pop(0).batch)

    def _deliver(self, *, prove=False):
        self._turn(prove=prove)
        while self.task.pending:
            self.commit()

    @rule(pause_ms=PAUSES, seed=SEEDS)
    @precondition(lambda self: self.queue is not None)
    def all_is_well(self, pause_ms, seed):
        """A while in which everything works."""
        self.time_passes(pause_ms, seed)
        self.read(10**6, alive=True)
        self._deliver()

    @rule(confirmed=st.integers(0, 2))
    def crash(self, confirmed):
        """Only what was committed is left; another worker reads for the same connectors."""
        for pending in self.task.pending[:confirmed]:
            self.kafka.commit(pending.batch)
        self._start()

    # -- connectors come and go: X changes its rules at once, and is heard of later

    @rule(name=NAMES)
    @precondition(lambda self: self.asked is None)
    def one_comes_or_goes(self, name):
        """Its rules are asked for, or away; X may have done that long before it is known here."""
        self.asked = self.here ^ {name}
        if name not in self.here:
            self._deliver()
            self._join(name, joined=True)
        for subscriber in self.task.subscribers.values():
            subscriber.partitions[0].rules_changing()

    @rule()
    @precondition(lambda self: self.asked is not None)
    def x_has_changed_the_rules(self):
        """As asked."""
        self.at_x = self.asked

    @rule()
    @precondition(lambda self: self.asked is not None and self.at_x == self.asked)
    def x_has_answered(self):
        """Who comes is covered from now on; who goes is gone once its last offset is committed."""
        for name, subscriber in list(self.task.subscribers.items()):
            if name in self.asked:
                subscriber.partitions[0].rules_applied(moved=False)
            else:
                subscriber.partitions[0].rules_gone("paused")
                self._deliver(prove=True)
                del self.task.subscribers[name]
        self.here, self.asked = self.asked, None

    # -- what is promised

    @rule()
    def look(self):
        """At any moment."""
        self._check()

    def _check(self):
        for name, wanted in WANTED.items():
            records = [record for share in self.kafka.commits if share.to.connector == name for record in share.records]
            ids = [int(record.key) for record in records]
            coverage = self._committed(name)
            assert len(set(ids)) == len(ids) == coverage.posts, f"{name} has a post twice, or counts another number"
            by_id = {post.post_id: post for post in self.posts}
            assert all(by_id[post_id].values & wanted for post_id in ids), f"{name} has a post of another"
            if coverage.covered_to_ms is None:
                continue
            for post in self.posts:
                covered = coverage.covered_from_ms <= post.made_ms < coverage.covered_to_ms
                if covered and post.values & wanted and post.post_id not in set(ids):
                    assert any(gap.begin_id <= post.post_id < gap.end_id for gap in coverage.gaps), (
                        f"{post} is missing for {name} in {coverage}"
                    )


TestShared = pytest.mark.slow(Shared.TestCase)
TestShared.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@contextlib.contextmanager
def story():
    """The machine, for one story: birds and cats are connected and have covered some time."""
    shared = Shared()
    try:
        shared.begin({"birds", "cats"})
        shared.connect()
        shared.all_is_well(40_000, 1)
        yield shared
    finally:
        shared.teardown()


def test_no_time_is_claimed_until_x_has_answered():
    """X may have deleted the rules long ago."""
    with story() as shared:
        before = shared._committed("birds").covered_to_ms
        shared.one_comes_or_goes("birds")
        shared.x_has_changed_the_rules()
        shared.all_is_well(60_000, 2)
        assert before == shared._committed("birds").covered_to_ms
        shared.x_has_answered()
        shared.all_is_well(60_000, 3)

        assert before == shared._committed("birds").covered_to_ms < shared._committed("cats").covered_to_ms


def test_who_fails_takes_nothing_behind_the_bad_line():
    """Not even time; who tolerates the line goes on."""
    with story() as shared:
        birds, cats = (shared.task.subscribers[name] for name in ("birds", "cats"))
        before, cats.converter.dead_letters = birds.progresses[0].coverage, True
        shared.now_ms += 60_000
        for lines in ((b'{"data":{}}',), ()):
            shared.task.reader.buffer.put(Arrival(lines=lines, at=clock.now(), size=1))
        rules = {name: [HeldRule(value, value, "") for value in WANTED[name]] for name in shared.task.subscribers}
        router = Router(rules, lambda: rules)
        made = shared.task.batcher.gather([shared.task.reader], [birds, cats], router, prove=False, quiet=True)
        _, failed = shared.loop.run_until_complete(made)

        assert [birds] == list(failed)
        assert before.covered_to_ms == birds.progresses[0].coverage.covered_to_ms
        assert before.covered_to_ms < cats.progresses[0].coverage.covered_to_ms
