"""
Requests of a transaction that reach Kafka late, twice or never, or whose answers are lost: the hole before KIP-890.

Exactly once: every post in the topic once, every transaction whole.  `make late` is the long form: 200 late requests of
each kind, at several rates.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from connector import task as tasks
from connector.status import State
from tests import brokers
from tests.kafka_proxy import Api, Fault, KafkaProxy, late, slow
from tests.transactions import Feeder, Task, assert_exact, behind_proxy, make_sink, make_topics
from tests.unit.fakes import until

pytestmark = pytest.mark.broker

SMALL, LARGE = (20, 700), (1_500, 700)
"""Posts and bytes each of a batch that takes the short way, and of one for aiokafka's sender."""


@pytest.fixture(scope="module")
def proxied(tmp_path_factory) -> Iterator[tuple[brokers.KafkaBroker, KafkaProxy]]:
    """A broker with a proxy before it."""
    if reason := brokers.why_not():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI runs every test, but: {reason}", pytrace=False)
        pytest.skip(reason)
    broker, proxy = behind_proxy(tmp_path_factory.mktemp("proxied"))
    with broker, proxy:
        yield broker, proxy


@pytest.fixture
def broker(proxied) -> brokers.KafkaBroker:
    return proxied[0]


@pytest.fixture
def proxy(proxied) -> Iterator[KafkaProxy]:
    yield proxied[1]
    proxied[1].forget()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr(tasks, "RESTART_PAUSE_SECS", 0.2)


@pytest.fixture
async def start(broker, proxy, fresh) -> AsyncIterator[Callable]:
    """Start a task behind the proxy that a `Feeder` feeds."""
    await make_topics(broker, fresh)
    running = []

    async def begin(*, exactly_once=True, idempotent=True, **conf):
        sink = make_sink(proxy.address, fresh, exactly_once=exactly_once, idempotent=idempotent, **conf)
        feeder = Feeder()
        task = Task(feeder, sink, exactly_once=exactly_once)
        running.append(task)
        await task.task.start()
        await until(lambda: task.task.status.state is State.RUNNING)
        return task, feeder

    yield begin
    for task in running:
        await task.stop()


async def bring(task, feeder, count, size):
    await asyncio.to_thread(feeder.bring, count, size)
    await until(lambda: not task.undelivered, 60)


def harmed(fault: Fault) -> bool:
    return fault.over.is_set()


WAYS = pytest.mark.parametrize("posts", [SMALL, LARGE], ids=["small", "large"])


async def test_a_late_end_does_not_end_the_next_transaction(start, proxy, broker, fresh):
    """
    An EndTxn reaches Kafka when the next transaction has written its posts, and not yet its offset.

    This committed half a transaction: its posts were in and its offset was not, so the batch was sent again.
    """
    task, feeder = await start()
    await bring(task, feeder, *LARGE)
    gate = threading.Event()
    end = proxy.plan(Api.END_TXN, late(gate=gate))
    await asyncio.to_thread(feeder.bring, *LARGE)
    await until(end.begun.is_set)
    offset = proxy.plan(Api.PRODUCE, slow(gate=end.over), containing=b"-offsets")
    await asyncio.to_thread(feeder.bring, *LARGE)
    await until(offset.begun.is_set)
    gate.set()
    await until(end.over.is_set)
    await until(lambda: not task.undelivered, 60)
    await bring(task, feeder, *LARGE)
    await task.stop()

    await assert_exact(broker, fresh, feeder.ids)
