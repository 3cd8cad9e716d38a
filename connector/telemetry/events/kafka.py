"""Events of `connector.kafka`: brokers, topics, rights, and fast paths of delivery."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event, TaskEvent
from connector.telemetry.metrics import Metrics


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
    A number of small *batches* in a row were left to aiokafka's sender.

    No post is lost or late; each batch takes twice the CPU.  *reason* is that of the last batch.
    """

    name = "delivery.short_way_unused"
    level = logging.WARNING
    batches: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerNotClosed(TaskEvent):
    """A producer did not close in time; the next producer, or the transaction timeout, ends its open transaction."""

    name = "delivery.producer_not_closed"
    level = logging.WARNING
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAwaited(Event):
    """Kafka does not answer, or lacks what a worker needs; the worker tries again."""

    name = "kafka.waiting"
    level = logging.WARNING
    broker: str
    waiting_secs: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerReached(Event):
    """Kafka answers, and has what a worker needs."""

    name = "kafka.connected"
    broker: str
    transactions: bool
    idempotence: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRefuses(Event):
    """Kafka answers but does not let *part* of this worker do its work; that part waits and tries again."""

    name = "kafka.refused"
    level = logging.WARNING
    part: str
    reason: str
    waiting_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAdmits(Event):
    """Kafka accepts again what it had refused."""

    name = "kafka.admitted"
    part: str
    waited_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RightUseful(Event):
    """A right is missing (*reason*); the worker runs, but cannot do what *without* names."""

    name = "kafka.right_useful"
    level = logging.WARNING
    reason: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicsLimited(Event):
    """Topics were created with other values than ours, to keep the limits of the broker."""

    name = "topics.limited"
    level = logging.WARNING
    topics: tuple[str, ...]
    settings: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCreated(Event):
    """The worker made a topic that was absent."""

    name = "topic.created"
    topic: str
    partitions: int
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsAdded(Event):
    """The group's topics have more partitions now, as a new task found no slot."""

    name = "slots.added"
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLost(Event):
    """This worker cannot read a topic of the group, so until it can, it does not see what other workers write."""

    name = "topic.not_followed"
    level = logging.WARNING
    topic: str
    reason: str
    retry_in_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFollowed(Event):
    """A topic that could not be read is read again, from its first record."""

    name = "topic.followed"
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicKeepsPosts(Event):
    """A topic from which posts are withdrawn keeps their text longer than X allows, or nobody can tell."""

    name = "topic.keeps_posts"
    level = logging.WARNING
    topic: str
    reason: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMissing(Event):
    """A topic that this worker uses does not exist any more; *reason* says the consequence."""

    name = "topic.missing"
    level = logging.ERROR
    topic: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicBack(Event):
    """A missing topic exists again."""

    name = "topic.back"
    topic: str
