"""
Lets a producer fail at once when its partition is gone: the topic was deleted, or made again with fewer partitions.

aiokafka waits for such a partition as for a new one.  With transactions, it asks the coordinator for ever to add the
partition.  Without transactions, it keeps the batch for 30 s.  A topic that was made again with fewer partitions never
has the partition again.

So the delivery fails as soon as Kafka's metadata does not have the partition.  The task then opens a new producer, and
that asks Kafka for the partitions again.  The task sends the whole batch again, also the records that Kafka had
acknowledged in the deleted topic.

A broker's answer that it does not know the partition is not enough: it may hear of a new topic later than the others.
"""

from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from connector.kafka import internals

_UNKNOWN = 3
_PRODUCE, _ADD_PARTITIONS = 0, 24
"""Kafka's numbers of the error, and of the requests that name partitions."""


class PartitionGone(KafkaError):
    """A partition to which this producer was to write does not exist any more."""

    @classmethod
    def of(cls, partition: TopicPartition) -> "PartitionGone":
        """Return the error for *partition*."""
        return cls(
            f"Kafka has no partition {partition.partition} of the topic {partition.topic} any more: the topic was "
            "deleted, or made again with fewer partitions"
        )


def fail_when_gone(producer: AIOKafkaProducer) -> None:
    """Let *producer*, an aiokafka producer that was not started yet, fail for good when a partition is gone."""
    client, accumulator = producer.client, internals.accumulator(producer)
    waiting = internals.waiting(accumulator)
    send, drain, reenqueue = client.send, accumulator.drain_by_nodes, accumulator.reenqueue

    def gone(partitions: Collection[TopicPartition]) -> PartitionGone | None:
        # -1 is a partition without a leader
        absent = (partition for partition in partitions if client.cluster.leader_for_partition(partition) is None)
        first = next(absent, None)
        return None if first is None else PartitionGone.of(first)

    async def send_and_look(node_id: int, request: Any, **kwargs: Any) -> Any:
        response = await send(node_id, request, **kwargs)
        unknown = _unknown(request.API_KEY, response)
        if unknown:
            await client.force_metadata_update()
            if error := gone(unknown):
                _give_up(producer, error)
                raise error
        return response

    def drain_unless_gone(*args: Any, **kwargs: Any) -> Any:
        if error := gone(waiting):
            _give_up(producer, error)
        return drain(*args, **kwargs)

    def reenqueue_what_waits(batch: Any) -> None:
        if not batch.future.done():  # a done batch has failed with all others, and is off the list
            reenqueue(batch)

    client.send = send_and_look
    accumulator.drain_by_nodes, accumulator.reenqueue = drain_unless_gone, reenqueue_what_waits


def _unknown(api: int, response: Any) -> list[TopicPartition]:
    """Return the partitions that a broker does not know, from its *response* to a request with the number *api*."""
    if response is None or api not in {_PRODUCE, _ADD_PARTITIONS}:
        return []
    if isinstance(response, dict):  # the answer to a request of `small_batches`
        return [TopicPartition(*place) for place, code in response.items() if code == _UNKNOWN]
    topics = response.topics if api == _PRODUCE else response.errors
    return [
        TopicPartition(topic, partition)
        for topic, partitions in topics
        for partition, code, *_ in partitions
        if code == _UNKNOWN
    ]


def _give_up(producer: AIOKafkaProducer, error: PartitionGone) -> None:
    """Fail everything that waits for *producer*, which is not sent, and everything that is sent with it later."""
    manager, accumulator = internals.transaction_manager(producer), internals.accumulator(producer)
    if manager is not None and manager.transactional_id is not None and not manager.is_fatal_error():
        manager.fatal_error(error)
    queues = internals.waiting(accumulator)
    waiting = [batch for batches in queues.values() for batch in batches]
    accumulator.fail_all(error)
    queues.clear()
    for batch in (*waiting, *internals.under_way(accumulator)):
        waiter = internals.drained(batch)
        if waiter.done() and not waiter.cancelled():
            waiter.exception()  # asyncio logs each exception that is never read
