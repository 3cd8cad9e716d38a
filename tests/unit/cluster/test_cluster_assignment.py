import json
from collections import Counter
from itertools import count
from types import SimpleNamespace

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster.assignment import SlotAssignor, owners, spread, spread_free

MEMBERS = st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True)
SLOTS = st.sets(st.integers(0, 20))


@st.composite
def dealt(draw):
    """Slots in use, and what each member owns: disjoint, and perhaps not in use any more."""
    members, slots = draw(MEMBERS), draw(SLOTS)
    owned = {member: set() for member in members}
    for slot in draw(SLOTS):
        if owner := draw(st.none() | st.sampled_from(members)):
            owned[owner].add(slot)
    return slots, owned


@pytest.mark.slow
@given(dealt())
def test_total_and_disjoint(case):
    """Each slot has one owner, and nobody has a slot that is not there."""
    slots, owned = case
    result = spread(slots, owned)

    assert set(owned) == set(result)
    assert sorted(slots) == sorted(slot for each in result.values() for slot in each)


@given(dealt())
def test_even(case):
    """Counts differ by at most one."""
    sizes = [len(each) for each in spread(*case).values()]

    assert max(sizes) - min(sizes) <= 1


@given(dealt())
def test_sticky(case):
    """No more slots move than evenness asks for."""
    slots, owned = case
    result = spread(slots, owned)
    low, extra = divmod(len(slots), len(owned))
    sizes = sorted((len(each & slots) for each in owned.values()), reverse=True)
    stay = sum(min(size, low + (rank < extra)) for rank, size in enumerate(sizes))

    assert stay == sum(len(result[member] & owned[member]) for member in owned)


@given(dealt())
def test_settled_group_stays(case):
    """Dealing again moves nothing."""
    slots, owned = case
    result = spread(slots, owned)

    assert result == spread(slots, result)


@given(dealt(), st.integers(0, 12))
def test_group_stays_even_while_tasks_come(case, new):
    """Each new task gets the lowest free slot: the counts still differ by at most one, without a rebalance."""
    slots, owned = case
    used = spread(slots, owned)
    free = spread_free(set(range(64)) - slots, used)
    assert set(range(64)) - slots == set().union(*free.values())
    taken = set(sorted(set(range(64)) - slots)[:new])
    sizes = [len(used[member]) + len(free[member] & taken) for member in owned]

    assert max(sizes) - min(sizes) <= 1


def test_worker_that_joins_takes_as_little_as_possible():
    """A running stream is moved only for the newcomer's share."""
    assert {"a": {0, 1}, "b": {3, 4}, "c": {2, 5}} == spread(
        set(range(6)), {"a": {0, 1, 2}, "b": {3, 4, 5}, "c": set()}
    )


def test_one_task_does_not_move():
    """With fewer tasks than workers the task stays where it is, whatever the members' names."""
    assert {"a": set(), "b": {0}, "c": set()} == spread({0}, {"a": set(), "b": {0}, "c": set()})


def test_rolling_restart_moves_each_task_at_most_twice():
    """Who comes back gets what the others took over from it: those that were never interrupted stay where they are."""
    clock, moves = count(1.0), Counter()
    claims = {
        member: {slot: next(clock) for slot in slots}
        for member, slots in {"a": (0, 1), "b": (2, 3), "c": (4, 5)}.items()
    }

    def deal(members):
        dealt = spread(set(range(6)), owners({member: claims.get(member, {}) for member in members}))
        for member, slots in dealt.items():
            before = claims.get(member, {})
            moves.update(slots - before.keys())
            claims[member] = {slot: before.get(slot) or next(clock) for slot in slots}

    for member in "abc":
        del claims[member]
        deal([other for other in "abc" if other != member])
        deal("abc")

    assert set(range(6)) == moves.keys()
    assert 2 >= max(moves.values())


CLAIMS = [
    # nobody disputes
    ({"a": {0: 5.0}, "b": {1: 5.0}}, {"a": {0}, "b": {1}}),
    # the worker that was paused does not know yet that it was replaced
    ({"a": {0: 5.0}, "b": {0: 9.0}}, {"a": set(), "b": {0}}),
    ({"a": {0: 9.0, 1: 1.0}, "b": {0: 5.0, 1: 2.0}}, {"a": {0}, "b": {1}}),
    # at the same instant: one of them
    ({"a": {0: 5.0}, "b": {0: 5.0}}, {"a": set(), "b": {0}}),
    ({"a": {}}, {"a": set()}),
]


