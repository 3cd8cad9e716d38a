"""Our partitioner against Java's, which is asked itself."""

import pytest

from connector.kafka.delivery.partitioner import partition_of, partitions_of
from tests import topics
from tests.brokers import Broker, KafkaBroker

pytestmark = pytest.mark.broker

PARTITIONS = 7
KEYS = [str(2_125_255_005_154_549_760 + 7_919 * n).encode() for n in range(500)]
KEYS += [b"k" * length for length in range(1, 70)]
KEYS += ["夜の群れ".encode(), b"0", bytes(range(128, 160)).replace(b"\x85", b"")]


async def test_agrees_with_java(broker: Broker, fresh: str) -> None:
    """A record that Kafka's Java producer writes lies where ours would put it."""
    if not isinstance(broker, KafkaBroker):
        pytest.skip("Java's producer comes with a broker that the tests start")
    await topics.create(broker, fresh, partitions=PARTITIONS)
    keys = [key for key in KEYS if key.decode("utf-8", "replace").encode() == key]
    broker.tool(
        "org.apache.kafka.tools.ConsoleProducer",
        *("--bootstrap-server", broker.address, "--topic", fresh),
        *("--property", "parse.key=true", "--property", "key.separator=|"),
        feed=b"".join(key + b"|v\n" for key in keys),
    )
    records = [record async for record in topics.records_of(broker, fresh)]

    assert sorted(keys) == sorted(record.key for record in records)
    assert [record.partition for record in records] == [partition_of(record.key, PARTITIONS) for record in records]
    assert [record.partition for record in records] == partitions_of([record.key for record in records], PARTITIONS)
