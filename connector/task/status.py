"""The status of a task: its state in Kafka Connect's words, and its connections at X."""

from dataclasses import dataclass, field
from enum import StrEnum

from connector.sources.handles import Handle


class State(StrEnum):
    """The states that Connect's clients know; only a connector is STOPPED, it has no tasks then."""

    UNASSIGNED = "UNASSIGNED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    RESTARTING = "RESTARTING"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """
    One task's state; *trace* says why it FAILED, *detail* what a RUNNING or PAUSED task waits for.

    *connections* are those that X may still count for this task; if its worker fails, the next owner ends them.
    *open_now* are those that are open, each by X's id or its time; connectors that share a stream tell the same ones.
    """

    state: State
    trace: str | None = None
    detail: str | None = None
    connections: tuple[Handle, ...] = ()
    open_now: tuple[Handle, ...] = ()
    outages: tuple[tuple[str, str], ...] = ()
    """Source partitions (`""` for a stream that has none) without a connection at the moment, and why."""
    may_pass: bool = field(default=False, compare=False)
    """Whether a task that FAILED may be well if it is started again."""
    auto_restart: tuple[int, int] | None = None
    """How often a FAILED task was started again by itself, this next time counted, and when that is (UNIX ms)."""
