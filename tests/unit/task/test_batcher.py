"""A batch out of what the source partitions of a task have: small arrivals together, offsets with it or behind it."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage import offset
from connector.coverage.ledger import decode_ids
from connector.errors import TransformFailed
from connector.records.record import Altered, Arrival, Connected, SourceRecord
from connector.task import batcher, ownership, task
from connector.task.batcher import POSTS_AT_ONCE, _together
from connector.task.status import State
from connector.telemetry.events.task import DuplicatesDropped, PostsFiltered, PostsReceived, RulesMatched
from tests.unit.fakes import (
    CONFIRMED,
    DOUBTFUL,
    KEEP_ALIVE,
    LOST,
    MADE_MS,
    Gate,
    MemoryKafka,
    MemorySink,
    NoRules,
    Running,
    ScriptedSource,
    id_of,
    letters_to,
    post,
    shared_post,
    until,
)

NEVER_SECS = 3600.0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(ownership, "PROOF_POLL_SECS", 0.002)
    monkeypatch.setattr(offset, "MARGIN_MS", 0)


@pytest.fixture
def kafka():
    return MemoryKafka()


def ledger_of(kafka):
    return list(chain.from_iterable(decode_ids(write.value) for write in kafka.ledger))


def told(kafka):
    """Posts that each commit with posts brought, and whether an offset came with them."""
    return [(len(batch.records), bool(batch.offsets)) for batch in kafka.commits if batch.records]


# -- offsets that follow


async def test_posts_go_ahead_of_their_offset(kafka):
    """Between two offsets posts are delivered without; a stop writes what is owed, the ids in one piece."""
    source = ScriptedSource([post(1), one := Gate(), post(2), two := Gate(), (post(3), post(4))])
    async with Running([source], MemorySink(kafka), offset_interval_secs=NEVER_SECS):
        await until(lambda: 1 == len(kafka.records))
        one.set()
        await until(lambda: 2 == len(kafka.records))
        two.set()
        await until(lambda: 4 == len(kafka.records))
        offsets = len(kafka.offsets)
        assert 1 >= kafka.offset()["posts"]

    assert [(1, False), (2, False)] == told(kafka)[-2:]
    assert offsets + 1 == len(kafka.offsets)
    assert 4 == kafka.offset()["posts"]
    assert [id_of(number) for number in (1, 2, 3, 4)] == sorted(ledger_of(kafka))
    assert len(set(ledger_of(kafka))) == len(ledger_of(kafka))


async def test_offset_follows_without_another_post(kafka):
    """What is owed is written once the interval is over, however rarely the task looks for posts."""
    source = ScriptedSource([post(1), gate := Gate(), post(2)])
    async with Running([source], MemorySink(kafka), offset_interval_secs=0.05, poll_interval_secs=60.0):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: 2 == kafka.offset()["posts"])
        assert [id_of(1), id_of(2)] == sorted(ledger_of(kafka))


async def test_next_owner_counts_on(kafka):
    """An offset that was owed at the stop tells the next owner of all posts."""
    source = ScriptedSource([post(1), gate := Gate(), post(2)])
    async with Running([source], MemorySink(kafka), offset_interval_secs=NEVER_SECS):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: 2 == len(kafka.records))
    async with Running([ScriptedSource([post(3)])], MemorySink(kafka), offset_interval_secs=NEVER_SECS):
        await until(lambda: 3 == len(kafka.records))

    assert 3 == kafka.offset()["posts"]


@pytest.mark.parametrize(("outcome", "again"), [(LOST, []), (DOUBTFUL, [post(2)])])
async def test_batch_without_an_offset_is_delivered_again(kafka, outcome, again):
    """Nothing says that Kafka has it: it goes out again, at the risk of doubling it, and none is left out."""
    sink = MemorySink(kafka, [CONFIRMED, outcome])
    source = ScriptedSource([post(1), gate := Gate(), post(2), second := Gate(), post(3)])
    async with Running([source], sink, offset_interval_secs=NEVER_SECS):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: 2 == sink.opened)
        second.set()
        await until(lambda: post(3) in kafka.values)

    assert [post(1), *again, post(2), post(3)] == kafka.values
    assert [id_of(1), id_of(2), id_of(3)] == sorted(ledger_of(kafka))


async def test_later_offset_speaks_for_the_batch_before_it(kafka):
    """Batches wait in order: one whose offset is in Kafka has brought those before it, which had none."""
    sink = MemorySink(kafka, [CONFIRMED, CONFIRMED, LOST])
    source = ScriptedSource([post(1), gate := Gate(), post(2), second := Gate(), post(3)])
    async with Running([source], sink, offset_interval_secs=0.03):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: 2 == kafka.offset()["posts"])
        second.set()
        await until(lambda: 3 == len(kafka.records))

    assert [post(1), post(2), post(3)] == kafka.values


async def test_a_bad_line_has_the_offset_before_it(kafka):
    """The line that ends the task ends the delay, too: the next task begins right before it."""
    source = ScriptedSource([post(1), gate := Gate(), (post(2), b"no JSON")])
    async with Running([source], MemorySink(kafka), offset_interval_secs=NEVER_SECS) as running:
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await running.ended()
        assert State.FAILED is running.task.status.state

    assert 2 == kafka.offset()["posts"]
    assert [id_of(1), id_of(2)] == sorted(ledger_of(kafka))


async def test_dead_letters_have_their_offset_with_them(kafka):
    """A tolerated bad line is counted with the letter."""
    source = ScriptedSource([post(1), gate := Gate(), b"no JSON"])
    changed = {"tolerate_bad_records": True, "destination": letters_to("dead"), "offset_interval_secs": NEVER_SECS}
    async with Running([source], MemorySink(kafka), **changed):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: kafka.dead_letters)
        (batch,) = [batch for batch in kafka.commits if batch.dead_letters]
        assert batch.offsets


async def test_each_batch_of_a_transaction_has_its_offset(kafka):
    """With an interval of 0, as for transactions, no post goes without."""
    source = ScriptedSource([post(1), KEEP_ALIVE, gate := Gate(), post(2)])
    async with Running([source], MemorySink(kafka)):
        await until(lambda: 1 == len(kafka.records))
        gate.set()
        await until(lambda: 2 == len(kafka.records))

    assert [(1, True), (1, True)] == told(kafka)


# -- small arrivals together


def arrivals(*sizes):
    return [
        Connected(at=0.0, skew_secs=0.0) if size is None else Arrival(lines=(b"x",) * size, at=float(at), size=size)
        for at, size in enumerate(sizes)
    ]


@given(st.lists(st.none() | st.integers(0, 3) | st.sampled_from([POSTS_AT_ONCE - 1, POSTS_AT_ONCE, 2_000])))
def test_together_keeps_the_order(sizes):
    """All that was drained, in order; keep-alives and connections by themselves, the rest in groups of their size."""
    drained = arrivals(*sizes)
    groups = list(_together(drained))

    assert drained == list(chain.from_iterable([group] if isinstance(group, Connected) else group for group in groups))
    for group in groups:
        if not isinstance(group, Connected):
            assert len(group) == 1 or all(arrival.lines for arrival in group)
            assert len(group) == 1 or sum(len(arrival.lines) for arrival in group) <= POSTS_AT_ONCE


def test_small_ones_share_a_group():
    """Posts that came one by one are one piece of work, up to a connection, a keep-alive or a full group."""
    sizes = (1, 2, 0, 1, 1, None, 1, POSTS_AT_ONCE, 1)
    groups = [
        None if isinstance(group, Connected) else [each.size for each in group] for group in _together(arrivals(*sizes))
    ]

    assert [[1, 2], [0], [1, 1], None, [1], [POSTS_AT_ONCE], [1]] == groups


# -- transforms


class Drops(NoRules):
    """Drops each post whose number is not in *kept*, and cannot take those in *wrong*."""

    def __init__(self, *kept, wrong=()):
        self.kept, self.wrong = kept, wrong

    def record_of(self, post_id, line, made_ms, source, max_bytes):
        number = made_ms - MADE_MS
        if number in self.wrong:
            raise TransformFailed(f"The transform drops cannot take the post {post_id}", transform="drops")
        return SourceRecord(b"k", b"v", made_ms, source, Altered(post_id, line=line)) if number in self.kept else None


@pytest.mark.parametrize("interval_secs", [0.0, 0.05])
async def test_what_transforms_drop_is_covered_too(kafka, interval_secs):
    """The offset goes on and the ledger has their ids, though no record comes; with transactions, and without."""
    source = ScriptedSource([(post(1), post(2)), KEEP_ALIVE, gate := Gate()])
    running = Running([source], MemorySink(kafka), offset_interval_secs=interval_secs, transformer=Drops())
    async with running:
        await until(lambda: [id_of(1), id_of(2)] == sorted(ledger_of(kafka)))
        gate.set()

    assert [] == kafka.records
    assert 0 == kafka.offset()["posts"]
    assert 2 == sum(event.posts for event in running.said(PostsFiltered))


async def test_a_transform_that_fails_ends_the_task(kafka):
    """With errors.tolerance=none: the sentence names transform and post, and what came before it is delivered."""
    source = ScriptedSource([(post(1), post(2), post(3))])
    running = Running([source], MemorySink(kafka), transformer=Drops(1, 3, wrong=[2]), tolerate_bad_records=False)
    async with running:
        await running.ended()

    assert [id_of(1)] == [record.altered.post_id for record in kafka.records]
    assert State.FAILED == running.task.status.state
    assert (
        f"ToleranceExceeded: The transform drops cannot take the post {id_of(2)}; errors.tolerance=all would keep it"
        " aside"
    ) == running.task.status.trace


def matched(running):
    """Posts by the labels that the task has told, all events together."""
    counts = Counter()
    for event in running.said(RulesMatched):
        counts.update(dict(event.matched))
    return counts


async def test_which_rules_posts_matched_is_told(kafka, monkeypatch):
    """While the task runs, also of posts that a transform drops, whatever becomes of the offset."""
    monkeypatch.setattr(batcher, "TIDY_SECS", 0.0)
    gate = Gate()
    source = ScriptedSource([(shared_post(1, ("5", "posts/birds")), shared_post(2, ("5", "posts/birds"))), gate])
    running = Running([source], MemorySink(kafka), wanted={"#birds": "birds"}, transformer=Drops(1, 2))
    async with running:
        await until(lambda: {("birds",): 2} == matched(running))
        gate.set()


async def test_the_last_posts_are_told_at_the_end(kafka, monkeypatch):
    """A task that stops within the second has told of all its posts."""
    monkeypatch.setattr(batcher, "TIDY_SECS", NEVER_SECS)
    running = Running(
        [ScriptedSource([(shared_post(1, ("5", "posts/birds")),)])], MemorySink(kafka), wanted={"#b": "b"}
    )
    async with running:
        await until(lambda: kafka.records)
        assert {} == matched(running)

    assert {("birds",): 1} == matched(running)


def received(running):
    """Posts that the task has told to have come."""
    return sum(event.posts for event in running.said(PostsReceived))


async def test_what_came_is_told(kafka, monkeypatch):
    """All that X sent counts, what a transform drops and what came before among it; each once, and the last, too."""
    monkeypatch.setattr(batcher, "TIDY_SECS", NEVER_SECS)
    first = shared_post(1, ("5", "posts/birds"))
    source = ScriptedSource([(first, shared_post(2, ("5", "posts/birds"))), (first,)])
    running = Running([source], MemorySink(kafka), wanted={"#b": "b"}, transformer=Drops(2))
    async with running:
        await until(lambda: running.said(DuplicatesDropped))
        assert 0 == received(running)

    assert 3 == received(running)
