"""
The ids of the posts that this task has delivered lately, in memory and as records of the ledger topic.  (Pure.)

Ids are 64-bit numbers that grow with time.  The newest ids are in a set, older ones in sorted leaves.  A few leaves are
open, with 8 bytes for each id: those made in the last second, and those in which an id was looked up since.  The other
leaves are packed, with 1 to 3.5 bytes for each id; the faster the ids came, the fewer bytes.

    add ─▶ newest ids: a set ─▶ open leaves ─▶ packed leaves ─▶ forgotten
                                     ▲               │
                                     └─── looked up ─┘

In the ledger topic ids are sorted and delta-coded: some 3 bytes each at high rates, 4 at low ones.
"""

import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import overload

YOUNG_IDS = 32_768
"""When the set holds so many ids, they are sorted into leaves: an id takes some 90 bytes in a set."""

LEAF_IDS = 8_192

OPEN_LEAVES = 128
"""
Most leaves that are open at once: a million ids, 8 MB.

A backfill of 75,000 posts/s that is 10 s out of order then opens each leaf only once.
"""

CLOSED_LEAVES = 32
"""Most leaves that are packed in one call: 15 ms of work."""

MERGED_LEAVES = 16
"""Most leaves that are merged with late ids at once: 5 MB for that time."""

_LEVEL = 1
"""zlib's fastest level; it is enough, as most of the gain is from high bytes that are nearly always 0."""

_VERSION = 1
_HEAD_BYTES = 10
_ID_BYTES = 8
_ID_MAX = 2**64 - 1


class _Leaf:
    """
    Sorted ids from *first* to *last*: open (*ids* is set), packed (*packed* is set), or both.

    Both are set if the leaf was opened and has not changed since.  *used* says that it was made, or an id was looked up
    in it, since the last `Ledger.keep`.
    """

    __slots__ = ("count", "first", "ids", "last", "packed", "used")

    def __init__(self, ids: "array[int]") -> None:
        self.first, self.last, self.count = ids[0], ids[-1], len(ids)
        self.ids: array[int] | None = ids
        self.packed = b""
        self.used = True

    def close(self) -> None:
        if self.ids is not None:
            self.packed = self.packed or zlib.compress(_encode(self.ids), _LEVEL)
            self.ids = None

    def open(self) -> "array[int]":
        if self.ids is None:
            self.ids = array("Q", _decode(zlib.decompress(self.packed)))
        return self.ids


class Ledger:
    """
    Ids of posts handed to delivery.

    `keep`, called about every second, says which ranges of ids are still needed; leaves outside of them are forgotten.
    """

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._leaves: list[_Leaf] = []
        self._last: list[int] = []  # the largest id of each leaf
        self._newest_old = -1
        self._open: dict[_Leaf, None] = {}  # in the order of their opening

    def __len__(self) -> int:
        return len(self._young) + sum(leaf.count for leaf in self._leaves)

    def __contains__(self, post_id: int) -> bool:
        return post_id in self._young or (post_id <= self._newest_old and self._is_old(post_id))

    def add(self, post_id: int) -> None:
        """Remember *post_id*, which must not be in the ledger yet."""
        self._young.add(post_id)
        if len(self._young) >= YOUNG_IDS:
            self._age()

    def add_new(self, ids: Sequence[int]) -> bool:
        """Remember *ids* and return True if all are new and different from each other; else change nothing."""
        fresh = set(ids)
        if (
            len(fresh) < len(ids)
            or not self._young.isdisjoint(fresh)
            or (
                min(ids) <= self._newest_old
                and any(post_id <= self._newest_old and self._is_old(post_id) for post_id in ids)
            )
        ):
            return False
        self._young |= fresh
        if len(self._young) >= YOUNG_IDS:
            self._age()
        return True

    def update(self, ids: Iterable[int]) -> None:
        """Remember *ids*, some of which may be known; they may be millions, as they are read piece by piece."""
        coming = iter(ids)
        while some := set(islice(coming, YOUNG_IDS)):
            if min(some) <= self._newest_old:
                some = {post_id for post_id in some if post_id > self._newest_old or not self._is_old(post_id)}
            self._young |= some
            if len(self._young) >= YOUNG_IDS:
                self._age()

    def keep(self, ranges: Collection[tuple[int, int]]) -> None:
        """
        Forget the old ids outside of *ranges*, which are pairs of the first id in a range and the first one after it.

        Leaves in which no id was looked up since the last call are packed.
        """
        kept = [
            leaf for leaf in self._leaves if any(leaf.first < beyond and low <= leaf.last for low, beyond in ranges)
        ]
        if len(kept) < len(self._leaves):
            self._set(kept)
            self._open = dict.fromkeys(leaf for leaf in kept if leaf.ids is not None)
        for leaf in list(islice((leaf for leaf in self._open if not leaf.used), CLOSED_LEAVES)):
            self._close(leaf)
        for leaf in self._open:
            leaf.used = False

    def _is_old(self, post_id: int) -> bool:
        leaf = self._leaves[bisect_left(self._last, post_id)]
        if post_id < leaf.first:
            return False
        leaf.used = True
        ids = leaf.ids or self._opened(leaf)
        at = bisect_left(ids, post_id)
        return ids[at] == post_id

    def _opened(self, leaf: _Leaf) -> "array[int]":
        ids = leaf.open()
        self._open[leaf] = None
        self._close_some()
        return ids

    def _close_some(self) -> None:
        for leaf in list(islice(self._open, max(len(self._open) - OPEN_LEAVES, 0))):
            self._close(leaf)

    def _close(self, leaf: _Leaf) -> None:
        del self._open[leaf]
        leaf.close()

    def _age(self) -> None:
        """Move the newest ids from the set into leaves; mostly they come after the last leaf."""
        ids = sorted(self._young)
        self._young.clear()
        leaves, last = self._leaves, self._last
        stop = len(ids)
        while stop:  # from the end, as a replaced part of the list may become longer
            begin = end = bisect_left(last, ids[stop - 1])
            if begin < len(leaves):
                end += 1
            elif leaves and leaves[-1].count < LEAF_IDS:
                begin -= 1
            start = bisect_right(ids, last[begin - 1], 0, stop) if begin else 0
            # neighbouring leaves that all get new ids are merged together, so that the new leaves are full
            while start and end - begin < MERGED_LEAVES and bisect_left(last, ids[start - 1]) == begin - 1:
                begin -= 1
                start = bisect_right(ids, last[begin - 1], 0, start) if begin else 0
            merged = ids[start:stop]
            if begin < end:
                for leaf in leaves[begin:end]:
                    merged += leaf.open()
                    self._open.pop(leaf, None)
                merged.sort()
            leaves[begin:end] = self._split(merged)
            stop = start
        self._set(leaves)

    def _set(self, leaves: list[_Leaf]) -> None:
        self._leaves = leaves
        self._last = [leaf.last for leaf in leaves]
        self._newest_old = self._last[-1] if leaves else -1

    def _split(self, ids: Sequence[int]) -> list[_Leaf]:
        leaves = [_Leaf(array("Q", ids[start : start + LEAF_IDS])) for start in range(0, len(ids), LEAF_IDS)]
        self._open |= dict.fromkeys(leaves)
        self._close_some()
        return leaves


