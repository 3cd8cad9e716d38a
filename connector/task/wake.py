"""Wakes the loop of a task's turns, from the event loop and from reader threads."""

import asyncio


class Wake:
    """
    An event that a task waits for between its turns.

    Whoever has work for the task sets it.  The task clears it before it looks for work, so work that comes while it
    looks begins another turn.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        """Let the next turn begin.  Event loop."""
        self._event.set()

    def set_from_thread(self) -> None:
        """Let the next turn begin.  Any thread."""
        self._loop.call_soon_threadsafe(self._event.set)

    def clear(self) -> None:
        """Forget that it was set."""
        self._event.clear()

    async def wait(self, timeout_secs: float) -> None:
        """Return when it is set, at the latest after *timeout_secs*; it is set then."""
        # a timer is cheaper than `wait_for`, which in Python 3.11 may swallow a cancellation
        timer = self._loop.call_later(timeout_secs, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
