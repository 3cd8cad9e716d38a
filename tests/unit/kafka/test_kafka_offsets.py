import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.offsets import OffsetTable, decode_key, encode_key

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


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
    "key", [b"", b"posts", b"7", b"null", b"{}", b"[]", b'["a"]', b'["a",{},1]', b"[1,{}]", b'["a",1]']
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
