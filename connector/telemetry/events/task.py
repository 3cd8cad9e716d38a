"""Events of `connector.task`: start and stop of a task, its stream, its deliveries, printed posts and repairs."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event, TaskEvent
from connector.telemetry.metrics import Metrics


class TaskStarted(TaskEvent):
    name = "task.started"

    def count(self, metrics: Metrics) -> None:
        metrics.task_starts.inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResumed(TaskEvent):
    """The task has fenced its previous owner and read the source offset."""

    name = "task.resumed"
    covered_to: str | None
    posts: int
    gaps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStopped(TaskEvent):
    name = "task.stopped"
    posts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(TaskEvent):
    name = "task.failed"
    level = logging.ERROR
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPaused(TaskEvent):
    name = "task.paused"
    level = logging.ERROR
    error: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRestarting(TaskEvent):
    """A delivery was not confirmed: the task opens a new producer and resumes at its committed offset."""

    name = "task.restarting"
    level = logging.WARNING
    error: str
    reason: str
    retry_in_secs: float

    def count(self, metrics: Metrics) -> None:
        metrics.deliveries_failed.labels(error=self.error).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFenced(TaskEvent):
    """Another worker owns this task now; this worker drops the posts that it had read and not delivered."""

    name = "task.fenced"
    level = logging.WARNING
    dropped_posts: int

    def count(self, metrics: Metrics) -> None:
        metrics.deliveries_failed.labels(error="Fenced").inc()
        metrics.posts_dropped.labels(reason="fenced", intentional="false").inc(self.dropped_posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimitReached(TaskEvent):
    name = "task.time_limit_reached"
    time_limit_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConnected(TaskEvent):
    name = "stream.connected"
    stream: str
    partition: str | None
    clock_skew_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDisconnected(TaskEvent):
    name = "stream.disconnected"
    level = logging.WARNING
    error: str
    reason: str
    title: str | None
    detail: str | None
    partition: str | None

    def count(self, metrics: Metrics) -> None:
        metrics.reconnects.labels(error=self.error).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(TaskEvent):
    name = "stream.retry_scheduled"
    level = logging.WARNING
    error: str
    attempt: int
    wait_secs: float
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostReleased(TaskEvent):
    """The task ended connections that a previous owner had left open at X."""

    name = "stream.ghost_released"
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostNotReleased(TaskEvent):
    """X did not list or did not end the *connections* left open; the task tries again when X refuses a connect."""

    name = "stream.ghost_not_released"
    level = logging.WARNING
    connections: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionNotFound(TaskEvent):
    """X did not tell the id of the open connection; after a crash the next owner looks for it by its connect time."""

    name = "stream.connection_not_found"
    level = logging.WARNING
    error: str
    reason: str
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDelivered(TaskEvent):
    """
    *waits* are (seconds from arrival to commit, seconds from creation to commit, posts), one for each arrival.

    *usd* is X's price of the posts read since the batch before.
    """

    name = "batch.delivered"
    level = logging.DEBUG
    posts: int
    waits: tuple[tuple[float, float, int], ...]
    usd: float

    def fields(self) -> dict[str, object]:
        return {"connector": self.of.connector, "task": self.of.number, "posts": self.posts}

    def count(self, metrics: Metrics) -> None:
        metrics.posts_delivered.inc(self.posts)
        metrics.spend_usd.inc(self.usd)
        for to_commit, age, posts in self.waits:
            metrics.delivery_seconds.observe(to_commit, posts)
            metrics.post_age_seconds.observe(age, posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesDropped(TaskEvent):
    """Posts that were delivered before are dropped; *source* is the way of repair they came by, None for the stream."""

    name = "posts.duplicates_dropped"
    level = logging.DEBUG
    posts: int
    source: str | None = None

    def count(self, metrics: Metrics) -> None:
        reason = "duplicate" if self.source is None else f"duplicate_{self.source}"
        metrics.posts_dropped.labels(reason=reason, intentional="true").inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDropped(TaskEvent):
    """A line that is not a post, or a post that the topic refuses, went to the dead letter topic."""

    name = "record.dropped"
    level = logging.WARNING
    error: str
    reason: str
    dead_letter_topic: str
    size_bytes: int

    def count(self, metrics: Metrics) -> None:
        metrics.posts_dropped.labels(reason=self.error, intentional="false").inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDelayed(TaskEvent):
    """Kafka does not confirm a delivery: the buffer fills, then the reader thread waits; no post is lost."""

    name = "delivery.delayed"
    level = logging.WARNING
    waiting_secs: float
    undelivered_posts: int
    buffer_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResumed(TaskEvent):
    name = "delivery.resumed"
    waited_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintSkipped(Event):
    """Delivered posts were not printed."""

    name = "print.skipped"
    level = logging.DEBUG
    posts: int

    def count(self, metrics: Metrics) -> None:
        metrics.posts_not_printed.inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintStalled(Event):
    """Standard output is not read, or too slowly: *posts* were not printed since the last such event."""

    name = "print.stalled"
    level = logging.WARNING
    posts: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintEnded(Event):
    """Nothing is printed any more; posts are delivered as before."""

    name = "print.ended"
    level = logging.WARNING
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStarted(TaskEvent):
    name = "gap.repair_started"
    gap_from: str
    gap_to: str
    way: str
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDelayed(TaskEvent):
    """A repair failed and is tried again; the live stream does not wait for it."""

    name = "gap.repair_delayed"
    level = logging.WARNING
    gap_from: str
    error: str
    reason: str
    retry_in_secs: float
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLeft(TaskEvent):
    """Requests about gaps are carried out but Kafka still has them; a new owner of the task would repeat them."""

    name = "gap.request_left"
    level = logging.WARNING
    requests: int
    error: str
    reason: str
    retry_in_secs: float
