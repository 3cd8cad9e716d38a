"""
Keeps one source connected.

    prove ownership ─▶ end ghosts ─▶ prepare ─▶ read (reader thread) ──▶ how it ended ──▶ wait ─┐
          ▲              (once)                    puts into the buffer                         │
          └─────────────────────────────────────────────────────────────────────────────────────┘

The source makes one connection and raises how it ended.  The reader decides what to do then, by the tables of `errors`
and `backoff`.  A ghost is a connection that a former owner of the task has left open at X.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import replace
from typing import ParamSpec, Protocol, TypeVar

from connector.coverage.allowance import Allowance, SharedAllowance
from connector.errors import (
    BudgetReached,
    ConnectionLost,
    ConnectionTaken,
    ConnectorError,
    InvalidRequest,
    NotAuthorized,
    OutOfCredit,
    RetriableError,
    RulesMissing,
    TokenRejected,
)
from connector.records import clock
from connector.records.record import BUDGET, Arrival, Connected
from connector.sources.handles import Handle
from connector.task.backoff import Backoff, ConnectFloor
from connector.task.buffer import Buffer
from connector.task.ownership import Ownership
from connector.task.rule_keeper import RuleKeeper
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import (
    ConnectionNotFound,
    GhostNotReleased,
    GhostReleased,
    RetryScheduled,
    StreamConnected,
    StreamDisconnected,
    TaskPaused,
)

RELEASE_SECS = 3.0
"""How long X may take to list connections and end ghosts; at a takeover the connect waits for that."""

MAX_HANDLES = 20
"""Most handles kept of connections that X may still count; with more, the oldest are forgotten."""

P = ParamSpec("P")
T = TypeVar("T")


class Backfill(Protocol):
    """Decides about the backfill that a connect asks for (`connector.task.repair.repairer.Repairer`)."""

    def backfill_minutes(self) -> int | None:
        """Return how many minutes of backfill the next connect should ask for; None for no backfill."""

    def refuse_backfill(self, error: ConnectorError) -> None:
        """Take note that X refuses a backfill to this account."""


class Reader:
    """
    Keeps the source of *rules* connected, and puts what arrives into *buffer*, until `stop`.

    *allowance* counts the lines that are read, and says when no more may be read.  *changed* is called when an
    attribute has changed that the task's status shows.

    *ghosts* are connections that the previous owner of the task may have left open at X.  The reader ends them before
    the first connect, and tries again whenever X refuses a connect because there are too many connections.
    """

    def __init__(
        self,
        rules: RuleKeeper,
        buffer: Buffer,
        executor: Executor,
        *,
        ownership: Ownership,
        allowance: Allowance | SharedAllowance,
        backfill: Backfill,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
        ghosts: Collection[Handle] = (),
    ) -> None:
        self.source, self.buffer = rules.source, buffer
        self._executor, self._ownership, self._allowance, self._backfill = executor, ownership, allowance, backfill
        self._task, self._emit, self._changed = ownership.task, emit, changed
        self._handles: deque[Handle] = deque(ghosts, maxlen=MAX_HANDLES)
        self._absent: Collection[Handle] = ()
        self._backoff, self._floor = Backoff(), ConnectFloor()
        self._stop_asked, self._hurry = asyncio.Event(), asyncio.Event()
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        self._look_up: asyncio.Task[None] | None = None
        self.connected: Connected | None = None
        """The connection now open."""
        self.last_connected: Connected | None = None
        """The connection now open, or the last one."""
        self.heard_at: float | None = None
        """When the last line or keep-alive arrived (`clock.now`); the reader thread writes it."""
        self.connection_id: str | None = None
        """X's id of the connection now open, or of the last one; None where X has not told it."""
        self.lost_since: str | None = None
        """Why the last connection ended, such as `connection_lost`; None while there is one, and before the first."""
        self.error: ConnectorError | None = None
        """The error because of which there is no connection."""
        self.retry_at: float | None = None
        """When the next connect is due, by the machine's clock (UNIX seconds)."""

    @property
    def partition(self) -> str | None:
        """The number of the source partition, if the stream has several."""
        return self.source.partition.get("partition")

    @property
    def outage(self) -> str | None:
        """Why there is no connection, such as `connection_lost`; None while there is one, and before an error."""
        if self.connected is not None or self.error is None:
            return None
        return self.lost_since or reason_of(self.error)

    @property
    def connections(self) -> tuple[Handle, ...]:
        """Connections that X may count for this reader: the one now open, and those whose end X has not confirmed."""
        return tuple(self._handles)

    @property
    def open_now(self) -> Handle | None:
        """What identifies the connection now open: X's id, or its time if X has not told the id; None without one."""
        if self.connected is None:
            return None
        return self.connection_id or self.connected.date or self.connected.at

    async def run(self) -> None:
        """
        Connect, read, connect again, until `stop`.

        Raises:
            FatalError: a person has to act.
        """
        taken_over = bool(self._handles)
        while not self._stop_asked.is_set():
            try:
                await self._ownership.prove()
                if taken_over:
                    taken_over = False
                    await self._release()  # before the connect, which X might refuse otherwise
                if self._stop_asked.is_set():  # then `prove` proved nothing: the next owner may set the rules by now
                    return
                if self._rules.stale:
                    await self._rules.apply()
                await self._keep_floor()
                if self._stop_asked.is_set():
                    return
                self._allowance.admit(0)
                await self._read()
            except (RetriableError, OutOfCredit) as exc:
                # When an established connection is lost, the docs ask to connect again at once: rules and token are not
                # prepared again then.
                self._rules.stale = self._rules.stale or not isinstance(exc, ConnectionLost)
                await self._wait_after(exc)
            finally:
                self.connected = None

    async def _read(self) -> None:
        # the thread gets values, and reads no attribute
        minutes, after = self._backfill.backfill_minutes(), self.lost_since

        def connected(connection: Connected) -> None:
            self._on_connected(replace(connection, after=after, backfill_minutes=minutes))

        try:
            await self._in_thread(self.source.read, self._put, connected, backfill_minutes=minutes)
        except (InvalidRequest, NotAuthorized) as error:
            if minutes is None or isinstance(error, RulesMissing | TokenRejected):
                raise
            # if the backfill was not the reason, the next connect, which has none, fails too
            self._backfill.refuse_backfill(error)

    def stop(self) -> None:
        """Stop reading at once; what has been read stays in the buffer."""
        self._stop_asked.set()
        self._hurry.set()
        self.buffer.release()
        self.source.stop()

    def hurry(self) -> None:
        """End the wait for the next connect: what it waits for counts no more."""
        self._hurry.set()

    def reconnect(self, reason: str) -> None:
        """End the connection now open, for *reason*, and connect again at once."""
        if self.connected is not None:
            self.lost_since = reason
            self.source.hang_up()

    def delivered(self) -> None:
        """Forget earlier failures: records of this reader were committed."""
        self._backoff.reset()

    def _put(self, arrival: Arrival) -> None:
        """Put *arrival* into the buffer, and count its lines.  Reader thread."""
        self.heard_at = arrival.at
        self.buffer.put(arrival)
        self._allowance.admit(len(arrival.lines))

    def _on_connected(self, connected: Connected) -> None:
        """Report the connection; the loop learns of it before it learns how it ended.  Reader thread."""
        self.heard_at = connected.at
        self._loop.call_soon_threadsafe(self._note_connected, connected)
        self.buffer.put_connected(connected)

    def _note_connected(self, connected: Connected) -> None:
        self.connected = self.last_connected = connected
        self.lost_since = None
        self.error = self.retry_at = self.connection_id = None
        for handle in self._absent:  # X did not list them, and has let this connection in
            self._forget(handle)
        self._absent = ()
        if connected.date is not None:
            self._handles.append(connected.date)
        self._emit(
            StreamConnected(
                of=self._task,
                stream=self.source.partition["stream"],
                partition=self.partition,
                clock_skew_secs=round(connected.skew_secs, 3),
            )
        )
        self._changed()
        self._look_up = self._loop.create_task(self._find_connection(connected))

    async def _find_connection(self, connected: Connected) -> None:
        try:
            found = await self._in_thread(self.source.find_connection)
        except ConnectorError as error:
            # the id is only needed if this worker fails, to end its connection; its `Date` is known for that, too
            self._emit(ConnectionNotFound(of=self._task, error=error.name, reason=str(error), partition=self.partition))
            return
        if self.connected is connected and connected.date is not None:
            # X has answered: if it was not found by its `Date` now, it can never be found for certain
            self._forget(connected.date)
        if found:
            self.connection_id = found
            self._handles.append(found)
        self._changed()

    async def _wait_after(self, error: ConnectorError) -> None:
        self.error, self.connected = error, None
        if self.last_connected is not None or isinstance(error, OutOfCredit):  # else it is not known since when
            self.lost_since = self.lost_since or reason_of(error)
        if self._stop_asked.is_set():
            return
        self._emit(
            StreamDisconnected(
                of=self._task,
                error=error.name,
                reason=str(error),
                title=error.title or None,
                detail=error.detail or None,
                partition=self.partition,
            )
        )
        if isinstance(error, ConnectionTaken) and await self._release():
            return
        skew = self.last_connected.skew_secs if self.last_connected else 0.0
        attempt, wait = self._backoff.wait(error, now=clock.now() + skew)
        if isinstance(error, OutOfCredit):
            self._emit(TaskPaused(of=self._task, error=error.name, reason=str(error), retry_in_secs=round(wait)))
        elif wait:
            self._emit(
                RetryScheduled(
                    of=self._task,
                    error=error.name,
                    attempt=attempt,
                    wait_secs=round(wait, 3),
                    partition=self.partition,
                )
            )
        self.retry_at = time.time() + wait
        self._changed()
        await self._sleep(wait)

    async def _release(self) -> bool:
        """
        End the connections at X that this task has recorded as its own, and no others; return whether any was ended.

        Those whose end X has not confirmed are remembered, and tried again later.
        """
        if not self._handles:
            return False
        await self._ownership.prove()  # if this worker was paused meanwhile, the task may have another owner now
        if self._stop_asked.is_set():
            return False
        try:
            async with asyncio.timeout(RELEASE_SECS):
                released = await self._in_thread(self.source.release, frozenset(self._handles))
        except (ConnectorError, TimeoutError) as error:
            # not an error of the stream: if X has no room, it refuses the connect and says so
            self._emit(
                GhostNotReleased(
                    of=self._task,
                    connections=len(self._handles),
                    error=type(error).__name__,
                    reason=str(error) or f"X has not answered within {RELEASE_SECS:g} s",
                )
            )
            return False
        self._absent = released.absent
        for handle in released.ended:
            self._forget(handle)
        if released.ended:
            self._emit(GhostReleased(of=self._task, connections=len(released.ended)))
            self._changed()
        return bool(released.ended)

    def _forget(self, handle: Handle) -> None:
        with contextlib.suppress(ValueError):  # forgotten already
            self._handles.remove(handle)

    async def _keep_floor(self) -> None:
        await self._sleep(self._floor.wait(time.monotonic()))
        self._floor.connected(time.monotonic())

    async def _sleep(self, secs: float) -> None:
        if secs > 0:
            self._hurry.clear()
            if self._stop_asked.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), secs)

    async def _in_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))


def reason_of(error: ConnectorError) -> str:
    """Return the reason of a gap that *error* opens, such as `connection_lost`."""
    if isinstance(error, OutOfCredit):
        return BUDGET if isinstance(error, BudgetReached) else "credit"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.name).lower()
