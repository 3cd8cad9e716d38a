from types import SimpleNamespace

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidPartitionsError,
    NotControllerError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from connector.config.names import Names
from connector.errors import BrokerUnsuitable, RightMissing
from connector.kafka import topics
from connector.kafka.topics import (
    TASK_SLOTS,
    TopicSpec,
    authors_topic,
    declare,
    internal_topics,
    settings_of,
    would_create,
)
from connector.telemetry.events.kafka import TopicCreated

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
POSTS = TopicSpec(
    name="posts",
    partitions=3,
    replication=-1,
    settings={"cleanup.policy": "delete", "retention.ms": "1000", "segment.bytes": "5"},
)


def internal(group="connector"):
    specs = internal_topics(group, replication=3, ledger_retention_ms=8 * DAY_MS, history_retention_ms=8 * DAY_MS)
    return {spec.name.removeprefix(f"{group}-"): spec for spec in specs}


class FakeAdmin:
    """aiokafka's admin client over the topics given: name to partitions and settings."""

    def __init__(
        self, topics=None, *, create_code=0, create_message=None, describe_code=0, settings_code=0, unknown_for=0
    ):
        self.topics, self.created = topics or {}, []
        self.create_code, self.create_message = create_code, create_message
        self.describe_code, self.settings_code = describe_code, settings_code
        self.unknown_for, self.described = unknown_for, 0

    async def list_topics(self):
        return list(self.topics)

    async def create_topics(self, topics, *, validate_only=False):
        self.created += () if validate_only else topics
        return SimpleNamespace(topic_errors=[(topics[0].name, self.create_code, self.create_message)])

    async def describe_topics(self, names):
        self.described += 1
        code = UnknownTopicOrPartitionError.errno if self.described <= self.unknown_for else self.describe_code
        return [
            {"topic": name, "error_code": code, "partitions": [{}] * self.topics.get(name, (1, {}))[0]}
            for name in names
        ]

    async def describe_configs(self, resources):
        settings = self.topics.get(resources[0].name, (1, {}))[1]
        entries = [{"config_names": name, "config_value": value} for name, value in settings.items()]
        resource = {"error_code": self.settings_code, "error_message": "no", "config_entries": entries}
        return [SimpleNamespace(to_object=lambda: {"resources": [resource]})]


async def declared(admin, *specs):
    events = []
    await declare(admin, specs, events.append)
    return events


async def test_creates_what_is_absent():
    """An absent topic is created with partitions, replication and settings, and that is told."""
    admin = FakeAdmin()
    events = await declared(admin, POSTS)

    (new,) = admin.created
    assert ("posts", 3, -1) == (new.name, new.num_partitions, new.replication_factor)
    assert POSTS.settings == new.topic_configs
    assert [TopicCreated(topic="posts", partitions=3, settings="cleanup.policy=delete, retention.ms=1000")] == events


async def test_waits_until_the_broker_knows_its_topic(monkeypatch):
    """A broker answers before all of it knows the new topic; what comes next needs it."""
    monkeypatch.setattr(topics, "KNOWN_POLL_SECS", 0.0)
    admin = FakeAdmin(unknown_for=3)
    await declared(admin, POSTS)

    assert 4 == admin.described


async def test_topic_that_never_appears(monkeypatch):
    """The wait for a new topic has a bound; whoever waits for the broker tries again."""
    monkeypatch.setattr(topics, "KNOWN_SECS", 0.01)
    monkeypatch.setattr(topics, "KNOWN_POLL_SECS", 0.001)
    with pytest.raises(TimeoutError):
        await declared(FakeAdmin(unknown_for=10**6), POSTS)


async def test_leaves_what_is_there():
    """An existing topic that will do is not changed, and nothing is told."""
    admin = FakeAdmin({"posts": (1, {"cleanup.policy": "compact"})})

    assert [] == await declared(admin, POSTS)
    assert [] == admin.created


async def test_other_worker_was_faster():
    """A topic that another worker creates at the same time is no error."""
    assert [] == await declared(FakeAdmin(create_code=36), POSTS)


async def test_broker_refuses():
    """A topic that the broker refuses ends the worker, with the topic, what was asked for, and Kafka's words."""
    admin = FakeAdmin(create_code=38, create_message="Replication factor is below 1")
    with pytest.raises(BrokerUnsuitable) as caught:
        await declared(admin, POSTS)

    assert (
        "Kafka refuses to create the topic posts with 3 partitions, replication factor -1: "
        "Replication factor is below 1. Change CONNECTOR_INTERNAL_REPLICATION_FACTOR, or create the topic by hand with "
        "what the broker takes: kafka-topics.sh --create --topic posts --partitions 3 --config cleanup.policy=delete "
        "--config retention.ms=1000 --config segment.bytes=5" == str(caught.value)
    )


