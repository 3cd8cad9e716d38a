"""Faust's producer with the transactional id of one task."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import Producer

from connector.errors import BrokerAway
from connector.kafka.delivery.gone import fail_when_gone
from connector.kafka.delivery.once import send_once
from connector.kafka.delivery.pipelining import pipeline
from connector.kafka.delivery.record_batch import BatchStyle, copy_once
from connector.kafka.delivery.rejects import Places, note
from connector.kafka.delivery.small_batches import NEXT_TRANSACTION_SECS, Fallback, SmallBatches
from connector.kafka.internals import Use, ask_again_after, missing, outcome, transaction_manager
from connector.kafka.rights import REFUSALS

STOP_GRACE_SECS = 5.0
CLOSE_SECS = 1.0
"""Time to close the connections of a producer that has not stopped in time (seconds)."""


class TaskProducer(Producer):
    """
    A producer with a *transactional_id* of its task, or without one (*idempotent* or not) for at-least-once.

    Starting it with a transactional id fences the id's previous owner and ends the transaction that this left open.
    """

    mundane_level = "debug"

    def __init__(
        self,
        app: faust.App,
        *,
        transactional_id: str | None,
        idempotent: bool,
        transaction_timeout_secs: float,
        told: Callable[[Fallback | None], None] = lambda _: None,
        unclosed: Callable[[str], None] = lambda _: None,
        **kwargs: Any,
    ) -> None:
        self.transactional_id = transactional_id
        self._idempotent = idempotent
        self._transaction_timeout_secs = transaction_timeout_secs
        super().__init__(app.transport, **kwargs)
        self.small_batches: SmallBatches | None = None
        """Writes small batches; None until the producer has started, or if aiokafka lacks a name that this needs."""
        self.refused: Places = {}
        """The topics and partitions that refused the records sent last."""
        self._told, self._unclosed = told, unclosed

    def _settings_extra(self) -> Mapping[str, Any]:
        extra = {**super()._settings_extra(), "acks": "all", "enable_idempotence": self._idempotent}
        if self.transactional_id is not None:
            extra["transaction_timeout_ms"] = int(self._transaction_timeout_secs * 1000)
        return extra

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        producer = super()._new_producer(transactional_id or self.transactional_id)
        copy_once(producer.client)
        self.refused = note(producer.client)
        if transaction_manager(producer) is not None and self.transactional_id is not None:
            send_once(producer)
        if not missing(Use.PIPELINING):
            pipeline(producer)
        fail_when_gone(producer)
        ask_again_after(NEXT_TRANSACTION_SECS)
        return producer

    async def on_start(self) -> None:
        try:
            await super().on_start()
        except BaseException:
            if self._producer is not None:  # aiokafka leaves its sockets open when it cannot start
                await self._producer.client.close()
            raise
        if not missing(Use.SMALL_BATCHES):
            self.small_batches = SmallBatches(self.client, self._told)

    async def on_stop(self) -> None:
        # aiokafka waits for ever for a broker that is gone; the next producer of the id aborts an open transaction
        producer = self._producer
        try:
            await asyncio.wait_for(super().on_stop(), STOP_GRACE_SECS)
        except (TimeoutError, KafkaError) as exc:
            self._unclosed(f"{type(exc).__name__}: {exc}" if str(exc) else f"no end within {STOP_GRACE_SECS:g} s")
            if producer is not None:
                with contextlib.suppress(TimeoutError):  # reported above
                    await asyncio.wait_for(producer.client.close(), CLOSE_SECS)

    @property
    def client(self) -> AIOKafkaProducer:
        """The aiokafka producer inside."""
        return self._ensure_producer()

    @property
    def batch_style(self) -> BatchStyle:
        """How to write the record batches that this producer sends."""
        return BatchStyle(self.max_batch_size, self.transactional_id is not None, self.compression_type)

    def announce(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Let one request add all *partitions* to the transaction; else the first one gets a request of its own."""
        manager = transaction_manager(self.client)
        for topic, number in partitions:
            manager.maybe_add_partition_to_txn(TopicPartition(topic, number))

    @property
    def refusal(self) -> BaseException | None:
        """The error of a missing right that ended the transaction and so caused its batches' errors; None without."""
        manager = None if self._producer is None else transaction_manager(self._producer)
        waiter = None if manager is None else outcome(manager)
        if waiter is None or not waiter.done() or waiter.cancelled():
            return None
        error: BaseException | None = waiter.exception()
        return error if isinstance(error, REFUSALS) else None

    def partitions(self, topic: str) -> int:
        """
        Return the number of partitions of *topic*.

        Raises:
            BrokerAway: Kafka's metadata has no partition of *topic* at the moment.
        """
        known = self.client.client.cluster.partitions_for_topic(topic)
        if not known:
            raise BrokerAway(f"Kafka knows no partition of the topic {topic} at the moment")
        return len(known)
