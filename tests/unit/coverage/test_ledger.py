import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage import ledger as module
from connector.coverage.ledger import Ledger, Runs, decode_ids, encode_ids
from connector.records.post import MAX_ID
from connector.records.snowflake import first_id
from tests.unit.fakes import MADE_MS, id_of

POST_BYTES = 2_600
"""A post with the usual fields (measured)."""


@pytest.fixture
def small(monkeypatch):
    """A ledger ages at 8 ids, its leaves hold 4, and 3 of them are open."""
    monkeypatch.setattr(module, "YOUNG_IDS", 8)
    monkeypatch.setattr(module, "LEAF_IDS", 4)
    monkeypatch.setattr(module, "OPEN_LEAVES", 3)
    monkeypatch.setattr(module, "MERGED_LEAVES", 3)


def open_leaves(ledger):
    return [leaf for leaf in ledger._leaves if leaf.ids is not None]


def test_remembers_what_it_was_told():
    """An id that was added is known, another is not."""
    ledger = Ledger()
    ledger.add(7)

    assert 7 in ledger
    assert 8 not in ledger
    assert 1 == len(ledger)


IDS = st.lists(st.integers(1, 60), max_size=60)


@pytest.mark.usefixtures("small")
@given(st.lists(IDS, max_size=6))
def test_knows_just_what_a_set_would(groups):
    """However old they are, in whatever order they came, and known already or not."""
    ledger, known = Ledger(), set()
    for ids in groups:
        ledger.update(ids)
        known.update(ids)
        assert len(known) == len(ledger)
        assert known == {post_id for post_id in range(62) if post_id in ledger}


@pytest.mark.usefixtures("small")
@given(st.lists(IDS.filter(bool), max_size=12))
def test_takes_all_of_an_arrival_or_nothing(arrivals):
    """An arrival with one known or repeated id changes nothing, whatever is packed."""
    ledger, known = Ledger(), set()
    for ids in arrivals:
        new = len(set(ids)) == len(ids) and known.isdisjoint(ids)
        assert new is ledger.add_new(ids)
        if new:
            known.update(ids)
        assert known == {post_id for post_id in range(62) if post_id in ledger}
        assert len(known) == len(ledger)
        assert len(open_leaves(ledger)) <= 3


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=3)


@pytest.mark.usefixtures("small")
@given(st.lists(st.tuples(IDS, RANGES), max_size=6))
def test_what_is_wanted_is_kept(story):
    """An id of a range that still matters is never forgotten, and none is made up."""
    ledger, wanted, known = Ledger(), set(), set()
    for ids, ranges in story:
        ledger.update(ids)
        known.update(ids)
        wanted.update(ids)
        ledger.keep(ranges)
        wanted &= {post_id for low, beyond in ranges for post_id in range(low, beyond)}
        found = {post_id for post_id in range(62) if post_id in ledger}
        assert wanted <= found <= known
        assert len(found) == len(ledger)


@pytest.mark.usefixtures("small")
def test_what_is_old_is_let_go():
    """Ids that cannot come again cost nothing, but for the leaf at an edge and the youngest."""
    ledger = Ledger()
    ledger.update(range(1, 1_001))
    ledger.keep([(1, 5), (500, 600), (985, MAX_ID)])

    found = [post_id for post_id in range(1_002) if post_id in ledger]
    assert {*range(1, 5), *range(500, 600), *range(985, 1_001)} <= set(found)
    assert len(found) < 140


MANY = 300_000


def many(rate, *, late_ms=0):
    """Ids of a stream of *rate* posts a second, some up to *late_ms* out of order."""
    random = Random(7)
    apart = (1000 << 22) // rate
    late = late_ms << 22
    return [first_id(MADE_MS) + number * apart + int(random.random() * (apart + late)) for number in range(MANY)]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "most"), [(250, 3.6), (6_000, 2.9), (75_000, 2.5)])
