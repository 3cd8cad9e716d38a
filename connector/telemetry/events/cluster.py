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
    """The group has dealt its tasks anew; the fields say which ones this worker runs."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTriedAgain(TaskEvent):
    """A task that FAILED is started again by itself, as its cause may pass (`errors.retry.timeout`)."""

    name = "task.tried_again"
    attempt: int
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesLeft(Event):
    """
    The rules of a connector that does not run are still at X, and it is tried again to delete them.

    They bring posts, which X charges for, to whatever else reads the app's stream.
    """

    name = "rules.left"
    level = logging.WARNING
    connector: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorDeclared(Event):
    """The connector that this worker's environment declares was created in the group, or changed."""

    name = "connector.declared"
    connector: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorNotDeclared(Event):
    """The connector that this worker's environment declares cannot be told to the group yet."""

    name = "connector.not_declared"
    level = logging.WARNING
    connector: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLost(Event):
    """
    Kafka did not take parts of the history for so long that they were given up: minutes, and events.

    Posts, offsets and gaps are not concerned: the page shows nothing for those minutes.
    """

    name = "history.lost"
    level = logging.WARNING
    minutes: int
    events: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDelayed(Event):
    """Kafka does not take the history; it waits in memory, in a bounded space."""

    name = "history.delayed"
    level = logging.WARNING
    reason: str
    waiting_bytes: int
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorCreated(Event):
    """A connector was created by request; *by* is the user of the login, as in what follows."""

    name = "connector.created"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorChanged(Event):
    """The values of *options* were changed, set or removed; no value is shown, as it may be a secret."""

    name = "connector.changed"
    connector: str
    options: tuple[str, ...]
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorDeleted(Event):
    """A connector was deleted.  Its offsets stay in Kafka."""

    name = "connector.deleted"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorPaused(Event):
    """Somebody paused a connector; what it misses from now on is a gap."""

    name = "connector.paused"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorResumed(Event):
    """Somebody resumed a connector that was paused or stopped."""

    name = "connector.resumed"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorStopped(Event):
    """Somebody stopped a connector: it has no task, and its offsets may be changed."""

    name = "connector.stopped"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorRestarted(Event):
    """Somebody asked to restart *part* of a connector: itself, with its tasks, or one task."""

    name = "connector.restarted"
    connector: str
    part: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetsChanged(Event):
    """The source offsets of a stopped connector were set or removed by request."""

    name = "connector.offsets_changed"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesLookAsked(Event):
    """Somebody asked to look at once whether X holds the rules of a connector."""

    name = "rules.look_asked"
    connector: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRetryAsked(Event):
    """Somebody asked to repair a gap once more."""

    name = "gap.retry_asked"
    connector: str
    gap_from: str
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapAcceptAsked(Event):
    """Somebody asked to accept a gap as it is."""

    name = "gap.accept_asked"
    connector: str
    gap_from: str
    by: str | None
