import asyncio
from dataclasses import replace

import pytest
from aiokafka.errors import KafkaTimeoutError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from connector.config.load import load
from connector.coverage.ledger import encode_ids
from connector.kafka.delivery import writing
from connector.kafka.delivery.partitioner import partition_of
from connector.kafka.delivery.posts_topic import POSTS_AT_ONCE, RECORD_OVERHEAD_BYTES, PostsTopic
from connector.kafka.delivery.record_batch import BatchStyle
from connector.kafka.delivery.writing import Slot
from connector.records.post import Post
from connector.records.record import (
    Batch,
    DeadLetter,
    Destination,
    LedgerWrite,
    OffsetWrite,
    Records,
    Share,
    SourceRecord,
)
from connector.worker import wiring
from tests.unit.fakes import MADE_MS, id_of, key_of, letters_to, post

ENVIRONMENT = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
TO = letters_to("bad")
SLOT = Slot(offsets_topic="connector-offsets", ledger_topic="connector-ledger", number=5)
OFFSET = OffsetWrite(key=b'["posts",{}]', value=b'{"posts":1}')
LEDGER = LedgerWrite(value=encode_ids([id_of(1)]), timestamp_ms=MADE_MS + 1, source=None)
FOUND = LedgerWrite(value=encode_ids([id_of(0)]), timestamp_ms=MADE_MS, source=b"search")
LETTER = DeadLetter(b"oops", (("error.class", b"BadRecord"),))


class FakeClient:
    """aiokafka's producer: takes down what is asked of it; acks are the test's to give, at once unless *manual*."""

    def __init__(self, *, manual=False, refuse=()):
        self.calls, self.acks, self.manual, self.refuse = [], [], manual, dict(refuse)

    async def begin_transaction(self):
        self.calls.append("begin")

    async def commit_transaction(self):
        self.calls.append("commit")

    async def send_batch(self, builder, topic, *, partition):
        return self._sent((topic, partition))

    async def send(self, topic, value, *, key=None, partition=None, timestamp_ms=None, headers=None):
        return self._sent((topic, partition, key, value, timestamp_ms, headers))

    def _sent(self, call):
        self.calls.append(call)
        ack = asyncio.get_running_loop().create_future()
        self.acks.append(ack)
        if error := self.refuse.get(call[0]):
            ack.set_exception(error)
        elif not self.manual:
            ack.set_result(None)
        return ack


class FakeProducer:
    def __init__(self, *, transactional=True, partitions=3, **client):
        self.transactional_id = "connector-posts-0" if transactional else None
        self.client, self._partitions, self.small_batches = FakeClient(**client), partitions, None
        self.batch_style = BatchStyle(max_bytes=2_000, transactional=transactional, compression=None)

    def partitions(self, topic):
        return self._partitions

    def announce(self, partitions):
        self.client.calls.append(sorted(partitions))


@pytest.fixture
def topic(tmp_path):
    app = wiring.wire(load(ENVIRONMENT, tmp_path))
    return PostsTopic(app, topic="posts", value_format="json")


def record(number, value=None):
    return SourceRecord(key_of(number), post(number) if value is None else value, MADE_MS + number)


def batch(*numbers, letters=(LETTER,), ledger=(LEDGER, FOUND)):
    return Share(
        to=TO, records=Records.of(map(record, numbers)), dead_letters=letters, offsets=(OFFSET,), ledger=ledger
    )


def decoded(builder):
    return [
        (each.key, each.value, each.timestamp, dict(each.headers).get("source"))
        for each in DefaultRecordBatch(b"".join(builder._build()))
    ]


def test_is_a_typed_channel(topic):
    """Whoever reads the topic in Faust gets `Post` objects under string keys."""
    assert ("posts", str, Post) == (topic.name, topic.key_type, topic.value_type)


def test_agent_may_copy_it(topic):
    """Faust copies a topic when an agent of another application reads it; the copy is the same channel."""
    copy = topic.derive()

    assert ("posts", str, Post) == (copy.get_topic_name(), copy.key_type, copy.value_type)


async def test_records_go_to_their_partitions_in_order(topic):
    """A record's partition is its key's; in each partition the order is that of arrival."""
    records = [record(number) for number in range(200)]
    producer = FakeProducer()
    encoded = await topic.encode(producer, Records.of(records))

    found = {number: [] for number in range(3)}
    for each in encoded:
        found[each.partition] += decoded(each.batch)
    assert found == {
        number: [each[:4] for each in records if number == partition_of(each.key, 3)] for number in range(3)
    }
    assert len(encoded) > 3  # batches that are full are followed by others


async def test_rounds(topic):
    """A request carries one batch of each partition, so the first ones of all come before any second one."""
    encoded = await topic.encode(FakeProducer(), Records.of([record(number) for number in range(200)]))
    partitions = [[each.partition for each in encoded if each.round == number] for number in range(2)]

    assert [[0, 1, 2]] * 2 == partitions


