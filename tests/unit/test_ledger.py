import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import ledger as module
from connector.ledger import Ledger, decode_ids, encode_ids
from connector.posts import MAX_ID
from connector.snowflake import first_id
from tests.unit.fakes import MADE_MS, id_of

POST_BYTES = 2_600
"""A post with the usual fields (measured)."""


@pytest.fixture
def small(monkeypatch):
    """A ledger ages at 8 ids, and its leaves hold 4."""
    monkeypatch.setattr(module, "YOUNG_IDS", 8)
    monkeypatch.setattr(module, "LEAF_IDS", 4)


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


SHARE = 0.3
"""Of a million ids, as the suite is to be fast; what each of them costs is the same."""


@pytest.mark.parametrize("order", ["live", "downward"])
def test_a_million_ids_cost_less_than_16_mb(order):
    """As they come from the stream at 250 posts/s, 5 s out of order, and as a search finds them."""
    random = Random(7)
    count = int(SHARE * 1_000_000)
    ids = [first_id(MADE_MS + number * 4 + random.randrange(5_000)) + number for number in range(count)]
    if order == "downward":
        ids.sort(reverse=True)
    ledger = Ledger()
    ledger.update(ids)
    leaves = sum(map(sys.getsizeof, ledger._leaves)) + sys.getsizeof(ledger._leaves) + sys.getsizeof(ledger._last)
    young = set(range(MAX_ID, MAX_ID - module.YOUNG_IDS, -1))  # as many as there ever are, and ints of their size
    young_bytes = sys.getsizeof(young) + sum(map(sys.getsizeof, young))

    assert count == len(ledger)
    assert all(post_id in ledger for post_id in ids[::97])
    assert leaves / SHARE + young_bytes < 16_000_000


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


@given(st.binary(max_size=40))
def test_whatever_is_read_is_ids_or_an_error(value):
    """Ascending ones, as many as there are differences, and one."""
    try:
        ids = decode_ids(value)
    except ValueError:
        return
    assert sorted(ids) == ids
    assert len(ids) == 1 + (len(value) - 10) // (value[1] or 1)
