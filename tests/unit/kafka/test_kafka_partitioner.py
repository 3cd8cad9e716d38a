from unittest import mock

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.delivery import partitioner
from connector.kafka.delivery.partitioner import murmur2, partition_of, partitions_of
from connector.records.record import Records, SourceRecord
from tests.unit.forms import FORMS

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


@given(st.integers(0, 70).flatmap(lambda length: st.lists(st.binary(min_size=length, max_size=length), max_size=40)))
def test_keys_of_one_length(keys):
    """Side by side keys have the hashes that they have alone, whatever their length and number."""
    assert [reference(key) & 0x7FFFFFFF for key in keys] == partitions_of(keys, 2**31)


@given(st.lists(st.binary(max_size=300), max_size=40), st.integers(1, 100))
def test_keys_of_several_lengths(keys, count):
    """Keys of several lengths, too, go where they go alone."""
    assert [partition_of(key, count) for key in keys] == partitions_of(keys, count)


def test_extreme_lanes():
    """No carry reaches the neighbour."""
    keys = [bytes([byte]) * 19 for byte in (0, 255, 0, 255, 254, 1, 128, 127)] * 50

    assert [partition_of(key, 2**31) for key in keys] == partitions_of(keys, 2**31)


def test_ids_of_posts():
    """Ten thousand ids, as a full batch has them."""
    keys = [b"%d" % (2_125_255_005_154_549_760 + 7_919 * number) for number in range(10_000)]

    assert [partition_of(key, 6) for key in keys] == partitions_of(keys, 6)


sources = st.sampled_from([None, None, None, b"search"])
some_records = st.lists(st.builds(SourceRecord, st.binary(max_size=40), st.binary(max_size=5), st.integers(), sources))


def deciding(record):
    altered = record.altered
    return b"%d" % altered.post_id if altered is not None and altered.keyless else record.key


@pytest.mark.slow
@FORMS
@given(some_records, st.integers(1, 40))
def test_split(compiled, records, count):
    """Each record is with the partition of its key, or of the post's id if it has none; in order, whole."""
    expected = [
        (number, share)
        for number in range(count)
        if (share := [each for each in records if number == partition_of(deciding(each), count)])
    ]
    with mock.patch.object(partitioner, "compiled", compiled):
        found = partitioner.split(Records.of(records), count)

    assert expected == [(number, list(share)) for number, share in found]


@FORMS
def test_split_among_very_many(compiled):
    """What a partition without records costs is next to nothing, however many there are."""
    records = Records.of([SourceRecord(b"%d" % number, b"value", number) for number in range(3)])
    with mock.patch.object(partitioner, "compiled", compiled):
        found = partitioner.split(records, 100_000)

    assert sorted((partition_of(each.key, 100_000), [each]) for each in records) == [
        (number, list(share)) for number, share in found
    ]
    with mock.patch.object(partitioner, "compiled", compiled), pytest.raises(ValueError, match="partition"):
        partitioner.split(records, 0)
