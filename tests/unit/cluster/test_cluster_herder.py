import asyncio
from dataclasses import replace
from itertools import count, repeat
from types import SimpleNamespace

import pytest
from mode import Service

from connector.cluster import configs as records
from connector.cluster import herder as herder_module
from connector.cluster import slot as module
from connector.cluster.configs import Configs, Connector, Placement, Restart, TargetState
from connector.cluster.herder import Herder
from connector.cluster.refused import Unavailable
from connector.cluster.retries import Retries
from connector.cluster.statuses import SharedStatus
from connector.errors import BrokerAway, ConfigError, ServiceUnavailable
from connector.records.record import TaskId
from connector.task.status import State, TaskStatus
from connector.telemetry.events.cluster import GhostsUnknown, RulesLeft, TasksAssigned, TaskTriedAgain
from tests.unit.fakes import until

ONE, TWO, THREE = (TaskId("posts", number) for number in range(3))
ALONE = Connector(name="posts", config={"topic": "posts"}, placement=Placement((0,), "posts"), tasks=1)
POSTS = Connector(name="posts", config={"topic": "posts"}, placement=Placement((0, 1, 2), "posts"), tasks=3)


class FakeTask(Service):
    """A task that runs until it is stopped and has drained, or until the test ends it."""

    mundane_level = "debug"

    def __init__(self, names, slot, on_status, ghosts, *, time_limit_secs=None):
        super().__init__()
        self.names, self.slot, self.on_status, self.ghosts, self.changes = names, slot, on_status, ghosts, []
        self.settings = SimpleNamespace(task=names[0], time_limit_secs=time_limit_secs)
        self.status = TaskStatus(state=State.RUNNING)
        self.ended, self.over, self.drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.drained.set()
        self.finished = self.stop_asked = self.abandoned = False
        self.undelivered_posts, self.unready, self.looks = 7, None, 0
        self.take_written = set

    @property
    def statuses(self):
        return dict.fromkeys(self.names, self.status)

    def look_at_rules(self):
        self.looks += 1

    async def on_stop(self):
        self.begin_stop()
        await self.ended.wait()

    def begin_stop(self):
        self.stop_asked = True
        asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self):
        await self.drained.wait()
        self.end()

    def end(self, state=State.UNASSIGNED, *, finished=False, may_pass=False):
        self.finished = finished or self.finished
        if not self.ended.is_set():
            self.status = TaskStatus(state=state, may_pass=may_pass)
        self.ended.set()
        self.over.set()

    def reach_time_limit(self):
        self.finished = True
        self.over.set()

    def abandon(self):
        self.abandoned = True
        self.end()


class FakeStatuses:
    """`connector.cluster.statuses.Statuses` without a topic."""

    process = "this process"

    def __init__(self):
        self.shared, self.published, self.flushed, self.forgotten = {}, [], 0, []
        self.connectors, self.topics = {}, []

    def topics_of(self, name):
        return [topic for task, topic in self.topics if task.connector == name]

    def publish_topic(self, task, topic, now_ms):
        self.topics.append((task, topic))

    def of(self, task):
        return self.shared.get(task)

    def publish(self, task, status):
        self.published.append((task, status))

    def of_connector(self, name):
        return self.connectors.get(name)

    def publish_connector(self, name, status):
        self.connectors[name] = SharedStatus(status=status, worker_id="here:8083", process=self.process)

    def forget(self, name, tasks):
        self.forgotten.append((name, tasks))

    async def flush(self):
        self.flushed += 1

    async def caught_up(self):
        pass


class FakeFactory:
    """`connector.worker.tasks.TaskBuilder` without Kafka and X; *refuse* is what a build raises."""

    def __init__(self, **task):
        self.built, self.retired, self.prepared, self._task = [], [], [], task
        self.refuse = self.unprepared = self.unretired = None
        self.moved: list[bool] = []
        """Whether the connector has got other slots while it was prepared, each time."""
        self.timeout_secs, self.fitting = -1, False
        self.preparing = asyncio.Event()
        self.preparing.set()
        self.retiring = asyncio.Event()
        self.retiring.set()

    async def prepare(self, connector, slot):
        assert slot in connector.slots
        self.prepared.append(connector.name)
        await self.preparing.wait()
        if error := self.unprepared or self.refuse:
            raise error
        return not (self.moved and self.moved.pop(0))

    def build(self, connectors, slot, *, idle, on_status, ghosts):
        names = [TaskId(each.name, each.slots.index(slot)) for each in connectors]
        self.built.append(FakeTask(names, slot, on_status, ghosts, **self._task))
        self.built[-1].idle = [each.name for each in idle]
        return self.built[-1]

    def fits(self, slot, connectors):
        return self.fitting

    def change(self, task, connectors, slot, *, idle, restart, on_status):
        task.names = [TaskId(each.name, each.slots.index(slot)) for each in connectors]
        task.changes.append((sorted(each.name for each in connectors), [each.name for each in idle], set(restart)))

    def keep(self, names):
        self.kept = set(names)

    def retries(self, connector):
        return Retries(timeout_secs=self.timeout_secs, longest_secs=0.01)

    async def retire(self, connector, beside):
        self.retired.append(connector.name)
        await self.retiring.wait()
        if self.unretired:
            raise self.unretired


