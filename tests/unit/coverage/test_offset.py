"""The bookkeeping of what is delivered and what is missing, alone and as a source partition's progress drives it."""

import contextlib
import heapq
import itertools
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connector.coverage import ledger
from connector.coverage import offset as module
from connector.coverage.offset import Coverage, Gap, GapState, Way
from connector.coverage.progress import (
    GAP_EDGE_MS,
    OFFSET,
    REPAIRED,
    RULES,
    Page,
    Progress,
    ProgressSettings,
    ledger_write,
)
from connector.coverage.spend import Budget, Spend
from connector.records import clock
from connector.records.record import Arrival, Connected, Limits, Share
from connector.records.snowflake import created_ms, first_id
from connector.task.batcher import convert, convert_page
from connector.task.converter import Converter
from connector.task.repair.policy import REPLAY_SLICE_MS, Lost, Policy, Repair, Split, backfill_minutes, step_for
from tests.unit.fakes import MADE_MS, TASK, TO, MemoryKafka, whole

MS = st.integers(0, 4_000_000_000_000)
SETTLE_MS = 15_000
LAG_MS = SETTLE_MS // 2
"""So late X delivers at most, in these tests."""

INDEX_MS = 30_000
"""So long after a post was made search has it."""

HOUR_MS = 3_600_000


def opened(at_ms=100_000):
    return Coverage().connected(at_ms, reason="not_running")


# -- the stream


def test_first_connection_begins_the_coverage():
    """Without an offset nothing before the connect is claimed, and nothing is missing."""
    assert Coverage(covered_from_ms=101_000, covered_to_ms=101_000, rules="a") == Coverage().connected(
        100_000, reason="not_running", rules="a"
    )


def test_stays_behind_what_was_heard():
    """X delivers late and unordered, so the offset stays `settle` behind what was heard last."""
    assert 185_000 == opened().heard(200_000, connected_ms=100_000, settle_ms=15_000).covered_to_ms


@pytest.mark.parametrize(("heard", "covered"), [(135_999, 105_000), (136_000, 121_000), (137_000, 122_000)])
def test_young_connection_claims_nothing(heard, covered):
    """Until a connection has lasted `settle` and the margin the offset stays where the last one left it."""
    coverage = opened().heard(120_000, connected_ms=100_000, settle_ms=15_000)
    again = coverage.connected(120_000, reason="connection_lost")

    assert covered == again.heard(heard, connected_ms=120_000, settle_ms=15_000).covered_to_ms


def test_outage_is_a_gap():
    """From what was covered to the margin behind the next connect; with the rules that were in force in it."""
    coverage = Coverage(covered_from_ms=1_000, covered_to_ms=50_000, rules="old")
    again = coverage.connected(90_000, reason="connection_lost", rules="new")

    assert (Gap(from_ms=50_000, to_ms=91_000, reason="connection_lost", rules="old"),) == again.gaps
    assert (50_000, "new") == (again.covered_to_ms, again.rules)


def test_connections_too_short_to_claim_anything_are_one_outage():
    """A flapping connection makes one gap, not one for each try; its first reason stays."""
    coverage = Coverage(covered_from_ms=1_000, covered_to_ms=50_000)
    for at_ms, reason in [(90_000, "connection_lost"), (95_000, "service_unavailable"), (99_000, "disconnected")]:
        coverage = coverage.connected(at_ms, reason=reason)

    assert (Gap(from_ms=50_000, to_ms=100_000, reason="connection_lost"),) == coverage.gaps


UNGROWN = [
    # its upper part is in the topic
    Gap(from_ms=50_000, to_ms=60_000, reason="a", state=GapState.REPAIRING, until_id=first_id(55_000)),
    # given up
    Gap(from_ms=50_000, to_ms=60_000, reason="a", state=GapState.LOST, detail="why"),
    # other rules were in force in it
    Gap(from_ms=50_000, to_ms=60_000, reason="a", rules="old"),
]


@pytest.mark.parametrize("gap", UNGROWN)
def test_gap_that_is_something_else_does_not_grow(gap):
    """What comes behind it is a gap of its own."""
    coverage = Coverage(covered_from_ms=1_000, covered_to_ms=50_000, gaps=(gap,), rules="now")
    again = coverage.connected(90_000, reason="b", rules="now")

    assert (gap, Gap(from_ms=60_000, to_ms=91_000, reason="b", rules="now")) == again.gaps


@pytest.mark.parametrize("at_ms", [10_000, 49_000])
def test_connect_in_covered_time_opens_no_gap(at_ms):
    """X's clock, as far as it is known, may go back."""
    coverage = Coverage(covered_from_ms=1_000, covered_to_ms=50_000)

    assert coverage == coverage.connected(at_ms, reason="a")


STEP = st.tuples(st.booleans(), MS, MS, st.integers(0, 100_000))


