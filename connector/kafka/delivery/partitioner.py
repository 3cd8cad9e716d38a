"""
Which partition does a record belong to?

The same as with Java's default partitioner (murmur2), so that other producers and consumers of the topic agree.
aiokafka has the same hash in 3.1 µs for a post id, `murmur2` takes half of that, and `partitions_of` a tenth of it:
it hashes keys of one length side by side, each in a lane of 64 bits of one large integer.
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
"""Bytes of a lane: the product of two 32-bit numbers does not reach the next one."""
_FEW = 8
"""Up to so many keys are hashed one by one as fast."""


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
    """Return the partition of *key* in a topic of so many *partitions*."""
    return (murmur2(key) & _POSITIVE) % partitions


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """Return `partition_of` each of *keys*; fast where they have one length, as the ids of posts have."""
    if len(keys) <= _FEW or len(set(map(len, keys))) > 1:
        return [partition_of(key, partitions) for key in keys]
    return [(digest & _POSITIVE) % partitions for digest in _murmur2_of(keys, len(keys[0]))]


def split(records: Records, partitions: int) -> list[tuple[int, Records]]:
    """
    Return the partitions of a topic of so many *partitions* that get some of *records*, ascending, and which in order.

    Raises:
        ValueError: there are no partitions.
    """
    if partitions < 1:
        raise ValueError("one partition at least is needed")
    if compiled is not None and records.sources is None:
        shares = compiled.split(records.keys, records.values, records.times_ms, partitions)
        return [(partition, Records(*columns)) for partition, *columns in shares]
    found: dict[int, list[SourceRecord]] = {}
    for record, partition in zip(records, partitions_of(records.keys, partitions), strict=True):
        found.setdefault(partition, []).append(record)
    return [(partition, Records.of(found[partition])) for partition in sorted(found)]


def _murmur2_of(keys: Sequence[bytes], length: int) -> tuple[int, ...]:
    """Return `murmur2` of each of *keys*, which are *length* bytes long: its steps, for all lanes at once."""
    count = len(keys)
    joined = b"".join(keys)
    ones = int.from_bytes((1).to_bytes(_LANE, "little") * count, "little")
    lows = ones * _MASK

    def lanes(start: int, size: int) -> int:
        """Return the word at *start* of each key."""
        spread = bytearray(_LANE * count)
        for byte in range(size):
            spread[byte::_LANE] = joined[start + byte :: length]
        return int.from_bytes(spread, "little")

    digest = ones * (_SEED ^ length)
    for start in range(0, length & ~3, 4):
        mixed = lanes(start, 4) * _M & lows
        # what a shift brings over from the next lane is masked away
        digest = (digest * _M & lows) ^ ((mixed ^ mixed >> 24 & ones * (_MASK >> 24)) * _M & lows)
    if tail := length & 3:
        digest = (digest ^ lanes(length - tail, tail)) * _M & lows
    digest = (digest ^ digest >> 13 & ones * (_MASK >> 13)) * _M & lows
    digest ^= digest >> 15 & ones * (_MASK >> 15)
    return struct.unpack(f"<{count}Q", digest.to_bytes(_LANE * count, "little"))
