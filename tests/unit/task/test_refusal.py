"""Posts that the topic refuses, from the batch to the end of the task; real Kafka's part is in tests/broker."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.coverage import offset
from connector.coverage.ledger import decode_ids
from connector.coverage.offset import Coverage
from connector.coverage.progress import AHEAD_MS, ledger_write
from connector.errors import BrokerUnsuitable
from connector.records.record import Altered, DeadLetter, OffsetWrite, Records, Share, SourceRecord
from connector.records.snowflake import created_ms, first_id
from connector.task import task
from connector.task.in_flight import Pending, Receipt
from connector.task.refusal import REFUSED_IN_A_ROW, Judge, cut_before, ledger_without, put_aside
from connector.task.status import State
from connector.telemetry.events.task import RecordDropped, TaskFailed, TaskRestarting
from tests.unit.fakes import (
    AWAY,
    LOST,
    MADE_MS,
    TO,
    Gate,
    MemoryKafka,
    MemorySink,
    NoRules,
    Running,
    ScriptedSource,
    id_of,
    key_of,
    letters_to,
    post,
    until,
    whole,
)

TOLERANT = {"tolerate_bad_records": True, "destination": letters_to("bad")}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.01)
    monkeypatch.setattr(offset, "MARGIN_MS", 0)


@pytest.fixture
def kafka():
    return MemoryKafka()


def records(numbers, source=None):
    return Records.of(SourceRecord(key_of(n), post(n), MADE_MS + n, source) for n in numbers)


def pending(*parts, posts=0, offsets=True):
    """A batch of the posts of *parts*, one for each source partition, whose offsets count *posts* before it."""
    numbers = [number for part in parts for number in part]
    writes = [OffsetWrite(key=b"%d" % n, value=Coverage(posts=posts + len(p)).encode()) for n, p in enumerate(parts)]
    return Pending(
        batch=whole(
            Share(
                to=TO,
                records=records(numbers),
                offsets=tuple(writes) if offsets else (),
                ledger=(ledger_write([id_of(n) for n in numbers], None, now_ms=MADE_MS),)
                if numbers and offsets
                else (),
            )
        ),
        receipts=(Receipt(parts=tuple(map(len, parts))),),
        encoded=None,
        since=0.0,
    )


def counts(each):
    decoded = [Coverage.decode(offset.value) for offset in each.batch.offsets]
    return [(one.posts, one.dead_letters) for one in decoded]


# -- the whole task


async def test_the_others_go_on(kafka):
    """Refused posts are dead letters in the transaction of the posts around them; the offset and ledger fit."""
    gate = Gate()
    source = ScriptedSource([(post(1), post(2), post(3)), gate, post(4)])
    async with Running([source], MemorySink(kafka, refuses=[2]), **TOLERANT) as running:
        await until(lambda: len(kafka.records) == 2)
        gate.set()
        await until(lambda: len(kafka.records) == 3)

    assert [post(1), post(3), post(4)] == kafka.values
    (letter,) = kafka.dead_letters
    assert post(2) == letter.value
    assert f"Kafka refuses the post {id_of(2)}".encode() in dict(letter.headers)["error.message"]
    first = next(batch for batch in kafka.commits if batch.records)
    assert (letter,) == first.dead_letters
    assert (2, 1) == (
        Coverage.decode(first.offsets[0].value).posts,
        Coverage.decode(first.offsets[0].value).dead_letters,
    )
    assert (3, 1) == (kafka.offset()["posts"], kafka.offset()["dead_letters"])
    assert [id_of(1), id_of(3), id_of(4)] == sorted(n for write in kafka.ledger for n in decode_ids(write.value))
    (dropped,) = running.said(RecordDropped)
    assert ("BadRecord", "bad", len(post(2))) == (dropped.error, dropped.dead_letter_topic, dropped.size_bytes)


class Masked(NoRules):
    """Makes records with the post's key and another value than the line."""

    def record_of(self, post_id, line, made_ms, source, max_bytes):
        return SourceRecord(b"%d" % post_id, b"masked", made_ms, source, Altered(post_id, line=line))


async def test_dead_letter_of_a_post_that_a_transform_has_changed(kafka):
    """It holds what X sent, not what was to be delivered; the ledger does not have it."""
    source = ScriptedSource([(post(1), post(2))])
    async with Running([source], MemorySink(kafka, refuses=[2]), **TOLERANT, transformer=Masked()):
        await until(lambda: kafka.dead_letters)

    assert [post(2)] == [letter.value for letter in kafka.dead_letters]
    assert [id_of(1)] == [record.altered.post_id for record in kafka.records]


async def test_without_tolerance(kafka):
    """What came before it is delivered, and is all that the ledger knows; the offset claims nothing new: FAILED."""
    source = ScriptedSource([(post(1), post(2), post(3))])
    async with Running([source], MemorySink(kafka, refuses=[2])) as running:
        await running.ended()

    assert [post(1)] == kafka.values
    assert [id_of(1)] == [n for write in kafka.ledger for n in decode_ids(write.value)]
    assert 1 == kafka.offset()["posts"]
    committed_before = [Coverage.decode(value).covered_to_ms for _, value in kafka.offsets[:-1]]
    assert Coverage.decode(kafka.offsets[-1][1]).covered_to_ms == (committed_before or [None])[-1]
    (failed,) = running.said(TaskFailed)
    assert ("ToleranceExceeded", True) == (failed.error, str(id_of(2)) in failed.reason)
    assert "errors.tolerance=all" in failed.reason