@given(st.lists(STEP, max_size=30))
def test_never_decreases(steps):
    """Whatever the clocks do, the covered end does not go back, and no gap vanishes by itself."""
    coverage = Coverage()
    for is_connect, at, connected, settle in steps:
        later = (
            coverage.connected(at, reason="a")
            if is_connect
            else coverage.heard(at, connected_ms=connected, settle_ms=settle)
        )
        if coverage.covered_to_ms is not None:
            assert coverage.covered_from_ms == later.covered_from_ms
            assert coverage.covered_to_ms <= later.covered_to_ms <= max(coverage.covered_to_ms, at - settle)
            assert [gap.from_ms for gap in coverage.gaps] == [gap.from_ms for gap in later.gaps][: len(coverage.gaps)]
        assert_gaps_are_proper(later)
        coverage = later


def test_counts_are_added():
    """Posts and dead letters are counted for good."""
    coverage = Coverage(posts=7).delivered(posts=2).delivered(posts=1, dead_letters=3)

    assert (10, 3) == (coverage.posts, coverage.dead_letters)


def gaps_at(*begins, secs=1, **fields):
    return tuple(Gap(from_ms=at * 1000, to_ms=(at + secs) * 1000, reason="a", **fields) for at in begins)


def test_too_many_gaps_become_fewer(monkeypatch):
    """The nearest neighbours are joined: more is shown as missing, never less; what is under repair is left alone."""
    monkeypatch.setattr(module, "MAX_GAPS", 3)
    repairing = replace(gaps_at(11)[0], state=GapState.REPAIRING)
    gaps = (*gaps_at(0), *gaps_at(3, posts=2, state=GapState.LOST, detail="x"), *gaps_at(9), repairing)
    coverage = Coverage(covered_from_ms=0, covered_to_ms=30_000, gaps=gaps)
    again = coverage.connected(40_000, reason="b")

    joined = Gap(from_ms=0, to_ms=10_000, reason="a", posts=2)
    assert (joined, repairing, Gap(from_ms=30_000, to_ms=41_000, reason="b")) == again.gaps
    assert [(0, 4_000)] == [(gap.from_ms, gap.to_ms) for gap in module._bounded(gaps)][:1]


@pytest.mark.slow
def test_offset_stays_bounded():
    """Ten thousand outages, and the offset is some kilobytes."""
    coverage = opened(0)
    for at in range(100_000, 100_000 * 10_000, 100_000):
        coverage = coverage.heard(at, connected_ms=at - 90_000, settle_ms=15_000).connected(at, reason="a")

    assert module.MAX_GAPS == len(coverage.gaps)
    assert len(coverage.encode()) < 40_000


# -- repairs


def test_repaired_gap_is_covered():
    """Beyond the covered end there are only gaps, so the end moves over the one that is closed."""
    coverage = Coverage(covered_from_ms=0, covered_to_ms=5_000, gaps=gaps_at(1, 5, 6))

    assert Coverage(covered_from_ms=0, covered_to_ms=5_000, gaps=gaps_at(5, 6)) == coverage.without(*gaps_at(1))
    assert Coverage(covered_from_ms=0, covered_to_ms=6_000, gaps=gaps_at(1, 6)) == coverage.without(*gaps_at(5))
    assert Coverage(covered_from_ms=0, covered_to_ms=7_000, gaps=gaps_at(1, 5)) == coverage.without(*gaps_at(6))


def test_gap_is_found_and_changed_by_its_begin():
    """Its begin is its name."""
    coverage = Coverage(covered_from_ms=0, covered_to_ms=5_000, gaps=gaps_at(1, 3))
    changed = replace(coverage.gaps[1], detail="waits")

    assert coverage.gaps[1] == coverage.gap_at(3_000)
    assert coverage.gap_at(2_000) is None
    assert (*gaps_at(1), changed) == coverage.with_gap(changed).gaps


@pytest.mark.parametrize("done_to_ms", [4_000, 2_000, 1_500])
def test_split_keeps_what_is_counted(done_to_ms):
    """Two gaps that are the one, each time in just one of them; what is in the topic is in none."""
    begin = 1_800_000_000_000
    gap = Gap(
        from_ms=begin + 1_000,
        to_ms=begin + 5_000,
        reason="a",
        posts=3,
        billed=2,
        mills=10,
        until_id=first_id(begin + done_to_ms),
    )
    coverage = Coverage(covered_from_ms=begin, covered_to_ms=begin + 9_000, gaps=(gap,))

    below, *above = coverage.split(gap, begin + 2_000).gaps
    if done_to_ms > 2_000:
        assert Gap(from_ms=begin + 1_000, to_ms=begin + 2_000, reason="a") == below
        assert [replace(gap, from_ms=begin + 2_000)] == above
    else:
        assert replace(gap, to_ms=begin + done_to_ms, until_id=None) == below
        assert [] == above


