import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.errors import RESET_SECS_MAX, RateLimited
from connector.sources.http.headers import date_of, quota_of, reset_of, reset_secs_of
from connector.sources.rest.api import classify
from connector.task.backoff import Backoff

DATE = "Sun, 01 Nov 2026 12:34:56 GMT"
SECS = 1793536496.0

day = st.sampled_from(["", "Sun,", "Sun", "Son,", "\xd6sterreich,"])
number = st.one_of(st.integers(-99, 99), st.integers(), st.just("")).map(str)
month = st.sampled_from(["Nov", "Feb", "M\xe4r", "13", ""])
clock = st.lists(number, max_size=5).map(":".join)
zone = st.one_of(
    st.sampled_from(["GMT", "-0000", "+0000", "", "PDT", "XYZ", "+9999", "-2400", "+99999999999999999999"]), number
)
dates = st.tuples(day, number, month, number, clock, zone).map(" ".join)
texts = st.text(st.characters(max_codepoint=255), max_size=60)


@given(st.one_of(dates, texts))
@example("Sun, 01 Nov 99999999999999999999 12:34:56 GMT")
@example("Sun, 01 Nov 2026 12:34:56 +99999999999999999999")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 -0000")
@example("Sun, 00 Nov 2026 12:34:56 GMT")
@example("")
@example(DATE + ", " + DATE)
def test_any_date_is_read_or_is_none(header):
    """Whatever X sends: a time in which X may have posts, or nothing; never an exception."""
    found = date_of({"date": header})

    assert found is None or 1_288_000_000 < found < 4_102_444_800


@pytest.mark.parametrize(
    ("header", "secs"),
    [
        (DATE, SECS),
        ("Sun, 01 Nov 2026 12:34:56 -0000", SECS),
        ("Sun, 01 Nov 2026 12:34:56", SECS),
        ("Sun, 01 Nov 2026 13:34:56 +0100", SECS),
        ("Sunday, 01-Nov-26 12:34:56 GMT", SECS),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("yesterday", None),
    ],
)
def test_a_date_is_of_no_local_zone(header, secs, monkeypatch):
    """Wherever this host stands: `-0000` is UTC."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert secs == date_of({"date": header})
    finally:
        monkeypatch.undo()
        time.tzset()


numbers = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    st.sampled_from(["", "9" * 5000, "1, 2", "\xb2", "\u0661", "1e9", "NaN", "inf", "-0", " 1", "0x10", "1_0"]),
    texts,
)


@given(numbers, numbers, st.one_of(st.just(DATE), dates))
def test_any_rate_limit_is_waited_for_in_minutes(remaining, reset, date):
    """No header makes the wait longer than a window, or shorter than nothing; none raises."""
    headers = {"x-rate-limit-remaining": remaining, "x-rate-limit-reset": reset, "date": date}
    quota = quota_of(headers)
    error = classify(429, headers, b"")

    assert quota is None or quota.secs_left <= RESET_SECS_MAX
    assert isinstance(error, RateLimited)
    assert 0 <= Backoff().wait(error, now=SECS)[1] <= RESET_SECS_MAX * 1.1


def test_the_answers_own_date_is_the_clock():
    """Whatever this host, or an earlier answer, takes for the time."""
    headers = {"date": DATE, "x-rate-limit-reset": str(int(SECS) + 30)}

    assert 30 == reset_secs_of(headers)
    assert (1, 31.0) == Backoff().wait(classify(429, headers, b""), now=0.0)
    assert (1, 31.0) == Backoff().wait(classify(429, headers, b""), now=2 * SECS)
    assert None is reset_secs_of({"x-rate-limit-reset": "1"})
    assert SECS + 30 == reset_of(headers)


def test_a_reset_days_ahead_is_bounded_and_said():
    """No limit of X lasts so long; the message names both times."""
    error = classify(429, {"date": DATE, "x-rate-limit-reset": str(int(SECS) + 3 * 86_400)}, b"")

    assert (1, RESET_SECS_MAX + 1) == Backoff().wait(error, now=SECS)
    assert "ends in 259,200 s" in str(error)
    assert "the wait is 960 s" in str(error)
    assert "wait is" not in str(classify(429, {"date": DATE, "x-rate-limit-reset": str(int(SECS) + 900)}, b""))


def test_a_quota_of_years_is_asked_again_after_a_window():
    """A repair does not stand still for good."""
    quota = quota_of({"date": DATE, "x-rate-limit-remaining": "0", "x-rate-limit-reset": "99999999999"})

    assert quota.is_used_up
    assert 0 < quota.secs_left <= RESET_SECS_MAX
