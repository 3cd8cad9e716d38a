"""
One source partition between its reader and the batches: what is delivered of it, what is missing, what it has cost.

    reader ── Connected, Arrival ──▶ Feed ──▶ records, and the offset that says so
    filler ── Page ──────────────────▶ │
                                       └──▶ coverage, closed gaps, rules in force: the offsets topic
"""

import hashlib
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from connector.coverage.allowance import Allowance, reached
from connector.coverage.ledger import encode_ids
from connector.coverage.offset import MARGIN_MS, Coverage, Gap, GapState, Way
from connector.coverage.spend import MILLS, Bills, Budget, Spend
from connector.errors import BudgetReached, ConnectorError, FatalError
from connector.records import clock
from connector.records.record import (
    BUDGET,
    Arrival,
    Connected,
    HeldRule,
    LedgerWrite,
    OffsetWrite,
    SourcePartition,
    TaskId,
)
from connector.records.snowflake import created_ms, first_id, to_iso
from connector.telemetry.events import Event, GapAccepted, GapLost, GapOpened, GapRepaired

DEDUPE_MS = 360_000
"""X sends a post again within minutes, a backfill up to 5 of them: so long before `covered_to` ids are remembered."""

GAP_EDGE_MS = 60_000
"""So much around a gap that is being repaired, beside the gap itself."""

AHEAD_MS = 60_000
"""A post that is made so far ahead of X's clock has a wrong id; what we know of that clock is not off by more."""

KEPT_GAPS = 100
"""Closed gaps that are remembered."""

NOT_RUNNING = "not_running"
"""The reason of a gap that begins with the start of a task: nobody ran it, so nobody knows more."""

BUDGET_DETAIL = "the budget was spent: not repaired by itself, only when somebody asks for it"

OFFSET, REPAIRED, RULES = None, "repaired", "rules"
"""The kinds of what the offsets topic keeps of one source partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    What a repair has found of the gap that begins at *from_ms*.

    *end_id* is what the gap's was when the repair asked for it.  *until_id*: once it is delivered, everything from
    there up is; None for a piece in the middle.  *fetched* are the ids that X sent for it, if they are not just those
    of its lines.  *unfound* says, with the last page, of which rules X cannot give anything, and why.
    """

    from_ms: int
    end_id: int
    way: Way
    arrivals: tuple[Arrival, ...]
    until_id: int | None
    fetched: tuple[int, ...] | None = None
    unfound: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """
    What became of the lines of some arrivals.

    *fresh* are the ids of those that are posts for the topic, *again* of those that were delivered before, *newest_id*
    the largest of all, 0 for none.  Not *whole*: it ended at a bad record that ends the task.
    """

    fresh: Sequence[int]
    again: Sequence[int]
    newest_id: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """*metered*: whether X charges; *others* are what the connector's other source partitions have spent."""

    task: TaskId
    settle_ms: int
    metered: bool
    budget: Budget
    others: Callable[[], Collection[Spend]]