def test_what_is_left_of_a_gap():
    """From its begin up to what its repair has reached."""
    (gap,) = gaps_at(1_800_000_000)

    assert (first_id(gap.from_ms), first_id(gap.to_ms)) == (gap.begin_id, gap.end_id)
    assert 7 == replace(gap, until_id=7).end_id
    assert 1.0 == gap.seconds


# -- bytes

GAP = st.builds(
    Gap,
    from_ms=MS,
    to_ms=MS,
    reason=st.text(max_size=9),
    state=st.sampled_from(GapState),
    detail=st.text(max_size=9),
    way=st.none() | st.sampled_from(Way),
    posts=st.integers(0, 10**12),
    billed=st.integers(0, 10**12),
    mills=st.integers(0, 10**10),
    until_id=st.none() | st.integers(1, 2**63 - 1),
    rules=st.text(max_size=8),
    closed_ms=st.none() | MS,
)
SPEND = st.builds(Spend, day=st.just("2026-11-24"), posts=st.integers(0, 10**9), mills=st.integers(0, 10**10))
COVERAGE = st.builds(
    Coverage,
    covered_from_ms=st.none() | MS,
    covered_to_ms=st.none() | MS,
    gaps=st.lists(GAP, max_size=3).map(tuple),
    posts=st.integers(0, 10**15),
    dead_letters=st.integers(0, 10**9),
    spent=st.just(Spend()) | SPEND,
    rules=st.text(max_size=8),
    run=st.text(max_size=8),
    batch=st.integers(0, 10**9),
)


@given(COVERAGE)
def test_encode_and_decode_are_one(coverage):
    """What is read back is what was written."""
    assert coverage == Coverage.decode(coverage.encode())


@pytest.mark.slow
@given(COVERAGE, COVERAGE)
def test_different_coverage_is_different_bytes(one, other):
    """A doubtful commit is recognised by its bytes."""
    assert (one == other) == (one.encode() == other.encode())


def test_what_the_offset_looks_like():
    """People and Connect's tools read it: ISO times to the millisecond, and only what there is to say."""
    gap = Gap(from_ms=1_793_536_496_789, to_ms=1_793_536_497_000, reason="connection_lost")
    part = replace(
        gap,
        state=GapState.REPAIRING,
        way=Way.SEARCH,
        posts=2,
        billed=3,
        mills=15,
        until_id=7,
        rules="ab",
        detail="waits",
    )

    assert (
        b'{"covered_from":"2026-11-01T12:34:56.000Z","covered_to":"2026-11-01T12:34:56.789Z","gaps":'
        b'[{"from":"2026-11-01T12:34:56.789Z","to":"2026-11-01T12:34:57.000Z","reason":"connection_lost",'
        b'"state":"open"}],"posts":3}'
        == Coverage(covered_from_ms=1_793_536_496_000, covered_to_ms=1_793_536_496_789, gaps=(gap,), posts=3).encode()
    )
    assert {
        "from": "2026-11-01T12:34:56.789Z",
        "to": "2026-11-01T12:34:57.000Z",
        "reason": "connection_lost",
        "state": "repairing",
        "detail": "waits",
        "way": "search",
        "posts": 2,
        "billed": 3,
        "cost_usd": 0.015,
        "until_id": "7",
        "rules": "ab",
    } == part.fields()
    assert (
        b'{"covered_from":null,"covered_to":null,"gaps":[],"posts":0,"dead_letters":1}'
        == Coverage(dead_letters=1).encode()
    )


def test_offset_of_the_first_release_is_read():
    """It knew neither a begin nor gaps."""
    assert Coverage(covered_to_ms=1_793_536_496_789, posts=3, run="a") == Coverage.decode(
        b'{"covered_to":"2026-11-01T12:34:56.789Z","posts":3,"run":"a"}'
    )


GARBAGE = [
    b"",
    b"null",
    b"[]",
    b"7",
    b"{}",
    b'{"posts":1}',
    b'{"covered_to":"yesterday","posts":1}',
    b'{"covered_to":"2026-11-01T12:34:56","posts":1}',
    b'{"covered_to":7,"posts":1}',
    b'{"covered_to":null,"posts":"many"}',
    b'{"covered_to":null,"posts":null}',
    b'{"covered_to":null,"posts":1,"gaps":7}',
    b'{"covered_to":null,"posts":1,"gaps":[7]}',
    b'{"covered_to":null,"posts":1,"gaps":[{"from":"2026-11-01T12:34:56Z"}]}',
    b'{"covered_to":null,"posts":1,"spent":{"day":"2026-11-24"}}',
    b'{"covered_to":null,"posts":1,"spent":{"day":"2026-11-24","posts":1,"month":"2026-11","usd":1e308}}',
    b'{"covered_to":"0001-01-01T00:00:00+23:59","posts":1}',
    (
        b'{"covered_to":null,"posts":1,"gaps":[{"from":"2026-11-01T12:34:56Z","to":"2026-11-01T12:34:57Z","reason":"x",'
        b'"state":"open","cost_usd":1e308}]}'
    ),
    b"\xff",
]


