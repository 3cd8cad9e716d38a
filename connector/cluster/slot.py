"""
Runs the task of one slot while the slot is assigned to this worker, as the states of its connectors want it.

    ┌─▶ which connectors have the slot? ── none ───────────────────────────▶ over
    │        │ some RUNNING                       │ all PAUSED or STOPPED
    │        ▼                                    ▼
    │   prepare, build, run; they come and go   rules at X are deleted
    └────────┴── it ended, or news ◀──────────────┘

Connectors that share a stream have the same slot, and one task reads for them: who comes, changes or goes while it runs
is told to the task.  A task that another owner fenced is started again.  A connector that FAILED, or cannot be used
here, stays so until somebody restarts it, its configuration changes, or, if the cause may pass, `retries` says so.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

from aiokafka.errors import KafkaError

from connector.cluster.configs import Configs, Connector, TargetState
from connector.cluster.retries import Retries
from connector.cluster.statuses import Statuses
from connector.errors import ConfigError, ConnectorError
from connector.records.record import TaskId
from connector.sources.handles import Handle
from connector.task.status import State, TaskStatus
from connector.task.task import RESTART_PAUSE_SECS, SourceTask
from connector.telemetry.events.cluster import GhostsUnknown, RulesLeft, TaskTriedAgain
from connector.telemetry.events.event import Event

REVOKED_STOP_SECS = 10.0
"""The most seconds in which a task may drain after its slot was revoked; the new owner fences the task anyway."""

CATCH_UP_SECS = 10.0
MEMBER_POLL_SECS = DELETING_POLL_SECS = 0.1
UNANSWERED = "Kafka did not answer in time when it was asked for what the tasks need: see whether its brokers are up"
RETIRE_RETRY_SECS = (5.0, 320.0)
"""The first and the longest pause before rules at X are tried to be deleted again (seconds)."""


OnStatus: TypeAlias = Callable[[TaskId, TaskStatus], None]


class Tasks(Protocol):
    """Makes the tasks of connectors; `worker.tasks.TaskBuilder`."""

    async def prepare(self, connector: Connector, slot: int) -> bool:
        """
        See to it that Kafka has what the tasks of *connector* need, and the offsets of the one in *slot* lie there.

        Return False if *connector* got other slots meanwhile.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
            ConnectorError, KafkaError: Kafka lacks something, or does not answer.
        """

    def build(
        self,
        connectors: Sequence[Connector],
        slot: int,
        *,
        idle: Collection[Connector],
        on_status: OnStatus,
        ghosts: Collection[Handle],
    ) -> SourceTask:
        """
        Build the task of *slot* for *connectors*, which are prepared; X shall hold no rules of those *idle*.

        *ghosts* are connections that its last owner may have left open at X.
        """

    def fits(self, slot: int, connectors: Sequence[Connector]) -> bool:
        """Return whether the task that was built for *slot* can go on for *connectors*, which are prepared."""

    def change(
        self,
        task: SourceTask,
        connectors: Sequence[Connector],
        slot: int,
        *,
        idle: Collection[Connector],
        restart: Collection[TaskId],
        on_status: OnStatus,
    ) -> None:
        """Let *task* read for *connectors* from now on, which are prepared; those of *restart* begin anew."""

    def keep(self, names: Collection[str]) -> None:
        """Forget what is known of connectors that are not among *names*."""

    def retries(self, connector: Connector) -> Retries:
        """Return how long and how often failed tasks of *connector* are tried again."""

    async def retire(self, connector: Connector, beside: Sequence[Connector]) -> None:
        """
        Delete the rules of *connector* at X, as nobody reads for it, but none that those *beside* it want, too.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
            ConnectorError: X cannot be reached, or refuses.
        """


class Host(Protocol):
    """The worker's side of a slot; `cluster.herder.Herder`."""

    def holds(self, slot: int) -> bool:
        """Return whether *slot* is assigned here, and the worker is not about to leave."""

    def membership(self) -> object | None:
        """Return an opaque token that changes whenever the group rebalances; None while there is no coordinator."""

    def deletes_rules(self, name: str) -> bool:
        """Return whether this worker deletes the rules of a deleted connector *name* at this moment."""

    def begun(self, slot: int) -> None:
        """Take note that the task of *slot* begins, or goes on, here."""

    def over(self) -> None:
        """Take note that a task has reached its time limit, or has failed."""

    async def adopt(self, task: SourceTask) -> None:
        """Start *task*."""

    async def let_go(self, task: SourceTask) -> None:
        """Let go of *task*, which has ended."""


