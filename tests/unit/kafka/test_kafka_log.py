import pytest

from connector.kafka import log
from connector.kafka.cluster import KafkaCluster
from connector.kafka.log import CompactedLog


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(log, "time", clock)
    return clock


@pytest.fixture
def followed(clock):
    return CompactedLog(KafkaCluster(servers=("127.0.0.1:9",)), "statuses", lambda _key, _value: None)


def test_answers_now_and_then_are_no_silence(followed, clock):
    """A Kafka that answers each time it is asked was never silent."""
    for _ in range(10):
        clock.now += log.ASK_EVERY_SECS + 1
        followed._note_answer()

    assert not followed.was_silent(10.0)


def test_silence_counts_while_it_lasts(followed, clock):
    """Before the first answer after an outage it is known that there is one: an assignment may come earlier."""
    followed._note_answer()
    clock.now += log.SILENCE_SECS + 0.1

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
