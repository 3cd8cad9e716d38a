"""Events of `connector.task`: start and stop of a task, its stream, its deliveries, printed posts and repairs."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event, TaskEvent
from connector.telemetry.metrics import Metrics


class TaskStarted(TaskEvent):
    """A task begins its work on this worker."""

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
    """A task has delivered what it had read, and has ended."""

    name = "task.stopped"
    posts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(TaskEvent):
    """A task cannot go on until somebody acts; the reason says what to do."""

    name = "task.failed"
    level = logging.ERROR
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPaused(TaskEvent):
    """A task waits for credits at X or for its next budget."""

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
    """The task ends because `time.limit.secs` is over."""

    name = "task.time_limit_reached"
    time_limit_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConnected(TaskEvent):
    """X has accepted the connection and sends posts."""

    name = "stream.connected"
    stream: str
    partition: str | None
    clock_skew_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDisconnected(TaskEvent):
    """The connection to X has ended, or could not be made; the task connects again."""

    name = "stream.disconnected"
    level = logging.WARNING
    error: str
    reason: str
    title: str | None
    detail: str | None
    partition: str | None

    def count(self, metrics: Metrics) -> None:
        metrics.reconnects.labels(error=self.error).inc()


class StreamClosed(TaskEvent):
    """The task has ended, and with it its connections."""

    name = "stream.closed"
    level = logging.DEBUG


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(TaskEvent):
    """The next try to connect to X begins after this wait."""

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
    Kafka has confirmed posts of the connector.

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
class PostsReceived(TaskEvent):
    """Lines came for the connector, by its stream or for a repair, also such as are dropped; told once a second."""

    name = "posts.received"
    level = logging.DEBUG
    posts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfirmed(TaskEvent):
    """
    Kafka has a batch of the task, with the shares of *connectors* connectors; *took_secs* since it was built.

    Only a worker that exports traces tells it: there is one for each batch.

    *partitions* are the source partitions whose streams brought posts of it (`""` for a stream without partitions),
    *repaired* the connectors of whose repairs posts are in it.
    """

    name = "batch.confirmed"
    level = logging.DEBUG
    took_secs: float
    posts: int
    dead_letters: int
    connectors: int
    partitions: tuple[str, ...]
    repaired: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNotConfirmed(TaskEvent):
    """Kafka has not confirmed a batch that was built *took_secs* ago; it is sent again unless it is in the topic."""

    name = "batch.not_confirmed"
    level = logging.DEBUG
    took_secs: float
    posts: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesMatched(TaskEvent):
    """
    New posts were read that matched rules of the connector; told about once a second.

    *matched* has the labels of the rules that posts matched together, and how many posts; `()` is for those that
    matched none of the connector's rules.  Posts that transforms drop later are counted, too.
    """

    name = "posts.matched"
    level = logging.DEBUG
    matched: tuple[tuple[tuple[str, ...], int], ...]

    def fields(self) -> dict[str, object]:
        posts = sum(posts for _, posts in self.matched)
        return {"connector": self.of.connector, "task": self.of.number, "posts": posts}

    def count(self, metrics: Metrics) -> None:
        for labels, posts in self.matched:
            for label in labels or (None,):
                metrics.rule_posts.add(posts, self.of.connector, label)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesDropped(TaskEvent):
    """Posts that were delivered before are dropped; *source* is the way of repair, absent for the stream."""

    name = "posts.duplicates_dropped"
    level = logging.DEBUG
    posts: int
    source: str | None = None

    def count(self, metrics: Metrics) -> None:
        reason = "duplicate" if self.source is None else f"duplicate_{self.source}"
        metrics.posts_dropped.labels(reason=reason, intentional="true").inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostsFiltered(TaskEvent):
    """Transforms of the connector have dropped posts, as its configuration wants."""

    name = "posts.filtered"
    level = logging.DEBUG
    posts: int

    def count(self, metrics: Metrics) -> None:
        metrics.posts_dropped.labels(reason="transform", intentional="true").inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceReceived(TaskEvent):
    """Events of X's compliance streams came: *kinds* are their kinds with how many."""

    name = "compliance.received"
    level = logging.DEBUG
    kinds: tuple[tuple[str, int], ...]

    def count(self, metrics: Metrics) -> None:
        for kind, events in self.kinds:
            metrics.compliance_events.labels(connector=self.of.connector, kind=kind).inc(events)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostsWithdrawn(TaskEvent):
    """Tombstones are written for posts that X has withdrawn, by the kind of the event; `late`: the post came later."""

    name = "posts.withdrawn"
    level = logging.DEBUG
    kinds: tuple[tuple[str, int], ...]

    def count(self, metrics: Metrics) -> None:
        for kind, posts in self.kinds:
            metrics.posts_withdrawn.labels(connector=self.of.connector, kind=kind).inc(posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceUnknown(TaskEvent):
    """X sends compliance events of a kind that this version does not know: nothing is withdrawn because of them."""

    name = "compliance.unknown"
    level = logging.ERROR
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostsNotFollowed(TaskEvent):
    """The topic whose posts are to be withdrawn cannot be read: tombstones of new posts wait."""

    name = "posts.not_followed"
    level = logging.WARNING
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostsWithoutAuthor(TaskEvent):
    """
    Posts were read in the topic whose author is not known: events about users leave them.

    *lacks* are the reasons with how many: `no_author`, the post has none; `no_format`, the value cannot be read.
    """

    name = "posts.without_author"
    level = logging.DEBUG
    lacks: tuple[tuple[str, int], ...]

    def count(self, metrics: Metrics) -> None:
        for lack, posts in self.lacks:
            metrics.posts_without_author.labels(connector=self.of.connector, reason=lack).inc(posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorMissing(TaskEvent):
    """The first post in the topic whose author is not known for this *reason*; `posts.without_author` counts all."""

    name = "posts.author_missing"
    level = logging.WARNING
    partition: int
    offset: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostsUnmatched(TaskEvent):
    """Posts of a shared stream were dropped: they matched no rule of a connector that reads it."""

    name = "posts.unmatched"
    level = logging.DEBUG
    posts: int

    def count(self, metrics: Metrics) -> None:
        metrics.posts_dropped.labels(reason="unmatched", intentional="true").inc(self.posts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesDelayed(TaskEvent):
    """Rules could not be changed at X while a stream is read; it is tried again, and what is read is delivered."""

    name = "rules.delayed"
    level = logging.WARNING
    error: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberJoined(TaskEvent):
    """A connector reads a stream together with others, over one connection."""

    name = "stream.joined"
    stream: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberLeft(TaskEvent):
    """A connector no longer reads a stream that others go on to read."""

    name = "stream.left"
    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDropped(TaskEvent):
    """A line went to the dead letter topic: it is no post, a transform cannot take it, or the topic refuses it."""

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
    """Kafka confirms deliveries again."""

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
    """The task begins to load the posts of a gap."""

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
