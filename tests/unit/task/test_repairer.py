"""Repairs beside the live stream: by search and by replay, over crashes, limits, refusals and what operators ask."""

import asyncio
import time
from dataclasses import replace

import orjson
import pytest

from connector.coverage import ledger
from connector.coverage.offset import Coverage, Gap, GapState, Way
from connector.coverage.progress import ledger_write
from connector.coverage.spend import Budget
from connector.errors import (
    ConnectionLost,
    ConnectionTaken,
    DeliveryFailed,
    NotAuthorized,
    OutOfCredit,
    RateLimited,
    ServiceUnavailable,
    TokenRejected,
)
from connector.records.record import OffsetWrite
from connector.records.snowflake import created_ms, first_id, to_iso
from connector.task import backoff, task
from connector.task.backoff import Schedule
from connector.task.repair import orders, policy
from connector.task.repair.policy import Policy
from connector.task.status import State
from connector.telemetry.events.coverage import GapAccepted, GapLost, GapOpened, GapRepaired
from connector.telemetry.events.task import DuplicatesDropped, RepairDelayed, RepairStarted, RequestLeft, TaskFailed
from tests.unit.fakes import (
    AWAY,
    CONFIRMED,
    DOUBTFUL,
    KEY,
    LOST,
    MADE_MS,
    RULE,
    Asked,
    Gate,
    Held,
    MemoryKafka,
    MemoryRequests,
    MemorySink,
    Running,
    ScriptedFinder,
    ScriptedSource,
    id_of,
    post,
    skew_to,
    until,
    whole,
)

HOUR_MS = 3_600_000
NOW_MS = MADE_MS + HOUR_MS
SEARCH = Policy(ways=frozenset({Way.SEARCH}), none_because="")
BOTH = Policy(ways=frozenset({Way.SEARCH, Way.RECOVERY}), none_because="")
REPLAY = Policy(ways=frozenset({Way.RECOVERY}), none_because="recovery=backfill allows no search")
REPAIRED_KEY = MemorySink(None).offset_key("posts", {"stream": "filtered"}, "repaired")
WAIT = 0.05


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 0.0)
    monkeypatch.setattr(backoff, "RESET_MARGIN_SECS", 0.0)
    monkeypatch.setattr("connector.coverage.offset.MARGIN_MS", 0)
    monkeypatch.setattr(policy, "FRESH_MS", 0)
    monkeypatch.setattr("connector.task.repair.repairer.LOOK_SECS", 0.01)
    monkeypatch.setattr(orders, "COMMIT_POLL_SECS", 0.001)
    soon = Schedule(first=WAIT, second=WAIT, cap=WAIT)
    for kind in (ConnectionLost, ServiceUnavailable, RateLimited, ConnectionTaken, TokenRejected, DeliveryFailed):
        assert kind in backoff.SCHEDULES
        monkeypatch.setitem(backoff.SCHEDULES, kind, soon)


def gap(begin, end, **changed):
    """A gap between *begin* and *end*, numbers of posts."""
    return Gap(**{"from_ms": MADE_MS + begin, "to_ms": MADE_MS + end, "reason": "connection_lost"} | changed)


class World:
    """
    Kafka, with an offset that has *gaps*, and an X on which an hour has gone by since post 0.

    Each `owner` is a task on a worker of its own; what it repairs comes from *finder*.
    """

    def __init__(self, *gaps, covered_from=-HOUR_MS, covered_to=HOUR_MS + 60_000):
        self.kafka = MemoryKafka()
        self.requests = MemoryRequests(self.kafka)
        before = Coverage(covered_from_ms=MADE_MS + covered_from, covered_to_ms=MADE_MS + covered_to, gaps=gaps)
        self.kafka.offsets.append((KEY, before.encode()))

    def owner(self, finder, *steps, outcomes=(), policy=SEARCH, rules=(RULE,), every=False, **changed):
        self.live = ScriptedSource(list(steps), rules=rules, skew_secs=skew_to(MADE_MS + HOUR_MS))
        self.sink = MemorySink(self.kafka, outcomes, every=every)
        return Running([self.live], self.sink, finder=finder, requests=self.requests, policy=policy, **changed)

    @property
    def offset(self):
        return Coverage.decode(self.kafka.latest[KEY])

    @property
    def gaps(self):
        return self.offset.gaps

    @property
    def closed(self):
        """From, to, state and posts of the gaps that are none any more."""
        listed = map(Gap.of, orjson.loads(self.kafka.latest.get(REPAIRED_KEY, b"[]")))
        return [(each.from_ms - MADE_MS, each.to_ms - MADE_MS, each.state.value, each.posts) for each in listed]

    @staticmethod
    def let_limit_end(running):
        """What X has us wait for is over now."""
        for partition in running.task.partitions:
            partition.repairer._not_before = 0.0

    def has(self, *numbers):
        """Whether the topic has these posts, each once, and no other, in whatever order."""
        return sorted(map(post, numbers)) == sorted(self.kafka.values)


