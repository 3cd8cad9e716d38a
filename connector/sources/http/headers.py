"""
What do the headers of an answer say about time?  X's clock, and the end of a rate limit.

Headers come from outside: numbers of any size, dates of any year, both twice or not at all.  Nothing here raises; what
cannot be used counts as not said.
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
"""Of a number in a header; UNIX seconds have 10, milliseconds 13."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """
    What X says is left of an endpoint's rate limit.

    *remaining* requests until *reset_at* (UNIX seconds of X's clock), which is *ends* on this host (`time.monotonic`),
    or earlier if that lies further ahead than a window is long.
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
        """Seconds until a request is worth trying."""
        return self.ends - time.monotonic()


def date_of(headers: Mapping[str, str]) -> float | None:
    """
    Return X's clock (UNIX seconds, whole) as the header `Date` tells it; None if it does not.

    A zone of `-0000` or none is UTC, as the zone of `Date` always is.  Years in which X had no posts, or none yet, are
    no dates: the covered time of a connector must not begin there.
    """
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        secs = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):  # by the string
        return None
    return secs if _EARLIEST <= secs < _LATEST else None


def reset_of(headers: Mapping[str, str]) -> float | None:
    """Return when a rate limit's window ends (UNIX seconds of X's clock); None if X does not say."""
    value = _number(headers.get("x-rate-limit-reset", ""))
    return None if value is None else float(value)


def reset_secs_of(headers: Mapping[str, str]) -> float | None:
    """
    Return in how many seconds a rate limit's window ends, by X's own clock; None if X does not say both.

    It is negative for a window that is over, and may be any number of years.
    """
    reset_at, now = reset_of(headers), date_of(headers)
    # rounded down to the second: the wait may be that much too long, never too short
    return None if reset_at is None or now is None else reset_at - now


def quota_of(headers: Mapping[str, str]) -> Quota | None:
    """Return what the *headers* of an answer that has just come say about the rate limit; None if they do not."""
    remaining, reset_at = _number(headers.get("x-rate-limit-remaining", "")), reset_of(headers)
    if remaining is None or reset_at is None:
        return None
    secs = reset_secs_of(headers)
    if secs is None:
        secs = reset_at - time.time()
    return Quota(remaining=remaining, reset_at=reset_at, ends=time.monotonic() + min(secs, RESET_SECS_MAX))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None
