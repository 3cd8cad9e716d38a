"""When the next post is due, at a rate that can change while posts flow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connector.simulator.settings import Burst

SHORTEST_S = 0.002
LONGEST_S = 0.25
MOST_AT_ONCE = 200
"""How many posts a tick emits at most, when the event loop was held up."""


class Pacer:
    """Calls *emit* at a rate: never early, and at most one tick late."""

    def __init__(self, emit: Callable[[], None], *, rate: float, bursts: Sequence[Burst]) -> None:
        self._emit = emit
        self._rate = rate
        self._bursts = bursts
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._last = 0.0
        self._started = 0.0
        self._running = False

    @property
    def rate(self) -> float:
        """Posts per second outside bursts."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        self._due = 0.0
        if self._running:
            self._last = self._loop.time()
            self._arm()

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._last = self._loop.time()
        self._running = True
        self._arm()

    def stop(self) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _current(self) -> float:
        age = self._loop.time() - self._started
        burst = (b.rate for b in self._bursts if b.at <= age < b.at + b.duration)
        return next(burst, self._rate)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        rate = self._current()
        idle = rate <= 0
        if idle and not self._bursts:
            self._timer = None
            return
        delay = LONGEST_S if idle else min(max(1 / rate, SHORTEST_S), LONGEST_S)
        self._timer = self._loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._due += (now - self._last) * self._current()
        self._last = now
        for _ in range(min(int(self._due), MOST_AT_ONCE)):
            self._due -= 1
            self._emit()
        if self._running:
            self._arm()
