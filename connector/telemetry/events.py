"""
Everything that can happen to a connector.

An event is one thing that happened, never a record; it renders its own log line (an event name and fields) and counts
itself.  Levels by consequence: INFO is a step, WARNING recovers by itself, ERROR lost data or needs a person.
No field holds a secret.
"""

import logging
from dataclasses import dataclass, fields
from typing import ClassVar

from connector.records.record import TaskId
from connector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO

    def fields(self) -> dict[str, object]:
        """Return what the log line says beside the name; fields that are None are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value is not None}

    def count(self, metrics: Metrics) -> None:
        """Add this event to *metrics*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """An event of one task of a connector."""

    of: TaskId

    def fields(self) -> dict[str, object]:
        own = super(TaskEvent, self).fields()  # a slotted dataclass has lost the cell that a bare `super` needs
        del own["of"]
        return {"connector": self.of.connector, "task": self.of.number, **own}


# -- the life of a task


class TaskStarted(TaskEvent):
    name = "task.started"

    def count(self, metrics: Metrics) -> None:
        metrics.task_starts.inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResumed(TaskEvent):
    """The predecessor is fenced, the offset read."""

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
    """A delivery's outcome is unknown: a new producer, then on from the committed offset."""

    name = "task.restarting"
    level = logging.WARNING
    error: str
    reason: str
    retry_in_secs: float

    def count(self, metrics: Metrics) -> None:
        metrics.deliveries_failed.labels(error=self.error).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFenced(TaskEvent):
    """Another worker owns this task now; what this one had read and not delivered is dropped."""

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


# -- the stream


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
    """The connection of a previous owner, still held at X, was ended there."""

    name = "stream.ghost_released"
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GhostNotReleased(TaskEvent):
    """X did not say which of *connections* it still holds, or end them: tried again when X refuses a connect."""

    name = "stream.ghost_not_released"
    level = logging.WARNING
    connections: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionNotFound(TaskEvent):
    """X did not tell its id of the connection now open; should this worker die, its heir finds it by its time."""

    name = "stream.connection_not_found"
    level = logging.WARNING
    error: str
    reason: str
    partition: str | None


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
class RulesChanged(Event):
    """*held_elsewhere* are values of wanted rules that X holds under somebody else's tag; they match all the same."""

    name = "rules.changed"
    connector: str
    added: int
    deleted: int
    held_elsewhere: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFetched(Event):
    name = "token.fetched"
    connector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureUnavailable(Event):
    """The API host has no such endpoint, or refuses it to this account; nothing else suffers."""

    name = "feature.unavailable"
    level = logging.WARNING
    connector: str
    feature: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamErrorReceived(Event):
    """X sent a line about an error that does not end the stream, such as a post that it did not find."""

    name = "stream.error_received"
    level = logging.WARNING
    connector: str
    title: str | None
    detail: str | None

    def count(self, metrics: Metrics) -> None:
        metrics.stream_errors.inc()


class StreamErrorRepeated(StreamErrorReceived):
    """The same, less than a minute after one that was said."""

    name = "stream.error_repeated"
    level = logging.DEBUG


# -- delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDelivered(TaskEvent):
    """
    *waits* are (seconds from arrival to commit, seconds from creation to commit, posts), one for each arrival.

    *usd* is what X charges for what was read since the batch before.
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
    """*source* is the way of a repair that brought them, None for the stream."""

    name = "posts.duplicates_dropped"
    level = logging.DEBUG
    posts: int
    source: str | None = None

    def count(self, metrics: Metrics) -> None:
        reason = "duplicate" if self.source is None else f"duplicate_{self.source}"
        metrics.posts_dropped.labels(reason=reason, intentional="true").inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDropped(TaskEvent):
    """A line that is no post, or a post that the topic does not take, went to the dead letter topic."""

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
    """Kafka does not confirm: the buffer fills, then the reader waits; nothing is lost."""

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
class DeliveryFellBack(TaskEvent):
    """A small batch was left to aiokafka's sender, because of *reason* (`small_batches.Fallback`)."""

    name = "delivery.fell_back"
    level = logging.DEBUG
    reason: str

    def count(self, metrics: Metrics) -> None:
        metrics.fallbacks.labels(reason=self.reason).inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortWayUnused(TaskEvent):
    """
    As many small *batches* in a row were left to aiokafka's sender.

    Nothing is lost or late; each takes twice the CPU.  *reason* is that of the last one.
    """

    name = "delivery.short_way_unused"
    level = logging.WARNING
    batches: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerNotClosed(TaskEvent):
    """A producer was given up before it had ended; the next one, or the transaction's timeout, ends what it left."""

    name = "delivery.producer_not_closed"
    level = logging.WARNING
    reason: str


# -- printing


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
    """Nobody takes what is printed, or not fast enough: *posts* since it was said last are not printed."""

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