class Herding:
    """A herder at work, with what it built and told."""

    def __init__(self, *connectors, **task):
        self.unnoted = []
        self.events, self.codes, self.statuses, self.gone, self.rejoins = [], [], FakeStatuses(), [], []
        self.factory, self.configs = FakeFactory(**task), Configs()
        self.built = self.factory.built
        for connector in connectors or (POSTS,):
            self.write(records.created(connector))
        self.memberships = repeat("member")
        self.herder = Herder(
            self.configs,
            self.factory,
            self.statuses,
            membership=lambda: next(self.memberships),
            rejoin=lambda: self.rejoins.append(1),
            emit=self.events.append,
            over=self.codes.append,
            retired=self._retired,
        )
        self.herder.go_live()

    async def _retired(self, connector):
        if self.unnoted:
            raise self.unnoted.pop()
        self.gone.append(connector.name)
        self.write([(records.RETIRED + connector.name, None)])

    def write(self, written):
        for key, value in written:
            self.configs.apply(key.encode(), value)

    def change(self, connector):
        self.write([records.placed(connector), records.targeted(connector), *records.committed(connector)])
        self.write([records.configured(connector)])

    async def __aenter__(self):
        await self.herder.start()
        return self

    async def __aexit__(self, *_):
        for task in self.built:
            task.drained.set()
        async with asyncio.timeout(5):
            await self.herder.stop()

    async def assign(self, *slots):
        """Assign, and wait until the tasks of *slots* are there."""
        self.herder.assign(slots)
        wanted = self.configs.slots_in_use() & set(slots)
        await until(lambda: wanted <= self.herder.tasks.keys())

    def running(self):
        return sorted(task.slot for task in self.built if not task.ended.is_set())

    def of(self, slot):
        return [task for task in self.built if task.slot == slot]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(module, "REVOKED_STOP_SECS", 0.05)


async def test_starts_what_is_assigned():
    """A slot that has a task starts it, with its name and slot; an empty slot starts nothing."""
    async with Herding() as herding:
        assert not herding.herder.joined
        await herding.assign(0, 2, 40)

        assert herding.herder.joined
        assert [0, 2] == herding.running()
        assert [ONE, THREE] == [task.settings.task for task in herding.built]
        assert {0, 2} == set(herding.herder.claims())
    assert [TasksAssigned(running=(), started=("posts-0", "posts-2"), stopped=())] == herding.events


async def test_difference_of_an_assignment():
    """What stays assigned keeps running through a rebalance, what is new starts, what is gone stops."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        kept = herding.of(1)[0]
        await herding.assign(1, 2)
        await until(herding.of(0)[0].ended.is_set)

        assert [1, 2] == herding.running()
        assert [kept] == herding.of(1)
        assert not kept.stop_asked
        assert {1, 2} == set(herding.herder.claims())
    assert TasksAssigned(running=("posts-1",), started=("posts-2",), stopped=("posts-0",)) == herding.events[1]


async def test_same_assignment_changes_nothing():
    """A rebalance that leaves all as it is touches no task."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        await herding.assign(0, 1)
        await asyncio.sleep(0.01)

        assert 2 == len(herding.built)


async def test_fenced_task_starts_afresh():
    """A task that another owner ended is built anew after a pause, if its slot is still here."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.built[0].end()
        await until(lambda: 2 == len(herding.built))

        assert [0] == herding.running()


async def test_a_slot_that_was_cancelled_ends_the_worker(monkeypatch):
    """Nobody of ours does that: the tasks go on elsewhere, or after a new start, and not silently no more."""
    crashes = []

    async def crash(error):
        crashes.append(error)

    async with Herding() as herding:
        monkeypatch.setattr(herding.herder, "crash", crash)
        await herding.assign(0)
        herding.herder._runs[0].cancel()
        await until(lambda: crashes)

    assert ["Interrupted"] == [type(error).__name__ for error in crashes]


async def test_fenced_task_that_has_moved_does_not():
    """A task whose slot went elsewhere while it ended stays away."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.built[0].end()
        herding.herder.assign([])
        await asyncio.sleep(0.03)

        assert 1 == len(herding.built)
        assert {} == herding.herder.tasks


async def test_slot_that_comes_back_while_draining():
    """A slot that is assigned again while its task drains gets a new task once the old one is over."""
    async with Herding() as herding:
        await herding.assign(0)
        first = herding.built[0]
        first.drained.clear()
        herding.herder.assign([])
        herding.herder.assign([0])
        await asyncio.sleep(0.01)
        assert 1 == len(herding.built)
        first.drained.set()
        await until(lambda: 2 == len(herding.built))

        assert {0} == set(herding.herder.claims())