# -- search


async def test_gap_is_repaired_page_by_page():
    """Newest first, each page in a transaction with how far it went; then the gap is history, and said."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 200, 300, 400, 500])
    async with world.owner(finder) as running:
        await until(lambda: world.closed)

    assert list(map(post, [500, 400, 300, 200, 100])) == world.kafka.values
    assert {b"search"} == {record.source for record in world.kafka.records}
    pages = [batch for batch in world.kafka.commits if batch.records]
    offsets = [Coverage.decode(write.value) for batch in pages for write in batch.offsets if write.key == KEY]
    assert [id_of(400), id_of(200), None] == [each.gaps[0].until_id if each.gaps else None for each in offsets]
    assert [2, 4, 5] == [each.posts for each in offsets]
    assert [[(b"search", 2)], [(b"search", 2)], [(b"search", 1)]] == [
        [(write.source, len(batch.records)) for write in batch.ledger] for batch in pages
    ]
    assert [(0, 1000, "repaired", 5)] == world.closed
    assert [((RULE,), id_of(0), id_of(1000))] == finder.asked
    assert ([1], ["search"]) == (
        [len(running.said(RepairStarted))],
        [event.way for event in running.said(GapRepaired)],
    )


async def test_gap_without_posts():
    """Nothing was missed, X says: that is a repair, too."""
    world = World(gap(0, 1000))
    async with world.owner(ScriptedFinder()):
        await until(lambda: world.closed)

    assert ([], [(0, 1000, "repaired", 0)]) == (world.kafka.values, world.closed)


async def test_search_that_is_over_at_once():
    """A search that has nothing to ask closes its gap instead of beginning for ever."""
    world, finder = World(gap(0, 1000)), ScriptedFinder()
    finder.search = lambda *_: ScriptedFinder().search((), 1, 0)
    async with world.owner(finder) as running:
        await until(lambda: world.closed)

    assert 1 == len(running.said(RepairStarted))


async def test_live_posts_never_wait():
    """A search that hangs holds up nothing but itself."""
    world, hanging = World(gap(0, 1000)), Gate()
    finder = ScriptedFinder([100], hanging)
    async with world.owner(finder, post(2001), other := Gate(), post(2002)) as running:
        await until(lambda: running.said(RepairStarted) and world.has(2001))
        other.set()
        await until(lambda: world.has(2001, 2002))
        assert 0 == finder.pages
        hanging.set()
        await until(lambda: world.closed)

    assert world.has(100, 2001, 2002)


async def test_found_posts_that_are_there_already():
    """What short connections delivered inside the gap is in the ledger, is not delivered again, and is counted."""
    world = World(gap(0, 1000))
    async with World.owner(world, ScriptedFinder([300]), policy=replace(SEARCH, ways=frozenset()), settle_secs=9.0):
        world.kafka.ledger.append(ledger_write([id_of(200), id_of(400)], None, now_ms=NOW_MS))
        await until(lambda: world.kafka.commits)
    async with world.owner(ScriptedFinder([100, 200, 300, 400], size=9)) as running:
        await until(lambda: world.closed)

    assert world.has(100, 300)
    assert [("search", 2)] == [(event.source, event.posts) for event in running.said(DuplicatesDropped)]


async def test_newest_gap_first():
    """What just happened is what people look at."""
    world = World(gap(0, 100), gap(200, 300), gap(400, 500))
    finder = ScriptedFinder([50, 250, 450])
    async with world.owner(finder):
        await until(lambda: 3 == len(world.closed))

    assert list(map(post, [450, 250, 50])) == world.kafka.values


async def test_young_gap_waits_until_x_has_all_of_it(monkeypatch):
    """Search is complete after half a minute; an older gap is repaired meanwhile."""
    monkeypatch.setattr(policy, "FRESH_MS", 600_000)
    world = World(gap(0, 100), gap(HOUR_MS - 900, HOUR_MS - 800))
    finder = ScriptedFinder([50, HOUR_MS - 850])
    async with world.owner(finder):
        await until(lambda: world.closed)
        assert [(0, 100, "repaired", 1)] == world.closed
        monkeypatch.setattr(policy, "FRESH_MS", 0)  # it is old enough now
        await until(lambda: 2 == len(world.closed))

    assert list(map(post, [50, HOUR_MS - 850])) == world.kafka.values


async def test_gap_of_lost_rules_says_which():
    """X's search cannot have a rule: the gap is lost for it, and keeps what was found for the others."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200, 300], lost={"sample:10": "search has no operator sample"})
    async with world.owner(finder) as running:
        await until(lambda: running.said(GapLost) and GapState.LOST is world.gaps[0].state)

    assert world.has(100, 200, 300)
    assert "sample:10: search has no operator sample" == world.gaps[0].detail
    assert 3 == world.gaps[0].posts
    assert 1 == len(finder.asked)


