"""
Nothing lost, and proof: faults of every kind, and at the end each post is in the topic, once.

For each way of repair three workers on real Kafka follow a simulator through a script of faults; tests/chaos says
how.  When the last gap has closed, the ids in the topic are those that the simulator emitted and that matched, none of
them twice, each with the rules that it matched; and while something was wrong, /coverage said so: what was missed lay
inside the gaps that it showed, and they were no longer than that.  Where search is forbidden, what is missing lies
inside the gaps that are shown as lost.

    make chaos                                 10 minutes of faults for each way
    make chaos ARGS='-k backfill' CONNECTOR_CHAOS_MINUTES=30
    make chaos CONNECTOR_CHAOS_SEED=7          other faults in another order
    make chaos CONNECTOR_CHAOS_REAL_TIMES=1    X's own times: an hour or more for each way

Without CONNECTOR_CHAOS_MINUTES each way has two or three faults of its own, together all kinds but one (a frozen
broker), and all takes some six minutes.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from connector.simulator import Emission, SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.chaos.alone import CONNECTOR, WORKERS, worker_settings
from tests.chaos.sightings import Gap, Shown, Sighting, Watch
from tests.chaos.stage import Outage, Stage, script
from tests.chaos.times import COMPRESSED, REAL, simulator_settings
from tests.workers import Worker, Workers

MINUTES = float(os.environ.get("CONNECTOR_CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("CONNECTOR_CHAOS_SEED", "1"))
TIMES = REAL if os.environ.get("CONNECTOR_CHAOS_REAL_TIMES") == "1" else COMPRESSED
LONGEST_SECS = MINUTES * 60 + 2 * (TIMES.down + TIMES.unreachable) + TIMES.closing + 900

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(LONGEST_SECS)]

EARLY_SECS = 10.0
"""A gap begins at most so long, and the time to settle, before its fault: what was not committed yet is not claimed."""

LATE_SECS = 5.0
"""A gap ends at most so long after the connect: the margin between two clocks."""

LONG_SECS = 3.0
"""An outage of this length has to be seen while it is a gap, not only among those repaired."""

SHOWS_ITSELF = frozenset({"unreachable", "refuse"})
"""Faults of X that go on while a worker lives who knows of them."""

FORBIDDEN_SECS = 1e6
FOR_EXAMPLE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of repair: the plan that has it, what else leads to it, its faults if there is no time for all."""

    name: str
    plan: str
    simulated_plan: str
    settings: dict[str, object] = field(default_factory=dict)
    short: tuple[str, ...]

    @property
    def leads_to(self) -> frozenset[str]:
        """Values of the header `source`: an enterprise account has all ways, and may need another one."""
        if self.plan == "pay_per_use":
            return frozenset({"search"})
        ways = frozenset({"backfill", "recovery", "search"})
        return ways - {"backfill"} if self.name == "recovery" else ways


SEARCH = Way(
    name="search",
    plan="pay_per_use",
    simulated_plan="ppu",
    short=("reset_mid_line", "all_down", "kill"),
)
BACKFILL = Way(
    name="backfill",
    plan="enterprise",
    simulated_plan="enterprise",
    short=("disconnect", "freeze_worker", "refuse"),
)
RECOVERY = Way(
    name="recovery",
    plan="enterprise",
    simulated_plan="enterprise",
    settings={"backfill_max_minutes": 0},
    short=("terminate", "unreachable", "restart_broker"),
)
FORBIDDEN = Way(
    name="forbidden",
    plan="pay_per_use",
    simulated_plan="ppu",
    short=("close_cleanly", "stall"),
)


@dataclass(slots=True)
class Truth:
    """What the simulator emitted that matched rules."""

    rules: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    """Ids and tags of the rules of each post."""
    arrived: set[str] = field(default_factory=set)
    """Ids that a kernel took whole for a live connection, be it as a duplicate."""

    @classmethod
    def of(cls, emissions: Iterable[Emission]) -> "Truth":
        truth = cls()
        for emission in emissions:
            truth.rules[emission.post_id] = frozenset(zip(emission.rule_ids, emission.tags, strict=True))
            if emission.complete and emission.origin in ("live", "duplicate"):
                truth.arrived.add(emission.post_id)
        return truth


