"""A task's producer: what it is built on, how it stops, and what its sink tells of both."""

import asyncio

import faust
import pytest

from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery import producer as module
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.sink import FALLBACKS_TOLD, DeliverySettings, TopicSink
from connector.kafka.delivery.small_batches import Fallback
from connector.telemetry.events.kafka import DeliveryFellBack, ProducerNotClosed, ShortWayUnused
from tests.unit.fakes import TASK, TO


@pytest.fixture
async def app():
    made = faust.App("posts", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
    made.finalize()
    return made


class Stuck:
    """aiokafka's producer, which waits for a broker that is gone; its *client* may do so, too."""

    def __init__(self, *, client_too):
        self.closed, self._client_too = False, client_too
        self.client = self

    async def stop(self):
        await asyncio.Event().wait()

    async def close(self):
        if self._client_too:
            await asyncio.Event().wait()
        self.closed = True


@pytest.mark.parametrize("client_too", [False, True])
async def test_a_stop_has_an_end(app, monkeypatch, client_too):
    """A producer that does not stop is given up, its connections closed if they can be, and somebody hears of it."""
    monkeypatch.setattr(module, "STOP_GRACE_SECS", 0.01)
    monkeypatch.setattr(module, "CLOSE_SECS", 0.01)
    told = []
    made = TaskProducer(
        app, transactional_id="posts-0", idempotent=True, transaction_timeout_secs=60, unclosed=told.append
    )
    stuck = made._producer = Stuck(client_too=client_too)
    await made.on_stop()

    assert ["no end within 0.01 s"] == told
    assert (not client_too) == stuck.closed


@pytest.fixture
def events():
    return []


@pytest.fixture
def sink(events):
    settings = DeliverySettings(
        task=TASK, transactional_id="posts-0", idempotent=True, transaction_timeout_secs=60, trust_end_offsets=True
    )
    return TopicSink(None, KafkaCluster(servers=()), [TO], None, settings, events.append)


def test_a_short_way_that_is_never_taken_is_told(sink, events):
    """Each small batch that is left to aiokafka's sender is counted; many in a row are a warning, once."""
    for _ in range(2 * FALLBACKS_TOLD):
        sink._count_fallback(Fallback.NOT_ASKED)

    assert [DeliveryFellBack(of=TASK, reason="not_asked")] * FALLBACKS_TOLD == events[:FALLBACKS_TOLD]
    assert [ShortWayUnused(of=TASK, batches=FALLBACKS_TOLD, reason="not_asked")] == [
        each for each in events if isinstance(each, ShortWayUnused)
    ]


def test_a_short_way_that_is_taken_again_is_no_warning(sink, events):
    """Only batches in a row make the warning."""
    for _ in range(3):
        for _ in range(FALLBACKS_TOLD - 1):
            sink._count_fallback(Fallback.REFUSED)
        sink._count_fallback(None)

    assert {DeliveryFellBack} == set(map(type, events))


async def test_a_sink_tells_of_a_producer_that_did_not_stop(sink, events, app, monkeypatch):
    """What is swallowed when a sink closes is an event of its task."""
    monkeypatch.setattr(module, "STOP_GRACE_SECS", 0.01)
    sink._app = app
    made = sink._new_producer()
    made._producer = Stuck(client_too=False)
    await made.on_stop()

    assert [ProducerNotClosed(of=TASK, reason="no end within 0.01 s")] == events