# -- crashes


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL, AWAY])
async def test_page_whose_commit_fails(outcome):
    """A page is delivered once, whatever became of its first commit."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 200, 300])
    async with world.owner(finder, outcomes=[outcome]):
        await until(lambda: world.closed)

    assert world.has(100, 200, 300)


@pytest.mark.parametrize("outcome", [LOST, DOUBTFUL])
async def test_next_owner_goes_on_behind_the_last_page(outcome):
    """A worker dies in the middle, its last page in the topic or not: nothing is missing, and nothing twice."""
    world = World(gap(0, 1000))
    held = Held()
    first = ScriptedFinder([100, 200, 300, 400, 500, 600])
    async with world.owner(first, outcomes=[CONFIRMED, held]) as running:
        await held.begun.wait()
        running.task.abandon()
        await running.ended()
        if outcome is DOUBTFUL:
            world.kafka.commit(whole(world.sink.attempts[1]))
    reached = 300 if outcome is DOUBTFUL else 500
    second = ScriptedFinder([100, 200, 300, 400, 500, 600])
    async with world.owner(second):
        await until(lambda: world.closed)

    assert world.has(100, 200, 300, 400, 500, 600)
    assert [((RULE,), id_of(0), id_of(reached))] == second.asked
    assert [(0, 1000, "repaired", 6)] == world.closed


async def test_duplicate_of_the_last_owners_post():
    """X sends again what the last owner delivered: the next one knows it from the ledger."""
    world = World()
    async with world.owner(ScriptedFinder(), (post(HOUR_MS - 5), post(HOUR_MS - 4))):
        await until(lambda: 2 == len(world.kafka.records))
    async with world.owner(ScriptedFinder(), (post(HOUR_MS - 4), post(HOUR_MS - 3))) as running:
        await until(lambda: 3 == len(world.kafka.records))

    assert world.has(HOUR_MS - 5, HOUR_MS - 4, HOUR_MS - 3)
    assert [(None, 1)] == [(event.source, event.posts) for event in running.said(DuplicatesDropped)]
    (read,) = world.sink.ledger_reads
    assert (world.offset.covered_to_ms - 360_000, None) == read


async def test_ledger_that_cannot_be_read_yet():
    """A task does not begin without knowing what is delivered: it asks until Kafka answers."""
    world = World()
    async with world.owner(ScriptedFinder(), post(HOUR_MS)) as running:
        world.sink.reads.extend([AWAY, AWAY])
        await until(lambda: world.kafka.records)

    assert 3 == len(world.sink.ledger_reads)
    assert not running.said(TaskFailed)


async def test_repair_waits_for_the_ledger():
    """If Kafka does not tell which posts of a gap there are, nothing is bought before it does."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100])
    async with world.owner(finder) as running:
        await until(lambda: world.sink.ledger_reads)
        world.sink.reads.extend([AWAY, AWAY])
        await until(lambda: world.closed)

    assert 1 == len(finder.asked)
    assert not running.said(TaskFailed)


async def test_ledger_that_a_repair_cannot_read(monkeypatch):
    """It is said, in the log and in the gap's detail, and asked again after ever longer waits: not in silence."""
    waits = Schedule(first=WAIT, second=2 * WAIT, factor=2.0, cap=1.0)
    monkeypatch.setitem(backoff.SCHEDULES, DeliveryFailed, waits)
    world, finder = World(gap(0, 1000)), ScriptedFinder([100])
    async with world.owner(finder) as running:
        world.sink.reads.extend([CONFIRMED, AWAY, LOST, AWAY])  # the first is that of the task's start
        await until(lambda: world.gaps and world.gaps[0].detail)
        assert "KafkaConnectionError: no broker" == world.gaps[0].detail
        await until(lambda: world.closed)

    assert [
        ("BrokerAway", "KafkaConnectionError: no broker", round(WAIT, 1)),
        ("DeliveryFailed", "KafkaError: the outcome is unknown", round(2 * WAIT, 1)),
        ("BrokerAway", "KafkaConnectionError: no broker", round(4 * WAIT, 1)),
    ] == [(event.error, event.reason, event.retry_in_secs) for event in running.said(RepairDelayed)]
    assert 1 == len(finder.asked)


# -- limits and refusals


