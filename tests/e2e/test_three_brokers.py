"""
Three brokers, each topic with three replicas: what operators do to them, and what happens to them, under load.

No worker dies and X keeps its connection, so the promise is plain: what was written to the connection is in the topic
once, each post of it.  CONNECTOR_BROKER_ROUNDS says how often the faults come round, 1 without it.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker, KafkaBrokers, require
from tests.workers import Worker, Workers, all_delivered, environment, wait_for

ROUNDS = int(os.environ.get("CONNECTOR_BROKER_ROUNDS", "1"))
RATE = 400
DOWN_SECS = 2.0
DEAD_SECS = 9.0
"""Longer than a broker's session: the controller gives its partitions to the others."""

FROZEN_SECS = 33.0
"""Longer than aiokafka's request timeout of 30 s (`CONNECTOR_PRODUCER_REQUEST_TIMEOUT` is Faust's name for it)."""

OFFSET_KEY = '["posts",{"stream":"filtered"}]'
PATIENT_SECS = 300.0
"""How long three brokers and a worker on a busy machine may take for what takes seconds."""

COORDINATORS = "__transaction_state"

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(400 + 400 * ROUNDS)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBrokers]:
    require()
    with KafkaBrokers(tmp_path_factory.mktemp("brokers")) as started:
        yield started


@pytest.fixture
def brokers(three: KafkaBrokers) -> Iterator[KafkaBrokers]:
    """The three, running again after whatever the test did to them."""
    yield three
    three.recover()


class Stage:
    """One worker under load, its three brokers, and what is done to them."""

    def __init__(self, brokers: KafkaBrokers, simulator: SimulatorThread, group: str, folder: Path) -> None:
        self.brokers, self.simulator, self.group, self.folder = brokers, simulator, group, folder
        self.worker: Worker

    # -- looking

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """Return the partitions of all topics, as a broker that runs describes them."""

        async def ask() -> dict[str, list[dict[str, Any]]]:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers.address)
            await admin.start()
            try:
                return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
            finally:
                await admin.close()

        return asyncio.run(ask())

    def leader(self, topic: str, partition: int) -> KafkaBroker:
        """Return the broker that leads that partition."""
        (found,) = (one for one in self.describe()[topic] if one["partition"] == partition)
        return self.brokers.all[found["leader"] - 1]

    @property
    def coordinator(self) -> KafkaBroker:
        """The coordinator of the task's transactions: the leader of the partition that Kafka chooses by the id."""
        number = 0
        for unit in f"{self.group}-posts-0":
            number = (31 * number + ord(unit)) & 0xFFFFFFFF  # Java's String.hashCode
        return self.leader(COORDINATORS, (number & 0x7FFFFFFF) % len(self.describe()[COORDINATORS]))

    def in_sync(self) -> bool:
        """Return whether each partition has all its replicas in sync again."""
        return all(len(one["isr"]) == len(one["replicas"]) for its in self.describe().values() for one in its)

    def settle(self) -> None:
        """Wait until posts are delivered that were written after now."""
        wait_for(lambda: self.worker.ready, "the worker is ready", PATIENT_SECS)
        enough = self.worker.delivered() + RATE
        wait_for(lambda: self.worker.delivered() >= enough, "posts are delivered again", PATIENT_SECS)

    # -- what is done

    def roll(self) -> None:
        """Restart one broker after the other, as an upgrade does: the next one when all replicas are in sync again."""
        for broker in self.brokers.all:
            broker.shut_down()
            time.sleep(DOWN_SECS)
            broker.start()
            wait_for(self.in_sync, "all replicas are in sync", PATIENT_SECS)

    def kill(self, broker: KafkaBroker) -> None:
        """SIGKILL, until the others have taken over; then it comes back."""
        broker.kill()
        time.sleep(DEAD_SECS)
        broker.start()
        wait_for(self.in_sync, "all replicas are in sync", PATIENT_SECS)

    def kill_leader(self) -> None:
        self.kill(self.leader(f"{self.group}-offsets", 0))

    def kill_coordinator(self) -> None:
        self.kill(self.coordinator)

    def freeze_coordinator(self) -> None:
        """It wakes beyond the request timeout, and takes itself for the coordinator that it no longer is."""
        broker = self.coordinator
        broker.freeze()
        time.sleep(FROZEN_SECS)
        broker.thaw()
        wait_for(self.in_sync, "all replicas are in sync", PATIENT_SECS)

    def move_leaders(self) -> None:
        """Give each partition, the coordinators' among them, to another broker, with all brokers alive."""
        moves = [
            {"topic": topic, "partition": one["partition"], "replicas": _behind(one["leader"], one["replicas"])}
            for topic, its in self.describe().items()
            for one in its
        ]
        plan = self.folder / "moves.json"
        plan.write_text(json.dumps({"version": 1, "partitions": moves}))
        tool, asked = self.brokers.all[0].tool, ("--bootstrap-server", self.brokers.address)
        before = self.coordinator
        command = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
        tool(command, *asked, "--reassignment-json-file", str(plan), "--execute")
        elect = ("--election-type", "preferred", "--all-topic-partitions")
        tool("org.apache.kafka.tools.LeaderElectionCommand", *asked, *elect)
        wait_for(lambda: self.coordinator is not before, "the coordinator has moved", PATIENT_SECS)

    def add_partitions(self) -> None:
        """Posts go to the new partitions, too, once the worker knows of them."""

        async def add() -> int:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers.address)
            await admin.start()
            try:
                (described,) = await admin.describe_topics([self.group])
                count = len(described["partitions"]) + 2
                await admin.create_partitions({self.group: NewPartitions(count)})
                return count
            finally:
                await admin.close()

        asyncio.run(add())

    def lose_one_for_good(self) -> None:
        """The first of the addresses that the worker was given goes and never comes back; a new worker starts so."""
        self.brokers.all[0].kill()
        time.sleep(DEAD_SECS)

    # -- the end

    def finish(self) -> topics.Contents:
        """Stop the posts, let the last be delivered, stop the worker, and read the topic."""
        self.simulator.rate = 0
        wait_for(lambda: all_delivered(self.simulator, self.worker), "all posts are delivered", PATIENT_SECS)
        assert self.worker.stop() == 0
        return topics.contents(self.brokers, self.group)


