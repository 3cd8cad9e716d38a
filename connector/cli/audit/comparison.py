"""
Compares the posts in the topic with X's counts, minute by minute.  (Pure.)

    minute   X    topic
    12:02   410    410
    12:03   412    112    300 missing: inside the gap 12:02:40 to 12:05:10 (lost: search forbidden)
    12:04   400    403    3 more than X counts

Surplus posts in one minute do not make up for missing posts in another.  If the rules need several queries, a post that
two queries find counts twice on both sides.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

import msgspec

from connector.cli.audit.spool import MINUTE_MS, MinuteSpool
from connector.coverage.offset import Coverage, Gap
from connector.records.post import payload_of
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
    """Time that is known not to be covered, in UNIX ms; *state* is the state of a gap, or `uncovered`."""

    from_ms: int
    to_ms: int
    state: str
    reason: str
    detail: str = ""

    def touches(self, from_ms: int, to_ms: int) -> bool:
        """Return whether the hole and the time from *from_ms* to *to_ms* (UNIX ms) overlap."""
        return self.from_ms < to_ms and from_ms < self.to_ms

    def __str__(self) -> str:
        if self.state == "uncovered":
            return self.reason
        return f"inside the gap {_second(self.from_ms)} to {_second(self.to_ms)} ({self.state}: {self._why})"

    @property
    def _why(self) -> str:
        return f"{self.reason}, {self.detail}" if self.detail else self.reason

    def fields(self) -> dict[str, object]:
        """Return the hole as a JSON object."""
        return {
            "from": to_iso(self.from_ms),
            "to": to_iso(self.to_ms),
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
        }


def holes(coverage: Coverage, closed: Iterable[Gap], *, from_ms: int, to_ms: int) -> list[Hole]:
    """Return the holes between *from_ms* and *to_ms* (UNIX ms): open gaps, *closed* gaps, and time never covered."""
    found = [
        Hole(from_ms=gap.from_ms, to_ms=gap.to_ms, state=gap.state.value, reason=gap.reason, detail=gap.detail)
        for gap in (*coverage.gaps, *closed)
    ]
    begin_ms, end_ms = coverage.covered_from_ms, coverage.covered_to_ms
    if begin_ms is not None:
        reason = f"before the first connect, at {_second(begin_ms)}"
        found.append(Hole(from_ms=from_ms, to_ms=begin_ms, state="uncovered", reason=reason))
    # a gap that reaches beyond the covered time has a hole of its own
    known_ms = max([end_ms or 0, *(gap.to_ms for gap in coverage.gaps)])
    reason = f"not covered yet: that is so up to {_second(end_ms)}" if end_ms is not None else "nothing is covered yet"
    found.append(Hole(from_ms=known_ms, to_ms=to_ms, state="uncovered", reason=reason))
    return sorted(
        (hole for hole in found if hole.from_ms < hole.to_ms and hole.touches(from_ms, to_ms)),
        key=lambda hole: hole.from_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Posts of one query from *from_ms* on, by minute (UNIX ms): *counted* by X, and *found* in the topic."""

    from_ms: int
    counted: Mapping[int, int]
    found: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Numbers of posts; *missing* sums the minutes with fewer posts than X counts, *more* those with more."""

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
        """Return whether *percent* of the posts that X counted are there; True if X counted none."""
        return (self.counted - self.missing) * EVERYTHING >= percent * self.counted

    @property
    def percent(self) -> float:
        """Percentage of X's posts that are there, rounded down: 100 means all."""
        return (self.counted - self.missing) * 10_000 // self.counted / 100 if self.counted else 100.0

    def fields(self) -> dict[str, object]:
        """Return the numbers as a JSON object."""
        return {
            "counted": self.counted,
            "found": self.found,
            "missing": self.missing,
            "more": self.more,
            "completeness": self.percent,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The minute that begins at *at_ms* (UNIX ms); *holes* are those that overlap it."""

    at_ms: int
    sums: Sums
    holes: tuple[Hole, ...] = ()

    @property
    def remark(self) -> str:
        """The remark in the report; empty if both sides agree."""
        remarks = []
        if self.sums.missing:
            where = "; ".join(map(str, self.holes)) or "in no gap that is known"
            remarks.append(f"{self.sums.missing:,} missing: {where}")
        if self.sums.more:
            remarks.append(f"{self.sums.more:,} more than X counts")
        return "; ".join(remarks)

    def fields(self) -> dict[str, object]:
        """Return the minute as a JSON object."""
        return {"minute": to_iso(self.at_ms), **self.sums.fields(), "holes": [hole.fields() for hole in self.holes]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an audit."""

    threshold: Decimal
    minutes: tuple[Minute, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the JSON."""

    @property
    def total(self) -> Sums:
        """All minutes together."""
        return sum((minute.sums for minute in self.minutes), Sums())

    @property
    def complete(self) -> bool:
        """Whether the audit has reached the threshold."""
        return self.total.reaches(self.threshold)

    def fields(self) -> dict[str, object]:
        """Return the report as a JSON object."""
        return {
            **self.facts,
            **self.total.fields(),
            "threshold": float(self.threshold),
            "complete": self.complete,
            "minutes": [minute.fields() for minute in self.minutes],
            "notes": list(self.notes),
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text: a line for each minute, a sum, a verdict, and notes."""
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
    """Return the minutes from *from_ms* up to *to_ms* (UNIX ms) of *tallies*, with the *known* holes in them."""
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
    """Return *minutes* as texts; consecutive minutes become one range, with its first and last minute."""
    ranges: list[list[int]] = []
    for at_ms in minutes:
        if ranges and at_ms == ranges[-1][-1] + MINUTE_MS:
            ranges[-1][1:] = [at_ms]
        else:
            ranges.append([at_ms])
    return [" to ".join(map(shown_minute, ends)) for ends in ranges]


def minute_of(ms: int) -> int:
    """Return the begin of the minute in which *ms* lies; both are UNIX ms."""
    return ms - ms % MINUTE_MS


def shown_minute(ms: int) -> str:
    """Return *ms* (UNIX ms) in the form `2026-11-01T12:34Z`."""
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


class _Post(msgspec.Struct):
    """A value of the shape `post`, which has the parts of `_Data` beside the rules."""

    text: str
    created_at: int
    references: list[_Reference] = []
    matching_rules: list[_MatchingRule] = []


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_post = msgspec.json.Decoder(_Post).decode


_STRANGE: tuple[int, ...] = (-1,)
"""The kind of a record that is not a line of X."""

_KEY_DIGITS = 20


def _read_line(value: bytes) -> _Line:
    """
    Parse the parts of a line of X, or of a value of the shape `post` or `connect`, that the count needs.

    Raises:
        ValueError: *value* is neither.
    """
    try:
        return _decode_line(value)
    except (ValueError, RecursionError):
        try:
            post = _decode_post(payload_of(value))
        except (ValueError, RecursionError):  # the parser may refuse a part of a line that is not needed here
            return _decode_line(lean(value, data=("text", "referenced_tweets"), beside=("matching_rules",)))
        data = _Data(text=post.text, referenced_tweets=post.references)
        return _Line(data=data, matching_rules=post.matching_rules)


class TopicTally:
    """
    Counts distinct posts of the topic by query and minute, without retweets; used with `with`.

    A query is a pair: the time from which it counts (UNIX ms), and the ids of its rules.  A retweet is recognised by
    its references if lines have them (*has_references*), else by the begin of its text.  If a post is there twice, its
    first record counts.
    """

    def __init__(self, queries: Sequence[tuple[int, Iterable[str]]], to_ms: int, *, has_references: bool) -> None:
        self._queries = [(from_ms, frozenset(rules)) for from_ms, rules in queries]
        self._from_ms = min((from_ms for from_ms, _ in queries), default=to_ms)
        self._to_ms = to_ms
        self._has_references = has_references
        self._spool = MinuteSpool()
        self._kinds: dict[tuple[int, ...], int] = {}  # the queries that a post counts for, and the number of this kind

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._spool.close()

    @property
    def found(self) -> list[Counter[int]]:
        """The number of posts of each query, by minute (UNIX ms)."""
        return self.count()[0]

    @property
    def strange(self) -> int:
        """The number of records of this time that are not lines of X."""
        return self.count()[1]

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Keep the record for the count if it is a post of this time."""
        if key is None or value is None or not key.isdigit() or len(key) > _KEY_DIGITS:
            return  # a tombstone, or a record of another program
        post_id = int(key)
        made_ms = created_ms(post_id)
        if self._from_ms <= made_ms < self._to_ms:
            kind = self._kind(value, made_ms)
            self._spool.add(post_id, self._kinds.setdefault(kind, len(self._kinds)))

    def count(self) -> tuple[list[Counter[int]], int]:
        """Return the number of posts of each query by minute (UNIX ms), and of the records that are not lines of X."""
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
