from types import SimpleNamespace

import pytest

from connector.errors import BrokerUnsuitable
from connector.kafka.topics import TopicSpec, declare, would_create
from connector.telemetry.events.kafka import TopicCreated, TopicsLimited

POLICY, CONFIG, REPLICATION = 44, 40, 38
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "8388608", "min.cleanable.dirty.ratio": "0.1"}


class PickyAdmin:
    """aiokafka's admin client of a broker that asks *refuse*, with each new topic: code and words, or None."""

    def __init__(self, refuse):
        self.refuse, self.asked, self.topics = refuse, [], {}

    async def list_topics(self):
        return list(self.topics)

    async def create_topics(self, topics, *, validate_only=False):
        (new,) = topics
        self.asked.append((new.replication_factor, dict(new.topic_configs)))
        code, words = self.refuse(new) or (0, None)
        if not (code or validate_only):
            self.topics[new.name] = (new.num_partitions, dict(new.topic_configs))
        return SimpleNamespace(topic_errors=[(new.name, code, words)])

    async def describe_topics(self, names):
        return [{"topic": name, "error_code": 0, "partitions": [{}] * self.topics[name][0]} for name in names]

    async def describe_configs(self, resources):
        settings = {"segment.bytes": "1073741824", "max.message.bytes": "1048588"} | self.topics[resources[0].name][1]
        entries = [{"config_names": name, "config_value": value} for name, value in settings.items()]
        resource = {"error_code": 0, "error_message": None, "config_entries": entries}
        return [SimpleNamespace(to_object=lambda: {"resources": [resource]})]


def least_segment(new):
    value = new.topic_configs.get("segment.bytes")
    if value is not None and int(value) < 52428800:
        return POLICY, f"Config property 'segment.bytes' with value '{value}' is lower than the minimum 52428800."
    return None


def only(*settings, words="no"):
    return lambda new: None if set(new.topic_configs) <= set(settings) else (CONFIG, words)


def spec(settings, **more):
    return TopicSpec(name="a", partitions=1, replication=-1, settings=settings, **more)


async def created(admin, *specs):
    events = []
    await declare(admin, specs, events.append)
    return events


async def test_next_best_value():
    """What the broker names is asked for again with the next best value, and one event tells of it."""
    admin = PickyAdmin(least_segment)
    events = await created(admin, spec(COMPACTED, least={"segment.bytes": 8388608}))

    assert [(-1, COMPACTED), (-1, COMPACTED | {"segment.bytes": "52428800"})] == admin.asked
    assert [
        TopicCreated(topic="a", partitions=1, settings="cleanup.policy=compact"),
        TopicsLimited(
            topics=("a",),
            settings="a: segment.bytes=52428800 instead of 8388608",
            reason="Config property 'segment.bytes' with value '8388608' is lower than the minimum 52428800.",
        ),
    ] == events


async def test_one_event_for_all_topics():
    """Several topics within the limits are told together."""
    other = TopicSpec(name="b", partitions=1, replication=-1, settings=COMPACTED)
    *_, event = await created(PickyAdmin(least_segment), spec(COMPACTED), other)

    assert ("a", "b") == event.topics
    assert (
        "a: segment.bytes=52428800 instead of 8388608; b: segment.bytes=52428800 instead of 8388608" == event.settings
    )


async def test_setting_that_nobody_may_set():
    """A setting that is refused whatever its value is left to the broker."""
    admin = PickyAdmin(only("cleanup.policy", "segment.bytes", words="min.cleanable.dirty.ratio is not editable"))
    *_, event = await created(admin, spec(COMPACTED))

    assert {"cleanup.policy": "compact", "segment.bytes": "8388608"} == admin.topics["a"][1]
    assert "a: the broker's min.cleanable.dirty.ratio instead of 0.1" == event.settings


async def test_words_that_name_nothing():
    """Where the broker does not say what it dislikes, all settings but the one that keeps the data go down together."""
    admin = PickyAdmin(only("cleanup.policy"))
    await created(admin, spec(COMPACTED))

    assert [
        COMPACTED,
        {"cleanup.policy": "compact", "segment.bytes": "52428800"},
        {"cleanup.policy": "compact"},
    ] == [settings for _, settings in admin.asked]


async def test_replication_factor_of_a_policy():
    """A policy that fixes the replication factor gets its own."""
    admin = PickyAdmin(
        lambda new: None if new.replication_factor == -1 else (POLICY, "Topic replication factor must be 3")
    )
    *_, event = await created(admin, TopicSpec(name="a", partitions=1, replication=1, settings=COMPACTED))

    assert [1, -1] == [replication for replication, _ in admin.asked]
    assert "a: the broker's replication factor instead of 1" == event.settings


async def test_too_few_brokers_are_no_limit():
    """A topic is not created with fewer replicas than were asked for because there are too few brokers."""
    admin = PickyAdmin(lambda _: (REPLICATION, "Unable to replicate the partition 3 time(s): only 1 broker"))
    with pytest.raises(BrokerUnsuitable, match="replication factor 3: Unable to replicate"):
        await created(admin, TopicSpec(name="a", partitions=1, replication=3, settings=COMPACTED))

    assert 1 == len(admin.asked)


async def test_what_would_not_do():
    """A topic that was created within limits is checked at once: one that loses records is an error with the cure."""
    admin = PickyAdmin(only("cleanup.policy", words="max.message.bytes is not editable"))
    needed = spec({"cleanup.policy": "compact", "max.message.bytes": "8388608"}, least={"max.message.bytes": 8388608})
    with pytest.raises(BrokerUnsuitable, match=r"has max\.message\.bytes=1048588 and needs .* change it with"):
        await created(admin, needed)


async def test_values_of_an_operator():
    """What an operator has chosen is not replaced: the sentence says how to create the topic by hand."""
    admin = PickyAdmin(lambda _: (POLICY, "retention.ms is too long."))
    with pytest.raises(BrokerUnsuitable) as caught:
        await created(admin, spec({"cleanup.policy": "delete", "retention.ms": "1000"}, chosen=True))

    assert 1 == len(admin.asked)
    assert (
        "Kafka refuses to create the topic a with 1 partitions, replication factor -1: retention.ms is too long. "
        "Change CONNECTOR_TOPIC_CREATION_DEFAULT_..., or create the topic by hand with what the broker takes: "
        "kafka-topics.sh --create --topic a --partitions 1 --config cleanup.policy=delete --config retention.ms=1000"
    ) == str(caught.value)


async def test_policy_that_takes_nothing():
    """Where nothing helps, the broker's first words and the command by hand are the error."""
    admin = PickyAdmin(lambda new: (POLICY, f"{len(new.topic_configs)} settings are too many"))
    with pytest.raises(BrokerUnsuitable, match=r"3 settings are too many\. .* kafka-topics\.sh --create --topic a"):
        await created(admin, spec(COMPACTED))


async def test_what_a_broker_would_change():
    """A trial tells the next best value, and makes nothing."""
    admin = PickyAdmin(least_segment)

    assert ("segment.bytes=52428800 instead of 8388608",) == await would_create(admin, spec(COMPACTED))
    assert {} == admin.topics
