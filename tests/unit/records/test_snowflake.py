from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.records.snowflake import EPOCH_MS, created_ms, first_id, from_iso, to_iso

MS = st.integers(0, 250_000_000_000_000)
IN_RANGE = st.integers(EPOCH_MS, EPOCH_MS + 2**41 - 1)


@pytest.mark.parametrize(
    ("post_id", "made"),
    [
        (0, "2010-11-04T01:42:54.657Z"),
        (2**22 - 1, "2010-11-04T01:42:54.657Z"),
        (2**22, "2010-11-04T01:42:54.658Z"),
        (343 << 22, "2010-11-04T01:42:55.000Z"),
        (2_116_871_613_084_336_128, "2026-11-01T12:34:56.789Z"),
    ],
)
def test_creation_time_of_an_id(post_id, made):
    """An id tells when the post was made, to the millisecond."""
    assert made == to_iso(created_ms(post_id))


@given(IN_RANGE, st.integers(0, 2**22 - 1))
def test_all_ids_of_a_millisecond(ms, sequence):
    """The ids of a millisecond begin with `first_id`, and all say that millisecond."""
    assert ms == created_ms(first_id(ms) + sequence)
    assert first_id(ms) + sequence < first_id(ms + 1)


@given(st.integers(-(10**13), EPOCH_MS))
def test_no_id_before_the_first(ms):
    """A time before the first id is the beginning of all ids."""
    assert 0 == first_id(ms)


@given(MS)
def test_iso_and_back(ms):
    """A time that was written is read back to the millisecond."""
    assert ms == from_iso(to_iso(ms))


@given(IN_RANGE, st.integers(-14 * 60, 14 * 60))
def test_other_time_zones(ms, minutes):
    """The same moment in any time zone is the same time."""
    moment = datetime.fromtimestamp(ms // 1000, UTC).astimezone(timezone(timedelta(minutes=minutes)))

    assert ms // 1000 * 1000 == from_iso(moment.isoformat())


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-01T12:34:56.789Z", 1_793_536_496_789),
        ("2026-11-01T12:34:56Z", 1_793_536_496_000),  # X leaves a fraction of zero out
        ("2026-11-01T12:34:56.7899Z", 1_793_536_496_789),
    ],
)
def test_reads(text, ms):
    """With and without a fraction; what is finer than a millisecond is cut."""
    assert ms == from_iso(text)


@pytest.mark.parametrize("text", ["2026-11-01T12:34:56", "2026-11-01", "now", ""])
def test_refuses(text):
    """A time without a zone, or none at all, is an error."""
    with pytest.raises(ValueError, match=r"time zone|Invalid isoformat"):
        from_iso(text)
