"""
Starts this worker's tasks when their slots are assigned to it, and stops them when the slots are revoked.

Connect calls this a herder.  A task that stays assigned keeps running during a rebalance.  A task that another owner
fenced is started again if its slot is still assigned here.  A task that FAILED stays so until the worker is restarted.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from mode import Service

from connector.cluster.statuses import Statuses
from connector.records.record import TaskId
from connector.sources.handles import Handle
from connector.task.status import State, TaskStatus
from connector.task.task import RESTART_PAUSE_SECS, SourceTask
from connector.telemetry.events.cluster import GhostsUnknown, TasksAssigned
from connector.telemetry.events.event import Event

REVOKED_STOP_SECS = 10.0
"""The most seconds in which a task may drain after its slot was revoked; the new owner fences the task anyway."""

FLUSH_SECS = 2.0
CATCH_UP_SECS = 10.0
MEMBER_POLL_SECS = 0.1


class BuildTask(Protocol):
    """Builds the task *task* for *slot*; *ghosts* are connections that its last owner may have left open at X."""

    def __call__(
        self, task: TaskId, slot: int, *, on_status: Callable[[TaskStatus], None], ghosts: Collection[Handle]
    ) -> SourceTask: ...


class Herder(Service):
    """
    The tasks of this worker.

    *slots* maps each slot to its task.  *membership* returns an opaque token that changes whenever the group rebalances
    or this worker loses its coordinator; None while there is no coordinator.  *over* is called with the exit code when
    all tasks of this worker have reached their time limit, or when a task with a time limit has failed; perhaps more
    than once.
    """

    mundane_level = "debug"  # our events tell the operator about starts and stops

    def __init__(
        self,
        slots: Mapping[int, TaskId],
        build: BuildTask | None,
        statuses: Statuses,
        *,
        membership: Callable[[], object | None],
        emit: Callable[[Event], None],
        over: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.slots = slots
        self.assigned: set[int] = set()
        self.joined = False
        self._since: dict[int, float] = {}
        self.tasks: dict[int, SourceTask] = {}
        self._build, self._statuses, self._emit, self._over = build, statuses, emit, over
        self._membership = membership
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._leaving = False

    def claims(self) -> dict[int, float]:
        """Return the slots whose tasks run here, and since when (UNIX seconds).  Any thread."""
        return dict(self._since)

    def assign(self, slots: Collection[int], *, pause_secs: float = 0.0) -> None:
        """
        Run the tasks of *slots*, and stop all other tasks; returns at once.

        A task that is new on this worker begins after *pause_secs* without a change in the group, if its slot is still
        assigned then.
        """
        self.joined = True
        before, self.assigned = self.assigned, {slot for slot in slots if slot in self.slots}
        for slot in before - self.assigned:
            self._since.pop(slot, None)
            self._stop_soon(slot)
        for slot in self.assigned:
            runs = slot in self.tasks or (slot in self._runs and not self._runs[slot].done())
            if not (runs or self._leaving):  # a task that FAILED or reached its time limit is in `tasks`, and stays so
                self._runs[slot] = asyncio.create_task(self._run(slot, pause_secs))
                self._runs[slot].add_done_callback(self._crash_on_error)
        names = {slot: str(self.slots[slot]) for slot in before | self.assigned}
        self._emit(
            TasksAssigned(
                running=tuple(names[slot] for slot in sorted(before & self.assigned)),
                started=tuple(names[slot] for slot in sorted(self.assigned - before)),
                stopped=tuple(names[slot] for slot in sorted(before - self.assigned)),
            )
        )

    def rewrite_offsets(self) -> None:
        """Let all tasks write their values into the offsets topic again, because the topic was deleted."""
        for task in self.tasks.values():
            task.rewrite_offsets()

    def begin_stop(self) -> None:
        """Let all tasks stop reading at once; they still deliver the posts that they have read."""
        self._leaving = True
        for task in self.tasks.values():
            task.begin_stop()

    async def on_stop(self) -> None:
        """Drain all tasks at the same time; the worker's watchdog limits the time."""
        self.begin_stop()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)
        try:
            await asyncio.wait_for(self._statuses.flush(), FLUSH_SECS)
        except TimeoutError:
            self.log.warning("The last states of the tasks could not be told to the group")

    @property
    def undelivered_posts(self) -> int:
        """How many posts this worker has read and Kafka has not confirmed.  Any thread; the watchdog calls it, too."""
        return sum(task.undelivered_posts for task in list(self.tasks.values()))

    def unready(self) -> dict[str, str]:
        """Return the tasks assigned to this worker that are not ready: name to reason."""
        reasons = {}
        for slot in self.assigned:
            task = self.tasks.get(slot)
            if reason := "starting" if task is None else task.unready:
                reasons[str(self.slots[slot])] = reason
        return reasons

    async def _run(self, slot: int, pause_secs: float) -> None:
        """Run the slot's task; while the slot is assigned here, run it again each time another owner has fenced it."""
        name = self.slots[slot]
        await self._wait_for_calm(slot, pause_secs)
        try:
            async with asyncio.timeout(CATCH_UP_SECS):
                await self._statuses.caught_up()
        except TimeoutError:
            self._emit(GhostsUnknown(of=name, waited_secs=CATCH_UP_SECS))
        while slot in self.assigned and not self._leaving and self._build is not None:
            self._since.setdefault(slot, time.time())
            shared = self._statuses.of(name)
            task = self._build(
                name,
                slot,
                on_status=lambda status: self._statuses.publish(name, status),
                ghosts=shared.status.connections if shared else (),
            )
            self.tasks[slot] = task
            await self.add_runtime_dependency(task)
            await task.over.wait()
            self._tell_over(task)  # at the time limit, before the drain, so that the drain is limited like any stop
            await task.ended.wait()
            await self.remove_dependency(task)
            if task.finished or task.status.state is State.FAILED:
                self._tell_over(task)
                if slot not in self.assigned:  # revoked meanwhile: if the slot comes back, its task is built anew
                    self.tasks.pop(slot, None)
                return
            if slot in self.assigned and not self._leaving:
                await self.sleep(RESTART_PAUSE_SECS)
        self.tasks.pop(slot, None)

    async def _wait_for_calm(self, slot: int, secs: float) -> None:
        if not secs:
            return
        # counted from the last change: a broker that was paused may be no coordinator for many seconds
        since, before = time.monotonic(), self._membership()
        while slot in self.assigned and not self._leaving and time.monotonic() - since < secs:
            await self.sleep(min(MEMBER_POLL_SECS, secs))
            if (now := self._membership()) is None or now != before:
                since, before = time.monotonic(), now

    def _crash_on_error(self, run: "asyncio.Task[None]") -> None:
        """End the worker if a task cannot be built, because that is an error of this program."""
        if not run.cancelled() and (error := run.exception()):
            self.add_future(self.crash(error))

    def _stop_soon(self, slot: int) -> None:
        run = self._runs.get(slot)
        if run is None or run.done():  # the worker is leaving and did not begin it, or it FAILED, or has ended
            self.tasks.pop(slot, None)
        elif task := self.tasks.get(slot):
            task.begin_stop()
            self.add_future(self._give_up_after(task, REVOKED_STOP_SECS))

    async def _give_up_after(self, task: SourceTask, secs: float) -> None:
        try:
            await asyncio.wait_for(task.ended.wait(), secs)
        except TimeoutError:
            task.abandon()

    def _tell_over(self, task: SourceTask) -> None:
        if task.settings.time_limit_secs is None:
            return
        tasks = [self.tasks.get(slot) for slot in self.assigned]
        if task.status.state is State.FAILED:
            self._over(1)
        elif task.finished and all(other is not None and other.finished for other in tasks):
            self._over(0)
