"""The records of the topic of configurations, and what they say."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster import configs as records
from connector.cluster.configs import Configs, Connector, Former, Placement, Restart, TargetState
from connector.records.record import TaskId

POSTS = Connector(name="posts", config={"topic": "posts"}, placement=Placement((0,), "posts"), tasks=1)
NOW_MS = 1_793_536_496_000


def known(*written):
    configs = Configs()
    for key, value in written:
        configs.apply(key.encode(), value)
    return configs


def fields(written):
    return {key: None if value is None else orjson.loads(value) for key, value in written}


def test_created_connector_is_known():
    """The records of a new connector say all that there is to know of it."""
    configs = known(*records.created(POSTS))

    assert ["posts"] == configs.names()
    assert POSTS == configs.get("posts") == configs.all_at(0)[0]
    assert {0} == configs.slots_in_use()


def test_half_of_a_connector_is_not_known():
    """Without transactions the records come one by one: the last one makes the connector known."""
    *others, last = records.created(POSTS)
    configs = known(*others)
    assert [] == configs.names()
    configs.apply(last[0].encode(), last[1])

    assert ["posts"] == configs.names()


def test_form_of_the_records():
    """Connect's keys and values, as its tools read them."""
    written = fields(records.created(POSTS))

    assert {"properties": {"topic": "posts"}} == written["connector-posts"]
    assert {"state": "STARTED", "state.v2": "STARTED"} == written["target-state-posts"]
    assert {"tasks": 1} == written["commit-posts"]
    assert {"topic": "posts", "task.class": "SourceTask"} == written["task-posts-0"]["properties"]
    assert {"slots": [0], "id": "posts"} == written["placement-posts"]


@pytest.mark.parametrize(
    ("target", "old", "new"),
    [
        (TargetState.RUNNING, "STARTED", "STARTED"),
        (TargetState.PAUSED, "PAUSED", "PAUSED"),
        (TargetState.STOPPED, "PAUSED", "STOPPED"),
    ],
)
def test_target_states_as_connect_writes_them(target, old, new):
    """The field that older tools read knows no STOPPED."""
    ((_, value),) = [records.targeted(replace(POSTS, target=target))]

    assert {"state": old, "state.v2": new} == orjson.loads(value)


def test_records_of_a_real_worker():
    """What Kafka Connect has written is understood: only the slots are missing."""
    configs = known(
        ("connector-gold", b'{"properties":{"connector.class":"FileStreamSource","tasks.max":"1","name":"gold"}}'),
        ("task-gold-0", b'{"properties":{"name":"gold"}}'),
        ("target-state-gold", b'{"state":"PAUSED","state.v2":"STOPPED"}'),
        ("commit-gold", b'{"tasks":0}'),
        ("restart-connector-gold", b'{"include-tasks":true,"only-failed":false}'),
        ("tasks-fencing-gold", b'{"task-count":1}'),
        ("session-key", b'{"key":"x"}'),
    )
    gold = configs.get("gold")

    assert (TargetState.STOPPED, None, 0) == (gold.target, gold.placement, gold.tasks)
    assert "FileStreamSource" == gold.config["connector.class"]


def test_deleted_connector_is_retired():
    """It is gone, its slot is free, and its configuration is kept until its rules at X are deleted."""
    configs = known(*records.created(POSTS), *records.deleted(POSTS))

    assert ([], set()) == (configs.names(), configs.slots_in_use())
    (retired,) = configs.retired()
    assert ("posts", {"topic": "posts"}, (0,)) == (retired.name, dict(retired.config), retired.slots)


def test_connector_that_is_created_again_is_not_retired():
    """Its rules are its own again."""
    configs = known(*records.created(POSTS), *records.deleted(POSTS), *records.created(POSTS))

    assert [] == configs.retired()
    assert POSTS == configs.get("posts")


STATES = st.lists(st.sampled_from(list(TargetState)), max_size=6)


@given(STATES)
def test_compaction_changes_nothing(states):
    """Whoever reads only the newest record of each key knows the same."""
    written, connector = list(records.created(POSTS)), POSTS
    for step, state in enumerate(states):
        connector = records.moved(connector, state, NOW_MS + step)
        written += [*records.committed(connector), records.targeted(connector)]
    newest = {key: value for key, value in written if value is not None}
    order = list(dict.fromkeys(key for key, _ in reversed(written)))[::-1]

    assert known(*written).get("posts") == known(*((key, newest[key]) for key in order if key in newest)).get("posts")
    assert connector == known(*written).get("posts")


