"""A topic is deleted while posts flow: what is said, what is made again, and what becomes of the posts."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.kafka.topics import TASK_SLOTS
from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SAID_SECS = 30
"""Seconds on a machine that has little else to do."""
OFFSET_KEY = '["posts",{"stream":"filtered"}]'


def delete(broker: KafkaBroker, topic: str) -> None:
    async def ask() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        try:
            response = await admin.delete_topics([topic])
            assert [0] == [code for _, code in response.topic_error_codes]
        finally:
            await admin.close()

    asyncio.run(ask())


def partitions(broker: KafkaBroker, topic: str) -> int:
    async def ask() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        try:
            (described,) = await admin.describe_topics([topic])
            return len(described["partitions"])
        finally:
            await admin.close()

    return asyncio.run(ask())


def flows(worker: Worker, more: int = 20) -> None:
    """Wait until *more* posts are delivered."""
    before = worker.delivered()
    wait_for(lambda: worker.delivered() >= before + more, "posts flow again")


OURS = ("", "-offsets", "-ledger", "-letters", "-statuses", "-tasks")


@pytest.mark.parametrize(("delivery", "deleted"), [("exactly_once", OURS), ("at_least_once", OURS[:2])])
def test_what_we_made_is_made_again(
    frail_broker: KafkaBroker,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    delivery: str,
    deleted: tuple[str, ...],
) -> None:
    """Each topic in turn: the log names it within seconds, it comes back as it was, posts flow, coverage is kept."""
    simulator = simulate(rate=20)
    tolerant = {"errors_tolerance": "all", "dead_letter_topic": f"{fresh}-letters", "delivery": delivery}
    worker = workers.start(environment(frail_broker, simulator.url, fresh, **tolerant)).wait_ready()
    worker.wait_delivered(40)
    began = wait_for(lambda: topics.offsets(frail_broker, fresh).get(OFFSET_KEY), "an offset")
    made = {name: partitions(frail_broker, name) for name in (fresh, f"{fresh}-offsets")}
    before = set[str]()
    for topic in [f"{fresh}{kind}" for kind in deleted]:
        delete(frail_broker, topic)
        lost = worker.wait_event("topic.missing", topic=topic, secs=SAID_SECS)
        worker.wait_event("topic.created", count=2, topic=topic)
        flows(worker)
        if topic == fresh:  # what was in it is gone
            before = set(simulator.emissions.complete_ids())
        assert lost["reason"].startswith(f"The topic {topic} was deleted")
    worker.wait_ready()
    simulator.rate = 0

    def missing() -> set[str]:
        # lines that were on the socket when the task stopped, for `-tasks`, are repaired with those of the time after
        return set(simulator.emissions.complete_ids()) - before - set(topics.ids(topics.read(frail_broker, fresh)))

    wait_for(lambda: not missing(), "all posts that came after the topic was made again are in it")
    wait_for(
        lambda: worker.delivered() == topics.offsets(frail_broker, fresh)[OFFSET_KEY]["posts"], "the count is read"
    )
    delivered = worker.delivered()

    assert {fresh: 3, f"{fresh}-offsets": TASK_SLOTS} == made
    assert made == {name: partitions(frail_broker, name) for name in made}
    assert [] == worker.events("task.failed")
    assert [] == worker.events("task.fenced")
    assert 0 == worker.stop()
    offset = topics.offsets(frail_broker, fresh)[OFFSET_KEY]
    assert began["covered_from"] == offset["covered_from"]
    assert delivered == offset["posts"]
    found = topics.contents(frail_broker, fresh)
    if delivery == "exactly_once":
        assert not found.doubled


@pytest.mark.parametrize("count", [5, 2])
def test_what_somebody_else_made_is_waited_for(
    frail_broker: KafkaBroker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, count: int
) -> None:
    """Not made with our settings: log, ready, status name it and the cure; it goes on with the partitions it gets."""
    asyncio.run(topics.create(frail_broker, fresh, partitions=5))
    simulator = simulate(rate=20)
    worker = workers.start(environment(frail_broker, simulator.url, fresh)).wait_ready()
    worker.wait_delivered(40)
    delete(frail_broker, fresh)
    lost = worker.wait_event("topic.missing", topic=fresh, secs=SAID_SECS)
    status, ready = worker.get("/ready")
    detail = worker.status()["tasks"][0]["detail"]
    asyncio.run(topics.create(frail_broker, fresh, partitions=count))
    worker.wait_event("topic.back", topic=fresh)
    simulator.rate = 0
    wait_for(lambda: worker.delivered() == len(simulator.emissions.complete_ids()), "all is delivered")
    worker.wait_ready()

    assert "create it" in lost["reason"]
    assert 503 == status
    assert lost["reason"] in ready["reasons"]
    assert lost["reason"] in detail
    assert 0 == worker.stop()
    assert not topics.contents(frail_broker, fresh).doubled
    assert count == partitions(frail_broker, fresh)
