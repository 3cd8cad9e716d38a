"""
What has to come to its end, whoever loses patience.

A `finally` that awaits is cut short by a second cancellation: what it lets go of stays open, and what stands behind it
is not done.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """
    Await *work*, which takes bounded time, to its end; a cancellation meanwhile goes on from here afterwards.

    What *work* raises leaves, unless there was a cancellation.
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
            running.exception()  # somebody has looked at it
        raise cancelled
    return running.result()
