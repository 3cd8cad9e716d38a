"""
Brings the rules at X to what the connectors of a stream want: before each connect, and while the stream is read.

    asked ─▶ connected? ─▶ want ─▶ prepare (executor) ─▶ applied: from now on X sends the posts of these rules
               │ no: the reader applies them            └─▶ X refuses rules of some: they fail, the others go on
               └──── before it connects
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Protocol

from connector.errors import ConnectorError, FatalError, InvalidRequest, RulesRefused
from connector.records.record import TaskId
from connector.task.backoff import Backoff
from connector.task.ports import Source
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import RulesDelayed

LOOK_SECS = 1.0
"""While rules wait to be applied, it is looked in this time whether there is a connection."""

REFUSED_SECS = 60.0
"""The wait before X is asked again to change rules, after an error that does not pass by itself (seconds)."""


class Wishes(Protocol):
    """What the connectors of a stream want, and who hears what became of it."""

    def wanted(self) -> tuple[Mapping[str, Mapping[str, str]], Collection[str]]:
        """Return the rules that X shall hold (by connector: value, label), and the connectors that want their posts."""

    def changing(self) -> None:
        """The rules at X are about to change; what X has done is known when they are `applied`."""

    def applied(self, names: Collection[str], moved: Collection[str]) -> None:
        """X holds the rules of the connectors *names* alone; meanwhile it did not hold a rule of those *moved*."""

    def refused(self, error: RulesRefused) -> None:
        """
        Take the connectors that *error* names out of what is wanted.

        Raises:
            RulesRefused: no other connector is left.
        """


class RuleKeeper:
    """
    Keeps the rules of *source* as *wishes* has them; *connected* says whether there is a connection.

    *stale* says that they have to be applied before the next connect.
    """

    def __init__(
        self,
        source: Source,
        executor: Executor,
        wishes: Wishes | None = None,
        *,
        task: TaskId | None = None,
        connected: Callable[[], bool] = lambda: False,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.stale = True
        self.source, self._executor, self._wishes, self._task = source, executor, wishes, task
        self._connected, self._emit = connected, emit
        self._loop = asyncio.get_running_loop()
        self._asked, self._stop_asked, self._at_once = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lock = asyncio.Lock()
        self._backoff = Backoff()

    def ask(self) -> None:
        """Apply the rules soon: the wishes have changed."""
        self.stale = True
        self._asked.set()

    def look(self) -> None:
        """Apply the rules at once, also if X has refused them a moment ago: somebody may have changed those at X."""
        self.ask()
        self._at_once.set()

    def stop(self) -> None:
        """End `run`."""
        self._stop_asked.set()
        self._at_once.set()
        self._asked.set()

    async def run(self) -> None:
        """
        Apply the rules whenever the wishes change while there is a connection, until `stop`.

        Raises:
            InvalidRequest: X refuses rules, and no connector is left.
        """
        while not self._stop_asked.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), LOOK_SECS if self.stale else None)
            self._asked.clear()
            if self.stale and self._connected() and not self._stop_asked.is_set():
                await self._try()

    async def _try(self) -> None:
        try:
            await self.apply()
        except InvalidRequest:
            raise
        except ConnectorError as error:
            wait = REFUSED_SECS
            if not isinstance(error, FatalError):
                _, wait = self._backoff.wait(error, now=time.time())
            if self._stop_asked.is_set() or self._task is None:
                return
            self._emit(RulesDelayed(of=self._task, error=error.name, reason=str(error), retry_in_secs=round(wait, 1)))
            self._at_once.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), wait)
            self._asked.set()
        else:
            self._backoff.reset()

    async def apply(self) -> None:
        """
        Let X hold what is wanted now.

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """
        async with self._lock:
            while True:
                self.stale = False
                names: Collection[str] = ()
                if self._wishes is not None:
                    self._wishes.changing()
                    wanted, names = self._wishes.wanted()
                    self.source.want(wanted)
                try:
                    moved = await self._loop.run_in_executor(self._executor, self.source.prepare)
                except RulesRefused as error:
                    self.stale = True
                    if self._wishes is None:
                        raise
                    self._wishes.refused(error)
                except BaseException:
                    self.stale = True
                    raise
                else:
                    break
            if self._wishes is not None:
                self._wishes.applied(names, moved)
