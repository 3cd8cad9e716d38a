"""Rate windows: how many requests of each kind a client may make in 15 minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.simulator.clock import Clock
    from connector.simulator.settings import SimulatorSettings

WINDOW_S = 15 * 60

LIMITS: Mapping[str, int] = {
    "filtered_stream": 50,
    "sample_stream": 50,
    "sample10_stream": 100,
    "firehose_stream": 50,
    "firehose_stream_lang_en": 50,
    "firehose_stream_lang_ja": 50,
    "firehose_stream_lang_ko": 50,
    "firehose_stream_lang_pt": 50,
    "tweets_compliance_stream": 100,
    "users_compliance_stream": 100,
    "lookup": 3500,
    "rules_get": 450,
    "rules_post": 100,
    "rules_counts": 450,
    "search_recent": 450,
    "search_all": 300,
    "counts_recent": 300,
    "counts_all": 300,
    "usage": 50,
    "connections": 450,
    "connections_delete": 450,
    "connections_delete_all": 25,
}
"""Requests per app and window, by endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Whether a request is allowed, and the values of the three headers about its window."""

    allowed: bool
    limit: int
    remaining: int
    reset: int


@dataclass(slots=True, kw_only=True)
class _Window:
    ends_at: float
    used: int = 0


class RateWindows:
    """Fixed windows; a window begins with its first request."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._clock = clock
        self._enforced = settings.enforce_rate_limits
        self._limits = {
            **LIMITS,
            "search_recent": settings.profile.searches_per_window,
            **settings.rate_limits,
        }
        self._windows: dict[str, _Window] = {}

    def take(self, endpoint: str) -> Allowance:
        """Count a request, if the window has room for it."""
        now = self._clock.now()
        window = self._windows.get(endpoint)
        if window is None or now >= window.ends_at:
            window = self._windows[endpoint] = _Window(ends_at=now + WINDOW_S)
        limit = self._limits[endpoint]
        allowed = window.used < limit or not self._enforced
        if allowed:
            window.used += 1
        return Allowance(
            allowed=allowed,
            limit=limit,
            remaining=max(limit - window.used, 0),
            reset=int(window.ends_at),
        )

    def give_back(self, endpoint: str) -> None:
        """Take back the count of a request that was refused for another reason."""
        window = self._windows[endpoint]
        window.used = max(window.used - 1, 0)

    def clear(self) -> None:
        self._windows.clear()
