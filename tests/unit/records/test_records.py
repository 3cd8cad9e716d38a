import tracemalloc

import pytest

from connector.kafka.delivery.partitioner import split
from connector.kafka.delivery.record_batch import BatchStyle, _tables, record_batches
from connector.records.record import Batch, DeadLetter, RecordList, Records, held_bytes
from connector.task.converter import Converter
from tests.unit.fakes import arrival, id_of
from tests.unit.forms import FORMS, form

STYLE = BatchStyle(max_bytes=2**20, transactional=True, compression=None)
POSTS = 3_000


def arrivals_of(together, length):
    """As many posts as `POSTS`, so many in an arrival, each a line of so many bytes."""
    lines = [b'{"data":{"id":"%d","text":"%b"}}' % (id_of(number), b"x" * (length - 45)) for number in range(POSTS)]
    return [arrival(*lines[start : start + together]) for start in range(0, POSTS, together)]


def batch_of(arrivals):
    converter = Converter(connector="posts", dead_letters=False)
    converter.limit(2**20)
    records, waits = RecordList(), []
    for each in arrivals:
        converted = converter.convert((each,))
        records += converted.records
        waits += converted.waits
    batch = Batch(records=records.done(), dead_letters=(), offsets=())
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

    assert held_bytes(lines, 2) == Batch(records=Records(), dead_letters=letters, offsets=()).held_bytes(arrivals=2)
