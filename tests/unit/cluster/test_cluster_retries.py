"""When a task that failed is tried again by itself."""

from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.retries import FIRST_SECS, GOOD_SECS, Retries


def test_pauses_grow_up_to_the_longest():
    """Each pause is twice the one before, up to the longest."""
    retries, now, pauses = Retries(timeout_secs=-1, longest_secs=30), 0.0, []
    for _ in range(6):
        pauses.append(retries.next(now))
        now += pauses[-1]

    assert [5, 10, 20, 30, 30, 30] == pauses
    assert 6 == retries.attempts


def test_ends_after_the_timeout():
    """The time counts from the first failure; 0 means never."""
    retries = Retries(timeout_secs=60, longest_secs=30)

    assert FIRST_SECS == retries.next(100.0)
    assert 10 == retries.next(159.0)
    assert None is retries.next(160.0)
    assert None is Retries(timeout_secs=0, longest_secs=30).next(0.0)


def test_a_task_that_recovered_begins_anew():
    """A failure long after the last one is a first one."""
    retries = Retries(timeout_secs=60, longest_secs=30)
    for now in (0.0, 10.0, 20.0):
        retries.next(now)

    assert FIRST_SECS == retries.next(20.0 + 30.0 + GOOD_SECS + 1.0)
    assert 1 == retries.attempts


@given(st.floats(-1, 1e6), st.floats(0.001, 1e5), st.lists(st.floats(0, 1e4), max_size=50))
def test_bounded(timeout_secs, longest_secs, gaps):
    """A pause is never longer than the longest."""
    retries, now = Retries(timeout_secs=timeout_secs, longest_secs=longest_secs), 0.0
    for gap in gaps:
        now += gap
        pause = retries.next(now)
        assert pause is None or 0 < pause <= longest_secs
