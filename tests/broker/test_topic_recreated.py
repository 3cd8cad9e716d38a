"""
The output topic is deleted and made again while a task delivers, with fewer, as many or more partitions.

What Kafka had is gone with the topic.  What it gets afterwards is there, once where delivery is exactly once.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.task import task as tasks
from connector.task.status import State
from connector.telemetry.events.task import TaskFailed, TaskFenced
from tests import topics
from tests.brokers import Broker
from tests.transactions import PARTITIONS, Feeder, Task, make_sink, make_topics, transactions_of
from tests.unit.fakes import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOES_ON_SECS = 25.0
"""Less than the 30 s after which aiokafka gives up a batch by itself, and seconds where nothing else works."""

SECS = 60.0


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_PAUSE_SECS", 0.2)


@dataclass
class Load:
    """Posts a second, bytes each, and seconds between batches (None: a worker's)."""

    rate: float
    size: int
    pace_secs: float | None = None


LOADS = {"the short way": Load(300, 300), "the sender": Load(3_000, 1_000, 0.5)}

Begin = Callable[[bool, Load], Awaitable[tuple[Task, Feeder]]]


@pytest.fixture
async def begin(broker: Broker, fresh: str) -> AsyncIterator[Begin]:
    """Start a task, and feed it until the end of the test or `over` is set."""
    await make_topics(broker, fresh)
    over = threading.Event()
    feeding: list[asyncio.Task[None]] = []
    running: list[Task] = []

    async def start(exactly_once: bool, load: Load) -> tuple[Task, Feeder]:  # noqa: FBT001
        feeder = Feeder()
        paced = {} if load.pace_secs is None else {"pace_secs": load.pace_secs}
        sink = make_sink(broker.address, fresh, exactly_once=exactly_once)
        task = Task(feeder, sink, exactly_once=exactly_once, **paced)
        running.append(task)
        await task.task.start()
        await until(lambda: task.task.status.state is State.RUNNING, SECS)
        feeding.append(asyncio.create_task(asyncio.to_thread(feeder.bring_steadily, load.rate, load.size, over)))
        return task, feeder

    yield start
    over.set()
    for task in running:
        task.task.abandon()  # it would wait for ever where the test has failed
        await task.stop()
    await asyncio.gather(*feeding)


async def delete(broker: Broker, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    try:
        response = await admin.delete_topics([topic])
        assert [0] == [code for _, code in response.topic_error_codes]
    finally:
        await admin.close()


def confirmed(task: Task) -> int:
    return sum(coverage.posts for coverage in task.committed)


@pytest.mark.parametrize("absent_secs", [0.0, 2.0], ids=["at once", "later"])
@pytest.mark.parametrize("partitions", [1, PARTITIONS, 2 * PARTITIONS], ids=["fewer", "as many", "more"])
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("exactly_once", [True, False], ids=["exactly once", "at least once"])
async def test_it_goes_on(
    begin: Begin,
    broker: Broker,
    fresh: str,
    exactly_once: bool,  # noqa: FBT001
    load: str,
    partitions: int,
    absent_secs: float,
) -> None:
    """Nobody restarts anything, nothing waits for ever, and what is delivered from then on is all there."""
    task, feeder = await begin(exactly_once, LOADS[load])
    await until(lambda: task.commits > 3, SECS)
    await delete(broker, fresh)
    await asyncio.sleep(absent_secs)
    await topics.create(broker, fresh, partitions=partitions, retention_ms="-1")
    fed = len(feeder.ids)
    gone = fed - task.task.undelivered_posts  # without transactions the offset is behind what was acknowledged
    await until(lambda: confirmed(task) > fed, GOES_ON_SECS)
    fed = len(feeder.ids)
    await task.delivered(fed)
    found = await transactions_of(broker, fresh)

    print(f"{gone} posts were confirmed before, {found.lost(feeder.ids[:gone])} are gone, {found.doubled} doubled")  # noqa: T201  # for the record
    assert [] == task.said(TaskFailed, TaskFenced)
    assert 0 == found.lost(feeder.ids[gone:fed])
    assert found.lost(feeder.ids[:gone])
    if exactly_once:
        assert 0 == found.doubled