async def test_others_have_their_turn(topic):
    """Encoding many posts takes several turns of the event loop, each a short one."""
    turns, done = 0, False

    async def count():
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await topic.encode(FakeProducer(), Records.of([record(number) for number in range(5_000)]))
    done = True
    await counting

    assert turns >= 5_000 // POSTS_AT_ONCE


async def test_one_larger_than_a_batch(topic):
    """A post larger than a record batch goes in one of its own."""
    large = record(1, post(1) + b" " * 5_000)
    encoded = await topic.encode(FakeProducer(partitions=1), Records.of([record(0), large, record(2)]))

    assert [[record(0)[:4]], [large[:4]], [record(2)[:4]]] == [decoded(each.batch) for each in encoded]


async def test_repaired_posts_say_so(topic):
    """A post that a repair found says by a header how; one that came live has no header, before or behind it."""
    found = record(2)._replace(source=b"backfill")
    ((*_, builder),) = await topic.encode(FakeProducer(partitions=1), Records.of([record(1), found, record(3)]))

    assert [[], [("source", b"backfill")], []] == [
        each.headers for each in DefaultRecordBatch(b"".join(builder._build()))
    ]


@pytest.mark.parametrize("source", [b"search", b"recovery", b"backfill"])
@pytest.mark.parametrize("size", [0, 1, 100, 1_000_000])
async def test_overhead_of_a_record(topic, size, source):
    """A post of the largest size that is let through fits a record batch of the topic's limit."""
    key = b"9" * 19
    large = SourceRecord(key, b"x" * size, MADE_MS, source)
    ((*_, builder),) = await topic.encode(FakeProducer(partitions=1), Records.of([large]))

    assert builder.size() <= len(key) + size + RECORD_OVERHEAD_BYTES


async def write(topic, producer, whole):
    await writing.write(producer, await topic.encode(producer, whole.records), Batch((whole,)), SLOT)


async def test_one_transaction(topic):
    """Posts, dead letters, ledger and offsets are one transaction, announced at once, offsets last."""
    producer = FakeProducer(partitions=1)
    await write(topic, producer, batch(1))

    assert [
        "begin",
        [("connector-ledger", 5), ("connector-offsets", 5), ("posts", 0)],
        ("posts", 0),
        ("bad", 0, None, b"oops", None, [("error.class", b"BadRecord")]),
        ("connector-ledger", 5, b"posts", LEDGER.value, MADE_MS + 1, []),
        ("connector-ledger", 5, b"posts", FOUND.value, MADE_MS, [("source", b"search")]),
        ("connector-offsets", 5, OFFSET.key, OFFSET.value, None, []),
        "commit",
    ] == producer.client.calls


async def test_no_commit_before_every_ack(topic):
    """The transaction is committed once Kafka has acknowledged all of it."""
    producer = FakeProducer(partitions=1, manual=True)
    writing = asyncio.create_task(write(topic, producer, batch(1)))
    for count in range(5):
        await asyncio.sleep(0.001)
        assert 5 == len(producer.client.acks)
        assert "commit" not in producer.client.calls
        producer.client.acks[count].set_result(None)
    await writing

    assert "commit" == producer.client.calls[-1]


async def test_several_connectors_in_one_transaction(topic):
    """Each has its own topics and its own key in the ledger; the offsets of all come last."""
    letter = DeadLetter(b"other", ())
    other = Share(
        to=Destination(connector="birds", topic="birds", dead_letter_topic="bad birds"),
        records=Records.of([record(1)]),
        dead_letters=(letter,),
        offsets=(OffsetWrite(key=b"birds", value=b"{}"),),
        ledger=(LEDGER,),
    )
    producer = FakeProducer(partitions=1)
    built = await topic.encode(producer, batch(1).records)
    encoded = [*built, *(each._replace(topic="birds") for each in built)]
    await writing.write(producer, encoded, Batch((batch(1, ledger=(LEDGER,)), other)), SLOT)
    begin, places, *sent, commit = producer.client.calls

    assert ("begin", "commit") == (begin, commit)
    assert [("birds", 0), ("connector-ledger", 5), ("connector-offsets", 5), ("posts", 0)] == places
    assert [
        ("posts", None),
        ("birds", None),
        ("bad", b"oops"),
        ("bad birds", b"other"),
        ("connector-ledger", b"posts"),
        ("connector-ledger", b"birds"),
        ("connector-offsets", OFFSET.key),
        ("connector-offsets", b"birds"),
    ] == [(call[0], None if len(call) == 2 else call[3] if "bad" in call[0] else call[2]) for call in sent]


async def test_without_transactions_ledger_and_offsets_come_after_the_acks(topic):
    """
    At least once: ids and offset are sent when all posts are acknowledged, so a crash between repeats, never loses.

    A post whose id is in the ledger is not delivered again, so it has to be in the topic by then.
    """
    producer = FakeProducer(transactional=False, partitions=1, manual=True)
    writing = asyncio.create_task(write(topic, producer, batch(1)))
    await asyncio.sleep(0.001)
    assert ["posts", "bad"] == [call[0] for call in producer.client.calls]
    for ack in producer.client.acks:
        ack.set_result(None)
    await asyncio.sleep(0.001)
    assert ["connector-ledger", "connector-ledger", "connector-offsets"] == [
        call[0] for call in producer.client.calls[2:]
    ]
    assert not writing.done()
    for ack in producer.client.acks[2:]:
        ack.set_result(None)
    await writing