async def test_failed_task_stays_failed():
    """A FAILED task is not started by itself, nor by a rebalance that leaves it here; it stays to be seen."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        herding.of(0)[0].end(State.FAILED)
        await asyncio.sleep(0.03)
        await herding.assign(0, 1, 2)
        await asyncio.sleep(0.03)

        assert 1 == len(herding.of(0))
        assert State.FAILED is herding.herder.tasks[0].status.state


async def test_failed_task_that_goes_and_comes_starts():
    """A slot that was elsewhere in between begins anew."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.built[0].end(State.FAILED)
        await asyncio.sleep(0.01)
        herding.herder.assign([])
        assert {} == herding.herder.tasks
        await herding.assign(0)

        assert 2 == len(herding.built)


async def test_revoked_task_has_bounded_time():
    """A task that cannot drain is given up after a while: its new owner fences it anyway."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.built[0].drained.clear()
        herding.herder.assign([])
        await until(lambda: herding.built[0].abandoned)

        assert herding.built[0].stop_asked


async def test_stop_drains_all_side_by_side():
    """All tasks are asked to stop before any is waited for; then the last states are told."""
    async with Herding() as herding:
        await herding.assign(0, 1, 2)
        for task in herding.built:
            task.drained.clear()
        stopping = asyncio.create_task(herding.herder.stop())
        await until(lambda: all(task.stop_asked for task in herding.built))
        assert not stopping.done()
        for task in reversed(herding.built):
            task.drained.set()
        await asyncio.wait_for(stopping, 5)

        assert [] == herding.running()
        assert 1 == herding.statuses.flushed
        assert 3 == len(herding.built)


async def test_nothing_starts_while_leaving():
    """An assignment that comes during the stop starts nothing."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.herder.begin_stop()
        herding.herder.assign([0, 1])
        await asyncio.sleep(0.03)

        assert 1 == len(herding.built)


async def test_stop_in_the_restart_pause(monkeypatch):
    """A stop does not wait for the pause before a restart, and nothing is started after it."""
    monkeypatch.setattr(module, "RESTART_PAUSE_SECS", 60.0)
    async with Herding() as herding:
        await herding.assign(0)
        herding.built[0].end()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(herding.herder.stop(), 1)

        assert 1 == len(herding.built)


async def test_new_task_waits_out_the_rejoin():
    """A task that is new here after an expulsion begins after the pause, and not at all if it has moved on."""
    async with Herding() as herding:
        herding.herder.assign([0, 1], pause_secs=0.05)
        await asyncio.sleep(0.01)
        assert [] == herding.built
        assert {} == herding.herder.claims()
        herding.herder.assign([1])
        await until(lambda: 1 == len(herding.built))
        await asyncio.sleep(0.02)

        assert [1] == herding.running()


@pytest.mark.parametrize("disturbed", [repeat(None), count()], ids=["no coordinator", "one change after another"])
async def test_rejoin_may_take_long(monkeypatch, disturbed):
    """The pause is counted from when the group leaves this worker in peace: until then the owner cannot be back."""
    monkeypatch.setattr(module, "MEMBER_POLL_SECS", 0.005)
    async with Herding() as herding:
        herding.memberships = disturbed
        herding.herder.assign([0], pause_secs=0.02)
        await asyncio.sleep(0.2)
        assert [] == herding.built
        herding.memberships = repeat("member")
        await until(lambda: 1 == len(herding.built))


async def test_stop_in_the_pause_of_a_rejoin(monkeypatch):
    """A worker without a coordinator stops at once, and starts nothing."""
    monkeypatch.setattr(module, "MEMBER_POLL_SECS", 60.0)
    async with Herding() as herding:
        herding.memberships = repeat(None)
        herding.herder.assign([0], pause_secs=60.0)
        await asyncio.sleep(0.01)
        await asyncio.wait_for(herding.herder.stop(), 1)

        assert [] == herding.built


async def test_ghosts_are_the_last_owners():
    """The task learns which connections its last owner told of, and its own states are told under its name."""
    async with Herding() as herding:
        shared = TaskStatus(state=State.RUNNING, connections=("old-1",))
        herding.statuses.shared[ONE] = SharedStatus(status=shared, worker_id="other:8083")
        await herding.assign(0, 1)
        herding.of(0)[0].on_status(ONE, herding.of(0)[0].status)

        assert [("old-1",), ()] == [task.ghosts for task in herding.built]
        assert [(ONE, TaskStatus(state=State.RUNNING))] == herding.statuses.published[-1:]


async def test_unready_by_task():
    """Each task assigned here that does not do its work is named, with its reason."""
    async with Herding() as herding:
        herding.herder.assign([0, 1])
        assert {"posts-0": "starting", "posts-1": "starting"} == herding.herder.unready()
        await until(lambda: 2 == len(herding.built))
        herding.of(1)[0].unready = "not connected: reset"

        assert {"posts-1": "not connected: reset"} == herding.herder.unready()
        assert 14 == herding.herder.undelivered_posts