def _behind(leader: int, replicas: list[int]) -> list[int]:
    """Put *leader* last.  It need not be the first now: after a restart another leads until Kafka balances again."""
    return [*(one for one in replicas if one != leader), leader]


def _stage(
    brokers: KafkaBrokers, simulator: SimulatorThread, workers: Workers, group: str, folder: Path, **settings: object
) -> Stage:
    stage = Stage(brokers, simulator, group, folder)
    stage.worker = workers.start(environment(brokers, simulator.url, group, **settings)).wait_ready(PATIENT_SECS)
    simulator.rate = RATE
    stage.settle()
    return stage


def test_what_happens_to_brokers_is_exact(
    brokers: KafkaBrokers,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    tmp_path: Path,
) -> None:
    """Rolling restarts, dead and frozen coordinators, moved leaders, new partitions, a broker lost: each post once."""
    simulator = simulate()
    stage = _stage(brokers, simulator, workers, fresh, tmp_path)
    for _ in range(ROUNDS):
        for happens in (
            stage.roll,
            stage.kill_leader,
            stage.move_leaders,
            stage.freeze_coordinator,
            stage.add_partitions,
            stage.kill_coordinator,
        ):
            happens()
            stage.settle()
    stage.lose_one_for_good()
    stage.settle()
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, stage.worker), "all posts are delivered", PATIENT_SECS)
    assert stage.worker.stop() == 0
    stage.worker = workers.start(environment(brokers, simulator.url, fresh)).wait_ready(PATIENT_SECS)
    simulator.rate = RATE
    stage.settle()
    found = stage.finish()
    written = set(simulator.emissions.complete_ids())

    assert not found.doubled
    assert written == found.places.keys()
    assert found.records == topics.offsets(brokers, fresh)[OFFSET_KEY]["posts"]
    assert {place.partition for place in found.places.values()} == set(range(3 + 2 * ROUNDS))
    assert not any(worker.events("task.failed") for worker in workers.all)


def test_without_transactions_nothing_is_lost(
    brokers: KafkaBrokers,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    tmp_path: Path,
) -> None:
    """At least once: a rolling restart, a leader killed and leaders moved lose no post."""
    simulator = simulate()
    stage = _stage(brokers, simulator, workers, fresh, tmp_path, delivery="at_least_once")
    for _ in range(ROUNDS):
        for happens in (stage.roll, stage.kill_leader, stage.move_leaders):
            happens()
            stage.settle()
    found = stage.finish()

    assert set(simulator.emissions.complete_ids()) == found.places.keys()
    assert not workers.all[0].events("task.failed")
