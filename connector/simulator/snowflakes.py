"""Ids in X's layout: the milliseconds since an epoch, then a place, then a sequence number."""

from __future__ import annotations

EPOCH_MS = 1288834974657
"""2010-11-04T01:42:54.657Z, the time of id 0."""

TIME_SHIFT = 22
SEQUENCES = 1 << TIME_SHIFT


def first_id(ms: int) -> int:
    """Return the smallest id of a millisecond (UNIX time)."""
    return max(ms - EPOCH_MS, 0) << TIME_SHIFT


def time_ms(snowflake: int) -> int:
    """Return the time of an id, in milliseconds (UNIX time)."""
    return (snowflake >> TIME_SHIFT) + EPOCH_MS


class Snowflakes:
    """
    Makes unique ids for given times.

    Times may come in any order, because an edit, a reply's parent or a late post is older than the posts around it.
    The ids of one millisecond are numbered from *place* on, across calls.
    """

    def __init__(self, *, place: int = 13 << 5 | 26) -> None:
        self._base = place << 12
        self._used: dict[int, int] = {}
        self._kept = 4096

    def take(self, ms: int) -> int:
        """Return a new id of the millisecond *ms*."""
        sequence = self._used.pop(ms, 0)
        self._used[ms] = sequence + 1
        if len(self._used) > self._kept:
            del self._used[next(iter(self._used))]
        return first_id(ms) + (self._base + sequence) % SEQUENCES
