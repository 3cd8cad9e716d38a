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
