"""Who is turned away at the door?  Answers armed by faults, before anything else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.simulator.http.problems import Problem


@dataclass(slots=True, kw_only=True)
class Armed:
    """
    An answer that waits for requests: for the next `count`, or for some seconds.

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
    """All that is armed, and the endpoints that do not exist for this account."""

    absent: set[str] = field(default_factory=set)
    armed: list[Armed] = field(default_factory=list)
    unreachable_until: float = 0

    def arm(self, armed: Armed) -> None:
        self.armed.append(armed)

    def take(self, group: str) -> Armed | None:
        """Return the answer armed for a request, and count it."""
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
