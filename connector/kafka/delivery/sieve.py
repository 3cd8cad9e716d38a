"""
Finds the records of a batch that their topics refuse, by sending them again.

    refused batch ─▶ send it alone ─▶ taken                        no record is refused
                                  ├─▶ refused, records are named   these are refused; send the others again
                                  └─▶ refused, none is named       send each half, down to one record

Kafka names the refused records and gives a reason for each (Produce, version 8).  Other brokers name none; nor do
errors about a whole batch.  With transactions, all this is sent in one transaction that is never committed: the next
producer with the same id ends it.  Without transactions, the records that the topic takes stay in the topic.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Request
from aiokafka.protocol.produce import (
    ProduceRequest_v3,
    ProduceRequest_v4,
    ProduceRequest_v5,
    ProduceRequest_v6,
    ProduceRequest_v7,
    ProduceRequest_v8,
)
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest

from connector.errors import BrokerAway, DeliveryFailed
from connector.kafka import internals
from connector.kafka.delivery.partitioner import partitions_of
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.delivery.record_batch import RecordBatch, record_batches
from connector.kafka.delivery.rejects import REFUSING, sentence
from connector.records.record import Batch, Records, Sifted, Spot

PATIENCE_SECS = 10.0
"""A coordinator that needs longer to complete the last transaction counts as away (seconds)."""
RETRY_SECS = 0.02
_CONCURRENT_TRANSACTIONS = 51
_NAMED_FIELDS = 7
"""Fields of a partition in an answer that names records; the last two are these records and a message about all."""


_Versions = (
    ProduceRequest_v3
    | ProduceRequest_v4
    | ProduceRequest_v5
    | ProduceRequest_v6
    | ProduceRequest_v7
    | ProduceRequest_v8
)


class _Produce(Request[_Versions]):
    """A produce request of up to version 8; aiokafka has the structs of all these versions and does not use all."""

    API_KEY = 0

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


class Sieve:
    """Sends records with *producer*, which has just started, to find those that Kafka refuses."""

    def __init__(self, producer: TaskProducer) -> None:
        self._producer = producer
        self._client = producer.client.client
        self._manager = internals.transaction_manager(producer.client)
        self._sender = internals.sender(producer.client)

    async def sift(self, batch: Batch, refusing: Collection[tuple[str, int]]) -> Sifted:
        """
        Return which records of *batch* their topics refuse.

        Without transactions, only the records for the topics and partitions *refusing* are sent.

        Raises:
            BrokerAway, DeliveryFailed, KafkaError: Kafka does not answer, or fails for another reason than the records.
        """
        transactional = self._producer.transactional_id is not None
        spots = self._spots_of(batch, None if transactional else refusing)
        if transactional and spots:
            self._manager.begin_transaction()
            await self._add(sorted(spots))
        found = Sifted(taken=not transactional)
        for place, its_spots in spots.items():
            await self._sift(batch, its_spots, place, found)
        return found

    def _spots_of(
        self, batch: Batch, among: Collection[tuple[str, int]] | None
    ) -> Mapping[tuple[str, int], Sequence[Spot]]:
        """Return the records for each topic and partition; None as *among* means all of these."""
        spots: dict[tuple[str, int], list[Spot]] = defaultdict(list)
        for number, share in enumerate(batch.shares):
            of_all = share.records.partition_keys
            for topic, places in share.records.places_by_topic(share.to.topic).items():
                keys = [of_all[place] for place in places]
                chosen = partitions_of(keys, self._producer.partitions(topic))
                for place, partition in zip(places, chosen, strict=True):
                    if among is None or (topic, partition) in among:
                        spots[topic, partition].append((number, place))
        return spots

    async def _sift(self, batch: Batch, spots: Sequence[Spot], place: tuple[str, int], found: Sifted) -> None:
        topic, partition = place
        left = [list(spots)]
        while left:
            some = left.pop()
            batches = list(record_batches(_of(batch, some), self._producer.batch_style))
            if len(batches) > 1:
                left += _cut(some, [each.record_count() for each in batches])
                continue
            code, named, words = await self._send(TopicPartition(topic, partition), batches[0])
            if not code:
                continue
            if code not in REFUSING:
                raise _failure(code, f"{topic}, partition {partition}")
            if len(some) == 1:
                named = {0: named.get(0, "")}
            for number, its_words in named.items():
                share, where = some[number]
                post = b"%d" % batch.shares[share].records.post_id(where)
                found.refused[some[number]] = sentence(post, topic, code, its_words or words)
            if named:
                rest = [spot for number, spot in enumerate(some) if number not in named]
                left += [rest] if rest else []
            else:
                left += some[len(some) // 2 :], some[: len(some) // 2]

    async def _send(self, place: TopicPartition, batch: RecordBatch) -> tuple[int, Mapping[int, str], str]:
        """Return Kafka's error number (0: none), its message for each record that it names, and its message for all."""
        manager = self._manager
        if manager is not None:
            sequence = manager.sequence_number(place)
            batch.number(manager.producer_id, manager.producer_epoch, sequence)
        leader = self._client.cluster.leader_for_partition(place)
        if leader in {None, -1}:
            raise BrokerAway(f"Partition {place.partition} of the topic {place.topic} has no leader")
        request = _Produce(
            self._producer.transactional_id,
            *internals.request_settings(self._sender),
            [(place.topic, [(place.partition, b"".join(batch.build()))])],
        )
        response = await self._client.send(leader, request)
        ((_, (answer,)),) = response.topics
        code = answer[1]
        if code == 0 and manager is not None:
            manager.increment_sequence_number(place, batch.record_count())
        if len(answer) < _NAMED_FIELDS:
            return code, {}, ""
        named = {number: words or "" for number, words in answer[-2] or () if 0 <= number < batch.record_count()}
        return code, named, answer[-1] or ""

    async def _add(self, places: Sequence[tuple[str, int]]) -> None:
        coordinator = internals.coordinators(self._sender).get(CoordinationType.TRANSACTION)
        if coordinator is None:
            raise BrokerAway("The transaction coordinator is not known")
        manager = self._manager
        topics: dict[str, list[int]] = defaultdict(list)
        for topic, partition in places:
            topics[topic].append(partition)
        request = AddPartitionsToTxnRequest(
            transactional_id=manager.transactional_id,
            producer_id=manager.producer_id,
            producer_epoch=manager.producer_epoch,
            topics=list(topics.items()),
        )
        until = asyncio.get_running_loop().time() + PATIENCE_SECS
        while True:
            response = await self._client.send(coordinator, request, group=ConnectionGroup.COORDINATION)
            codes = {code for _, answers in response.errors for _, code in answers if code}
            if not codes:
                return
            if codes != {_CONCURRENT_TRANSACTIONS} or asyncio.get_running_loop().time() > until:
                raise _failure(codes.pop(), ", ".join(topics))
            await asyncio.sleep(RETRY_SECS)


def _failure(code: int, where: str) -> KafkaError | DeliveryFailed:
    error: KafkaError = for_code(code)(where)
    return error


def _of(batch: Batch, spots: Sequence[Spot]) -> Records:
    return Records.of(batch.shares[number].records.at(place) for number, place in spots)


def _cut(spots: Sequence[Spot], counts: Sequence[int]) -> list[list[Spot]]:
    pieces, start = [], 0
    for count in counts:
        pieces.append(list(spots[start : start + count]))
        start += count
    return pieces
