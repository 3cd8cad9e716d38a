"""One source partition: what is claimed, what is missing, what it costs, what is written down."""

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from connector.coverage.offset import Coverage, Gap, GapState, Way
from connector.coverage.progress import (
    BUDGET_DETAIL,
    KEPT_GAPS,
    OFFSET,
    REPAIRED,
    RULES,
    Page,
    Progress,
    ProgressSettings,
)
from connector.coverage.spend import Budget, Spend
from connector.errors import BudgetReached, FatalError
from connector.records import clock
from connector.records.record import BUDGET, Connected, HeldRule, Limits, SourceRecord
from connector.records.snowflake import first_id, to_iso
from connector.task.batcher import convert, convert_page
from connector.task.converter import Converter
from connector.telemetry.events.coverage import GapAccepted, GapLost, GapOpened, GapRepaired
from tests.unit.fakes import MADE_MS, RULE, TASK, MemorySink, arrival, id_of, key_of, post

T0 = 1_793_536_500_000
"""2026-11-01T12:35:00Z; times in these tests are milliseconds after it."""

MARGIN = 1_000
SETTLE = 15_000
PARTITION = {"stream": "filtered"}


def offset_key(partition, kind):
    return MemorySink(None).offset_key("posts", partition, kind)


KEYS = {kind: MemorySink(None).offset_key("posts", PARTITION, kind) for kind in (OFFSET, REPAIRED, RULES)}
OTHER_RULE = HeldRule("2", "kafka", "posts/1")


def made(ms):
    """The number of the post made at *ms*."""
    return T0 + ms - MADE_MS