@dataclass(slots=True, kw_only=True)
class Play:
    """What was done, what was claimed, what was so."""

    way: Way
    outages: list[Outage]
    shown: dict[int, Shown]
    """Each gap by its begin (UNIX milliseconds)."""
    begins: set[int]
    """What was said to be the begin of coverage."""
    final: Sighting
    complaint: str | None
    """Why the end did not come."""
    emissions: list[Emission]
    truth: Truth
    found: topics.Contents
    first_connect: float
    exits: list[int]
    events: Counter[str]

    @property
    def missing(self) -> list[str]:
        """Ids that are not in the topic though they were made while there was coverage."""
        begin = self.final.covered_from_ms
        return [
            post_id
            for post_id in self.truth.rules
            if post_id not in self.found.places and topics.created_ms(post_id) >= begin
        ]

    def shown_for(self, outage: Outage) -> list[Shown]:
        """Return the gaps that were shown first after this fault began and before the next one."""
        until = min((other.began for other in self.outages if other.began > outage.began), default=time.time())
        return [shown for shown in self.shown.values() if outage.began <= shown.first_at < until]

    def missed_in(self, outage: Outage) -> list[str]:
        """Return ids that the stream brought to nobody during this fault, by the simulator's log."""
        first, beyond = outage.emissions
        return [
            emission.post_id
            for emission in self.emissions[first:beyond]
            if emission.outcome in ("missed", "cut")
            and emission.origin in ("live", "duplicate")
            and emission.post_id not in self.truth.arrived
            and topics.created_ms(emission.post_id) >= self.final.covered_from_ms
        ]

    def repaired_in(self, gaps: Iterable[Gap]) -> Counter[str]:
        """Return how many posts of *gaps* came by which way of repair."""
        gaps = list(gaps)
        return Counter(
            place.source
            for place in self.found.places.values()
            if place.source and any(place.timestamp_ms in gap for gap in gaps)
        )


# -- playing


