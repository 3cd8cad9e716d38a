import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage import Coverage

MS = st.integers(0, 4_000_000_000_000)


def test_first_connection_begins_the_coverage():
    """Without an offset nothing before the connect is claimed."""
    first = Coverage().after(posts=2, heard_ms=5_000, connected_ms=1_000, settle_ms=15_000)

    assert Coverage(covered_to_ms=1_000, posts=2) == first


def test_stays_behind_what_was_heard():
    """X delivers late and unordered, so the offset stays `settle` behind the last line or keep-alive."""
    coverage = Coverage(covered_to_ms=10_000, posts=7)

    assert 85_000 == coverage.after(posts=1, heard_ms=100_000, connected_ms=20_000, settle_ms=15_000).covered_to_ms


@pytest.mark.parametrize(("heard", "covered"), [(34_999, 10_000), (35_000, 20_000), (36_000, 21_000)])
def test_young_connection_claims_nothing(heard, covered):
    """Until a connection has lasted `settle` the offset stays where the last one left it."""
    coverage = Coverage(covered_to_ms=10_000)

    assert covered == coverage.after(posts=0, heard_ms=heard, connected_ms=20_000, settle_ms=15_000).covered_to_ms


STEP = st.tuples(st.integers(0, 100), MS, MS, st.integers(0, 100_000), st.integers(0, 3))


@given(st.lists(STEP, max_size=30))
def test_never_decreases(steps):
    """Whatever the clocks do, neither the time nor the counts go back, and nothing unheard is claimed."""
    coverage = Coverage()
    for posts, heard, connected, settle, letters in steps:
        later = coverage.after(
            posts=posts, heard_ms=heard, connected_ms=connected, settle_ms=settle, dead_letters=letters
        )
        assert later.posts == coverage.posts + posts
        assert later.dead_letters == coverage.dead_letters + letters
        if coverage.covered_to_ms is None:
            assert later.covered_to_ms == max(connected, heard - settle)
        else:
            assert coverage.covered_to_ms <= later.covered_to_ms <= max(coverage.covered_to_ms, heard - settle)
        coverage = later


@given(st.none() | MS, st.integers(0, 10**15), st.integers(0, 10**9))
def test_encode_and_decode_are_one(covered, posts, letters):
    """What is read back is what was written."""
    coverage = Coverage(covered_to_ms=covered, posts=posts, dead_letters=letters)

    assert coverage == Coverage.decode(coverage.encode())


@given(st.none() | MS, st.none() | MS, st.integers(0, 9), st.integers(0, 9), st.integers(0, 2), st.integers(0, 2))
def test_different_coverage_is_different_bytes(one, other, posts, others, letters, more):
    """A doubtful commit is recognised by its bytes."""
    first = Coverage(covered_to_ms=one, posts=posts, dead_letters=letters)
    second = Coverage(covered_to_ms=other, posts=others, dead_letters=more)

    assert (first == second) == (first.encode() == second.encode())


def test_what_the_offset_looks_like():
    """People and Connect's tools read it: ISO time to the millisecond, and counts."""
    assert (
        b'{"covered_to":"2026-11-01T12:34:56.789Z","posts":3}'
        == Coverage(covered_to_ms=1_793_536_496_789, posts=3).encode()
    )
    assert b'{"covered_to":null,"posts":0,"dead_letters":1}' == Coverage(dead_letters=1).encode()


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
