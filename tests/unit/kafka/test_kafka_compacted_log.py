from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError

from connector.kafka.brokers import KafkaCluster
from connector.kafka.state import compacted_log
from connector.kafka.state.compacted_log import CompactedLog
from connector.telemetry.obstacles import Obstacles
from tests.unit.fakes import until


def follower(topic="statuses", emit=lambda _: None, **more):
    cluster = KafkaCluster(servers=("127.0.0.1:9",))
    return CompactedLog(cluster, topic, lambda _key, _value: None, emit=emit, obstacles=Obstacles(emit), **more)


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(compacted_log, "time", clock)
    return clock


@pytest.fixture
def followed(clock):
    return follower()


class Consumer:
    """aiokafka's consumer as far as it tells when a fetch was answered."""

    def __init__(self):
        self.answered_ms = {0: None, 1: None}
        self._fetcher = SimpleNamespace(_fetch_min_bytes=1)

    def assignment(self):
        return frozenset(self.answered_ms)

    def last_poll_timestamp(self, partition):
        return self.answered_ms[partition]


@pytest.fixture
def consumer(followed):
    followed._consumer = Consumer()
    return followed._consumer


def test_answers_now_and_then_are_no_silence(followed, consumer, clock):
    """A Kafka that answers each fetch was never silent, and be it that it had nothing to say."""
    for number in range(10):
        clock.now += compacted_log.FOLLOW_MS / 1000 + 1
        consumer.answered_ms[number % 2] = 1_000 + number
        assert followed.silent_secs == 0.0

    assert not followed.was_silent(10.0)


def test_fetches_without_an_answer_are_silence(followed, consumer, clock):
    """An answer counts once: what is fetched and not answered tells nothing."""
    consumer.answered_ms[0] = 1_000
    assert followed.silent_secs == 0.0
    clock.now += compacted_log.SILENCE_SECS + 0.1

    assert followed.silent_secs == pytest.approx(compacted_log.SILENCE_SECS + 0.1)
    assert followed.was_silent(0.0)
    consumer.answered_ms[1] = 5_000
    assert followed.silent_secs == 0.0
    assert followed.was_silent(1.0)


def test_a_fetch_is_answered_long_before_it_counts_as_silence():
    """Kafka may hold a fetch, and the worker look for the answer only then: twice that is no silence yet."""
    assert 2 * compacted_log.FOLLOW_MS / 1000 < compacted_log.SILENCE_SECS


@pytest.mark.parametrize(("gather", "min_bytes"), [(False, 1), (True, compacted_log.GATHER_BYTES)])
def test_what_nobody_waits_for_is_gathered(clock, consumer, gather, min_bytes):
    """Once at the end records of a topic that is to be gathered come together; of others each at once."""
    following = follower("topic", gather=gather)
    following._take_time(consumer)

    assert min_bytes == consumer._fetcher._fetch_min_bytes


def test_silence_counts_while_it_lasts(followed, clock):
    """Before the first answer after an outage it is known that there is one: an assignment may come earlier."""
    followed._note_answer()
    clock.now += compacted_log.SILENCE_SECS + 0.1

    assert followed.was_silent(0.0)


def test_silence_counts_for_a_while_after(followed, clock):
    """What the broker does for its own silence it may do some time after it woke."""
    clock.now += 20.0
    followed._note_answer()
    clock.now += 2.0
    followed._note_answer()

    assert followed.was_silent(6.0)
    clock.now += 2.0
    followed._note_answer()
    clock.now += 2.5
    assert not followed.was_silent(6.0)


async def test_the_wait_for_kafka_at_the_start_is_none(followed, clock):
    """A worker that waited for its broker begins with one that answers."""
    clock.now += 100.0
    await followed.on_start()

    assert not followed.was_silent(10.0)
    assert followed.silent_secs == 0.0


async def test_topic_that_cannot_be_read_is_said(monkeypatch):
    """Nobody listens where the broker should be: the topic is named with the reason, once, and it is tried again."""
    monkeypatch.setattr(compacted_log, "RETRY_SECS", 0.01)
    events, tries = [], []
    consumer_of = compacted_log.AIOKafkaConsumer
    monkeypatch.setattr(
        compacted_log, "AIOKafkaConsumer", lambda *args, **kwargs: tries.append(args) or consumer_of(*args, **kwargs)
    )
    async with follower("birds-statuses", events.append):
        await until(lambda: len(tries) >= 3)

    (lost,) = events
    assert ("birds-statuses", 0.01) == (lost.topic, lost.retry_in_secs)
    assert lost.reason.startswith("Nothing listens at 127.0.0.1:9: ")


def test_loss_is_said_again_when_it_changes_and_each_minute(clock):
    """Another reason at once, the same after a minute; and that the topic can be read again."""
    events = []
    following = follower("topic", events.append)
    following._note_read()
    for error in (OSError("a"), OSError("a"), KafkaConnectionError("b"), KafkaConnectionError("b")):
        following._note_lost(error)
    clock.now += compacted_log.SAY_SECS
    following._note_lost(KafkaConnectionError("c"))
    following._note_read()
    following._note_read()

    assert [
        ("topic.not_followed", "a"),
        ("topic.not_followed", "KafkaConnectionError: b"),
        ("topic.not_followed", "KafkaConnectionError: c"),
        ("topic.followed", None),
    ] == [(event.name, getattr(event, "reason", None)) for event in events]