async def test_broker_refuses_without_a_word():
    """Without words of the broker the error has its name."""
    with pytest.raises(BrokerUnsuitable, match="InvalidPartitionsError"):
        await declared(FakeAdmin(create_code=InvalidPartitionsError.errno), POSTS)


@pytest.mark.parametrize("error", [TopicAuthorizationFailedError, ClusterAuthorizationFailedError])
async def test_topic_that_may_not_be_created(error):
    """Whether Kafka names the topic or the cluster, as brokers before 2.0 do: the right to create it is missing."""
    with pytest.raises(RightMissing, match=r"^User alice lacks a right in Kafka: allow CREATE on topic posts\.$"):
        await declare(FakeAdmin(create_code=error.errno), [POSTS], lambda _: None, user="alice")


async def test_nothing_is_created_where_that_is_not_wanted():
    """Without permission to declare topics, an absent one is a sentence with the command that creates it."""
    admin = FakeAdmin()
    with pytest.raises(BrokerUnsuitable, match=r"create it: kafka-topics\.sh --create --topic posts --partitions 3 --"):
        await declare(admin, [POSTS], lambda _: None, create=False)

    assert [] == admin.created


async def test_broker_is_not_ready():
    """What waiting cures is left to whoever waits for the broker."""
    with pytest.raises(NotControllerError):
        await declared(FakeAdmin(create_code=NotControllerError.errno), POSTS)


async def test_all_wrong_topics_are_told_at_once():
    """Too few partitions and a wrong policy: each is a sentence with its cure, and all come together."""
    admin = FakeAdmin(
        {
            "connector-offsets": (10, {"cleanup.policy": "delete", "segment.bytes": "4194304"}),
            "connector-statuses": (1, {"cleanup.policy": "compact,delete"}),
            "connector-configs": (1, {"cleanup.policy": "compact"}),
            "connector-ledger": (TASK_SLOTS, {"cleanup.policy": "compact", "retention.ms": "604800000"}),
            "connector-tasks": (TASK_SLOTS, {}),
        }
    )
    with pytest.raises(BrokerUnsuitable) as caught:
        await declared(admin, *internal().values())

    change = "change it with kafka-configs.sh --alter --topic"
    compact = "and needs cleanup.policy=compact"
    assert [
        (
            "The topic connector-offsets has 10 partitions and needs 64: "
            "delete it, or set CONNECTOR_GROUP_ID to a new group."
        ),
        (
            f"The topic connector-offsets has cleanup.policy=delete {compact}: "
            f"{change} connector-offsets --add-config cleanup.policy=compact"
        ),
        (
            "The topic connector-offsets has segment.bytes=4194304 and needs segment.bytes=8388608: "
            f"{change} connector-offsets --add-config segment.bytes=8388608"
        ),
        (
            f"The topic connector-statuses has cleanup.policy=compact,delete {compact}: "
            f"{change} connector-statuses --add-config cleanup.policy=compact"
        ),
        (
            "The topic connector-ledger has cleanup.policy=compact and needs cleanup.policy=delete: "
            f"{change} connector-ledger --add-config cleanup.policy=delete"
        ),
        (
            "The topic connector-ledger has retention.ms=604800000 and needs retention.ms=691200000: "
            f"{change} connector-ledger --add-config retention.ms=691200000"
        ),
    ] == str(caught.value).splitlines()


async def test_more_partitions_than_needed():
    """A topic may have more partitions than slots."""
    admin = FakeAdmin({"connector-tasks": (100, {})})

    assert [] == await declared(admin, internal()["tasks"])


@pytest.mark.parametrize("retention_ms", ["-1", "691200000", "691200001"])
async def test_ledger_that_keeps_more(retention_ms):
    """A ledger may be kept for longer than the setting says, and without end."""
    admin = FakeAdmin({"connector-ledger": (64, {"retention.ms": retention_ms})})

    assert [] == await declared(admin, internal()["ledger"])


async def test_silent_broker_is_trusted():
    """A broker that does not tell a setting gets the benefit of the doubt."""
    admin = FakeAdmin({"connector-offsets": (64, {})})

    assert [] == await declared(admin, internal()["offsets"])


