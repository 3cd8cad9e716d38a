"""
Is in the topic what X counts?  (Pure.)

    minute   X    topic
    12:02   410    410
    12:03   412    112    300 missing: inside the gap 12:02:40 to 12:05:10 (lost: search forbidden)
    12:04   400    403    3 more than X counts

What is more in one minute makes up for nothing that is missing in another one.  Where several queries were needed, a
post that two of them find counts in both, on either side.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

import msgspec

from connector.cli.audit.spool import MINUTE_MS, MinuteSpool
from connector.coverage.offset import Coverage, Gap
from connector.records.scanner import lean
from connector.records.snowflake import created_ms, to_iso

EVERYTHING = Decimal(100)

FOOTNOTES = (
    "X's counts are approximate. Retweets are left out: since 2026-05-04 keywords and hashtags count none.",
    "The topic may hold more: posts deleted since, and quotes that match by the quoted post, which counts do not see.",
    "X may count more: counts ignore accents, which a stream does not.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Time that is known not to be covered, in UNIX ms; *state* is a gap's, or `uncovered`."""

    from_ms: int
    to_ms: int
    state: str
    reason: str
    detail: str = ""

    def touches(self, from_ms: int, to_ms: int) -> bool:
        """Whether some of it is between the two."""
        return self.from_ms < to_ms and from_ms < self.to_ms

    def __str__(self) -> str:
        if self.state == "uncovered":
            return self.reason
        return f"inside the gap {_second(self.from_ms)} to {_second(self.to_ms)} ({self.state}: {self._why})"

    @property
    def _why(self) -> str:
        return f"{self.reason}, {self.detail}" if self.detail else self.reason

    def fields(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "from": to_iso(self.from_ms),
            "to": to_iso(self.to_ms),
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
        }


