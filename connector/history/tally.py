"""How much of everything was there in the minute that goes on?  Integers in dicts, as each batch adds to them."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from connector.history.records import Counts, Delays, bounded

_STEP = 1.1
_LONGEST_SECS = 4 * 3600.0


def _bounds() -> tuple[float, ...]:
    bounds = [0.001]
    while bounds[-1] < _LONGEST_SECS:
        bounds.append(bounds[-1] * _STEP)
    return tuple(bounds)


BOUNDS_SECS = _bounds()
"""Delays are counted up to each of these bounds (seconds), so a percentile is at most a tenth too high."""


class DelayCounts:
    """How many posts took how long."""

    def __init__(self) -> None:
        self._posts: dict[int, int] = {}

    def add(self, secs: float, posts: int) -> None:
        """Count *posts* that took *secs*."""
        place = bisect_left(BOUNDS_SECS, secs)
        self._posts[place] = self._posts.get(place, 0) + posts

    def percentiles(self) -> Delays:
        """Return the median and the 99th percentile (ms); zeros without posts."""
        places = sorted(self._posts)
        sums = list(accumulate(self._posts[place] for place in places))
        if not sums:
            return 0, 0
        middle, high = (places[bisect_left(sums, share * sums[-1])] for share in (0.5, 0.99))
        return _ms(middle), _ms(high)


def _ms(place: int) -> int:
    return round(BOUNDS_SECS[min(place, len(BOUNDS_SECS) - 1)] * 1000)


class Tally:
    """The counts of one connector in the minute that goes on."""

    def __init__(self) -> None:
        self.counts = Counts(dropped={}, letters={}, rules={})
        self._age, self._delivery = DelayCounts(), DelayCounts()

    def add_delivered(self, posts: int, waits: Sequence[tuple[float, float, int]], usd: float) -> None:
        """Count a delivered batch; the arguments are those of `BatchDelivered`."""
        counts, live = self.counts, 0
        for to_commit, age, timed in waits:
            live += timed
            self._delivery.add(to_commit, timed)
            self._age.add(age, timed)
        counts.delivered += posts
        counts.timed += live
        counts.repaired += max(posts - live, 0)
        counts.mills += round(usd * 1000)

    def add_dropped(self, reason: str, posts: int) -> None:
        """Count *posts* that were not delivered, by *reason*."""
        _add(self.counts.dropped, reason, posts)

    def add_letter(self, reason: str) -> None:
        """Count a line that went to the dead letter topic."""
        _add(self.counts.letters, reason, 1)

    def add_matched(self, matched: Iterable[tuple[tuple[str, ...], int]]) -> None:
        """Count posts by the rules that they matched together: labels, posts."""
        rules = self.counts.rules
        for labels, posts in matched:
            alone = posts if len(labels) == 1 else 0
            for label in labels:
                before = rules.get(label, (0, 0))
                rules[label] = (before[0] + posts, before[1] + alone)

    def done(self) -> Counts:
        """Return the counts with the percentiles."""
        counts = self.counts
        counts.age, counts.delivery = self._age.percentiles(), self._delivery.percentiles()
        counts.rules = bounded(counts.rules)
        return counts


def _add(counts: dict[str, int], reason: str, posts: int) -> None:
    counts[reason] = counts.get(reason, 0) + posts