@pytest.mark.parametrize("value", GARBAGE)
def test_garbage_is_refused(value):
    """An offset that somebody else wrote is an error that shows it, never a wrong position."""
    with pytest.raises(ValueError, match="is no source offset"):
        Coverage.decode(value)


def test_two_starts_of_a_task_never_write_the_same_offset():
    """A paused owner cannot take its successor's offset for its own: the word of the start differs."""
    mine, theirs = Coverage(covered_to_ms=1, posts=2, run="aaaa"), Coverage(covered_to_ms=1, posts=2, run="bbbb")

    assert mine.encode() != theirs.encode()
    assert Coverage.decode(mine.encode()) == mine


# -- whatever happens


def assert_gaps_are_proper(coverage):
    assert all(gap.from_ms < gap.to_ms for gap in coverage.gaps)
    assert all(one.to_ms <= other.from_ms for one, other in itertools.pairwise(coverage.gaps))


class Post(NamedTuple):
    """X makes it at *made_ms* and delivers it at *sent_ms*."""

    post_id: int
    made_ms: int
    sent_ms: int

    @property
    def line(self):
        return b'{"data":{"id":"%d"}}' % self.post_id


@dataclass
class Open:
    """
    A connection: what X has sent on it and nobody has read; None is a keep-alive.

    What it sent since *stalled_ms* has not reached our host.
    """

    queue: list[tuple[int, Post | None]]
    stalled_ms: int | None = None


@dataclass
class Asking:
    """A repair of *gap*, and what is still to come of the replay's interval."""

    gap: Gap
    way: Way
    replayed: list[Post] | None = None


@dataclass
class Task:
    """What a crash ends."""

    progress: Progress
    converter: Converter
    arrivals: list[Arrival | Connected] = field(default_factory=list)
    pending: list[Share] = field(default_factory=list)
    asking: Asking | None = None
    page: Page | None = None


PAUSES = st.integers(1, 30_000) | st.sampled_from([1, 999, 20_000, 58_500, 61_000, 290_000, 400_000, HOUR_MS])
SEEDS = st.integers(0, 2**20)
WAYS = [
    {Way.SEARCH},
    {Way.BACKFILL, Way.SEARCH},
    {Way.RECOVERY, Way.SEARCH},
    {Way.BACKFILL, Way.RECOVERY, Way.SEARCH},
    {Way.BACKFILL},
    set(),
]


def key_of(_, kind):
    return str(kind).encode()


