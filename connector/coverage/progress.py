"""
The state of one source partition: which posts are delivered, which times are missing, and what it has cost.

    task/reader ────────── Connected, Arrival ──▶ Progress ──▶ records, and the offset that says so
    task/repair/repairer ── Page ────────────────▶ │
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
    Converted,
    HeldRule,
    LedgerWrite,
    OffsetWrite,
    SourcePartition,
    TaskId,
)
from connector.records.snowflake import created_ms, first_id, to_iso
from connector.telemetry.events.coverage import GapAccepted, GapLost, GapOpened, GapRepaired
from connector.telemetry.events.event import Event

DEDUPE_MS = 360_000
"""
Ids of posts made up to this long before `covered_to` are remembered (ms).

X sends a post again within minutes, and a backfill repeats up to 5 minutes.
"""

GAP_EDGE_MS = 60_000
"""Ids created up to this long before and after a gap are loaded while the gap is repaired (ms)."""

AHEAD_MS = 300_000
"""
A post made further ahead of X's clock than this has a wrong id (ms).

We know that clock as of the connect: a machine that was stopped since, as when it is moved, is behind by as long.  Less
than `DEDUPE_MS`: what such a machine has delivered is still found.
"""

KEPT_GAPS = 100
"""So many closed gaps are remembered."""

HELD_SETS = 10
"""So many changes of the rules at X are remembered of one outage."""

NOT_RUNNING = "not_running"
"""The reason of a gap that is found when a task starts: no worker ran the task, so no other reason is known."""

PAUSED = "paused"
"""The reason of a gap in which the connector was paused or stopped."""

RESUME_MS = 60_000
"""If a connector was resumed longer than this before the connect (ms), the time in between is a gap of its own."""

BUDGET_DETAIL = "the budget was spent: not repaired by itself, only when somebody asks for it"

OFFSET, REPAIRED, RULES = None, "repaired", "rules"
"""The kinds of records that the offsets topic keeps for one source partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    Posts that a repair has found of the gap that begins at *from_ms*.

    *end_id* is the gap's `end_id` when the repair asked X.  *until_id*: once this page is delivered, all posts of the
    gap from this id upward are; None for a piece in the middle.  *fetched* are the ids that X sent for the page; None
    if they are just those of its lines.  *unfound* is in the last page: the rules that X cannot search for, and why.
    """

    from_ms: int
    end_id: int
    way: Way
    arrivals: tuple[Arrival, ...]
    until_id: int | None
    fetched: tuple[int, ...] | None = None
    unfound: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSettings:
    """
    *metered*: whether X charges; *others*: returns what the connector's other source partitions have spent.

    *asks*: X is asked, and tells nothing by itself; what was not asked yet is asked later, so nothing is ever missed.
    """

    task: TaskId
    settle_ms: int
    metered: bool
    budget: Budget
    others: Callable[[], Collection[Spend]]
    paused_until_ms: int | None = None
    """Until when the connector was paused or stopped before this start (UNIX ms)."""
    asks: bool = False


class Progress:
    """
    The state of one source partition.  Event loop.

    *coverage* is its source offset with all posts that were converted until now, committed or not.  *closed* are the
    last gaps that were repaired or accepted.  *allowance* says how much the reader thread may read.
    """

    def __init__(
        self,
        partition: SourcePartition,
        settings: ProgressSettings,
        *,
        emit: Callable[[Event], None],
        kept: Mapping[str | None, bytes | None],
        run: str,
    ) -> None:
        """
        Begin with the values that the offsets topic holds: *kept*, by kind.

        Raises:
            FatalError: one of them cannot be read.
        """
        self.partition = partition
        self._settings, self._emit = settings, emit
        self.coverage = _decode(kept.get(OFFSET), run)
        self.closed = tuple(_decode_gaps(kept.get(REPAIRED)))
        self._rule_sets = _decode_rules(kept.get(RULES))
        self._rules_now: Callable[[], Sequence[HeldRule]] = tuple
        self._rules_next: tuple[int, str] | None = None
        """When the rules changed while a connection was open, and the name of the new set."""
        self._held: list[tuple[int, tuple[HeldRule, ...]]] = []
        """Since when X has held which rules (UNIX ms), while there was no connection."""
        self.written: dict[str | None, bytes | None] = dict(kept)
        self.changed = False
        """Something has changed that is to be committed soon, even if no posts come."""
        self.away = True
        """The lines under way may lack posts of the connector: nothing is claimed before the next connection."""
        self.frozen = False
        """The rules at X are being changed: what arrives proves nothing for the time being."""
        self.ahead = False
        """Posts were handed over, and no offset counts them yet."""
        self._said = self.coverage
        self.repairing: Gap | None = None
        """The gap under repair, whose ids have to be remembered."""
        self.backfilling = False
        self._backfilled_ms = 0  # when the last post came that is older than the connection
        self.connected: Connected | None = None
        self._bills = Bills()
        self.allowance = Allowance(settings.budget)
        self._billed = 0  # posts that X has billed and that are in no offset yet

    # -- clocks

    @property
    def now_ms(self) -> int:
        """The time by X's clock, as far as it is known (UNIX ms)."""
        return self.x_ms(clock.now())

    def x_ms(self, at: float) -> int:
        """Return the time that X's clock showed at *at* (`clock.now`), in UNIX ms."""
        skew = self.connected.skew_secs if self.connected is not None else 0.0
        return int((at + skew) * 1000)

    # -- from the stream

    def follow_rules(self, rules: Callable[[], Sequence[HeldRule]]) -> None:
        """From now on ask *rules* at each connect which rules are in force."""
        self._rules_now = rules

    def on_connected(self, connected: Connected) -> None:
        """Take note that a connection was opened: the time before it, in which nobody listened, is a gap."""
        self.connected, self.away = connected, False
        if self._settings.asks:
            self.coverage, self.changed = self.coverage.resumed(self.x_ms(connected.at)), True
            return
        self._end_backfill()
        before = self.coverage
        rules = self._note_rules()
        self._rules_next = None
        held, self._held = self._held, []
        reason = connected.after or NOT_RUNNING
        after = before.connected(self.x_ms(connected.at), reason=reason, rules=rules)
        last = after.gaps[-1] if after.gaps else None
        if last is not None and after.gaps != before.gaps:
            # a backfill asked for before X's clock was known, or too late, may not reach back to the gap's begin
            if connected.backfill_minutes and last.seconds <= connected.backfill_minutes * 60:
                last = replace(last, state=GapState.REPAIRING, way=Way.BACKFILL)
                self.backfilling = True
                self._backfilled_ms = self._connected_ms()
            elif reason == BUDGET:
                last = replace(last, state=GapState.LOST, detail=BUDGET_DETAIL)
            after = after.with_gap(last)
            if reason == NOT_RUNNING:
                after = self._told_paused(after, last)
            for since_ms, its_rules in held:
                after = self._told_rules(after, since_ms, its_rules)
            for gap in after.gaps:
                if gap.from_ms >= last.from_ms:
                    self._emit(GapOpened(**self._event_of(gap)))
        self.coverage = after
        self.changed = True

    def _told_paused(self, coverage: Coverage, gap: Gap) -> Coverage:
        """Return *coverage* with the part of *gap* before the connector was resumed as a gap of its own."""
        until_ms = self._settings.paused_until_ms
        self._settings = replace(self._settings, paused_until_ms=None)  # it tells of the time before this start alone
        if until_ms is None or until_ms <= gap.from_ms:
            return coverage
        if until_ms < gap.to_ms - RESUME_MS:
            coverage = coverage.split(gap, until_ms)
        first = coverage.gap_at(gap.from_ms)
        if first is None or first.reason != NOT_RUNNING:
            return coverage
        return coverage.with_gap(replace(first, reason=PAUSED))

    def _told_rules(self, coverage: Coverage, since_ms: int, rules: tuple[HeldRule, ...]) -> Coverage:
        """Return *coverage* with the part of its last gap in which X held other *rules* as a gap of its own."""
        gap = coverage.gaps[-1]
        before = self._rule_sets.get(gap.rules)
        # a connection claims nothing for its first second, nor for new rules just before it
        if before is None or set(before) == set(rules) or not gap.from_ms < since_ms < gap.to_ms - 2 * MARGIN_MS:
            return coverage
        split = coverage.split(gap, since_ms)
        return split.with_gap(replace(split.gaps[-1], rules=self._keep_rules(rules)))

    def hold_rules(self) -> None:
        """
        Take note that X holds the rules of the next connection from now on, while there is none.

        The posts of new rules that X makes until then are missed like those of the old ones, and repaired with them.
        """
        rules = tuple(self._rules_now())
        if not self._held or set(self._held[-1][1]) != set(rules):
            self._held = [*self._held[1 - HELD_SETS :], (self.now_ms, rules)]

    def change_rules(self) -> None:
        """
        Take note that other rules are in force from now on, while the connection stays open.

        A gap that begins before `covered_to` has reached this moment is repaired with the old rules and the new ones.
        """
        new, old = tuple(self._rules_now()), self._rule_sets.get(self.coverage.rules, ())
        if set(new) == set(old):
            return
        self._rules_next = self.now_ms, self._keep_rules(new)
        both = tuple(dict.fromkeys((*old, *new)))
        self.coverage = replace(self.coverage, rules=self._keep_rules(both))
        self.changed = True

    @property
    def others(self) -> Callable[[], Collection[Spend]]:
        """Returns what the connector's other source partitions have spent."""
        return self._settings.others

    def change_settings(self, settings: "ProgressSettings") -> None:
        """Go on with other *settings*."""
        self._settings = settings
        self.allowance.change(settings.budget)

    def _end_backfill(self) -> None:
        """Open the gap again whose backfill was not complete: the next connection or another way repairs it."""
        self.backfilling = False
        for gap in self.coverage.gaps:
            if gap.way is Way.BACKFILL and gap.state is GapState.REPAIRING:
                self.coverage = self.coverage.with_gap(replace(gap, state=GapState.OPEN, way=None))

    @property
    def backfilled_until_id(self) -> int:
        """Posts of the stream with smaller ids are older than the connection: a backfill brings them; 0 without one."""
        return first_id(self._connected_ms()) if self.backfilling else 0

    def take(self, arrivals: Sequence[Arrival], converted: Converted, *, newest_id: int | None = None) -> None:
        """
        Take in *arrivals*, whose lines became *converted*, and claim the time that they prove.

        All of them have lines, or there is one, and it is a keep-alive.  Together they prove the same as one arrival
        with all their lines that was read when the last of them was.

        If the stream is shared, *converted* is what the lines for this connector became, and *newest_id* the largest id
        of all lines: a post for another connector proves as much of the stream.
        """
        last = arrivals[-1]
        billed = 0
        if self._settings.metered:
            billed = self._bills.streamed(self.now_ms, fresh=converted.ids, again=converted.again)
            billed += self._bills.found(self.now_ms, converted.bought, delivered=())
            self._bill(billed)
        self.pass_by(arrivals)
        if self.backfilling:
            until = self.backfilled_until_id
            self._count_backfill(sum(post_id < until for post_id in converted.ids), billed)
            if min([*converted.ids, *converted.again], default=until) < until:
                self._backfilled_ms = self.x_ms(last.at)
        if converted.error is None and not self.frozen and not self.away:
            self._claim(last, converted.newest_id if newest_id is None else newest_id)

    def pass_by(self, arrivals: Sequence[Arrival]) -> None:
        """Take note that the lines of *arrivals* are not under way any more; all that they cost is in the coverage."""
        if self._settings.budget:
            self.allowance.converted(sum(len(arrival.lines) for arrival in arrivals), self.coverage.spent)

    def _count_backfill(self, posts: int, billed: int) -> None:
        for gap in self.coverage.gaps:
            if gap.way is Way.BACKFILL and gap.state is GapState.REPAIRING:
                self.coverage = self.coverage.with_gap(self._grown(gap, posts, billed))

    def _grown(self, gap: Gap, posts: int, billed: int) -> Gap:
        mills = gap.mills + billed * self._settings.budget.mills_each
        return replace(gap, posts=gap.posts + posts, billed=gap.billed + billed, mills=mills)

    def delivered(self, *, posts: int, dead_letters: int, filtered: int = 0) -> None:
        """Count posts and dead letters that are about to be delivered; *filtered* posts were dropped by a transform."""
        self.ahead = self.ahead or bool(posts or dead_letters or filtered)
        self.coverage = self.coverage.delivered(posts=posts, dead_letters=dead_letters)

    def refused(self, posts: int) -> None:
        """Count so many *posts* as dead letters: they were about to be delivered, and the topic refused them."""
        self.coverage = self.coverage.delivered(posts=-posts, dead_letters=posts)

    def without_claims(self, committed: Coverage, dropped: int) -> Coverage:
        """
        Return the last offset of a task that ends because of a refused post.

        It covers the same time as the *committed* offset, and counts the posts delivered since, without the *dropped*
        posts that were about to be delivered.
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

        X sends a keep-alive when it has nothing else to send.  If nothing followed it in the socket, all that X sent
        before it was read.  A post proves less, as it may have waited here or at X: only that X had reached the time at
        which the post was made.
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
        if self._rules_next is not None and (self.coverage.covered_to_ms or 0) >= self._rules_next[0]:
            self.coverage = replace(self.coverage, rules=self._rules_next[1])
            self._rules_next = None
        # X "generally" repeats old posts first: a backfill is over once none has come for as long as posts may be late
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

    def take_page(self, page: Page, converted: Converted, *, known: Container[int]) -> None:
        """
        Take in *page*, whose lines became *converted*, and write down how far the repair has come.

        *known* are the ids, of those fetched for the page, that the ledger knew before.
        """
        self.changed = True  # in any case: whether a batch is in the topic is only known by its offset
        gap = self.coverage.gap_at(page.from_ms)
        billed = 0
        if self._settings.metered and page.fetched is not None:
            billed = self._bills.found(self.now_ms, page.fetched, delivered=known)
        if converted.error is not None:
            return  # the task ends with this page, and its next owner repairs again from here
        if self._settings.metered and page.fetched is None:
            billed = self._bills.streamed(self.now_ms, fresh=converted.ids, again=converted.again)
        self._bill(billed)
        if gap is None or gap.end_id != page.end_id:  # accepted, or grown by what X was not asked for
            for other in self.coverage.gaps:
                if other.from_ms <= page.from_ms < other.to_ms:  # in the ledger its posts have the time of a repair
                    self.coverage = self.coverage.with_gap(self._grown(other, len(converted.ids), billed))
            return
        gap = replace(
            self._grown(gap, len(converted.ids), billed),
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
        """Remove *gap* from the coverage: it is repaired, or accepted."""
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
        """Give *gap* up, until an operator asks for another try."""
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
        """Replace the gap that begins where *gap* does by *gap*."""
        if self.coverage.gap_at(gap.from_ms) != gap:
            self.coverage = self.coverage.with_gap(gap)
            self.changed = True

    def split(self, gap: Gap, at_ms: int) -> None:
        """Divide *gap* into two gaps, at *at_ms*."""
        self.coverage = self.coverage.split(gap, at_ms)
        self.changed = True

    def rules_in(self, gap: Gap) -> Sequence[HeldRule]:
        """Return the rules that were in force in *gap*; the present ones if that is not known."""
        return self._rule_sets.get(gap.rules) or self._rule_sets.get(self.coverage.rules) or tuple(self._rules_now())

    # -- money

    def tell_allowance(self) -> None:
        """Let the reader thread know what all source partitions of the connector have spent until now."""
        if self._settings.budget:
            skew_secs = self.connected.skew_secs if self.connected is not None else 0.0
            self.allowance.tell(self.coverage.spent, self._settings.others(), skew_secs)

    def budget_reached(self) -> BudgetReached | None:
        """Return why nothing more may be bought; None while something may."""
        settings = self._settings
        return (
            reached(settings.budget, self.coverage.spent, settings.others(), self.now_ms) if settings.budget else None
        )

    def budget_left(self) -> int | None:
        """Return how many more posts may be bought; None without a limit."""
        return self._settings.budget.left((self.coverage.spent, *self._settings.others()), self.now_ms)

    def budget_used(self) -> dict[str, float]:
        """Return the part of the connector's limits, `day` and `month`, that all its source partitions have used up."""
        return self._settings.budget.used((self.coverage.spent, *self._settings.others()), self.now_ms)

    def take_billed(self) -> int:
        """Return how many posts X has billed since the last call."""
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
        Return the ranges of ids that may come again: the last minutes of the *committed* offset, the gap under repair.

        It must be the committed offset: a repair that begins reads the ledger in Kafka, and ids that are still on their
        way there must not be forgotten, however old they are.
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
        """Whether the offset differs from the one written last, be it only in `covered_to`."""
        return self.coverage != self._said

    def forget_written(self) -> None:
        """Let all values be written again: the offsets topic has lost them."""
        self.written = {}
        self.changed = True

    def writes(self, key_of: Callable[[SourcePartition, str | None], bytes]) -> list[OffsetWrite]:
        """Return what to write into the offsets topic: always the offset, and the other kinds that have changed."""
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
        return self._keep_rules(tuple(self._rules_now()))

    def _keep_rules(self, rules: tuple[HeldRule, ...]) -> str:
        if not rules:
            return ""
        name = hashlib.sha256(orjson.dumps([list(rule) for rule in rules])).hexdigest()[:8]
        self._rule_sets[name] = rules
        return name

    def _encode_rules(self) -> bytes | None:
        coming = "" if self._rules_next is None else self._rules_next[1]
        needed = {self.coverage.rules, coming, *(gap.rules for gap in self.coverage.gaps)} & self._rule_sets.keys()
        self._rule_sets = {name: self._rule_sets[name] for name in sorted(needed)}
        listed = {name: [list(rule) for rule in rules] for name, rules in self._rule_sets.items()}
        return orjson.dumps(listed) if needed else None


def _wanted_from_ms(coverage: Coverage) -> int | None:
    return None if coverage.covered_to_ms is None else coverage.covered_to_ms - DEDUPE_MS


def ledger_write(ids: Sequence[int], source: Way | None, *, now_ms: int) -> LedgerWrite:
    """
    Return the record of the ledger for *ids*, of which there is at least one.

    Its timestamp is the creation time of the newest id.  Ids that lie ahead of X's clock do not count for that: Kafka
    might refuse a record with such a timestamp, or keep it for ever, and a reader that reads up to some time would stop
    there.  *now_ms* must be by X's clock.  By this host's clock, which may be slow, good ids would seem to lie ahead:
    the record would get too early a timestamp, and a reader that begins at the time of these ids would miss it.
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
