"""
The workers of the group, and who of them has gone.  (Pure.)

A worker says each minute that it lives, and whenever the group deals the tasks.  So after a dealing, a worker that says
nothing is gone, if the group has fewer members than workers were heard of.
"""

from collections.abc import Mapping
from typing import Any

from connector.history.fold import Life
from connector.records.snowflake import to_iso

SILENT_MS = 150_000
"""A worker that was not heard of for so long is gone: two of its minutes are missing."""

DEALT_MS = 5_000
"""So long after the group has dealt its tasks, each worker that lives has told its own (ms)."""

STOPPED_SHOWN_MS, GONE_SHOWN_MS = 600_000, 3_600_000
"""How long a worker that stopped, and one that has gone, is shown."""


def workers_of(
    lives: Mapping[str, Life], here: str, members: int, dealt_ms: int | None, now_ms: int
) -> dict[str, dict[str, Any]]:
    """
    Return the workers to show, by their process, this one (*here*) first.

    The group has so many *members*, 0 if that is not known, and has dealt its tasks at *dealt_ms* (UNIX ms).
    """
    alive = {process for process, life in lives.items() if _is_heard(life, now_ms)} | {here}
    if members and dealt_ms is not None and now_ms - dealt_ms >= DEALT_MS:
        silent = sorted(
            (each for each in alive - {here} if lives[each].heard < dealt_ms - DEALT_MS),
            key=lambda each: lives[each].heard,
        )
        alive -= set(silent[: max(len(alive) - members, 0)])
    taken = {lives[each].worker for each in alive if each in lives}
    shown = {}
    for process, life in sorted(lives.items(), key=lambda item: (item[0] != here, item[1].worker, item[0])):
        state = _state(process, life, here, alive)
        quiet_ms = now_ms - (life.goodbye or life.heard)
        longest_ms = {"stopped": STOPPED_SHOWN_MS, "gone": GONE_SHOWN_MS}.get(state)
        if longest_ms is not None and (quiet_ms > longest_ms or life.worker in taken):  # or it was started again
            continue
        shown[process] = _shown(life, state)
    return shown


def _is_heard(life: Life, now_ms: int) -> bool:
    return life.goodbye is None and now_ms - life.heard < SILENT_MS


def _state(process: str, life: Life, here: str, alive: set[str]) -> str:
    if process == here:
        return "here"
    if life.goodbye is not None:
        return "stopped"
    return "alive" if process in alive else "gone"


def _shown(life: Life, state: str) -> dict[str, Any]:
    return {
        "worker_id": life.worker,
        "state": state,
        "version": life.version or None,
        "started": None if life.started is None else to_iso(life.started),
        "heard": to_iso(life.heard),
        "tasks": list(life.tasks) if state in {"here", "alive"} else [],
        "cpu_share": None if life.cpu_share is None else round(life.cpu_share, 4),
        "memory_bytes": life.memory_bytes,
    }