async def test_worker_is_over_when_all_are_finished():
    """With a time limit the worker exits with 0 once all its tasks have reached it, and not before."""
    async with Herding(time_limit_secs=1.0) as herding:
        await herding.assign(0, 1)
        herding.of(0)[0].end(finished=True)
        await asyncio.sleep(0.02)
        assert [] == herding.codes
        herding.of(1)[0].end(finished=True)
        await until(lambda: herding.codes)

        assert {0} == set(herding.codes)
        assert 2 == len(herding.built)


async def test_failure_with_a_time_limit_ends_the_worker():
    """A worker that runs for a time exits with 1 at once if a task has failed."""
    async with Herding(time_limit_secs=1.0) as herding:
        await herding.assign(0, 1)
        herding.of(0)[0].end(State.FAILED)
        await until(lambda: herding.codes)

        assert {1} == set(herding.codes)


async def test_failure_without_a_time_limit_does_not():
    """Otherwise the worker stays, to show the state and to run its other tasks."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        herding.of(0)[0].end(State.FAILED)
        await asyncio.sleep(0.02)

        assert [] == herding.codes
        assert [1] == herding.running()


async def test_task_that_cannot_be_built_ends_the_worker(monkeypatch):
    """That is our own error, and no reason to stay silently without a task."""
    async with Herding() as herding:
        monkeypatch.setattr(herding.factory, "build", lambda *_, **__: 1 / 0)
        herding.herder.assign([0])
        await until(lambda: herding.herder.crashed)

        assert isinstance(herding.herder.crash_reason, ZeroDivisionError)


async def test_time_limit_bounds_the_drain():
    """The worker begins its stop when the limit is reached, not when the drain is through: a stop is bounded."""
    async with Herding(ALONE, time_limit_secs=1.0) as herding:
        await herding.assign(0)
        herding.built[0].reach_time_limit()
        await until(lambda: herding.codes)

        assert [0] == herding.codes
        assert not herding.built[0].ended.is_set()


async def test_drain_that_fails_after_the_time_limit_is_told():
    """A task that FAILS while it drains after its time limit ends the worker with 1."""
    async with Herding(ALONE, time_limit_secs=1.0) as herding:
        await herding.assign(0)
        herding.built[0].reach_time_limit()
        await until(lambda: herding.codes)
        herding.built[0].end(State.FAILED)
        await until(lambda: len(herding.codes) > 1)

        assert [0, 1] == herding.codes


async def test_slots_taken_away_while_the_worker_leaves():
    """The group may give and take while a worker leaves: nothing begins any more, and nothing breaks."""
    async with Herding() as herding:
        await herding.assign(0)
        herding.herder.begin_stop()
        herding.herder.assign([0, 1])
        herding.herder.assign([0])
        herding.herder.assign([])

    assert [0] == [task.slot for task in herding.built]
    assert ("posts-1",) == herding.events[-2].stopped


async def test_slots_given_and_taken_again_and_again():
    """What a herder remembers of its slots stays bounded by them."""
    async with Herding() as herding:
        for _ in range(20):
            await herding.assign(0, 1)
            herding.herder.assign([])
            await until(lambda: not herding.herder.tasks)
        herder = herding.herder
        assert (0, 0) == (len(herder.claims()), len(herder._children))
        assert len(herder._runs) <= 3
        await until(lambda: len(herder._futures) <= 3)


async def test_states_that_cannot_be_read_in_time(monkeypatch):
    """The task begins all the same, and it is said that its last owner's connections are not known."""
    monkeypatch.setattr(module, "CATCH_UP_SECS", 0.01)
    async with Herding() as herding:
        herding.statuses.caught_up = asyncio.Event().wait
        await herding.assign(0)

    assert [GhostsUnknown(of=ONE, waited_secs=0.01)] == [
        each for each in herding.events if isinstance(each, GhostsUnknown)
    ]


@pytest.mark.parametrize("end", [{"state": State.FAILED}, {"finished": True}])
async def test_slot_whose_task_failed_while_it_was_taken_away(end):
    """A task that fails, or reaches its limit, while its slot is taken away: once it comes back, a new one runs."""
    async with Herding() as herding:
        await herding.assign(0)
        (first,) = herding.built
        first.drained.clear()
        herding.herder.assign([])
        first.end(**end)
        await until(lambda: not herding.herder.tasks)
        await herding.assign(0)
        await until(lambda: 2 == len(herding.built))

        assert [0] == herding.running()


# -- what somebody changes while it runs


def stopped(connector, target=TargetState.STOPPED):
    return records.moved(connector, target, 1_793_536_496_000)


async def test_pause_stops_and_resume_starts():
    """A paused connector has no task at work and no rules at X; its tasks are PAUSED until it is resumed."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        paused = stopped(ALONE, TargetState.PAUSED)
        herding.change(paused)
        await until(lambda: herding.factory.retired)
        assert [] == herding.running()
        assert (ONE, TaskStatus(state=State.PAUSED)) == herding.statuses.published[-1]
        assert State.PAUSED is herding.statuses.connectors["posts"].status.state
        assert {} == herding.herder.unready()
        herding.change(records.moved(paused, TargetState.RUNNING, 1_793_536_497_000))
        await until(lambda: 2 == len(herding.built))

        assert [0] == herding.running()
        assert State.RUNNING is herding.statuses.connectors["posts"].status.state


async def test_stop_leaves_no_task():
    """A stopped connector's task is UNASSIGNED, as nothing of it is left."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.change(stopped(ALONE))
        await until(lambda: herding.factory.retired)

        assert (ONE, TaskStatus(state=State.UNASSIGNED)) == herding.statuses.published[-1]
        assert State.STOPPED is herding.statuses.connectors["posts"].status.state