# -- what is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEvent(TaskEvent):
    """Posts made from *gap_from* to *gap_to* (X's clock) may be missing, because of *reason*."""

    gap_from: str
    gap_to: str
    seconds: float
    reason: str
    partition: str | None


class GapOpened(GapEvent):
    name = "gap.opened"
    level = logging.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRepaired(GapEvent):
    """All that X offers of it is in the topic: *posts* that were missing, for *cost_usd* where X charges."""

    name = "gap.repaired"
    way: str
    posts: int
    cost_usd: float | None

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="repaired").inc()


class GapAccepted(GapEvent):
    """An operator has said that it may stay as it is."""

    name = "gap.accepted"

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="accepted").inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLost(GapEvent):
    """X offers no way to repair it, for the reason in *detail*; it stays until somebody retries or accepts it."""

    name = "gap.lost"
    level = logging.ERROR
    detail: str

    def count(self, metrics: Metrics) -> None:
        metrics.gaps.labels(reason=self.reason, outcome="lost").inc()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStarted(TaskEvent):
    name = "gap.repair_started"
    gap_from: str
    gap_to: str
    way: str
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairDelayed(TaskEvent):
    """The live stream does not wait for it."""

    name = "gap.repair_delayed"
    level = logging.WARNING
    gap_from: str
    error: str
    reason: str
    retry_in_secs: float
    partition: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLeft(TaskEvent):
    """Kafka has not confirmed that what an operator asked of a gap is done; a new owner would carry it out again."""

    name = "gap.request_left"
    level = logging.WARNING
    requests: int
    error: str
    reason: str
    retry_in_secs: float


# -- the worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting(Event):
    name = "worker.starting"
    version: str
    broker: str
    group: str
    web: str | None
    connector: str | None
    topic: str | None
    delivery: str | None
    compiled: bool
    """Whether the hot path in C is there and used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFormBroken(Event):
    """The hot path in C was built and cannot be loaded: it runs in Python, with the same bytes and at more CPU."""

    name = "worker.compiled_form_broken"
    level = logging.WARNING
    reason: str
    consequence: str = "the worker runs in Python and takes more CPU for each post"
    cure: str = "install the connector again for this Python and this machine: pip install --force-reinstall"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathOff(Event):
    """
    The *installed* libraries do not have the private names that fast *paths* are built on.

    Those are turned off: nothing is lost or late, and the *consequence* is less speed.
    """

    name = "worker.fast_path_off"
    level = logging.WARNING
    paths: tuple[str, ...]
    missing: tuple[str, ...]
    installed: tuple[str, ...]
    consequence: str
    cure: str


class WorkerReady(Event):
    name = "worker.ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAssigned(Event):
    name = "tasks.assigned"
    running: tuple[str, ...]
    started: tuple[str, ...]
    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopping(Event):
    name = "worker.stopping"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed(Event):
    name = "worker.failed"
    level = logging.ERROR
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopped(Event):
    name = "worker.stopped"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTimedOut(Event):
    """What is left here was read from X and not confirmed by Kafka; the next owner begins at the committed offset."""

    name = "worker.stop_timed_out"
    level = logging.ERROR
    reason: str
    undelivered_posts: int
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAwaited(Event):
    name = "kafka.waiting"
    level = logging.WARNING
    broker: str
    waiting_secs: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReached(Event):
    name = "kafka.connected"
    broker: str
    transactions: bool
    idempotence: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRefuses(Event):
    """Kafka answers and does not let *part* of this worker do its work; it waits and tries again."""

    name = "kafka.refused"
    level = logging.WARNING
    part: str
    reason: str
    waiting_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAdmits(Event):
    name = "kafka.admitted"
    part: str
    waited_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RightUseful(Event):
    """A right is missing without which the worker runs, and goes without something."""

    name = "kafka.right_useful"
    level = logging.WARNING
    reason: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicsLimited(Event):
    """Topics were created with other values than ours, within the limits of the broker."""

    name = "topics.limited"
    level = logging.WARNING
    topics: tuple[str, ...]
    settings: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCreated(Event):
    name = "topic.created"
    topic: str
    partitions: int
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLost(Event):
    """A topic of the group cannot be followed: what others tell there is not known here until it can be read again."""

    name = "topic.not_followed"
    level = logging.WARNING
    topic: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFollowed(Event):
    """A topic that could not be read is followed again, from its begin."""

    name = "topic.followed"
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMissing(Event):
    """A topic that this worker uses is not there any more; *reason* says what that means."""

    name = "topic.missing"
    level = logging.ERROR
    topic: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicBack(Event):
    """Somebody has made it again."""

    name = "topic.back"
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """Something about the configuration that an operator should know, said once."""

    name = "config.notice"
    level = logging.WARNING
    notice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusNotPublished(Event):
    """Other workers may show an older state of this task until the next one is published."""

    name = "status.not_published"
    level = logging.WARNING
    reason: str
