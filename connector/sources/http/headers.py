"""
Reads X's clock and the end of a rate limit from the headers of an answer.

Headers come from outside: they may hold numbers of any size and dates of any year, or be repeated or missing.  The
functions here do not raise; a header that cannot be used counts as missing.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from connector.errors import RESET_SECS_MAX

_EARLIEST = datetime(2010, 11, 4, tzinfo=UTC).timestamp()
_LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()

MAX_DIGITS = 15
"""The most digits of a number in a header; UNIX seconds have 10, milliseconds 13."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """
    What is left of an endpoint's rate limit, as X states it.

    X allows *remaining* requests until *reset_at* (UNIX seconds of X's clock).  *ends* is the same moment in seconds of
    this host's `time.monotonic`, but at most `RESET_SECS_MAX` after the answer.
    """

    remaining: int
    reset_at: float
    ends: float

    @property
    def is_used_up(self) -> bool:
        """Whether X would refuse a request now."""
        return self.remaining <= 0 and self.secs_left > 0

    @property
    def secs_left(self) -> float:
        """Seconds until *ends*; negative after it."""
        return self.ends - time.monotonic()


def date_of(headers: Mapping[str, str]) -> float | None:
    """
    Return X's clock (whole UNIX seconds) from the header `Date`; None if the header is missing or cannot be used.

    A missing zone, or the zone `-0000`, means UTC.  A time before 2010-11-04, when X's ids began to hold a time, or
    from 2100 on counts as missing, because the covered time of a connector must not begin there.
    """
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        secs = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):  # which one depends on the string
        return None
    return secs if _EARLIEST <= secs < _LATEST else None


def reset_of(headers: Mapping[str, str]) -> float | None:
    """Return when a rate limit's window ends (UNIX seconds of X's clock); None if X does not tell."""
    value = _number(headers.get("x-rate-limit-reset", ""))
    return None if value is None else float(value)


def reset_secs_of(headers: Mapping[str, str]) -> float | None:
    """
    Return the seconds from the answer's `Date` to the end of a rate limit's window; None if a header is missing.

    The number is negative for a window that is over; it has no upper limit.
    """
    reset_at, now = reset_of(headers), date_of(headers)
    # `Date` is rounded down to the second, so the wait may be up to a second too long, never too short
    return None if reset_at is None or now is None else reset_at - now


def quota_of(headers: Mapping[str, str]) -> Quota | None:
    """Return the rate limit in the *headers* of an answer that has just arrived; None if a header is missing."""
    remaining, reset_at = _number(headers.get("x-rate-limit-remaining", "")), reset_of(headers)
    if remaining is None or reset_at is None:
        return None
    secs = reset_secs_of(headers)
    if secs is None:
        secs = reset_at - time.time()
    return Quota(remaining=remaining, reset_at=reset_at, ends=time.monotonic() + min(secs, RESET_SECS_MAX))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