async def test_failed_task_of_a_paused_connector_stays_failed():
    """As in Connect: PAUSED says nothing of a task that has FAILED."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.statuses.shared[ONE] = SharedStatus(
            status=TaskStatus(state=State.FAILED, trace="BadRecord"), worker_id="here:8083"
        )
        herding.built[0].end(State.FAILED)
        herding.change(stopped(ALONE, TargetState.PAUSED))
        await until(lambda: herding.factory.retired)

        assert [] == [status for _, status in herding.statuses.published if status.state is State.PAUSED]


async def test_states_of_the_tasks():
    """Of all that are assigned here: those that run, FAILED, are PAUSED or cannot be used; none of a stopped one."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        herding.of(1)[0].end(State.FAILED)
        await until(lambda: {ONE: State.RUNNING, TWO: State.FAILED} == herding.herder.states())
    async with Herding(ALONE) as herding:
        herding.factory.refuse = ConfigError(["x.bearer.token refers to CONNECTOR_A, which is not set."])
        herding.herder.assign([0])
        await until(lambda: {ONE: State.FAILED} == herding.herder.states())
    async with Herding(ALONE) as herding:
        herding.factory.preparing.clear()
        herding.herder.assign([0])
        await until(lambda: {ONE: State.UNASSIGNED} == herding.herder.states())
        herding.factory.preparing.set()
        await until(lambda: {ONE: State.RUNNING} == herding.herder.states())
        herding.change(stopped(ALONE, TargetState.PAUSED))
        await until(lambda: {ONE: State.PAUSED} == herding.herder.states())
        herding.change(stopped(ALONE))
        await until(lambda: {} == herding.herder.states())


async def test_rules_that_x_keeps_are_tried_again(monkeypatch):
    """X may be away when a connector is paused: its rules are deleted later, and it is said that they are left."""
    monkeypatch.setattr(module, "RETIRE_RETRY_SECS", (0.01, 0.02))
    async with Herding(stopped(ALONE, TargetState.PAUSED)) as herding:
        herding.factory.unretired = ServiceUnavailable("X answers 503")
        herding.herder.assign([0])
        await until(lambda: 3 == len(herding.factory.retired))
        herding.factory.unretired = None
        await until(lambda: 4 == len(herding.factory.retired))
        await asyncio.sleep(0.05)

        assert 4 == len(herding.factory.retired)
        assert {"X answers 503"} == {event.reason for event in herding.events if isinstance(event, RulesLeft)}


async def test_new_configuration_restarts_the_task():
    """The task of a changed connector drains, and a new one runs with the new configuration."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.change(replace(ALONE, config={"topic": "others"}))
        await until(lambda: 2 == len(herding.built))

        assert herding.built[0].stop_asked
        assert [0] == herding.running()


async def test_record_that_changes_nothing_restarts_nothing():
    """Configurations are read again when the topic was made anew, and others are changed: this task goes on."""
    async with Herding(ALONE) as herding:
        await herding.assign(0, 7)
        herding.change(ALONE)
        herding.write(records.created(replace(ALONE, name="b", placement=Placement((7,), "b"))))
        await until(lambda: 2 == len(herding.built))

        assert [0, 7] == herding.running()


async def test_new_connector_in_an_assigned_slot():
    """A connector that is created while the worker runs begins without a rebalance."""
    async with Herding(ALONE) as herding:
        await herding.assign(*range(8))
        herding.write(records.created(replace(ALONE, name="b", placement=Placement((5,), "b"))))
        await until(lambda: 2 == len(herding.built))

        assert [TaskId("b", 0)] == [task.settings.task for task in herding.of(5)]


async def test_deleted_connector():
    """Its task stops, its states are forgotten, its rules at X deleted, and the group told that they are."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.write(records.deleted(ALONE))
        await until(lambda: herding.gone)
        await until(lambda: herding.statuses.forgotten)

        assert [] == herding.running()
        assert [("posts", 1)] == herding.statuses.forgotten
        assert ["posts"] == herding.factory.retired
        assert [] == herding.configs.retired()
        await until(lambda: not herding.factory.kept)


