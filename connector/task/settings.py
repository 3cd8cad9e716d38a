"""What a task is told of the configuration: of the stream that it reads, and of each connector that it reads for."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connector.coverage.spend import Budget, Spend
from connector.records.record import Destination, TaskId
from connector.task.console import Console
from connector.task.ports import Finder, Schemas
from connector.task.repair.policy import Policy
from connector.task.status import TaskStatus
from connector.transforms.transformer import Form, Transformer

if TYPE_CHECKING:  # only connectors of the stream compliance load it
    from connector.task.withdrawals import WithdrawalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """How a task reads a stream, and delivers."""

    task: TaskId
    """The task whose slot and transactional id this is; with several connectors, that of one of them."""
    poll_interval_secs: float
    pace_secs: float
    """The least time between the begins of batches that are not full: a commit costs more than the posts in it."""
    offset_interval_secs: float
    """The time between writes of the offsets while posts come; 0: with each batch, as transactions need it."""
    batch_max_records: int
    buffer_max_bytes: int
    time_limit_secs: float | None
    traced: bool = False
    """Whether each batch is an event of its own (`BatchConfirmed`), of which a span is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What one connector wants of a stream."""

    task: TaskId
    destination: Destination
    settle_secs: float
    tolerate_bad_records: bool
    policy: Policy
    """How gaps may be repaired."""
    metered: bool
    """Whether X charges for each post, or posts are counted for a budget."""
    budget: Budget
    wanted: Mapping[str, str] = field(default_factory=dict)
    """The rules that X shall hold, value to label; none for a stream without rules."""
    paused_until_ms: int | None = None
    """Until when (UNIX ms) the connector was paused or stopped before this start: the reason of the gap before it."""
    others: Callable[[], Collection[Spend]] = field(default=tuple, compare=False)
    """Returns what those tasks of the connector have spent that run on other workers."""
    transformer: Transformer | None = None
    """What the connector's transforms make of each post; None without transforms."""
    form: Form | None = None
    """How values are written, if that is all that `transformer` does."""
    value_format: str = "json"
    schemas: Schemas | None = None
    """The ids of the schemas of its values; None for a format without schemas."""
    finder: Callable[[int], Finder] = field(compare=False)
    """Makes what finds posts again in the source partition of this number."""
    on_status: Callable[[TaskStatus], None] = field(compare=False)
    withdrawals: "WithdrawalSettings | None" = None
    """What becomes of compliance events; None for streams of posts."""
    console: Console | None = field(default=None, compare=False)
    """Where delivered posts are printed."""

    @property
    def name(self) -> str:
        """The connector's name."""
        return self.task.connector

    @property
    def dead_letters(self) -> bool:
        """Whether bad records become dead letters; else the first one ends the task for this connector."""
        return self.tolerate_bad_records and self.destination.dead_letter_topic is not None