async def test_limit_is_waited_for_with_the_search():
    """A used-up window is waited for, and then the same search goes on: nothing is asked, and paid, twice."""
    limited = RateLimited("X allows no more searches for now", reset_at=(MADE_MS + HOUR_MS + 60_000) / 1000)
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 200, 300], None, limited)
    async with world.owner(finder) as running:
        await until(lambda: running.said(RepairDelayed))
        assert 1 == finder.pages
        await until(lambda: world.gaps and world.gaps[0].detail)
        assert "X allows no more searches for now" == world.gaps[0].detail
        world.let_limit_end(running)
        await until(lambda: world.closed)

    assert world.has(100, 200, 300)
    assert 1 == len(finder.asked)
    assert 2 == len(world.sink.ledger_reads)
    (delayed,) = running.said(RepairDelayed)
    assert ("RateLimited", to_iso(MADE_MS)) == (delayed.error, delayed.gap_from)
    assert 30 < delayed.retry_in_secs <= 60


async def test_nothing_is_forgotten_while_a_search_waits(monkeypatch):
    """A limit may last a quarter of an hour: the ids of the gap are remembered until the search goes on."""
    monkeypatch.setattr("connector.task.batcher.TIDY_SECS", 0.0)
    monkeypatch.setattr(ledger, "YOUNG_IDS", 1)
    monkeypatch.setattr(ledger, "LEAF_IDS", 1)
    world = World(gap(0, 1000))
    world.kafka.ledger.append(ledger_write([id_of(100)], None, now_ms=NOW_MS))
    limited = RateLimited("wait", reset_at=(MADE_MS + HOUR_MS + 60_000) / 1000)
    finder = ScriptedFinder([100, 200, 300], None, limited)
    async with world.owner(finder, post(HOUR_MS + 1), gate := Gate(), post(HOUR_MS + 2)) as running:
        await until(lambda: running.said(RepairDelayed))
        gate.set()
        await until(lambda: post(HOUR_MS + 2) in world.kafka.values)
        world.let_limit_end(running)
        await until(lambda: world.closed)

    assert world.has(200, 300, HOUR_MS + 1, HOUR_MS + 2)


async def test_nothing_is_forgotten_while_the_ledger_is_read(monkeypatch):
    """What was on its way when the reading began may be in Kafka, and out of memory, before it ends."""
    world = World(gap(0, 1000))
    running = world.owner(ScriptedFinder([100]))
    read_ledger, seen = world.sink.read_ledger, []

    async def read(*asked, late=False):
        seen.extend(progress.repairing for progress in running.task.progresses)  # none yet at the start
        return await read_ledger(*asked, late=late)

    monkeypatch.setattr(world.sink, "read_ledger", read)
    async with running:
        await until(lambda: world.closed)

    assert [MADE_MS] == [each.from_ms for each in seen]


async def test_nothing_is_forgotten_while_another_gap_is_repaired(monkeypatch):
    """A newer gap may be repaired while a search waits; then the ids of the older one are read again."""
    monkeypatch.setattr("connector.task.batcher.TIDY_SECS", 0.0)
    monkeypatch.setattr(ledger, "YOUNG_IDS", 1)
    monkeypatch.setattr(ledger, "LEAF_IDS", 1)
    monkeypatch.setattr(policy, "FRESH_MS", 600_000)
    older = -48 * HOUR_MS
    world = World(gap(older, older + 1000), gap(HOUR_MS - 2000, HOUR_MS - 1000), covered_from=-72 * HOUR_MS)
    world.kafka.ledger.append(ledger_write([id_of(older + 100)], None, now_ms=NOW_MS))
    limited = RateLimited("wait", reset_at=(MADE_MS + HOUR_MS + 60_000) / 1000)
    numbers = [older + 100, older + 200, older + 300, HOUR_MS - 1500]
    finder = ScriptedFinder(numbers, None, limited)
    async with world.owner(finder, policy=BOTH) as running:
        await until(lambda: running.said(RepairDelayed))
        monkeypatch.setattr(policy, "FRESH_MS", 0)  # the newer one is old enough now
        world.let_limit_end(running)
        await until(lambda: 2 == len(world.closed))

    assert ["search", "recovery"] == [event.way for event in running.said(RepairStarted)][:2]
    assert world.has(*numbers[1:])


