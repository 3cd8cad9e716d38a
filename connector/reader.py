"""
One source, kept connected.

    prove ownership ─▶ prepare ─▶ read (reader thread) ──▶ how it ended ──▶ wait ─┐
          ▲                          puts into the buffer                         │
          └───────────────────────────────────────────────────────────────────────┘

The source makes one connection and raises; what to do then is decided here, by the tables of `errors` and `backoff`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from connector.backoff import Backoff, ConnectFloor
from connector.buffer import Buffer
from connector.coverage import Coverage
from connector.errors import ConnectionLost, ConnectionTaken, ConnectorError, OutOfCredit, RetriableError
from connector.events import (
    Event,
    GhostReleased,
    RetryScheduled,
    StreamConnected,
    StreamDisconnected,
    TaskPaused,
)
from connector.records import Arrival, Connected, SourcePartition, TaskId

P = ParamSpec("P")
T = TypeVar("T")


class Source(Protocol):
    """The X end of one source partition; each `read` is one connection."""

    @property
    def partition(self) -> SourcePartition:
        """The source partition: `{"stream": "filtered"}`, or with `"partition": "3"`."""

    def prepare(self) -> None:
        """
        Bring the rules and the token to what they should be.  Executor thread.

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """

    def read(self, put: Callable[[Arrival], None], connected: Callable[[Connected], None]) -> None:
        """
        Make one connection and put what arrives, until it ends; return only when stopped.  Reader thread.

        Raises:
            ConnectorError: how the connection ended, or why there was none.
        """

    def stop(self) -> None:
        """End `read` at once, whatever it is doing.  Any thread."""

    def find_connection(self) -> str | None:
        """Return X's id of the connection now open, None where X does not say.  Executor thread."""

    def release(self, ids: Collection[str]) -> int:
        """End those of the connections *ids* that X still holds; return how many.  Executor thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What a reader needs of its task."""

    task: TaskId
    prove: Callable[[], Awaitable[None]]
    """Returns once the task is known to be owned here; may wait for Kafka."""
    emit: Callable[[Event], None]
    changed: Callable[[], None]
    """Called when what `Reader` shows of itself has changed."""


class Reader:
    """
    Keeps *source* connected and its *buffer* fed until `stop`.

    *ghosts* are connections that the previous owner of the task may have left behind at X.
    """

    def __init__(
        self,
        source: Source,
        buffer: Buffer,
        owner: Owner,
        executor: Executor,
        *,
        coverage: Coverage,
        ghosts: Collection[str] = (),
    ) -> None:
        self.source, self.buffer, self.coverage = source, buffer, coverage
        self._owner, self._executor = owner, executor
        self._ghosts = set(ghosts)
        self._backoff, self._floor = Backoff(), ConnectFloor()
        self._stop_asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._look_up: asyncio.Task[None] | None = None
        self.connected: Connected | None = None
        """The connection now open."""
        self.last_connected: Connected | None = None
        """The connection now open, or the last one."""
        self.heard_at: float | None = None
        """When the last line or keep-alive arrived (local UNIX seconds)."""
        self.connection_id: str | None = None
        self.error: ConnectorError | None = None
        """Why there is no connection."""
        self.retry_at: float | None = None
        """When the next connect is due (local UNIX seconds)."""

    @property
    def partition(self) -> str | None:
        """The number of the source partition, where the stream has several."""
        return self.source.partition.get("partition")

    async def run(self) -> None:
        """
        Connect, read, connect again, until `stop`.

        Raises:
            FatalError: a person has to act.
        """
        prepared = False
        while not self._stop_asked.is_set():
            try:
                await self._owner.prove()
                if not prepared:
                    await self._in_thread(self.source.prepare)
                    prepared = True
                await self._keep_floor()
                if self._stop_asked.is_set():
                    return
                await self._in_thread(self.source.read, self._put, self._on_connected)
            except (RetriableError, OutOfCredit) as exc:
                # After an established connection the docs ask to be back at once, so nothing is asked twice then.
                prepared = prepared and isinstance(exc, ConnectionLost)
                await self._wait_after(exc)
            finally:
                self.connected = None

    def stop(self) -> None:
        """Stop reading at once; what has been read stays in the buffer."""
        self._stop_asked.set()
        self.buffer.release()
        self.source.stop()

    def delivered(self) -> None:
        """Records of this reader were committed: only that makes a connection a good one."""
        self._backoff.reset()

    def _put(self, arrival: Arrival) -> None:
        self.heard_at = arrival.at
        self.buffer.put(arrival)

    def _on_connected(self, connected: Connected) -> None:
        # Before the first line can be drained: its coverage depends on when the connection began.
        self.connected = self.last_connected = connected
        self.heard_at = connected.at
        self._loop.call_soon_threadsafe(self._note_connected, connected)  # last: the loop may be faster than we are

    def _note_connected(self, connected: Connected) -> None:
        self.error = self.retry_at = None
        self._owner.emit(
            StreamConnected(
                of=self._owner.task,
                stream=self.source.partition["stream"],
                partition=self.partition,
                clock_skew_secs=round(connected.skew_secs, 3),
            )
        )
        self._owner.changed()
        self._look_up = self._loop.create_task(self._find_connection())

    async def _find_connection(self) -> None:
        with contextlib.suppress(ConnectorError):  # it is only needed to clean up after this worker, should it die
            if found := await self._in_thread(self.source.find_connection):
                self.connection_id = found
                self._ghosts.add(found)
                self._owner.changed()

    async def _wait_after(self, error: ConnectorError) -> None:
        self.error, self.connected = error, None
        if self._stop_asked.is_set():
            return
        self._owner.emit(
            StreamDisconnected(
                of=self._owner.task,
                error=error.name,
                reason=str(error),
                title=error.title or None,
                detail=error.detail or None,
                partition=self.partition,
            )
        )
        if isinstance(error, ConnectionTaken) and await self._release_ghosts():
            return
        skew = self.last_connected.skew_secs if self.last_connected else 0.0
        attempt, wait = self._backoff.wait(error, now=time.time() + skew)
        if isinstance(error, OutOfCredit):
            self._owner.emit(
                TaskPaused(of=self._owner.task, error=error.name, reason=str(error), retry_in_secs=round(wait))
            )
        elif wait:
            self._owner.emit(
                RetryScheduled(
                    of=self._owner.task,
                    error=error.name,
                    attempt=attempt,
                    wait_secs=round(wait, 3),
                    partition=self.partition,
                )
            )
        self.retry_at = time.time() + wait
        self._owner.changed()
        await self._sleep(wait)

    async def _release_ghosts(self) -> bool:
        """End the connections at X that are this task's by its own record; never somebody else's."""
        if not self._ghosts:
            return False
        try:
            released = await self._in_thread(self.source.release, frozenset(self._ghosts))
        except ConnectorError:
            return False  # the answer to the connect says why we wait; this was only an attempt to shorten it
        self._ghosts.clear()
        if released:
            self._owner.emit(GhostReleased(of=self._owner.task, connections=released))
        return bool(released)

    async def _keep_floor(self) -> None:
        await self._sleep(self._floor.wait(time.monotonic()))
        self._floor.connected(time.monotonic())

    async def _sleep(self, secs: float) -> None:
        if secs > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), secs)

    async def _in_thread(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._executor, lambda: call(*args, **kwargs))
