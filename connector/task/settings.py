"""What a task is told of its connector's configuration."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from connector.coverage.spend import Budget, Spend
from connector.records.record import TaskId
from connector.task.repair.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """The configuration of a task."""

    task: TaskId
    poll_interval_secs: float
    pace_secs: float
    """The least time between the begins of batches that are not full: a commit costs more than the posts in it."""
    offset_interval_secs: float
    """The time between writes of the offsets while posts come; 0: with each batch, as transactions need it."""
    batch_max_records: int
    buffer_max_bytes: int
    settle_secs: float
    time_limit_secs: float | None
    dead_letter_topic: str | None
    tolerate_bad_records: bool
    policy: Policy
    """How gaps may be repaired."""
    metered: bool
    """Whether X charges for each post, or posts are counted for a budget."""
    budget: Budget
    others: Callable[[], Collection[Spend]]
    """Returns what those tasks of the connector have spent that run on other workers."""
