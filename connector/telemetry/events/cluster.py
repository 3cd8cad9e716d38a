"""Events of `connector.cluster`: which worker runs which task."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event, TaskEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostsUnknown(TaskEvent):
    """
    The statuses topic could not be read in time, so the task does not know which connections its last owner left at X.

    The task cannot end the connection of a killed owner then; X refuses a new one until X notices that it is dead.
    """

    name = "stream.ghosts_unknown"
    level = logging.WARNING
    waited_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAssigned(Event):
    name = "tasks.assigned"
    running: tuple[str, ...]
    started: tuple[str, ...]
    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusNotPublished(Event):
    """Kafka did not take the state of a task; other workers may show an older state until the next one is published."""

    name = "status.not_published"
    level = logging.WARNING
    reason: str