def test_an_old_id_costs_a_few_bytes(rate, most):
    """Where they come by chance, in any order within 5 s; ids of a real sequence are nearer to each other."""
    ledger = Ledger()
    ledger.update(many(rate, late_ms=5_000))
    leaves = ledger._leaves
    for leaf in leaves:
        leaf.close()
    size = sum(map(sys.getsizeof, leaves)) + sum(sys.getsizeof(leaf.packed) for leaf in leaves)
    count = sum(leaf.count for leaf in leaves)

    assert not open_leaves(ledger)
    assert size < most * count
    assert len(leaves) < 1.2 * count / module.LEAF_IDS


@pytest.fixture
def packing(monkeypatch):
    """What is packed and opened, as `["compress", "decompress"]`."""
    calls = []
    for name in ("compress", "decompress"):
        real = getattr(module.zlib, name)
        monkeypatch.setattr(module.zlib, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    return calls


@pytest.mark.slow
def test_a_backfill_opens_each_leaf_once(monkeypatch, packing):
    """Five minutes come again roughly in order; what is opened for one post serves its neighbours."""
    monkeypatch.setattr(module, "LEAF_IDS", 1_024)
    monkeypatch.setattr(module, "OPEN_LEAVES", 50)
    ids = many(6_000, late_ms=5_000)
    ledger = Ledger()
    ledger.update(ids)
    newest = len(open_leaves(ledger))
    packing.clear()

    assert all(post_id in ledger for post_id in ids)
    assert packing.count("decompress") <= len(ledger._leaves)
    assert packing.count("compress") <= newest


@pytest.mark.slow
def test_a_stream_in_order_opens_nothing(packing):
    """Nothing is merged, each leaf is packed once, and the leaves are full though arrivals do not end with them."""
    ledger = Ledger()
    ids = sorted(set(many(75_000)))
    for start in range(0, len(ids), 100):
        assert ledger.add_new(ids[start : start + 100])

    assert "decompress" not in packing
    assert len(ledger._leaves) <= len(ids) // module.LEAF_IDS + 1


EVERY = [(0, MAX_ID)]


@pytest.mark.usefixtures("small")
def test_what_nobody_looks_into_is_packed():
    """A leaf that is not used between two calls is packed by the second, a few at a time; one that is used stays."""
    ledger = Ledger()
    ledger.update(range(1, 17))
    newest = ledger._leaves[-1]
    ledger.keep(EVERY)
    assert 3 == len(open_leaves(ledger))

    assert newest.first in ledger
    ledger.keep(EVERY)
    assert [newest] == open_leaves(ledger)
    ledger.keep(EVERY)
    assert [] == open_leaves(ledger)
    assert all(post_id in ledger for post_id in range(1, 17))


@pytest.mark.usefixtures("small")
def test_few_are_packed_at_a_time(monkeypatch):
    """However many were looked into: the event loop waits meanwhile."""
    monkeypatch.setattr(module, "CLOSED_LEAVES", 2)
    ledger = Ledger()
    ledger.update(range(1, 17))
    ledger.keep(EVERY)

    left = []
    for _ in range(2):
        ledger.keep(EVERY)
        left.append(len(open_leaves(ledger)))
    assert [1, 0] == left


@pytest.mark.usefixtures("small")
@given(st.lists(st.tuples(IDS, IDS, RANGES), max_size=6))
def test_memory_of_what_is_open_is_bounded(story):
    """Nothing of 8 bytes an id stays behind of leaves that were merged, closed or let go."""
    ledger = Ledger()
    for ids, asked, ranges in story:
        ledger.update(ids)
        assert set(ledger._open) == set(open_leaves(ledger))
        for post_id in asked:
            post_id in ledger  # noqa: B015  # opens its leaf
        ledger.keep(ranges)
        assert set(ledger._open) == set(open_leaves(ledger))
        assert len(ledger._open) <= 3


# -- bytes

NUMBERS = st.integers(1, MAX_ID)


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_encode_and_decode_are_one(ids):
    """What is read back are the ids, ascending, each once."""
    assert sorted(set(ids)) == decode_ids(encode_ids(ids))


@given(st.integers(1, MAX_ID - 2**24), st.lists(st.integers(0, 2**24), min_size=1, max_size=300))
def test_neighbours_are_read_back(first, steps):
    """Ids near each other, as in a batch."""
    ids = [first + step for step in steps]

    assert sorted(set(ids)) == decode_ids(encode_ids(ids))


@pytest.mark.parametrize("ids", [[1], [MAX_ID], [1, MAX_ID], [7, 7, 7], [MAX_ID, MAX_ID - 1]])
def test_edges_are_read_back(ids):
    """A single id, the largest one, repeated ones."""
    assert sorted(set(ids)) == decode_ids(encode_ids(ids))


def test_what_a_record_looks_like():
    """Version, width, the smallest id; then the differences, lowest bytes first."""
    assert b"\x01\x02\x00\x00\x00\x00\x00\x00\x00\x05\x01\x02\x00\x01" == encode_ids([264, 5, 6])
    assert b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x05" == encode_ids([5])


def test_a_record_of_nothing_is_not_written():
    """It would have no time."""
    with pytest.raises(ValueError, match="without ids"):
        encode_ids([])


def test_ids_cost_less_than_a_hundredth_of_the_posts():
    """A tenth of a second at 250 posts/s is 25 ids, spread over 5 s of disorder."""
    random = Random(7)
    size = count = 0
    for batch in range(400):
        ids = [id_of(batch * 100 + random.randrange(5_000)) + random.randrange(1 << 22) for _ in range(25)]
        size += len(encode_ids(ids))
        count += len(ids)

    assert size < count * POST_BYTES * 0.01


GARBAGE = [
    b"",
    b"\x01",
    b"\x01\x00\x00\x00\x00\x00\x00\x00\x05",
    # another version
    b"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x05",
    # too wide
    b"\x01\x09\x00\x00\x00\x00\x00\x00\x00\x05" + 9 * b"\x01",
    # a width, and half a difference
    b"\x01\x02\x00\x00\x00\x00\x00\x00\x00\x05\x01",
    # no width, and differences
    b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x05\x01",
    b'{"posts":1}',
]


@pytest.mark.parametrize("value", GARBAGE)
def test_garbage_is_refused(value):
    """A record that somebody else wrote is an error, never an id."""
    with pytest.raises(ValueError, match="ledger"):
        decode_ids(value)


RUNS = st.lists(st.lists(NUMBERS, min_size=1, max_size=9), max_size=6)


@given(RUNS, st.slices(60))
def test_runs_are_a_sequence(records, places):
    """The ids of all records in the order of the records, looked at in any way."""
    runs, expected = Runs(), []
    for ids in records:
        runs.append(encode_ids(ids))
        expected += sorted(set(ids))

    assert expected == list(runs)
    assert len(expected) == len(runs)
    assert expected == [runs[place] for place in range(len(runs))]
    assert expected[::-1] == [runs[-1 - place] for place in range(len(runs))]
    assert expected[places] == runs[places]
    with pytest.raises(IndexError):
        runs[len(runs)]


@pytest.mark.parametrize("value", GARBAGE)
def test_garbage_is_no_run(value):
    """It is refused when it comes, and changes nothing."""
    runs = Runs()
    with pytest.raises(ValueError, match="ledger"):
        runs.append(value)

    assert not len(runs)


@given(st.binary(max_size=40))
def test_whatever_is_read_is_ids_or_an_error(value):
    """Ascending ones, as many as there are differences, and one."""
    try:
        ids = decode_ids(value)
    except ValueError:
        return
    assert sorted(ids) == ids
    assert len(ids) == 1 + (len(value) - 10) // (value[1] or 1)
