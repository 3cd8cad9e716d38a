"""The watch over topics, turn by turn; with real Kafka in tests/e2e/test_topics_gone.py."""

from types import SimpleNamespace

import pytest

from connector.kafka.gate import watch
from connector.kafka.gate.watch import TopicWatch, meanings
from connector.kafka.topics import TopicSpec
from connector.telemetry.events.kafka import TopicBack, TopicCreated, TopicMissing
from tests.unit.kafka.test_kafka_topics import FakeAdmin

NAMES = ("posts", "connector-ledger")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(watch, "CONFIRM_SECS", 0.0)


class Admin(FakeAdmin):
    """An admin client whose absent topics are told as Kafka tells them; what it creates is there, if it may."""

    def __init__(self, *, refuses=False, lags=0):
        super().__init__(dict.fromkeys(NAMES, (3, {})), create_code=44 if refuses else 0, create_message="by a policy")
        self.refuses, self.lags = refuses, lags

    async def _send_request(self, request):
        asked = request._topics
        assert request._allow_auto_topic_creation is False
        absent = {name for name in asked if name not in self.topics or self.lags}
        self.lags = max(self.lags - 1, 0)
        entries = [{"topic": name, "error_code": 3 if name in absent else 0} for name in asked]
        return SimpleNamespace(to_object=lambda: {"topics": entries})

    async def create_topics(self, topics, *, validate_only=False):
        answer = await super().create_topics(topics, validate_only=validate_only)
        if not self.refuses:
            self.topics |= {new.name: (new.num_partitions, {}) for new in topics}
        return answer


def watching(made=()):
    events, again = [], []
    specs = [TopicSpec(name=name, partitions=3, replication=-1, settings={}) for name in NAMES]
    own = {name: text for name, text in meanings("connector").items() if name in NAMES}
    one = TopicWatch(None, specs, own, events.append, on_made=again.append)
    one.made.update(made)
    return one, events, again


async def test_nothing_is_said_of_topics_that_are_there():
    """A broker that has not heard of a topic yet is asked again before anything is said."""
    one, events, _ = watching()
    await one.look(Admin())
    await one.look(Admin(lags=1))

    assert [] == events
    assert {} == one.troubles


@pytest.mark.parametrize("name", NAMES)
async def test_made_again(name):
    """The group's own topics are, and those that this worker has made."""
    one, events, again = watching(made=["posts"])
    admin = Admin()
    del admin.topics[name]
    await one.look(admin)

    assert [TopicMissing, TopicCreated] == list(map(type, events))
    assert events[0].reason.startswith(f"The topic {name} was deleted")
    assert [name] == again
    assert {} == one.troubles


async def test_waited_for():
    """What somebody else has made is not: it is a trouble until it is there, and said once."""
    one, events, again = watching()
    admin = Admin()
    place = admin.topics.pop("posts")
    await one.look(admin)
    await one.look(admin)
    (trouble,) = one.troubles.values()
    admin.topics["posts"] = place
    await one.look(admin)

    assert "create it" in trouble
    assert [TopicMissing(topic="posts", reason=trouble), TopicBack(topic="posts")] == events
    assert [] == again + admin.created
    assert {} == one.troubles


async def test_cannot_be_made_again():
    """What the broker says is part of the trouble, once, and it is tried again."""
    one, _, again = watching()
    admin = Admin(refuses=True)
    del admin.topics["connector-ledger"]
    await one.look(admin)
    await one.look(admin)

    (trouble,) = one.troubles.values()
    assert 1 == trouble.count("It cannot be made again: Kafka refuses to create the topic connector-ledger")
    assert 2 == len(admin.created)
    assert [] == again
