"""What the checks share: the settings, one client of Kafka, and X as each connector asks it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connector.cli.doctor.finding import Blocked
from connector.cli.places import Place
from connector.config.connector import ConnectorConfig
from connector.config.load import Examined
from connector.errors import (
    BrokerAway,
    ConnectorError,
    NotAuthorized,
    NotFound,
    RateLimited,
    RetriableError,
    RightMissing,
    TokenRejected,
)
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.advertised import unreachable
from connector.kafka.gate.inspection import BrokerFacts, facts_of
from connector.kafka.gate.preparation import needs_of
from connector.kafka.internals import client_of
from connector.kafka.login.refusals import words_of
from connector.kafka.metadata import make_no_topics
from connector.kafka.rights import Need, refused
from connector.sources.rest.api import Api
from connector.sources.rest.rules import RefusedRule, Rule, RuleChange, differences, held_rules, try_out
from connector.sources.stream.streams import STREAMS
from connector.worker.tasks import credentials_of
from connector.worker.threads import DaemonExecutor

X_SECS = 10.0
"""The longest time for one request to X, in seconds."""

KAFKA_SECS = 8.0
"""The longest time for the first answer of Kafka, and for each further one, in seconds."""

T = TypeVar("T")


class Once(Generic[T]):
    """Asks once; whoever asks again gets the same answer, or the same error."""

    def __init__(self, question: Callable[[], Awaitable[T]]) -> None:
        self._question = question
        self._task: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        """Return the answer; a caller whose time is over leaves the question running for the next one."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._question())
            self._task.add_done_callback(_seen)  # perhaps nobody waits any more
        return await asyncio.shield(self._task)


def _seen(task: "asyncio.Future[T]") -> None:
    if not task.cancelled():
        task.exception()


class AtX:
    """X as one connector asks it."""

    def __init__(self, config: ConnectorConfig, executor: Executor) -> None:
        self.config, self._executor = config, executor
        self._credentials = credentials_of(config)
        self.ahead_secs: float | None = None
        """How far X's clock is ahead of this host's; None if X has not answered, or does not tell."""
        self.token = Once(lambda: self.ask(lambda api: api.token()))
        """The token; raises what `Api.token` raises."""
        self.held = Once(lambda: self.ask(held_rules))
        """The rules that X holds for this app; raises what `held_rules` raises."""
        self.tried = Once(self._try)
        """What X would refuse of the rules that are not there yet; raises what `try_out` raises."""

    @property
    def has_rules(self) -> bool:
        return STREAMS[self.config.stream].has_rules

    async def ask(self, question: Callable[[Api], T]) -> T:
        """
        Return what *question* returns, asked in a thread.

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._ask, question)

    def _ask(self, question: Callable[[Api], T]) -> T:
        with Api(self.config.x_api_url, self._credentials, answer_secs=X_SECS) as api:
            try:
                return question(api)
            finally:
                if api.ahead_secs is not None:
                    self.ahead_secs = api.ahead_secs

    async def answers(self) -> None:
        """
        See that X knows the credentials.

        Raises:
            Blocked: it does not, or cannot be reached; the check `credentials` tells why.
        """
        try:
            await self.token()
        except ConnectorError as error:
            raise Blocked("credentials", str(error)) from error
        try:
            await self.held()
        except (NotAuthorized, RateLimited) as error:
            if isinstance(error, TokenRejected):
                raise Blocked("credentials", str(error)) from error
        except (NotFound, RetriableError) as error:
            raise Blocked("credentials", str(error)) from error
        except ConnectorError:
            return  # a plan or credits: X knows us

    async def change(self) -> RuleChange:
        """Return how the rules at X would change; raises what `held` raises."""
        wanted = {rule.value: rule.label for rule in self.config.rules}
        return differences(await self.held(), {self.config.name: wanted})

    async def _try(self) -> Sequence[RefusedRule]:
        add = (await self.change()).add
        # a rule that X holds is refused as one, but only if the plan has rules at all
        rules = add or [Rule(value=rule.value, tag=rule.label) for rule in self.config.rules[:1]]
        return await self.ask(lambda api: try_out(api, rules))


class Case:
    """
    The examined settings, the connectors, and connections to X and Kafka that are made when they are first needed.

    *may_spend*: whether X may be asked what it charges for.
    """

    def __init__(self, examined: Examined, found: Sequence[Place], *, may_spend: bool) -> None:
        self.examined, self.places, self.may_spend = examined, found, may_spend
        self.settings = examined.loaded.worker
        self.connectors = [place.config for place in found if place.config is not None]
        executor = DaemonExecutor("doctor")
        self._x = [AtX(config, executor) for config in self.connectors]
        self._admin: AIOKafkaAdminClient | None = None
        self.connected = Once(self._connect)
        """A client of Kafka; raises `BrokerAway` or `RightMissing` with a sentence."""
        self.facts = Once(self._facts)
        """What the broker tells of itself; raises `Blocked` as `admin`."""

    @property
    def cluster(self) -> KafkaCluster:
        return cluster_of(self.settings)

    def x(self, *, rules: bool = False) -> Iterator[AtX]:
        """
        Yield X as each connector asks it; with *rules* only those whose stream has rules.

        Raises:
            Blocked: there is no connector.
        """
        self.need_settings()
        if not self._x:
            raise Blocked(
                "settings",
                "The environment declares no connector, and no FILE has one",
                "Set CONNECTOR_TOPIC and what else a connector needs, or give a FILE.",
            )
        yield from (each for each in self._x if each.has_rules or not rules)

    def need_settings(self) -> None:
        """
        Raises:
            Blocked: the settings are wrong.
        """
        if self.examined.problems:
            raise Blocked("settings", "The settings are wrong")

    async def admin(self) -> AIOKafkaAdminClient:
        """
        Return a client of Kafka.

        Raises:
            Blocked: there is none; the check `broker` tells why.
        """
        self.need_settings()
        try:
            return await self.connected()
        except (BrokerAway, RightMissing) as error:
            raise Blocked("broker", str(error)) from None

    async def _facts(self) -> BrokerFacts:
        return await facts_of(await self.admin())

    async def _connect(self) -> AIOKafkaAdminClient:
        make_no_topics()
        admin = self._admin = AIOKafkaAdminClient(**self.cluster.options(), request_timeout_ms=int(KAFKA_SECS * 1000))
        try:
            await asyncio.wait_for(admin.start(), KAFKA_SECS)
        except (KafkaError, OSError, TimeoutError) as error:
            if missing := refused(error, self.cluster.user, group_id=self.settings.group_id):
                raise missing from error
            raise BrokerAway(await unreachable(client_of(admin)) or words_of(error)) from error
        return admin

    async def needs(self) -> Sequence[Need]:
        """Return the rights that a worker with all connectors needs, each resource once; raises what `facts` raises."""
        transactions = (await self.facts()).capabilities.transactions
        of_each = [needs_of(self.settings, config, transactions=transactions) for config in (None, *self.connectors)]
        return list({(need.kind, need.name): need for needs in of_each for need in needs}.values())

    async def close(self) -> None:
        """Close the client of Kafka."""
        if self._admin is not None:
            await self._admin.close()

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
