"""
Three connectors on one stream that come and go, while faults of every kind happen: what each topic holds in the end.

Two workers on real Kafka follow one simulator.  At random moments each connector is created, paused, resumed, changed,
stopped, restarted and deleted over REST (tests/chaos/members.py), while connections break, X is away, workers die and
freeze, Kafka is restarted, and lines come that are no posts.  Their rules overlap, and one rule may be wanted by two.

In the end each topic has every post that matched a rule of its connector while X held it for that connector, once,
and no post of another's rules.  What a connector missed while it was paused, stopped or deleted is a gap of its own,
repaired by search.  No gap is without a cause, and no time that was said to be covered
becomes a gap.

    make chaos ARGS='-k three' CONNECTOR_CHAOS_MINUTES=10
    make chaos ARGS='-k three' CONNECTOR_CHAOS_SEED=7

Without CONNECTOR_CHAOS_MINUTES there are four faults, and it takes some 90 s.
"""

import contextlib
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from connector.simulator import SimulatorThread
from connector.simulator.posts.post import facts
from connector.simulator.rules.grammar import parse
from connector.simulator.rules.matching import RuleIndex
from tests import topics
from tests.brokers import KafkaBroker
from tests.chaos.members import PARTS, VALUES, Member, shared_settings
from tests.chaos.sightings import Sighting, Told, Watch
from tests.chaos.stage import FAULTS, Stage, script
from tests.chaos.times import COMPRESSED, simulator_settings
from tests.chaos.wanted import Act, Labels, Verdict, judge, spans
from tests.workers import Workers