@pytest.mark.parametrize("refusing", ["posts", "bad", "connector-ledger", "connector-offsets"])
async def test_refused_record_is_an_unknown_outcome(topic, refusing):
    """If anything is refused nothing is committed, and the error is Kafka's."""
    producer = FakeProducer(partitions=1, refuse={refusing: ProducerFenced()})
    with pytest.raises(ProducerFenced):
        await write(topic, producer, batch(1))

    assert "commit" not in producer.client.calls


async def test_refused_post_keeps_ledger_and_offset_back(topic):
    """At least once: without its posts neither their ids nor the offset are sent."""
    producer = FakeProducer(transactional=False, partitions=1, refuse={"posts": KafkaTimeoutError()})
    with pytest.raises(KafkaTimeoutError):
        await write(topic, producer, batch(1))

    assert {"posts", "bad"} == {call[0] for call in producer.client.calls}


async def test_several_refusals_are_one_error(topic, caplog):
    """When a broker refuses everything one error is raised, and asyncio has nothing to complain about."""
    producer = FakeProducer(partitions=3, refuse={"posts": ProducerFenced(), "bad": ProducerFenced()})
    with pytest.raises(ProducerFenced):
        await write(topic, producer, batch(1, 2, 3, 4, 5, 6))
    producer.client.acks.clear()

    assert "" == caplog.text


async def test_dead_letter_without_a_topic(topic):
    """That is our own error, and nothing is committed."""
    producer = FakeProducer()
    nowhere = replace(batch(), to=replace(TO, dead_letter_topic=None))
    with pytest.raises(RuntimeError, match="no topic for it"):
        await write(topic, producer, nowhere)

    assert "commit" not in producer.client.calls


class FakeSmallBatches:
    """The short way, which takes everything, or nothing."""

    def __init__(self, *, takes=True):
        self.asked, self.delivered, self._takes = [], [], takes

    def takes(self, parts):
        self.asked.append([(part.topic, part.partition, part.builder.record_count()) for part in parts])
        return self._takes

    async def deliver(self, parts, behind):
        self.delivered.append([[part.builder for part in each] for each in (parts, behind)])


def small_batches_producer(*, takes=True, **kwargs):
    producer = FakeProducer(**kwargs)
    producer.small_batches = FakeSmallBatches(takes=takes)
    producer.client.create_batch = lambda: BatchBuilder(1_000, 0, is_transactional=1)
    return producer


def read_back(builder):
    return [(each.key, each.value, dict(each.headers).get("source")) for each in DefaultRecordBatch(builder._build())]


async def test_small_batches_go_the_short_way(topic):
    """Posts go first, ledger and offsets behind them, and nothing goes twice."""
    producer = small_batches_producer(partitions=1)
    await write(topic, producer, batch(1, 2, letters=()))
    (((posts,), (ledger, offsets)),) = producer.small_batches.delivered

    assert [("posts", 0, 2), ("connector-ledger", 5, 2), ("connector-offsets", 5, 1)] == producer.small_batches.asked[0]
    assert [key_of(1), key_of(2)] == [each[0] for each in decoded(posts)]
    assert [(b"posts", LEDGER.value, None), (b"posts", FOUND.value, b"search")] == read_back(ledger)
    assert [(OFFSET.key, OFFSET.value, None)] == read_back(offsets)
    assert [] == producer.client.calls


async def test_ledger_times_go_the_short_way(topic):
    """A record of the ledger has the time of its newest post there, too."""
    producer = small_batches_producer(partitions=1)
    await write(topic, producer, batch(1, letters=()))
    ((_, (ledger, _)),) = producer.small_batches.delivered

    assert [MADE_MS + 1, MADE_MS] == [each.timestamp for each in DefaultRecordBatch(ledger._build())]


@pytest.mark.parametrize(
    ("takes", "whole"),
    [
        (False, {"letters": ()}),
        (True, {}),  # dead letters are rare
        # what a batch does not hold together
        (True, {"letters": (), "ledger": tuple(replace(LEDGER, value=b"x" * 600) for _ in range(3))}),
    ],
)
async def test_all_else_goes_by_the_sender(topic, takes, whole):
    """What the short way does not take goes by aiokafka's sender, whole."""
    producer = small_batches_producer(takes=takes, partitions=1)
    whole = batch(1, **whole)
    await write(topic, producer, whole)

    assert [] == producer.small_batches.delivered
    sent = 1 + len(whole.dead_letters) + len(whole.ledger) + len(whole.offsets)
    assert ("begin", 2 + sent + 1, "commit") == (
        producer.client.calls[0],
        len(producer.client.calls),
        producer.client.calls[-1],
    )
