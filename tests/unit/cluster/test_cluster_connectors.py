"""Changes of connectors: what they write, what they refuse, and what they answer."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest

from connector.cluster import configs as records
from connector.cluster.asker import ASKER
from connector.cluster.configs import Configs, TargetState
from connector.cluster.connectors import Connectors
from connector.cluster.overview import Overview
from connector.cluster.plugins import Plugins
from connector.cluster.refused import Conflicting, NotFound, Refused, Unavailable
from connector.cluster.statuses import Statuses
from connector.cluster.validation import OPTIONS_MAX
from connector.config.load import load
from connector.config.vault import Vault
from connector.coverage.offset import Coverage
from connector.errors import BrokerUnsuitable
from connector.kafka.state.offsets import OffsetTable, encode_key
from connector.records.record import TaskId
from connector.task.status import State, TaskStatus
from connector.telemetry.obstacles import Obstacles
from connector.worker.plugin import plugin_of

ENVIRON = {"CONNECTOR_TOKEN": "AAAAsynthetic%3Dtoken"}
CONFIG = {
    "connector.class": "PostStreamSourceConnector",
    "topic": "birds",
    "hashtags": "birds",
    "x.bearer.token": "${env:CONNECTOR_TOKEN}",
}
FIREHOSE = {
    "connector.class": "PostStreamSource",
    "topic": "birds",
    "stream": "firehose",
    "plan": "enterprise",
    "tasks.max": "3",
    "x.bearer.token": "${env:CONNECTOR_TOKEN}",
}


class FakeWriter:
    """`connector.cluster.config_writer.ConfigWriter` without Kafka; *first* is called before a decision."""

    def __init__(self, configs):
        self.configs, self.first, self.written = configs, None, []

    async def fresh(self):
        """There is nobody else."""

    async def write(self, decide):
        if self.first is not None:
            first, self.first = self.first, None
            first()
        self.take(decide())

    def take(self, written):
        self.written += [key for key, _ in written]
        for key, value in written:
            self.configs.apply(key.encode(), value)


class FakeChanges:
    """`connector.cluster.offset_changes.OffsetChanges` without Kafka."""

    def __init__(self, table):
        self.table, self.held, self.fenced, self.gathered, self.away = table, {}, [], [], False

    async def gather(self, connector, number, number_of, transactional_id):
        if self.away:
            raise TimeoutError
        self.gathered.append((connector.name, number, number_of(PARTITION), len(self.fenced)))

    async def write(self, slots, decide):
        self.fenced.append(dict(slots))
        for slot in slots:
            for key, value in decide(slot, dict(self.held.get(slot, {}))):
                self.table.apply(key, value)
                held = self.held.setdefault(slot, {})
                held.pop(key, None)
                if value is not None:
                    held[key] = value


class FakeSlots:
    """`connector.kafka.slot_topics.SlotTopics` without Kafka; *refuse* is what it raises."""

    def __init__(self, count):
        self.count, self.refuse = count, None

    async def grow(self, wanted):
        if self.refuse is not None:
            raise self.refuse
        self.count = max(self.count, wanted)


class Group:
    """What one worker knows of its group, and its ways to change it."""

    def __init__(self, tmp_path, slots=64, **environ):
        loaded, self.events = load(ENVIRON | environ, tmp_path), []
        self.configs, table = Configs(), OffsetTable()
        self.statuses = Statuses(SimpleNamespace(), "connector-statuses", "here:8083", lambda _: None)
        self.writer, self.changes = FakeWriter(self.configs), FakeChanges(table)
        self.slots, vault = FakeSlots(slots), Vault(loaded.worker, ENVIRON, tmp_path)
        overview = Overview(
            configs=self.configs,
            herder=None,
            statuses=self.statuses,
            offsets=table,
            requests=None,
            logs=(),
            troubles=list,
            rebalancing=bool,
            obstacles=Obstacles(lambda _: None),
            cluster_id=lambda: "synthetic",
        )
        self.connectors = Connectors(
            configs=self.configs,
            overview=overview,
            writer=self.writer,
            plugins=Plugins([plugin_of(vault, loaded)]),
            vault=vault,
            statuses=self.statuses,
            changes=self.changes,
            transactional_id=lambda _, task: f"connector-{task}",
            slots=self.slots,
            emit=self.events.append,
        )

    def told(self, name, state, number=0, trace=None):
        self.statuses.publish(TaskId(name, number), TaskStatus(state=state, trace=trace))


@pytest.fixture
def group(tmp_path):
    return Group(tmp_path)


async def test_create(group):
    """The answer and what is known afterwards say the same, in Connect's form."""
    info = await group.connectors.create("birds", CONFIG)

    assert {"connector": "birds", "task": 0} == info["tasks"][0]
    assert ("birds", "source", {**CONFIG, "name": "birds"}) == (info["name"], info["type"], info["config"])
    assert info == group.connectors.info("birds")
    assert (["birds"], {0}) == (group.connectors.names(), group.configs.slots_in_use())
    (task,) = group.connectors.task_configs("birds")
    assert ({"connector": "birds", "task": 0}, "birds") == (task["id"], task["config"]["topic"])