class NothingLost(RuleBasedStateMachine):
    """
    X, a task that reads from it, and Kafka.  X's clock is *now_ms*, ours is *ahead_ms* ahead.

    All that a task is built of is real but for its turns, its repairer and its sockets, which are the rules here.
    """

    def __init__(self):
        super().__init__()
        self.now_ms, self.ahead_ms = MADE_MS, 0
        self.kafka = MemoryKafka()
        self.posts, self.coming, self.made = [], [], itertools.count()
        self.open = None
        self.task = None
        self.patches = contextlib.ExitStack()
        self.patches.enter_context(patch.object(clock, "now", lambda: (self.now_ms + self.ahead_ms) / 1000))
        self.patches.enter_context(patch.object(ledger, "YOUNG_IDS", 8))
        self.patches.enter_context(patch.object(ledger, "LEAF_IDS", 4))

    def teardown(self):
        self.patches.close()

    @initialize(ways=st.sampled_from(WAYS), max_gaps=st.sampled_from([2, 3, 200]))
    def begin(self, ways, max_gaps):
        self.policy = Policy(ways=frozenset(ways), none_because="recovery=none")
        self.patches.enter_context(patch.object(module, "MAX_GAPS", max_gaps))
        self._start()

    def _start(self):
        latest = self.kafka.latest
        kept = {kind: latest.get(key_of(None, kind)) for kind in (OFFSET, REPAIRED, RULES)}
        progress = Progress(
            {"stream": "filtered"},
            ProgressSettings(task=TASK, settle_ms=SETTLE_MS, metered=True, budget=Budget(), others=tuple),
            emit=lambda _: None,
            kept=kept,
            run="run",
        )
        self.task = Task(progress, Converter(connector="posts", dead_letters=False))
        self.task.converter.limit(Limits(record_bytes=1_000))
        if progress.wanted_from_ms is not None:
            self._remember(self.kafka.delivered_ids(progress.wanted_from_ms))

    def _remember(self, ids):
        self.task.converter.ledger.update(ids)

    @property
    def progress(self):
        return self.task.progress

    # -- X

    @rule(pause_ms=PAUSES, seed=SEEDS)
    def time_passes(self, pause_ms, seed):
        """X makes posts, some at the very edges, and delivers what is due."""
        random = Random(seed)
        begin, self.now_ms = self.now_ms, self.now_ms + pause_ms
        moments = [begin + 1, self.now_ms, self.now_ms, *(random.randint(begin + 1, self.now_ms) for _ in range(5))]
        for made_ms in moments:
            lag_ms = random.choice([0, random.randint(0, LAG_MS), LAG_MS])
            post = Post(first_id(made_ms) + next(self.made), made_ms, made_ms + lag_ms)
            self.posts.append(post)
            heapq.heappush(self.coming, (post.sent_ms, post))
        while self.coming and self.coming[0][0] <= self.now_ms:
            due = heapq.heappop(self.coming)
            if self.open:
                self.open.queue.append(due)

    @rule(ahead_ms=st.sampled_from([0, HOUR_MS, -HOUR_MS]))
    @precondition(lambda self: not self.open)
    def our_clock_was_set(self, ahead_ms):
        """It counts with the next start."""
        self.next_ahead_ms = ahead_ms

    next_ahead_ms = 0

    # -- the connection

    @rule(dial_ms=st.sampled_from([1, 300, 5_000]), answer_ms=st.sampled_from([1, 300, 2_000]), seed=SEEDS)
    @precondition(lambda self: not self.open)
    def connect(self, dial_ms, answer_ms, seed):
        """X's clock is known from the whole second in which it answered."""
        minutes = None
        covered_to_ms = self.progress.coverage.covered_to_ms
        if covered_to_ms is not None:
            minutes = backfill_minutes(covered_to_ms, self.progress.now_ms, self.policy)
        self.time_passes(dial_ms, seed)
        at_ms = self.now_ms
        again = [post for post in self.posts if minutes and post.sent_ms <= at_ms and self._is_in(post, minutes)]
        self.open = Open([(at_ms, post) for post in again])
        self.time_passes(answer_ms, seed + 1)
        skew = at_ms // 1000 + 0.5 - clock.now()
        after = "connection_lost" if self.progress.connected else None
        self.task.arrivals.append(Connected(at=clock.now(), skew_secs=skew, after=after, backfill_minutes=minutes))

    def _is_in(self, post, minutes):
        return post.made_ms >= self.now_ms - minutes * 60_000

    @rule()
    @precondition(lambda self: self.open)
    def connection_is_lost(self):
        """What lies unread in the socket is gone."""
        self.open = None

    @rule()
    @precondition(lambda self: self.open and self.open.stalled_ms is None)
    def keep_alive(self):
        """X has nothing to send."""
        self.open.queue.append((self.now_ms, None))

    @rule(seed=SEEDS)
    @precondition(lambda self: self.open)
    def x_repeats_a_post(self, seed):
        """It does that within minutes."""
        young = [post for post in self.posts if post.made_ms > self.now_ms - 300_000 and post.sent_ms <= self.now_ms]
        if young:
            self.open.queue.append((self.now_ms, Random(seed).choice(young)))

    @rule(come_ms=st.integers(0, 20_000))
    @precondition(lambda self: self.open)
    def network_stalls(self, come_ms):
        """And a little of what it held back comes through."""
        since = self.now_ms if self.open.stalled_ms is None else self.open.stalled_ms
        self.open.stalled_ms = min(since + come_ms, self.now_ms)

    @rule()
    @precondition(lambda self: self.open and self.open.stalled_ms is not None)
    def network_is_back(self):
        self.open.stalled_ms = None

    @rule(posts=st.integers(1, 6) | st.just(1_000), seen=st.sampled_from([True, True, False]))
    @precondition(lambda self: self.open and self.open.queue)
    def read(self, posts, seen):
        """*seen*: nothing speaks against it that this was all."""
        reached_ms = self.now_ms if self.open.stalled_ms is None else self.open.stalled_ms
        reached = [item for item in self.open.queue if item[0] <= reached_ms]
        taken = reached[:posts]
        del self.open.queue[: len(taken)]
        lines = tuple(post.line for _, post in taken if post is not None)
        if lines or (taken and self.open.stalled_ms is None):
            drained = seen and len(taken) == len(reached)
            self.task.arrivals.append(Arrival(lines=lines, at=clock.now(), size=1, drained=drained))

    # -- the task

    @rule()
    def turn(self):
        """Convert what was read, and what a repair has found."""
        task, progress = self.task, self.progress
        live, parts, writes = [], [], []
        for item in task.arrivals:
            if isinstance(item, Connected):
                progress.on_connected(item)
            else:
                live.append(convert(progress, (item,), task.converter))
        task.arrivals.clear()
        progress.delivered(
            posts=sum(len(part.records) for part in live), dead_letters=sum(len(part.dead_letters) for part in live)
        )
        if live_ids := [post_id for part in live for post_id in part.ids]:
            writes.append(ledger_write(live_ids, None, now_ms=progress.now_ms))
        if task.page is not None:
            page, task.page = task.page, None
            found = convert_page(progress, page, task.converter)
            parts.append(found)
            progress.delivered(posts=len(found.records), dead_letters=len(found.dead_letters))
            if found.ids:
                writes.append(ledger_write(found.ids, page.way, now_ms=progress.now_ms))
            self._go_on(page)
        offset = self.kafka.latest.get(key_of(None, OFFSET))
        task.converter.ledger.keep(progress.id_ranges(Coverage() if offset is None else Coverage.decode(offset)))
        offsets = tuple(progress.writes(key_of))
        records = tuple(record for part in (*live, *parts) for record in part.records)
        task.pending.append(Share(to=TO, records=records, offsets=offsets, ledger=tuple(writes)))

    @rule()
    @precondition(lambda self: self.task.pending)
    def commit(self):
        """Kafka has the oldest batch."""
        self.kafka.commit(whole(self.task.pending.pop(0)))
        self._check_topic()

    @rule(pause_ms=st.integers(1, 40_000), seed=SEEDS)
    @precondition(lambda self: self.open)
    def all_is_well(self, pause_ms, seed):
        """A while in which everything works."""
        self.time_passes(pause_ms, seed)
        self.open.stalled_ms = None
        if self.open.queue:
            self.read(1_000, seen=True)
        self.keep_alive()
        self.read(1_000, seen=True)
        self._deliver()

    def _deliver(self):
        self.turn()
        while self.task.pending:
            self.commit()

    @rule(pause_ms=PAUSES, posts=st.integers(1, 3), alive=st.booleans(), seed=SEEDS)
    @precondition(lambda self: self.open)
    def reader_is_late(self, pause_ms, posts, alive, seed):
        """A little of what has waited is read at last."""
        if alive and self.open.stalled_ms is None:
            self.keep_alive()
        self.time_passes(pause_ms, seed)
        if self.open.queue:
            self.read(posts, seen=True)
        self._deliver()

    @rule(
        outages=st.lists(PAUSES, min_size=1, max_size=3),
        lasts_ms=st.integers(1, 40_000) | st.just(60_000),
        asks=st.booleans(),
        seed=SEEDS,
    )
    def outage(self, outages, lasts_ms, asks, seed):
        """Or several, with connections between that are too short to claim anything, and repairs of what they left."""
        for pause_ms in outages:
            self.open = None
            self.time_passes(pause_ms, seed)
            if asks and self.progress.connected:
                if self.task.asking is None:
                    self.begin_repair()
                if self.task.asking and self.task.page is None:
                    self.ask(3, ())
            self.connect(1, 1, seed)
            self._deliver()
        self.all_is_well(lasts_ms, seed)

    @rule(confirmed=st.integers(0, 2))
    def crash(self, confirmed):
        """Only what was committed is left; another worker starts."""
        for batch in self.task.pending[:confirmed]:
            self.kafka.commit(whole(batch))
        self.open, self.ahead_ms = None, self.next_ahead_ms
        self._start()

    # -- the repairer

    @rule()
    @precondition(lambda self: self.task.asking is None and self.progress.connected)
    def begin_repair(self):
        """Of the newest gap for which the time has come."""
        progress = self.progress
        for gap in reversed(progress.coverage.gaps):
            if gap.state not in {GapState.OPEN, GapState.REPAIRING} or (
                progress.backfilling and gap.way is Way.BACKFILL
            ):
                continue
            match step_for(gap, progress.now_ms, self.policy):
                case Repair(way=way):
                    until_ms = created_ms(gap.end_id) + GAP_EDGE_MS
                    tried = gap.posts and (gap.until_id is None or way is Way.RECOVERY)
                    ids = self.kafka.delivered_ids(gap.from_ms - GAP_EDGE_MS, None if tried else until_ms)
                    self._remember(post_id for post_id in ids if post_id < first_id(until_ms))
                    progress.repairing = gap
                    self.task.asking = Asking(gap, way)
                    return
                case Lost(reason=reason):
                    progress.lose(gap, reason)
                case Split(at_ms=at_ms):
                    progress.split(gap, at_ms)
                    return

    @rule(pages=st.lists(st.integers(1, 4), min_size=1, max_size=4), whole=st.booleans())
    @precondition(lambda self: self.progress.connected)
    def repair(self, pages, whole):
        """A few pages of it, or all."""
        if self.task.asking is None:
            self.begin_repair()
        for posts in [*pages, 1_000, 1_000] if whole else pages:
            if self.task.asking and self.task.page is None:
                self.ask(posts, ())
            self._deliver()

    @rule(posts=st.integers(1, 5) | st.just(1_000), unfound=st.sampled_from([(), (), ("a: too long",)]))
    @precondition(lambda self: self.task.asking and self.task.page is None)
    def ask(self, posts, unfound):
        """Get a page of it, from the top downward; a replay gives a slice in pieces, and only its end is progress."""
        asking = self.task.asking
        gap = asking.gap
        if asking.way is Way.SEARCH:
            found = [
                post
                for post in sorted(self.posts, reverse=True)
                if gap.begin_id <= post.post_id < gap.end_id and post.made_ms <= self.now_ms - INDEX_MS
            ]
            until_id = found[posts - 1].post_id if len(found) > posts else gap.begin_id
            page = found[:posts]
        else:
            high_ms = created_ms(gap.end_id - 1) + 1
            low_ms = max(gap.from_ms, high_ms - REPLAY_SLICE_MS)
            if asking.replayed is None:
                begin, end = low_ms // 1000 * 1000, -(-high_ms // 1000) * 1000
                asking.replayed = [post for post in self.posts if begin <= post.made_ms < end]
            page, asking.replayed = asking.replayed[:posts], asking.replayed[posts:]
            until_id = None if page else first_id(low_ms)
        lines = tuple(post.line for post in page)
        self.task.page = Page(
            from_ms=gap.from_ms,
            end_id=gap.end_id,
            way=asking.way,
            arrivals=(Arrival(lines=lines, at=clock.now(), size=1),) if lines else (),
            until_id=until_id,
            unfound=unfound if until_id == gap.begin_id else (),
        )

    def _go_on(self, page):
        if page.until_id is None:
            return
        left = self.progress.coverage.gap_at(page.from_ms)
        if left is None or left.end_id != page.until_id or left.end_id <= left.begin_id:
            self.stop_asking()
        else:
            self.task.asking = Asking(left, page.way)

    @rule()
    @precondition(lambda self: self.task.asking and self.task.page is None)
    def stop_asking(self):
        """X limits, or the repair is over."""
        self.task.asking = self.progress.repairing = None

    @rule(number=st.integers(0, 3), accept=st.booleans())
    @precondition(lambda self: self.task.page is None and self.progress.coverage.gaps)
    def operator_asks(self, number, accept):
        """Another try, or none any more."""
        gap = self.progress.coverage.gaps[number % len(self.progress.coverage.gaps)]
        if accept:
            self.progress.close(gap, GapState.ACCEPTED)
            if self.task.asking and self.task.asking.gap.from_ms == gap.from_ms:
                self.stop_asking()
        elif gap.state is not GapState.REPAIRING:
            self.progress.change(replace(gap, state=GapState.OPEN, detail="", way=None, until_id=None))

    # -- what is promised

    def _check_topic(self):
        """Every post of covered time is in the topic, and none is there twice."""
        latest = self.kafka.latest
        keys = [int(record.key) for record in self.kafka.records]
        ids = set(keys)
        assert len(ids) == len(keys), "a post was delivered twice"
        if (value := latest.get(key_of(None, OFFSET))) is None:
            assert not ids
            return
        coverage = Coverage.decode(value)
        closed = [Gap.of(fields) for fields in orjson.loads(latest.get(key_of(None, REPAIRED)) or b"[]")]
        missing = [*coverage.gaps, *(gap for gap in closed if gap.state is GapState.ACCEPTED)]
        for post in self.posts:
            if coverage.covered_from_ms <= post.made_ms < coverage.covered_to_ms and post.post_id not in ids:
                assert any(gap.begin_id <= post.post_id < gap.end_id for gap in missing), (
                    f"{post} is missing in {coverage}"
                )

    @invariant()
    @precondition(lambda self: self.task and self.progress.coverage.covered_to_ms is not None)
    def gaps_are_proper(self):
        """Gaps are disjoint, ascending and apart from covered time; the bytes say all of it."""
        coverage = self.progress.coverage
        assert_gaps_are_proper(coverage)
        assert coverage == Coverage.decode(coverage.encode())


