"""
Waits for Kafka at a worker's start, and finds out what the brokers can do.

Faust alone ends the process if no broker answers; a worker that starts before its broker should wait instead.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.transaction import InitProducerIdRequest
from mode import Service

from connector.errors import BrokerAway, BrokerUnsuitable, RightMissing
from connector.kafka.brokers import KafkaCluster
from connector.kafka.gate.advertised import unreachable
from connector.kafka.internals import ask, client_of
from connector.kafka.login.refusals import ConnectionRefused, Refusal, words_of
from connector.kafka.metadata import metadata_of
from connector.kafka.rights import refused
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import BrokerAwaited, BrokerReached
from connector.telemetry.obstacles import Obstacles

REQUEST_TIMEOUT_MS = 10_000
RETRY_SECS = 1.0
RIGHT_RETRY_SECS = 5.0
"""How often a missing right is checked again (seconds): a person has to grant it."""
SAY_EVERY_SECS = 5.0
_UNSUPPORTED_VERSION = 35
UNSUPPORTED = frozenset({-1, _UNSUPPORTED_VERSION, 42})
"""UNKNOWN_SERVER_ERROR, UNSUPPORTED_VERSION, INVALID_REQUEST: the answers of brokers without `InitProducerId`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the broker offers for delivery."""

    transactions: bool
    idempotence: bool
    idempotence_refused: bool = False
    """Whether the broker has idempotent producers but refuses them to this user."""

    def check(self, delivery: str) -> None:
        """
        Raises:
            BrokerUnsuitable: the broker lacks a feature that *delivery* needs.
        """
        if delivery == "exactly_once" and not self.transactions:
            raise BrokerUnsuitable(
                "The broker has no transactions, which CONNECTOR_DELIVERY=exactly_once needs: "
                "set CONNECTOR_DELIVERY=at_least_once, or use Apache Kafka."
            )


async def probe(admin: AIOKafkaAdminClient, group_id: str) -> Capabilities:
    """Ask the broker for a producer id, with and without a transactional id."""

    async def answer(transactional_id: str | None) -> int:
        request = InitProducerIdRequest(transactional_id, 1000)
        try:
            response = await ask(admin, request)
        except IncompatibleBrokerVersion:
            return _UNSUPPORTED_VERSION
        return int(response.error_code)  # 14 to 16: not this node, or not yet

    plain = await answer(None)
    refused = plain == ClusterAuthorizationFailedError.errno
    return Capabilities(
        idempotence=plain not in UNSUPPORTED and not refused,
        idempotence_refused=refused,
        transactions=await answer(f"{group_id}-probe") not in UNSUPPORTED,
    )


class BrokerGate(Service):
    """
    A service whose start ends once Kafka answers and *prepare* is done, so later services find a broker.

    *prepare* gets an admin client and the broker's capabilities.  A FatalError from *prepare* ends the worker; after a
    RightMissing the gate waits and tries again.  After the start, the gate reports each refusal that *refused* returns.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        group_id: str,
        prepare: Callable[[AIOKafkaAdminClient, Capabilities], Awaitable[None]],
        emit: Callable[[Event], None],
        obstacles: Obstacles | None = None,
        refused: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._cluster, self._group_id, self._obstacles = cluster, group_id, obstacles or Obstacles(emit)
        self._prepare, self._emit, self._refused = prepare, emit, refused
        self._held_up: Refusal | None = None
        self._began = self._said = -math.inf
        self.capabilities: Capabilities | None = None
        self.cluster_id: str | None = None
        """The id of the Kafka cluster; None while it is not known, or if the broker does not tell it."""

    @property
    def transactions(self) -> bool:
        """Whether the broker has transactions; False while unknown."""
        return self.capabilities is not None and self.capabilities.transactions

    @property
    def idempotence(self) -> bool:
        """Whether the broker has idempotent producers; False while unknown."""
        return self.capabilities is not None and self.capabilities.idempotence

    @property
    def waiting(self) -> Refusal | None:
        """Why Kafka cannot be used now; None if no reason is known."""
        return self._held_up or self._refused()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[tuple[AIOKafkaAdminClient, Capabilities]]:
        """
        Give an admin client, and what the broker can do; call this once Kafka has answered.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka does not answer.
        """
        if self.capabilities is None:
            raise TimeoutError("Kafka has not answered yet")
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await asyncio.wait_for(admin.start(), REQUEST_TIMEOUT_MS / 1000)
            yield admin, self.capabilities
        finally:
            await admin.close()

    async def on_start(self) -> None:
        while not self.should_stop:
            try:
                await self._pass()
            except RightMissing as exc:
                self._held_up, self._began = None, -math.inf
                self._obstacles.meet("start", str(exc))
                await self.sleep(RIGHT_RETRY_SECS)
                continue
            except (KafkaError, OSError, TimeoutError, BrokerAway) as exc:
                self._held_up = exc.refusal if isinstance(exc, ConnectionRefused) else self._refusal(words_of(exc))
                self._say(self._held_up)
            else:
                self._held_up, self._began = None, -math.inf
                return
            await self.sleep(RETRY_SECS)
        raise asyncio.CancelledError  # stopped while waiting: later services must not start

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.sleep(RETRY_SECS)
            if (refusal := self._refused()) is not None:
                self._say(refusal)
            else:
                self._began = -math.inf

    def _refusal(self, sentence: str) -> Refusal:
        return Refusal(address=",".join(self._cluster.servers), sentence=sentence)

    def _say(self, refusal: Refusal) -> None:
        """Report why the worker waits, at most every `SAY_EVERY_SECS`."""
        now = time.monotonic()
        if self._began == -math.inf:
            self._began, self._said = now, -math.inf
        if now - self._said >= SAY_EVERY_SECS:
            self._said = now
            waiting_secs = round(now - self._began, 1)
            servers = ",".join(self._cluster.servers)
            self._emit(BrokerAwaited(broker=servers, waiting_secs=waiting_secs, reason=refusal.sentence))

    async def _pass(self) -> None:
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await asyncio.wait_for(admin.start(), REQUEST_TIMEOUT_MS / 1000)
            capabilities = await probe(admin, self._group_id)
            self.cluster_id = (await ask(admin, metadata_of([]))).to_object().get("cluster_id")
            await self._prepare(admin, capabilities)
        except (KafkaError, OSError, TimeoutError) as exc:
            if missing := refused(exc, self._cluster.user, group_id=self._group_id):
                raise missing from exc
            if reason := await unreachable(client_of(admin)):
                raise BrokerAway(reason) from exc
            raise
        finally:
            await admin.close()
        self.capabilities = capabilities
        self._obstacles.pass_("start")
        self._emit(
            BrokerReached(
                broker=",".join(self._cluster.servers),
                transactions=capabilities.transactions,
                idempotence=capabilities.idempotence,
            )
        )
