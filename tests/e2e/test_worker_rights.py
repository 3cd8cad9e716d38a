"""A worker among Kafka's ACLs: exactly the rights of the documents; rights that are missing, taken and given back."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.config.load import Loaded, load
from connector.kafka.gate.preparation import needs_of, topics_of
from connector.kafka.rights import GROUP, READ, TOPIC, TRANSACTIONAL_ID, WRITE, Right
from connector.simulator import SimulatorThread
from tests import brokers, topics
from tests.rights import PASSWORD, GuardedBroker, rights_of
from tests.workers import Worker, Workers, all_delivered, environment, wait_for

pytestmark = pytest.mark.e2e
Simulate = Callable[..., SimulatorThread]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    brokers.require()
    with GuardedBroker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker


class Case:
    """One worker's settings as alice, and what they need of Kafka."""

    def __init__(
        self, broker: GuardedBroker, simulator: SimulatorThread, name: str, folder: Path, **overrides: object
    ) -> None:
        self.broker, self.simulator, self.name = broker, simulator, name
        letters = {"errors_tolerance": "all", "dead_letter_topic": f"{name}-letters"}
        self.settings = environment(broker, simulator.url, name, **{**broker.login, **letters, **overrides})
        found: Loaded = load(self.settings, folder)
        self.needs = needs_of(found.worker, found.connector)
        self.topics = topics_of(found.worker, found.connector)

    def create_topics(self) -> None:
        self.broker.create(self.topics)

    def check(self) -> None:
        """What the simulator wrote is in the topic, each once."""
        ids = [record.key.decode() for record in topics.read(self.broker, self.name)]
        assert sorted(ids) == sorted(str(each) for each in self.simulator.emissions.complete_ids())


def drain(case: Case, worker: Worker) -> None:
    case.simulator.rate = 0
    wait_for(lambda: all_delivered(case.simulator, worker), "all is delivered")


def stop_exactly(case: Case, worker: Worker) -> None:
    drain(case, worker)
    assert 0 == worker.stop()
    assert PASSWORD not in worker.log
    assert not [line for line in worker.log.splitlines() if "Traceback" in line]
    case.check()


@pytest.mark.parametrize(("delivery", "create"), [("exactly_once", False), ("at_least_once", True)])
def test_exactly_these_rights(
    guarded: GuardedBroker,
    workers: Workers,
    simulate: Simulate,
    fresh: str,
    tmp_path: Path,
    delivery: str,
    create: bool,  # noqa: FBT001  # a parameter
) -> None:
    """
    A worker delivers with the rights of the documents and no other, and goes on after a restart.

    Once with topics that an administrator has made, once with the right to create them.
    """
    case = Case(guarded, simulate(rate=50), fresh, tmp_path, delivery=delivery)
    if not create:
        case.create_topics()
    guarded.allow(rights_of(case.needs, create=create, useful=False))
    worker = workers.start(case.settings).wait_ready()
    worker.wait_delivered(50)
    drain(case, worker)
    delivered = worker.delivered()

    assert 0 == worker.stop()
    assert not worker.events("kafka.refused")
    assert {fresh, f"{fresh}-letters"} == {
        re.findall(r"DESCRIBE_CONFIGS on topic (\S+)\.$", event["reason"])[0]
        for event in worker.events("kafka.right_useful")
        if "DESCRIBE_CONFIGS" in event["reason"]
    }
    again = workers.start(case.settings).wait_ready()
    case.simulator.rate = 50
    again.wait_delivered(delivered + 50)
    stop_exactly(case, again)


