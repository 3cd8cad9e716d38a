"""
Awaits work that must complete even if the awaiting task is cancelled.

A second cancellation would end a `finally` at its `await`: what it closes would stay open, and the lines after the
`await` would not run.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """
    Await *work*, which takes bounded time, to its end; raise a cancellation that came meanwhile afterwards.

    An exception of *work* is raised, unless there was a cancellation.
    """
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        if not running.cancelled():
            running.exception()  # else asyncio would warn that nobody looked at it
        raise cancelled
    return running.result()