TestNothingLost = pytest.mark.slow(NothingLost.TestCase)
TestNothingLost.settings = settings(max_examples=150, stateful_step_count=30)


@pytest.fixture
def story():
    """Begins a story that the rules above may tell, with the ways of repair given."""
    told = NothingLost()
    yield lambda *ways: told.begin(ways, 200) or told
    told._check_topic()
    told.teardown()


def states_of(told):
    return [gap.state for gap in told.progress.coverage.gaps]


def test_backfill_that_was_asked_for_by_a_wrong_clock(story):
    """A new worker whose clock is an hour behind asks for minutes of a gap of an hour: it stays open."""
    told = story(Way.BACKFILL)
    told.connect(1, 1, 1)
    told.all_is_well(30_000, 2)
    told.connection_is_lost()
    told.time_passes(HOUR_MS + 60_000, 3)
    told.our_clock_was_set(-HOUR_MS)
    told.crash(0)
    told.connect(1, 1, 4)
    told.all_is_well(30_000, 5)

    assert [GapState.OPEN] == states_of(told)


@pytest.mark.parametrize(("dial_ms", "states"), [(1, []), (9_000, [GapState.OPEN])])
def test_backfill_of_a_connect_that_takes_its_time(story, dial_ms, states):
    """X counts the minutes from when it hears of them; what they do not reach stays open."""
    told = story(Way.BACKFILL)
    told.connect(1, 1, 1)
    told.all_is_well(30_000, 2)
    told.connection_is_lost()
    told.time_passes(told.progress.coverage.covered_to_ms + 54_000 - told.now_ms, 3)
    told.connect(dial_ms, 1, 4)
    told.all_is_well(30_000, 5)
    told.all_is_well(30_000, 6)

    assert states == states_of(told)


