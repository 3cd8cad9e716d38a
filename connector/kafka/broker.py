"""
Is Kafka there, and what can it do?

Faust by itself ends the process when no broker answers; a worker that starts before its broker should wait instead.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.transaction import InitProducerIdRequest
from mode import Service

from connector.errors import BrokerUnsuitable
from connector.events import BrokerAwaited, BrokerReached, Event
from connector.kafka.cluster import KafkaCluster

REQUEST_TIMEOUT_MS = 10_000
RETRY_SECS = 1.0
SAY_EVERY_SECS = 5.0
_UNSUPPORTED = frozenset({-1, 35, 42})
"""UNKNOWN_SERVER_ERROR, UNSUPPORTED_VERSION, INVALID_REQUEST: what brokers without `InitProducerId` answer to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the broker offers for delivery."""

    transactions: bool
    idempotence: bool

    def check(self, delivery: str) -> None:
        """
        Raises:
            BrokerUnsuitable: the broker cannot do what *delivery* asks.
        """
        if delivery == "exactly_once" and not self.transactions:
            raise BrokerUnsuitable(
                "The broker has no transactions, which CONNECTOR_DELIVERY=exactly_once needs: "
                "set CONNECTOR_DELIVERY=at_least_once, or use Apache Kafka."
            )


async def probe(admin: AIOKafkaAdminClient, group_id: str) -> Capabilities:
    """Ask the broker for a producer id, with and without a transactional id."""

    async def answers(transactional_id: str | None) -> bool:
        request = InitProducerIdRequest(transactional_id, 1000)
        try:
            response = await admin._send_request(request)  # noqa: SLF001  # the public client has no such call
        except IncompatibleBrokerVersion:
            return False
        return response.error_code not in _UNSUPPORTED  # 14 to 16: not this node, or not yet

    return Capabilities(
        idempotence=await answers(None),
        transactions=await answers(f"{group_id}-probe"),
    )


class BrokerGate(Service):
    """
    A service that has started once Kafka answers and all is prepared there; those after it find a broker.

    *prepare* gets an admin client and the broker's capabilities; its FatalError ends the worker.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        group_id: str,
        prepare: Callable[[AIOKafkaAdminClient, Capabilities], Awaitable[None]],
        emit: Callable[[Event], None],
    ) -> None:
        super().__init__()
        self._cluster, self._group_id = cluster, group_id
        self._prepare, self._emit = prepare, emit
        self.capabilities: Capabilities | None = None

    @property
    def transactions(self) -> bool:
        """Whether the broker has transactions; False while unknown."""
        return self.capabilities is not None and self.capabilities.transactions

    @property
    def idempotence(self) -> bool:
        """Whether the broker has idempotent producers; False while unknown."""
        return self.capabilities is not None and self.capabilities.idempotence

    async def on_start(self) -> None:
        began = said = time.monotonic()
        while not self.should_stop:
            try:
                await self._pass()
            except (KafkaError, OSError, TimeoutError) as exc:
                now = time.monotonic()
                if now - said >= SAY_EVERY_SECS or said == began:
                    said = now
                    self._emit(
                        BrokerAwaited(
                            broker=",".join(self._cluster.servers),
                            waiting_secs=round(now - began, 1),
                            reason=str(exc) or type(exc).__name__,
                        )
                    )
            else:
                return
            await self.sleep(RETRY_SECS)
        raise asyncio.CancelledError  # stopped while waiting: what comes after must not start

    async def _pass(self) -> None:
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await asyncio.wait_for(admin.start(), REQUEST_TIMEOUT_MS / 1000)
            capabilities = await probe(admin, self._group_id)
            await self._prepare(admin, capabilities)
        finally:
            await admin.close()
        self.capabilities = capabilities
        self._emit(
            BrokerReached(
                broker=",".join(self._cluster.servers),
                transactions=capabilities.transactions,
                idempotence=capabilities.idempotence,
            )
        )
