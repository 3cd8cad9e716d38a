import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.kafka.delivery.partitioner import split
from connector.kafka.delivery.record_batch import BatchStyle, _tables, record_batches
from connector.records.record import Altered, DeadLetter, Limits, RecordList, Records, Share, SourceRecord, held_bytes
from connector.task.converter import Converter
from tests.unit.fakes import MADE_MS, TO, arrival, id_of, key_of, post
from tests.unit.forms import FORMS, form

STYLE = BatchStyle(max_bytes=2**20, transactional=True, compression=None)
POSTS = 3_000


def arrivals_of(together, length):
    """As many posts as `POSTS`, so many in an arrival, each a line of so many bytes."""
    lines = [b'{"data":{"id":"%d","text":"%b"}}' % (id_of(number), b"x" * (length - 45)) for number in range(POSTS)]
    return [arrival(*lines[start : start + together]) for start in range(0, POSTS, together)]


def batch_of(arrivals):
    converter = Converter(connector="posts", dead_letters=False)
    converter.limit(Limits(record_bytes=2**20))
    records, waits = RecordList(), []
    for each in arrivals:
        converted = converter.convert((each,))
        records += converted.records
        waits += converted.waits
    batch = Share(to=TO, records=records.done())
    encoded = [list(record_batches(records, STYLE)) for _, records in split(batch.records, 4)]
    return batch, encoded, waits


@pytest.fixture
def measured():
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@FORMS
@pytest.mark.parametrize("length", [200, 600, 2_600])
@pytest.mark.parametrize("together", [1, 100])
def test_what_is_counted_is_what_is_held(together, length, compiled, measured):
    """Posts are counted with all that Python needs for them, however short they are and however they came."""
    _tables()  # once for the process
    with form(compiled):
        before = measured()
        arrivals = arrivals_of(together, length)
        waiting = measured() - before
        counted = sum(each.size for each in arrivals)
        held = batch_of(arrivals)
        del arrivals
        building = measured() - before

        assert counted == held[0].held_bytes(arrivals=POSTS // together)
    assert waiting <= counted
    assert 0.75 * counted < building <= counted


def test_keep_alives_are_not_counted():
    """They need no room: those that come while the buffer is full are never held up."""
    assert 0 == held_bytes(())


def test_dead_letters_are_counted():
    """They wait for Kafka as posts do."""
    lines = [b"no post", b"neither"]
    letters = tuple(DeadLetter(line, (("error.class", b"BadRecord"),)) for line in lines)

    assert held_bytes(lines, 2) == Share(to=TO, dead_letters=letters).held_bytes(arrivals=2)


def altered(number, topic):
    return SourceRecord(b"key", post(number), MADE_MS, None, Altered(id_of(number), topic))


def test_records_know_their_topics_and_posts():
    """A transform may set another topic and another key; all others go to the connector's topic, in order."""
    plain = SourceRecord(key_of(1), post(1), MADE_MS + 1)
    records = Records.of([plain, altered(2, "b"), altered(3, None), altered(4, "b")])

    assert {"a": Records.of([plain, altered(3, None)]), "b": Records.of([altered(2, "b"), altered(4, "b")])} == dict(
        records.by_topic("a")
    )
    assert {"a": [0, 2], "b": [1, 3]} == records.places_by_topic("a")
    assert [id_of(number) for number in (1, 2, 3, 4)] == [records.post_id(place) for place in range(4)]
    assert {"a": records_of(1)} == records_of(1).by_topic("a")
    assert {} == Records().by_topic("a")


def records_of(*numbers):
    return Records.of(SourceRecord(key_of(number), post(number), MADE_MS) for number in numbers)


@given(st.lists(st.lists(st.sampled_from([None, None, "b", "c"]), max_size=4), max_size=4))
def test_collected_records_keep_what_was_altered(lists):
    """However lists with and without altered records are added to each other."""
    collected, expected = RecordList(), []
    for topics in lists:
        some = RecordList()
        for topic in topics:
            record = altered(1, topic) if topic else SourceRecord(key_of(1), post(1), MADE_MS)
            expected.append(record)
            some.append(record)
        collected += some

    assert expected == list(collected)
    assert Records.of(expected) == collected.done()


def test_records_that_transforms_have_changed():
    """A record without a key goes where its post's id would; the line of X stays with it."""
    plain = SourceRecord(b"1", b"line", 5)
    changed = SourceRecord(b"", b"", 5, None, Altered(7, "other", keyless=True, tombstone=True, line=b"whole line"))
    same_value = SourceRecord(b"k", b"as it came", 5, None, Altered(8))
    records = Records.of([plain, changed, same_value])

    assert [b"1", b"7", b"k"] == list(records.partition_keys)
    assert [b"line", b"whole line", b"as it came"] == [records.line(place) for place in range(3)]
    assert {"other"} == records.other_topics
    assert set() == Records.of([plain]).other_topics
    assert [b"1"] == list(Records.of([plain]).partition_keys)


def test_memory_of_changed_records():
    """What is kept of the line of X counts, too."""
    changed = SourceRecord(b"k", b"v", 5, None, Altered(7, line=b"x" * 1_000))
    kept, bare = (Share(to=TO, records=Records.of([each])) for each in (changed, changed._replace(altered=None)))

    assert 1_000 == kept.held_bytes(1) - bare.held_bytes(1)
