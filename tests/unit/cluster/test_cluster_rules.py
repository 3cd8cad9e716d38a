"""What a worker shows of the rules at X, and when it asks the owner of a task to put them in force."""

import asyncio
from dataclasses import replace

import pytest

from connector.cluster import rules as module
from connector.cluster.configs import Configs, Connector, Placement, TargetState, created
from connector.cluster.refused import Conflicting, NotFound, Refused, Unavailable
from connector.cluster.rules import ConnectorRules
from connector.cluster.statuses import SharedStatus
from connector.cluster.view.terms import Terms
from connector.errors import ConfigError, ConnectionLost, RateLimited
from connector.records.record import TaskId
from connector.sources.rest.rules import Rule
from connector.task.status import State, TaskStatus

POSTS = Connector(name="posts", config={}, placement=Placement((0,), "posts"), tasks=1)
BIRDS = Connector(name="birds", config={}, placement=Placement((0,), "posts"), tasks=1)
OWLS = Connector(name="owls", config={}, placement=Placement((1,), "owls"), tasks=1)
FILTERED = Terms(stream="filtered", known=True)
OTHERS = Rule(value="#else", tag="program/else", id="9")
RIGHT, OLD = Rule(value="#a", tag="posts/a", id="1"), Rule(value="#old", tag="posts/old", id="2")


class Group:
    """The rules of a group, X and the owner of the tasks, as a test has them."""

    def __init__(self, *connectors, held=(), state=State.RUNNING):
        self.configs, self.held, self.asked, self.looks, self.refuse = Configs(), list(held), 0, [], None
        for each in connectors or (POSTS,):
            for key, value in created(each):
                self.configs.apply(key.encode(), value)
        self.states = {TaskId(each.name, 0): state for each in connectors or (POSTS,)}
        self.terms = {"posts": replace(FILTERED, rules={"a": "#a", "b": "#b"})}
        self.apps = {}
        self.rules = ConnectorRules(
            self.configs,
            self,
            held=self._held,
            app=lambda each: self.apps.get(each.name, "one"),
            terms=lambda each: self.terms[each.name],
            look=self._look,
        )

    def of(self, task):
        state = self.states.get(task)
        return state and SharedStatus(status=TaskStatus(state=state), worker_id="there:8083", process="p")

    async def _held(self, connector):
        self.asked += 1
        if self.refuse is not None:
            raise self.refuse
        return list(self.held)

    async def _look(self, name):
        self.looks.append(name)


def values(listed):
    return [each["value"] for each in listed]


async def test_the_difference():
    """What is added, deleted and left; what is not ours is counted alone."""
    plan = await Group(held=[RIGHT, OLD, OTHERS]).rules.plan("posts")

    assert ["#b"] == values(plan["add"])
    assert [{"value": "#old", "tag": "posts/old", "id": "2"}] == plan["delete"]
    assert {"add": 1, "delete": 1, "kept": 0, "held_elsewhere": 0, "unchanged": 1, "others": 1} == plan["counts"]
    assert ("RUNNING", None) == (plan["state"], plan["objection"])


async def test_a_rule_of_two():
    """X holds a value once: where another connector of the stream has it, it is not added for this one."""
    held = [RIGHT, Rule(value="#b", tag="birds/b", id="3")]
    group = Group(POSTS, BIRDS, held=held)
    group.terms["birds"] = replace(FILTERED, rules={"b": "#b"})
    plan = await group.rules.plan("posts")

    assert ([], []) == (plan["add"], plan["delete"])
    assert [("#b", "birds")] == [(each["value"], each["wanted_by"]) for each in plan["kept"]]


async def test_a_rule_of_others():
    """It counts as present, and is never touched."""
    plan = await Group(held=[RIGHT, Rule(value="#b", tag="", id="3")]).rules.plan("posts")

    assert ([], [], ["#b"]) == (plan["add"], plan["delete"], plan["held_elsewhere"])


@pytest.mark.parametrize("target", [TargetState.PAUSED, TargetState.STOPPED])
async def test_a_connector_that_does_not_run(target):
    """Its rules are to be gone, and nothing is applied: they come back when it is resumed."""
    group = Group(replace(POSTS, target=target), held=[RIGHT])
    plan = await group.rules.plan("posts")
    with pytest.raises(Conflicting, match="its rules are put in force when it is resumed"):
        await group.rules.apply("posts")

    assert ([], ["#a"]) == (plan["add"], values(plan["delete"]))
    assert (f"posts is {target}", []) == (plan["objection"].partition(",")[0], group.looks)


@pytest.mark.parametrize(
    ("state", "words"),
    [(State.FAILED, "has FAILED: restart it"), (State.UNASSIGNED, "No worker runs"), (None, "No worker runs")],
)
async def test_a_task_that_does_not_run(state, words):
    """There is nobody who could put rules in force."""
    group = Group(state=state)
    with pytest.raises(Conflicting, match=words):
        await group.rules.apply("posts")

    assert words in (await group.rules.plan("posts"))["objection"]
    assert [] == group.looks


async def test_the_owner_is_asked(monkeypatch):
    """X is not changed from here, and what it said before is not shown much longer."""
    monkeypatch.setattr(module, "AGAIN_SECS", 0.0)
    group = Group(held=[RIGHT])
    await group.rules.plan("posts")
    await group.rules.apply("posts")
    await group.rules.plan("posts")

    assert (["posts"], 2) == (group.looks, group.asked)


