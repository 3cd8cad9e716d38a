"""Ends a task some time after its first connection (`time.limit.secs`)."""

import asyncio
from collections.abc import Callable


class TimeLimit:
    """Calls *reached* once, *secs* after `begin`; without *secs* it never does."""

    def __init__(self, secs: float | None, reached: Callable[[], None]) -> None:
        self._secs, self._reached = secs, reached
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Let the time run, unless it runs already."""
        if self._timer is None and self._secs:
            self._timer = asyncio.get_running_loop().call_later(self._secs, self._reached)

    def cancel(self) -> None:
        """Let it never be reached."""
        if self._timer is not None:
            self._timer.cancel()
