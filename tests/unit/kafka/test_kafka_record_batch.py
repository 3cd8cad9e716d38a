"""Our record batches and produce requests against aiokafka's, byte for byte."""

import gc
import sys
from unittest import mock

import faust
import pytest
from aiokafka.codec import has_zstd
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.producer.sender import AddPartitionsToTxnHandler
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnResponse_v0
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import encode_varint
from aiokafka.structs import TopicPartition
from hypothesis import example, given
from hypothesis import strategies as st

from connector.kafka.delivery import record_batch
from connector.kafka.delivery.producer import NEXT_TRANSACTION_SECS, TaskProducer
from connector.kafka.delivery.record_batch import BatchStyle, RecordBatch, _varint, copy_once
from connector.records import native
from connector.records.record import Altered, Records, SourceRecord
from tests.unit.fakes import MADE_MS, key_of, post
from tests.unit.forms import FORMS, NOT_BUILT

STYLE = BatchStyle(max_bytes=1_000_000, transactional=True, compression=None)
CODECS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
NEEDS_CRAMJAM = pytest.mark.skipif(not has_zstd(), reason="needs cramjam")

times = st.one_of(
    st.integers(MADE_MS - 100, MADE_MS + 100),
    st.integers(MADE_MS - 20_000, MADE_MS + 20_000),
    st.integers(0, 2**62),
)
sizes = st.one_of(st.integers(0, 130), st.sampled_from([8_100, 8_127, 8_128, 8_191, 8_192, 20_000, 1_100_000]))
headers = st.tuples(st.text(max_size=5), st.binary(max_size=200))
records = st.builds(
    SourceRecord,
    st.one_of(st.binary(min_size=19, max_size=19), st.binary(max_size=200)),
    sizes.map(lambda size: b"v" * size),
    times,
    st.sampled_from([None, None, None, b"search", b"backfill", b"", b"x" * 100]),
    st.none() | st.builds(Altered, st.just(7), headers=st.lists(headers, max_size=3).map(tuple)),
)
states = st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1))


def record_batches(posts, style, compiled=None):
    with mock.patch.object(record_batch, "compiled", compiled):
        return list(record_batch.record_batches(Records.of(posts), style))


def theirs(posts, style):
    """What aiokafka makes of *posts*: its full batches, one after the other."""
    built = []
    for key, value, timestamp_ms, source, altered in posts:
        record = {"timestamp": timestamp_ms, "key": key, "value": value}
        record["headers"] = [] if source is None else [("source", source)]
        if altered is not None:
            record["headers"] += altered.headers
            record |= ({"key": None} if altered.keyless else {}) | ({"value": None} if altered.tombstone else {})
        if not built or built[-1].append(**record) is None:
            built.append(BatchBuilder(style.max_bytes, CODECS[style.compression], is_transactional=style.transactional))
            assert built[-1].append(**record) is not None
    return built


def posts_of(count):
    return [SourceRecord(key_of(number), post(number), MADE_MS + number) for number in range(count)]


def at(*deltas):
    """Return posts that many milliseconds apart from the first one, near the ends of the tables."""
    return [SourceRecord(b"k", b"v", MADE_MS + delta) for delta in deltas]


def same(ours, aiokafkas):
    assert [each.record_count() for each in ours] == [each.record_count() for each in aiokafkas]
    assert [each.size() for each in ours] == [each.size() for each in aiokafkas]
    for mine, other in zip(ours, aiokafkas, strict=True):
        assert b"".join(mine._build()) == bytes(other._build())


@pytest.mark.slow
@FORMS
@given(st.lists(records, max_size=30), st.sampled_from([61, 300, 1_000, 1_000_000]), st.booleans(), st.none() | states)
@example(posts=at(0, -8_191, -8_192, -8_193, 0), max_bytes=1_000, transactional=False, state=None)
@example(posts=at(0, 4_096, 8_191, 0), max_bytes=1_000, transactional=True, state=(7, 1, 5))
@example(posts=at(0, -4_096, -4_097, -8_191), max_bytes=1_000, transactional=True, state=(7, 1, 5))
@example(posts=at(0, 0, 0), max_bytes=61 + 2 * 9, transactional=False, state=None)
@example(posts=at(0, -4_096, 4_095), max_bytes=1_000, transactional=True, state=None)
def test_same_bytes(compiled, posts, max_bytes, transactional, state):
    """A batch has the bytes that aiokafka's has, and ends where that ends, whatever is in it."""
    style = BatchStyle(max_bytes, transactional, None)
    ours, aiokafkas = record_batches(posts, style, compiled), theirs(posts, style)
    if state is not None:
        for each in (*ours, *aiokafkas):
            each._set_producer_state(*state)

    same(ours, aiokafkas)


@pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)
@pytest.mark.parametrize("max_bytes", range(61, 61 + 5 * 9))
def test_full_to_the_byte(max_bytes):
    """Either form ends a batch of records of 9 bytes at the same one; like aiokafka it fills none to the byte."""
    forms = [
        record_batches(at(0, 0, 0, 0), STYLE._replace(max_bytes=max_bytes), form) for form in (None, native.compiled)
    ]
    ours, compiled = ([(each.size(), each.record_count(), each._build()) for each in form] for form in forms)

    assert ours == compiled
    assert min(max((max_bytes - 62) // 9, 1), 4) == ours[0][1]


@FORMS
def test_more_records_than_the_table_has_places(compiled):
    """A batch of very many small records does not end where the tables do."""
    posts = [SourceRecord(b"%d" % number, b"v", MADE_MS) for number in range(20_000)]
    ours = record_batches(posts, STYLE, compiled)

    assert [20_000] == [each.record_count() for each in ours]
    same(ours, theirs(posts, STYLE))


@FORMS
@pytest.mark.parametrize(
    "compression", ["gzip", *(pytest.param(name, marks=NEEDS_CRAMJAM) for name in ("snappy", "lz4", "zstd"))]
)
def test_compressed(compression, compiled):
    """Compressed, a batch is smaller, and has what aiokafka's has."""
    style = STYLE._replace(compression=compression)
    posts = posts_of(300)
    (ours,), (other,) = record_batches(posts, style, compiled), theirs(posts, style)
    for each in (ours, other):
        each._set_producer_state(7, 1, 5)
    built = DefaultRecordBatch(b"".join(ours._build()))
    reference = DefaultRecordBatch(bytes(other._build()))

    assert built.validate_crc()
    assert (CODECS[compression], True) == (built.compression_type, built.is_transactional)
    assert ours.size() == len(b"".join(ours._build())) < sum(len(each.value) for each in posts)
    assert (built.producer_id, built.producer_epoch, built.base_sequence) == (7, 1, 5)
    assert (built.first_timestamp, built.max_timestamp) == (reference.first_timestamp, reference.max_timestamp)
    assert [tuple(each)[:3] for each in posts] == [(each.key, each.value, each.timestamp) for each in built]


def test_not_compressible():
    """What compression would make larger goes as it is."""
    tiny = [SourceRecord(b"1", b"2", MADE_MS)]

    same(record_batches(tiny, STYLE._replace(compression="gzip")), theirs(tiny, STYLE))


async def test_is_a_closed_builder():
    """aiokafka sees a batch that is full, sends it at once, and builds it again if it has to."""
    (batch,) = record_batches(posts_of(3), STYLE)
    message = MessageBatch(TopicPartition("posts", 0), batch, 10, 10)
    message.set_producer_state(7, 1, 5)
    batch.close()

    assert message.append(b"key", b"value", MADE_MS) is None
    assert message.remaining_linger() is None
    assert not message.is_empty()
    assert message.get_data_buffer() == message.get_data_buffer()


@given(st.integers(-(2**63), 2**63 - 1))
def test_varint(number):
    """A number of any size has aiokafka's encoding."""
    expected = bytearray()
    encode_varint(number, expected.append)

    assert expected == _varint(number)


class Socket:
    """Takes down what a connection writes."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(bytes(data))


class Client:
    """aiokafka's, with one connection, which writes and hears nothing back."""

    def __init__(self, version):
        self.connection = AIOKafkaConnection("127.0.0.1", 1, request_timeout_ms=1)
        self.connection._versions = {0: (0, version)}
        self.connection._writer = self.socket = Socket()

    async def send(self, node_id, request, *, group=None):
        self.connection.send(request).close()


def requested(batches, transactional_id):
    return ProduceRequest(
        transactional_id=transactional_id, required_acks=-1, timeout=40_000, topics=list(batches.items())
    )


@pytest.mark.parametrize(("version", "transactional_id"), [(7, "posts-0"), (7, None), (3, "posts-0"), (2, None)])
async def test_same_request(version, transactional_id):
    """What goes to the socket is what aiokafka would write: our batches and its own, several topics and partitions."""
    (first,), (second,) = record_batches(posts_of(50), STYLE), record_batches(posts_of(3), STYLE)
    letter = bytes(theirs(posts_of(1), STYLE)[0]._build())
    ours = {"posts": [(0, first._build()), (11, second._build())], "bäd": [(5, letter)]}
    joined = {"posts": [(number, b"".join(built)) for number, built in ours["posts"]], "bäd": [(5, letter)]}
    client, reference = Client(version), Client(version)
    copy_once(client)
    await client.send(1, requested(ours, transactional_id))
    await reference.send(1, requested(joined, transactional_id))

    assert 1 == len(client.socket.written)
    assert reference.socket.written == client.socket.written


async def test_batches_go_with_their_request():
    """Nothing holds the bytes once they are written, neither the request that waits for its answer nor a cycle."""
    (batch,) = record_batches(posts_of(50), STYLE)
    built = batch._build()
    before = [sys.getrefcount(each) for each in (built, *built)]
    client = Client(7)
    copy_once(client)
    gc.disable()
    try:
        request = requested({"posts": [(0, built)]}, None)
        await client.send(1, request)
        after = [sys.getrefcount(each) for each in (built, *built)]
    finally:
        gc.enable()

    assert before == after


async def test_other_requests_are_left_alone():
    """Only produce requests are encoded anew."""
    sent = []

    class Other:
        async def send(self, node_id, request, **kwargs):
            sent.append((node_id, request, kwargs))

    other, request = Other(), object()
    copy_once(other)
    await other.send(3, request, group=1)

    assert [(3, request, {"group": 1})] == sent


async def test_next_transaction_does_not_wait_long():
    """While the coordinator completes the last transaction aiokafka asks again after our time, not its own."""
    app = faust.App("posts", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
    app.finalize()
    outer = TaskProducer(app, transactional_id="posts-0", idempotent=True, transaction_timeout_secs=60)
    producer = outer._new_producer()
    posts = TopicPartition("posts", 0)
    handler = AddPartitionsToTxnHandler(producer._sender, [posts])
    waits = handler.handle_response(AddPartitionsToTxnResponse_v0(0, [("posts", [(0, ConcurrentTransactions.errno)])]))
    await producer.client.close()
    producer._closed = True

    assert NEXT_TRANSACTION_SECS == waits
    assert BatchStyle(outer.max_batch_size, transactional=True, compression=None) == outer.batch_style


def test_nothing_to_encode():
    """No records, no batches."""
    assert [] == record_batches([], STYLE)


def test_holds_no_copy():
    """A batch refers to its posts until it is built, and to nothing else of their size afterwards."""
    posts = posts_of(3)
    (batch,) = record_batches(posts, STYLE)
    batch._build()
    (parts,) = batch._join.args

    assert isinstance(batch, RecordBatch)
    assert {id(each.value) for each in posts} <= set(map(id, parts))
    assert sum(map(len, parts)) == batch.size() - 61


@pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)
def test_compiled_holds_no_copy():
    """The compiled form does not even hold the parts."""
    records = Records.of(posts_of(3))
    with mock.patch.object(record_batch, "compiled", native.compiled):
        (batch,) = record_batch.record_batches(records, STYLE)
    batch._build()

    assert any(each is records.values for each in batch._join.args)


def test_found_posts_have_their_header_in_any_form():
    """A post that a repair found goes the way in Python, and so does its batch."""
    posts = [SourceRecord(b"1", b"v", MADE_MS, b"search"), SourceRecord(b"2", b"v", MADE_MS)]

    same(record_batches(posts, STYLE, native.compiled), theirs(posts, STYLE))
