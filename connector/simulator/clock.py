"""The time at X: the time of this machine, or a time that a test sets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, for rate windows, billing days, ids and the freshness of search."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.time()


@dataclass(slots=True, kw_only=True)
class ManualClock:
    """A clock that stands still until a test moves the time, so that a test need not wait."""

    time: float

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


def rfc3339(seconds: float) -> str:
    """Render a time as X does in rule answers: milliseconds and `Z`."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def rfc3339_second(seconds: float) -> str:
    """Render a time as X does in posts: the milliseconds are always zero."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def parse_time(text: str) -> float:
    """
    Read `YYYY-MM-DDTHH:mm:ssZ`, with or without a fraction.

    Raises:
        ValueError: *text* is not a time in this form.
    """
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} does not end in Z")
    return datetime.fromisoformat(text).timestamp()
