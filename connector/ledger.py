"""
Which posts has this task delivered lately?  (Pure, and its bytes.)

Ids are 64-bit numbers that grow with time.  The latest are in a set; older ones in sorted leaves of 8 bytes each, so
that a million take some 10 MB.  On the wire, in the ledger topic, they are sorted and delta-coded: some 4 bytes each.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from operator import sub

YOUNG_IDS = 32_768
"""At so many the set is sorted into leaves: in a set an id takes some 90 bytes."""

LEAF_IDS = 8_192

_VERSION = 1
_HEAD_BYTES = 10
_ID_BYTES = 8


class Ledger:
    """
    Ids of posts handed to delivery.

    `keep` says for which of them it matters; the others are let go a leaf at a time.
    """

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._leaves: list[array[int]] = []
        self._last: list[int] = []  # the largest id of each leaf
        self._newest_old = -1

    def __len__(self) -> int:
        return len(self._young) + sum(map(len, self._leaves))

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
        """Remember *ids*, known or not."""
        for post_id in ids:
            if post_id not in self:
                self.add(post_id)

    def keep(self, ranges: Collection[tuple[int, int]]) -> None:
        """Let go of old ids that lie in none of *ranges*, pairs of first id and the first that is beyond."""
        kept = [leaf for leaf in self._leaves if any(leaf[0] < beyond and low <= leaf[-1] for low, beyond in ranges)]
        if len(kept) < len(self._leaves):
            self._set(kept)

    def _is_old(self, post_id: int) -> bool:
        leaf = self._leaves[bisect_left(self._last, post_id)]
        at = bisect_left(leaf, post_id)
        return at < len(leaf) and leaf[at] == post_id

    def _age(self) -> None:
        """Sort the young into the leaves; mostly they come behind the last one."""
        ids = sorted(self._young)
        self._young.clear()
        leaves = self._leaves
        end = len(ids)
        for number in range(len(leaves) - 1, -1, -1):  # backwards, as a leaf may become two
            newer = bisect_right(ids, self._last[number], 0, end)
            if number == len(leaves) - 1:
                # a last leaf that has room takes what comes behind it
                begin = newer if len(leaves[number]) >= LEAF_IDS else end
                leaves[number + 1 :] = _split(ids[begin:end])
                end = begin
            older = bisect_right(ids, self._last[number - 1], 0, end) if number else 0
            if older < end:
                leaves[number : number + 1] = _split(sorted([*leaves[number], *ids[older:end]]))
                end = older
            if not end:
                break
        if not leaves:
            leaves.extend(_split(ids))
        self._set(leaves)

    def _set(self, leaves: list["array[int]"]) -> None:
        self._leaves = leaves
        self._last = [leaf[-1] for leaf in leaves]
        self._newest_old = self._last[-1] if leaves else -1


def _split(ids: Sequence[int]) -> list["array[int]"]:
    return [array("Q", ids[start : start + LEAF_IDS]) for start in range(0, len(ids), LEAF_IDS)]


def encode_ids(ids: Iterable[int]) -> bytes:
    """
    Return *ids* as the value of a ledger record.

    One byte of version, one of width, the smallest id in 8 bytes; then the differences of neighbours in as few bytes
    as the largest one needs, first all lowest bytes, then all second ones, and so on.

    Raises:
        ValueError: there are none.
    """
    ordered = sorted(set(ids))
    if not ordered:
        raise ValueError("A ledger record without ids says nothing")
    steps = array("Q", map(sub, ordered[1:], ordered))
    width = (max(steps, default=0).bit_length() + 7) // 8
    raw = _little_endian(steps).tobytes()
    head = bytes((_VERSION, width)) + ordered[0].to_bytes(_ID_BYTES, "big")
    return head + b"".join(raw[place::_ID_BYTES] for place in range(width))


def decode_ids(value: bytes) -> list[int]:
    """
    Return the ids of a ledger record, ascending.

    Raises:
        ValueError: *value* is none.
    """
    if len(value) < _HEAD_BYTES or value[0] != _VERSION or value[1] > _ID_BYTES:
        raise ValueError(f"{value[:32]!r} is no record of a ledger")
    width, planes = value[1], value[_HEAD_BYTES:]
    if len(planes) % width if width else planes:
        raise ValueError(f"A ledger record of {len(value)} bytes is cut")
    count = len(planes) // width if width else 0
    raw = bytearray(count * _ID_BYTES)
    for place in range(width):
        raw[place::_ID_BYTES] = planes[place * count : (place + 1) * count]
    steps = array("Q", bytes(raw))
    return list(accumulate(_little_endian(steps), initial=int.from_bytes(value[2:_HEAD_BYTES], "big")))


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
