"""
Which posts has this task delivered lately?  (Pure, and its bytes.)

Ids are 64-bit numbers that grow with time.  The latest are in a set, older ones in sorted leaves.  Of the leaves a few
are open, 8 bytes an id: those of the last second, and those into which somebody has looked since.  The others are
packed, in 1 to 3.5 bytes an id, the less the faster they came.

    add ─▶ the young: a set ─▶ open leaves ─▶ packed leaves ─▶ let go
                                    ▲               │
                                    └── looked into ┘

On the wire, in the ledger topic, ids are sorted and delta-coded: some 3 bytes each at high rates, 4 at low ones.
"""

import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import overload

YOUNG_IDS = 32_768
"""At so many the set is sorted into leaves: in a set an id takes some 90 bytes."""

LEAF_IDS = 8_192

OPEN_LEAVES = 128
"""A million ids, 8 MB: a backfill of 75,000 posts a second that is 10 s out of order opens each leaf once."""

CLOSED_LEAVES = 32
"""As many are packed at a time: 15 ms of work."""

MERGED_LEAVES = 16
"""As many are merged with late ids at a time: 5 MB for the moment."""

_LEVEL = 1
"""zlib's fastest: what it finds are high bytes that are nearly always 0."""

_VERSION = 1
_HEAD_BYTES = 10
_ID_BYTES = 8
_ID_MAX = 2**64 - 1


class _Leaf:
    """
    Sorted ids from *first* to *last*: open as *ids*, or *packed*; both if nothing changed since it was opened.

    *used* says that it was made or looked into lately.
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

    `keep`, called every second or so, says for which of them it matters; the others are let go a leaf at a time.
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
        """Remember *post_id*, which is not in it yet."""
        self._young.add(post_id)
        if len(self._young) >= YOUNG_IDS:
            self._age()

    def add_new(self, ids: Sequence[int]) -> bool:
        """Remember *ids* and return True if none of them is known, nor twice among them; else change nothing."""
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
        """Remember *ids*, known or not; that they are millions costs no more than what stays of them."""
        coming = iter(ids)
        while some := set(islice(coming, YOUNG_IDS)):
            if min(some) <= self._newest_old:
                some = {post_id for post_id in some if post_id > self._newest_old or not self._is_old(post_id)}
            self._young |= some
            if len(self._young) >= YOUNG_IDS:
                self._age()

    def keep(self, ranges: Collection[tuple[int, int]]) -> None:
        """
        Let go of old ids that lie in none of *ranges*, pairs of first id and the first that is beyond.

        What nobody has looked into since the last call is packed.
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
        """Sort the young into the leaves; mostly they come behind the last one."""
        ids = sorted(self._young)
        self._young.clear()
        leaves, last = self._leaves, self._last
        stop = len(ids)
        while stop:  # backwards, as what is replaced may become longer
            begin = end = bisect_left(last, ids[stop - 1])
            if begin < len(leaves):
                end += 1
            elif leaves and leaves[-1].count < LEAF_IDS:
                begin -= 1
            start = bisect_right(ids, last[begin - 1], 0, stop) if begin else 0
            # neighbours that take some are merged at once, so that the new leaves are full
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
    """Ids of the records of a ledger, in their order; they stay encoded, so that millions cost their bytes."""

    def __init__(self) -> None:
        self._values: list[bytes] = []
        self._ends: list[int] = []

    def append(self, value: bytes) -> None:
        """
        Add the ids of the record *value*.

        Raises:
            ValueError: *value* is none.
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
        """Return one or several; each of them costs a record's decoding."""
        if isinstance(at, slice):
            return [self[place] for place in range(len(self))[at]]
        place = range(len(self))[at]
        number = bisect_right(self._ends, place)
        return _decode(self._values[number])[place - self._ends[number]]


def encode_ids(ids: Iterable[int]) -> bytes:
    """
    Return *ids* as the value of a ledger record.

    One byte of version, one of width, the smallest id in 8 bytes; then the differences of neighbours in as few bytes
    as the largest one needs, first all lowest bytes, then all second ones, and so on.

    Raises:
        ValueError: there are none.
    """
    if not (ordered := array("Q", sorted(set(ids)))):
        raise ValueError("A ledger record without ids says nothing")
    return _encode(ordered)


def decode_ids(value: bytes) -> list[int]:
    """
    Return the ids of a ledger record, ascending.

    Raises:
        ValueError: *value* is none.
    """
    _count(value)
    return _decode(value)


def _encode(ordered: "array[int]") -> bytes:
    little = ordered if sys.byteorder == "little" else _swapped(ordered)
    raw = little.tobytes()
    # One subtraction of long numbers does it for all neighbours: as ids ascend, no difference borrows from the next.
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
        ValueError: *value* is none.
    """
    if len(value) < _HEAD_BYTES or value[0] != _VERSION or value[1] > _ID_BYTES:
        raise ValueError(f"{value[:32]!r} is no record of a ledger")
    width, size = value[1], len(value) - _HEAD_BYTES
    if size % width if width else size:
        raise ValueError(f"A ledger record of {len(value)} bytes is cut")
    steps = size // width if width else 0
    first = int.from_bytes(value[2:_HEAD_BYTES], "big")
    # The exact sum takes time: nearly all records cannot reach the limit with steps of their width.
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
