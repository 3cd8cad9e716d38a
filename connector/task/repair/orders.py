"""
Carries out the requests of operators about the gaps of one source partition, on the worker that owns it.

    pending ─▶ the gap is changed ─▶ the change is committed ─▶ the request is taken out of its topic
                                      (else the next owner carries it out)
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Generic

from connector.coverage.offset import GapState
from connector.coverage.progress import Progress
from connector.errors import DeliveryFailed
from connector.records.record import TaskId
from connector.task.in_flight import InFlight
from connector.task.ownership import Ownership
from connector.task.ports import R, Requests
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import RequestLeft

COMMIT_POLL_SECS = 0.1

TAKE_OUT_SECS = 10.0
"""If Kafka has not confirmed that a request was taken out of its topic, it is tried again after this time."""

RETRY, ACCEPT = "retry", "accept"


class Orders(Generic[R]):
    """Carries out the *requests* about the gaps of *progress*, until `stop`."""

    def __init__(
        self,
        progress: Progress,
        requests: Requests[R],
        in_flight: InFlight,
        *,
        task: TaskId,
        ownership: Ownership,
        wake: Wake,
        emit: Callable[[Event], None],
    ) -> None:
        self._progress, self._requests, self._in_flight = progress, requests, in_flight
        self._ownership, self._wake, self._emit = ownership, wake, emit
        self.task = task
        self._loop, self._stop_asked = asyncio.get_running_loop(), asyncio.Event()
        self._carried_out: deque[R] = deque()
        """Requests that are carried out and committed, and are still in their topic."""
        self._take_out_at = 0.0

    def stop(self) -> None:
        """End the waits; what is not carried out is left to the task's next owner."""
        self._stop_asked.set()

    async def carry_out(self) -> bool:
        """
        Carry out the pending requests; take each out of its topic once its change is committed.

        Return whether one of them asks to try again to repair a gap.
        """
        partition = self._progress.partition.get("partition")
        retries = False
        for request in self._requests.pending(self.task.connector, partition):
            if request not in self._carried_out:
                retries |= self._reopens(request)
                if await self._is_done(request):
                    self._carried_out.append(request)
        await self._take_out()
        return retries

    def _reopens(self, request: R) -> bool:
        """Return whether *request* asks to try again to repair a gap that is not being repaired."""
        gap = self._progress.coverage.gap_at(request.from_ms)
        return gap is not None and gap.state is not GapState.REPAIRING and request.action != ACCEPT

    async def _is_done(self, request: R) -> bool:
        """Carry out *request*; return whether it may be taken out: its change is committed, or there is no such gap."""
        progress = self._progress
        gap = progress.coverage.gap_at(request.from_ms)
        if gap is None:
            await self._ownership.prove()  # else a worker that was paused might not know the gaps of the next owner
            return not self._stop_asked.is_set()
        if request.action == ACCEPT:
            progress.close(gap, GapState.ACCEPTED)
        elif self._reopens(request):
            progress.change(replace(gap, state=GapState.OPEN, detail="", way=None, until_id=None))
        batch = progress.coverage.batch
        progress.changed = True  # in any case, so that the next commit has the change
        while self._in_flight.coverage_of(self.task.connector, progress.partition).batch <= batch:
            if self._stop_asked.is_set():
                return False  # the last commit may fail: then the next owner carries it out
            self._wake.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), COMMIT_POLL_SECS)
        return True

    async def _take_out(self) -> None:
        while self._carried_out and self._loop.time() >= self._take_out_at:
            try:
                await self._requests.done(self._carried_out[0])
            except DeliveryFailed as error:
                self._take_out_at = self._loop.time() + TAKE_OUT_SECS
                self._emit(
                    RequestLeft(
                        of=self.task,
                        error=error.name,
                        reason=f"{error}; it is carried out, and taken out of its topic once Kafka confirms that",
                        requests=len(self._carried_out),
                        retry_in_secs=TAKE_OUT_SECS,
                    )
                )
                return
            self._carried_out.popleft()
