"""How long does a task wait between two turns, and between two batches?"""

import time
from collections.abc import Callable

from connector.task.wake import Wake

IDLE_TURN_SECS = 1.0
"""The longest time between two turns, while nothing happens; whatever has to be done at once wakes the task."""


class Pace:
    """
    The pauses of one task.

    While nothing happens, the time between turns grows from *poll_interval_secs* to `IDLE_TURN_SECS`.  Batches that are
    not full begin at least *batch_interval_secs* after each other: a commit costs more than the posts in it.
    """

    def __init__(self, poll_interval_secs: float, batch_interval_secs: float, wake: Wake) -> None:
        self._poll_secs, self._batch_secs, self._wake = poll_interval_secs, batch_interval_secs, wake
        self._rest_secs = poll_interval_secs

    @property
    def batch_interval_secs(self) -> float:
        """The least time between the begins of two batches that are not full."""
        return self._batch_secs

    def note_work(self) -> None:
        """Take note that the last turn had something to do."""
        self._rest_secs = self._poll_secs

    async def rest(self, most_secs: float) -> None:
        """Wait for the next turn, at most *most_secs*."""
        await self._wake.wait(min(self._rest_secs, most_secs))
        self._rest_secs = max(min(2 * self._rest_secs, IDLE_TURN_SECS), self._poll_secs)

    async def between_batches(self, last_at: float, *, unless: Callable[[], bool]) -> None:
        """Wait until the next batch may begin; the last began at *last_at* (monotonic seconds).  End when *unless*."""
        due = last_at + self._batch_secs
        while (wait := due - time.monotonic()) > 0 and not unless():
            self._wake.clear()
            await self._wake.wait(wait)