@pytest.mark.parametrize("error", [ServiceUnavailable("X answered 503"), TokenRejected("X answered 401")])
async def test_search_that_fails_is_tried_again(error):
    """Errors that may pass are waited for, and do not touch the task."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 200, 300], error, None, error)
    async with world.owner(finder, post(2000)) as running:
        await until(lambda: world.closed)
        assert State.RUNNING is running.task.status.state

    assert world.has(100, 200, 300, 2000)
    assert 2 == len(running.said(RepairDelayed))


async def test_search_that_x_refuses():
    """403, and no other way: the gap is lost with X's words, later ones too, without asking again."""
    world = World(gap(0, 100), gap(200, 300))
    finder = ScriptedFinder([50, 250], NotAuthorized("X answered 403: not in this plan"))
    async with world.owner(finder) as running:
        await until(lambda: [GapState.LOST] * 2 == [each.state for each in world.gaps])

    assert {"X answered 403: not in this plan"} == {each.detail for each in world.gaps}
    assert 1 == len(finder.asked)
    assert 2 == len(running.said(GapLost))
    assert [] == world.kafka.values


async def test_next_way_when_one_is_refused():
    """A replay that the account does not have is left for a search."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200], NotAuthorized("X answered 403: not in this plan"))
    async with world.owner(finder, policy=BOTH) as running:
        await until(lambda: world.closed)

    assert ["recovery", "search"] == [event.way for event in running.said(RepairStarted)]
    assert world.has(100, 200)


async def test_second_connection_that_is_never_free():
    """X says five times that the slot is taken: then the account has only one, and search has to do."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200], *[ConnectionTaken("X answered 429: TooManyConnections")] * 5)
    async with world.owner(finder, policy=BOTH) as running:
        await until(lambda: world.closed)

    assert ["recovery"] * 5 + ["search"] == [event.way for event in running.said(RepairStarted)]
    assert 4 == len(running.said(RepairDelayed))
    assert world.has(100, 200)


@pytest.mark.parametrize("taken", [1, 4])
async def test_second_connection_that_is_free_later(taken):
    """Fewer refusals are waited for."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200], *[ConnectionTaken("X answered 429: TooManyConnections")] * taken)
    async with world.owner(finder, policy=BOTH):
        await until(lambda: world.closed)

    assert {b"recovery"} == {record.source for record in world.kafka.records}


async def test_out_of_credit_puts_the_repair_off(monkeypatch):
    """It is tried again once there may be money; the task runs on."""
    monkeypatch.setitem(backoff.SCHEDULES, OutOfCredit, Schedule(first=0.1, second=0.1, cap=0.1))
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100], OutOfCredit("X answered 402: credits are used up"))
    async with world.owner(finder) as running:
        await until(lambda: running.said(RepairDelayed))
        assert State.RUNNING is running.task.status.state
        await until(lambda: world.closed)

    assert world.has(100)


async def test_budget_puts_the_repair_off():
    """What repairs read counts, and a page later nothing more is bought; the gap says what it waits for."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200, 300, 400, 500])
    async with world.owner(finder, budget=Budget(posts_per_day=3, mills_each=5)) as running:
        await until(lambda: running.said(RepairDelayed) and world.gaps[0].detail)

    assert world.has(500, 400, 300, 200)
    assert "BudgetReached" == running.said(RepairDelayed)[0].error
    assert world.gaps[0].detail.startswith("budget.posts.per.day is used up: 4 of 3 posts on 2026-11-01")
    assert (4, 4, 20) == (world.gaps[0].posts, world.gaps[0].billed, world.gaps[0].mills)
    assert 4 == world.offset.spent.posts


# -- ways


async def test_too_old_for_search():
    """What is older than a week is lost; of a gap that reaches further back the rest is repaired."""
    world = World(
        gap(-20 * 24 * HOUR_MS, -19 * 24 * HOUR_MS),
        gap(-10 * 24 * HOUR_MS, -HOUR_MS),
        covered_from=-30 * 24 * HOUR_MS,
    )
    finder = ScriptedFinder([-2 * HOUR_MS])
    async with world.owner(finder):
        await until(lambda: world.closed and len(world.gaps) == 2 and world.gaps[1].state is GapState.LOST)

    assert [GapState.LOST] * 2 == [each.state for each in world.gaps]
    assert {"older than the 7 days that X's search reaches back"} == {each.detail for each in world.gaps}
    assert world.has(-2 * HOUR_MS)
    ((border, end, state, posts),) = world.closed
    assert (-HOUR_MS, "repaired", 1) == (end, state, posts)
    assert -7 * 24 * HOUR_MS + HOUR_MS + 600_000 == pytest.approx(border, abs=5_000)


