"""
Is everything all right?  One line: what, since when, what happens by itself, and what a person can do.  (Pure.)

`verdict_of` reads the document that is shown and nothing else, so whoever has the document can check the verdict.

    error     needs a person            warning   goes on by itself
    notice    somebody wants it so      unknown   this worker does not know
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connector.task.status import State

OK, NOTICE, WARNING, ERROR, UNKNOWN = "ok", "notice", "warning", "error", "unknown"
_RANKS = (UNKNOWN, ERROR, WARNING, NOTICE)
OTHERS_MAX = 10
BEHIND_SECS = 120
"""A connector that is connected and so far behind has a problem of its own (seconds)."""

BUDGET_SHARE = 0.8

Finding = dict[str, Any]


def verdict_of(state: Mapping[str, Any], starting: str | None = None) -> dict[str, Any]:
    """Return the verdict on *state*; *starting* says why this worker does not know its group yet."""
    found = list(_findings(state, starting))
    found.sort(key=lambda each: (_RANKS.index(each["level"]), each["since"] or "", each["connector"] or ""))
    if not found:
        return {**_fine(state), "problems": 0, "others": []}
    problems = sum(each["level"] != NOTICE for each in found)
    return {**found[0], "problems": problems, "others": found[1 : OTHERS_MAX + 1]}


def _finding(
    level: str,
    text: str,
    *,
    since: str | None = None,
    then: str | None = None,
    cure: str | None = None,
    connector: str | None = None,
) -> Finding:
    return {"level": level, "text": text, "since": since, "next": then, "cure": cure, "connector": connector}


def _fine(state: Mapping[str, Any]) -> Finding:
    count = len(state["connectors"])
    if not count:
        return _finding(
            NOTICE,
            "There is no connector.",
            cure="Create one with POST /connectors, or declare one in the environment of a worker (CONNECTOR_TOPIC).",
        )
    who = "The connector delivers" if count == 1 else f"All {count} connectors deliver"
    times = [connector["delivers_since"] for connector in state["connectors"].values()]
    since = max((each for each in times if each is not None), default=None)
    return _finding(OK, f"{who}, and nothing is missing.", since=since)


def _findings(state: Mapping[str, Any], starting: str | None) -> Iterator[Finding]:
    if starting is not None:
        yield _finding(UNKNOWN, f"This worker does not know yet how the group is: {_end(starting)}")
    elif not state["kafka"]["usable"]:
        yield _finding(
            UNKNOWN,
            f"Kafka cannot be used: {_end(state['kafka']['reason'])}",
            then="Workers try again by themselves; posts wait in memory, and then at X.",
        )
    for name, connector in state["connectors"].items():
        yield from _of_state(name, connector)
        yield from _of_gaps(name, connector)
        yield from _of_money(name, connector)
    for worker in state["workers"].values():
        if worker["state"] == "gone":
            yield _finding(
                WARNING,
                f"The worker {worker['worker_id']} is gone.",
                since=worker["heard"],
                then="The other workers take over its tasks within seconds.",
                cure="Start it again.",
            )


def _of_state(name: str, connector: Mapping[str, Any]) -> Iterator[Finding]:
    state, detail = connector["state"], connector["detail"]
    since = connector["since"]
    if state == State.FAILED:
        yield _failed(name, connector)
    elif state == State.UNASSIGNED:
        yield _finding(
            WARNING,
            f"No worker runs {name}{': ' + _end(detail) if detail else '.'}",
            since=since,
            then="The group deals its tasks by itself, within seconds.",
            cure="If it stays so, see the log of the workers, or start one.",
            connector=name,
        )
    elif state == State.PAUSED and detail:
        yield _pauses_by_itself(name, connector)
    elif state in {State.PAUSED, State.STOPPED}:
        yield _finding(
            NOTICE,
            f"{name} is {state.lower()}.",
            since=since,
            then="What is posted meanwhile becomes a gap, which is repaired once it is resumed.",
            cure="Resume it.",
            connector=name,
        )
    elif state == State.RUNNING:
        yield from _of_stream(name, connector)


def _failed(name: str, connector: Mapping[str, Any]) -> Finding:
    tries = [task["auto_restart"]["next"] for task in connector["tasks"].values() if task["auto_restart"]]
    return _finding(
        WARNING if tries else ERROR,
        f"{name} FAILED: {_end(connector['trace'] or connector['detail'] or 'see the log of its worker')}",
        since=connector["since"],
        then=f"It is started again by itself at {min(tries)}." if tries else "It stays so until it is restarted.",
        cure="Remove the cause, then restart it.",
        connector=name,
    )


def _pauses_by_itself(name: str, connector: Mapping[str, Any]) -> Finding:
    detail = connector["detail"]
    budget = detail.startswith("BudgetReached")
    return _finding(
        WARNING,
        f"{name} pauses: {_end(detail)}",
        since=connector["since"],
        then=_next_of_budget(connector) if budget else "It tries again by itself, once an hour.",
        cure="Raise the budget of the connector, or narrow its rules." if budget else "Buy credits at X.",
        connector=name,
    )


def _next_of_budget(connector: Mapping[str, Any]) -> str:
    share = connector["spend"]["month_share"]
    period = "month" if share is not None and share >= 1 else "period"
    return f"It goes on by itself with the next {period} of its budget (UTC)."


def _of_stream(name: str, connector: Mapping[str, Any]) -> Iterator[Finding]:
    going_on = [gap for gap in connector["gaps"] if gap["goes_on"]]
    detail, behind = connector["detail"], connector["behind_secs"]
    if going_on:
        why = detail or going_on[0]["reason"].replace("_", " ")
        yield _finding(
            WARNING,
            f"{name} has no connection to X: {_end(why)}",
            since=min(gap["from"] for gap in going_on),
            then="It connects again by itself; what is posted meanwhile is a gap, repaired where X offers a way.",
            connector=name,
        )
    elif detail:
        yield _finding(WARNING, f"{name}: {_end(detail)}", then="It tries again by itself.", connector=name)
    elif behind is not None and behind > BEHIND_SECS:
        yield _finding(
            WARNING,
            f"{name} is {_length(behind)} behind: X was heard, and Kafka has not confirmed.",
            since=connector["covered_to"],
            then="It delivers what waits by itself.",
            cure="See whether Kafka is slow.",
            connector=name,
        )


def _of_gaps(name: str, connector: Mapping[str, Any]) -> Iterator[Finding]:
    lost = [gap for gap in connector["gaps"] if gap["state"] == "lost"]
    if lost:
        price = sum(gap["estimate_usd"] or 0 for gap in lost)
        yield _finding(
            ERROR,
            f"{name} lacks the posts of {_gaps(lost)}: {_end(lost[0]['doing'])}",
            since=lost[0]["from"],
            then="That stays so until somebody decides.",
            cure=f"Repair again (about ${price:.2f} at X's price), or accept that they are missing.",
            connector=name,
        )
    waiting = [gap for gap in connector["gaps"] if gap["state"] in {"open", "repairing"} and not gap["goes_on"]]
    if waiting and connector["state"] == State.RUNNING:
        yield _finding(
            WARNING,
            f"{name} repairs {_gaps(waiting)}.",
            since=waiting[0]["from"],
            then="That ends by itself.",
            connector=name,
        )


def _of_money(name: str, connector: Mapping[str, Any]) -> Iterator[Finding]:
    spend = connector["spend"]
    for share, limit, used_up_at in (
        (spend["month_share"], "budget.usd.per.month", spend["month_used_up_at"]),
        (spend["day_share"], "budget.posts.per.day", spend["day_used_up_at"]),
    ):
        if share is not None and BUDGET_SHARE <= share < 1 and connector["state"] == State.RUNNING:
            yield _finding(
                WARNING,
                f"{name} has used {share:.0%} of {limit}.",
                then=f"It pauses at {used_up_at}, at this rate." if used_up_at else "At this rate it will do.",
                cure="Raise the budget, or narrow the rules.",
                connector=name,
            )


def _gaps(gaps: list[Mapping[str, Any]]) -> str:
    length = _length(sum(gap["seconds"] for gap in gaps))
    return f"a gap of {length}" if len(gaps) == 1 else f"{len(gaps)} gaps of {length} in all"


def _length(secs: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if secs >= 2 * size:
            return f"{secs / size:.0f} {name}"
    return f"{secs:.0f} s"


def _end(text: str) -> str:
    """Return the first line of *text* as the end of a sentence."""
    line = text.strip().splitlines()[0] if text.strip() else "unknown"
    return line if line.endswith((".", "!", "?")) else f"{line}."
