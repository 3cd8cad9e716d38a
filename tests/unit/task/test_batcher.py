"""A batch out of what the source partitions of a task have: small arrivals together, offsets with it or behind it."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage import offset
from connector.coverage.ledger import decode_ids
from connector.records.record import Arrival, Connected
from connector.task import ownership, task
from connector.task.batcher import POSTS_AT_ONCE, _together
from connector.task.status import State
from tests.unit.fakes import (
    CONFIRMED,
    DOUBTFUL,
    KEEP_ALIVE,
    LOST,
    Gate,
    MemoryKafka,
    MemorySink,
    Running,
    ScriptedSource,
    id_of,
    post,
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
    changed = {"tolerate_bad_records": True, "dead_letter_topic": "dead", "offset_interval_secs": NEVER_SECS}
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
