"""
Counts over time, finer for what is recent, in bounded memory.

A channel is one count of one thing, such as the posts delivered by one connector.  It has several tiers: minutes for a
day, ten minutes for eight days.  A tier holds arrays of one hour's or one day's points, made when there is anything to
hold, and dropped when they are too old.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

DAY_SECS = 86_400

CHANNELS_MAX = 30_000
"""The most channels; what would need more is left out, and counted."""

_LARGEST = {"I": 2**32 - 1, "Q": 2**64 - 1}


class Tier(NamedTuple):
    """Points of *step_secs*, for *keep_secs*, in arrays of *points*."""

    step_secs: int
    keep_secs: int
    points: int


MAIN = (Tier(60, DAY_SECS + 3600, 60), Tier(600, 8 * DAY_SECS, 144))
"""For what is counted by connector."""

RULES = (Tier(60, 2 * 3600, 60), Tier(600, DAY_SECS + 3600, 36), Tier(3600, 8 * DAY_SECS, 48))
"""For what is counted by rule, of which there may be a thousand times as many."""


class Kind(NamedTuple):
    """How the values of a channel come together: added, or the *highest*; and how large they may be (array's code)."""

    code: str = "I"
    highest: bool = False


SUM, LARGE_SUM, HIGHEST = Kind(), Kind("Q"), Kind(highest=True)


class _Channel:
    __slots__ = ("blocks", "kind", "tiers")

    def __init__(self, kind: Kind, tiers: Sequence[Tier]) -> None:
        self.kind, self.tiers = kind, tiers
        self.blocks: list[dict[int, array[int]]] = [{} for _ in tiers]

    def begin(self, tier: int, number: int) -> "array[int]":
        """Return a new block of *tier*, with that *number*; those that are too old are dropped."""
        _, keep_secs, points = self.tiers[tier]
        blocks = self.blocks[tier]
        block = blocks[number] = array(self.kind.code, [0]) * points
        oldest = max(blocks) - keep_secs // (points * self.tiers[tier].step_secs) - 1
        for old in [each for each in blocks if each < oldest]:
            del blocks[old]
        return block

    def points(self, tier: int, begin: int, count: int, steps: int) -> list[int]:
        """Return *count* points of *steps* points of *tier* each, from the point number *begin* on."""
        return [self.span(tier, first, first + steps) for first in range(begin, begin + count * steps, steps)]

    def span(self, tier: int, begin: int, end: int) -> int:
        """Return what the points of *tier* from number *begin* up to, not including, *end* are together."""
        size, blocks, value = self.tiers[tier].points, self.blocks[tier], 0
        for number in range(begin // size, (end - 1) // size + 1):
            block = blocks.get(number)
            if block is not None:
                part = block[max(begin - number * size, 0) : end - number * size]
                value = max(value, *part) if self.kind.highest else value + sum(part)
        return value

    def tier_for(self, age_secs: int) -> int:
        """Return the number of the finest tier that reaches back so far."""
        fitting = (number for number, tier in enumerate(self.tiers) if age_secs <= tier.keep_secs)
        return next(fitting, len(self.tiers) - 1)

    @property
    def newest_secs(self) -> int:
        """The end of the newest block (UNIX seconds)."""
        ends = [
            (max(blocks) + 1) * tier.points * tier.step_secs
            for tier, blocks in zip(self.tiers, self.blocks, strict=True)
            if blocks
        ]
        return max(ends, default=0)


class Channels:
    """
    All counts, by what they are of (a connector, or `""` for all together) and by their name.

    Nobody asks before *since_secs* (UNIX seconds): what is then older than a tier keeps is not put into that tier.
    """

    def __init__(self, since_secs: int = 0) -> None:
        self.left_out = 0
        """Counts that were not taken, as there were too many channels."""
        self._channels: dict[str, dict[str, _Channel]] = {}
        self._number = 0
        self._since_secs = since_secs

    def add(
        self,
        owner: str,
        name: str,
        at: int,
        value: int,
        *,
        kind: Kind = SUM,
        tiers: Sequence[Tier] = MAIN,
        least_step_secs: int = 60,
    ) -> None:
        """Add *value* at the time *at* (UNIX seconds), to the tiers whose steps are at least *least_step_secs*."""
        self.add_all(owner, ((name, value),), at, kinds={name: kind}, tiers=tiers, least_step_secs=least_step_secs)

    def add_all(
        self,
        owner: str,
        values: Iterable[tuple[str, int]],
        at: int,
        *,
        kinds: Mapping[str, Kind] = MappingProxyType({}),
        tiers: Sequence[Tier] = MAIN,
        least_step_secs: int = 60,
    ) -> None:
        """
        Add each of *values* (name, value) like `add`; *kinds* has those that are not sums.

        A worker that starts reads a day of minutes, in which there may be millions of values: what depends on the time
        alone is computed once, and a value calls nothing.
        """
        places = [
            (number, *divmod(at // tier.step_secs, tier.points))
            for number, tier in enumerate(tiers)
            if tier.step_secs >= least_step_secs and at >= self._since_secs - tier.keep_secs
        ]
        named = self._channels.get(owner, {})
        for name, value in values:
            if value <= 0:
                continue
            channel = named.get(name)
            if channel is None:
                if self._number >= CHANNELS_MAX:
                    self.left_out += 1
                    continue
                self._number += 1
                named = self._channels.setdefault(owner, named)
                channel = named[name] = _Channel(kinds.get(name, SUM), tiers)
            code, highest = channel.kind
            largest = _LARGEST[code]
            for tier, number, place in places:
                block = channel.blocks[tier].get(number)
                if block is None:
                    block = channel.begin(tier, number)
                before = block[place]
                after = (value if value > before else before) if highest else before + value  # noqa: FURB136  # no call
                block[place] = after if after <= largest else largest  # noqa: FURB136

    def column(self, owner: str, name: str, from_secs: int, step_secs: int, count: int, now_secs: int) -> list[int]:
        """
        Return *count* values from *from_secs* on, each of *step_secs*; zeros for what is not known.

        *step_secs* must be a multiple of the step of the tier that reaches back so far.
        """
        channel = self._channels.get(owner, {}).get(name)
        if channel is None:
            return [0] * count
        number = channel.tier_for(now_secs - from_secs)
        step = channel.tiers[number].step_secs
        return channel.points(number, from_secs // step, count, step_secs // step)

    def total(self, owner: str, name: str, from_secs: int, to_secs: int, now_secs: int) -> int:
        """Return the sum, or the highest, from *from_secs* to *to_secs*, as exactly as the tier for it knows."""
        channel = self._channels.get(owner, {}).get(name)
        if channel is None:
            return 0
        number = channel.tier_for(now_secs - from_secs)
        step = channel.tiers[number].step_secs
        return channel.span(number, from_secs // step, -(-to_secs // step))

    def names_of(self, owner: str, prefix: str = "") -> list[str]:
        """Return the names of the counts of *owner* that begin with *prefix*, without it."""
        return [name.removeprefix(prefix) for name in self._channels.get(owner, ()) if name.startswith(prefix)]

    def owners(self) -> list[str]:
        """Return of what there are counts."""
        return list(self._channels)

    def forget_before(self, secs: int) -> None:
        """Forget the channels to which nothing was added since *secs* (UNIX seconds)."""
        for owner, named in list(self._channels.items()):
            for name in [name for name, channel in named.items() if channel.newest_secs < secs]:
                del named[name]
                self._number -= 1
            if not named:
                del self._channels[owner]