@given(STATES)
def test_tasks_of_a_state(states):
    """A stopped connector has no tasks, and gets them when it runs; a pause changes nothing."""
    connector = POSTS
    for state in states:
        tasks = connector.tasks
        connector = records.moved(connector, state, NOW_MS)
        wanted = {TargetState.RUNNING: 1, TargetState.STOPPED: 0, TargetState.PAUSED: tasks}
        assert wanted[state] == connector.tasks


def test_time_without_running():
    """The pause from which a gap comes begins with the first of pause and stop, and ends with the resume."""
    paused = records.moved(POSTS, TargetState.PAUSED, NOW_MS)
    stopped = records.moved(paused, TargetState.STOPPED, NOW_MS + 5)
    running = records.moved(stopped, TargetState.RUNNING, NOW_MS + 9)

    assert [(NOW_MS, None), (NOW_MS, None), (NOW_MS, NOW_MS + 9)] == [
        each.idle_ms for each in (paused, stopped, running)
    ]


def test_earlier_slots_are_kept():
    """A task that begins knows where its connector was, and with which transactional ids."""
    earlier = (Former(5, TaskId("a-b", 0)), Former(0, TaskId("posts", 1)))
    placement = Placement((0, 2), "posts", "hash", earlier)

    assert placement == known(*records.created(replace(POSTS, placement=placement))).get("posts").placement
    assert ((0, ("posts", 0)), (2, ("posts", 1))) == placement.tasks


def test_lowest_free_slots():
    """A new task gets the lowest slot that no connector has."""
    configs = known(*records.created(replace(POSTS, placement=Placement((0, 2), "posts"))))

    assert (1,) == configs.free_slots(1, slots=64)
    assert (1, 3) == configs.free_slots(2, slots=64)
    assert None is configs.free_slots(3, slots=4)


def test_restarts_are_told_and_change_nothing():
    """A request to restart is no state."""
    configs, told, changes = Configs(), [], []
    configs.on_restart(told.append)
    configs.on_change(lambda: changes.append(1))
    wanted = [Restart("a-b", "x", include_tasks=True, only_failed=True), Restart("a-b", "y", task=3)]
    for restart in wanted:
        key, value = records.restarted(restart)
        configs.apply(key.encode(), value)
        configs.apply(key.encode(), None)

    assert (wanted, []) == (told, changes)


def test_looks_at_rules_are_told_and_change_nothing():
    """A request to look is no state; a deleted connector leaves none behind."""
    configs, told, changes = Configs(), [], []
    configs.on_look(told.append)
    configs.on_change(lambda: changes.append(1))
    key, value = records.looked("a-b", "x")
    configs.apply(key.encode(), value)
    configs.apply(key.encode(), None)

    assert (["a-b"], []) == (told, changes)
    assert ("look-rules-posts", None) in records.deleted(POSTS)


def test_only_changes_are_told():
    """The same record again, as after the topic was read anew, is no change."""
    configs, changes = Configs(), []
    configs.on_change(lambda: changes.append(1))
    for _ in range(2):
        for key, value in records.created(POSTS):
            configs.apply(key.encode(), value)

    assert 1 == len(changes)


ODD_EARLIER = b'{"slots":[5],"id":"a","earlier":[[-1,"a",0]]}'
JUNK = st.binary() | st.sampled_from(
    [b"[]", b"{}", b'{"properties":7}', b'{"state":"ODD"}', b'{"slots":[0,0],"id":"a"}', ODD_EARLIER]
)
KINDS = ["connector-posts", "target-state-posts", "placement-posts", "commit-posts", "retired-posts", "task-posts-0"]
RESTARTS = ["restart-connector-posts", "restart-task-posts-x", "restart-task-posts-0", "gap-posts-0-", "odd", "\udcff"]
LOOKS = ["look-rules-posts", "look-rules-"]
KEYS = st.sampled_from(KINDS + RESTARTS + LOOKS)


@given(KEYS, JUNK)
def test_foreign_records_change_nothing(key, value):
    """Whatever else lies in the topic, the connectors stay as they are."""
    configs = known(*records.created(POSTS))
    configs.apply(key.encode(errors="surrogateescape"), value)
    found = configs.get("posts")

    assert "posts" == found.name
    if value in {b"[]", b'{"properties":7}', b'{"state":"ODD"}', b'{"slots":[0,0],"id":"a"}', ODD_EARLIER}:
        assert POSTS.config == found.config
        assert POSTS.slots == found.slots