def test_backfill_closes_no_gap_but_its_own(story):
    """One that a crash has cut is not repaired by the backfill of a later outage."""
    told = story(Way.BACKFILL, Way.SEARCH)
    told.connect(1, 1, 1)
    told.all_is_well(30_000, 2)
    told.connection_is_lost()
    told.time_passes(20_000, 3)
    told.connect(1, 1, 4)
    told._deliver()
    assert [GapState.REPAIRING] == states_of(told)
    told.crash(0)
    told.connect(1, 1, 5)  # within the margin, so this is no new gap
    told._deliver()
    told.all_is_well(40_000, 6)
    told.connection_is_lost()
    told.time_passes(1_000, 7)
    told.connect(1, 1, 8)
    told._deliver()
    told.all_is_well(30_000, 9)
    told.all_is_well(30_000, 10)

    assert [GapState.OPEN] == states_of(told)


@pytest.mark.parametrize("way", [Way.SEARCH, Way.RECOVERY])
def test_gap_grows_while_it_is_repaired(story, way):
    """What was asked for it before says nothing about what has come to it."""
    told = story(way)
    told.connect(1, 1, 1)
    told.all_is_well(30_000, 2)
    told.connection_is_lost()
    told.time_passes(20_000, 3)
    told.connect(1, 1, 4)
    told._deliver()
    told.connection_is_lost()
    told.time_passes(61_000, 5)
    told.begin_repair()
    told.ask(1_000, ())
    told.connect(1, 1, 6)
    told._deliver()
    told.all_is_well(40_000, 7)

    assert [1] == [len(told.progress.coverage.gaps)]
    told.stop_asking()
    told.repair([1], whole=True)
    assert [] == states_of(told)