@dataclass(slots=True)
class Trouble:
    """
    A connector that FAILED on this worker: why, and when it is tried again (monotonic seconds), None if it is not.

    *unusable* says that it could not be used here at all, so that no task reads for it.
    """

    trace: str
    unusable: bool
    again_at: float | None = None


class SlotRunner:
    """
    The task of one *slot*, and its *connectors* by name.

    *task* is the last one that ran here, None before.
    """

    def __init__(
        self,
        slot: int,
        *,
        host: Host,
        configs: Configs,
        tasks: Tasks,
        statuses: Statuses,
        emit: Callable[[Event], None],
    ) -> None:
        self.slot = slot
        self.task: SourceTask | None = None
        self.connectors: dict[str, Connector] = {}
        self._host, self._configs, self._tasks = host, configs, tasks
        self._statuses, self._emit = statuses, emit
        self._news = asyncio.Event()
        self._revoked = False
        self._troubles: dict[str, Trouble] = {}
        self._retries: dict[str, Retries] = {}
        self._restart: set[str] = set()
        self._ready: dict[str, Mapping[str, str]] = {}
        """The configurations for which Kafka was prepared, by connector."""
        self._stopping: set[asyncio.Task[None]] = set()

    # -- from outside

    def poke(self) -> None:
        """Look again: the configurations, the assignment or the worker have changed."""
        self._news.set()
        if not self._host.holds(self.slot):
            self._revoked = True  # also if it comes back at once: then it begins anew, in another run
            self._stop_soon()
            if self.task is not None and self.task.ended.is_set():
                self.task = None

    @property
    def known(self) -> tuple[Connector, ...]:
        """The connectors of the slot as this runner works with them."""
        return tuple(self.connectors.values())

    def restart(self, name: str, *, only_failed: bool, tasks: bool) -> None:
        """Begin anew for the connector *name*, if it FAILED or not *only_failed*; without *tasks* only the unusable."""
        connector, trouble = self.connectors.get(name), self._troubles.get(name)
        if connector is None or connector.target is not TargetState.RUNNING:
            return
        if (tasks or (trouble is not None and trouble.unusable)) and (trouble is not None or not only_failed):
            self._restart.add(name)
            self._statuses.publish(self._of(connector), TaskStatus(state=State.RESTARTING))
            self._news.set()

    def look_at_rules(self, name: str) -> None:
        """See at once whether X holds the rules, if the task here reads for the connector *name*."""
        task = self.task
        if task is not None and not task.ended.is_set() and any(of.connector == name for of in task.statuses):
            task.look_at_rules()

    @property
    def unready(self) -> dict[TaskId, str]:
        """The tasks of the slot that do not do their work although they should, with the reason."""
        reasons = {}
        for connector in self._running(self.known):
            trouble = self._troubles.get(connector.name)
            reason = "starting" if self.task is None else self.task.unready
            if trouble is not None:
                reason = f"FAILED: {trouble.trace}"
            if reason:
                reasons[self._of(connector)] = reason
        return reasons

    @property
    def states(self) -> dict[TaskId, State]:
        """The state of each task of the slot, but for connectors that are STOPPED."""
        told = {} if self.task is None else self.task.statuses
        states = {}
        for connector in self.known:
            of, status = self._of(connector), told.get(self._of(connector))
            if connector.name in self._troubles:
                states[of] = State.FAILED
            elif connector.target is TargetState.PAUSED:
                states[of] = State.PAUSED
            elif connector.target is TargetState.RUNNING:
                states[of] = State.UNASSIGNED if status is None else status.state
        return states

    def _of(self, connector: Connector) -> TaskId:
        return TaskId(connector.name, connector.slots.index(self.slot))

    @staticmethod
    def _running(connectors: Sequence[Connector]) -> list[Connector]:
        return [each for each in connectors if each.target is TargetState.RUNNING]

    @staticmethod
    def _idle(connectors: Sequence[Connector]) -> list[Connector]:
        return [each for each in connectors if each.target is not TargetState.RUNNING]

    @property
    def _held(self) -> bool:
        return not self._revoked and self._host.holds(self.slot)

    # -- life

    async def run(self, pause_secs: float) -> None:
        """Run the slot's tasks until the slot is free or no longer assigned here; see the module."""
        await self._wait_for_calm(pause_secs)
        await self._catch_up()
        while self._held:
            self._news.clear()
            found = self._look()
            if not found:
                break
            if self._running(found):
                await self._run_task(found)
            else:
                await self._rest(found)

    def _look(self) -> tuple[Connector, ...]:
        """Return the slot's connectors as they are now; forget those that have gone, tell of those that are idle."""
        found = self._configs.all_at(self.slot)
        names = {each.name for each in found}
        for before in self.known:
            after = self._configs.get(before.name)
            if before.name not in names:
                self._forget(before.name)
                if after is None:
                    self._statuses.forget(before.name, len(before.slots))
            elif after is not None and after.config != before.config:
                self._forget(before.name)
        self.connectors = {each.name: each for each in found}
        for each in self._idle(found):
            self._forget(each.name)
            self._tell_idle(each)
        return found

    def _forget(self, name: str) -> None:
        self._troubles.pop(name, None)
        self._retries.pop(name, None)
        self._ready.pop(name, None)
        self._restart.discard(name)

    async def _wait_for_calm(self, secs: float) -> None:
        if not secs:
            return
        # counted from the last change: a broker that was paused may be no coordinator for many seconds
        since, before = time.monotonic(), self._host.membership()
        while self._held and time.monotonic() - since < secs:
            await self._pause(min(MEMBER_POLL_SECS, secs))
            if (now := self._host.membership()) is None or now != before:
                since, before = time.monotonic(), now

    async def _catch_up(self) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_SECS):
                await self._statuses.caught_up()
        except TimeoutError:
            for found in self._configs.all_at(self.slot):
                self._emit(GhostsUnknown(of=self._of(found), waited_secs=CATCH_UP_SECS))

    # -- connectors that nobody wants to run

    def _tell_idle(self, connector: Connector) -> None:
        of = self._of(connector)
        shared = self._statuses.of(of)
        if connector.target is TargetState.STOPPED or not connector.tasks:
            self._tell_task(of, TaskStatus(state=State.UNASSIGNED))
        elif self.task is not None and not self.task.ended.is_set() and of in self.task.statuses:
            return  # it is told PAUSED once the task has let go of it
        elif shared is None or shared.status.state is not State.FAILED:
            self._tell_task(of, TaskStatus(state=State.PAUSED))
        self._tell_connector(connector, State(connector.target.value))

    async def _rest(self, found: Sequence[Connector]) -> None:
        self.task = None
        pause_secs, longest = RETIRE_RETRY_SECS
        for connector in found:
            while self._is_first(connector):
                try:
                    await self._tasks.retire(connector, ())
                except ConfigError:  # its credentials cannot be had here; a connector that runs would say so
                    break
                except ConnectorError as exc:
                    self._emit(RulesLeft(connector=connector.name, reason=str(exc), retry_in_secs=pause_secs))
                    if await self._news_within(pause_secs):
                        return
                    pause_secs = min(pause_secs * 2, longest)
                else:
                    break
        await self._news.wait()

    def _is_first(self, connector: Connector) -> bool:
        return connector.slots[:1] == (self.slot,)

    def _tell_task(self, of: TaskId, status: TaskStatus) -> None:
        shared = self._statuses.of(of)
        if shared is None or shared.status != status or shared.process != self._statuses.process:
            self._statuses.publish(of, status)

    def _tell_connector(self, connector: Connector, state: State, trace: str | None = None) -> None:
        if not self._is_first(connector):
            return
        status, shared = TaskStatus(state=state, trace=trace), self._statuses.of_connector(connector.name)
        if shared is None or shared.status != status or shared.process != self._statuses.process:
            self._statuses.publish_connector(connector.name, status)

    # -- connectors that run

    async def _run_task(self, found: Sequence[Connector]) -> None:
        self._host.begun(self.slot)
        usable = [each for each in await self._usable(self._running(found)) if each.name not in self._troubles]
        if not usable:
            await self._wait_for_change(found)
            return
        if not self._held or self._configs.all_at(self.slot) != tuple(found):
            return  # it took a while: a task that starts now would fence the slot's new owner
        idle = [each for each in found if each not in usable]  # also those that have FAILED
        task = self._tasks.build(usable, self.slot, idle=idle, on_status=self._on_status, ghosts=self._ghosts(found))
        self.task = task
        await self._host.adopt(task)
        await self._watch(task, tuple(found))
        await task.ended.wait()
        await self._host.let_go(task)
        if task.finished or task.status.state is State.FAILED:
            self._host.over()
            self._note_end(task)
            await self._wait_for_change(self.known)
        elif self._held and not self._restart and self._configs.all_at(self.slot) == self.known:
            await self._pause(RESTART_PAUSE_SECS)
        if not self._held:
            self.task = None

    async def _usable(self, running: Sequence[Connector]) -> list[Connector]:
        """Prepare *running*, and return those that can be used here; the others FAIL."""
        usable, again = [], set()
        asked = frozenset(self._restart)
        for connector in running:
            trouble = self._troubles.get(connector.name)
            if trouble is not None and not self._is_due(connector.name):
                if not trouble.unusable:
                    usable.append(connector)
                continue
            if trouble is None and self._ready.get(connector.name) == connector.config and not self._restart:
                usable.append(connector)
                continue
            self._troubles.pop(connector.name, None)
            while self._held and self._host.deletes_rules(connector.name):
                await self._pause(DELETING_POLL_SECS)  # those that the task makes would go with them
            try:
                if not await self._tasks.prepare(connector, self.slot):
                    again.add(connector.name)  # it may be back already
                    continue
            except (ConfigError, ConnectorError, KafkaError, OSError, TimeoutError) as exc:
                self._fail(connector, exc)
            else:
                self._ready[connector.name] = connector.config
                self._tell_connector(connector, State.RUNNING)
                usable.append(connector)
        self._restart = (self._restart - asked) | again
        return usable

    def _is_due(self, name: str) -> bool:
        """Return whether the connector *name*, which has FAILED, is to be tried again now."""
        again_at = self._troubles[name].again_at
        return name in self._restart or (again_at is not None and again_at <= time.monotonic())

    def _ghosts(self, found: Sequence[Connector]) -> tuple[Handle, ...]:
        shared = [self._statuses.of(self._of(each)) for each in found]
        return tuple(dict.fromkeys(handle for each in shared if each for handle in each.status.connections))

    async def _watch(self, task: SourceTask, served: tuple[Connector, ...]) -> None:
        """Wait until *task*, which serves *served*, is over; tell it what changes, or stop it if it cannot go on."""
        over = asyncio.create_task(task.over.wait())
        try:
            while not over.done():
                await self._something(over)
                if task.over.is_set():
                    break
                self._news.clear()
                before, found = served, self._look() if self._held else ()
                due = [name for name in self._troubles if self._is_due(name)]
                if not self._running(found) or self._everything_restarts(found):
                    self._stop_soon()
                    break
                if found != before or due or self._restart:
                    served = found
                    if not await self._tell_changes(task, found):
                        self._stop_soon()
                        break
        finally:
            over.cancel()
        if task.over.is_set():
            self._host.over()  # at the time limit, before the drain, so that the drain is limited like any stop

    async def _something(self, over: "asyncio.Task[Literal[True]]") -> None:
        """Wait for the task's end, for news, or until a connector is to be tried again."""
        times = [trouble.again_at for trouble in self._troubles.values() if trouble.again_at is not None]
        news = asyncio.create_task(self._news.wait())
        left = max(min(times) - time.monotonic(), 0.0) if times else None
        await asyncio.wait({over, news}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def _everything_restarts(self, found: Sequence[Connector]) -> bool:
        return {each.name for each in self._running(found)} <= self._restart

    async def _tell_changes(self, task: SourceTask, found: Sequence[Connector]) -> bool:
        """Let *task* read for *found* as it is now; return False if it needs another task."""
        restart = {self._of(self.connectors[name]) for name in self._restart if name in self.connectors}
        restart |= {self._of(self.connectors[name]) for name in self._troubles if self._is_due(name)}
        usable = await self._usable(self._running(found))
        if not usable or not self._tasks.fits(self.slot, usable):
            return False
        self._tasks.change(task, usable, self.slot, idle=self._idle(found), restart=restart, on_status=self._on_status)
        return True

    def _stop_soon(self) -> None:
        task = self.task
        if task is not None and not task.ended.is_set():
            task.begin_stop()
            giving_up = asyncio.create_task(self._give_up(task, REVOKED_STOP_SECS))
            self._stopping.add(giving_up)
            giving_up.add_done_callback(self._stopping.discard)

    async def _give_up(self, task: SourceTask, secs: float) -> None:
        try:
            async with asyncio.timeout(secs):
                await task.ended.wait()
        except TimeoutError:
            task.abandon()

    # -- states and failures

    def _on_status(self, of: TaskId, status: TaskStatus) -> None:
        """A task tells how it is for the connector of *of*."""
        connector = self.connectors.get(of.connector)
        if self._configs.get(of.connector) is None:
            return  # it was deleted, and its states are forgotten
        if connector is not None and connector.target is not TargetState.RUNNING and status.state is State.UNASSIGNED:
            self._tell_idle_now(connector)
        elif status.state is State.FAILED and connector is not None:
            self._statuses.publish(of, self._noted(connector, status, unusable=False))
        else:
            self._statuses.publish(of, status)

    def _tell_idle_now(self, connector: Connector) -> None:
        state = State.PAUSED if connector.target is TargetState.PAUSED and connector.tasks else State.UNASSIGNED
        self._tell_task(self._of(connector), TaskStatus(state=state))
        self._tell_connector(connector, State(connector.target.value))

    def _note_end(self, task: SourceTask) -> None:
        """Take note of the failures of *task*, which has ended, that it has not told itself."""
        for of, status in task.statuses.items():
            connector = self.connectors.get(of.connector)
            if status.state is State.FAILED and connector is not None and of.connector not in self._troubles:
                self._tell_task(of, self._noted(connector, status, unusable=False))

    def _fail(self, connector: Connector, exc: Exception) -> None:
        """*connector* cannot be used here: say why."""
        name, words = type(exc).__name__, str(exc)
        if isinstance(exc, TimeoutError):
            words = words or UNANSWERED
        trace = f"{name}: {words}" if words else name
        failed = TaskStatus(state=State.FAILED, trace=trace, may_pass=not isinstance(exc, ConfigError))
        self._tell_connector(connector, State.FAILED, trace)
        self._tell_task(self._of(connector), self._noted(connector, failed, unusable=True))

    def _noted(self, connector: Connector, failed: TaskStatus, *, unusable: bool) -> TaskStatus:
        """Take note that *connector* has *failed*; return its status with the next try."""
        trouble = self._troubles[connector.name] = Trouble(failed.trace or "", unusable)
        if failed.may_pass:
            retries = self._retries.setdefault(connector.name, self._tasks.retries(connector))
            pause_secs = retries.next(time.monotonic())
            if pause_secs is not None:
                trouble.again_at = time.monotonic() + pause_secs
                next_ms = int((time.time() + pause_secs) * 1000)
                failed = replace(failed, auto_restart=(retries.attempts, next_ms))
                of = self._of(connector)
                self._emit(TaskTriedAgain(of=of, attempt=retries.attempts, retry_in_secs=pause_secs))
        self._news.set()
        return failed

    async def _wait_for_change(self, found: Sequence[Connector]) -> None:
        """Wait until the connectors are no longer as they were *found*, or one of them is to be tried again."""
        while self._held and self._configs.all_at(self.slot) == tuple(found) and not self._restart:
            times = [trouble.again_at for trouble in self._troubles.values() if trouble.again_at is not None]
            left = min(times) - time.monotonic() if times else None
            if left is not None and left <= 0:
                return
            self._news.clear()
            await self._news_within(left)

    async def _pause(self, secs: float) -> None:
        """Wait for *secs*, or until the slot is no longer held."""
        until = time.monotonic() + secs
        while self._held and (left := until - time.monotonic()) > 0:
            self._news.clear()
            await self._news_within(left)

    async def _news_within(self, secs: float | None) -> bool:
        try:
            async with asyncio.timeout(secs):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
