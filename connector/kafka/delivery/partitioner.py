"""
Chooses the partition of a record, as Java's default partitioner does (murmur2).

So other producers and consumers of the topic agree.  aiokafka's hash takes 3.1 µs for a post id, `murmur2` half of
that, and `partitions_of` a tenth: it hashes keys of one length side by side, each in a 64-bit lane of one large
integer.
"""

import struct
from collections.abc import Sequence
from struct import Struct

from connector.records.native import compiled
from connector.records.record import Records, SourceRecord

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
_WORDS = [Struct(f"<{count}I") for count in range(64)]
_POSITIVE = 0x7FFFFFFF
_LANE = 8
"""Bytes of a lane, enough for the product of two 32-bit numbers."""
_FEW = 8
"""Up to this number of keys, hashing them one by one is as fast."""


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of *data*, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(data)
    count = length >> 2
    words = _WORDS[count] if count < len(_WORDS) else Struct(f"<{count}I")
    digest = _SEED ^ length
    for word in words.unpack_from(data):
        mixed = word * _M & _MASK
        digest = (digest * _M & _MASK) ^ ((mixed ^ mixed >> 24) * _M & _MASK)
    if tail := length & 3:
        digest = (digest ^ int.from_bytes(data[-tail:], "little")) * _M & _MASK
    digest = (digest ^ digest >> 13) * _M & _MASK
    return digest ^ digest >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of *key* in a topic with *partitions* partitions."""
    return (murmur2(key) & _POSITIVE) % partitions


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """Return `partition_of` for each of *keys*; fast if all keys have the same length, as post ids do."""
    if len(keys) <= _FEW or len(set(map(len, keys))) > 1:
        return [partition_of(key, partitions) for key in keys]
    return [(digest & _POSITIVE) % partitions for digest in _murmur2_of(keys, len(keys[0]))]


def split(records: Records, partitions: int) -> list[tuple[int, Records]]:
    """
    Return (partition, its records) for each of the *partitions* partitions that gets some of *records*.

    The partitions ascend.  The records of a partition keep their order.

    Raises:
        ValueError: *partitions* is less than 1.
    """
    if partitions < 1:
        raise ValueError("one partition at least is needed")
    if compiled is not None and not records.have_headers:
        shares = compiled.split(records.keys, records.values, records.times_ms, partitions)
        return [(partition, Records(*columns)) for partition, *columns in shares]
    found: dict[int, list[SourceRecord]] = {}
    for record, partition in zip(records, partitions_of(records.partition_keys, partitions), strict=True):
        found.setdefault(partition, []).append(record)
    return [(partition, Records.of(found[partition])) for partition in sorted(found)]


def _murmur2_of(keys: Sequence[bytes], length: int) -> tuple[int, ...]:
    """Return `murmur2` of each of *keys*, all *length* bytes long; each step runs for all lanes at once."""
    count = len(keys)
    joined = b"".join(keys)
    ones = int.from_bytes((1).to_bytes(_LANE, "little") * count, "little")
    lows = ones * _MASK

    def lanes(start: int, size: int) -> int:
        """Return an integer whose lanes hold *size* bytes from *start* of each key."""
        spread = bytearray(_LANE * count)
        for byte in range(size):
            spread[byte::_LANE] = joined[start + byte :: length]
        return int.from_bytes(spread, "little")

    digest = ones * (_SEED ^ length)
    for start in range(0, length & ~3, 4):
        mixed = lanes(start, 4) * _M & lows
        # the mask removes the bits that a shift moves in from the next lane
        digest = (digest * _M & lows) ^ ((mixed ^ mixed >> 24 & ones * (_MASK >> 24)) * _M & lows)
    if tail := length & 3:
        digest = (digest ^ lanes(length - tail, tail)) * _M & lows
    digest = (digest ^ digest >> 13 & ones * (_MASK >> 13)) * _M & lows
    digest ^= digest >> 15 & ones * (_MASK >> 15)
    return struct.unpack(f"<{count}Q", digest.to_bytes(_LANE * count, "little"))
