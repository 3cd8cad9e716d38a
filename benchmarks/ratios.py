"""Numbers of two versions, measured in the same rounds, and the ratios of the two."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.revisions import BEFORE, NEW
from benchmarks.tables import NOTHING, Text, grid

BEYOND = 0.03
LIMIT = f"{BEYOND * 100:.0f} %"
HEAD = ("", NEW, BEFORE, f"{NEW} / {BEFORE}", "range")


@dataclass(frozen=True, slots=True)
class Number:
    """A quantity that is measured, and its format."""

    name: str
    style: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """*new* and *before* are medians of all rounds; *each* has the ratio of every round that has both."""

    new: float
    before: float
    each: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.each)

    @property
    def beyond(self) -> bool:
        return abs(self.median - 1) > BEYOND

    @property
    def settled(self) -> bool:
        """Whether the same version has more in every round."""
        return min(self.each) > 1 or max(self.each) < 1


class Taken:
    """Values by way, number, side and round."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, Number], dict[str, dict[int, float]]] = {}

    def add(self, way: str, number: Number, side: str, round_: int, value: float) -> None:
        self._values.setdefault((way, number), {NEW: {}, BEFORE: {}})[side][round_] = value

    def ratios(self) -> Mapping[tuple[str, Number], Ratio | None]:
        """Return the ratio of each number, way by way; None if no round has the number of both versions."""
        ways = list(dict.fromkeys(way for way, _ in self._values))
        found = sorted(self._values.items(), key=lambda item: ways.index(item[0][0]))
        return {key: ratio(sides[NEW], sides[BEFORE]) for key, sides in found}


def ratio(new: Mapping[int, float], before: Mapping[int, float]) -> Ratio | None:
    """Compare two versions by *new* and *before*, their values by round."""
    each = [new[number] / before[number] for number in sorted(new.keys() & before.keys()) if before[number]]
    if not each:
        return None
    return Ratio(new=statistics.median(new.values()), before=statistics.median(before.values()), each=each)


def table(ratios: Mapping[tuple[str, Number], Ratio | None]) -> Text:
    """Return a table: each number of both versions, and the median and the range of the ratios."""
    return grid([HEAD, *(_row(f"{way}: {number.name}", number, of) for (way, number), of in ratios.items())])


def _row(name: str, number: Number, of: Ratio | None) -> Sequence[str]:
    if of is None:
        return (name, *[NOTHING] * (len(HEAD) - 1))
    spread = f"{min(of.each):.3f}-{max(of.each):.3f}"
    return (name, f"{of.new:{number.style}}", f"{of.before:{number.style}}", f"{of.median:.3f}", spread)


def sentence(ratios: Mapping[tuple[str, Number], Ratio | None]) -> Text:
    """Return a sentence on the numbers that differ by more than 3 %, and in which direction."""
    better: list[str] = []
    worse: list[str] = []
    for (way, number), of in ratios.items():
        if of is not None and of.beyond:
            doubt = "" if of.settled else ", not in each round"
            what = f"{way}: {number.name} ({(of.median - 1) * 100:+.1f} %{doubt})"
            (better if (of.median > 1) == number.more_is_better else worse).append(what)
    if not any(ratios.values()):
        return "Nothing could be compared."
    if not better and not worse:
        return f"No number differs by more than {LIMIT}."
    told = {"Worse": worse, "Better": better}
    said = [f"{word} by more than {LIMIT}: {'; '.join(names)}." for word, names in told.items() if names]
    return " ".join([*said, "The others differ by less."])
