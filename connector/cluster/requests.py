"""
What people ask of gaps, in a compacted topic that each worker follows.

Key: `gap-<connector>-<from_ms>-<partition>`, the last part empty without one; value:
`{"connector","partition","from","action","at"}`.  Whoever owns the task carries it out, then writes a tombstone.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from logging import getLogger

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.exceptions import NotReady, ProducerSendError

from connector.cluster.statuses import PUBLISH_TIMEOUT_SECS
from connector.kafka.delivery.sink import failure_of
from connector.kafka.rights import WRITE, refused
from connector.records.snowflake import from_iso, to_iso

_log = getLogger(__name__)

MAX_DONE = 10_000
"""Requests of which it is remembered that they are carried out, the newest; a task has at most 200 gaps at a time."""

MAX_STRANGE = 100
"""Strange records that are told, each once."""


class Action(StrEnum):
    """What is to become of a gap."""

    RETRY = "retry"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRequest:
    """
    Retry or accept the gap that begins at *from_ms* (UNIX ms of X's clock), asked for at *at_ms*.

    *partition* is the field of that name in the source partition; None for a stream that has none.
    """

    connector: str
    partition: str | None
    from_ms: int
    action: Action
    at_ms: int


class GapRequests:
    """The requests that nobody has carried out yet, as far as the topic has been followed."""

    def __init__(self, app: faust.App, topic: str, *, user: str | None = None) -> None:
        self._app, self._topic, self._user = app, topic, user
        self._pending: dict[bytes, GapRequest] = {}
        self._done: dict[bytes, GapRequest] = {}
        self._strange: set[bytes] = set()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in a record of the topic."""
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
        elif self._done.get(key) != request:  # a topic that is followed anew tells of it again
            self._pending[key] = request

    def pending(self, connector: str, partition: str | None) -> list[GapRequest]:
        """Return what is asked of the gaps of *connector* in *partition*, oldest first."""
        mine = [each for each in self._pending.values() if (each.connector, each.partition) == (connector, partition)]
        return sorted(mine, key=lambda request: request.at_ms)

    async def send(self, request: GapRequest) -> None:
        """
        Ask the group; it is pending once the topic has told of it.

        Raises:
            DeliveryFailed: Kafka has not confirmed; it may have been asked all the same.
        """
        await self._publish(*encode(request))

    async def done(self, request: GapRequest) -> None:
        """
        Tell the group that *request* has been carried out; here it is pending no more.

        Raises:
            DeliveryFailed: Kafka has not confirmed; another worker may carry it out again.
        """
        key = _key(request)
        self._done.pop(key, None)
        self._done[key] = request
        if len(self._done) > MAX_DONE:
            del self._done[next(iter(self._done))]
        if self._pending.get(key, request) == request:  # else there is a newer one, which a tombstone would remove
            self._pending.pop(key, None)
            await self._publish(key, None)

    async def _publish(self, key: bytes, value: bytes | None) -> None:
        try:
            await asyncio.wait_for(self._send(key, value), PUBLISH_TIMEOUT_SECS)
        except ProducerSendError as exc:  # Faust's wrapping
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
