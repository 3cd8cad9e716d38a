"""
Requests of operators to retry or accept gaps, in a compacted topic that each worker follows.

Key: `gap-<connector>-<from_ms>-<partition>`, with an empty last part for a stream without partitions.
Value: `{"connector","partition","from","action","at"}`.
The worker that owns the task carries out the request, then writes a tombstone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from logging import getLogger

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.exceptions import NotReady, ProducerSendError

from connector.cluster.asker import asker
from connector.cluster.statuses import PUBLISH_TIMEOUT_SECS
from connector.kafka.delivery.sink import failure_of
from connector.kafka.rights import WRITE, refused
from connector.records.snowflake import from_iso, to_iso
from connector.telemetry.events.cluster import GapAcceptAsked, GapRetryAsked
from connector.telemetry.events.event import Event

_log = getLogger(__name__)

GAP_KEY = b"gap-"
"""The begin of the key of each request."""

MAX_DONE = 10_000
"""How many of the newest carried-out requests are remembered; a task has at most 200 gaps at a time."""

MAX_STRANGE = 100
"""The most records that are logged as no requests, each key once."""


class Action(StrEnum):
    """What an operator wants done with a gap."""

    RETRY = "retry"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRequest:
    """
    A request to retry or accept the gap that begins at *from_ms* (UNIX ms of X's clock).

    *partition* is the field `partition` of the source partition; None for a stream without partitions.  The request was
    made at *at_ms* (UNIX ms).
    """

    connector: str
    partition: str | None
    from_ms: int
    action: Action
    at_ms: int


class GapRequests:
    """The requests that no worker has carried out yet, according to the records of the topic read so far."""

    def __init__(
        self,
        app: faust.App,
        topic: str,
        *,
        user: str | None = None,
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._app, self._topic, self._user, self._emit = app, topic, user, emit
        self._pending: dict[bytes, GapRequest] = {}
        self._done: dict[bytes, GapRequest] = {}
        self._strange: set[bytes] = set()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply a record of the topic."""
        self._pending.pop(key, None)
        if value is None:
            return
        try:
            request = _decode(value)
        except (ValueError, KeyError, TypeError, AttributeError):
            request = None
        if request is None or _key(request) != key:
            if key not in self._strange and len(self._strange) < MAX_STRANGE:
                self._strange.add(key)
                _log.warning("A record of %s is no request: key %r", self._topic, key)
        elif self._done.get(key) != request:  # if the topic is read again, a carried-out request comes again
            self._pending[key] = request

    def pending(self, connector: str, partition: str | None) -> list[GapRequest]:
        """Return the requests for gaps of *connector* in *partition*, oldest first."""
        mine = [each for each in self._pending.values() if (each.connector, each.partition) == (connector, partition)]
        return sorted(mine, key=lambda request: request.at_ms)

    async def send(self, request: GapRequest) -> None:
        """
        Write *request* to the topic; in each worker it is pending once the worker has read the record.

        Raises:
            DeliveryFailed: Kafka has not confirmed; the request may be in the topic all the same.
        """
        await self._publish(*encode(request))
        kind = GapRetryAsked if request.action is Action.RETRY else GapAcceptAsked
        self._emit(kind(connector=request.connector, gap_from=to_iso(request.from_ms), by=asker()))

    async def done(self, request: GapRequest) -> None:
        """
        Remove *request*, which was carried out, here and from the topic.

        Raises:
            DeliveryFailed: Kafka has not confirmed; another worker may carry out the request again.
        """
        key = _key(request)
        self._done.pop(key, None)
        self._done[key] = request
        if len(self._done) > MAX_DONE:
            del self._done[next(iter(self._done))]
        if self._pending.get(key, request) == request:  # a tombstone would also remove a newer request with this key
            self._pending.pop(key, None)
            await self._publish(key, None)

    async def _publish(self, key: bytes, value: bytes | None) -> None:
        try:
            await asyncio.wait_for(self._send(key, value), PUBLISH_TIMEOUT_SECS)
        except ProducerSendError as exc:  # Faust wraps the error of aiokafka
            cause = exc.__cause__ or exc
            raise refused(cause, self._user, WRITE, topic=self._topic) or failure_of(cause) from exc
        except (KafkaError, NotReady, OSError, TimeoutError) as exc:
            raise refused(exc, self._user, WRITE, topic=self._topic) or failure_of(exc) from exc

    async def _send(self, key: bytes, value: bytes | None) -> None:
        await (await self._app.producer.send(self._topic, key, value, None, None, None))


def _key(request: GapRequest) -> bytes:
    return f"gap-{request.connector}-{request.from_ms}-{request.partition or ''}".encode()


def encode(request: GapRequest) -> tuple[bytes, bytes]:
    """Return key and value of *request* in the topic."""
    value = orjson.dumps(
        {
            "connector": request.connector,
            "partition": request.partition,
            "from": to_iso(request.from_ms),
            "action": request.action,
            "at": to_iso(request.at_ms),
        }
    )
    return _key(request), value


def _decode(value: bytes) -> GapRequest:
    fields = orjson.loads(value)
    partition = fields["partition"]
    return GapRequest(
        connector=str(fields["connector"]),
        partition=None if partition is None else str(partition),
        from_ms=from_iso(fields["from"]),
        action=Action(fields["action"]),
        at_ms=from_iso(fields["at"]),
    )
