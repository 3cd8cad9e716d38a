import contextlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.options import Unfit
from connector.transforms.date_format import DateFormat

MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # UTC by `timezones`


@given(MOMENTS)
def test_read_again(moment):
    """What a format with all parts writes, it reads as the same time."""
    ms = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    for pattern in (
        "yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "EEEE, d MMMM yyyy KK:mm:ss.SSS a Z",
        "yyyyMMddHHmmssSSS",
        "yyyy D kk",
    ):
        form = DateFormat(pattern)
        text = form.write(ms)

        assert text == form.write(form.read(text))
    assert ms == DateFormat("yyyy-MM-dd'T'HH:mm:ss.SSSX").read(DateFormat("yyyy-MM-dd'T'HH:mm:ss.SSSX").write(ms))


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """Nothing but a ValueError, whatever a post holds."""
    for pattern in ("yyyy-MM-dd'T'HH:mm:ss.SSSX", "EEE MMM dd HH:mm:ss Z yyyy", "h a z", "yyMMdd"):
        with contextlib.suppress(ValueError):
            DateFormat(pattern).read(text)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("YYYY-'W'ww", "has the letter Y"),
        ("G", "has the letter G"),
        ("yyyy-MM-ddThh", "has T, which is no letter of SimpleDateFormat"),
        ("'T", "a quote is not closed"),
        ("XXXX", "use at most 3"),
        ("y" * 31, "use at most 30"),
        ("-" * 201, "use at most 200"),
    ],
)
def test_refused(pattern, words):
    """With a sentence, when the configuration is checked."""
    with pytest.raises(Unfit) as caught:
        DateFormat(pattern)

    assert words in caught.value.rests[0]


def test_a_year_of_two_digits_is_near():
    """From 80 years ago to 19 ahead."""
    year = time.gmtime().tm_year
    form, whole = DateFormat("yy"), DateFormat("yyyy")
    for other in range(year - 79, year + 20):
        assert f"{other}" == whole.write(form.read(f"{other % 100:02}"))


def test_a_day_of_the_week_says_no_date():
    """Java would guess a week."""
    with pytest.raises(ValueError, match="needs d or D"):
        DateFormat("EEE").read("Sun")
