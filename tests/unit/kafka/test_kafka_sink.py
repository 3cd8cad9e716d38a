import pytest
from aiokafka import errors as kafka
from aiokafka.structs import TopicPartition
from faust.exceptions import NotReady

from connector.errors import BrokerAway, DeliveryFailed, Fenced
from connector.kafka.delivery.gone import PartitionGone
from connector.kafka.delivery.sink import failure_of

TABLE = [
    # another owner has the transactional id
    (kafka.ProducerFenced(), Fenced),
    (kafka.InvalidProducerEpoch(), Fenced),
    # nobody answers
    (kafka.KafkaConnectionError("no broker"), BrokerAway),
    (kafka.KafkaTimeoutError(), BrokerAway),
    (kafka.NodeNotReadyError(), BrokerAway),
    (ConnectionRefusedError(), BrokerAway),
    (OSError("unreachable"), BrokerAway),
    (TimeoutError(), BrokerAway),
    # the brokers are moving something; trying again cures it
    (kafka.NotLeaderForPartitionError(), BrokerAway),
    (kafka.LeaderNotAvailableError(), BrokerAway),
    (kafka.GroupCoordinatorNotAvailableError(), BrokerAway),
    (kafka.NotEnoughReplicasError(), BrokerAway),
    # the topic was deleted
    (PartitionGone.of(TopicPartition("posts", 3)), BrokerAway),
    # the outcome is unknown
    (kafka.UnknownError(), DeliveryFailed),
    (kafka.TopicAuthorizationFailedError(), DeliveryFailed),
    (kafka.TransactionalIdAuthorizationFailed(), DeliveryFailed),
    (kafka.MessageSizeTooLargeError(), DeliveryFailed),
    (kafka.OutOfOrderSequenceNumber(), DeliveryFailed),
    (NotReady("producer"), DeliveryFailed),
    (AssertionError("begin_transaction"), DeliveryFailed),
]


@pytest.mark.parametrize(("error", "kind"), TABLE)
def test_what_kafka_raises(error, kind):
    """Fenced, away, or unknown: the class decides what the task does, and the message names Kafka's own error."""
    failure = failure_of(error)

    assert kind is type(failure)
    assert str(failure).startswith(type(error).__name__)
    assert not str(failure).startswith(f"{type(error).__name__}: {type(error).__name__}:")  # some say it themselves