async def test_x_is_asked_seldom():
    """Who asks again is told the same, for all connectors of an app: the tasks need X's requests, too."""
    group = Group(POSTS, BIRDS, OWLS, held=[RIGHT])
    group.terms |= dict.fromkeys(("birds", "owls"), FILTERED)
    group.apps = {"owls": "another"}
    told = await asyncio.gather(*(group.rules.plan(name) for name in ("posts", "birds") * 20))
    await group.rules.plan("owls")

    assert 2 == group.asked
    assert 1 == len({plan["told_at"] for plan in told})


async def test_x_counts_too_many_requests(monkeypatch):
    """What it told before is shown, with its time; after a quarter of an hour nothing is."""
    monkeypatch.setattr(module, "FRESH_SECS", 0.0)
    group = Group(held=[RIGHT])
    before = await group.rules.plan("posts")
    group.refuse = ConnectionLost("no network")
    with pytest.raises(Unavailable, match="no network"):
        await group.rules.plan("posts")
    group.refuse, group.held = RateLimited("429"), []
    again = await group.rules.plan("posts")
    monkeypatch.setattr(module, "FRESH_SECS", 15.0)
    asked = group.asked
    assert before == await group.rules.plan("posts")
    assert asked == group.asked  # X is not asked at once again
    monkeypatch.setattr(module, "FRESH_SECS", 0.0)
    monkeypatch.setattr(module, "KEPT_SECS", 0.0)
    with pytest.raises(Unavailable, match="429"):
        await group.rules.plan("posts")

    assert before == again


async def test_a_bounded_number_of_apps(monkeypatch):
    """The one that was asked about longest ago is forgotten."""
    monkeypatch.setattr(module, "APPS_MAX", 2)
    group = Group(held=[RIGHT])
    for app in ("a", "b", "a", "c", "a", "b"):
        group.apps = {"posts": app}
        await group.rules.plan("posts")

    assert 4 == group.asked


async def test_an_answer_of_bounded_size():
    """Thousands of rules are counted, and the first are shown."""
    group = Group(held=[replace(OLD, value=f"#{number}", tag=f"posts/{number}") for number in range(1_000)])
    plan = await group.rules.plan("posts")

    assert (module.SHOWN_MAX, 1_000) == (len(plan["delete"]), plan["counts"]["delete"])


@pytest.mark.parametrize(
    ("change", "refusal", "words"),
    [
        (lambda group: group.terms.update(posts=Terms()), Conflicting, "ask the worker there:8083"),
        (lambda group: group.terms.update(posts=Terms(stream="sample", known=True)), Refused, "which has no rules"),
        (
            lambda group: setattr(group, "refuse", ConfigError(["no token"])),
            Conflicting,
            "cannot use the configuration",
        ),
        (lambda group: setattr(group, "refuse", RateLimited("429")), Unavailable, "X does not tell"),
    ],
)
async def test_what_cannot_be_told(change, refusal, words):
    """Why, in a sentence."""
    group = Group(held=[RIGHT])
    change(group)
    with pytest.raises(refusal, match=words):
        await group.rules.plan("posts")


async def test_an_unknown_connector():
    with pytest.raises(NotFound):
        await Group().rules.plan("emus")
    with pytest.raises(NotFound):
        await Group().rules.apply("emus")


async def test_x_is_silent(monkeypatch):
    """The wait is bounded."""
    monkeypatch.setattr(module, "ANSWER_SECS", 0.02)
    group = Group()
    group.rules._held = lambda _: asyncio.sleep(60)
    with pytest.raises(Unavailable, match="has not told its rules within"):
        await group.rules.plan("posts")


async def test_a_silent_x_of_one_app_holds_up_no_other():
    """Each app has limits of its own, and perhaps an X of its own."""
    group = Group(POSTS, BIRDS, held=[RIGHT])
    group.terms["birds"] = replace(FILTERED, rules={"a": "#a"})
    group.apps = {"posts": "one", "birds": "two"}
    told = asyncio.Event()

    async def held(connector):
        if connector.name == "posts":
            await told.wait()
        return [RIGHT]

    group.rules._held = held
    waiting = asyncio.create_task(group.rules.plan("posts"))
    await asyncio.sleep(0)
    await asyncio.wait_for(group.rules.plan("birds"), 5)
    told.set()
    await waiting


async def test_who_waits_for_an_answer_that_fails_is_told_at_once(monkeypatch):
    """One after the other would wait for as long as X is silent; who asks later asks X again."""
    monkeypatch.setattr(module, "ANSWER_SECS", 0.05)
    group = Group()
    asked = []

    async def silent(_):
        asked.append(1)
        await asyncio.sleep(60)

    group.rules._held = silent
    told = await asyncio.gather(*(group.rules.plan("posts") for _ in range(9)), return_exceptions=True)

    assert ["X has not told its rules within 0.05 s: ask again."] * 9 == [str(each) for each in told]
    assert [1] == asked
    with pytest.raises(Unavailable):
        await group.rules.plan("posts")
    assert [1, 1] == asked
