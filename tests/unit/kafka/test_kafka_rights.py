import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from connector.errors import DeliveryFailed, RightMissing
from connector.kafka import tables
from connector.kafka.rights import (
    CREATE,
    DESCRIBE_CONFIGS,
    GROUP,
    READ,
    TOPIC,
    TRANSACTIONAL_ID,
    WRITE,
    Right,
    needs,
    refused,
    right_missing,
)
from tests import ROOT

SENTENCES = [
    ([Right(READ, GROUP, "birds")], "User alice lacks a right in Kafka: allow READ on group birds."),
    (
        [Right(READ, TOPIC, "a"), Right(WRITE, TOPIC, "a"), Right(DESCRIBE_CONFIGS, TOPIC, "a")],
        "User alice lacks rights in Kafka: allow READ, WRITE and DESCRIBE_CONFIGS on topic a.",
    ),
    (
        [Right(READ, TOPIC, "a"), Right(WRITE, TRANSACTIONAL_ID, "a-posts-0"), Right(READ, TOPIC, "a")],
        "User alice lacks rights in Kafka: allow READ on topic a, WRITE on transactional id a-posts-0.",
    ),
    # a topic that may not be created may be one that this user does not see
    (
        [Right(CREATE, TOPIC, "a"), Right(WRITE, TOPIC, "a")],
        "User alice lacks rights in Kafka: allow CREATE on topic a (or, if it is there, WRITE).",
    ),
    ([Right(CREATE, TOPIC, "a")], "User alice lacks a right in Kafka: allow CREATE on topic a."),
]


@pytest.mark.parametrize(("rights", "sentence"), SENTENCES)
def test_sentence(rights, sentence):
    """The error names the user, each right and its resource, and carries them."""
    error = right_missing(rights, "alice")

    assert sentence == str(error)
    assert tuple(rights) == error.rights


def test_user_whom_only_kafka_knows():
    """Without a login by name, as with a client certificate, the worker's user has no name here."""
    assert str(right_missing([Right(READ, GROUP, "a")], None)).startswith("This worker's user lacks a right in Kafka: ")


REFUSALS = [
    # one topic, several, or none in the error, as aiokafka raises it in different places
    (TopicAuthorizationFailedError("posts"), "WRITE on topic posts"),
    (TopicAuthorizationFailedError({"b", "a"}), "WRITE on topic a, WRITE on topic b"),
    (TopicAuthorizationFailedError(), "WRITE on topic asked"),
    (TopicAuthorizationFailedError("Topic authorization failed."), "WRITE on topic asked"),
    (GroupAuthorizationFailedError("birds"), "READ on group birds"),
    (TransactionalIdAuthorizationFailed(), "WRITE on transactional id birds-posts-0"),
    (ClusterAuthorizationFailedError(), "IDEMPOTENT_WRITE on the cluster"),
]


@pytest.mark.parametrize(("error", "right"), REFUSALS)
def test_refusal(error, right):
    """Each error of Kafka's that is about a right becomes one that names the right."""
    found = refused(error, "alice", WRITE, topic="asked", group_id="birds", transactional_id="birds-posts-0")

    assert isinstance(found, RightMissing)
    assert isinstance(found, DeliveryFailed)
    assert str(found).endswith(f": allow {right}.")


def test_other_errors():
    """What is about no right is left as it is."""
    assert refused(KafkaConnectionError("no broker"), "alice") is None


def test_at_least_once_needs_no_transactional_id():
    """Without transactions there is no right on a transactional id, and without a dead letter topic none on that."""
    found = needs("birds", topic="posts", dead_letter_topic=None, transactional_ids=[])

    assert {TOPIC, GROUP} == {need.kind for need in found}
    assert [
        "posts",
        "birds-offsets",
        "birds-ledger",
        "birds-statuses",
        "birds-configs",
        "birds-history",
        "birds-tasks",
        "birds",
    ] == [need.name for need in found]


def test_tables_are_fresh():
    """docs/operations.md has the rights and topics of the code; `make docs` writes them."""
    page = (ROOT / "docs" / "operations.md").read_text()

    assert tables.with_tables(page) == page
    assert tables.kafka_tables() in page
