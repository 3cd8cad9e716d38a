"""The status of a task: its state in Kafka Connect's words, and its connections at X."""

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
    One task's state; *trace* says why it FAILED, *detail* what a RUNNING or PAUSED task waits for.

    *connections* are those that X may still count for this task; if its worker fails, the next owner ends them.
    """

    state: State
    trace: str | None = None
    detail: str | None = None
    connections: tuple[Handle, ...] = ()
    outages: tuple[tuple[str, str], ...] = ()
    """Source partitions (`""` for a stream that has none) without a connection at the moment, and why."""
