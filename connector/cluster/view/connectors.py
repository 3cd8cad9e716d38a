"""One connector as an operator sees it: state, tasks, covered time, gaps and money."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.cluster.coverage import GOES_ON, SILENT
from connector.cluster.view import money
from connector.cluster.view.terms import Terms
from connector.coverage.offset import Coverage
from connector.coverage.spend import MILLS, Spend
from connector.records.record import BUDGET
from connector.records.snowflake import from_iso, to_iso
from connector.task.status import State

GAPS_MAX, CLOSED_MAX = 200, 100
TRACE_CHARACTERS_MAX = 2_000

BEHIND_STEP_SECS = 5
"""How far a connector is behind is told in steps (seconds), so that it need not be told each second."""

KINDS_OF: Mapping[str, tuple[str, ...]] = {
    State.FAILED: ("task.failed",),
    State.PAUSED: ("task.paused", "connector.paused"),
    State.STOPPED: ("connector.stopped",),
    State.RUNNING: ("task.started", "stream.joined"),
    State.UNASSIGNED: ("task.stopped",),
}
"""The events with which a state begins."""

KINDS_OF_DELIVERY = (*KINDS_OF[State.RUNNING], "connector.resumed", "stream.connected", "delivery.resumed")
"""The events after which a connector delivers, again or for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """What the offsets of a connector say, decoded once for each of their versions."""

    posts: int = 0
    dead_letters: int = 0
    spends: tuple[Spend, ...] = ()
    covered: Mapping[str, Any] = field(default_factory=dict)
    """What `cluster.coverage.coverage_of` returned."""
    gaps: Sequence[Mapping[str, Any]] = ()
    closed: Sequence[Mapping[str, Any]] = ()
    missing_secs: float = 0.0
    count: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a connector delivers and costs, by the last day; None where that is not known."""

    posts_per_sec: float | None = None
    mills_per_hour: float | None = None


def offsets_of(values: Sequence[bytes], covered: Mapping[str, Any], terms: Terms, pace: Pace) -> Offsets:
    """Return what the offsets *values* and *covered* say; an offset that cannot be read counts nothing."""
    decoded = []
    for value in values:
        try:
            decoded.append(Coverage.decode(value))
        except ValueError:  # its task FAILS, and says so
            continue
    gaps = [gap_of(gap, terms, pace) for gap in covered["gaps"]]
    states = [gap["state"] for gap in gaps]
    return Offsets(
        posts=sum(each.posts for each in decoded),
        dead_letters=sum(each.dead_letters for each in decoded),
        spends=tuple(each.spent for each in decoded),
        covered=covered,
        gaps=gaps[-GAPS_MAX:],
        closed=sorted(map(closed_of, covered["repaired"][-CLOSED_MAX:]), key=lambda gap: str(gap["from"])),
        missing_secs=round(sum(gap["seconds"] for gap in gaps), 1),
        count={state: states.count(state) for state in ("open", "repairing", "lost")},
    )


def gap_of(gap: Mapping[str, Any], terms: Terms, pace: Pace) -> dict[str, Any]:
    """Return a gap of `coverage_of` as it is shown, with what a repair may bring and cost."""
    goes_on, seconds = gap["detail"] == GOES_ON, _seconds(gap)
    posts = None if pace.posts_per_sec is None else round(pace.posts_per_sec * seconds)
    return {
        "from": gap["from"],
        "to": gap["to"],
        "seconds": seconds,
        "reason": gap["reason"],
        "state": gap["state"],
        "goes_on": goes_on,
        "partition": gap.get("partition"),
        "way": gap.get("way"),
        "posts": gap["posts"],
        "cost_usd": gap["cost_usd"],
        "doing": _doing(gap, goes_on=goes_on),
        "estimate_posts": posts,
        "estimate_usd": None if posts is None else round(posts * terms.budget.mills_each / MILLS, 3),
        "can_retry": not goes_on and gap["state"] != "repairing",
        "can_accept": not goes_on,
    }


def closed_of(gap: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gap that was closed as it is shown."""
    names = ("from", "to", "reason", "state", "posts", "cost_usd", "closed_at")
    return {name: gap.get(name) for name in (*names, "way", "partition")} | {"seconds": _seconds(gap)}


def _seconds(gap: Mapping[str, Any]) -> float:
    return round((from_iso(gap["to"]) - from_iso(gap["from"])) / 1000, 1)