def test_gap_given_up_and_tried_again(story):
    """The second repair of it delivers nothing that the first one has, however long ago that was."""
    told = story(Way.SEARCH)
    told.connect(1, 1, 1)
    told.all_is_well(30_000, 2)
    told.outage([20_000], 60_000, asks=False, seed=3)
    told.begin_repair()
    told.ask(1_000, ("a: too long for a search",))
    told._deliver()
    assert [GapState.LOST] == states_of(told)
    for seed in range(20):
        told.all_is_well(40_000, seed)
    told.crash(0)
    told.connect(1, 1, 4)
    told._deliver()
    told.operator_asks(0, accept=False)
    told.all_is_well(60_000, 5)
    told.repair([], whole=True)
    told.repair([], whole=True)

    assert [] == states_of(told)


def test_owner_whose_clock_is_slow(story):
    """What it delivered is known to the next one, who would else find it in X's search and deliver it again."""
    told = story(Way.SEARCH)
    told.our_clock_was_set(-HOUR_MS)
    told.crash(0)
    told.connect(1, 1, 0)
    told.outage([706], 60_000, asks=False, seed=0)
    told.crash(0)
    told.outage([1, 1], 60_000, asks=True, seed=0)


@pytest.mark.parametrize("rules", ["a", "b"])
def test_gaps_of_other_rules_are_joined_last(monkeypatch, rules):
    """What matched is known for each of them; and where all are under repair, it goes on nevertheless."""
    monkeypatch.setattr(module, "MAX_GAPS", 2)
    near = (*gaps_at(0, rules="a"), *gaps_at(2, rules=rules), *gaps_at(9, rules=rules))
    busy = tuple(replace(gap, state=GapState.REPAIRING) for gap in near)

    ends = [(0, 1_000), (2_000, 10_000)] if rules == "b" else [(0, 3_000), (9_000, 10_000)]
    for gaps in (near, busy):
        assert ends == [(gap.from_ms, gap.to_ms) for gap in module._bounded(gaps)]