def test_rights_are_given_after_the_start(
    guarded: GuardedBroker, workers: Workers, simulate: Simulate, fresh: str, tmp_path: Path
) -> None:
    """A worker without any right says which it needs, in log, /ready and status, and begins once it has them."""
    case = Case(guarded, simulate(rate=50), fresh, tmp_path)
    case.create_topics()
    worker = workers.start(case.settings)
    (reason,) = {event["reason"] for event in [worker.wait_event("kafka.refused", part="start")]}
    _, body = worker.get("/ready")
    starting = worker.get("/connectors/posts/status")

    assert reason.startswith("User alice lacks rights in Kafka: allow ")
    for expected in (
        f"CREATE on topic {fresh} (or, if it is there, WRITE)",
        f"CREATE on topic {fresh}-offsets (or, if it is there, READ, WRITE and DESCRIBE_CONFIGS)",
        f"READ on group {fresh}",
        f"WRITE on transactional id {fresh}-posts-0",
    ):
        assert expected in reason
    assert reason in body["reasons"]
    assert (503, f"Worker is still starting up. {reason}") == (starting[0], starting[1]["message"])
    guarded.allow(rights_of(case.needs))
    worker.wait_event("kafka.admitted", part="start")
    worker.wait_ready().wait_delivered(20)
    stop_exactly(case, worker)


def wait_reason(worker: Worker, sentence: str) -> None:
    wait_for(
        lambda: any(sentence in reason for reason in worker.get("/ready")[1]["reasons"]),
        f"/ready says: {sentence}",
    )


def test_rights_come_and_go(
    guarded: GuardedBroker, workers: Workers, simulate: Simulate, fresh: str, tmp_path: Path
) -> None:
    """
    A right that is taken away while the worker runs is named, and the worker waits; given back, it goes on by itself.

    Nothing is lost and nothing comes twice.
    """
    case = Case(guarded, simulate(rate=50), fresh, tmp_path)
    case.create_topics()
    guarded.allow(rights_of(case.needs))
    worker = workers.start(case.settings).wait_ready()

    # of the task: the status says it, too
    for right in (
        Right(WRITE, TOPIC, fresh),
        Right(WRITE, TRANSACTIONAL_ID, f"{fresh}-posts-0"),
        Right(WRITE, TOPIC, f"{fresh}-offsets"),
    ):
        guarded.withdraw([right])
        allow = f"allow {right.operation} on {right.kind} {right.name}."
        wait_reason(worker, f"User alice lacks a right in Kafka: {allow}")
        wait_for(lambda allow=allow: allow in worker.status()["tasks"][0].get("detail", ""), "the status says it")
        assert "RUNNING" == worker.status()["tasks"][0]["state"]
        guarded.allow([right])
        worker.wait_ready()
        delivered = worker.delivered()
        worker.wait_delivered(delivered + 1)
        assert "detail" not in worker.status()["tasks"][0]

    # of the group: the task goes on delivering
    group = [Right(READ, GROUP, fresh), Right(READ, TOPIC, f"{fresh}-tasks")]
    guarded.withdraw(group)
    wait_reason(worker, f"allow READ on group {fresh}.")
    wait_reason(worker, f"allow READ on topic {fresh}-tasks.")
    worker.wait_delivered(worker.delivered() + 50)
    guarded.allow(group)
    worker.wait_event("kafka.admitted", part="group membership")
    worker.wait_ready()

    # of what is followed
    followed = [Right(READ, TOPIC, f"{fresh}-statuses"), Right(READ, TOPIC, f"{fresh}-configs")]
    guarded.withdraw(followed)
    for right in followed:
        wait_reason(worker, f"allow READ on topic {right.name}.")
    guarded.allow(followed)
    worker.wait_ready()
    assert not worker.events("task.failed")
    stop_exactly(case, worker)


def test_stop_without_rights(
    guarded: GuardedBroker, workers: Workers, simulate: Simulate, fresh: str, tmp_path: Path
) -> None:
    """A worker that waits for a right stops at once, with 0."""
    case = Case(guarded, simulate(rate=50), fresh, tmp_path)
    worker = workers.start(case.settings)
    worker.wait_event("kafka.refused")

    assert 0 == worker.stop()
