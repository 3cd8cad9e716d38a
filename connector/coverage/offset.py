"""
The source offset: for which time all posts are delivered, and which parts of it are missing.  (Pure.)

    covered_from ═════════════╡ gap ╞═══════════╡ gap ╞══════ covered_to · · · settle · · · heard
                                                                                      (nothing claimed yet)

The source offset holds two creation times and the gaps between them.  A post that was made in covered time, outside of
the gaps, and that matched a rule, is in the topic.  X delivers within some seconds and out of order, so `covered_to`
stays `settle` behind the time at which X was heard last.  A gap is time in which no connection listened, and the first
seconds of the next connection, for which it cannot claim anything.  A gap stays until it is repaired, or an operator
accepts it.  All times are UNIX milliseconds of X's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import orjson

from connector.coverage.spend import MILLS, NOTHING_SPENT, Spend, count_of, mills_of
from connector.records import snowflake

MARGIN_MS = 1_000
"""
The begin of a connection for which it claims nothing (ms).

X's clock is known by the `Date` header only, in whole seconds.
"""

MAX_GAPS = 200
"""Most gaps in an offset, as it is written with each transaction; beyond that, the nearest neighbours become one."""


class GapState(StrEnum):
    """What becomes of a gap; with the last two it is closed, and in no offset any more."""

    OPEN = "open"
    REPAIRING = "repairing"
    LOST = "lost"
    REPAIRED = "repaired"
    ACCEPTED = "accepted"


class Way(StrEnum):
    """The way in which X sends posts again; also the value of the record header `source`."""

    BACKFILL = "backfill"
    RECOVERY = "recovery"
    SEARCH = "search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """
    Time from which posts are missing: creation times from *from_ms* up to, not including, *to_ms*.

    Its repair has delivered *posts* until now, and *billed* posts have cost *mills*.  All its posts from *until_id*
    upward are in the topic.  *detail* says what it waits for, or why it is lost.  *rules* names the set of rules that
    were in force in it.
    """

    from_ms: int
    to_ms: int
    reason: str
    state: GapState = GapState.OPEN
    detail: str = ""
    way: Way | None = None
    posts: int = 0
    billed: int = 0
    mills: int = 0
    until_id: int | None = None
    rules: str = ""
    closed_ms: int | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.to_ms - self.from_ms) / 1000

    @property
    def begin_id(self) -> int:
        """The smallest id that a post in it may have."""
        return snowflake.first_id(self.from_ms)

    @property
    def end_id(self) -> int:
        """The first id above what is missing: the end of the gap, or of its part that is not repaired yet."""
        return snowflake.first_id(self.to_ms) if self.until_id is None else self.until_id

    def fields(self) -> dict[str, object]:
        """Return the gap as fields for JSON; what is not set is left out."""
        fields: dict[str, object] = {
            "from": snowflake.to_iso(self.from_ms),
            "to": snowflake.to_iso(self.to_ms),
            "reason": self.reason,
            "state": self.state.value,
        }
        more: dict[str, object] = {
            "detail": self.detail,
            "way": self.way,
            "posts": self.posts,
            "billed": self.billed,
            "cost_usd": self.mills / MILLS,
            "until_id": None if self.until_id is None else str(self.until_id),
            "rules": self.rules,
            "closed_at": None if self.closed_ms is None else snowflake.to_iso(self.closed_ms),
        }
        return fields | {key: value for key, value in more.items() if value}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Gap":
        """
        Read what `fields` gave.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: *fields* does not hold a gap.
        """
        until, closed, way = fields.get("until_id"), fields.get("closed_at"), fields.get("way")
        return cls(
            from_ms=snowflake.from_iso(fields["from"]),
            to_ms=snowflake.from_iso(fields["to"]),
            reason=str(fields["reason"]),
            state=GapState(fields["state"]),
            detail=str(fields.get("detail", "")),
            way=None if way is None else Way(way),
            posts=count_of(fields.get("posts", 0)),
            billed=count_of(fields.get("billed", 0)),
            mills=mills_of(fields.get("cost_usd", 0)),
            until_id=None if until is None else count_of(until),
            rules=str(fields.get("rules", "")),
            closed_ms=None if closed is None else snowflake.from_iso(closed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """
    The source offset of one source partition.

    *gaps* are disjoint and ascending.  The last one may lie beyond *covered_to_ms*, until a connection has lasted long
    enough to claim the time after it.  *run* and *batch* make the offset of each transaction different from all others;
    so the offsets topic shows whether a commit with unknown outcome took effect.  *rules* names the set of rules in
    force since the last connect.
    """

    covered_from_ms: int | None = None
    covered_to_ms: int | None = None
    gaps: tuple[Gap, ...] = ()
    posts: int = 0
    dead_letters: int = 0
    spent: Spend = NOTHING_SPENT
    rules: str = ""
    run: str = ""
    batch: int = 0

    # -- the stream

    def connected(self, at_ms: int, *, reason: str, rules: str = "") -> "Coverage":
        """
        Return the coverage with a connection that was opened at *at_ms*: the time before it becomes a gap.

        *reason* says why nobody listened in that time; *rules* names the set of rules in force from now on.
        """
        begin = at_ms + MARGIN_MS
        if self.covered_to_ms is None:
            return replace(self, covered_from_ms=begin, covered_to_ms=begin, rules=rules)
        last = self.gaps[-1] if self.gaps else None
        if last is not None and last.to_ms > self.covered_to_ms:
            if begin <= last.to_ms:
                return replace(self, rules=rules)
            if self._may_grow(last):
                # nothing was claimed since the last gap began, so both are one outage
                grown = replace(last, to_ms=begin, state=GapState.OPEN, way=None, detail="")
                return replace(self, gaps=(*self.gaps[:-1], grown), rules=rules)
        since = self.covered_to_ms if last is None else max(self.covered_to_ms, last.to_ms)
        if begin <= since:
            return replace(self, rules=rules)
        gap = Gap(from_ms=since, to_ms=begin, reason=reason, rules=self.rules)
        return replace(self, gaps=_bounded((*self.gaps, gap)), rules=rules)

    def resumed(self, at_ms: int) -> "Coverage":
        """Return the coverage with a connection that was opened at *at_ms*, and that has missed nothing."""
        begin = at_ms + MARGIN_MS
        since = begin if self.covered_from_ms is None else self.covered_from_ms
        return replace(self, covered_from_ms=since, covered_to_ms=max(begin, self.covered_to_ms or begin))

    def heard(self, at_ms: int, *, connected_ms: int, settle_ms: int) -> "Coverage":
        """
        Return the coverage once all that X had sent until *at_ms* is delivered.

        The connection is open since *connected_ms*.
        """
        settled = at_ms - settle_ms
        if self.covered_to_ms is None or settled < connected_ms + MARGIN_MS or settled <= self.covered_to_ms:
            return self
        if self.gaps and settled < self.gaps[-1].to_ms:  # X's clock was set back
            return self
        return replace(self, covered_to_ms=settled)

    def delivered(self, *, posts: int, dead_letters: int = 0) -> "Coverage":
        """Return the coverage with so many more *posts* and *dead_letters* in the topics."""
        return replace(self, posts=self.posts + posts, dead_letters=self.dead_letters + dead_letters)

    def _may_grow(self, gap: Gap) -> bool:
        return gap.until_id is None and gap.state in {GapState.OPEN, GapState.REPAIRING} and gap.rules == self.rules

    # -- repairs

    def gap_at(self, from_ms: int) -> Gap | None:
        """Return the gap that begins at *from_ms*."""
        return next((gap for gap in self.gaps if gap.from_ms == from_ms), None)

    def with_gap(self, changed: Gap) -> "Coverage":
        """Return the coverage with *changed* in place of the gap that begins at the same time."""
        return replace(self, gaps=tuple(changed if gap.from_ms == changed.from_ms else gap for gap in self.gaps))

    def without(self, closed: Gap) -> "Coverage":
        """Return the coverage without the gap that begins where *closed* does."""
        gaps = tuple(gap for gap in self.gaps if gap.from_ms != closed.from_ms)
        # beyond `covered_to` there are only gaps, so it moves to the end of a closed one there
        covered_to = None if self.covered_to_ms is None else max(self.covered_to_ms, closed.to_ms)
        return replace(self, gaps=gaps, covered_to_ms=covered_to)

    def split(self, gap: Gap, at_ms: int) -> "Coverage":
        """
        Return the coverage with *gap* divided at *at_ms*, which lies inside it.

        The later part keeps the counts.  If all posts of the later part are in the topic, only the earlier part is
        left, and has the counts.
        """
        parts: tuple[Gap, ...]
        if gap.end_id <= snowflake.first_id(at_ms):
            parts = (replace(gap, to_ms=max(snowflake.created_ms(gap.end_id), gap.from_ms + 1), until_id=None),)
        else:
            below = replace(gap, to_ms=at_ms, until_id=None, posts=0, billed=0, mills=0)
            parts = (below, replace(gap, from_ms=at_ms))
        gaps = [part for one in self.gaps for part in (parts if one.from_ms == gap.from_ms else (one,))]
        return replace(self, gaps=tuple(gaps))

    # -- bytes

    def encode(self) -> bytes:
        """Return the offset's value: a JSON map."""
        fields: dict[str, object] = {
            "covered_from": None if self.covered_from_ms is None else snowflake.to_iso(self.covered_from_ms),
            "covered_to": None if self.covered_to_ms is None else snowflake.to_iso(self.covered_to_ms),
            "gaps": [gap.fields() for gap in self.gaps],
            "posts": self.posts,
        }
        more = {
            "dead_letters": self.dead_letters,
            "spent": self.spent.fields() if self.spent.day else None,
            "rules": self.rules,
            "run": self.run,
            "batch": self.batch,
        }
        return orjson.dumps(fields | {key: value for key, value in more.items() if value})

    @classmethod
    def decode(cls, value: bytes) -> "Coverage":
        """
        Read what `encode` wrote.

        Raises:
            ValueError: *value* is not such an offset.
        """
        try:
            fields = orjson.loads(value)
            covered_to = _ms(fields["covered_to"])
            return cls(
                covered_from_ms=_ms(fields.get("covered_from")),
                covered_to_ms=covered_to,
                gaps=tuple(Gap.of(gap) for gap in fields.get("gaps", ())),
                posts=count_of(fields["posts"]),
                dead_letters=count_of(fields.get("dead_letters", 0)),
                spent=Spend.of(fields["spent"]) if "spent" in fields else NOTHING_SPENT,
                rules=str(fields.get("rules", "")),
                run=str(fields.get("run", "")),
                batch=count_of(fields.get("batch", 0)),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
            raise ValueError(f"{value[:200]!r} is no source offset: {exc}") from exc


def _ms(iso: str | None) -> int | None:
    return None if iso is None else snowflake.from_iso(iso)


def _bounded(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    """
    Join nearest neighbours while there are too many gaps; the joined gap also has the covered time between them.

    Gaps under repair, and neighbours with different rules, are joined only if there are no others.
    """
    while len(gaps) > MAX_GAPS:
        free = [
            index
            for index in range(len(gaps) - 1)
            if GapState.REPAIRING not in {gaps[index].state, gaps[index + 1].state}
        ]
        index = min(
            free or range(len(gaps) - 1),
            key=lambda at: (gaps[at].rules != gaps[at + 1].rules, gaps[at + 1].from_ms - gaps[at].to_ms),
        )
        gaps = (*gaps[:index], _joined(gaps[index], gaps[index + 1]), *gaps[index + 2 :])
    return gaps


def _joined(one: Gap, other: Gap) -> Gap:
    return Gap(
        from_ms=one.from_ms,
        to_ms=other.to_ms,
        reason=one.reason if one.reason == other.reason else "several",
        state=GapState.LOST if one.state is other.state is GapState.LOST else GapState.OPEN,
        detail=one.detail if one.detail == other.detail else "",
        posts=one.posts + other.posts,
        billed=one.billed + other.billed,
        mills=one.mills + other.mills,
        rules=other.rules,
    )