def holes(coverage: Coverage, closed: Iterable[Gap], *, from_ms: int, to_ms: int) -> list[Hole]:
    """Return what is not covered between *from_ms* and *to_ms*, and what was not until a gap was *closed*."""
    found = [
        Hole(from_ms=gap.from_ms, to_ms=gap.to_ms, state=gap.state.value, reason=gap.reason, detail=gap.detail)
        for gap in (*coverage.gaps, *closed)
    ]
    begin_ms, end_ms = coverage.covered_from_ms, coverage.covered_to_ms
    if begin_ms is not None:
        reason = f"before the first connect, at {_second(begin_ms)}"
        found.append(Hole(from_ms=from_ms, to_ms=begin_ms, state="uncovered", reason=reason))
    # what lies in a gap that reaches beyond it is told by the gap
    known_ms = max([end_ms or 0, *(gap.to_ms for gap in coverage.gaps)])
    reason = f"not covered yet: that is so up to {_second(end_ms)}" if end_ms is not None else "nothing is covered yet"
    found.append(Hole(from_ms=known_ms, to_ms=to_ms, state="uncovered", reason=reason))
    return sorted(
        (hole for hole in found if hole.from_ms < hole.to_ms and hole.touches(from_ms, to_ms)),
        key=lambda hole: hole.from_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one query found from *from_ms* on, by minute (UNIX ms): *counted* by X, *found* in the topic."""

    from_ms: int
    counted: Mapping[int, int]
    found: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Numbers of posts; *missing* and *more* are the differences in either direction, which do not cancel out."""

    counted: int = 0
    found: int = 0
    missing: int = 0
    more: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            counted=self.counted + other.counted,
            found=self.found + other.found,
            missing=self.missing + other.missing,
            more=self.more + other.more,
        )

    def reaches(self, percent: Decimal) -> bool:
        """Whether so much of what X counted is there; all of nothing is."""
        return (self.counted - self.missing) * EVERYTHING >= percent * self.counted

    @property
    def percent(self) -> float:
        """How much of what X counted is there, rounded down: 100 means all."""
        return (self.counted - self.missing) * 10_000 // self.counted / 100 if self.counted else 100.0

    def fields(self) -> dict[str, object]:
        """Return them as JSON."""
        return {
            "counted": self.counted,
            "found": self.found,
            "missing": self.missing,
            "more": self.more,
            "completeness": self.percent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute from *at_ms* on (UNIX ms); *holes* are known to touch it."""

    at_ms: int
    sums: Sums
    holes: tuple[Hole, ...] = ()

    @property
    def remark(self) -> str:
        """What is to be said of it; nothing where both sides agree."""
        remarks = []
        if self.sums.missing:
            where = "; ".join(map(str, self.holes)) or "in no gap that is known"
            remarks.append(f"{self.sums.missing:,} missing: {where}")
        if self.sums.more:
            remarks.append(f"{self.sums.more:,} more than X counts")
        return "; ".join(remarks)

    def fields(self) -> dict[str, object]:
        """Return it as JSON."""
        return {"minute": to_iso(self.at_ms), **self.sums.fields(), "holes": [hole.fields() for hole in self.holes]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an audit found."""

    threshold: Decimal
    minutes: tuple[Minute, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    """What a machine wants to know besides, for the JSON."""

    @property
    def total(self) -> Sums:
        """All minutes together."""
        return sum((minute.sums for minute in self.minutes), Sums())

    @property
    def complete(self) -> bool:
        """Whether the threshold is reached."""
        return self.total.reaches(self.threshold)

    def fields(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            **self.facts,
            **self.total.fields(),
            "threshold": float(self.threshold),
            "complete": self.complete,
            "minutes": [minute.fields() for minute in self.minutes],
            "notes": list(self.notes),
        }

    def lines(self) -> Iterator[str]:
        """Return it for a person: a line for each minute, a sum, what was left out."""
        yield f"{'minute (UTC)':17} {'X':>9} {'topic':>9} {'complete':>10}"
        for minute in self.minutes:
            yield f"{shown_minute(minute.at_ms):17} {_columns(minute.sums)}  {minute.remark}".rstrip()
        total = self.total
        yield f"{'in all':17} {_columns(total)}"
        yield ""
        verdict = "complete" if self.complete else "INCOMPLETE"
        yield (
            f"{verdict}: {total.percent:.2f} % of the {total.counted:,} posts that X counts are in the topic,"
            f" and {self.threshold} % are asked for."
        )
        if lacking := _ranges(minute.at_ms for minute in self.minutes if minute.sums.missing):
            yield f"{total.missing:,} are missing, in {', '.join(lacking)}."
        if exceeding := _ranges(minute.at_ms for minute in self.minutes if minute.sums.more):
            yield f"{total.more:,} are more than X counts, in {', '.join(exceeding)}."
        yield from ("", *self.notes, *FOOTNOTES)


def compare(
    tallies: Sequence[Tally],
    *,
    from_ms: int,
    to_ms: int,
    known: Sequence[Hole],
) -> tuple[Minute, ...]:
    """Return the minutes from *from_ms* up to *to_ms* that a tally tells of; *known* explains why posts are missing."""
    minutes = []
    for at_ms in range(from_ms, to_ms, MINUTE_MS):
        sums = [_sums(tally, at_ms) for tally in tallies if tally.from_ms <= at_ms]
        if sums:
            touching = tuple(hole for hole in known if hole.touches(at_ms, at_ms + MINUTE_MS))
            minutes.append(Minute(at_ms=at_ms, sums=sum(sums, Sums()), holes=touching))
    return tuple(minutes)


def _sums(tally: Tally, at_ms: int) -> Sums:
    counted, found = tally.counted.get(at_ms, 0), tally.found.get(at_ms, 0)
    return Sums(counted=counted, found=found, missing=max(counted - found, 0), more=max(found - counted, 0))


def _columns(sums: Sums) -> str:
    percent = f"{sums.percent:.2f} %" if sums.counted else "-"
    return f"{sums.counted:>9,} {sums.found:>9,} {percent:>10}"


def _ranges(minutes: Iterable[int]) -> list[str]:
    """Return minutes in words; those that follow each other become one range, both ends included."""
    ranges: list[list[int]] = []
    for at_ms in minutes:
        if ranges and at_ms == ranges[-1][-1] + MINUTE_MS:
            ranges[-1][1:] = [at_ms]
        else:
            ranges.append([at_ms])
    return [" to ".join(map(shown_minute, ends)) for ends in ranges]


def minute_of(ms: int) -> int:
    """Return the begin of the minute in which *ms* lies, in UNIX milliseconds like it."""
    return ms - ms % MINUTE_MS


def shown_minute(ms: int) -> str:
    """Write UNIX milliseconds as `2026-11-01T12:34Z`."""
    return to_iso(ms)[:16] + "Z"


def _second(ms: int) -> str:
    return to_iso(ms)[:19] + "Z"


# -- the topic's side


class _Reference(msgspec.Struct):
    type: str = ""


class _Data(msgspec.Struct):
    text: str = ""
    referenced_tweets: list[_Reference] = []


class _MatchingRule(msgspec.Struct):
    id: str = ""


class _Line(msgspec.Struct):
    data: _Data
    matching_rules: list[_MatchingRule] = []


_decode_line = msgspec.json.Decoder(_Line).decode


_STRANGE: tuple[int, ...] = (-1,)
"""The kind of a record that is no line of X."""

_KEY_DIGITS = 20


def _read_line(value: bytes) -> _Line:
    """
    Return what is counted of a line of X.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decode_line(value)
    except (ValueError, RecursionError):  # what parsers refuse may be a post all the same
        return _decode_line(lean(value, data=("text", "referenced_tweets"), beside=("matching_rules",)))


class TopicTally:
    """
    Counts distinct posts of the topic by query and minute, without retweets; used with `with`.

    A query is the time from which it counts (UNIX ms) and the ids of its rules.  A retweet is known by its references
    where lines *have* them, else by the begin of its text.  Of a post that is there twice the first record counts.
    """

    def __init__(self, queries: Sequence[tuple[int, Iterable[str]]], to_ms: int, *, has_references: bool) -> None:
        self._queries = [(from_ms, frozenset(rules)) for from_ms, rules in queries]
        self._from_ms = min((from_ms for from_ms, _ in queries), default=to_ms)
        self._to_ms = to_ms
        self._has_references = has_references
        self._spool = MinuteSpool()
        self._kinds: dict[tuple[int, ...], int] = {}  # which queries a post counts for, and its number in the spool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._spool.close()

    @property
    def found(self) -> list[Counter[int]]:
        """The posts of each query, by minute (UNIX ms)."""
        return self.count()[0]

    @property
    def strange(self) -> int:
        """Records of this time that are no lines of X."""
        return self.count()[1]

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record, if it is a post of this time."""
        if key is None or value is None or not key.isdigit() or len(key) > _KEY_DIGITS:
            return  # a tombstone, or none of ours
        post_id = int(key)
        made_ms = created_ms(post_id)
        if self._from_ms <= made_ms < self._to_ms:
            kind = self._kind(value, made_ms)
            self._spool.add(post_id, self._kinds.setdefault(kind, len(self._kinds)))

    def count(self) -> tuple[list[Counter[int]], int]:
        """Return the posts of each query by minute (UNIX ms), and how many records are no lines of X."""
        kinds = list(self._kinds)
        found: list[Counter[int]] = [Counter() for _ in self._queries]
        strange = 0
        for minute, posts in self._spool.minutes():
            for number, posts_of_kind in Counter(posts.values()).items():
                if kinds[number] == _STRANGE:
                    strange += posts_of_kind
                    continue
                for query in kinds[number]:
                    found[query][minute] += posts_of_kind
        return found, strange

    def _kind(self, value: bytes, made_ms: int) -> tuple[int, ...]:
        try:
            line = _read_line(value)
        except ValueError:
            return _STRANGE
        if self._is_retweet(line.data):
            return ()
        matched = {rule.id for rule in line.matching_rules}
        return tuple(
            number
            for number, (from_ms, rules) in enumerate(self._queries)
            if from_ms <= made_ms and not matched.isdisjoint(rules)
        )

    def _is_retweet(self, data: _Data) -> bool:
        if self._has_references:
            return any(reference.type == "retweeted" for reference in data.referenced_tweets)
        return data.text.startswith("RT @")