@pytest.mark.parametrize("way", [SEARCH, BACKFILL, RECOVERY], ids=lambda way: way.name)
def test_nothing_is_lost(
    way: Way,
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each post that matched while there was coverage is in the topic, once, and every gap was shown and closed."""
    simulator = simulate(**simulator_settings(TIMES, way.simulated_plan, SEED))
    play = _play(way, simulator, frail_broker, workers, fresh, done=lambda seen: not seen.gaps)
    with capsys.disabled():
        _tell(play)

    _assert_common(play)
    assert [] == _named(play.missing), f"{len(play.missing)} posts are missing"
    assert [] == _not_in_history(play)
    assert play.repaired_in(play.final.repaired)[way.name] > 0
    assert play.events["gap.repaired"] > 0


def test_what_is_missing_is_shown(
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Search is forbidden (403), there is no other way: what is missing lies inside the gaps shown as lost."""
    simulator = simulate(**simulator_settings(TIMES, FORBIDDEN.simulated_plan, SEED))
    simulator.fault("E403c", on="search", seconds=FORBIDDEN_SECS)

    def done(seen: Sighting) -> bool:
        return {gap.state for gap in seen.gaps} == {"lost"}

    play = _play(FORBIDDEN, simulator, frail_broker, workers, fresh, done=done)
    with capsys.disabled():
        _tell(play)
    gaps = play.final.gaps
    outside = [post_id for post_id in play.missing if not any(topics.created_ms(post_id) in gap for gap in gaps)]

    _assert_common(play)
    assert [] == _named(outside), f"{len(outside)} posts are missing outside the gaps {'; '.join(map(str, gaps))}"
    assert play.missing
    assert [] == [str(gap) for gap in gaps if not gap.detail], "lost, and it is not said why"
    assert () == play.final.repaired
    assert play.events["gap.lost"] > 0


def _play(
    way: Way,
    simulator: SimulatorThread,
    broker: KafkaBroker,
    workers: Workers,
    name: str,
    *,
    done: Callable[[Sighting], bool],
) -> Play:
    settings = worker_settings(TIMES, broker, simulator.url, name, plan=way.plan, recovery="auto", **way.settings)
    rng = random.Random(f"{SEED} {way.name}")
    start = partial(workers.start, settings)
    stage = Stage(simulator, broker, start, TIMES, rng, size=WORKERS, names=[CONNECTOR])
    with Watch(lambda: list(stage.alive), CONNECTOR) as watch:
        stage.open()
        for fault in script(rng, MINUTES) if MINUTES else way.short:
            stage.do(fault)
        last_ms = stage.fall_silent() * 1000
        final, complaint = watch.wait(
            CONNECTOR, lambda seen: seen.covered_to_ms >= last_ms and done(seen), TIMES.closing
        )
    exits = [worker.stop() for worker in stage.alive]
    emissions = list(simulator.emissions)
    return Play(
        way=way,
        outages=stage.outages,
        shown=watch.told[CONNECTOR].shown,
        begins=watch.told[CONNECTOR].begins,
        final=final,
        complaint=complaint,
        emissions=emissions,
        truth=Truth.of(emissions),
        found=topics.contents(broker, name),
        first_connect=simulator.connections[0].opened_at,
        exits=exits,
        events=_gap_events(workers.all),
    )


def _gap_events(group: Iterable[Worker]) -> Counter[str]:
    names = ("gap.opened", "gap.repaired", "gap.lost")
    return Counter({name: sum(len(worker.events(name)) for worker in group) for name in names})


# -- comparing


def _assert_common(play: Play) -> None:
    found, truth = play.found, play.truth
    wrong_rules = {
        post_id: (sorted(place.rules), sorted(truth.rules[post_id]))
        for post_id, place in found.places.items()
        if post_id in truth.rules and place.rules != truth.rules[post_id]
    }
    unmarked = [
        post_id for post_id, place in found.places.items() if place.source is None and post_id not in truth.arrived
    ]
    sources = {place.source for place in found.places.values()} - {None}
    untrue = [problem for outage in play.outages for problem in _untrue(play, outage)]
    counted = sum(gap.posts for gap in (*play.final.repaired, *play.final.gaps))

    assert play.complaint is None
    assert [0] * len(play.exits) == play.exits
    assert [] == _named(found.strange)
    assert [] == _named(found.doubled), f"{len(found.doubled)} posts are doubled"
    assert [] == _named(topics.never_emitted(play.emissions, found))
    assert {} == dict(list(wrong_rules.items())[:FOR_EXAMPLE]), f"{len(wrong_rules)} posts: in the topic, in truth"
    assert [] == _named(unmarked), f"{len(unmarked)} posts came on no live connection and have no `source`"
    assert sources <= play.way.leads_to
    assert 0 == sum(emission.outcome == "dropped" for emission in play.emissions)
    assert counted == sum(place.source is not None for place in found.places.values())
    assert {play.final.covered_from_ms} == play.begins
    assert play.final.covered_from_ms <= (play.first_connect + LATE_SECS) * 1000, "coverage begins late"
    assert [] == untrue, "\n".join(untrue)
    assert [] == _gaps_before_the_first_fault(play)
    assert play.events["gap.opened"] > 0


def _untrue(play: Play, outage: Outage) -> list[str]:
    """Return in what /coverage did not show exactly this outage."""
    shown = play.shown_for(outage)
    gaps = _merged(one.gap for one in shown)
    unshown = [p for p in play.missed_in(outage) if not any(topics.created_ms(p) in gap for gap in gaps)]
    end = outage.reconnected or outage.ended
    earliest_ms = (outage.began - TIMES.settle - EARLY_SECS) * 1000
    problems = []
    if unshown:
        problems.append(f"{len(unshown)} posts were missed outside of what was shown, {_named(unshown)}")
    problems += [f"begins before the fault: {gap}" for gap in gaps if gap.from_ms < earliest_ms]
    problems += [f"ends after the connect: {gap}" for gap in gaps if gap.to_ms > (end + LATE_SECS) * 1000]
    if outage.reconnected is None and gaps:
        problems.append("the connection is the one of before")
    if outage.secs >= LONG_SECS and not any(one.as_gap for one in shown):
        problems.append("it was never seen as a gap")
    if outage.fault in SHOWS_ITSELF and not any(outage.began < at < end for one in shown for at in one.open_at):
        problems.append("it was not shown while it lasted")
    told = f"{outage.fault} ({topics.ms_iso(round(outage.began * 1000))}, {outage.secs:.1f} s)"
    by = ", ".join(sorted({name for one in shown for name in one.workers}))
    said = f"shown by {by}: {'; '.join(map(str, gaps))}" if gaps else "no gap was shown"
    return [f"{told}: {problem}; {said}" for problem in problems]


def _gaps_before_the_first_fault(play: Play) -> list[str]:
    begin = min(outage.began for outage in play.outages)
    return [str(one.gap) for one in play.shown.values() if one.first_at < begin]


def _not_in_history(play: Play) -> list[str]:
    """
    Return the gaps that were shown and are not among those repaired at the end, which are the last 100.

    An outage that goes on may be shown to begin a little earlier or later than the gap that it becomes.
    """
    kept = play.final.repaired
    oldest_ms = min((gap.from_ms for gap in kept), default=0)
    return [
        str(one.gap)
        for one in play.shown.values()
        if one.gap.to_ms >= oldest_ms and not any(_touch(one.gap, gap) for gap in kept)
    ]


def _touch(one: Gap, other: Gap) -> bool:
    return one.from_ms <= other.to_ms and other.from_ms <= one.to_ms


def _merged(gaps: Iterable[Gap]) -> list[Gap]:
    """Return *gaps* by time; those that touch are one, with the state of the last of them."""
    merged: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: (gap.from_ms, gap.to_ms)):
        if merged and _touch(merged[-1], gap):
            last = merged.pop()
            merged.append(replace(gap, from_ms=last.from_ms, to_ms=max(last.to_ms, gap.to_ms)))
        else:
            merged.append(gap)
    return merged


