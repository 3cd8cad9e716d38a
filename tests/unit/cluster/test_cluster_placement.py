"""Where the tasks of connectors run, and which of them share a stream."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from connector.cluster import configs as records
from connector.cluster.configs import Configs, Connector
from connector.cluster.placement import EARLIER_MAX, is_of, place, sealed

APP = "https://api.x.com\nfiltered\nexactly_once\nAAAAsynthetic"


class Group:
    """The placements of a group, and where offsets lie."""

    def __init__(self):
        self.configs, self.offsets = Configs(), {}

    def place(self, name, identity="", count=1, slots=64):
        others = {slot for each, held in self.offsets.items() if each != name for slot in held}
        mine = self.offsets.get(name, set())
        return place(self.configs, name, identity=identity, count=count, slots=slots, mine=mine, reserved=others)

    def add(self, name, identity="", count=1, slots=64):
        placement = self.place(name, identity, count, slots)
        self.write(records.created(Connector(name=name, config={}, placement=placement, tasks=count)))
        return placement

    def delete(self, name):
        self.write(records.deleted(self.configs.get(name)))

    def write(self, written):
        for key, value in written:
            self.configs.apply(key.encode(), value)


def test_hash_tells_the_stream_and_nothing_else():
    """Each hash is another one, tells its own stream alone, and does not hold the secret."""
    one, other = sealed(APP), sealed(APP)

    assert one != other
    assert is_of(APP, one)
    assert is_of(APP, other)
    assert not is_of(APP + "x", one)
    assert not is_of("", sealed(""))
    assert not is_of(APP, "")
    assert "AAAA" not in one


def test_connectors_of_one_app_share_their_slot():
    """The first one is the owner of the transactional id, also when it is gone."""
    group = Group()
    first, second, other = group.add("a", APP), group.add("b", APP), group.add("c", APP + "other")
    group.delete("a")
    third = group.add("d", APP)

    assert first == second == third
    assert ((0,), "a") == (first.slots, first.owner)
    assert (1,) == other.slots


def test_owner_of_another_stream_keeps_its_id():
    """A name that comes again while others still use its id gets another one."""
    group = Group()
    group.add("a", APP)
    group.add("b", APP)
    group.delete("a")

    assert ((1,), "a.1") == (group.add("a", APP + "other").slots, group.configs.get("a").placement.owner)


def test_connectors_whose_stream_is_not_known_share_nothing():
    """Without readable credentials each has its own slot."""
    group = Group()

    assert [(0,), (1,)] == [group.add(name).slots for name in "ab"]


def test_slot_with_offsets_is_kept_for_its_name():
    """A deleted connector that comes back finds its offsets, whoever came meanwhile."""
    group = Group()
    group.add("a")
    group.offsets = {"a": {0}}
    group.delete("a")

    assert (1,) == group.add("b").slots
    assert (0,) == group.add("a").slots


def test_stream_that_is_read_again_is_read_where_it_was():
    """Connectors of one app come and go in any order, and each finds its offsets."""
    group = Group()
    for name in ("a", "b", "a", "c", "b"):
        placement = group.add(name, APP)
        group.offsets.setdefault(name, set()).update(placement.slots)
        other = group.add("other", APP + "other")
        group.offsets.setdefault("other", set()).update(other.slots)
        group.delete(name)
        group.delete("other")
        assert ((0,), "a", (1,)) == (placement.slots, placement.owner, other.slots)
    group.add("a", APP)

    assert (0,) == group.add("b", APP).slots


def test_other_credentials():
    """A connector with offsets leaves a stream that others read, joins another, and knows where it was."""
    group = Group()
    group.add("a", APP)
    group.add("b", APP)
    group.offsets = {"a": {0}, "b": {0}}
    away = group.add("b", APP + "other")
    group.offsets["b"] = {1}
    back = group.add("b", APP)

    assert ((1,), "b", ((0, ("a", 0)),)) == (away.slots, away.owner, away.earlier)
    assert ((0,), "a", ((1, ("b", 0)), (0, ("a", 0)))) == (back.slots, back.owner, back.earlier)
    assert back == group.add("b", APP)


def test_slot_that_another_stream_has_taken():
    """A connector that comes again with its first credentials finds others where its last ones were used."""
    group = Group()
    group.add("a", APP)
    group.offsets = {"a": {0}}
    group.add("a", APP + "wrong")
    group.delete("a")
    group.add("b", APP + "wrong")
    again = group.add("a", APP)

    assert ((0,), (1,)) == (group.configs.get("b").slots, again.slots)
    assert ((0, ("a", 0)),) == again.earlier


def test_more_tasks():
    """Source partitions are dealt anew, also those of a slot that is kept."""
    group = Group()
    group.add("a")

    assert ((0, 1, 2), ((0, ("a", 0)),)) == ((found := group.add("a", count=3)).slots, found.earlier)
    assert ((0,), {0, 1, 2}) == ((found := group.add("a")).slots, {each.slot for each in found.earlier})


def test_earlier_slots_have_a_bound():
    """A connector that moves to and fro keeps no endless list."""
    group = Group()
    group.add("other", APP)
    for number in range(2 * EARLIER_MAX):
        group.add(f"n{number}", f"{APP}{number}", slots=1024)
        found = group.add("a", f"{APP}{number}")

    assert EARLIER_MAX == len(found.earlier)


def test_new_credentials_of_a_connector_alone():
    """It stays where its offsets are, also if others with these credentials were somewhere else before."""
    group = Group()
    group.add("owls", APP + "wrong")
    group.add("birds", APP)
    group.offsets = {"owls": {0}, "birds": {1}}
    group.delete("birds")

    assert (0,) == group.place("owls", APP).slots


def test_alone_a_connector_keeps_its_slots():
    """New credentials, and more tasks: what there is stays where it is."""
    group = Group()
    group.add("a", APP)
    group.add("b")
    group.offsets = {"a": {0}, "b": {1}}
    found = group.place("a", APP + "other", count=3)

    assert ((0, 2, 3), "a") == (found.slots, found.owner)
    assert is_of(APP + "other", found.stream)


def test_same_stream_keeps_its_hash():
    """A change of something else writes the same placement again."""
    group = Group()
    found = group.add("a", APP)

    assert found == group.place("a", APP)


def test_no_room():
    """It is for the caller to make some."""
    group = Group()
    group.add("a")

    assert None is group.place("b", slots=1)


NAMES = st.sampled_from("abcdef")


@given(st.lists(st.tuples(NAMES, st.sampled_from(["", APP, APP + "x"]), st.integers(1, 3), st.booleans()), max_size=30))
def test_no_slot_has_two_streams(steps):
    """Whatever comes and goes: a slot belongs to one owner, and offsets lie where their connector is or was."""
    group = Group()
    for name, identity, count, delete in steps:
        if delete and group.configs.get(name) is not None:
            group.delete(name)
            continue
        placement = group.place(name, identity, count)
        connector = Connector(name=name, config={}, placement=placement, tasks=len(placement.slots))
        group.write(records.created(replace(connector)))
        group.offsets.setdefault(name, set()).add(placement.slots[0])
        owners = {}
        for each in group.configs.placed():
            for slot in each.slots:
                assert owners.setdefault(slot, each.placement.owner) == each.placement.owner
            places = {*each.slots, *(former.slot for former in each.placement.earlier)}
            assert group.offsets.get(each.name, set()) <= places
