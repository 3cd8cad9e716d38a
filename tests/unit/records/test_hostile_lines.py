"""
What X sends as JSON passes byte for byte, and all else is a bad record with a reason: alone or in company, compiled or
not.

CONNECTOR_FUZZ_MINUTES=10 damages lines of the corpus for so long, with another seed each time.
"""

import os
import random
import time

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.errors import BadRecord
from connector.kafka.delivery.partitioner import split
from connector.kafka.delivery.record_batch import BatchStyle, record_batches
from connector.records import native
from connector.records.post import MAX_ID, head_of
from connector.records.record import DeadLetter, Limits, Records, SourceRecord
from connector.task.converter import Converter
from tests.unit.fakes import arrival, id_of, post
from tests.unit.forms import COMPILED_TOO, FORMS, form
from tests.unit.hostile import NO_POSTS, POSTS, SMALL, damaged, deep, oracle, text

STYLE = BatchStyle(max_bytes=2**20, transactional=True, compression=None)
QUICK_LINES = 6_000
GROUP = 24


def name_of(line):
    return f"{line[:40]!r}-{len(line)}"


def converted(*groups, tolerant=True, source=None, max_bytes=2**24):
    """What one task makes of *groups* of lines, which arrive together."""
    converter = Converter(connector="posts", dead_letters=tolerant)
    converter.limit(Limits(record_bytes=max_bytes, dead_letter_bytes=max_bytes))
    return converter.convert([arrival(*lines, at=1.0) for lines in groups], source=source)


def on_the_wire(records, partitions=3):
    """The record batches of *records* for each partition, as bytes."""
    return [
        (partition, [b"".join(batch._build()) for batch in record_batches(share, STYLE)])
        for partition, share in split(records, partitions)
    ]


def outcome(*groups, **how):
    """All that becomes of *groups*."""
    result = converted(*groups, **how)
    records = result.records.done()
    letters = [(letter.value, letter.headers) for letter in result.dead_letters]
    return (
        on_the_wire(records),
        records,
        result.ids,
        result.again,
        result.newest_id,
        letters,
        result.dropped,
        str(result.error),
    )


def of_each_form(*groups, **how):
    outcomes = []
    for compiled in (None, native.compiled):
        with form(compiled):
            outcomes.append(outcome(*groups, **how))
    return outcomes


@FORMS
@pytest.mark.parametrize("line", POSTS, ids=name_of)
def test_json_passes(compiled, line):
    """A line is delivered as it is, whether it comes alone, beside a duplicate, or among others."""
    with form(compiled):
        alone = converted((line,), tolerant=False)
        beside_a_duplicate = converted((post(1), line, post(1)), tolerant=False)
        again = converted((line,), (line, post(1)), tolerant=False)
        repaired = converted((line,), source=b"search", tolerant=False)

    for result in (alone, repaired):
        assert result.error is None
        assert [line] == result.records.values
        assert ([], [b"%d" % result.ids[0]]) == (result.again, result.records.keys)
    assert beside_a_duplicate.error is None
    assert [post(1), line] == beside_a_duplicate.records.values
    assert [line, post(1)] == again.records.values
    assert again.again == alone.ids


@FORMS
@pytest.mark.parametrize("line", NO_POSTS, ids=name_of)
def test_all_else_is_a_bad_record(compiled, line):
    """It goes to the dead letter topic as it is, with a reason that is plain text; its neighbours are delivered."""
    with form(compiled):
        result = converted((post(1), line, post(2)))
        strict = converted((post(1), line, post(2)), tolerant=False)

    (letter,) = result.dead_letters
    assert line == letter.value
    assert [post(1), post(2)] == result.records.values
    reason = dict(letter.headers)["error.message"].decode()
    assert reason.startswith(f"A line of {len(line)} bytes ")
    assert reason.isascii()
    assert "Error" not in reason
    assert isinstance(strict.error, BadRecord)
    assert [post(1)] == strict.records.values


@COMPILED_TOO
@given(st.lists(st.lists(st.sampled_from(SMALL) | st.integers(0, 3).map(post), max_size=5), max_size=5), st.booleans())
def test_the_same_of_both_forms(groups, tolerant):
    """Record batches, duplicates, dead letters and their reasons do not tell in which form they were made."""
    python, compiled = of_each_form(*groups, tolerant=tolerant)

    assert python == compiled