@pytest.mark.parametrize(("claims", "owned"), CLAIMS)
def test_newest_claim_counts(claims, owned):
    """A slot that two members claim belongs to the one whose task began later."""
    assert owned == {member: set(slots) for member, slots in owners(claims).items()}


@given(st.dictionaries(st.sampled_from("abcd"), st.dictionaries(st.integers(0, 5), st.floats(0, 9)), min_size=1))
def test_each_claimed_slot_has_one_owner(claims):
    """No slot is owned twice, and none that is claimed by nobody."""
    owned = [slot for slots in owners(claims).values() for slot in slots]

    assert sorted({slot for slots in claims.values() for slot in slots}) == sorted(owned)


def assignor(claims=None, in_use=()):
    class GroupAssignor(SlotAssignor):
        tasks_topic = "connector-tasks"
        slots_in_use = staticmethod(lambda: set(in_use))

    GroupAssignor.claims = staticmethod(lambda: claims or {})
    return GroupAssignor(SimpleNamespace(tables=None, conf=SimpleNamespace(table_standby_replicas=1)))


def member(claims=None, topics=("connector-tasks",)):
    return assignor(claims).metadata(set(topics))


class Cluster:
    """aiokafka's metadata: topic to number of partitions."""

    def __init__(self, **topics):
        self.topics = {name.replace("_", "-"): count for name, count in topics.items()}

    def partitions_for_topic(self, topic):
        return set(range(self.topics[topic])) if topic in self.topics else None


def slots_of(assignments):
    """What each member gets, as it reads its bytes."""
    return {
        name: dict(ConsumerProtocolMemberAssignment.decode(assignment.encode()).assignment)
        for name, assignment in assignments.items()
    }


def test_claims_travel_in_the_metadata():
    """What a member says of itself survives the wire."""
    metadata = ConsumerProtocolMemberMetadata.decode(member({3: 1.5, 1: 2.5}).encode())

    assert {"3": 1.5, "1": 2.5} == json.loads(metadata.user_data)
    assert ["connector-tasks"] == list(metadata.subscription)


def test_slots_in_use_are_dealt_evenly_and_stay():
    """The slots that have a task are even over the members; the empty ones are dealt apart and cannot disturb that."""
    members = {"a": member({0: 1.0, 1: 1.0}), "b": member()}
    result = slots_of(assignor(in_use={0, 1, 2}).assign(Cluster(connector_tasks=8), members))

    used = {name: set(topics["connector-tasks"]) & {0, 1, 2} for name, topics in result.items()}
    assert {"a": {0, 1}, "b": {2}} == used
    assert list(range(8)) == sorted(slot for topics in result.values() for slot in topics["connector-tasks"])


def test_paused_worker_does_not_get_its_slot_back():
    """The worker that has the task keeps it when the one that was paused joins again."""
    members = {"a": member({0: 1.0}), "b": member({0: 9.0})}
    result = slots_of(assignor(in_use={0}).assign(Cluster(connector_tasks=1), members))

    assert [0] == result["b"]["connector-tasks"]


def test_other_topics_are_dealt_too():
    """A topic of Faust's own goes to those who subscribe it."""
    members = {"a": member(topics=("connector-tasks", "other")), "b": member()}
    result = slots_of(assignor(in_use={0}).assign(Cluster(connector_tasks=2, other=3), members))

    assert [0, 1, 2] == result["a"]["other"]
    assert "other" not in result["b"]


def test_topic_that_is_not_there_yet():
    """A topic without metadata has nothing to deal."""
    result = slots_of(assignor(in_use={0}).assign(Cluster(), {"a": member()}))

    assert [] == result["a"].get("connector-tasks", [])


def test_member_that_says_nothing():
    """A member without claims owns nothing."""
    members = {"a": ConsumerProtocolMemberMetadata(1, ["connector-tasks"], b"")}
    result = slots_of(assignor(in_use={0}).assign(Cluster(connector_tasks=1), members))

    assert [0] == result["a"]["connector-tasks"]
