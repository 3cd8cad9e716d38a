"""Answers of faults, which requests get before the API looks at them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.simulator.http.problems import Problem


@dataclass(slots=True, kw_only=True)
class Armed:
    """
    An answer for the next `count` requests, or for all requests until `until`.

    `on` is a group of endpoints (`streams`, `rules`, `search`, `counts`, `usage`,
    `connections`, `token`) or `all`.
    """

    name: str
    problem: Problem
    on: str = "streams"
    count: int | None = 1
    until: float | None = None
    rate_headers: bool = True

    @property
    def spent(self) -> bool:
        over = self.until is not None and time.monotonic() >= self.until
        return over or (self.count is not None and self.count <= 0)


@dataclass(slots=True, kw_only=True)
class Gate:
    """The armed answers, and the endpoints that this account lacks."""

    absent: set[str] = field(default_factory=set)
    armed: list[Armed] = field(default_factory=list)
    unreachable_until: float = 0

    def arm(self, armed: Armed) -> None:
        self.armed.append(armed)

    def take(self, group: str) -> Armed | None:
        """Return the armed answer for a request of *group*, if there is one, and count the request."""
        self.armed = [armed for armed in self.armed if not armed.spent]
        for armed in self.armed:
            if armed.on in ("all", group):
                if armed.count is not None:
                    armed.count -= 1
                return armed
        return None

    @property
    def unreachable(self) -> bool:
        return time.monotonic() < self.unreachable_until

    def clear(self) -> None:
        self.armed.clear()
        self.unreachable_until = 0