@pytest.mark.parametrize("state", [TargetState.PAUSED, TargetState.STOPPED])
async def test_create_in_a_state(group, state):
    """Such a connector has no tasks until it is resumed."""
    info = await group.connectors.create("birds", CONFIG, state=state)
    assert [] == info["tasks"] == group.connectors.status("birds")["tasks"]
    assert state == group.connectors.status("birds")["connector"]["state"]
    await group.connectors.set_state("birds", TargetState.RUNNING)

    assert [{"connector": "birds", "task": 0}] == group.connectors.info("birds")["tasks"]


async def test_create_twice(group):
    """A name exists once, also if another worker was faster by a moment."""
    await group.connectors.create("birds", CONFIG)
    with pytest.raises(Conflicting, match="Connector birds already exists"):
        await group.connectors.create("birds", CONFIG)
    group.writer.first = lambda: group.writer.take(records.created(group.configs.get("birds")))
    with pytest.raises(Conflicting):
        await group.connectors.create("birds", CONFIG)


WRONG = [
    ({"topic": None}, "topic is required"),
    ({"tasks.max": "0"}, "tasks.max"),
    ({"connector.class": None}, "contains no connector type"),
    ({"connector.class": "Nope"}, "^Failed to find any class"),
    ({"name": "other"}, "doesn't match connector name"),
    ({"x.bearer.token": "AAAAliteral"}, "CONNECTOR_CONFIG_KEY_FILE"),
    ({"x.bearer.token": "[hidden]"}, "none is stored"),
    ({"x.bearer.token": "${env:CONNECTOR_OTHER}"}, "CONNECTOR_OTHER, which is not set"),
    ({"rules.file": "/etc/passwd"}, "write the rules into"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
async def test_wrong_configuration(group, change, sentence):
    """Nothing is written, and the sentence says what to change."""
    config = {name: text for name, text in {**CONFIG, **change}.items() if text is not None}
    for attempt in (group.connectors.create, group.connectors.put_config):
        with pytest.raises(Refused, match=sentence):
            await attempt("birds", config)

    assert ([], []) == (group.connectors.names(), group.writer.written)


async def test_too_many_options(group, monkeypatch):
    """The worker does not look for names like 40,000 unknown ones, which would take seconds of its event loop."""
    many = {**CONFIG, **{f"option_{number}": "1" for number in range(OPTIONS_MAX)}}
    monkeypatch.setattr(Vault, "sealed", lambda *_: pytest.fail("it looks at each name"))
    with pytest.raises(Refused, match=r"The configuration has 1\d\d\d options: use at most 1000"):
        await group.connectors.create("birds", many)
    with pytest.raises(Refused, match="use at most 1000"):
        group.connectors.judge(many)


async def test_answers_say_what_is_worth_a_warning(tmp_path):
    """A secret that lies readable, an option that nothing reads: said where it is set, each time, and nowhere else."""
    group = Group(tmp_path, CONNECTOR_CONFIG_PLAINTEXT_SECRETS="true")
    config = CONFIG | {"x.bearer.token": "AAAAliteral", "hashtag": "birds"}
    created = await group.connectors.create("birds", config)
    patched = await group.connectors.patch_config("birds", {"topic": "others"})
    replaced, _ = await group.connectors.put_config("birds", CONFIG)

    for answer in (created, patched):
        assert any("x.bearer.token lies readable in Kafka" in sentence for sentence in answer["warnings"])
        assert any("did you mean hashtags?" in sentence for sentence in answer["warnings"])
    assert "warnings" not in replaced
    assert "warnings" not in group.connectors.info("birds")


async def test_put_creates_and_replaces(group):
    """PUT creates what is absent, and leaves nothing of the old configuration."""
    created = await group.connectors.put_config("birds", {**CONFIG, "settle.secs": "20"})
    replaced = await group.connectors.put_config("birds", {**CONFIG, "topic": "others"})

    assert (True, False) == (created[1], replaced[1])
    assert {**CONFIG, "name": "birds", "topic": "others"} == group.connectors.info("birds")["config"]


async def test_patch(group):
    """PATCH sets and removes options, and changes nothing else."""
    await group.connectors.create("birds", {**CONFIG, "settle.secs": "20"})
    info = await group.connectors.patch_config("birds", {"topic": "others", "settle.secs": None})

    assert {**CONFIG, "name": "birds", "topic": "others"} == info["config"]


async def test_same_configuration_writes_nothing(group):
    """A change that changes nothing restarts no task."""
    await group.connectors.create("birds", CONFIG)
    before = len(group.writer.written)
    await group.connectors.put_config("birds", CONFIG)
    await group.connectors.patch_config("birds", {})

    assert before == len(group.writer.written)


async def test_change_that_came_too_late(group):
    """Another worker has changed the connector since the request arrived: 409, and nothing is written."""
    await group.connectors.create("birds", CONFIG)
    found = group.configs.get("birds")

    def other():
        group.writer.take([records.configured(replace(found, config={**found.config, "topic": "first"}))])

    group.writer.first = other
    with pytest.raises(Conflicting, match="due to stale configuration"):
        await group.connectors.put_config("birds", {**CONFIG, "topic": "second"})

    assert "first" == group.connectors.info("birds")["config"]["topic"]


async def test_change_of_what_was_deleted_meanwhile(group):
    """A deleted connector does not come back by a change of it."""
    await group.connectors.create("birds", CONFIG)
    group.writer.first = lambda: group.writer.take(records.deleted(group.configs.get("birds")))
    with pytest.raises(Conflicting):
        await group.connectors.patch_config("birds", {"topic": "second"})

    assert [] == group.connectors.names()


async def test_two_workers_wanted_the_same(group):
    """Both get it."""
    await group.connectors.create("birds", CONFIG)
    found, wanted = group.configs.get("birds"), {**CONFIG, "name": "birds", "topic": "others"}
    group.writer.first = lambda: group.writer.take([records.configured(replace(found, config=wanted))])
    info, _ = await group.connectors.put_config("birds", wanted)

    assert wanted == info["config"]


async def test_more_and_fewer_tasks(group):
    """The tasks that stay keep their slots."""
    await group.connectors.create("birds", FIREHOSE)
    await group.connectors.create("other", CONFIG)
    assert (0, 1, 2) == group.configs.get("birds").slots
    await group.connectors.patch_config("birds", {"tasks.max": "4"})
    assert (0, 1, 2, 4) == group.configs.get("birds").slots
    await group.connectors.patch_config("birds", {"tasks.max": "1"})

    assert (0,) == group.configs.get("birds").slots
    assert 1 == len(group.connectors.info("birds")["tasks"])


async def test_slots_grow(tmp_path):
    """A task that finds no slot gets a new one."""
    group = Group(tmp_path, slots=3)
    await group.connectors.create("birds", FIREHOSE)
    await group.connectors.create("other", CONFIG)
    await group.connectors.patch_config("birds", {"tasks.max": "5"})

    assert ((0, 1, 2, 4, 5), (3,)) == (group.configs.get("birds").slots, group.configs.get("other").slots)


@pytest.mark.parametrize(
    ("refuse", "refused"), [(BrokerUnsuitable("allow ALTER on it"), Refused), (TimeoutError("away"), Unavailable)]
)
async def test_no_slot_left(tmp_path, refuse, refused):
    """Where the slots cannot grow, the refusal says what to do, and nothing is written."""
    group = Group(tmp_path, slots=2)
    group.slots.refuse = refuse
    with pytest.raises(refused, match=str(refuse)):
        await group.connectors.create("birds", FIREHOSE)

    assert [] == group.writer.written


async def test_slots_of_deleted_connectors_come_last(tmp_path):
    """A slot with the offsets of a name is kept for it, as long as there are others."""
    group = Group(tmp_path, slots=1)
    group.changes.table.apply(encode_key("gone", {"stream": "filtered"}), OFFSET.encode(), 0)
    await group.connectors.create("birds", CONFIG)
    group.slots.refuse = BrokerUnsuitable("allow ALTER on it")
    await group.connectors.create("other", FIREHOSE | {"tasks.max": "1"})

    assert ((1,), (0,)) == (group.configs.get("birds").slots, group.configs.get("other").slots)
    group.slots.refuse = None
    await group.connectors.delete("other")
    await group.connectors.create("third", CONFIG | {"stream": "sample", "plan": "enterprise", "hashtags": ""})

    assert (2,) == group.configs.get("third").slots


UNKNOWN = [
    (lambda group: group.delete("x"), "Connector x not found"),
    (lambda group: group.patch_config("x", {}), "Connector x not found"),
    (lambda group: group.set_state("x", TargetState.PAUSED), "Unknown connector x"),
    (lambda group: group.restart("x", include_tasks=True, only_failed=False), "Unknown connector: x"),
    (lambda group: group.restart_task("x", 0), "Unknown connector: x"),
    (lambda group: group.alter_offsets("x", [({}, {})]), "Connector x not found"),
    (lambda group: group.reset_offsets("x"), "Connector x not found"),
]


@pytest.mark.parametrize(("ask", "sentence"), UNKNOWN)
async def test_unknown_connector(group, ask, sentence):
    """Connect's own sentences, which differ from route to route."""
    with pytest.raises(NotFound, match=sentence):
        await ask(group.connectors)


async def test_unknown_task(group):
    """A task that the connector does not have."""
    await group.connectors.create("birds", CONFIG)
    with pytest.raises(NotFound, match="Unknown task: birds-9"):
        await group.connectors.restart_task("birds", 9)


async def test_states(group):
    """Connect's table: a stopped connector has no tasks, a paused one keeps them, a repeated wish writes nothing."""
    await group.connectors.create("birds", CONFIG)
    group.told("birds", State.RUNNING)
    for state, tasks in (("PAUSED", 1), ("STOPPED", 0), ("PAUSED", 0), ("RUNNING", 1)):
        await group.connectors.set_state("birds", TargetState(state))
        before = len(group.writer.written)
        await group.connectors.set_state("birds", TargetState(state))
        status = group.connectors.status("birds")
        assert (state, tasks) == (status["connector"]["state"], len(status["tasks"]))
        assert before == len(group.writer.written)


async def test_restart_answers_what_restarts(group):
    """RESTARTING where something restarts, and the rest as it is."""
    await group.connectors.create("birds", {**FIREHOSE, "tasks.max": "2"})
    group.told("birds", State.RUNNING, 0)
    group.told("birds", State.FAILED, 1, trace="BadRecord: 7")
    failed = await group.connectors.restart("birds", include_tasks=True, only_failed=True)
    everything = await group.connectors.restart("birds", include_tasks=True, only_failed=False)
    alone = await group.connectors.restart("birds", include_tasks=False, only_failed=False)

    def states(status):
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    assert ["RUNNING", "RUNNING", "RESTARTING"] == states(failed)
    assert ["RESTARTING"] * 3 == states(everything)
    assert ["RESTARTING", "RUNNING", "FAILED"] == states(alone)
    assert "BadRecord: 7" == alone["tasks"][1]["trace"]


async def test_delete(group):
    """It is gone at once, its states too, and its rules at X are to be deleted."""
    await group.connectors.create("birds", CONFIG)
    group.told("birds", State.RUNNING)
    await group.connectors.delete("birds")
    assert (None, None, []) == (
        group.connectors.info("birds"),
        group.connectors.status("birds"),
        group.connectors.names(),
    )
    (retired,) = group.configs.retired()
    await group.connectors.retired(retired)

    assert [] == group.configs.retired()
    assert None is group.statuses.of(TaskId("birds", 0))


async def test_declared_connector(group):
    """It is created, changed when its declaration changes, and not by REST; only its state is."""
    declared = {**CONFIG, "name": "birds"}
    assert True is await group.connectors.declare("birds", declared, "here:8083")
    assert None is await group.connectors.declare("birds", declared, "there:8083")
    for change in (
        group.connectors.patch_config("birds", {"topic": "others"}),
        group.connectors.put_config("birds", {**CONFIG, "topic": "others"}),
        group.connectors.delete("birds"),
    ):
        with pytest.raises(Conflicting, match="declared by the environment of the worker here:8083"):
            await change
    await group.connectors.set_state("birds", TargetState.STOPPED)
    assert False is await group.connectors.declare("birds", {**declared, "topic": "others"}, "there:8083")
    assert "STOPPED" == group.connectors.status("birds")["connector"]["state"]
    await group.connectors.delete("birds")

    assert [] == group.connectors.names()


async def test_restored_after_the_topic_was_lost(group):
    """All that a worker knows is written again: also where deleted connectors were, and whose rules are still at X."""
    await group.connectors.create("trees", CONFIG)
    await group.connectors.create("birds", CONFIG, state=TargetState.PAUSED)
    await group.connectors.delete("trees")
    empty = Configs()

    async def write(decide):
        for key, value in decide():
            empty.apply(key.encode(), value)

    group.writer.write = write
    await group.connectors.restore()

    def known(configs):
        return configs.get("birds"), configs.left(), configs.retired()

    assert known(group.configs) == known(empty)
    assert (["birds"], {"trees"}, ["trees"]) == (
        empty.names(),
        set(empty.left()),
        [each.name for each in empty.retired()],
    )


# -- offsets


OFFSET = Coverage(covered_from_ms=1_793_534_400_000, covered_to_ms=1_793_536_200_000, posts=7)
PARTITION = {"stream": "filtered"}


async def stopped_with_an_offset(group):
    await group.connectors.create("birds", CONFIG, state=TargetState.STOPPED)
    key = encode_key("birds", PARTITION)
    group.changes.held = {0: {key: OFFSET.encode()}}
    group.changes.table.apply(key, OFFSET.encode())


async def test_alter_offsets(group):
    """The task is fenced, and the offset is what somebody wants, with the counts as they were."""
    await stopped_with_an_offset(group)
    await group.connectors.alter_offsets("birds", [(PARTITION, {"covered_to": "2026-11-01T12:00:00.000Z"})])
    (entry,) = group.connectors.offsets("birds")

    assert (PARTITION, "2026-11-01T12:00:00.000Z", 7) == (
        entry["partition"],
        entry["offset"]["covered_to"],
        entry["offset"]["posts"],
    )
    assert [{0: "connector-birds-0"}] == group.changes.fenced


async def test_remove_and_reset_offsets(group):
    """A removed offset is gone at once; what lies beside it, too; and again is no error."""
    await stopped_with_an_offset(group)
    group.changes.held[0][encode_key("birds", PARTITION, "rules")] = b"{}"
    await group.connectors.alter_offsets("birds", [(PARTITION, None)])
    assert ([], {0: {}}) == (group.connectors.offsets("birds"), group.changes.held)
    await stopped_again(group)
    await group.connectors.reset_offsets("birds")
    await group.connectors.reset_offsets("birds")

    assert ([], {0: {}}) == (group.connectors.offsets("birds"), group.changes.held)


async def stopped_again(group):
    await group.connectors.alter_offsets("birds", [(PARTITION, orjson.loads(OFFSET.encode()))])
    assert 1 == len(group.connectors.offsets("birds"))


REFUSED_OFFSETS = [
    ([], "Partitions / offsets need to be provided"),
    ([({"filename": "a"}, {"position": 1})], "A source partition is"),
    ([({"stream": "filtered", "partition": "9"}, {"covered_to": "x"})], "has no source partition"),
    ([(PARTITION, {"covered_to": "2026-11-01T23:00:00.000Z"})], "cannot be later"),
    ([(PARTITION, {"position": 7})], "no field"),
    ([(PARTITION, None)] * 1001, "At most 1000"),
]


@pytest.mark.parametrize(("offsets", "sentence"), REFUSED_OFFSETS)
async def test_refused_offsets(group, offsets, sentence):
    """An offset that cannot be is refused, and the stored one stays."""
    await stopped_with_an_offset(group)
    with pytest.raises(Refused, match=sentence):
        await group.connectors.alter_offsets("birds", offsets)

    assert {0: {encode_key("birds", PARTITION): OFFSET.encode()}} == group.changes.held


async def test_offsets_of_earlier_slots_come_first(group):
    """What is changed is all that there is, also in slots that the connector had before."""
    await stopped_with_an_offset(group)
    group.changes.gathered, group.changes.fenced = [], []
    await group.connectors.alter_offsets("birds", [(PARTITION, None)])
    await group.connectors.reset_offsets("birds")
    group.changes.away = True
    with pytest.raises(Unavailable, match="TimeoutError"):
        await group.connectors.reset_offsets("birds")

    assert [("birds", 0, 0, 0), ("birds", 0, 0, 1)] == group.changes.gathered


async def test_offsets_of_what_runs(group):
    """Only a STOPPED connector's offsets can be changed."""
    await group.connectors.create("birds", CONFIG)
    for change in (
        group.connectors.alter_offsets("birds", [(PARTITION, None)]),
        group.connectors.reset_offsets("birds"),
    ):
        with pytest.raises(Refused, match="must be in the STOPPED state"):
            await change


async def test_initial_offsets(group):
    """A connector may be created at an offset, and runs afterwards."""
    await group.connectors.create("birds", CONFIG, offsets=[(PARTITION, {"covered_to": "2026-11-01T12:00:00.000Z"})])

    assert "2026-11-01T12:00:00.000Z" == group.connectors.offsets("birds")[0]["offset"]["covered_to"]
    assert TargetState.RUNNING is group.configs.get("birds").target


async def test_topics(group):
    """The topics that were written to, until they are reset."""
    await group.connectors.create("birds", CONFIG)
    group.statuses.publish_topic(TaskId("birds", 0), "birds", 1_793_536_496_000)
    assert ["birds"] == group.connectors.topics("birds")
    await group.connectors.reset_topics("birds")
    await asyncio.sleep(0)

    assert ([], []) == (group.connectors.topics("birds"), group.connectors.topics("nobody"))


async def test_changes_are_told(group):
    """Each change is an event with the user who asked, once it is confirmed; a change to the same is none."""
    ASKER.set("wren")
    connectors = group.connectors
    await connectors.create("birds", CONFIG)
    await connectors.patch_config("birds", {"settle.secs": "20", "poll.interval.ms": "200"})
    await connectors.patch_config("birds", {"settle.secs": "20"})
    for state in (TargetState.PAUSED, TargetState.PAUSED, TargetState.RUNNING, TargetState.STOPPED):
        await connectors.set_state("birds", state)
    await connectors.reset_offsets("birds")
    await connectors.set_state("birds", TargetState.RUNNING)
    await connectors.restart("birds", include_tasks=True, only_failed=False)
    await connectors.restart_task("birds", 0)
    await connectors.look_at_rules("birds")
    await connectors.delete("birds")

    assert [
        "connector.created",
        "connector.changed",
        "connector.paused",
        "connector.resumed",
        "connector.stopped",
        "connector.offsets_changed",
        "connector.resumed",
        "connector.restarted",
        "connector.restarted",
        "rules.look_asked",
        "connector.deleted",
    ] == [event.name for event in group.events]
    assert {("birds", "wren")} == {(event.connector, event.by) for event in group.events}
    assert ("poll.interval.ms", "settle.secs") == group.events[1].options
    assert ["the connector with its tasks", "the task 0"] == [event.part for event in group.events[7:9]]


async def test_refused_changes_are_not_told(group):
    """What was not done did not happen."""
    with pytest.raises(Refused):
        await group.connectors.create("birds", {})

    assert [] == group.events