def _named(ids: Iterable[str]) -> list[str]:
    """Return the first of *ids* with the times in them."""
    chosen = sorted(ids, key=int)[:FOR_EXAMPLE]
    return [f"{post_id} of {topics.ms_iso(topics.created_ms(post_id))}" for post_id in chosen]


# -- telling


def _tell(play: Play) -> None:
    begin = play.outages[0].began
    sources = Counter(place.source or "live" for place in play.found.places.values())
    missing = play.missing
    told = [
        f"{play.way.name}: {len(play.outages)} faults, {len(play.truth.rules)} posts matched",
        f"{len(missing)} missing, {play.found.doubled.total()} doubled",
        *(f"{count} {name}" for name, count in sorted((sources + play.events).items())),
    ]
    lines = [
        "",
        ", ".join(told),
        "",
        "| fault | at, s | without a stream, s | gap shown, s | missed | repaired | missing | closed after, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for outage in play.outages:
        shown = play.shown_for(outage)
        gaps = [one.gap for one in shown]
        cells = (
            outage.fault,
            f"{outage.began - begin:.0f}",
            "-" if outage.reconnected is None else f"{outage.secs:.1f}",
            ", ".join(f"{(gap.to_ms - gap.from_ms) / 1000:.1f}" for gap in _merged(gaps)) or "-",
            len(play.missed_in(outage)),
            ", ".join(f"{count} by {way}" for way, count in play.repaired_in(gaps).items()) or 0,
            sum(any(topics.created_ms(post_id) in gap for gap in gaps) for post_id in missing),
            _closed_after(outage, shown),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    print("\n".join(lines))  # noqa: T201


def _closed_after(outage: Outage, shown: list[Shown]) -> str:
    """Return how long after the connect the last of these gaps was among those repaired."""
    closed = [one.repaired_at for one in shown if one.repaired_at is not None]
    return f"{max(closed) - (outage.reconnected or outage.ended):.1f}" if closed else "-"
