"""
Carries out the requests of operators about the gaps of one source partition, on the worker that owns it.

    pending ─▶ the gap is changed ─▶ the change is committed ─▶ the request is taken out of its topic
                                      (else the next owner carries it out)
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from connector.coverage.offset import GapState
from connector.coverage.progress import Progress
from connector.errors import DeliveryFailed
from connector.records.record import TaskId
from connector.telemetry.events import Event, RequestLeft

COMMIT_POLL_SECS = 0.1

TAKE_OUT_SECS = 10.0
"""If Kafka has not confirmed that a request was taken out of its topic, it is tried again after this time."""

RETRY, ACCEPT = "retry", "accept"


class Request(Protocol):
    """What an operator asks of the gap that begins at *from_ms*: `retry` or `accept`."""

    @property
    def from_ms(self) -> int: ...

    @property
    def action(self) -> str: ...


R = TypeVar("R", bound=Request)


class Requests(Protocol[R]):
    """The requests of operators, which any worker of the group may have received."""

    def pending(self, connector: str, partition: str | None) -> Sequence[R]:
        """Return the requests about the gaps of this source partition, oldest first."""

    async def done(self, request: R) -> None:
        """
        Take *request* out of its topic.

        Raises:
            DeliveryFailed: Kafka has not confirmed; it may be tried again.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersSettings:
    """What `Orders` needs of its task; *on_retry* is called when an operator asks to try a gap again."""

    task: TaskId
    emit: Callable[[Event], None]
    prove: Callable[[], Awaitable[None]]
    wake: Callable[[], None]
    committed_batch: Callable[[], int]
    on_retry: Callable[[], None]


class Orders(Generic[R]):
    """Carries out the *requests* about the gaps of *progress*; *stop_asked* ends its waits."""

    def __init__(
        self, progress: Progress, requests: Requests[R], settings: OrdersSettings, stop_asked: asyncio.Event
    ) -> None:
        self._progress, self._requests, self._settings, self._stop_asked = progress, requests, settings, stop_asked
        self._loop = asyncio.get_running_loop()
        self._carried_out: deque[R] = deque()
        """Requests that are carried out and committed, and are still in their topic."""
        self._take_out_at = 0.0

    async def carry_out(self) -> None:
        """Carry out the pending requests; take each out of its topic once its change is committed."""
        partition = self._progress.partition.get("partition")
        for request in self._requests.pending(self._settings.task.connector, partition):
            if request not in self._carried_out and await self._is_done(request):
                self._carried_out.append(request)
        await self._take_out()

    async def _is_done(self, request: R) -> bool:
        """Carry out *request*; return whether it may be taken out: its change is committed, or there is no such gap."""
        progress, settings = self._progress, self._settings
        gap = progress.coverage.gap_at(request.from_ms)
        if gap is None:
            await settings.prove()  # else a worker that was paused might not know the gaps of the next owner
            return not self._stop_asked.is_set()
        if request.action == ACCEPT:
            progress.close(gap, GapState.ACCEPTED)
        elif gap.state is not GapState.REPAIRING:
            progress.change(replace(gap, state=GapState.OPEN, detail="", way=None, until_id=None))
            settings.on_retry()
        batch = progress.coverage.batch
        progress.changed = True  # in any case, so that the next commit has the change
        while settings.committed_batch() <= batch:
            if self._stop_asked.is_set():
                return False  # the last commit may fail: then the next owner carries it out
            settings.wake()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), COMMIT_POLL_SECS)
        return True

    async def _take_out(self) -> None:
        while self._carried_out and self._loop.time() >= self._take_out_at:
            try:
                await self._requests.done(self._carried_out[0])
            except DeliveryFailed as error:
                self._take_out_at = self._loop.time() + TAKE_OUT_SECS
                self._settings.emit(
                    RequestLeft(
                        of=self._settings.task,
                        error=error.name,
                        reason=f"{error}; it is carried out, and taken out of its topic once Kafka confirms that",
                        requests=len(self._carried_out),
                        retry_in_secs=TAKE_OUT_SECS,
                    )
                )
                return
            self._carried_out.popleft()