class Feeding:
    """The progress of one source partition, with X's clock and ours at *now* milliseconds after T0."""

    def __init__(self, monkeypatch, kept=None, *, metered=False, budget=None, others=tuple):
        self.now, self.events, self.rules = 0, [], (RULE,)
        monkeypatch.setattr(clock, "now", lambda: (T0 + self.now) / 1000)
        settings = ProgressSettings(
            task=TASK, settle_ms=SETTLE, metered=metered, budget=budget or Budget(mills_each=5), others=others
        )
        self.progress = Progress(PARTITION, settings, emit=self.events.append, kept=kept or {}, run="aaaa")
        self.progress.follow_rules(lambda: self.rules)
        self.converter = Converter(connector="posts", dead_letters=False)
        self.converter.limit(Limits(record_bytes=1_000))

    def connect(self, now, *, after=None, minutes=None):
        self.now = now
        self.progress.on_connected(Connected(at=clock.now(), skew_secs=0.0, after=after, backfill_minutes=minutes))

    def read(self, now, *times, drained=True):
        """Let posts made at *times*, or a keep-alive, be read and converted."""
        self.now = now
        lines = [post(made(ms)) for ms in times]
        self.progress.allowance.admit(len(lines))
        result = convert(self.progress, (arrival(*lines, drained=drained),), self.converter)
        self.progress.delivered(posts=len(result.records), dead_letters=len(result.dead_letters))
        return result

    def put_page(self, gap_from, *times, down_to, unfound=(), way=Way.SEARCH, fetched=None):
        """Let a repair of the gap that begins at *gap_from* have found posts made at *times*."""
        lines = tuple(post(made(ms)) for ms in times)
        gap = self.progress.coverage.gap_at(T0 + gap_from)
        page = Page(
            from_ms=T0 + gap_from,
            end_id=0 if gap is None else gap.end_id,
            way=way,
            arrivals=(arrival(*lines),) if lines else (),
            until_id=None if down_to is None else first_id(T0 + down_to),
            fetched=tuple(id_of(made(ms)) for ms in times) if fetched is None else fetched,
            unfound=unfound,
        )
        result = convert_page(self.progress, page, self.converter)
        self.progress.delivered(posts=len(result.records), dead_letters=len(result.dead_letters))
        return result

    @property
    def covered_to(self):
        return self.progress.coverage.covered_to_ms - T0

    @property
    def gaps(self):
        return [(gap.from_ms - T0, gap.to_ms - T0, gap.reason, gap.state.value) for gap in self.progress.coverage.gaps]

    def said(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def written(self):
        """What the offsets topic holds once all is said, by kind."""
        self.progress.writes(offset_key)
        return {kind: value for kind, value in self.progress.written.items() if value is not None}


@pytest.fixture
def feeding(monkeypatch):
    return Feeding(monkeypatch)


def with_gap(monkeypatch, **changed):
    """A source partition that has covered up to 200 s, connected since 100 s, with a gap from 0 to 60 s."""
    gap = Gap(**{"from_ms": T0, "to_ms": T0 + 60_000, "reason": "connection_lost"} | changed.pop("gap", {}))
    coverage = Coverage(covered_from_ms=T0 - 60_000, covered_to_ms=T0 + 200_000, gaps=(gap,))
    feeding = Feeding(monkeypatch, {OFFSET: coverage.encode(), **changed.pop("kept", {})}, **changed)
    feeding.connect(150_000)
    feeding.now = 200_000
    return feeding


def test_arrivals_together_prove_what_the_last_does(feeding):
    """Posts that were read one by one are taken at once: up to the last read, if nothing waited behind it then."""
    feeding.connect(0)
    feeding.now = 40_000
    feeding.progress.allowance.admit(2)
    arrivals = (arrival(post(made(39_000)), drained=False), arrival(post(made(38_000))))
    result = convert(feeding.progress, arrivals, feeding.converter)

    assert [id_of(made(39_000)), id_of(made(38_000))] == result.ids
    assert 40_000 - SETTLE == feeding.covered_to


def test_arrivals_together_prove_no_more_than_their_newest_post(feeding):
    """Where more waited behind the last of them, X has only reached the newest post of all."""
    feeding.connect(0)
    feeding.now = 40_000
    arrivals = (arrival(post(made(30_000))), arrival(post(made(20_000)), drained=False))
    convert(feeding.progress, arrivals, feeding.converter)

    assert 30_000 - SETTLE == feeding.covered_to


# -- gaps open


def test_first_connection_of_all_opens_no_gap(feeding):
    """Coverage begins with it, and nobody is told of anything missing."""
    feeding.connect(0)

    assert ([], MARGIN) == (feeding.gaps, feeding.covered_to)
    assert [] == feeding.events
    assert feeding.progress.changed


def test_reconnect_opens_a_gap(feeding):
    """From what was covered to the reconnect and X's whole seconds, with the reason, and said."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost")

    assert [(25_000, 71_000, "connection_lost", "open")] == feeding.gaps
    assert [
        GapOpened(
            of=TASK,
            gap_from=to_iso(T0 + 25_000),
            gap_to=to_iso(T0 + 71_000),
            seconds=46.0,
            reason="connection_lost",
            partition=None,
        )
    ] == feeding.events


def test_start_of_a_task_opens_a_gap(monkeypatch):
    """What nobody ran is missing since the last owner's claim."""
    first = Feeding(monkeypatch)
    first.connect(0)
    first.read(40_000)
    second = Feeding(monkeypatch, first.written())
    second.connect(3_600_000)

    assert [(25_000, 3_601_000, "not_running", "open")] == second.gaps
    assert ["not_running"] == [event.reason for event in second.said(GapOpened)]


def test_short_connections_are_one_outage(feeding):
    """Connections that break before they may claim anything make the gap longer, with the first reason."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost")
    feeding.read(72_000, 71_900)
    feeding.connect(90_000, after="disconnected")

    assert [(25_000, 91_000, "connection_lost", "open")] == feeding.gaps


def test_spent_budget_is_a_gap_that_nobody_fills(feeding):
    """What the operator did not want to pay for is not bought later by itself; it says so."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after=BUDGET)

    assert [(25_000, 71_000, "budget", "lost")] == feeding.gaps
    assert BUDGET_DETAIL == feeding.progress.coverage.gaps[0].detail
    assert ["budget"] == [event.reason for event in feeding.said(GapOpened)]


# -- claims


def test_drained_keep_alive_claims(feeding):
    """It was the last in the socket, so all up to it was heard; all but what X may still deliver is covered."""
    feeding.connect(0)
    feeding.read(40_000)

    assert 40_000 - SETTLE == feeding.covered_to


def test_keep_alive_before_others_claims_nothing(feeding):
    """More waited behind it: nobody knows yet what of it is older."""
    feeding.connect(0)
    feeding.read(40_000, drained=False)

    assert MARGIN == feeding.covered_to


def test_young_connection_claims_nothing(feeding):
    """Until it has lasted `settle` and the margin, the rest may still come."""
    feeding.connect(0)
    feeding.read(SETTLE + MARGIN)
    assert MARGIN == feeding.covered_to
    feeding.read(SETTLE + MARGIN + 1)

    assert MARGIN + 1 == feeding.covered_to


CLAIMS = [
    # made now: X is at that time
    (60_000, True, 60_000 - SETTLE),
    # drained, and a bit old: X delivers within half of `settle`
    (56_000, True, 60_000 - SETTLE),
    # it waited somewhere: only the time at which it was made is proven, and half of `settle`
    (45_000, True, 45_000 + SETTLE // 2 - SETTLE),
    # more waits behind it
    (45_000, False, 45_000 - SETTLE),
]


@pytest.mark.parametrize(("made_at", "drained", "covered"), CLAIMS)
def test_lagging_post_claims_less(feeding, made_at, drained, covered):
    """A post read at 60 s tells how far X had come, which is when it was made rather than when it came."""
    feeding.connect(0)
    feeding.read(60_000, made_at, drained=drained)

    assert covered == feeding.covered_to


def test_bad_line_claims_nothing(feeding):
    """The offset stays before the line that ends the task."""
    feeding.connect(0)
    feeding.now = 60_000
    result = convert(feeding.progress, (arrival(post(made(60_000)), b"{}"),), feeding.converter)

    assert result.error is not None
    assert MARGIN == feeding.covered_to


# -- backfill


def test_backfill_closes_its_gap_once_the_connection_has_lasted(feeding):
    """X repeats the gap on the new connection: old posts are marked, and the first claim proves that all came."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost", minutes=1)
    assert [(25_000, 71_000, "connection_lost", "repairing")] == feeding.gaps
    result = feeding.read(72_000, 30_000, 69_999, 70_000, 71_500)
    assert [(25_000, 71_000, "connection_lost", "repairing")] == feeding.gaps
    assert [b"backfill", b"backfill", None, None] == [record.source for record in result.records]
    feeding.read(90_000)

    assert ([], 75_000) == (feeding.gaps, feeding.covered_to)
    assert ["backfill"] == [event.way for event in feeding.said(GapRepaired)]
    assert [None] == [record.source for record in feeding.read(91_000, 69_000).records]


def test_backfill_that_breaks_repairs_nothing(feeding):
    """A connection that ends before it could claim anything leaves the gap open, now up to the next connect."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost", minutes=1)
    feeding.read(72_000, 30_000)
    feeding.connect(80_000, after="connection_lost")
    feeding.read(82_000, 81_000)

    assert [(25_000, 81_000, "connection_lost", "open")] == feeding.gaps
    assert [] == feeding.said(GapRepaired)


def test_backfill_closes_no_other_gap(feeding):
    """What is searched for meanwhile is closed by its search."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost")
    feeding.read(100_000)
    feeding.put_page(25_000, 60_000, down_to=50_000)
    feeding.connect(130_000, after="connection_lost", minutes=1)
    feeding.read(160_000)

    assert [(25_000, 71_000, "connection_lost", "repairing")] == feeding.gaps


# -- money


def test_each_post_is_billed_once_a_day(monkeypatch):
    """Fresh posts are, duplicates of today are not; the offset has the sum, whatever its posts waited for."""
    feeding = Feeding(monkeypatch, metered=True)
    feeding.connect(0)
    feeding.read(20_000, 19_000, 19_500)
    feeding.read(21_000, 19_500, 20_000)

    assert Spend(day="2026-11-01", posts=3, month="2026-11", mills=15) == feeding.progress.coverage.spent
    assert 3 == feeding.progress.take_billed()


def test_unmetered_posts_cost_nothing(feeding):
    """Where X charges by contract nothing is counted."""
    feeding.connect(0)
    feeding.read(20_000, 19_000)

    assert (Spend(), 0) == (feeding.progress.coverage.spent, feeding.progress.take_billed())


def test_budget_counts_what_is_in_flight(monkeypatch):
    """What was read and not converted yet counts, so that no more than the batch at hand goes beyond the limit."""
    feeding = Feeding(monkeypatch, metered=True, budget=Budget(posts_per_day=5, mills_each=5))
    feeding.connect(0)
    feeding.progress.allowance.admit(0)
    feeding.read(20_000, 18_000, 19_000)
    feeding.progress.allowance.admit(2)
    with pytest.raises(BudgetReached, match=r"budget.posts.per.day is used up: 5 of 5 posts on 2026-11-01") as caught:
        feeding.progress.allowance.admit(1)

    assert 1_793_577_600 == caught.value.resume_at  # midnight UTC
    assert feeding.progress.budget_reached() is None  # two of the five are delivered


def test_converted_posts_are_in_flight_no_more(monkeypatch):
    """They are spent then, and not both."""
    feeding = Feeding(monkeypatch, metered=True, budget=Budget(posts_per_day=5, mills_each=5))
    feeding.connect(0)
    feeding.read(20_000, 15_000, 16_000, 17_000, 18_000)
    feeding.progress.allowance.admit(0)
    with pytest.raises(BudgetReached):
        feeding.read(21_000, 19_000)


def test_arrivals_together_are_in_flight_no_more(monkeypatch):
    """All lines of arrivals that are converted together are spent then."""
    feeding = Feeding(monkeypatch, metered=True, budget=Budget(posts_per_day=5, mills_each=5))
    feeding.connect(0)
    feeding.now = 40_000
    feeding.progress.allowance.admit(2)
    arrivals = (arrival(post(made(39_000)), drained=False), arrival(post(made(38_000))))
    convert(feeding.progress, arrivals, feeding.converter)

    assert 0 == feeding.progress.allowance._flying
    assert 2 == feeding.progress.allowance._known.own.posts


def test_budget_holds_over_a_restart_and_over_tasks(monkeypatch):
    """The spend is in the offset, and other tasks' counts; with the new day it begins at nothing."""
    budget = Budget(posts_per_day=5, mills_each=5)
    first = Feeding(monkeypatch, metered=True, budget=budget)
    first.connect(0)
    first.read(20_000, 18_000, 19_000)
    others = [Spend(day="2026-11-01", posts=3, month="2026-11", mills=15)]
    second = Feeding(monkeypatch, first.written(), metered=True, budget=budget, others=lambda: others)
    second.now = 30_000
    second.progress.tell_allowance()
    assert 2 == second.progress.coverage.spent.posts
    with pytest.raises(BudgetReached):
        second.progress.allowance.admit(0)
    second.now = 86_400_000

    second.progress.allowance.admit(0)


def test_budget_of_dollars(monkeypatch):
    """The month's limit is said in dollars, and ends with the month."""
    feeding = Feeding(monkeypatch, metered=True, budget=Budget(mills_per_month=12, mills_each=5))
    feeding.connect(0)
    feeding.read(20_000, 18_000)
    with pytest.raises(BudgetReached, match=r"budget.usd.per.month is used up: \$0.01 of \$0.01 in 2026-11") as caught:
        feeding.read(21_000, 20_000)

    assert 1_796_083_200 == caught.value.resume_at  # 2026-12-01T00:00:00Z


def test_reader_thread_reads_nothing_of_the_loop(monkeypatch):
    """
    What others have spent is asked for in the event loop alone, where their records are applied.

    Asked from the reader thread it met a tombstone half applied, and the connection ended with a `KeyError`.
    """
    threads = set()

    def others():
        threads.add(threading.get_ident())
        if threading.current_thread() is not threading.main_thread():
            raise KeyError("posts")
        return [Spend(day="2026-11-01", posts=3, month="2026-11", mills=15)]

    budget = Budget(posts_per_day=5, mills_each=5)
    feeding = Feeding(monkeypatch, metered=True, budget=budget, others=others)
    feeding.connect(0)
    feeding.progress.tell_allowance()
    with ThreadPoolExecutor() as thread:
        thread.submit(feeding.progress.allowance.admit, 1).result(30)
        with pytest.raises(BudgetReached):
            thread.submit(feeding.progress.allowance.admit, 1).result(30)

    assert {threading.get_ident()} == threads


def test_without_a_budget_nothing_is_asked(monkeypatch):
    """Nor counted: a worker without a budget does not pay for one."""

    def others():
        raise AssertionError

    feeding = Feeding(monkeypatch, metered=True, others=others)
    feeding.connect(0)
    feeding.read(20_000, 18_000)
    feeding.progress.tell_allowance()

    assert feeding.progress.budget_reached() is None


# -- rules


def test_rules_are_kept_as_long_as_they_are_needed(monkeypatch):
    """Those in force now, and those of gaps; each set once, under the name that coverage and gaps have."""
    feeding = Feeding(monkeypatch)
    feeding.connect(0)
    feeding.read(40_000)
    old = feeding.progress.coverage.rules
    assert {old: [["1", "python", "posts/0"]]} == orjson.loads(feeding.written()[RULES])
    feeding.rules = (RULE, OTHER_RULE)
    feeding.connect(70_000, after="connection_lost")
    new = feeding.progress.coverage.rules
    kept = orjson.loads(feeding.written()[RULES])
    (gap,) = feeding.progress.coverage.gaps

    assert old == gap.rules != new
    assert {old: [["1", "python", "posts/0"]], new: [list(RULE), list(OTHER_RULE)]} == kept
    assert (RULE,) == feeding.progress.rules_in(gap)
    feeding.progress.close(gap, GapState.ACCEPTED)
    assert {new} == orjson.loads(feeding.written()[RULES]).keys()


def test_rules_of_a_gap_outlive_the_task(monkeypatch):
    """The next owner searches for what was in force, not for what it has been given since."""
    first = Feeding(monkeypatch)
    first.connect(0)
    first.read(40_000)
    second = Feeding(monkeypatch, first.written())
    second.rules = (OTHER_RULE,)
    second.connect(70_000)

    assert (RULE,) == second.progress.rules_in(second.progress.coverage.gaps[0])


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_rule_is_covered_from_when_x_holds_it_also_without_a_connection(monkeypatch, taken_over):
    """X has the new rules long before it lets us connect: that part of the gap is repaired with them, no other is."""
    feeding = Feeding(monkeypatch)
    feeding.connect(0)
    feeding.read(40_000)
    if taken_over:
        feeding = Feeding(monkeypatch, feeding.written())
    feeding.rules = (RULE, OTHER_RULE)
    for feeding.now in (50_000, 60_000):  # X's answers, before connects that it refuses
        feeding.progress.hold_rules()
    feeding.connect(70_000, after="connection_taken")
    old, new = feeding.progress.coverage.gaps

    assert [(25_000, 50_000), (50_000, 71_000)] == [(from_ms, to_ms) for from_ms, to_ms, *_ in feeding.gaps]
    assert ((RULE,), (RULE, OTHER_RULE)) == (feeding.progress.rules_in(old), feeding.progress.rules_in(new))
    assert ["connection_taken"] * 2 == [event.reason for event in feeding.said(GapOpened)]


@pytest.mark.parametrize(("held_at", "rules"), [(69_500, (RULE, OTHER_RULE)), (50_000, (RULE,))])
def test_a_gap_has_no_part_of_its_own_for_rules_of_a_moment_or_the_same_ones(feeding, held_at, rules):
    """X mostly lets us connect at once, and mostly holds what it held before."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.now, feeding.rules = held_at, rules
    feeding.progress.hold_rules()
    feeding.connect(70_000, after="connection_lost")

    assert [(25_000, 71_000, "connection_lost", "open")] == feeding.gaps


def test_rules_held_before_a_connection_say_nothing_of_the_next_outage(feeding):
    """They are those of the connection from then on."""
    feeding.connect(0)
    feeding.read(40_000)
    feeding.now, feeding.rules = 50_000, (OTHER_RULE,)
    feeding.progress.hold_rules()
    feeding.connect(70_000, after="connection_lost")
    feeding.rules = (RULE,)
    feeding.connect(80_000, after="connection_lost")

    assert [(25_000, 50_000), (50_000, 81_000)] == [gap[:2] for gap in feeding.gaps]


def test_unknown_rules_are_those_of_now(monkeypatch):
    """A gap of which nobody wrote down the rules is repaired with the ones there are."""
    feeding = with_gap(monkeypatch)

    assert (RULE,) == feeding.progress.rules_in(feeding.progress.coverage.gaps[0])


# -- repairs


def test_page_moves_the_repair(monkeypatch):
    """A page's posts are marked, counted and paid in the gap, which says how far down everything is there."""
    feeding = with_gap(monkeypatch, metered=True)
    result = feeding.put_page(0, 50_000, 40_000, down_to=40_000)
    (gap,) = feeding.progress.coverage.gaps

    assert [SourceRecord(key_of(made(ms)), post(made(ms)), T0 + ms, b"search") for ms in (50_000, 40_000)] == list(
        result.records
    )
    assert (GapState.REPAIRING, Way.SEARCH, first_id(T0 + 40_000)) == (gap.state, gap.way, gap.until_id)
    assert (2, 2, 10) == (gap.posts, gap.billed, gap.mills)
    assert 2 == feeding.progress.coverage.spent.posts
    assert feeding.progress.changed


def test_last_page_closes_the_gap(monkeypatch):
    """It is history then, with what its repair found and cost."""
    feeding = with_gap(monkeypatch, metered=True)
    feeding.put_page(0, 50_000, 40_000, down_to=40_000)
    feeding.put_page(0, 10_000, down_to=0)

    assert [] == feeding.gaps
    (closed,) = orjson.loads(feeding.written()[REPAIRED])
    assert {
        "from": to_iso(T0),
        "to": to_iso(T0 + 60_000),
        "reason": "connection_lost",
        "state": "repaired",
        "way": "search",
        "posts": 3,
        "billed": 3,
        "cost_usd": 0.015,
        "closed_at": to_iso(T0 + 200_000),
    } == closed
    assert [("search", 3, 0.015)] == [(each.way, each.posts, each.cost_usd) for each in feeding.said(GapRepaired)]


def test_posts_that_several_rules_found_are_paid_once(monkeypatch):
    """X bills an id once a day, and not at all what was delivered today."""
    feeding = with_gap(monkeypatch, metered=True)
    feeding.read(199_000, 55_000)
    ids = [id_of(made(ms)) for ms in (55_000, 50_000, 50_000, 61_000)]
    result = feeding.put_page(0, 55_000, 50_000, down_to=0, fetched=tuple(ids))

    assert ([id_of(made(50_000))], [id_of(made(55_000))]) == (result.ids, result.again)
    assert 2 == feeding.progress.closed[0].billed
    assert 3 == feeding.progress.coverage.spent.posts


def test_page_of_an_accepted_gap(monkeypatch):
    """Its posts are paid for and delivered; the gap stays what the operator made of it."""
    feeding = with_gap(monkeypatch, metered=True)
    feeding.progress.close(feeding.progress.coverage.gaps[0], GapState.ACCEPTED)
    result = feeding.put_page(0, 50_000, down_to=0)

    assert 1 == len(result.records)
    assert [] == feeding.gaps
    assert [GapState.ACCEPTED] == [gap.state for gap in feeding.progress.closed]
    assert ([], 1) == (feeding.said(GapRepaired), len(feeding.said(GapAccepted)))
    assert 1 == feeding.progress.coverage.spent.posts


def test_page_of_a_gap_that_has_grown(monkeypatch):
    """What came to a gap while it was searched was not searched: its posts are delivered, and no more is claimed."""
    feeding = Feeding(monkeypatch)
    feeding.connect(0)
    feeding.read(40_000)
    feeding.connect(70_000, after="connection_lost")
    end_id = feeding.progress.coverage.gaps[0].end_id
    feeding.connect(120_000, after="connection_lost")
    page = Page(
        from_ms=T0 + 25_000,
        end_id=end_id,
        way=Way.SEARCH,
        arrivals=(arrival(post(made(50_000))),),
        until_id=first_id(T0 + 25_000),
        fetched=(),
    )
    result = convert_page(feeding.progress, page, feeding.converter)

    assert 1 == len(result.records)
    assert [(25_000, 121_000, "connection_lost", "open")] == feeding.gaps
    assert feeding.progress.coverage.gaps[0].until_id is None


def test_rules_that_cannot_be_found(monkeypatch):
    """The gap is lost for them, with each reason, and keeps what was found for the others."""
    feeding = with_gap(monkeypatch)
    feeding.put_page(0, 50_000, down_to=0, unfound=("a: too long", "b: no operator of search"))
    (gap,) = feeding.progress.coverage.gaps

    assert (GapState.LOST, "a: too long; b: no operator of search", 1) == (gap.state, gap.detail, gap.posts)
    assert gap.until_id is None
    assert ["a: too long; b: no operator of search"] == [event.detail for event in feeding.said(GapLost)]
    assert () == feeding.progress.closed


def test_bad_line_of_a_page_leaves_the_gap(monkeypatch):
    """The task ends with it, and the next one repairs from where this page began."""
    feeding = with_gap(monkeypatch)
    before = feeding.progress.coverage
    page = Page(
        from_ms=T0,
        end_id=before.gaps[0].end_id,
        way=Way.SEARCH,
        arrivals=(arrival(post(made(50_000)), b"{}"),),
        until_id=first_id(T0),
    )
    result = convert_page(feeding.progress, page, feeding.converter)

    assert result.error is not None
    assert before == feeding.progress.coverage


def test_piece_of_a_replay_is_no_end(monkeypatch):
    """In the middle of an interval posts have no order, so nothing is claimed before its end."""
    feeding = with_gap(monkeypatch, metered=True)
    feeding.put_page(0, 10_000, 50_000, down_to=None, way=Way.RECOVERY)
    (gap,) = feeding.progress.coverage.gaps
    assert (GapState.REPAIRING, None, 2) == (gap.state, gap.until_id, gap.posts)
    feeding.put_page(0, down_to=30_000, way=Way.RECOVERY)

    assert first_id(T0 + 30_000) == feeding.progress.coverage.gaps[0].until_id


def test_history_is_bounded(monkeypatch):
    """The last hundred closed gaps are remembered, over restarts too."""
    gap = Gap(from_ms=0, to_ms=1, reason="connection_lost", state=GapState.REPAIRED, closed_ms=1)
    kept = {REPAIRED: orjson.dumps([gap.fields()] * KEPT_GAPS)}
    feeding = with_gap(monkeypatch, kept=kept)
    feeding.put_page(0, down_to=0)
    closed = orjson.loads(feeding.written()[REPAIRED])

    assert 100 == KEPT_GAPS == len(closed)
    assert to_iso(T0) == closed[-1]["from"]


# -- what has to be remembered


def test_ids_that_may_come_again(monkeypatch):
    """Those of the last six minutes of what is committed, and of the gap under repair with a minute around it."""
    feeding = with_gap(monkeypatch)
    assert [(0, 1 << 63)] == feeding.progress.id_ranges(Coverage())
    committed = Coverage(covered_from_ms=T0, covered_to_ms=T0 + 150_000)
    recent = (first_id(T0 + 150_000 - 360_000), 1 << 63)
    assert [recent] == feeding.progress.id_ranges(committed)
    (gap,) = feeding.progress.coverage.gaps
    feeding.progress.repairing = gap

    assert [recent, (first_id(T0 - 60_000), first_id(T0 + 120_000))] == feeding.progress.id_ranges(committed)


# -- what is written


def test_only_what_has_changed_is_written(monkeypatch):
    """The offset with every batch, rules and closed gaps when they are others than before."""
    feeding = Feeding(monkeypatch)
    feeding.connect(0)
    first = feeding.progress.writes(offset_key)
    second = feeding.progress.writes(offset_key)

    assert [KEYS[OFFSET], KEYS[RULES]] == [write.key for write in first]
    assert [KEYS[OFFSET]] == [write.key for write in second]
    assert not feeding.progress.changed


def test_no_two_offsets_are_alike(feeding):
    """A doubtful commit is recognised by its offset, also where nothing else has changed."""
    feeding.connect(0)
    values = [feeding.progress.writes(offset_key)[0].value for _ in range(3)]

    assert 3 == len(set(values))


GARBAGE = [
    ({OFFSET: b"nonsense"}, "is no source offset"),
    ({REPAIRED: b'[{"from": 7}]'}, "is no list of closed gaps"),
    ({REPAIRED: b"7"}, "is no list of closed gaps"),
    ({RULES: b"[]"}, "is no set of rules"),
    ({RULES: b'{"abc": [["1", "python"]]}'}, "is no set of rules"),
]


@pytest.mark.parametrize(("kept", "words"), GARBAGE)
def test_what_cannot_be_read_ends_the_task(monkeypatch, kept, words):
    """A person has to look, and is told the cure; a wrong position would lose posts silently."""
    with pytest.raises(FatalError, match=f"{words}: .*write a tombstone for its key into the offsets topic"):
        Feeding(monkeypatch, kept)


def test_page_with_a_bad_line_has_an_offset(monkeypatch):
    """What came before the line is delivered, and only an offset beside it tells later whether it is in the topic."""
    feeding = with_gap(monkeypatch)
    feeding.progress.writes(lambda *_: b"key")
    lines = (b'{"data":{"id":"%d"}}' % first_id(T0 + 50_000), b"no JSON")
    page = Page(
        from_ms=T0,
        end_id=first_id(T0 + 60_000),
        way=Way.SEARCH,
        arrivals=(arrival(*lines),),
        until_id=first_id(T0 + 40_000),
    )
    result = convert_page(feeding.progress, page, feeding.converter)

    assert (1, True) == (len(result.records), result.error is not None)
    assert feeding.progress.changed
    assert first_id(T0 + 60_000) == feeding.progress.coverage.gap_at(T0).end_id