async def test_settings_that_may_not_be_read():
    """Settings that have to be checked and may not be read: the right is named."""
    admin = FakeAdmin({"connector-offsets": (64, {})}, settings_code=TopicAuthorizationFailedError.errno)
    with pytest.raises(RightMissing, match="allow DESCRIBE_CONFIGS on topic connector-offsets"):
        await declared(admin, internal()["offsets"])


async def test_settings_that_need_no_check():
    """Where no setting matters none is read, so the right to do so is not needed."""
    admin = FakeAdmin({"posts": (1, {})}, settings_code=TopicAuthorizationFailedError.errno)

    assert [] == await declared(admin, POSTS)


async def test_settings_that_cannot_be_read_now():
    """What waiting cures is raised as it is."""
    admin = FakeAdmin({"connector-offsets": (64, {})}, settings_code=NotControllerError.errno)
    with pytest.raises(NotControllerError):
        await declared(admin, internal()["offsets"])


async def test_settings_that_cannot_be_read_at_all():
    """Any other error of the settings ends the worker, as guessing would lose offsets."""
    admin = FakeAdmin({"connector-offsets": (64, {})}, settings_code=InvalidPartitionsError.errno)
    with pytest.raises(BrokerUnsuitable, match="The settings of the topic connector-offsets cannot be read"):
        await declared(admin, internal()["offsets"])


async def test_topic_that_cannot_be_described():
    """An error in a topic's description is not a topic with no partitions."""
    with pytest.raises(UnknownTopicOrPartitionError):
        await declared(FakeAdmin({"posts": (1, {})}, describe_code=UnknownTopicOrPartitionError.errno), POSTS)


async def test_effective_settings():
    """The settings of a topic are a plain map."""
    admin = FakeAdmin({"posts": (1, {"max.message.bytes": "2000", "retention.ms": "-1"})})

    assert {"max.message.bytes": "2000", "retention.ms": "-1"} == await settings_of(admin, "posts")


def test_internal_topics_of_a_group():
    """A group's topics bear its name; what belongs to a task has a partition for each slot."""
    specs = internal("birds")

    assert ["birds-offsets", "birds-statuses", "birds-configs", "birds-ledger", "birds-tasks", "birds-history"] == [
        spec.name for spec in specs.values()
    ]
    assert [64, 1, 1, 64, 64, 2] == [spec.partitions for spec in specs.values()]
    assert {3} == {spec.replication for spec in specs.values()}
    assert ["compact", "compact", "compact", "delete", "delete", "delete"] == [
        spec.settings["cleanup.policy"] for spec in specs.values()
    ]


def test_ledger_forgets_in_time():
    """Segments are young enough that the ledger keeps no more than an eighth beyond its retention."""
    settings = internal()["ledger"].settings

    assert ("691200000", "86400000") == (settings["retention.ms"], settings["segment.ms"])


def test_large_records_fit_a_segment():
    """A record larger than a segment would be refused."""
    settings = internal()["offsets"].settings

    assert 8 * 1024 * 1024 == int(settings["max.message.bytes"]) <= int(settings["segment.bytes"])


def test_all_are_reserved():
    """The names that a configuration may not use for posts are those of the group's topics."""
    withdrawing = authors_topic("connector", replication=-1, window_ms=HOUR_MS)
    assert set(Names("connector").topics) == {withdrawing.name, *(f"connector-{name}" for name in internal())}


def test_the_topic_of_authors_keeps_its_window():
    """It has one partition, keeps records for the window, and one with less is refused."""
    spec = authors_topic("connector", replication=3, window_ms=8 * 24 * HOUR_MS)

    assert (1, 3, "delete") == (spec.partitions, spec.replication, spec.settings["cleanup.policy"])
    assert str(8 * 24 * HOUR_MS) == spec.settings["retention.ms"]
    assert {"retention.ms": 8 * 24 * HOUR_MS} == spec.least
    assert str(HOUR_MS) == authors_topic("connector", replication=3, window_ms=HOUR_MS).settings["segment.ms"]


async def test_would_a_broker_create_it():
    """It is asked to validate alone, and says the same as if it were asked to create."""
    fine, hidden, full = FakeAdmin(), FakeAdmin(create_code=29), FakeAdmin(create_code=38, create_message="Too few")

    assert () == await would_create(fine, POSTS)
    with pytest.raises(RightMissing, match="User alice lacks a right in Kafka: allow CREATE on topic posts"):
        await would_create(hidden, POSTS, user="alice")
    with pytest.raises(BrokerUnsuitable, match="Too few"):
        await would_create(full, POSTS)
    assert [] == [*fine.created, *hidden.created, *full.created]
