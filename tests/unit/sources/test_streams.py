from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from connector.config.fields import STREAM_PARTITIONS, StreamName
from connector.sources.stream.streams import STREAMS, at_x, number_of, source_partitions, spread


def test_the_table_has_the_paths_of_x():
    """Paths and partitions are those of the API reference."""
    assert {
        "filtered": ("/2/tweets/search/stream", 0),
        "sample": ("/2/tweets/sample/stream", 0),
        "sample10": ("/2/tweets/sample10/stream", 2),
        "firehose": ("/2/tweets/firehose/stream", 20),
        "firehose.en": ("/2/tweets/firehose/stream/lang/en", 8),
        "firehose.ja": ("/2/tweets/firehose/stream/lang/ja", 2),
        "firehose.ko": ("/2/tweets/firehose/stream/lang/ko", 2),
        "firehose.pt": ("/2/tweets/firehose/stream/lang/pt", 2),
        "compliance": ("/2/tweets/compliance/stream", 8),
        "recheck": ("/2/tweets", 0),
    } == {name: (stream.path, stream.partitions) for name, stream in STREAMS.items()}
    assert ["filtered"] == [name for name, stream in STREAMS.items() if stream.has_rules]
    assert ["sample", "recheck"] == [name for name, stream in STREAMS.items() if not stream.has_recovery]


def test_the_configuration_offers_these_streams():
    """What can be configured can be read, and the other way round."""
    assert STREAM_PARTITIONS.keys() == STREAMS.keys() == set(get_args(StreamName))


def test_a_source_partition_names_its_number_only_where_there_are_several():
    """As it stands in the offset's key."""
    assert ({"stream": "filtered"},) == source_partitions(STREAMS["filtered"])
    assert ({"stream": "sample10", "partition": "1"}, {"stream": "sample10", "partition": "2"}) == source_partitions(
        STREAMS["sample10"]
    )


@given(st.sampled_from(sorted(STREAMS)), st.integers(1, 40))
def test_every_part_is_read_by_exactly_one_task(name, tasks):
    """No part is left out or read twice, and no task has two more than another."""
    dealt = spread(STREAMS[name], tasks)

    assert tasks == len(dealt)
    assert sorted(str(part) for part in source_partitions(STREAMS[name])) == sorted(
        str(part) for parts in dealt for part in parts
    )
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_one_task_reads_everything():
    """With one task the whole stream is read over several connections."""
    assert 20 == len(spread(STREAMS["firehose"], 1)[0])


def test_compliance_is_two_streams_of_x():
    """One of posts and one of users, each in four partitions that X numbers from 1."""
    parts = source_partitions(STREAMS["compliance"])

    asked = [(at_x(part).path, at_x(part).endpoint, number_of(part)) for part in parts]
    assert asked == [
        (f"/2/{of}/compliance/stream", f"{of}_compliance_stream", str(number))
        for of in ("tweets", "users")
        for number in range(1, 5)
    ]
    assert "users-4" == parts[-1]["partition"]
    assert None is number_of({"stream": "filtered"})
    assert "20" == number_of({"stream": "firehose", "partition": "20"})
