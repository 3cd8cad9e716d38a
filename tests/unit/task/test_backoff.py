from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector import errors
from connector.errors import (
    RESET_SECS_MAX,
    BudgetReached,
    ConnectionLost,
    ConnectionTaken,
    Disconnected,
    OutOfCredit,
    RateLimited,
    RetriableError,
    ServiceUnavailable,
)
from connector.task.backoff import (
    CONNECT_WINDOW_SECS,
    CONNECTS_PER_WINDOW,
    RESET_MARGIN_SECS,
    SCHEDULES,
    Backoff,
    ConnectFloor,
    schedule_of,
)

RETRIABLE = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RetriableError) and kind is not RetriableError
]


class NoJitter(Random):
    def random(self):
        return 0.0


def waits_of(error, count):
    backoff = Backoff(NoJitter())
    return [backoff.wait(error, now=0.0)[1] for _ in range(count)]


TABLE = [
    # at once, then linear from 250 ms to 16 s
    (ConnectionLost("reset"), 70, [0, 0.25, 0.5, 0.75], 16),
    (Disconnected("operational"), 70, [0, 0.25, 0.5, 0.75], 16),
    # doubling from 5 s to 320 s
    (ServiceUnavailable("503"), 12, [5, 10, 20, 40, 80, 160, 320], 320),
    # doubling from 60 s
    (RateLimited("429"), 9, [60, 120, 240, 480, 960], 960),
    # growing from 20 s
    (ConnectionTaken("429"), 20, [20, 30, 40, 50], 120),
    # hourly
    (OutOfCredit("402"), 3, [3600, 3600], 3600),
]


@pytest.mark.parametrize(("error", "count", "first", "last"), TABLE)
def test_schedules(error, count, first, last):
    """Each class waits as docs.x.com asks: so long at first, growing so, and never longer than the cap."""
    waits = waits_of(error, count)

    assert first == waits[: len(first)]
    assert last == waits[-1]
    assert sorted(waits) == waits


@pytest.mark.parametrize("kind", [*RETRIABLE, OutOfCredit])
def test_every_retriable_error_has_a_schedule(kind):
    """There is no error to wait for without a row in the table."""
    assert schedule_of(kind("so")) in SCHEDULES.values()


@given(st.sampled_from([*RETRIABLE, OutOfCredit]), st.integers(0, 2**32), st.integers(1, 10_000))
def test_jitter_only_lengthens_and_by_a_tenth(kind, seed, attempt):
    """A wait is never shorter than its schedule, and at most a tenth longer, however often it failed."""
    schedule = schedule_of(kind("so"))
    plain, wait = schedule.wait(attempt, NoJitter()), schedule.wait(attempt, Random(seed))

    assert plain <= wait <= plain * 1.1
    assert plain <= schedule.cap


@pytest.mark.parametrize(("reset_at", "wait"), [(1100.0, 100.0), (1000.0, 0.0), (400.0, 0.0)])
def test_rate_limit_ends_at_its_reset(reset_at, wait):
    """If X says when the window ends that is the wait, with a second for X's whole seconds; a past one is over."""
    error = RateLimited("429", reset_at=reset_at)

    assert (1, wait + RESET_MARGIN_SECS) == Backoff().wait(error, now=1000.0)


@pytest.mark.parametrize("secs", [-30.0, 0.0, 2.0])
def test_rate_limits_in_a_row_wait_longer_whatever_the_header_says(secs):
    """The first time the header counts; from the second on the waits grow as those without one."""
    backoff = Backoff(NoJitter())
    waits = [backoff.wait(RateLimited("429", reset_at=1.0, reset_secs=secs), now=0.0)[1] for _ in range(8)]

    assert [max(secs, 0) + RESET_MARGIN_SECS, 60, 120, 240, 480, 960, 960, 960] == waits


def test_rate_limit_far_ahead_is_tried_in_minutes():
    """A window of X has 15 minutes: what lies years ahead is a mistake."""
    for error in (RateLimited("429", reset_at=1e15), RateLimited("429", reset_at=5.0, reset_secs=1e15)):
        assert (1, RESET_SECS_MAX + RESET_MARGIN_SECS) == Backoff().wait(error, now=1000.0)


@pytest.mark.parametrize(("resume_at", "wait"), [(87_400.0, 86_400.0), (1000.0, 0.0), (400.0, 0.0)])
def test_budget_goes_on_with_its_period(resume_at, wait):
    """Not hourly, but when the day or the month is over, by X's clock."""
    error = BudgetReached("used up", resume_at=resume_at)

    assert (1, wait + RESET_MARGIN_SECS) == Backoff().wait(error, now=1000.0)


def test_classes_are_counted_apart_and_relatives_together():
    """A refusal between does not make a lost connection wait longer; a `Disconnected` is a lost connection."""
    backoff = Backoff(NoJitter())
    story = [ConnectionLost("a"), ServiceUnavailable("b"), Disconnected("c"), ServiceUnavailable("d")]

    assert [(1, 0.0), (1, 5.0), (2, 0.25), (2, 10.0)] == [backoff.wait(error, now=0.0) for error in story]


def test_reset_forgets_all():
    """After delivered records every class begins anew."""
    backoff = Backoff(NoJitter())
    for error in (ConnectionLost("a"), ServiceUnavailable("b")):
        backoff.wait(error, now=0.0)
    backoff.reset()

    assert (1, 0.0) == backoff.wait(ConnectionLost("a"), now=0.0)
    assert (1, 5.0) == backoff.wait(ServiceUnavailable("b"), now=0.0)


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0, 1e9))
def test_floor_is_one_connect_a_second_over_any_ten(pauses, began):
    """However fast connections end, no window of ten seconds holds more than ten connects."""
    floor, now, connects = ConnectFloor(), began, []
    for pause in pauses:
        now += pause
        wait = floor.wait(now)
        assert 0 <= wait <= CONNECT_WINDOW_SECS
        now += wait
        floor.connected(now)
        connects.append(now)

    for first, eleventh in zip(connects, connects[CONNECTS_PER_WINDOW:], strict=False):
        assert eleventh - first >= CONNECT_WINDOW_SECS - 1e-6


def test_floor_lets_a_burst_through():
    """The first reconnects after an established connection wait for nothing."""
    floor = ConnectFloor()
    for _ in range(CONNECTS_PER_WINDOW):
        assert 0.0 == floor.wait(5.0)
        floor.connected(5.0)

    assert 10.0 == floor.wait(5.0)
    assert 4.0 == floor.wait(11.0)


def test_waits_grow_strictly_until_the_cap():
    """No step of a growing schedule stands still before its cap."""
    for error, count, _, last in TABLE[:-1]:
        waits = [wait for wait in waits_of(error, count) if wait < last]
        assert all(earlier < later for earlier, later in pairwise(waits))
