"""Faust's producer, made one task's own: the only class that leans on private names of Faust."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiokafka
import faust
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer import sender
from faust.transport.drivers.aiokafka import Producer

from connector.errors import BrokerAway, FatalError
from connector.kafka.delivery.gone import fail_when_gone
from connector.kafka.delivery.once import send_once
from connector.kafka.delivery.pipelining import pipeline
from connector.kafka.delivery.record_batch import BatchStyle, copy_once
from connector.kafka.delivery.rejects import Places, note
from connector.kafka.delivery.small_batches import NEXT_TRANSACTION_SECS, Express, Fallback
from connector.kafka.rights import REFUSALS

STOP_GRACE_SECS = 5.0
CLOSE_SECS = 1.0
"""For the connections, when the producer has not stopped in time."""

_PARTS = {
    "_sender": ("_acks", "_coordinators", "_in_flight", "_request_timeout_ms"),
    "_message_accumulator": (
        "_batches",
        "_closed",
        "_exception",
        "_pending_batches",
        "_waiter_future",
        "drain_by_nodes",
        "fail_all",
        "reenqueue",
    ),
    "client": ("cluster", "coordinator_lookup", "send"),
}
"""What `express`, `once`, `gone`, `sender` and `encoder` use of aiokafka's producer, beside its transaction manager."""


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
        told: Callable[[Fallback | None], None] = lambda _: None,
        unclosed: Callable[[str], None] = lambda _: None,
        **kwargs: Any,
    ) -> None:
        self.transactional_id = transactional_id
        self._idempotent = idempotent
        self._transaction_timeout_secs = transaction_timeout_secs
        super().__init__(app.transport, **kwargs)
        self.express: Express | None = None
        """The short way for small batches, once started."""
        self.refused: Places = {}
        """Topics and partitions that do not take the records that were sent last."""
        self._told, self._unclosed = told, unclosed

    def _settings_extra(self) -> Mapping[str, Any]:
        extra = {**super()._settings_extra(), "acks": "all", "enable_idempotence": self._idempotent}
        if self.transactional_id is not None:
            extra["transaction_timeout_ms"] = int(self._transaction_timeout_secs * 1000)
        return extra

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        producer = super()._new_producer(transactional_id or self.transactional_id)
        _check(producer)
        copy_once(producer.client)
        self.refused = note(producer.client)
        if producer._txn_manager is not None and self.transactional_id is not None:  # noqa: SLF001
            send_once(producer)
        pipeline(producer)
        fail_when_gone(producer)
        sender.BACKOFF_OVERRIDE = NEXT_TRANSACTION_SECS  # no argument leads there
        return producer

    async def on_start(self) -> None:
        try:
            await super().on_start()
        except BaseException:
            if self._producer is not None:  # aiokafka leaves its sockets open when it cannot start
                await self._producer.client.close()
            raise
        self.express = Express(self.client, self._told)

    async def on_stop(self) -> None:
        # aiokafka waits without end for a broker that is gone; what is cut off here, the successor aborts
        producer = self._producer
        try:
            await asyncio.wait_for(super().on_stop(), STOP_GRACE_SECS)
        except (TimeoutError, KafkaError) as exc:
            self._unclosed(f"{type(exc).__name__}: {exc}" if str(exc) else f"no end within {STOP_GRACE_SECS:g} s")
            if producer is not None:
                with contextlib.suppress(TimeoutError):  # said above
                    await asyncio.wait_for(producer.client.close(), CLOSE_SECS)

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
        """
        Return the number of partitions of *topic*.

        Raises:
            BrokerAway: Kafka does not tell of any now.
        """
        known = self.client.client.cluster.partitions_for_topic(topic)
        if not known:
            raise BrokerAway(f"Kafka knows no partition of the topic {topic} at the moment")
        return len(known)


def _check(producer: AIOKafkaProducer) -> None:
    """
    Look for the private parts of aiokafka that the connector's way into Kafka is built on.

    Raises:
        FatalError: a version of aiokafka is installed that does not have them.
    """
    missing = [part for part in (*_PARTS, "_txn_manager") if not hasattr(producer, part)]
    for part, names in _PARTS.items():
        missing += [
            f"{part}.{name}" for name in names if part not in missing and not hasattr(getattr(producer, part), name)
        ]
    if missing:
        producer._closed = True  # noqa: SLF001  # it has opened nothing, and complains of not being closed
        raise FatalError(
            f"aiokafka {aiokafka.__version__} does not have {', '.join(missing)}, which the connector uses to write to"
            " Kafka: nothing can be delivered. Install the aiokafka that the connector asks for (0.14)"
        )