async def test_slot_of_a_deleted_connector_is_used_again():
    """The slot's next connector runs in it, with a task of its own."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.write(records.deleted(ALONE))
        herding.write(records.created(replace(ALONE, name="b", placement=Placement((0,), "b"))))
        await until(lambda: 2 == len(herding.built))

        assert TaskId("b", 0) == herding.built[1].settings.task


async def test_configuration_that_cannot_be_used_here():
    """The connector FAILS with the reason, and runs when the configuration is changed."""
    async with Herding(ALONE) as herding:
        herding.factory.refuse = ConfigError(["x.bearer.token refers to CONNECTOR_A, which is not set."])
        herding.herder.assign([0])
        await until(lambda: "posts" in herding.statuses.connectors)
        failed = herding.statuses.connectors["posts"].status
        assert (State.FAILED, True) == (failed.state, "CONNECTOR_A" in failed.trace)
        assert "CONNECTOR_A" in herding.herder.unready()["posts-0"]
        herding.factory.refuse = None
        herding.change(replace(ALONE, config={"topic": "others"}))
        await until(lambda: herding.built)

        assert State.RUNNING is herding.statuses.connectors["posts"].status.state


async def test_what_may_pass_is_tried_again(monkeypatch):
    """Kafka may lack a right at the moment: the connector FAILS, and is tried again by itself."""
    async with Herding(ALONE) as herding:
        herding.factory.unprepared = BrokerAway("Kafka does not answer")
        herding.herder.assign([0])
        await until(lambda: 3 == len(herding.factory.prepared))
        herding.factory.unprepared = None
        await until(lambda: herding.built)

        assert [0] == herding.running()


async def test_a_time_limit_of_kafka_is_told_in_a_sentence(monkeypatch):
    """A TimeoutError has no words of its own."""
    async with Herding(ALONE) as herding:
        herding.factory.unprepared = TimeoutError()
        herding.herder.assign([0])
        await until(lambda: herding.factory.prepared and herding.herder.unready())

        await until(lambda: "Kafka did not answer in time" in herding.herder.unready()["posts-0"])


@pytest.mark.parametrize(
    ("restart", "tasks"),
    [
        (Restart("posts", "a", task=0), 2),
        (Restart("posts", "a", task=1), 1),
        (Restart("others", "a", task=0), 1),
        (Restart("posts", "a"), 1),
        (Restart("posts", "a", include_tasks=True), 2),
        (Restart("posts", "a", include_tasks=True, only_failed=True), 1),
    ],
)
async def test_restart(restart, tasks):
    """A request restarts what it names, and without tasks no task."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.write([records.restarted(restart)])
        await until(lambda: tasks == len(herding.built))
        await asyncio.sleep(0.02)

        assert (tasks, [0]) == (len(herding.built), herding.running())


async def test_restart_of_what_failed():
    """A FAILED task runs again on request; until then its state is RESTARTING."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.built[0].end(State.FAILED)
        await asyncio.sleep(0.01)
        herding.write([records.restarted(Restart("posts", "a", include_tasks=True, only_failed=True))])
        await until(lambda: 2 == len(herding.built))

        assert (ONE, TaskStatus(state=State.RESTARTING)) in herding.statuses.published


async def test_a_look_at_rules():
    """It reaches the task that reads for the connector, and no other; a request of an earlier time reaches none."""
    async with Herding() as herding:
        await herding.assign(0, 1)
        herding.write([records.looked("posts", "a")])
        herding.write([records.looked("others", "a")])
        looks = [task.looks for task in herding.built]
        herding.herder._live = False
        herding.write([records.looked("posts", "b")])

        assert looks == [task.looks for task in herding.built] == [1] * len(herding.built)


async def test_old_requests_restart_nothing():
    """What was asked before this worker knew all configurations was asked of workers that ran before."""
    async with Herding(ALONE) as herding:
        herding.herder._live = False
        await herding.assign(0)
        herding.write([records.restarted(Restart("posts", "a", include_tasks=True))])
        await asyncio.sleep(0.02)

        assert 1 == len(herding.built)


async def test_restart_of_a_paused_connector_leaves_it_paused():
    """As in Connect."""
    async with Herding(stopped(ALONE, TargetState.PAUSED)) as herding:
        herding.herder.assign([0])
        await until(lambda: herding.factory.retired)
        herding.write([records.restarted(Restart("posts", "a", include_tasks=True))])
        await asyncio.sleep(0.02)

        assert [] == herding.built
        assert State.RESTARTING not in {status.state for _, status in herding.statuses.published}


@pytest.mark.parametrize(
    ("slots", "members", "rejoins"),
    [
        ((0, 1, 2), 0, 0),
        ((0, 1, 2), 1, 0),
        ((0, 1, 2), 2, 1),
        ((0, 1, 2), 3, 1),
        ((0,), 2, 0),
        ((), 2, 1),  # 3 and 0: nobody else may know, as with 3, 3 and 1 of seven
    ],
)
async def test_uneven_group_deals_again(monkeypatch, slots, members, rejoins):
    """A worker with more or fewer tasks than its share asks for a rebalance; one with its share does not."""
    monkeypatch.setattr(herder_module, "EVEN_SECS", 0.0)
    async with Herding() as herding:
        await herding.assign(*slots)
        herding.herder.note_members(members)
        for _ in range(2):
            herding.herder.keep_even()

        assert rejoins == len(herding.rejoins)


@pytest.mark.parametrize("change", ["revoked", "paused"])
async def test_changed_while_it_is_prepared(change):
    """What takes long to prepare, and is not wanted here any more when it is ready, does not start: it would fence."""
    async with Herding(ALONE) as herding:
        herding.factory.preparing.clear()
        herding.herder.assign([0])
        await until(lambda: herding.factory.prepared)
        if change == "revoked":
            herding.herder.assign([])
        else:
            herding.write([records.targeted(records.moved(ALONE, TargetState.PAUSED, 1))])
        herding.factory.preparing.set()
        await until(lambda: change == "revoked" or herding.factory.retired)
        await asyncio.sleep(0.05)

        assert [] == herding.built


async def test_moved_away_and_back_while_it_is_prepared():
    """Its offsets may lie elsewhere again: it is prepared anew, although its configuration is the same."""
    async with Herding(ALONE) as herding:
        herding.factory.moved = [True]
        await herding.assign(0)

        assert (["posts", "posts"], [0]) == (herding.factory.prepared, herding.running())


async def test_created_again_while_its_rules_are_deleted():
    """A connector that has the name of a deleted one does not begin while that one's rules are deleted at X."""
    async with Herding(ALONE) as herding:
        herding.factory.retiring.clear()
        await herding.assign(0)
        herding.write(records.deleted(ALONE))
        await until(lambda: herding.factory.retired)
        herding.write(records.created(ALONE))
        await asyncio.sleep(0.05)
        before = len(herding.built)
        herding.factory.retiring.set()
        await until(lambda: len(herding.built) == 2)

        assert 1 == before


