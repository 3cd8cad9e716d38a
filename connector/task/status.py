"""In which state is a task?  Kafka Connect's words, and what it holds at X."""

from dataclasses import dataclass
from enum import StrEnum

from connector.sources.handles import Handle


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

    *connections* are those that X may count as its own; should it die, its heir ends them.
    """

    state: State
    trace: str | None = None
    detail: str | None = None
    connections: tuple[Handle, ...] = ()
    outages: tuple[tuple[str, str], ...] = ()
    """Source partitions (`""` for a stream that has none) without a connection at the moment, and why."""
