import asyncio
from itertools import count, repeat
from types import SimpleNamespace

import pytest
from mode import Service

from connector.cluster import herder as module
from connector.cluster.herder import Herder
from connector.cluster.statuses import SharedStatus
from connector.records.record import TaskId
from connector.task.status import State, TaskStatus
from connector.telemetry.events.cluster import GhostsUnknown, TasksAssigned
from tests.unit.fakes import until

ONE, TWO, THREE = (TaskId("posts", number) for number in range(3))
SLOTS = {0: ONE, 1: TWO, 2: THREE}


class FakeTask(Service):
    """A task that runs until it is stopped and has drained, or until the test ends it."""

    mundane_level = "debug"

    def __init__(self, name, slot, on_status, ghosts, *, time_limit_secs=None):
        super().__init__()
        self.slot, self.on_status, self.ghosts = slot, on_status, ghosts
        self.settings = SimpleNamespace(task=name, time_limit_secs=time_limit_secs)
        self.status = TaskStatus(state=State.RUNNING)
        self.ended, self.over, self.drained = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.drained.set()
        self.finished = self.stop_asked = self.abandoned = False
        self.undelivered_posts, self.unready = 7, None

    async def on_stop(self):
        self.begin_stop()
        await self.ended.wait()

    def begin_stop(self):
        self.stop_asked = True
        asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self):
        await self.drained.wait()
        self.end()

    def end(self, state=State.UNASSIGNED, *, finished=False):
        self.finished = finished or self.finished
        if not self.ended.is_set():
            self.status = TaskStatus(state=state)
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

    def __init__(self):
        self.shared, self.published, self.flushed = {}, [], 0

    def of(self, task):
        return self.shared.get(task)

    def publish(self, task, status):
        self.published.append((task, status))

    async def flush(self):
        self.flushed += 1

    async def caught_up(self):
        pass


class Herding:
    """A herder at work, with what it built and told."""

    def __init__(self, slots=SLOTS, **task):
        self.built, self.events, self.codes, self.statuses = [], [], [], FakeStatuses()
        self.memberships = repeat("member")
        self.herder = Herder(
            slots,
            self._build,
            self.statuses,
            membership=lambda: next(self.memberships),
            emit=self.events.append,
            over=self.codes.append,
        )
        self._task = task

    def _build(self, task, slot, *, on_status, ghosts):
        self.built.append(FakeTask(task, slot, on_status, ghosts, **self._task))
        return self.built[-1]

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
        wanted = self.herder.slots.keys() & set(slots)
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
        herding.of(0)[0].on_status(herding.of(0)[0].status)

        assert [("old-1",), ()] == [task.ghosts for task in herding.built]
        assert [(ONE, TaskStatus(state=State.RUNNING))] == herding.statuses.published


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
        monkeypatch.setattr(herding.herder, "_build", lambda *_, **__: 1 / 0)
        herding.herder.assign([0])
        await until(lambda: herding.herder.crashed)

        assert isinstance(herding.herder.crash_reason, ZeroDivisionError)


async def test_time_limit_bounds_the_drain():
    """The worker begins its stop when the limit is reached, not when the drain is through: a stop is bounded."""
    async with Herding({0: TaskId("posts", 0)}, time_limit_secs=1.0) as herding:
        await herding.assign(0)
        herding.built[0].reach_time_limit()
        await until(lambda: herding.codes)

        assert [0] == herding.codes
        assert not herding.built[0].ended.is_set()


async def test_drain_that_fails_after_the_time_limit_is_told():
    """A task that FAILS while it drains after its time limit ends the worker with 1."""
    async with Herding({0: TaskId("posts", 0)}, time_limit_secs=1.0) as herding:
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
        assert len(herder._runs) <= len(SLOTS)
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
