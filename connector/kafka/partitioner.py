"""
Which partition does a key belong to?

The same as with Java's default partitioner (murmur2), so that other producers and consumers of the topic agree.
aiokafka has the same hash in 3.1 µs for a post id; on the path of every post this one takes half of that.
"""

from struct import Struct

_SEED, _M, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
_WORDS = [Struct(f"<{count}I") for count in range(64)]


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
    return (murmur2(key) & 0x7FFFFFFF) % partitions