@pytest.mark.slow
@COMPILED_TOO
@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40) | st.text(max_size=20).map(lambda each: each.encode("utf-8", "surrogatepass"))))
@example([b"\xed\xa0\x80"])
@example([rb"\ud800", rb"\udc00\ud800"])
def test_any_bytes_in_a_text(texts):
    """No category of characters is left out, and no bytes that are none."""
    lines = [text(raw, post_id) for post_id, raw in enumerate(texts, start=1)]
    python, compiled = of_each_form(lines)

    assert python == compiled
    assert [line for line in lines if oracle(line)] == list(python[1].values)


@pytest.mark.slow
@COMPILED_TOO
def test_damaged_lines():
    """Python's own parser and both forms agree on lines of the corpus with damage, and on groups of them."""
    minutes = float(os.environ.get("CONNECTOR_FUZZ_MINUTES") or 0)
    seed = time.time_ns() if minutes else 1
    rng = random.Random(seed)
    until = time.monotonic() + minutes * 60
    lines = posts = 0
    while lines < QUICK_LINES or time.monotonic() < until:
        group = [damaged(rng) for _ in range(GROUP)]
        groups = [group[:1], group[1:10], [post(1), *group[10:], post(1)]]
        python, compiled = of_each_form(*groups, tolerant=rng.random() < 0.8)
        assert python == compiled, (seed, groups)
        for line in group:
            ids = []
            for native_ in (None, native.compiled):
                with form(native_):
                    try:
                        ids.append(head_of(line))
                    except BadRecord as error:
                        ids.append(str(error))
            found = oracle(line)
            posts += found is not None
            assert ids[0] == ids[1], (seed, line)
            assert found == ids[0] if found is not None else isinstance(ids[0], str), (seed, line)
        lines += GROUP

    assert posts > lines / 20  # else it shows nothing
    print(f"seed {seed}: {lines} lines, {posts} of them posts")  # noqa: T201  # for whoever runs it by hand


@COMPILED_TOO
def test_more_records_than_a_table_has():
    """A batch of more than 8,192 records is the same of both forms, and aiokafka reads it."""
    lines = [b'{"data":{"id":"%d"}}' % id_of(number) for number in range(12_000)]
    python, compiled = of_each_form(lines)
    assert python == compiled

    with form(None):
        ((_, (batch,)),) = on_the_wire(python[1], partitions=1)
    assert lines == [record.value for record in DefaultRecordBatch(bytearray(batch))]


LONG = 2**63
TIMES = (
    st.sampled_from([0, -1, 1, LONG - 1, -LONG, LONG, -LONG - 1, 2**70, 8_191, 8_192, -8_192, -8_193]) | st.integers()
)


@COMPILED_TOO
@given(st.lists(TIMES, min_size=1, max_size=4))
@example([-LONG, LONG - 1])
@example([LONG - 1, -LONG])
@example([-1, LONG - 1])
@example([0, -LONG])
@example([2**70])
def test_times_out_of_range(times):
    """Times that a batch cannot hold, or not together, are an OverflowError of both forms; all others are written."""
    records = Records.of([SourceRecord(b"key", b"value", ms) for ms in times])
    fit = all(-LONG <= ms < LONG and -LONG <= ms - times[0] < LONG for ms in times)
    batches = []
    for compiled in (None, native.compiled):
        with form(compiled):
            if fit:
                batches.append(on_the_wire(records, partitions=1))
            else:
                with pytest.raises(OverflowError):
                    on_the_wire(records, partitions=1)

    if fit:
        assert batches[0] == batches[1]


@FORMS
def test_ids_at_the_ends_of_their_range(compiled):
    """The oldest and the newest id that there can be go into one batch."""
    lines = [b'{"data":{"id":"1"}}', b'{"data":{"id":"%d"}}' % MAX_ID]
    with form(compiled):
        records = converted(lines, tolerant=False).records.done()
        ((_, (batch,)),) = on_the_wire(records, partitions=1)

    assert list(zip(records.times_ms, lines, strict=True)) == [
        (record.timestamp, record.value) for record in DefaultRecordBatch(bytearray(batch))
    ]


@FORMS
def test_as_deep_as_a_line_is_long(compiled):
    """The limit of a line is the only limit of its depth: a million levels, too."""
    line = deep(1_000_000)
    with form(compiled):
        assert [post(1), line] == converted((post(1), line, post(1)), tolerant=False).records.values
        assert [DeadLetter] == [type(letter) for letter in converted((line[:-1],)).dead_letters]
