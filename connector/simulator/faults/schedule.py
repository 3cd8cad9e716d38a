"""When each fault of a schedule runs: at a time after the start, or after a number of posts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Arguments = Mapping[str, Any]
"""A fault and its arguments: `{"fault": name, ...}`."""

TIMES = frozenset({"at", "after_posts"})
"""The arguments that say when a step runs."""


class UnknownFault(Exception):
    """There is no fault of that name, or the fault does not take that argument."""


def parse_schedule(raw: bytes) -> tuple[Arguments, ...]:
    """
    Read a schedule: a JSON list of objects with `fault`, and `at` or `after_posts`.

    Raises:
        UnknownFault: *raw* is not a list of that form.
    """
    try:
        steps = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnknownFault(f"the schedule is not JSON: {error}") from None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise UnknownFault("the schedule is not a list of objects")
    return tuple(steps)


class Schedule:
    """Calls *run* with the arguments of each step when the step is due."""

    def __init__(self, steps: tuple[Arguments, ...], run: Callable[[Arguments], None]) -> None:
        self._steps = steps
        self._run = run
        self._timers: set[asyncio.TimerHandle] = set()
        self._after: list[tuple[int, Arguments]] = []

    def start(self) -> None:
        """Begin; the times of the steps count from now."""
        for step in self._steps:
            if "after_posts" in step:
                self._after.append((int(step["after_posts"]), step))
            else:
                self.later(float(step.get("at", 0)), functools.partial(self._run, step))
        self._after.sort(key=lambda entry: entry[0])

    def stop(self) -> None:
        """Cancel the steps that wait for a time."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def clear(self) -> None:
        """Cancel all steps that have not run."""
        self.stop()
        self._after.clear()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call *act* after some seconds, unless the schedule is stopped before."""
        self._timers.add(asyncio.get_running_loop().call_later(seconds, act))

    def delivered(self, count: int) -> None:
        """Run the steps that wait for no more than *count* posts."""
        while self._after and self._after[0][0] <= count:
            _, step = self._after.pop(0)
            # This runs inside the write of a post, and a fault may close the connection: the fault runs afterwards.
            asyncio.get_running_loop().call_soon(self._run, step)
