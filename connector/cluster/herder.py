"""
Starts this worker's tasks when their slots are assigned to it, and stops them when the slots are revoked.

Connect calls this a herder.  A task that stays assigned keeps running during a rebalance.  What runs in a slot is said
by the configurations that all workers follow; `slot` runs it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from mode import Service

from connector.cluster.configs import Configs, Connector, Restart, TargetState
from connector.cluster.refused import Refused
from connector.cluster.slot import SlotRunner, Tasks
from connector.cluster.statuses import Statuses
from connector.errors import INTERRUPTED, ConfigError, ConnectorError, Interrupted
from connector.records.record import TaskId
from connector.task.status import State
from connector.task.task import SourceTask
from connector.telemetry.events.cluster import RulesLeft, TasksAssigned
from connector.telemetry.events.event import Event

FLUSH_SECS = 2.0
LOOK_SECS = 2.0
"""How often it is looked whether the shares are even, and whether a task has written to a topic for the first time."""

EVEN_SECS = 4.0
"""After so long with more or fewer tasks than its share, a worker lets the group deal the slots again (seconds)."""

RETIRE_RETRY_SECS = 60.0
"""Pause before the rules of a deleted connector are tried to be deleted again (seconds)."""


class Herder(Service):
    """
    The tasks of this worker.

    *membership* returns an opaque token that changes whenever the group rebalances or this worker loses its
    coordinator; None while there is no coordinator.  *rejoin* lets the group deal the slots again.  *over* is called
    with the exit code when all tasks of this worker have reached their time limit, or when a task with a time limit has
    failed; perhaps more than once.  *retired* is called with a deleted connector whose rules at X are deleted.
    """

    mundane_level = "debug"  # our events tell the operator about starts and stops

    def __init__(
        self,
        configs: Configs,
        tasks: Tasks,
        statuses: Statuses,
        *,
        membership: Callable[[], object | None],
        rejoin: Callable[[], None],
        emit: Callable[[Event], None],
        over: Callable[[int], None],
        retired: Callable[[Connector], Awaitable[None]],
    ) -> None:
        super().__init__()
        self.assigned: set[int] = set()
        self.joined = False
        self._since: dict[int, float] = {}
        self._configs, self._factory, self._statuses, self._emit = configs, tasks, statuses, emit
        self._membership, self._rejoin, self._over, self._retired = membership, rejoin, over, retired
        self.members = 0
        """How many workers the group has; 0: not known."""
        self.dealt_ms: int | None = None
        """When the group dealt its tasks last (UNIX ms)."""
        self._uneven_since: float | None = None
        self._runners: dict[int, SlotRunner] = {}
        self._runs: dict[int, asyncio.Task[None]] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}
        self._deleting: set[str] = set()
        """The deleted connectors whose rules are being deleted at X at this moment."""
        self._leaving = False
        self._live = False
        self._looking = False
        configs.on_change(self._look_soon)
        configs.on_restart(self._on_restart)
        configs.on_look(self._on_look)

    # -- what others ask

    @property
    def tasks(self) -> dict[int, SourceTask]:
        """The tasks of this worker by slot: those that run, and those that FAILED or reached their time limit."""
        return {slot: runner.task for slot, runner in list(self._runners.items()) if runner.task is not None}

    def tasks_told(self) -> tuple[str, ...]:
        """Return the names of the tasks for which something runs here, as the history shows them."""
        return tuple(sorted(str(of) for task in self.tasks.values() for of in task.statuses))

    def claims(self) -> dict[int, float]:
        """Return the slots whose tasks run here, and since when (UNIX seconds).  Any thread."""
        return dict(self._since)

    @property
    def undelivered_posts(self) -> int:
        """How many posts this worker has read and Kafka has not confirmed.  Any thread; the watchdog calls it, too."""
        return sum(task.undelivered_posts for task in self.tasks.values())

    def unready(self) -> dict[str, str]:
        """Return the tasks assigned to this worker that are not ready: name to reason."""
        reasons: dict[str, str] = {}
        for slot in sorted(self.assigned & self._configs.slots_in_use()):
            runner = self._runners.get(slot)
            if runner is None or not runner.known:
                reasons |= {str(_name(found, slot)): "starting" for found in self._configs.all_at(slot)}
            else:
                reasons |= {str(of): reason for of, reason in runner.unready.items()}
        return reasons

    def states(self) -> dict[TaskId, State]:
        """Return the states of the tasks that are assigned to this worker, but for connectors that are STOPPED."""
        return {of: state for runner in list(self._runners.values()) for of, state in runner.states.items()}

    def rewrite_offsets(self) -> None:
        """Let all tasks write their values into the offsets topic again, because the topic was deleted."""
        for task in self.tasks.values():
            task.rewrite_offsets()

    # -- the assignment

    def assign(self, slots: Collection[int], *, pause_secs: float = 0.0) -> None:
        """
        Run the tasks of *slots*, and stop all other tasks; returns at once.

        A task that is new on this worker begins after *pause_secs* without a change in the group, if its slot is still
        assigned then.
        """
        self.joined, self.dealt_ms = True, int(time.time() * 1000)
        before, self.assigned = self.assigned, set(slots)
        used = self._configs.slots_in_use()
        self._look(pause_secs)
        self._emit(
            TasksAssigned(
                running=self._names(before & self.assigned & used),
                started=self._names((self.assigned - before) & used),
                stopped=self._names((before - self.assigned) & used),
            )
        )

    def _names(self, slots: Collection[int]) -> tuple[str, ...]:
        return tuple(str(_name(found, slot)) for slot in sorted(slots) for found in self._configs.all_at(slot))

    def _look_soon(self) -> None:
        """Look at the configurations once the records that came together have been applied."""
        if not self._looking and self.started:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self, pause_secs: float = 0.0) -> None:
        """Compare what runs here with what should, and let the runners know."""
        self._looking = False
        self._factory.keep({*self._configs.names(), *(each.name for each in self._configs.retired())})
        for slot, runner in list(self._runners.items()):
            if slot not in self.assigned:
                self._since.pop(slot, None)
            if slot not in self.assigned or runner.known != self._configs.all_at(slot):
                runner.poke()
        if self._leaving:
            return
        for slot in self.assigned & self._configs.slots_in_use():
            if slot not in self._runs or self._runs[slot].done():
                self._begin(slot, pause_secs)
        for connector in self._configs.retired():
            if connector.slots[:1] and connector.slots[0] in self.assigned and connector.name not in self._retiring:
                self._retiring[connector.name] = asyncio.create_task(self._retire(connector))

    def _begin(self, slot: int, pause_secs: float) -> None:
        runner = self._runners[slot] = SlotRunner(
            slot, host=self, configs=self._configs, tasks=self._factory, statuses=self._statuses, emit=self._emit
        )
        self._runs[slot] = asyncio.create_task(self._run(runner, pause_secs))
        self._runs[slot].add_done_callback(self._on_end)

    async def _run(self, runner: SlotRunner, pause_secs: float) -> None:
        try:
            await runner.run(pause_secs)
        finally:
            self._runs.pop(runner.slot, None)
            self._runners.pop(runner.slot, None)
        if self.holds(runner.slot) and self._configs.all_at(runner.slot):
            self._begin(runner.slot, 0.0)  # it came back while the last run ended

    def _on_end(self, run: "asyncio.Task[None]") -> None:
        """End the worker if a task cannot be built, because that is an error of this program."""
        error = Interrupted(INTERRUPTED) if run.cancelled() else run.exception()
        if error and not (run.cancelled() and self._leaving):
            self.add_future(self.crash(error))

    # -- deleted connectors

    async def _retire(self, connector: Connector) -> None:
        """Delete the rules that a deleted connector has at X."""
        try:
            while self._gone(connector) and connector.slots[0] in self.assigned and not self._leaving:
                self._deleting.add(connector.name)
                try:
                    await self._factory.retire(connector, self._beside(connector))
                    await self._retired(connector)
                except ConfigError as exc:  # its secrets are not on this worker: another one may have them
                    self._left(connector, exc)
                except (ConnectorError, Refused) as exc:
                    self._left(connector, exc)
                else:
                    return
                finally:
                    self._deleting.discard(connector.name)
                await self.sleep(RETIRE_RETRY_SECS)
        finally:
            self._retiring.pop(connector.name, None)

    def _beside(self, connector: Connector) -> list[Connector]:
        """Return the connectors that read the stream which *connector* has left."""
        found = self._configs.all_at(connector.slots[0])
        return [each for each in found if each.target is TargetState.RUNNING]

    def _left(self, connector: Connector, exc: Exception) -> None:
        self._emit(RulesLeft(connector=connector.name, reason=str(exc), retry_in_secs=RETIRE_RETRY_SECS))

    def _gone(self, connector: Connector) -> bool:
        return connector in self._configs.retired()

    # -- restarts

    def go_live(self) -> None:
        """From now on carry out requests to restart; those read before were made to workers that ran before."""
        self._live = True

    def _on_restart(self, restart: Restart) -> None:
        if not self._live:
            return
        for runner in list(self._runners.values()):
            connector = runner.connectors.get(restart.connector)
            if connector is None:
                continue
            if restart.task is None:
                runner.restart(connector.name, only_failed=restart.only_failed, tasks=restart.include_tasks)
            elif _name(connector, runner.slot).number == restart.task:
                runner.restart(connector.name, only_failed=False, tasks=True)

    def _on_look(self, name: str) -> None:
        """Let the task of the connector *name* look at its rules, if it runs here."""
        if self._live:
            for runner in list(self._runners.values()):
                runner.look_at_rules(name)

    @Service.timer(LOOK_SECS)
    async def _look_around(self) -> None:
        self.keep_even()
        self.note_topics()

    # -- evenness

    def note_members(self, members: int) -> None:
        """Take note that the group has so many *members*; 0: not known.  Any thread."""
        self.members = members

    def keep_even(self) -> None:
        """Let the group deal again if this worker has had more or fewer tasks than its share for a while."""
        used = self._configs.slots_in_use()
        mine, members = len(self.assigned & used), self.members
        if not members or not self.joined or len(used) // members <= mine <= -(-len(used) // members):
            self._uneven_since = None
        elif self._uneven_since is None:
            self._uneven_since = time.monotonic()
        elif time.monotonic() - self._uneven_since >= EVEN_SECS and not self._leaving:
            self._uneven_since = None
            self._rejoin()

    # -- topics

    def note_topics(self) -> None:
        """Tell the group to which topics the tasks of this worker have written."""
        for task in self.tasks.values():
            for name, topic in task.take_written():
                known = self._configs.get(name.connector) is not None  # what is deleted is not told any more
                if known and topic not in self._statuses.topics_of(name.connector):
                    self._statuses.publish_topic(name, topic, int(time.time() * 1000))

    # -- the end

    def begin_stop(self) -> None:
        """Let all tasks stop reading at once; they still deliver the posts that they have read."""
        self._leaving = True
        for task in self.tasks.values():
            task.begin_stop()
        for runner in list(self._runners.values()):
            runner.poke()

    async def on_stop(self) -> None:
        """Drain all tasks at the same time; the worker's watchdog limits the time."""
        self.begin_stop()
        for retiring in list(self._retiring.values()):
            retiring.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)
        try:
            await asyncio.wait_for(self._statuses.flush(), FLUSH_SECS)
        except TimeoutError:
            self.log.warning("The last states of the tasks could not be told to the group")

    # -- the worker's side of a slot

    def holds(self, slot: int) -> bool:
        """Return whether *slot* is assigned here, and the worker is not about to leave."""
        return slot in self.assigned and not self._leaving

    def membership(self) -> object | None:
        """Return an opaque token that changes whenever the group rebalances; None while there is no coordinator."""
        return self._membership()

    def deletes_rules(self, name: str) -> bool:
        """Return whether this worker deletes the rules of a deleted connector *name* at this moment."""
        return name in self._deleting

    def begun(self, slot: int) -> None:
        """Take note that the task of *slot* begins, or goes on, here."""
        self._since.setdefault(slot, time.time())

    async def adopt(self, task: SourceTask) -> None:
        """Start *task*."""
        await self.add_runtime_dependency(task)

    async def let_go(self, task: SourceTask) -> None:
        """Let go of *task*, which has ended."""
        await self.remove_dependency(task)

    def over(self) -> None:
        """End the worker if all its tasks have reached their time limit, or if one with a time limit has failed."""
        limited = [task for task in self.tasks.values() if task.settings.time_limit_secs is not None]
        if any(task.status.state is State.FAILED for task in limited):
            self._over(1)
        elif limited and self._all_finished():
            self._over(0)

    def _all_finished(self) -> bool:
        tasks = [self.tasks.get(slot) for slot in self.assigned & self._configs.slots_in_use()]
        return all(task is not None and task.finished for task in tasks)


def _name(connector: Connector, slot: int) -> TaskId:
    return TaskId(connector.name, connector.slots.index(slot))