class Runs(Sequence[int]):
    """The ids in records of a ledger topic, in their order; they stay encoded, so that millions take little memory."""

    def __init__(self) -> None:
        self._values: list[bytes] = []
        self._ends: list[int] = []

    def append(self, value: bytes) -> None:
        """
        Add the ids of the record *value*.

        Raises:
            ValueError: *value* is not a record of a ledger.
        """
        count = _count(value)
        self._values.append(value)
        self._ends.append(len(self) + count)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(map(_decode, self._values))

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        """Return one id or several; for each one a whole record is decoded."""
        if isinstance(at, slice):
            return [self[place] for place in range(len(self))[at]]
        place = range(len(self))[at]
        number = bisect_right(self._ends, place)
        return _decode(self._values[number])[place - self._ends[number]]


def encode_ids(ids: Iterable[int]) -> bytes:
    """
    Return *ids* as the value of a ledger record.

    The value has one byte for the version, one for the width, and the smallest id in 8 bytes.  Then come the
    differences between neighbouring ids.  Each has as many bytes as the largest needs (the width): first the lowest
    byte of all differences, then the second byte of all, and so on.

    Raises:
        ValueError: there are no ids.
    """
    if not (ordered := array("Q", sorted(set(ids)))):
        raise ValueError("A ledger record without ids says nothing")
    return _encode(ordered)


def decode_ids(value: bytes) -> list[int]:
    """
    Return the ids of a ledger record, ascending.

    Raises:
        ValueError: *value* is not a record of a ledger.
    """
    _count(value)
    return _decode(value)


def _encode(ordered: "array[int]") -> bytes:
    little = ordered if sys.byteorder == "little" else _swapped(ordered)
    raw = little.tobytes()
    # One subtraction of two long numbers gives all differences: as ids ascend, no difference borrows from the next.
    steps = int.from_bytes(raw[_ID_BYTES:], "little") - int.from_bytes(raw[:-_ID_BYTES], "little")
    raw = steps.to_bytes(len(raw) - _ID_BYTES, "little")
    planes = [raw[place::_ID_BYTES] for place in range(_ID_BYTES)]
    nothing = bytes(len(planes[0]))
    while planes and planes[-1] == nothing:
        planes.pop()
    return bytes((_VERSION, len(planes))) + ordered[0].to_bytes(_ID_BYTES, "big") + b"".join(planes)


def _decode(value: bytes) -> list[int]:
    count, planes = _count(value) - 1, memoryview(value)[_HEAD_BYTES:]
    raw = bytearray(count * _ID_BYTES)
    for place in range(value[1]):
        raw[place::_ID_BYTES] = planes[place * count : (place + 1) * count]
    steps = array("Q", bytes(raw))
    return list(
        accumulate(
            steps if sys.byteorder == "little" else _swapped(steps),
            initial=int.from_bytes(value[2:_HEAD_BYTES], "big"),
        )
    )


def _count(value: bytes) -> int:
    """
    Return how many ids a record has.

    Raises:
        ValueError: *value* is not a record of a ledger.
    """
    if len(value) < _HEAD_BYTES or value[0] != _VERSION or value[1] > _ID_BYTES:
        raise ValueError(f"{value[:32]!r} is no record of a ledger")
    width, size = value[1], len(value) - _HEAD_BYTES
    if size % width if width else size:
        raise ValueError(f"A ledger record of {len(value)} bytes is cut")
    steps = size // width if width else 0
    first = int.from_bytes(value[2:_HEAD_BYTES], "big")
    # The exact sum takes time, and nearly no record needs it: with steps of its width it cannot reach the limit.
    if first + (steps << 8 * width) > _ID_MAX and first + _sum_of_steps(value, steps) > _ID_MAX:
        raise ValueError(f"A ledger record of {len(value)} bytes has an id of more than 64 bits")
    return 1 + steps


def _sum_of_steps(value: bytes, steps: int) -> int:
    planes = memoryview(value)[_HEAD_BYTES:]
    return sum(sum(planes[place * steps : (place + 1) * steps]) << 8 * place for place in range(value[1]))


def _swapped(numbers: "array[int]") -> "array[int]":
    swapped = array("Q", numbers)
    swapped.byteswap()
    return swapped
