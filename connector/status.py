"""In which state is a task?  Kafka Connect's words."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The states that Connect's clients know."""

    UNASSIGNED = "UNASSIGNED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """
    One task's state; *trace* says why it FAILED, *detail* what a RUNNING or PAUSED one is waiting for.

    *connections* are X's ids of the connections that it holds.
    """

    state: State
    trace: str | None = None
    detail: str | None = None
    connections: tuple[str, ...] = ()
