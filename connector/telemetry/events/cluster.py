"""Events of `connector.cluster`: which worker runs which task."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event, TaskEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostsUnknown(TaskEvent):
    """
    The group's states could not be read in time, so the task begins without knowing what its last owner left at X.

    A connection of a killed owner is not ended then; X refuses ours until it has noticed by itself.
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
    """Other workers may show an older state of this task until the next one is published."""

    name = "status.not_published"
    level = logging.WARNING
    reason: str