async def test_deleted_rules_that_cannot_be_noted(monkeypatch):
    """If Kafka does not take the note that a connector's rules are deleted, it is told again a while later."""
    monkeypatch.setattr(herder_module, "RETIRE_RETRY_SECS", 0.01)
    async with Herding(ALONE) as herding:
        herding.unnoted.append(Unavailable("Kafka does not answer"))
        await herding.assign(0)
        herding.write(records.deleted(ALONE))
        await until(lambda: herding.gone)

        assert ["posts", "posts"] == herding.factory.retired
        assert "Kafka does not answer" in str(herding.events[-1])


async def test_failed_task_that_may_be_well_again():
    """It is started again by itself, and its state says how often, and when."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.built[0].end(State.FAILED, may_pass=True)
        await until(lambda: 2 == len(herding.built))
        failed = [status for _, status in herding.statuses.published if status.state is State.FAILED]

        assert [0] == herding.running()
        assert 1 == failed[-1].auto_restart[0]
        assert [1] == [event.attempt for event in herding.events if isinstance(event, TaskTriedAgain)]


async def test_failed_task_that_is_not_tried_again():
    """After `errors.retry.timeout` it stays FAILED, until somebody restarts it."""
    async with Herding(ALONE) as herding:
        herding.factory.timeout_secs = 0
        await herding.assign(0)
        herding.built[0].end(State.FAILED, may_pass=True)
        await asyncio.sleep(0.05)

        assert 1 == len(herding.built)
        assert None is herding.statuses.published[-1][1].auto_restart


# -- connectors that share a stream


def sharing(name, **changes):
    connector = Connector(name=name, config={"topic": name}, placement=Placement((0,), "a", "stream"), tasks=1)
    return replace(connector, **changes)


A, B, C = sharing("a"), sharing("b"), sharing("c")


async def shared(herding):
    herding.factory.fitting = True
    await herding.assign(0)
    (task,) = herding.built
    return task


async def test_one_task_for_all_connectors_of_a_stream():
    """The one that came first is the first; one that is paused has no part in it, and no rules at X."""
    async with Herding(C, B, A, stopped(sharing("d"), TargetState.PAUSED)) as herding:
        task = await shared(herding)

        assert [TaskId("a", 0), TaskId("b", 0), TaskId("c", 0)] == task.names
        assert ["d"] == task.idle
        assert (TaskId("d", 0), TaskStatus(state=State.PAUSED)) in herding.statuses.published


async def test_connectors_come_change_pause_and_go():
    """The task is told each time, and goes on."""
    async with Herding(A) as herding:
        task = await shared(herding)
        herding.write(records.created(B))
        await until(lambda: 1 == len(task.changes))
        herding.change(sharing("b", config={"topic": "others"}))
        await until(lambda: 2 == len(task.changes))
        herding.change(stopped(sharing("b", config={"topic": "others"}), TargetState.PAUSED))
        await until(lambda: 3 == len(task.changes))
        herding.write(records.deleted(A))
        herding.write(records.created(C))
        await until(lambda: task.changes[-1][0] == ["c"])

        assert [(["a", "b"], [], set()), (["a", "b"], [], set()), (["a"], ["b"], set())] == task.changes[:3]
        assert (1, [0]) == (len(herding.built), herding.running())
        assert ("a", 1) in herding.statuses.forgotten


async def test_paused_connector_is_told_once_the_task_has_let_go_of_it():
    """PAUSED is true only then."""
    async with Herding(A, B) as herding:
        task = await shared(herding)
        herding.change(stopped(B, TargetState.PAUSED))
        await until(lambda: task.changes)
        paused = (TaskId("b", 0), TaskStatus(state=State.PAUSED))
        before = paused in herding.statuses.published
        task.on_status(TaskId("b", 0), TaskStatus(state=State.UNASSIGNED))

        assert not before or TaskId("b", 0) not in task.names
        assert paused in herding.statuses.published


async def test_last_connector_that_pauses_ends_the_task():
    """Nobody wants posts: the connection is closed."""
    async with Herding(A, B) as herding:
        task = await shared(herding)
        herding.change(stopped(A, TargetState.PAUSED))
        herding.change(stopped(B))
        await until(lambda: {"a", "b"} == set(herding.factory.retired))

        assert task.stop_asked
        assert [] == herding.running()


async def test_change_that_a_task_cannot_take():
    """Another API or batch size needs another task."""
    async with Herding(A, B) as herding:
        await shared(herding)
        herding.factory.fitting = False
        herding.change(sharing("a", config={"topic": "others"}))
        await until(lambda: 2 == len(herding.built))

        assert [0] == herding.running()


async def test_connector_that_fails_alone_is_tried_again():
    """The others read on meanwhile; then it begins anew in the same task."""
    async with Herding(A, B) as herding:
        task = await shared(herding)
        task.on_status(TaskId("b", 0), TaskStatus(state=State.FAILED, trace="NotAuthorized: 403", may_pass=True))
        await until(lambda: task.changes)

        assert [(["a", "b"], [], {TaskId("b", 0)})] == task.changes
        assert 1 == len(herding.built)


async def test_connector_that_stays_failed():
    """A person has to act: only a request begins it anew, and the others are left alone."""
    async with Herding(A, B) as herding:
        task = await shared(herding)
        task.on_status(TaskId("b", 0), TaskStatus(state=State.FAILED, trace="ToleranceExceeded: 7"))
        await asyncio.sleep(0.03)
        assert [] == task.changes
        assert {"b-0": "FAILED: ToleranceExceeded: 7"} == herding.herder.unready()
        herding.write([records.restarted(Restart("b", "x", include_tasks=True, only_failed=True))])
        await until(lambda: task.changes)

        assert [(["a", "b"], [], {TaskId("b", 0)})] == task.changes
        assert {} == herding.herder.unready()


async def test_connector_that_cannot_be_used_leaves_the_others_alone():
    """It FAILS with its reason, and its rules are not at X."""
    async with Herding(A) as herding:
        task = await shared(herding)
        herding.factory.refuse = ConfigError(["x.bearer.token refers to nothing."])
        herding.write(records.created(B))
        await until(lambda: "b" in herding.statuses.connectors)

        assert State.FAILED is herding.statuses.connectors["b"].status.state
        assert {"b-0"} == set(herding.herder.unready())
        assert [0] == herding.running()
        assert not task.stop_asked


async def test_task_ends_with_its_last_connector():
    """All have FAILED: the task ends, and a restart of one runs it again, without the others."""
    async with Herding(A, B) as herding:
        task = await shared(herding)
        for name in ("a", "b"):
            task.on_status(TaskId(name, 0), TaskStatus(state=State.FAILED, trace="ToleranceExceeded: 7"))
        task.end(State.FAILED)
        await asyncio.sleep(0.02)
        assert {"a-0", "b-0"} == set(herding.herder.unready())
        herding.write([records.restarted(Restart("b", "x", task=0))])
        await until(lambda: 2 == len(herding.built))

        assert ([TaskId("b", 0)], ["a"]) == (herding.built[1].names, herding.built[1].idle)


async def test_last_words_of_a_deleted_connector():
    """What its task tells while it drains is not published: a connector of the same name would begin with it."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        (task,) = herding.built
        herding.write(records.deleted(ALONE))
        before = len(herding.statuses.published)
        task.on_status(ONE, TaskStatus(state=State.UNASSIGNED))
        task.take_written = lambda: {(ONE, "posts")}
        herding.herder.note_topics()

        assert before == len(herding.statuses.published)
        assert [] == herding.statuses.topics


async def test_topics_are_told_once():
    """The group hears of each topic that a task has written to."""
    async with Herding(ALONE) as herding:
        await herding.assign(0)
        herding.built[0].take_written = lambda: {(ONE, "posts")}
        herding.herder.note_topics()
        herding.herder.note_topics()

        assert [(ONE, "posts")] == herding.statuses.topics


@pytest.mark.parametrize("connectors", [(A,), (A, B)])
async def test_restart_of_all_connectors_of_a_stream_connects_anew(connectors):
    """Whoever restarts the only connector of a stream, or all of them, wants another connection."""
    async with Herding(*connectors) as herding:
        task = await shared(herding)
        for connector in connectors:
            herding.write([records.restarted(Restart(connector.name, "x", include_tasks=True))])
        await until(lambda: 2 == len(herding.built))

        assert task.stop_asked
        assert [] == task.changes