async def test_gap_that_is_repaired_down_to_what_is_too_old():
    """A repair was put off until what it had left is too old: that is lost, the rest is done."""
    left = id_of(-8 * 24 * HOUR_MS)
    world = World(
        gap(-10 * 24 * HOUR_MS, -HOUR_MS, state=GapState.REPAIRING, way=Way.SEARCH, posts=1, until_id=left),
        covered_from=-30 * 24 * HOUR_MS,
    )
    finder = ScriptedFinder()
    async with world.owner(finder) as running:
        await until(lambda: world.gaps[0].state is GapState.LOST)

    assert [(-10 * 24 * HOUR_MS, -8 * 24 * HOUR_MS)] == [
        (each.from_ms - MADE_MS, each.to_ms - MADE_MS) for each in world.gaps
    ]
    assert ([], []) == (finder.asked, running.said(RepairStarted))


async def test_recovery_none_repairs_nothing():
    """The gap is recorded, and stays."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100])
    async with world.owner(finder, post(2000), policy=Policy(ways=frozenset(), none_because="recovery=none")):
        await until(lambda: world.kafka.records)
        await asyncio.sleep(0.05)

    assert [GapState.OPEN] == [each.state for each in world.gaps]
    assert [] == finder.asked


# -- replay


async def test_replay_in_slices(monkeypatch):
    """An interval is replayed in pieces of ten minutes, newest first, each of which moves the gap."""
    monkeypatch.setattr("connector.task.repair.repairer.REPLAY_SLICE_MS", 400)
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 300, 500, 700, 900], size=9)
    async with world.owner(finder, policy=REPLAY):
        await until(lambda: world.closed)

    assert [(MADE_MS + 600, MADE_MS + 1000), (MADE_MS + 200, MADE_MS + 600), (MADE_MS, MADE_MS + 200)] == finder.asked
    assert list(map(post, [700, 900, 300, 500, 100])) == world.kafka.values
    assert {b"recovery"} == {record.source for record in world.kafka.records}
    assert [(0, 1000, "repaired", 5)] == world.closed


async def test_replay_of_more_than_its_buffer(monkeypatch):
    """What the task has taken makes room for what comes behind it."""
    monkeypatch.setattr("connector.task.repair.repairer.REPLAY_BUFFER_BYTES", 2 * len(post(1)))
    numbers = list(range(100, 900, 50))
    world, finder = World(gap(0, 1000)), ScriptedFinder(numbers, size=1)
    async with world.owner(finder, policy=REPLAY):
        await until(lambda: world.closed)

    assert list(map(post, numbers)) == world.kafka.values


async def test_replay_that_breaks_is_asked_again():
    """A connection that ends early proves nothing: the interval is asked for again, and what came is known."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100, 200, 300, 400], None, ConnectionLost("reset"))
    async with world.owner(finder, policy=REPLAY) as running:
        await until(lambda: world.closed)

    assert [(MADE_MS, MADE_MS + 1000)] * 2 == finder.asked
    assert world.has(100, 200, 300, 400)
    assert 4 == sum(event.posts for event in running.said(DuplicatesDropped) if event.source == "recovery")


async def test_next_owner_replays_the_piece_again():
    """A worker dies in the middle of an interval: the next one asks for it again, and knows what is in the topic."""
    world, hanging = World(gap(0, 1000)), Gate()
    first = ScriptedFinder([100, 200, 300, 400], None, hanging, size=1)
    async with world.owner(first, post(HOUR_MS + 70_000), policy=REPLAY) as running:
        await until(lambda: world.has(100, 200, HOUR_MS + 70_000))
        running.task.abandon()
        await running.ended()
    second = ScriptedFinder([100, 200, 300, 400])
    async with world.owner(second, policy=REPLAY) as running:
        await until(lambda: world.closed)

    assert world.has(100, 200, 300, 400, HOUR_MS + 70_000)
    assert 2 == sum(event.posts for event in running.said(DuplicatesDropped))


