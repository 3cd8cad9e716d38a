"""Whoever has work for a task wakes it, from any thread."""

import asyncio
import threading
import time

from connector.task.wake import Wake


async def test_a_thread_wakes_the_task():
    """The reader thread sets it through the event loop."""
    wake = Wake()
    threading.Timer(0.02, wake.set_from_thread).start()
    began = time.monotonic()
    await wake.wait(60)

    assert time.monotonic() - began < 30


async def test_a_wait_ends_by_itself():
    """After the time it is set, as if somebody had set it."""
    wake = Wake()
    await wake.wait(0.01)
    await asyncio.wait_for(wake.wait(60), 30)


async def test_a_cancelled_wait_leaves_no_timer():
    """A later wait is not ended by the timer of one that was cancelled."""
    wake = Wake()
    waiting = asyncio.create_task(wake.wait(0.05))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    later = asyncio.create_task(wake.wait(60))
    await asyncio.sleep(0.1)

    assert waiting.cancelled()
    assert not later.done()
    later.cancel()