MINUTES = float(os.environ.get("CONNECTOR_CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("CONNECTOR_CHAOS_SEED", "1"))
TIMES = COMPRESSED
LONGEST_SECS = MINUTES * 60 + 2 * (TIMES.down + TIMES.unreachable) + TIMES.closing + 900

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(LONGEST_SECS)]

WORKERS = 2
RATE = 200
SHORT = ("reset_mid_line", "kill", "bad_line", "restart_broker")
LONG = (*FAULTS, "bad_line")

BEFORE_SECS = TIMES.settle + 10.0
"""A gap begins at most so long before its cause: what was not committed yet is not claimed."""

LONG_REST_SECS = 2.0
"""A pause of this length has to be seen as a gap."""

AWAY = {"pause": ("resume", "paused"), "stop": ("resume", "paused"), "delete": ("create", "not_running")}
"""What a connector is not there after, what brings it back, and the reason of the gap."""

KEPT_GAPS = 100
FOR_EXAMPLE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A fault, from its begin until coverage went on beyond it (UNIX seconds)."""

    fault: str
    began: float
    over: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one connector."""

    member: Member
    told: Told
    final: Sighting
    complaint: str | None
    found: topics.Contents
    counted: int
    """How many posts its source offset counts."""
    verdict: Verdict

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def sources(self) -> Counter[str]:
        return Counter(place.source or "live" for place in self.found.places.values())


def test_three_come_and_go(
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each topic holds its connector's posts and no others, once; what a connector missed alone is its own gap."""
    settings = simulator_settings(TIMES, "ppu", SEED)
    limits = {"filtered_stream": 10_000, "search_recent": 100_000, "rules_post": 100_000, "rules_get": 100_000}
    # posts go on that match the rules of those who are away
    simulator = simulate(**settings | {"rate": RATE, "match_rules": False, "rate_limits": limits})
    stage, watch, members = _stage(simulator, frail_broker, workers, fresh)
    windows, finals = _play(stage, watch, members)
    exits = [worker.stop() for worker in stage.alive]
    arrived = {each.post_id for each in simulator.emissions if each.complete and each.origin in ("live", "duplicate")}
    posts = _posts(simulator)
    counted = {key.split('"')[1]: value["posts"] for key, value in topics.offsets(frail_broker, fresh).items()}
    outcomes = [
        _outcome(member, watch, finals[member.name], frail_broker, counted[member.name], posts) for member in members
    ]
    with capsys.disabled():
        _tell(outcomes, windows)

    assert [None] * len(outcomes) == [outcome.complaint for outcome in outcomes]
    assert [0] * len(exits) == exits
    wrong = "\n".join(filter(None, map(_wrong, outcomes)))
    assert not wrong, f"\n{wrong}"
    for outcome in outcomes:
        _assert_topic(outcome, arrived)
        _assert_coverage(outcome, windows)
    assert any("paused" in shown.reasons for outcome in outcomes for shown in outcome.told.shown.values())
    _assert_dead_letters(frail_broker, fresh, windows)


# -- playing


def _stage(
    simulator: SimulatorThread, broker: KafkaBroker, workers: Workers, fresh: str
) -> tuple[Stage, Watch, list[Member]]:
    names = [part.name for part in PARTS]
    start = partial(workers.start, shared_settings(TIMES, broker, fresh))
    rng = random.Random(f"{SEED} shared")
    stage = Stage(simulator, broker, start, TIMES, rng, size=WORKERS, names=names)
    watch = Watch(lambda: list(stage.alive), *names)
    members = [Member(part, stage, watch, topic=f"{fresh}-{part.name}", seed=str(SEED)) for part in PARTS]
    return stage, watch, members


def _play(
    stage: Stage, watch: Watch, members: Sequence[Member]
) -> tuple[list[Window], dict[str, tuple[Sighting, str | None]]]:
    """Return the faults, and what was said of each connector in the end."""
    windows = []
    with contextlib.ExitStack() as stack:
        stage.raise_curtain()
        stack.enter_context(watch)
        for member in members:
            stack.enter_context(member)
        stage.settle(time.time())
        for fault in script(stage.rng, MINUTES, LONG) if MINUTES else SHORT:
            began = time.time()
            stage.do(fault)
            windows.append(Window(fault=fault, began=began, over=time.time()))
            for member in members:
                member.check()
        for member in members:
            member.come_to_rest()
        last_ms = stage.fall_silent() * 1000

        def is_over(seen: Sighting) -> bool:
            return seen.covered_to_ms >= last_ms and not seen.gaps

        finals = {member.name: watch.wait(member.name, is_over, TIMES.closing) for member in members}
    return windows, finals


def _posts(simulator: SimulatorThread) -> dict[int, tuple[int, Labels]]:
    """Return each post that was made, with its time (ms) and the labels of all the rules that it matches."""
    index = RuleIndex((label, parse(value)) for label, value in VALUES.items())
    return {
        post.id: (topics.created_ms(str(post.id)), frozenset(index.match(facts(post))))
        for post in simulator.simulator.store.newest_first(0, 1 << 63)
    }


def _outcome(
    member: Member,
    watch: Watch,
    final: tuple[Sighting, str | None],
    broker: KafkaBroker,
    counted: int,
    posts: dict[int, tuple[int, Labels]],
) -> Outcome:
    seen, complaint = final
    found = topics.contents(broker, member.topic)
    return Outcome(
        member=member,
        told=watch.told[member.name],
        final=seen,
        complaint=complaint,
        found=found,
        counted=counted,
        verdict=judge(posts, set(map(int, found.places)), spans(member.history, seen.covered_from_ms)),
    )


# -- comparing


def _assert_topic(outcome: Outcome, arrived: set[str]) -> None:
    name, found, verdict = outcome.name, outcome.found, outcome.verdict
    unmarked = [post_id for post_id, place in found.places.items() if not place.source and post_id not in arrived]

    assert [] == _named(found.strange)
    assert [] == _named(found.doubled), f"{name}: {len(found.doubled)} posts are doubled"
    assert [] == _named(unmarked), f"{name}: {len(unmarked)} posts came on no connection and have no `source`"
    assert {"live", "search"} >= outcome.sources.keys()
    assert len(found.places) == outcome.counted
    assert verdict.sure > 0


def _assert_coverage(outcome: Outcome, windows: Sequence[Window]) -> None:
    name, told = outcome.name, outcome.told
    gaps = [shown.gap for shown in told.shown.values()]
    outside = [
        post_id
        for post_id, place in outcome.found.places.items()
        if place.source and not any(place.timestamp_ms in gap for gap in gaps)
    ]

    assert [] == _named(outside), f"{name}: {len(outside)} posts were repaired outside of the gaps that were shown"
    assert [] == [str(gap) for gap in told.taken_back], f"{name}: was said to be covered before"
    assert {outcome.final.covered_from_ms} == told.begins
    assert [] == _without_cause(outcome, windows)
    assert [] == _not_shown(outcome, windows)
    if len(outcome.final.repaired) < KEPT_GAPS:
        assert sum(gap.posts for gap in outcome.final.repaired) == outcome.sources["search"]


def _without_cause(outcome: Outcome, windows: Sequence[Window]) -> list[str]:
    """Return the gaps in whose time there was no fault, nothing was asked, and no rule moved to another's tag."""
    history = outcome.member.history
    causes = [(window.began, window.over) for window in windows]
    for act in history.acts:
        firm = history.firm_after(act.began)
        causes.append((act.began, time.time() if firm is None else firm.at))
    return [
        f"{outcome.name}: {shown.gap} ({', '.join(sorted(shown.reasons))})"
        for shown in outcome.told.shown.values()
        if "rules" not in shown.reasons
        and not any(
            (began - BEFORE_SECS) * 1000 <= shown.gap.to_ms and shown.gap.from_ms <= over * 1000
            for began, over in causes
        )
    ]


def _not_shown(outcome: Outcome, windows: Sequence[Window]) -> list[str]:
    """Return the times in which nothing but its absence happened, and of which no gap for that reason was shown."""
    acts = outcome.member.history.acts
    missed = []
    for gone, back in itertools.pairwise(acts):
        comes_back, reason = AWAY.get(gone.kind, ("", ""))
        if back.kind != comes_back or back.began - gone.done < LONG_REST_SECS:
            continue
        if not outcome.member.history.firm_before(gone) or _disturbed(outcome, gone, back, windows):
            continue
        middle_ms = round((gone.done + back.began) * 500)
        shown = [each for each in outcome.told.shown.values() if middle_ms in each.gap]
        if not any(reason in each.reasons for each in shown):
            told = "; ".join(f"{each.gap} ({', '.join(sorted(each.reasons))})" for each in shown) or "no gap"
            missed.append(f"{outcome.name}: {gone.kind} at {topics.ms_iso(round(gone.began * 1000))}: {told}")
    return missed


def _disturbed(outcome: Outcome, gone: Act, back: Act, windows: Sequence[Window]) -> bool:
    firm = outcome.member.history.firm_after(back.began)
    until = time.time() if firm is None else firm.at
    return any(window.began <= until and gone.began - BEFORE_SECS <= window.over for window in windows)


def _assert_dead_letters(broker: KafkaBroker, fresh: str, windows: Sequence[Window]) -> None:
    """A line that is no post is kept aside for the connector that tolerates it, once, unless it was away."""
    lines = sum(window.fault == "bad_line" for window in windows)
    tolerant = next(part for part in PARTS if part.settings)
    letters = topics.read(broker, f"{fresh}-{tolerant.name}-dead")

    assert len(letters) <= lines
    assert {tolerant.name.encode()} >= {dict(letter.headers)["connector"] for letter in letters}


def _named(ids: Iterable[str]) -> list[str]:
    """Return the first of *ids* with the times in them."""
    chosen = sorted(ids, key=int)[:FOR_EXAMPLE]
    return [f"{post_id} of {topics.ms_iso(topics.created_ms(post_id))}" for post_id in chosen]


def _wrong(outcome: Outcome) -> str:
    """Return the first of the posts that are missing or of others, and what was asked of the connector meanwhile."""
    verdict, places = outcome.verdict, outcome.found.places
    if not verdict.missing and not verdict.strays:
        return ""
    strays = [
        f"{each}, {places[each].source or 'live'}, {sorted(tag for _, tag in places[each].rules)}"
        for each in map(str, verdict.strays[:FOR_EXAMPLE])
    ]
    return "\n".join(
        [
            f"{outcome.name}: {len(verdict.missing)} posts are missing, {len(verdict.strays)} are of others",
            *_named(map(str, verdict.missing)),
            *strays,
            *_asked(outcome),
        ]
    )


# -- telling


def _asked(outcome: Outcome) -> list[str]:
    """Return what was asked of the connector, from when on it surely read, and what was shown, by time."""
    history = outcome.member.history
    lines = [
        (act.began, f"{act.kind} until {_clock(act.done)}: {', '.join(sorted(act.rules))}") for act in history.acts
    ]
    lines += [(firm.at, f"sure since {topics.ms_iso(firm.claimed_ms)}") for firm in history.firms]
    lines += [(one.first_at, f"{one.gap} ({', '.join(one.reasons)})") for one in outcome.told.shown.values()]
    return [f"  {_clock(at)} {what}" for at, what in sorted(lines)]


def _clock(at: float) -> str:
    return topics.ms_iso(round(at * 1000))


def _tell(outcomes: Sequence[Outcome], windows: Sequence[Window]) -> None:
    faults = ", ".join(f"{window.fault} ({window.over - window.began:.0f} s)" for window in windows)
    lines = [
        "",
        f"three on one stream, seed {SEED}: {faults}",
        "",
        "| connector | asked | sure posts | in the topic | live | by search | missing | of others | doubled | gaps |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        asked = Counter(act.kind for act in outcome.member.history.acts)
        cells = (
            outcome.name,
            ", ".join(f"{count} {kind}" for kind, count in asked.items()),
            outcome.verdict.sure,
            len(outcome.found.places),
            outcome.sources["live"],
            outcome.sources["search"],
            len(outcome.verdict.missing),
            len(outcome.verdict.strays),
            outcome.found.doubled.total(),
            _reasons(outcome.told.shown.values()),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "answers: " + "; ".join(f"{each.name} {dict(each.member.answers)}" for each in outcomes)]
    print("\n".join(lines))  # noqa: T201


def _reasons(shown: Iterable[object]) -> str:
    counts = Counter(reason for each in shown for reason in each.reasons)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
