"""
Requests that reach Kafka late where the leaders and the coordinator are different brokers, and while the latter moves.

Three brokers, with a proxy before each.  Every post is in the topic once, and every transaction is whole.
CONNECTOR_LATE_REQUESTS says how many late requests of each kind there are.
"""

import asyncio
import contextlib
import os
import random
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiokafka.client import CoordinationType

from connector.task import task as tasks
from connector.task.status import State
from connector.telemetry.events.task import TaskFailed, TaskFenced
from tests import brokers
from tests.kafka_proxy import Api, KafkaProxy, answer_lost, dropped, late
from tests.transactions import Feeder, Task, assert_exact, behind_proxies, make_sink, make_topics
from tests.unit.fakes import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(1800)]

TIMES = int(os.environ.get("CONNECTOR_LATE_REQUESTS", "2"))
RATE, SIZE = 500, 700
REQUEST_TIMEOUT_SECS = 4.0
SECS = 120.0
APIS = [Api.END_TXN, Api.ADD_PARTITIONS, Api.PRODUCE]

Proxied = tuple[brokers.KafkaBrokers, list[KafkaProxy]]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Three brokers, and the proxies before them."""
    brokers.require()
    three, proxies = behind_proxies(tmp_path_factory.mktemp("proxied-brokers"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(three)
        for proxy in proxies:
            stack.enter_context(proxy)
        yield three, proxies


@pytest.fixture
def proxies(proxied: Proxied) -> Iterator[list[KafkaProxy]]:
    yield proxied[1]
    proxied[1][0].forget()
    proxied[0].recover()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_PAUSE_SECS", 0.1)


@pytest.fixture
async def fed(proxied: Proxied, proxies: list[KafkaProxy], fresh: str) -> AsyncIterator[tuple[Task, Feeder, Callable]]:
    """A task behind the proxies under load, what feeds it, and what ends both and looks at the topics."""
    three, _ = proxied
    await make_topics(three, fresh, replicas=3)
    feeder, over = Feeder(), threading.Event()
    servers = ",".join(proxy.address for proxy in proxies)
    sink = make_sink(servers, fresh, producer_request_timeout=REQUEST_TIMEOUT_SECS)
    task = Task(feeder, sink, exactly_once=True)
    await task.task.start()
    await until(lambda: task.task.status.state is State.RUNNING, SECS)
    feeding = asyncio.create_task(asyncio.to_thread(feeder.bring_steadily, RATE, SIZE, over))
    await until(lambda: task.commits > 1, SECS)

    async def finish() -> None:
        over.set()
        await feeding
        await task.delivered(len(feeder.ids))
        await task.stop()
        assert [] == task.said(TaskFailed, TaskFenced)
        await assert_exact(three, fresh, feeder.ids)

    yield task, feeder, finish
    over.set()
    task.task.abandon()  # it would wait for ever where the test has failed
    await task.stop()
    await feeding


def coordinator(task: Task) -> int | None:
    """Return the broker that coordinates the task's transactions, as its producer knows it; None between producers."""
    producer = task.task._sink._producer
    return None if producer is None else producer.client._sender._coordinators.get(CoordinationType.TRANSACTION)


def leaders(task: Task, topic: str) -> set[int]:
    cluster = task.task._sink._producer.client.client.cluster
    return {partition.leader for partition in cluster._partitions[topic].values()}


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
async def test_leaders_and_coordinator_are_apart(fed, proxies: list[KafkaProxy], fresh: str, api: Api) -> None:
    """A transaction goes through several brokers, and what happens to a request at one of them breaks none."""
    task, _, finish = fed
    assert leaders(task, fresh) - {coordinator(task)}
    rng = random.Random(api)
    for fault in [*(late(rng.uniform(0.02, 0.6)) for _ in range(TIMES)), answer_lost(), dropped()]:
        commits = task.commits
        proxies[0].plan(api, fault)
        await until(fault.over.is_set, SECS)
        await until(lambda now=commits: task.commits > now + 1, SECS)
    await finish()


async def test_the_coordinator_moves(fed, proxied: Proxied, proxies: list[KafkaProxy]) -> None:
    """An EndTxn is under way to a coordinator that hands over to another broker, which ends the transaction itself."""
    task, _, finish = fed
    three, _ = proxied
    for _ in range(max(TIMES // 20, 1)):
        was = coordinator(task)
        gate = threading.Event()
        end = proxies[0].plan(Api.END_TXN, late(gate=gate))
        await until(end.begun.is_set, SECS)
        leaving = three.all[was - 1]
        going = asyncio.create_task(asyncio.to_thread(leaving.shut_down))
        await asyncio.sleep(0.3)  # it gives its partitions away, and its listeners are open until that is done
        gate.set()
        await until(end.over.is_set, SECS)
        codes = [struct.unpack_from(">h", answer, 8)[0] for answer in end.answers]
        print(f"the late EndTxn was answered by {codes}")  # noqa: T201  # for the record; 16 is NOT_COORDINATOR
        await going
        await until(lambda was=was: coordinator(task) not in {None, was}, SECS)
        commits = task.commits
        await until(lambda now=commits: task.commits > now + 3, SECS)
        await asyncio.to_thread(leaving.start)
    await finish()