@pytest.mark.parametrize("until_id", [None, id_of(500)])
async def test_next_owner_knows_the_pieces_behind_the_live_posts(until_id):
    """What a repair delivered stands in the ledger behind younger live posts, and is found there all the same."""
    world = World(gap(0, 1000, state=GapState.REPAIRING, way=Way.RECOVERY, posts=2, until_id=until_id))
    world.kafka.ledger += [
        ledger_write([id_of(HOUR_MS // 2)], None, now_ms=NOW_MS),
        ledger_write([id_of(100), id_of(200)], Way.RECOVERY, now_ms=NOW_MS),
    ]
    async with world.owner(ScriptedFinder([100, 200, 300, 400]), policy=REPLAY):
        await until(lambda: world.closed)

    assert world.has(300, 400)


# -- what operators ask


async def test_retry_of_a_lost_gap():
    """It is searched again; what was found before is not delivered twice, and the request is taken out behind it."""
    world = World(gap(0, 1000, state=GapState.LOST, detail="sample:10: no operator of search", posts=2))
    live, found = (
        ledger_write([id_of(HOUR_MS // 2)], None, now_ms=NOW_MS),
        ledger_write([id_of(100), id_of(200)], Way.SEARCH, now_ms=NOW_MS),
    )
    world.kafka.ledger += [live, found]
    finder = ScriptedFinder([100, 200, 300])
    async with world.owner(finder):
        await asyncio.sleep(0.05)
        assert [] == finder.asked
        world.requests.asked.append(Asked(MADE_MS, "retry"))
        await until(lambda: world.closed)

    assert world.has(300)
    assert [] == world.requests.asked
    assert [(0, 1000, "repaired", 3)] == world.closed


async def test_retry_asks_x_again():
    """What X refused before may be allowed by now."""
    world = World(gap(0, 1000))
    finder = ScriptedFinder([100], NotAuthorized("X answered 403"))
    async with world.owner(finder):
        await until(lambda: GapState.LOST is world.gaps[0].state)
        world.requests.asked.append(Asked(MADE_MS, "retry"))
        await until(lambda: world.closed)

    assert world.has(100)


async def test_request_is_taken_out_behind_its_commit():
    """A worker that dies between leaves the request to the next one, never a gap of which the request is gone."""
    world = World(gap(0, 1000, state=GapState.LOST))
    world.requests.asked.append(Asked(MADE_MS, "accept"))
    async with world.owner(ScriptedFinder()) as running:
        await until(lambda: world.requests.done_at)
        (commits,) = world.requests.done_at

    before = [batch for batch in world.kafka.commits[:commits] if OffsetWrite(key=KEY, value=None) not in batch.offsets]
    said = [Coverage.decode(write.value) for batch in before for write in batch.offsets if write.key == KEY]
    assert () == said[-1].gaps
    assert [(0, 1000, "accepted", 0)] == world.closed
    assert 1 == len(running.said(GapAccepted))


async def test_request_that_changes_nothing_is_taken_out():
    """A retry of what is open anyway, or of a gap that is not there, is done, also on a silent stream."""
    world = World(gap(0, 1000))
    async with world.owner(ScriptedFinder(), policy=Policy(ways=frozenset(), none_because="recovery=none")):
        await until(lambda: world.kafka.commits)
        await asyncio.sleep(0.05)
        world.requests.asked += [Asked(MADE_MS, "retry"), Asked(MADE_MS + 7, "accept")]
        await until(lambda: [] == world.requests.asked, secs=2.0)

    assert [GapState.OPEN] == [each.state for each in world.gaps]


async def test_request_whose_tombstone_fails(monkeypatch):
    """It is carried out once, and its tombstone is tried again until Kafka has it; each failure is said."""
    monkeypatch.setattr(orders, "TAKE_OUT_SECS", 0.05)
    world = World(gap(0, 1000), gap(2000, 3000, state=GapState.LOST))
    world.requests = MemoryRequests(world.kafka, AWAY, LOST)
    world.requests.asked += [Asked(MADE_MS, "accept"), Asked(MADE_MS + 2000, "retry")]
    nothing_allowed = Policy(ways=frozenset(), none_because="recovery=none")
    async with world.owner(ScriptedFinder(), policy=nothing_allowed) as running:
        await until(lambda: [] == world.requests.asked)

    assert [(0, 1000, "accepted", 0)] == world.closed
    assert 1 == len(running.said(GapAccepted))
    assert [("BrokerAway", 2), ("DeliveryFailed", 2)] == [
        (event.error, event.requests) for event in running.said(RequestLeft)
    ]


async def test_request_is_left_when_the_task_stops_before_the_commit():
    """The task stops while what was asked is not committed: if that commit fails, the next owner carries it out."""
    world, held = World(gap(0, 1000, state=GapState.LOST)), Held(outcome=LOST)
    async with world.owner(ScriptedFinder(), Gate(), outcomes=[held], every=True) as running:
        await held.begun.wait()
        world.requests.asked.append(Asked(MADE_MS, "accept"))
        await until(lambda: running.said(GapAccepted))
        running.task.begin_stop()
        await until(lambda: all(run.done() for run in running.task.readers.runs))
        running.task.abandon()
        held.released.set()
        await running.ended()

    assert [Asked(MADE_MS, "accept")] == world.requests.asked
    assert 1 == len(world.gaps)


async def test_request_for_a_gap_that_only_an_heir_knows():
    """A worker that was paused does not know the gaps of its heir, and takes no request for one of them out."""
    world = World()
    async with world.owner(ScriptedFinder(), post(1)) as running:
        await until(lambda: world.kafka.records)
        world.kafka.epochs["connector-posts-0"] += 1  # the heir opens, while this one believes to own the task
        heirs = Coverage(covered_from_ms=MADE_MS, covered_to_ms=MADE_MS + HOUR_MS, gaps=(gap(0, 1000),), run="heir")
        world.kafka.offsets.append((KEY, heirs.encode()))
        running.task._in_flight.committed_at -= 60
        world.requests.asked.append(Asked(MADE_MS, "accept"))
        await running.ended()

    assert [Asked(MADE_MS, "accept")] == world.requests.asked


async def test_request_of_another_partition_is_left():
    """It is for whoever reads that."""
    world = World(gap(0, 1000, state=GapState.LOST))
    world.requests.asked.append(Asked(MADE_MS, "accept", partition="3"))
    async with world.owner(ScriptedFinder(), post(2000)):
        await until(lambda: world.kafka.records)
        await asyncio.sleep(0.05)

    assert 1 == len(world.requests.asked)
    assert 1 == len(world.gaps)


async def test_accepted_while_a_page_is_on_its_way():
    """An operator ends a repair that is at work: what was found is delivered, no more is bought, the gap is gone."""
    world, held = World(gap(0, 1000)), Held()
    finder = ScriptedFinder([100, 200, 300, 400, 500, 600])
    async with world.owner(finder, outcomes=[held]) as running:
        await held.begun.wait()
        world.requests.asked.append(Asked(MADE_MS, "accept"))
        await asyncio.sleep(0.05)
        held.released.set()
        await until(lambda: world.closed and not world.requests.asked)

    assert ((), [GapAccepted]) == (world.gaps, [type(each) for each in running.said(GapAccepted, GapRepaired)])
    assert ["accepted"] == [state for _, _, state, _ in world.closed]
    assert finder.pages < 4
    assert 2 * finder.pages == len(world.kafka.values)


# -- an outage in the middle


async def test_gap_that_grows_while_it_is_searched():
    """A young connection breaks during the search: what came to the gap is searched, too, before it is closed."""
    world, hanging, broken = World(covered_to=HOUR_MS - 1000), Gate(), Gate()
    numbers = [HOUR_MS - 700, HOUR_MS - 600, HOUR_MS - 500]
    finder = ScriptedFinder(numbers, hanging)
    async with world.owner(finder, broken, ConnectionLost("reset"), rules=(), settle_secs=600.0) as running:
        world.live.script.append([])
        await until(lambda: finder.asked)
        late = created_ms(finder.asked[0][2]) - MADE_MS + 30
        finder.numbers.append(late)
        await asyncio.sleep(0.1)
        broken.set()
        await until(lambda: 2 == len(running.said(GapOpened)))
        hanging.set()
        await until(lambda: world.closed)

    assert world.has(*numbers, late)
    assert finder.asked[0][1] == finder.asked[-1][1] == first_id(MADE_MS + HOUR_MS - 1000)
    assert finder.asked[0][2] < id_of(late) < finder.asked[-1][2]


# -- stopping


@pytest.mark.parametrize("policy", [SEARCH, REPLAY])
async def test_stop_ends_a_repair_at_once(policy):
    """A stop does not wait for X; what was handed over is delivered, and the gap says how far it is."""
    world, finder = World(gap(0, 1000)), ScriptedFinder([100, 200, 300, 400], None, Gate(), size=1)
    async with world.owner(finder, policy=policy) as running:
        await until(lambda: world.kafka.records and finder.pages == (2 if policy is REPLAY else 1))
        began = time.monotonic()
        await running.stop()

    assert time.monotonic() - began < 1
    assert finder.stopped.is_set()
    assert world.gaps
    assert len(world.kafka.values) == world.gaps[0].posts


async def test_stop_in_the_wait_for_a_limit():
    """Nor for the end of a window."""
    limited = RateLimited("wait", reset_at=(MADE_MS + 2 * HOUR_MS) / 1000)
    world = World(gap(0, 1000))
    async with world.owner(ScriptedFinder([100], limited)) as running:
        await until(lambda: running.said(RepairDelayed))
        began = time.monotonic()
        await running.stop()

    assert time.monotonic() - began < 1
    assert [GapState.OPEN] == [each.state for each in world.gaps]


async def test_page_that_is_ready_at_a_stop_is_delivered():
    """What X was paid for goes into the topic with the last batch."""
    world, held, gate = World(gap(0, 1000)), Held(), Gate()
    finder = ScriptedFinder([100, 200, 300, 400], None)
    async with world.owner(finder, gate, post(2000), outcomes=[held]) as running:
        await held.begun.wait()
        await until(lambda: 2 == finder.pages)
        running.task.begin_stop()
        held.released.set()
        await running.ended()

    assert 2 * finder.pages == len(world.kafka.values)
    assert State.UNASSIGNED is running.task.status.state
