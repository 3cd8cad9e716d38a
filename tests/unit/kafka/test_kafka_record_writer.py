"""Records of the group's own topics: the end of a writer, whatever is under way."""

import pytest
from aiokafka.errors import KafkaConnectionError

from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.record_writer import RecordWriter


@pytest.mark.parametrize("error", [None, KafkaConnectionError(), TimeoutError(), KeyError("a batch that was put back")])
@pytest.mark.parametrize("transactional_id", [None, "group-configs"])
async def test_a_writer_is_closed_while_kafka_is_away(monkeypatch, error, transactional_id):
    """Nobody who closes it fails for it, and its connections are closed."""
    writer = RecordWriter(KafkaCluster(servers=("127.0.0.1:9",)), transactional_id)
    closed = []

    async def stop():
        if error is not None:
            raise error

    async def close():
        closed.append(True)

    monkeypatch.setattr(writer._producer, "stop", stop)
    monkeypatch.setattr(writer._producer.client, "close", close)
    await writer.close()
    writer._producer._closed = True  # it was never started

    assert [True] == closed