class Feed:
    """
    The state of one source partition: *coverage* is its source offset with all that was converted.

    *closed* are the last gaps that are none any more, *allowance* is what the reader thread may read.  Event loop.
    """

    def __init__(
        self,
        partition: SourcePartition,
        settings: FeedSettings,
        *,
        emit: Callable[[Event], None],
        kept: Mapping[str | None, bytes | None],
        run: str,
    ) -> None:
        """
        Begin with what is *kept* in the offsets topic, by kind.

        Raises:
            FatalError: it cannot be read.
        """
        self.partition = partition
        self._settings, self._emit = settings, emit
        self.coverage = _decode(kept.get(OFFSET), run)
        self.closed = tuple(_decode_gaps(kept.get(REPAIRED)))
        self._rule_sets = _decode_rules(kept.get(RULES))
        self._rules_now: Callable[[], Sequence[HeldRule]] = tuple
        self.written: dict[str | None, bytes | None] = dict(kept)
        self.changed = False
        """Something has changed that is to be committed soon, posts or not."""
        self.ahead = False
        """Something was handed over that no offset tells of yet."""
        self._said = self.coverage
        self.repairing: Gap | None = None
        """The gap whose ids have to be remembered."""
        self.backfilling = False
        self._backfilled_ms = 0  # when the last post came that is older than the connection
        self.connected: Connected | None = None
        self._bills = Bills()
        self.allowance = Allowance(settings.budget)
        self._billed = 0  # posts that X has billed and that are in no offset yet

    # -- clocks

    @property
    def now_ms(self) -> int:
        """X's clock, as far as it is known."""
        return self.x_ms(clock.now())

    def x_ms(self, at: float) -> int:
        """Return the time of X's clock at *at* (`clock.now`)."""
        skew = self.connected.skew_secs if self.connected is not None else 0.0
        return int((at + skew) * 1000)

    # -- from the stream

    def follow_rules(self, rules: Callable[[], Sequence[HeldRule]]) -> None:
        """Ask *rules* at each connect which are in force."""
        self._rules_now = rules

    def on_connected(self, connected: Connected) -> None:
        """Take in that a connection was opened: what nobody heard before it is a gap."""
        self.connected = connected
        self._end_backfill()
        before = self.coverage
        rules = self._note_rules()
        reason = connected.after or NOT_RUNNING
        after = before.connected(self.x_ms(connected.at), reason=reason, rules=rules)
        last = after.gaps[-1] if after.gaps else None
        if last is not None and after.gaps != before.gaps:
            # asked for before X's clock was known, or too late, it may not reach back far enough
            if connected.backfill_minutes and last.seconds <= connected.backfill_minutes * 60:
                last = replace(last, state=GapState.REPAIRING, way=Way.BACKFILL)
                self.backfilling = True
                self._backfilled_ms = self._connected_ms()
            elif reason == BUDGET:
                last = replace(last, state=GapState.LOST, detail=BUDGET_DETAIL)
            after = after.with_gap(last)
            self._emit(GapOpened(**self._event_of(last)))
        self.coverage = after
        self.changed = True

    def _end_backfill(self) -> None:
        """What a connection did not live to claim is for the next one, or for another way."""
        self.backfilling = False
        for gap in self.coverage.gaps:
            if gap.way is Way.BACKFILL and gap.state is GapState.REPAIRING:
                self.coverage = self.coverage.with_gap(replace(gap, state=GapState.OPEN, way=None))

    @property
    def backfilled_until_id(self) -> int:
        """The id below which posts of the stream come by a backfill, made before the connection; 0 without one."""
        return first_id(self._connected_ms()) if self.backfilling else 0

    def take(self, arrivals: Sequence[Arrival], became: Conversion) -> None:
        """
        Claim what *arrivals* prove, whose lines *became* that.

        All of them have lines, or it is one keep-alive.  Together they prove what one arrival would that brought all
        of it when the last was read.
        """
        last = arrivals[-1]
        billed = 0
        if self._settings.metered:
            billed = self._bills.streamed(self.now_ms, fresh=became.fresh, again=became.again)
            self._bill(billed)
        if self._settings.budget:
            self.allowance.converted(sum(len(arrival.lines) for arrival in arrivals), self.coverage.spent)
        if self.backfilling:
            until = self.backfilled_until_id
            self._count_backfill(sum(post_id < until for post_id in became.fresh), billed)
            if min([*became.fresh, *became.again], default=until) < until:
                self._backfilled_ms = self.x_ms(last.at)
        if became.whole:
            self._claim(last, became.newest_id)

    def _count_backfill(self, posts: int, billed: int) -> None:
        for gap in self.coverage.gaps:
            if gap.way is Way.BACKFILL and gap.state is GapState.REPAIRING:
                self.coverage = self.coverage.with_gap(self._grown(gap, posts, billed))

    def _grown(self, gap: Gap, posts: int, billed: int) -> Gap:
        mills = gap.mills + billed * self._settings.budget.mills_each
        return replace(gap, posts=gap.posts + posts, billed=gap.billed + billed, mills=mills)

    def delivered(self, *, posts: int, dead_letters: int) -> None:
        """Count what is about to be delivered."""
        self.ahead = self.ahead or bool(posts or dead_letters)
        self.coverage = self.coverage.delivered(posts=posts, dead_letters=dead_letters)

    def refused(self, posts: int) -> None:
        """Count that so many *posts* that were about to be delivered have become dead letters."""
        self.coverage = self.coverage.delivered(posts=-posts, dead_letters=posts)

    def without_claims(self, committed: Coverage, dropped: int) -> Coverage:
        """
        Return the offset of a task that ends: what is *committed* with the posts delivered since, and no more covered.

        *dropped* posts that were about to be delivered are not.
        """
        now = self.coverage
        return replace(
            committed,
            posts=now.posts - dropped,
            dead_letters=now.dead_letters,
            spent=now.spent,
            run=now.run,
            batch=now.batch + 1,
        )

    def _claim(self, arrival: Arrival, newest_id: int) -> None:
        """
        Move `covered_to` as far as *arrival* proves.

        A keep-alive comes when X has nothing to send: if it was the last in the socket, all up to it was heard.  A post
        may be an old one that waited, here or at X; but X had reached the time at which it was made.
        """
        at_ms = self.x_ms(arrival.at)
        if arrival.lines:
            if not newest_id:
                return
            made_ms = created_ms(newest_id)
            at_ms = min(at_ms, made_ms + self._settings.settle_ms // 2 if arrival.drained else made_ms)
        elif not arrival.drained:
            return
        settle_ms = self._settings.settle_ms
        self.coverage = self.coverage.heard(at_ms, connected_ms=self._connected_ms(), settle_ms=settle_ms)
        # X repeats old posts first, "generally": it is through when none has come for as long as posts may be late
        if self.backfilling and at_ms - self._backfilled_ms > settle_ms + MARGIN_MS:
            self.backfilling = False
            for gap in self.coverage.gaps:
                if gap.way is Way.BACKFILL and gap.state is GapState.REPAIRING:
                    self.close(gap, GapState.REPAIRED)

    def _connected_ms(self) -> int:
        if self.connected is None:
            raise RuntimeError("An arrival without a connection")
        return self.x_ms(self.connected.at)

    # -- from a repair

    def take_page(self, page: Page, became: Conversion, *, known: Container[int]) -> None:
        """
        Write down how far the repair has come with *page*, whose lines *became* that.

        *known* are those of the ids fetched for it that the ledger knew before.
        """
        self.changed = True  # whatever comes of it: a batch without an offset could not be told from one that is in
        gap = self.coverage.gap_at(page.from_ms)
        billed = 0
        if self._settings.metered and page.fetched is not None:
            billed = self._bills.found(self.now_ms, page.fetched, delivered=known)
        if not became.whole:
            return  # the task ends with it, and the next one repairs again from here
        if self._settings.metered and page.fetched is None:
            billed = self._bills.streamed(self.now_ms, fresh=became.fresh, again=became.again)
        self._bill(billed)
        if gap is None or gap.end_id != page.end_id:  # it is accepted, or has grown by what nobody asked for
            for other in self.coverage.gaps:
                if other.from_ms <= page.from_ms < other.to_ms:  # its posts are in the ledger under a repair's time
                    self.coverage = self.coverage.with_gap(self._grown(other, len(became.fresh), billed))
            return
        gap = replace(
            self._grown(gap, len(became.fresh), billed),
            state=GapState.REPAIRING,
            detail="",
            way=page.way,
            until_id=gap.until_id if page.until_id is None else page.until_id,
        )
        if gap.end_id > gap.begin_id:
            self.coverage = self.coverage.with_gap(gap)
        elif page.unfound:
            self.lose(gap, "; ".join(page.unfound))
        else:
            self.close(gap, GapState.REPAIRED)

    # -- gaps

    def close(self, gap: Gap, state: GapState) -> None:
        """Let *gap* be none any more: it is repaired, or accepted."""
        closed = replace(gap, state=state, detail="", until_id=None, closed_ms=self.now_ms)
        self.coverage = self.coverage.without(gap)
        self.closed = (*self.closed, closed)[-KEPT_GAPS:]
        self.changed = True
        if state is GapState.ACCEPTED:
            self._emit(GapAccepted(**self._event_of(gap)))
        else:
            cost = gap.mills / MILLS if self._settings.metered else None
            self._emit(GapRepaired(**self._event_of(gap), way=gap.way or "", posts=gap.posts, cost_usd=cost))

    def lose(self, gap: Gap, detail: str) -> None:
        """Give *gap* up, until somebody asks for another try."""
        self.coverage = self.coverage.with_gap(replace(gap, state=GapState.LOST, detail=detail, until_id=None))
        self.changed = True
        self._emit(GapLost(**self._event_of(gap), detail=detail))

    def _event_of(self, gap: Gap) -> dict[str, Any]:
        return {
            "of": self._settings.task,
            "gap_from": to_iso(gap.from_ms),
            "gap_to": to_iso(gap.to_ms),
            "seconds": round(gap.seconds, 3),
            "reason": gap.reason,
            "partition": self.partition.get("partition"),
        }

    def change(self, gap: Gap) -> None:
        """Write *gap* down as it is now."""
        if self.coverage.gap_at(gap.from_ms) != gap:
            self.coverage = self.coverage.with_gap(gap)
            self.changed = True

    def split(self, gap: Gap, at_ms: int) -> None:
        """Make two of *gap*."""
        self.coverage = self.coverage.split(gap, at_ms)
        self.changed = True

    def rules_in(self, gap: Gap) -> Sequence[HeldRule]:
        """Return the rules that were in force in *gap*; those of now where that is not known."""
        return self._rule_sets.get(gap.rules) or self._rule_sets.get(self.coverage.rules) or tuple(self._rules_now())

    # -- money

    def tell_allowance(self) -> None:
        """Let the reader thread know what was spent by now, by whomever of the connector."""
        if self._settings.budget:
            skew_secs = self.connected.skew_secs if self.connected is not None else 0.0
            self.allowance.tell(self.coverage.spent, self._settings.others(), skew_secs)

    def budget_reached(self) -> BudgetReached | None:
        """Return why nothing more may be bought, None while something may."""
        settings = self._settings
        return (
            reached(settings.budget, self.coverage.spent, settings.others(), self.now_ms) if settings.budget else None
        )

    def take_billed(self) -> int:
        """Return how many posts X has billed since this was asked last."""
        billed, self._billed = self._billed, 0
        return billed

    def _bill(self, posts: int) -> None:
        if posts:
            self.coverage = replace(
                self.coverage, spent=self.coverage.spent.after(self.now_ms, posts, self._settings.budget.mills_each)
            )
            self._billed += posts

    # -- what has to be remembered

    @property
    def wanted_from_ms(self) -> int | None:
        """The creation time from which delivered ids are remembered; None before there is any coverage."""
        return _wanted_from_ms(self.coverage)

    def id_ranges(self, committed: Coverage) -> list[tuple[int, int]]:
        """
        Return the ranges of ids that can come again: the last minutes of what is *committed*, and the gap under repair.

        A repair that begins reads the ledger in Kafka: what is on its way there must not be forgotten, however old.
        """
        since = _wanted_from_ms(committed)
        ranges = [(0 if since is None else first_id(since), 1 << 63)]
        if self.repairing is not None:
            gap = self.coverage.gap_at(self.repairing.from_ms) or self.repairing
            ranges.append((first_id(gap.from_ms - GAP_EDGE_MS), gap.end_id + (GAP_EDGE_MS << 22)))
        return ranges

    # -- what goes into the offsets topic

    @property
    def moved(self) -> bool:
        """Whether the offset has something new to say, and be it only that nothing came."""
        return self.coverage != self._said

    def forget_written(self) -> None:
        """Let all of it be written again: the topic has lost it."""
        self.written = {}
        self.changed = True

    def writes(self, key_of: Callable[[SourcePartition, str | None], bytes]) -> list[OffsetWrite]:
        """Return what the offsets topic has to say from now on: the offset always, the rest where it has changed."""
        self.changed = self.ahead = False
        values: dict[str | None, bytes | None] = {}
        if self.coverage.covered_to_ms is not None or self.coverage.posts or self.coverage.dead_letters:
            self.coverage = replace(self.coverage, batch=self.coverage.batch + 1)
            values[OFFSET] = self.coverage.encode()
        else:
            values[OFFSET] = None
        values[REPAIRED] = orjson.dumps([gap.fields() for gap in self.closed]) if self.closed else None
        values[RULES] = self._encode_rules()
        self._said = self.coverage
        changed = {kind: value for kind, value in values.items() if kind is OFFSET or value != self.written.get(kind)}
        self.written |= changed
        return [OffsetWrite(key=key_of(self.partition, kind), value=value) for kind, value in changed.items()]

    def _note_rules(self) -> str:
        rules = tuple(self._rules_now())
        if not rules:
            return ""
        name = hashlib.sha256(orjson.dumps([list(rule) for rule in rules])).hexdigest()[:8]
        self._rule_sets[name] = rules
        return name

    def _encode_rules(self) -> bytes | None:
        needed = {self.coverage.rules, *(gap.rules for gap in self.coverage.gaps)} & self._rule_sets.keys()
        self._rule_sets = {name: self._rule_sets[name] for name in sorted(needed)}
        listed = {name: [list(rule) for rule in rules] for name, rules in self._rule_sets.items()}
        return orjson.dumps(listed) if needed else None


def _wanted_from_ms(coverage: Coverage) -> int | None:
    return None if coverage.covered_to_ms is None else coverage.covered_to_ms - DEDUPE_MS


def ledger_write(ids: Sequence[int], source: Way | None, *, now_ms: int) -> LedgerWrite:
    """
    Return the record of the ledger for *ids*, which are not none.

    Its time is the newest one's.  An id that lies ahead of all clocks does not count for that: Kafka might refuse the
    record, would keep it for ever, and whoever reads up to some time would stop there.  *now_ms* is by X's clock: by
    this host's, which may be slow, sane ids would lie ahead, and who reads from their time on would miss the record.
    """
    newest_ms = created_ms(max(ids))
    if newest_ms > now_ms + AHEAD_MS:
        newest_ms = max((ms for ms in map(created_ms, ids) if ms <= now_ms + AHEAD_MS), default=now_ms)
    return LedgerWrite(
        value=encode_ids(ids),
        timestamp_ms=newest_ms,
        source=None if source is None else source.encode(),
    )


def _decode(value: bytes | None, run: str) -> Coverage:
    if value is None:
        return Coverage(run=run)
    try:
        return replace(Coverage.decode(value), run=run)
    except ValueError as exc:
        raise FatalError(f"{exc}; write a tombstone for its key into the offsets topic to begin anew") from exc


def _decode_gaps(value: bytes | None) -> list[Gap]:
    try:
        return [] if value is None else [Gap.of(fields) for fields in orjson.loads(value)]
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
        raise _unreadable(value, "list of closed gaps", exc) from exc


def _decode_rules(value: bytes | None) -> dict[str, tuple[HeldRule, ...]]:
    try:
        sets = {} if value is None else orjson.loads(value)
        return {name: tuple(HeldRule(*rule) for rule in rules) for name, rules in sets.items()}
    except (AttributeError, TypeError, ValueError) as exc:
        raise _unreadable(value, "set of rules", exc) from exc


def _unreadable(value: bytes | None, what: str, exc: Exception) -> ConnectorError:
    return FatalError(
        f"{(value or b'')[:200]!r} is no {what}: {exc}; write a tombstone for its key into the offsets topic"
    )
