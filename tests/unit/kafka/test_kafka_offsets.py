from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.state.offsets import OffsetTable, decode_key, encode_key

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


FILTERED = {"stream": "filtered"}


def test_key_is_connects():
    """The key is Connect's compact JSON, so that its tools read the topic."""
    assert b'["posts",{"stream":"filtered"}]' == encode_key("posts", {"stream": "filtered"})


@given(NAMES, st.dictionaries(NAMES, NAMES, max_size=4))
def test_key_and_back(connector, partition):
    """What is decoded is what was encoded, and the order of the fields does not matter."""
    key = encode_key(connector, partition)

    assert (connector, partition) == decode_key(key)
    assert key == encode_key(connector, dict(reversed(partition.items())))


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"posts", b"7", b"null", b"{}", b"[]", b'["a"]', b"[1,{}]", b'["a",1]'),
        *(b'["a",{},1]', b'["a",{},null]', b'["a",{},"rules"]', b'["a",{},"rules",1]'),
    ],
)
def test_foreign_keys(key):
    """What is no offset's key is none, and no error."""
    assert decode_key(key) is None


def test_table_knows_the_latest():
    """The last value of a key counts, a tombstone removes it, other connectors are apart."""
    table = OffsetTable()
    one, two = ({"stream": "firehose", "partition": number} for number in "12")
    table.apply(encode_key("posts", two), b'{"posts":9}')
    table.apply(encode_key("posts", one), b'{"posts":1}')
    table.apply(encode_key("posts", one), b'{"posts":2}')
    table.apply(encode_key("other", one), b'{"posts":5}')
    table.apply(b"garbage", b"{}")

    assert [
        {"partition": one, "offset": {"posts": 2}},
        {"partition": two, "offset": {"posts": 9}},
    ] == table.of("posts")
    table.apply(encode_key("posts", two), None)
    table.apply(encode_key("posts", two), None)
    assert [{"partition": one, "offset": {"posts": 2}}] == table.of("posts")


@pytest.mark.parametrize("steps", list(permutations([(0, b'{"posts":1}'), (0, None), (1, b'{"posts":2}')])))
def test_offset_that_moves(steps):
    """In whatever order two partitions are read, each of them in its own: the value of the new slot counts."""
    if steps.index((0, None)) < steps.index((0, b'{"posts":1}')):
        return
    table, key = OffsetTable(), encode_key("posts", FILTERED)
    for slot, value in steps:
        table.apply(key, value, slot)

    assert [{"partition": FILTERED, "offset": {"posts": 2}}] == table.of("posts")
    assert ({1}, set(), {1}) == (table.slots_of("posts"), table.slots_of_others("posts"), table.slots_of_others("a"))
    assert [(key, FILTERED, {1})] == table.places("posts")


def test_kept_beside_an_offset():
    """What is kept beside an offset is apart from it, by kind, and a tombstone removes it alone."""
    table = OffsetTable()
    table.apply(encode_key("posts", FILTERED), b'{"posts":9}')
    table.apply(encode_key("posts", FILTERED, "repaired"), b'[{"state":"repaired"}]')
    table.apply(encode_key("posts", FILTERED, "rules"), b'{"abc":[]}')
    table.apply(encode_key("other", FILTERED, "rules"), b'{"def":[]}')
    table.apply(b'["posts",{"stream":"filtered"},null]', b"garbage")

    assert [{"partition": FILTERED, "offset": {"posts": 9}}] == table.of("posts")
    assert [(FILTERED, [{"state": "repaired"}])] == table.kept("posts", "repaired")
    assert [(FILTERED, {"abc": []})] == table.kept("posts", "rules")
    table.apply(encode_key("posts", FILTERED, "rules"), None)
    assert [] == table.kept("posts", "rules")
    assert [(FILTERED, [{"state": "repaired"}])] == table.kept("posts", "repaired")


def test_coverage_that_stands_still():
    """An offset's coverage has stood still since its time changed last, whatever else changed, by a steady clock."""
    now = 1000.0
    table = OffsetTable(clock=lambda: now)
    key = encode_key("posts", FILTERED)
    table.apply(key, b'{"covered_to":"2026-11-01T12:00:00.000Z","posts":1}')
    now = 1010.0
    table.apply(key, b'{"covered_to":"2026-11-01T12:00:00.000Z","posts":2}')
    table.apply(encode_key("posts", FILTERED, "rules"), b"{}")
    assert [(FILTERED, b'{"covered_to":"2026-11-01T12:00:00.000Z","posts":2}', 10.0)] == table.coverage("posts")
    table.apply(key, b'{"covered_to":"2026-11-01T12:00:10.000Z","posts":2}')
    now = 1013.0
    assert [(FILTERED, b'{"covered_to":"2026-11-01T12:00:10.000Z","posts":2}', 3.0)] == table.coverage("posts")
    assert [] == table.coverage("other")
    table.apply(key, None)
    assert [] == table.coverage("posts")
    table.apply(key, b'{"covered_to":"2026-11-01T12:00:10.000Z","posts":0}')
    assert [0.0] == [secs for _, _, secs in table.coverage("posts")]


@pytest.mark.parametrize("value", [b"garbage", b"[]", b"7", b"{}"])
def test_coverage_of_a_foreign_value(value):
    """A value that is no offset is handed out as it is: whoever decodes it has the words for it."""
    table = OffsetTable(clock=lambda: 1.0)
    table.apply(encode_key("posts", FILTERED), value)

    assert [(FILTERED, value, 0.0)] == table.coverage("posts")
