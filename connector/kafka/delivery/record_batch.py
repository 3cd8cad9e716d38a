"""
Builds Kafka's record batches from posts: the hot path of the Kafka end.

aiokafka's own record batches and requests take 6.3 µs of CPU for a post of 2.6 KB, partitioner included.  This module
and `partitioner` take 2.3 µs in Python, and 1 µs with the compiled `_native.c`, for three reasons:

- A post is copied only when its batch is sent.  A waiting batch holds no copy, and no copy stays after the request.
  In Python a record is a few `bytes` from prepared tables, with its key and its value.  Compiled code writes the
  record in place, outside the interpreter's lock.
- The checksum comes from Google's crc32c, which uses a CPU instruction: 0.1 µs for a post.  The function inside
  aiokafka is compiled but does not use that instruction: 1.35 µs.
- aiokafka encodes a request from the innermost field outwards and copies the batches for every layer, eight times.
  `copy_once` copies them once.

The bytes are the same as aiokafka would send; the tests compare them.  This module relies on two things that aiokafka
does not promise: which methods of a `BatchBuilder` its accumulator calls (`RecordBatch`), and how its connection puts
a message together (`copy_once`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, count, repeat
from struct import Struct
from types import ModuleType
from typing import Any, NamedTuple

from aiokafka import codec
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import Int32, String
from google_crc32c import extend as more_crc32c
from google_crc32c import value as crc32c

from connector.records.native import compiled
from connector.records.record import SOURCE_HEADER, Header, Records

_BEFORE_CRC = Struct(">qiibI")
"""Base offset, number of bytes after this field, leader epoch, magic, checksum of all bytes after it."""
_AFTER_CRC = Struct(">hiqqqhii")
"""Attributes, place of the last record, first and largest time, producer id and epoch, first sequence number, count."""
_HEAD_BYTES = _BEFORE_CRC.size + _AFTER_CRC.size
_NOT_IN_LENGTH = 12
_NO_LEADER_EPOCH, _MAGIC, _TRANSACTIONAL = -1, 2, 0x10
_NO_PRODUCER = (-1, -1, 0)

_CODECS: Mapping[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, codec.gzip_encode),
    "snappy": (2, codec.snappy_encode),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}


class BatchStyle(NamedTuple):
    """How a producer writes record batches."""

    max_bytes: int
    """Largest batch (bytes); a larger record is a batch of its own."""
    transactional: bool
    compression: str | None
    """`gzip`, `snappy`, `lz4`, `zstd` or None."""


class RecordBatch:
    """A batch of *count* records whose bytes *join* returns; aiokafka takes it for a closed `BatchBuilder`."""

    def __init__(
        self, join: Callable[[], bytes], size: int, count: int, first_ms: int, last_ms: int, style: BatchStyle
    ) -> None:
        self._join, self._size, self._count = join, size, count
        self._first_ms, self._last_ms = first_ms, last_ms
        self._attributes = _TRANSACTIONAL if style.transactional else 0
        self._producer = _NO_PRODUCER
        if style.compression is not None:
            self._compress(*_CODECS[style.compression])

    def _compress(self, number: int, compress: Callable[[bytes], bytes]) -> None:
        plain = self._join()
        if len(small := compress(plain)) < len(plain):
            self._join, self._size = lambda: small, _HEAD_BYTES + len(small)
            self._attributes |= number

    def size(self) -> int:
        return self._size

    def record_count(self) -> int:
        return self._count

    def append(self, **_: object) -> None:
        """Return None, which tells aiokafka that the batch takes no more records."""

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        """Do nothing: the batch is closed already."""

    def number(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def build(self) -> tuple[bytes, bytes]:
        """Return head and records; aiokafka calls this for each attempt to send the batch, and gets the same bytes."""
        records = self._join()
        after = _AFTER_CRC.pack(
            self._attributes, self._count - 1, self._first_ms, self._last_ms, *self._producer, self._count
        )
        crc = more_crc32c(crc32c(after), records)
        # the broker sets the base offset, which is 0 here
        return _BEFORE_CRC.pack(0, self._size - _NOT_IN_LENGTH, _NO_LEADER_EPOCH, _MAGIC, crc) + after, records

    _set_producer_state, _build = number, build  # aiokafka's names for them


_ABSENT = b"\1"
"""The varint -1: the length of a key or value that is not there."""
_PLAIN = b"\0"
"""A zero byte: the attributes of a record (none are set), or its number of headers."""
_MAX_OVERHEAD = 64
"""More bytes than a record has beside key, value and source."""
_PARTS = 8
_LONG = 1 << 63


@cache
def _tables() -> tuple[Sequence[bytes], Sequence[bytes]]:
    """
    Return the varints of one and two bytes in two tables, which take 1.5 MB; compiled code needs neither.

    The first table is indexed by a length, or by a place in the batch.  The second is indexed by the milliseconds since
    the batch's first record, and has the attributes before each varint; a negative index counts from its end.
    """
    # in the order of the encoding: 0, -1, 1, -2, 2 and so on
    short = [bytes((n,)) for n in range(128)] + [bytes((n & 0x7F | 0x80, n >> 7)) for n in range(128, 128 * 128)]
    return short[::2], [_PLAIN + encoded for encoded in (*short[::2], *short[::-2])]


class _Varints(dict[int, bytes]):
    """Used instead of a table when numbers may be too large for the table; makes each varint at its first use."""

    def __init__(self, before: bytes = b"") -> None:
        super().__init__()
        self._before = before

    def __missing__(self, number: int) -> bytes:
        encoded = self[number] = self._before + _varint(number)
        return encoded


def record_batches(records: Records, style: BatchStyle) -> Iterator[RecordBatch]:
    """
    Yield record batches of *records*, in order; all *records* are for one partition.

    Raises:
        OverflowError: a time, or the difference of two times, does not fit into 64 bits.
    """
    if not records:
        return
    cut = _cut_of(records) if compiled is None or records.have_headers else _compiled_cut_of(records, compiled)
    start, times = 0, records.times_ms
    while start < len(records):
        stop, size, join = cut(start, style.max_bytes - _HEAD_BYTES)
        yield RecordBatch(join, _HEAD_BYTES + size, stop - start, times[start], max(times[start:stop]), style)
        start = stop


_Cut = Callable[[int, int], tuple[int, int, Callable[[], bytes]]]
"""
Takes the place of the first record and a limit in bytes.  Returns where the batch stops, its size (bytes), and what
joins its records.  A batch has at least one record.
"""


def _compiled_cut_of(records: Records, native: ModuleType) -> _Cut:
    columns = records.keys, records.values, records.times_ms

    def cut(start: int, max_bytes: int) -> tuple[int, int, Callable[[], bytes]]:
        count, size = native.measure(*columns, start, max_bytes)
        return start + count, size, partial(native.join, *columns, start, start + count)

    return cut


def _cut_of(records: Records) -> _Cut:
    short_lengths, short_stamps = _tables()
    first_ms, last_ms = min(records.times_ms), max(records.times_ms)
    if not -_LONG <= first_ms <= last_ms < _LONG:
        raise OverflowError("the times of a record batch have no more than 64 bits")
    near = last_ms - first_ms < len(short_stamps) // 2
    headers = _headers_of(records)
    largest = sum(max(map(len, each)) for each in (records.keys, records.values, headers or (_PLAIN,)))
    lengths = short_lengths if largest + _MAX_OVERHEAD < len(short_lengths) else _Varints()
    stamps = short_stamps if near else _Varints(_PLAIN)
    keys, values = _keys_and_values(records)
    every = list(zip(keys, values, records.times_ms, headers or repeat(_PLAIN), strict=False))

    def cut(start: int, max_bytes: int) -> tuple[int, int, Callable[[], bytes]]:
        parts, size = _encode(every[start:], max_bytes, lengths, stamps)
        return start + len(parts) // _PARTS, size, partial(b"".join, parts)

    return cut


def _encode(
    records: Sequence[tuple[bytes | None, bytes | None, int, bytes]],
    max_bytes: int,
    lengths: Sequence[bytes] | _Varints,
    stamps: Sequence[bytes] | _Varints,
) -> tuple[list[bytes], int]:
    """
    Return `_PARTS` pieces for each record, and the size of all pieces in bytes.

    A record is its key, value and time (UNIX ms), and its headers as they are written; None is no key, or no value.

    The encoding stops before the record that would reach *max_bytes*; the first record is always encoded.
    """
    parts: list[bytes] = []
    size, first_ms = 0, records[0][2]
    few = _tables()[0]
    places = few if len(records) <= len(few) else chain(few, map(_varint, count(len(few))))
    for place, (key, value, timestamp_ms, headers) in zip(places, records, strict=False):
        stamp = stamps[timestamp_ms - first_ms]
        if key is None:
            of_key, key = _ABSENT, b""  # noqa: PLW2901  # nothing follows the length
        else:
            of_key = lengths[len(key)]
        if value is None:
            of_value, value = _ABSENT, b""  # noqa: PLW2901
        else:
            of_value = lengths[len(value)]
        length = len(stamp) + len(place) + len(of_key) + len(key) + len(of_value) + len(value) + len(headers)
        of_record = lengths[length]
        grown = size + len(of_record) + length
        if grown >= max_bytes and parts:
            break
        size = grown
        parts += of_record, stamp, place, of_key, key, of_value, value, headers  # _PARTS of them
    return parts, size


def _keys_and_values(records: Records) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
    """Return the keys and values of *records*; None for those that a transform has taken away."""
    if records.altered is None:
        return records.keys, records.values
    changes = records.altered
    keys = [
        None if change is not None and change.keyless else key
        for key, change in zip(records.keys, changes, strict=True)
    ]
    values = [
        None if change is not None and change.tombstone else value
        for value, change in zip(records.values, changes, strict=True)
    ]
    return keys, values


def _headers_of(records: Records) -> list[bytes] | None:
    """Return the headers of each record as they are written; None if no record has any."""
    if not records.have_headers:
        return None
    sources, altered = records.sources or repeat(None), records.altered or repeat(None)
    return [
        _headers(source, () if change is None else change.headers)
        for _, source, change in zip(records.keys, sources, altered, strict=False)
    ]


def _headers(source: bytes | None, others: Sequence[Header]) -> bytes:
    headers = others if source is None else ((SOURCE_HEADER, source), *others)
    encoded = _varint(len(headers))
    for name, value in headers:
        word = name.encode()
        encoded += _varint(len(word)) + word + _varint(len(value)) + value
    return encoded


def _varint(number: int) -> bytes:
    if not -_LONG <= number < _LONG:
        raise OverflowError("the times of a record batch are too far apart")
    rest = number << 1 if number >= 0 else ~(number << 1)  # the sign is the lowest bit
    encoded = bytearray()
    while rest >> 7:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def copy_once(client: Any) -> None:
    """Let *client*, an aiokafka client, copy the batches of a produce request only once, and take `RecordBatch`es."""
    send = client.send

    async def send_copied_once(node_id: int, request: Any, **kwargs: Any) -> Any:
        if isinstance(request, ProduceRequest):
            request = _ProduceRequest(request)
        return await send(node_id, request, **kwargs)

    client.send = send_copied_once


class _ProduceRequest(ProduceRequest):
    """A copy of *request* that encodes itself as a `_Body`."""

    def __init__(self, request: ProduceRequest) -> None:
        self.__dict__.update(request.__dict__)

    def build(self, request_struct_class: Any) -> Any:
        built = super().build(request_struct_class)
        built.encode = partial(_body_of, super().build(request_struct_class))  # built twice: no cycle
        return built


class _Body:
    """
    The *pieces* of an encoded request, to which aiokafka's connection adds the header, then the length of both.

    The header is kept beside the pieces.  Adding the length joins all of them, in one copy.  The result is a
    memoryview: the transport can cut off what the socket has taken without another copy.
    """

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __radd__(self, header: bytes) -> "_Message":
        return _Message(header, *self._pieces)


class _Message(_Body):
    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __radd__(self, length: bytes) -> memoryview:  # type: ignore[override]
        return memoryview(b"".join((length, *self._pieces)))


def _body_of(request: Any) -> _Body:
    """Return the bytes of `request.encode()` as a `_Body`; here a batch may be a tuple of pieces."""
    fields = list(zip(request.SCHEMA.names, request.SCHEMA.fields, strict=True))
    pieces = [field.encode(request.get_item(name)) for name, field in fields[:-1]]  # the last one is the topics
    pieces.append(Int32.encode(len(request.topics)))
    for topic, partitions in request.topics:
        pieces += String("utf-8").encode(topic), Int32.encode(len(partitions))
        for partition, built in partitions:
            batch = built if isinstance(built, tuple) else (built,)
            pieces += Int32.encode(partition), Int32.encode(sum(map(len, batch))), *batch
        partitions.clear()  # the request is kept until Kafka answers, and would keep its batches in memory
    return _Body(*pieces)
