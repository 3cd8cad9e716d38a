"""The first start on a broker with the limits of a hosted one, by a real policy for new topics."""

import subprocess
from collections.abc import Callable, Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.kafka.topics import settings_of
from connector.simulator import SimulatorThread
from tests import brokers
from tests.brokers import HERE, JARS, KafkaBroker
from tests.workers import Workers, all_delivered, environment, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    brokers.require("javac")
    brokers.fetch_jars()
    classes = tmp_path_factory.mktemp("classes")
    source = HERE / "kafka" / "HostedPolicy.java"
    command = ["javac", "-cp", f"{JARS}/*", "-d", str(classes), str(source)]
    subprocess.run(command, check=True, timeout=120)  # noqa: S603  # our own arguments
    policy = {"create.topic.policy.class.name": "HostedPolicy"}
    with KafkaBroker(tmp_path_factory.mktemp("hosted"), properties=policy, classes=classes) as broker:
        yield broker


async def test_first_start(
    hosted: KafkaBroker, workers: Workers, simulate: Callable[..., SimulatorThread], fresh: str
) -> None:
    """
    The topics are created with the broker's values, one line says so, and the worker delivers.

    A second start takes the topics as they are, and says nothing.
    """
    simulator = simulate(rate=50)
    letters = {"errors_tolerance": "all", "dead_letter_topic": f"{fresh}-letters"}
    settings = environment(hosted, simulator.url, fresh, **letters)
    worker = workers.start(settings).wait_ready()
    worker.wait_delivered(50)
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all is delivered")
    assert 0 == worker.stop()
    again = workers.start(settings).wait_ready()
    assert 0 == again.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=hosted.address)
    await admin.start()
    offsets, dead = [await settings_of(admin, f"{fresh}-{name}") for name in ("offsets", "letters")]
    await admin.close()

    (limited,) = worker.events("topics.limited")
    assert [f"{fresh}-{name}" for name in ("offsets", "statuses", "configs", "letters")] == limited["topics"]
    for change in (
        "segment.bytes=52428800 instead of 8388608",
        "the broker's min.cleanable.dirty.ratio instead of 0.1",
        f"{fresh}-letters: max.message.bytes=8388608 instead of 20971520",
    ):
        assert change in limited["settings"]
    assert ("compact", "52428800", "8388608") == tuple(
        offsets[setting] for setting in ("cleanup.policy", "segment.bytes", "max.message.bytes")
    )
    assert "8388608" == dead["max.message.bytes"]
    assert [] == again.events("topics.limited")


def test_what_an_operator_has_chosen(
    hosted: KafkaBroker, workers: Workers, simulate: Callable[..., SimulatorThread], fresh: str
) -> None:
    """Where a limit would change what an operator has chosen the worker ends, and says how to create the topic."""
    settings = environment(hosted, simulate().url, fresh, topic_creation_default_retention_ms=10**12)
    worker = workers.start(settings)

    assert 1 == worker.wait()
    (failed,) = worker.events("worker.failed")
    assert f"Kafka refuses to create the topic {fresh} with 3 partitions" in failed["reason"]
    assert "'retention.ms' with value '1000000000000' exceeded the maximum" in failed["reason"]
    assert f"kafka-topics.sh --create --topic {fresh} --partitions 3 --config cleanup.policy=delete" in failed["reason"]
