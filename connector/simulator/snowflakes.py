"""Which id does a new object get?  X's own layout: time, place, sequence."""

from __future__ import annotations

EPOCH_MS = 1288834974657
"""2010-11-04T01:42:54.657Z, the zero of all post ids."""

TIME_SHIFT = 22
SEQUENCES = 1 << TIME_SHIFT


def first_id(ms: int) -> int:
    """Return the smallest id of a millisecond."""
    return max(ms - EPOCH_MS, 0) << TIME_SHIFT


def time_ms(snowflake: int) -> int:
    """Return the creation time an id carries, in milliseconds."""
    return (snowflake >> TIME_SHIFT) + EPOCH_MS


class Snowflakes:
    """
    Unique ids of given times.

    Ids of one millisecond are numbered from a fixed place.  Times may come in
    any order: an edit, a reply's parent or a late post is older than its
    neighbours.  When a millisecond is asked for again the numbering goes on.
    """

    def __init__(self, *, place: int = 13 << 5 | 26) -> None:
        self._base = place << 12
        self._used: dict[int, int] = {}
        self._kept = 4096

    def take(self, ms: int) -> int:
        """Return an id that was not returned before, of the millisecond `ms`."""
        sequence = self._used.pop(ms, 0)
        self._used[ms] = sequence + 1
        if len(self._used) > self._kept:
            del self._used[next(iter(self._used))]
        return first_id(ms) + (self._base + sequence) % SEQUENCES
