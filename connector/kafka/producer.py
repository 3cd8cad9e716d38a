"""Faust's producer, made one task's own: the only class that leans on private names of Faust."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import faust
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer import sender
from faust.transport.drivers.aiokafka import Producer

from connector.kafka.encoder import BatchStyle, copy_once
from connector.kafka.express import NEXT_TRANSACTION_SECS, Express
from connector.kafka.once import send_once
from connector.kafka.rights import REFUSALS
from connector.kafka.sender import pipeline

STOP_GRACE_SECS = 5.0


class TaskProducer(Producer):
    """
    A producer with a *transactional_id* of its task, or without one (*idempotent* or not) for at-least-once.

    Starting it with a transactional id fences the id's previous owner and ends what that left open.
    """

    mundane_level = "debug"

    def __init__(
        self,
        app: faust.App,
        *,
        transactional_id: str | None,
        idempotent: bool,
        transaction_timeout_secs: float,
        **kwargs: Any,
    ) -> None:
        self.transactional_id = transactional_id
        self._idempotent = idempotent
        self._transaction_timeout_secs = transaction_timeout_secs
        super().__init__(app.transport, **kwargs)
        self.express: Express | None = None
        """The short way for small batches, once started."""

    def _settings_extra(self) -> Mapping[str, Any]:
        extra = {**super()._settings_extra(), "acks": "all", "enable_idempotence": self._idempotent}
        if self.transactional_id is not None:
            extra["transaction_timeout_ms"] = int(self._transaction_timeout_secs * 1000)
        return extra

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        producer = super()._new_producer(transactional_id or self.transactional_id)
        copy_once(producer.client)
        if producer._txn_manager is not None and self.transactional_id is not None:  # noqa: SLF001
            send_once(producer)
        pipeline(producer)
        sender.BACKOFF_OVERRIDE = NEXT_TRANSACTION_SECS  # no argument leads there
        return producer

    async def on_start(self) -> None:
        try:
            await super().on_start()
        except BaseException:
            if self._producer is not None:  # aiokafka leaves its sockets open when it cannot start
                await self._producer.client.close()
            raise
        self.express = Express(self.client)

    async def on_stop(self) -> None:
        # aiokafka waits without end for a broker that is gone; what is cut off here, the successor aborts
        with contextlib.suppress(TimeoutError, KafkaError):
            await asyncio.wait_for(super().on_stop(), STOP_GRACE_SECS)

    @property
    def client(self) -> AIOKafkaProducer:
        """The aiokafka producer inside."""
        return self._ensure_producer()

    @property
    def batch_style(self) -> BatchStyle:
        """How record batches are to be written that this producer sends."""
        return BatchStyle(self.max_batch_size, self.transactional_id is not None, self.compression_type)

    def announce(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Let all *partitions* of the transaction that has begun be added by one request, not by one for the first."""
        for topic, number in partitions:
            self.client._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, number))  # noqa: SLF001

    @property
    def refusal(self) -> BaseException | None:
        """The missing right that has ended the transaction; the errors of its batches only follow from it."""
        manager = None if self._producer is None else self._producer._txn_manager  # noqa: SLF001
        waiter = None if manager is None else manager._transaction_waiter  # noqa: SLF001
        if waiter is None or not waiter.done() or waiter.cancelled():
            return None
        error: BaseException | None = waiter.exception()
        return error if isinstance(error, REFUSALS) else None

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of *topic*, 0 while unknown."""
        return len(self.client.client.cluster.partitions_for_topic(topic) or ())
