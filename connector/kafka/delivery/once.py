"""
Send requests that change a transaction once: after one that is not answered the producer takes no further transaction.

Before transactions V2 (KIP-890) a transaction has no number of its own.  EndTxn and AddPartitionsToTxn carry the
producer's id and epoch, which are those of the next transaction, too.  A connection that breaks does not take back
what was sent: a request that reaches the coordinator later ends, or begins, the *next* transaction of the epoch.
aiokafka sends a request again that was not answered, in the same epoch, and goes on.  Half a transaction was committed
that way: its posts, and not its offset.

So a request that was sent and not answered makes the transaction's outcome unknown at once.  The task opens a new
producer with the same transactional id.  That raises the epoch, the coordinator refuses what arrives later with the old
one, and the offsets topic says which transactions took effect.

A request that was not sent may be sent again, and so may one that was answered with an error: it is not under way.
Produce requests may be repeated: sequence numbers make Kafka ignore the second copy.
"""

import asyncio
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, KafkaError, NodeNotReadyError

from connector.kafka import internals

NOT_SENT = (NodeNotReadyError, IncompatibleBrokerVersion)
"""What aiokafka raises before it sends: there is no connection, or the broker does not have the request's version."""

_ONCE = {24: "AddPartitionsToTxn", 25: "AddOffsetsToTxn", 26: "EndTxn", 28: "TxnOffsetCommit"}
"""Kafka's numbers and names of the requests."""


class Unanswered(KafkaError):
    """A request of a transaction was sent and not answered, so the transaction's outcome is unknown."""

    retriable = True

    @classmethod
    def of(cls, request: str, cause: BaseException) -> Self:
        """Return the error for the request named *request*, which failed with *cause* instead of an answer."""
        words = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return cls(f"Kafka did not answer {request}, so the transaction may be committed or not ({words})")


def send_once(producer: AIOKafkaProducer) -> None:
    """Let *producer*, an aiokafka producer that was not started yet, never repeat a request of a transaction."""
    client = producer.client
    send, look_up = client.send, client.coordinator_lookup

    async def send_or_give_up(node_id: int, request: Any, **kwargs: Any) -> Any:
        name = _ONCE.get(request.API_KEY)
        if name is None:
            return await send(node_id, request, **kwargs)
        try:
            return await send(node_id, request, **kwargs)
        except NOT_SENT:
            raise
        except asyncio.CancelledError as exc:
            _give_up_once(producer, Unanswered.of(name, exc))
            raise
        except Exception as exc:
            error = Unanswered.of(name, exc)
            _give_up_once(producer, error)
            raise error from exc

    async def look_up_again(*args: Any) -> Any:
        try:
            return await look_up(*args)
        except KafkaConnectionError as exc:  # the sender retries after this error, and gives up after the first
            raise NodeNotReadyError(str(exc)) from exc

    client.send, client.coordinator_lookup = send_or_give_up, look_up_again
    _look_at_errors(producer)


def give_up(producer: AIOKafkaProducer, error: KafkaError) -> None:
    """Fail with *error* everything that waits for *producer*, and everything that is sent with it later."""
    manager = internals.transaction_manager(producer)
    begun = manager is not None and internals.outcome(manager) is not None
    if begun and not manager.is_fatal_error():
        manager.fatal_error(error)
    internals.accumulator(producer).fail_all(error)


def _give_up_once(producer: AIOKafkaProducer, error: Unanswered) -> None:
    if not internals.transaction_manager(producer).is_fatal_error():
        give_up(producer, error)


def _look_at_errors(producer: AIOKafkaProducer) -> None:
    """Read the exceptions of the futures that a fatal error of *producer* ends: asyncio logs each unread one."""
    manager, accumulator = internals.transaction_manager(producer), internals.accumulator(producer)
    fatal_error, fail_all = manager.fatal_error, accumulator.fail_all

    def fatal_error_seen(exc: BaseException) -> None:
        fatal_error(exc)
        _look(manager.wait_for_transaction_end())

    def fail_all_seen(exc: BaseException) -> None:
        waiting = [batch for batches in internals.waiting(accumulator).values() for batch in batches]
        fail_all(exc)
        for batch in (*waiting, *internals.under_way(accumulator)):
            _look(internals.drained(batch))

    manager.fatal_error, accumulator.fail_all = fatal_error_seen, fail_all_seen


def _look(future: "asyncio.Future[Any]") -> None:
    if future.done() and not future.cancelled():
        future.exception()