def _doing(gap: Mapping[str, Any], *, goes_on: bool) -> str:
    if goes_on:
        heard = "Nothing is heard of its task" if gap["reason"] == SILENT else "Nobody listens at present"
        if gap["reason"] == BUDGET:
            return "The budget is spent. Its posts are loaded only if you ask for that, with Retry, as they cost, too."
        return f"{heard}; it is repaired once there is a connection again."
    if gap["state"] == "lost":
        return f"It is lost: {gap['detail'] or 'X offers no way to repair it'}."
    if gap["state"] == "repairing":
        return f"It is being repaired by {gap.get('way') or 'search'}."
    return f"It waits for its repair: {gap['detail']}." if gap["detail"] else "It waits for its repair."


def delivers_since(shown: Mapping[str, Any], resumed_ms: int | None) -> str | None:
    """
    Return since when the connector *shown* has delivered and lacked nothing, if it does now; None if it does not.

    *resumed_ms* is when there was last an event of `KINDS_OF_DELIVERY` (UNIX ms).
    """
    if not shown["connected"] or shown["gaps"]:
        return None
    closed = [gap["closed_at"] for gap in shown["closed"] if gap["closed_at"] is not None]
    resumed = [] if resumed_ms is None else [to_iso(resumed_ms)]
    begun = [] if shown["covered_from"] is None else [shown["covered_from"]]
    return max([*closed, *resumed, *begun], default=None)


def connector_of(
    status: Mapping[str, Any],
    shared: Mapping[int, Any],
    offsets: Offsets,
    terms: Terms,
    *,
    pace: Pace,
    posts_per_sec: float | None,
    now_ms: int,
) -> dict[str, Any]:
    """
    Return a connector as it is shown.

    *status* is Connect's, *shared* has the `SharedStatus` of each task that told one.
    """
    tasks = {str(task["id"]): _task(task, shared.get(task["id"])) for task in status["tasks"]}
    state = state_of(status)
    covered_to = offsets.covered["covered_to"]
    behind = None if covered_to is None else max((now_ms - from_iso(covered_to)) / 1000, 0.0)
    failed = next((task for task in tasks.values() if task["trace"]), None)
    details = dict.fromkeys(task["detail"] for task in tasks.values() if task["detail"])
    outages = [outage for each in shared.values() for outage in each.status.outages]
    return {
        "state": state,
        "detail": " ".join(details) or offsets.covered.get("error"),
        "trace": _cut(status["connector"].get("trace") or (failed["trace"] if failed else None)),
        "stream": terms.stream,
        "topic": terms.topic,
        "delivery": terms.delivery,
        "tasks": tasks,
        "connected": state == State.RUNNING and not outages and any(task["connections"] for task in tasks.values()),
        "covered_from": offsets.covered["covered_from"],
        "covered_to": covered_to,
        "behind_secs": None if behind is None else round(behind / BEHIND_STEP_SECS) * BEHIND_STEP_SECS,
        "missing_secs": offsets.missing_secs,
        "gaps_count": offsets.count,
        "gaps": offsets.gaps,
        "closed": offsets.closed,
        "posts_total": offsets.posts,
        "dead_letters_total": offsets.dead_letters,
        "posts_per_sec": posts_per_sec,
        "spend": money.spent(offsets.spends, terms.budget, pace.mills_per_hour, now_ms),
    }


def state_of(status: Mapping[str, Any]) -> str:
    """Return the state of a connector with Connect's *status*: its own, or the worst of its tasks."""
    own = str(status["connector"]["state"])
    if own != State.RUNNING:
        return own
    states = [str(task["state"]) for task in status["tasks"]] or [str(State.UNASSIGNED)]
    worst = (State.FAILED, State.PAUSED, State.UNASSIGNED, State.RESTARTING)
    return next((str(state) for state in worst if state in states), str(State.RUNNING))


def _task(task: Mapping[str, Any], shared: Any) -> dict[str, Any]:
    again = task.get("autoRestart")
    return {
        "state": str(task["state"]),
        "worker_id": task["worker_id"],
        "process": None if shared is None else shared.process,
        "detail": task.get("detail"),
        "trace": _cut(task.get("trace")),
        "auto_restart": None if again is None else {"count": again["count"], "next": again["nextRestartTimestamp"]},
        "connections": 0 if shared is None else len(shared.status.open_now),
    }


def _cut(trace: str | None) -> str | None:
    if trace is None or len(trace) <= TRACE_CHARACTERS_MAX:
        return trace
    return f"{trace[: TRACE_CHARACTERS_MAX - 1]}…"