async def test_no_end_of_restarts_for_refusals(kafka):
    """Each round that finds some is progress, however many follow each other without a commit."""
    numbers = range(1, 40)
    refused = [number for number in numbers if number % 3 == 0]
    steps = [step for number in numbers for step in (post(number),)]
    async with Running([ScriptedSource(steps)], MemorySink(kafka, refuses=refused), **TOLERANT) as running:
        await until(
            lambda: len(kafka.records) == len(numbers) - len(refused) and len(kafka.dead_letters) == len(refused)
        )

    assert [] == running.said(TaskFailed)


@pytest.mark.parametrize("sifts", [[AWAY], [LOST]])
async def test_a_search_that_fails_is_made_again(kafka, sifts):
    """When Kafka goes away meanwhile, nothing is lost."""
    source = ScriptedSource([(post(1), post(2))])
    async with Running([source], MemorySink(kafka, refuses=[2], sifts=sifts), **TOLERANT) as running:
        await until(lambda: kafka.dead_letters)

    assert [post(1)] == kafka.values
    assert 1 == len(kafka.dead_letters)
    assert 3 == len(running.said(TaskRestarting))


async def test_all_refused_is_the_topics_fault(kafka):
    """A topic that takes none ends the task with the setting, and what it refused is not set aside for ever."""
    numbers = range(REFUSED_IN_A_ROW * 3)
    source = ScriptedSource([(*map(post, numbers),)])
    async with Running([source], MemorySink(kafka, refuses=numbers), **TOLERANT) as running:
        await running.ended()

    assert [] == kafka.dead_letters
    assert State.FAILED is running.task.status.state
    assert "took none of the last 60 posts" in running.said(TaskFailed)[0].reason
    assert "message.timestamp.after.max.ms" in running.said(TaskFailed)[0].reason


# -- the parts


def test_a_post_that_is_taken_ends_the_row():
    """Only posts in a row tell of the topic, and those that a repair found tell nothing of live ones."""
    judge = Judge()
    every = dict.fromkeys(range(REFUSED_IN_A_ROW - 1), "because")
    live, found = records(range(REFUSED_IN_A_ROW - 1)), records(range(REFUSED_IN_A_ROW - 1), b"search")
    for _ in range(3):
        judge.hear(live, every)
        judge.hear_taken(records([1]))
    judge.hear(found, every)
    judge.hear(live, every)
    judge.hear_taken(records([1]))

    with pytest.raises(BrokerUnsuitable, match=r"none of the last 38 posts.*because"):
        judge.hear(found, every)


def test_counts_go_to_the_source_partition_of_the_post():
    """Offsets of this batch and of those behind it count a refused post where it came from."""
    batches = [pending([1, 2], [3, 4, 5]), pending([6], [7], posts=10)]
    letter = DeadLetter(post(3), ())

    assert [(1, 2)] == put_aside(batches, "posts", {2: letter, 4: letter}, [b"0", b"1"])
    (first,), (second,) = (each.batch.shares for each in batches)
    assert records([1, 2, 4]) == first.records
    assert (letter, letter) == first.dead_letters
    assert [(2, 0), (1, 2)] == counts(batches[0])
    assert [(11, 0), (9, 2)] == counts(batches[1])
    assert (2, 1) == batches[0].receipts[0].parts
    assert () == second.dead_letters


def test_a_cut_batch_claims_nothing_behind_the_cut():
    """Later batches are dropped, the ledger knows what is delivered, and each source partition what it has lost."""
    lost = []

    def offset_of(number, dropped):
        lost.append((number, dropped))
        return OffsetWrite(key=b"%d" % number, value=b"")

    batch = cut_before(
        [pending([1, 2], [3]), pending([4], [5], offsets=False)],
        "posts",
        [1, 2],
        [id_of(0), id_of(4)],
        offset_of,
        now_ms=MADE_MS,
    )

    assert records([1]) == batch.records
    assert [(0, 2), (1, 2)] == lost
    assert [[id_of(1)], [id_of(0)]] == [decode_ids(write.value) for write in batch.ledger]


@pytest.mark.slow
@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 50)))
def test_a_ledger_without_some(known, gone):
    """What stays is known as before, under the same time; nothing is written about nothing."""
    write = ledger_write(sorted(map(id_of, known)), None, now_ms=MADE_MS)
    left = list(ledger_without([write], set(map(id_of, gone))))

    assert sorted(map(id_of, known - gone)) == [n for each in left for n in decode_ids(each.value)]
    assert [dataclasses.replace(each, value=write.value) for each in left] == [write] * bool(known - gone)


def test_an_id_ahead_of_all_clocks_does_not_date_the_ledger():
    """Kafka would refuse the record, or keep it for ever; the sane ids date it, or else X's clock."""
    now_ms = MADE_MS
    sane, ahead, far = first_id(now_ms - 5), first_id(now_ms + AHEAD_MS + 10), 2**63 - 1

    def dated(*ids):
        return ledger_write(ids, None, now_ms=now_ms).timestamp_ms

    minutes_ahead = now_ms + 4 * 60_000  # our clock stood still for as long, as while a virtual machine is moved
    assert minutes_ahead == dated(sane, first_id(minutes_ahead))
    assert created_ms(sane) == dated(sane, ahead, far)
    assert now_ms == dated(ahead, far)
    assert now_ms + AHEAD_MS == dated(sane, first_id(now_ms + AHEAD_MS))
