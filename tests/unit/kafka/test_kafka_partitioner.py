import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.partitioner import murmur2, partition_of

JAVA = [  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]


@pytest.mark.parametrize(("key", "signed"), JAVA)
def test_java_agrees(key, signed):
    """The hash is that of Java's clients, by the examples in their own tests."""
    assert signed % 2**32 == murmur2(key)


@given(st.binary(max_size=300))
def test_same_as_aiokafkas(key):
    """Any key has the hash that aiokafka gives it, also one too long for the table of word counts."""
    assert reference(key) == murmur2(key)


@given(st.binary(min_size=1, max_size=20), st.integers(1, 100))
def test_same_partition_as_other_producers(key, count):
    """Other producers of the topic send a key to the same partition."""
    everything = list(range(count))

    assert DefaultPartitioner()(key, everything, everything) == partition_of(key, count)
