"""Builds the tasks of a connector from its configuration: their sources, sink, ways of repair and budget."""

import asyncio
import os
import sys
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING

from connector.cluster.configs import Connector
from connector.cluster.offset_changes import OffsetChanges
from connector.cluster.requests import GapRequests
from connector.cluster.retries import Retries
from connector.cluster.slot import OnStatus
from connector.cluster.view.terms import Terms
from connector.config.checks import parse
from connector.config.connector import ConnectorConfig
from connector.config.fields import COMPLIANCE, RECHECK
from connector.config.load import Loaded
from connector.config.migration import translate
from connector.config.options import Unfit
from connector.config.tracing import wants_traces
from connector.config.vault import Vault
from connector.config.worker import WorkerSettings
from connector.coverage.offset import Coverage, Way
from connector.coverage.price import mills_each
from connector.coverage.spend import MILLS, NOTHING_SPENT, Budget, Spend
from connector.errors import ConfigError
from connector.formats.schemas.form import writer_of
from connector.formats.schemas.ids import SchemaIds
from connector.formats.schemas.registry import registry_settings_of
from connector.formats.schemas.writer import Writer
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.delivery.writing import Slot
from connector.kafka.gate.gate import BrokerGate
from connector.kafka.gate.preparation import connector_topics, own_topics, prepare_connector
from connector.kafka.gate.watch import TopicWatch
from connector.records.record import Destination, NewTopics, SourcePartition, TaskId
from connector.sources.archive.finder import PostFinder
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.handles import Handle
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken, Credentials, KeyPair
from connector.sources.rest.rules import Rule, held_rules
from connector.sources.source import StreamSource
from connector.sources.stream.connection import Limits
from connector.sources.stream.streams import STREAMS, at_x, spread
from connector.task.console import Console
from connector.task.repair.policy import Policy
from connector.task.settings import Subscription, TaskSettings
from connector.task.subscribers import Wished
from connector.task.task import SourceTask
from connector.telemetry.events.event import Event
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.headers import NO_HEADERS, AddedHeaders
from connector.transforms.transformer import Form, Transformer
from connector.worker.plugin import app_of
from connector.worker.process import ConnectorApp
from connector.worker.threads import DaemonExecutor
from connector.worker.values import form_of, headers_of

if TYPE_CHECKING:  # only connectors of the stream compliance load it
    from connector.task.withdrawals import WithdrawalSettings

TRANSACTION_PACE_SECS = 0.044
DELIVERY_PACE_SECS = 0.014
"""
Least time between the begins of two batches, exactly once and at least once.

A commit takes a millisecond of CPU, however many posts are in the batch.  A post waits half of this time on average.
These are the longest times with which the median from arrival to commit stays below 30 ms (exactly once) and 10 ms (at
least once), measured on two shared cores.
"""

X_ANSWER_SECS = 10.0
"""The longest time for one answer of X about rules that somebody looks at, in seconds."""

OFFSET_INTERVAL_SECS = 0.1
"""
Time between two writes of the source offset, at least once.

Without transactions an offset is a request of its own, sent after its posts.  After a crash the posts delivered since
the last written offset are delivered again; this interval adds at most 0.1 s of posts to them.
"""


class TaskBuilder:
    """
    Builds the tasks of connectors out of their configurations (`connector.cluster.slot.Tasks`).

    *loaded* has what resolves the references of a declared connector, for which *gate* prepares Kafka at the start;
    *vault* opens the configurations of the others.  *watch* hears of the topics in use.
    """

    def __init__(
        self,
        app: ConnectorApp,
        cluster: KafkaCluster,
        loaded: Loaded,
        vault: Vault,
        gate: BrokerGate,
        watch: TopicWatch,
        changes: OffsetChanges,
        requests: GapRequests,
        *,
        emit: Callable[[Event], None],
    ) -> None:
        self._app, self._cluster, self._loaded, self._gate, self._watch = app, cluster, loaded, gate, watch
        self._settings, self._vault = loaded.worker, vault
        self.changes, self._requests, self._emit = changes, requests, emit
        self._executor = DaemonExecutor("reader")
        self._console: Console | None = None
        self._parts: dict[str, ConnectorParts] = {}
        self._built: dict[int, Built] = {}
        self._prepared: dict[str, Mapping[str, str]] = {}
        if loaded.connector is not None:
            self._prepared[loaded.connector.name] = loaded.declared

    def parts_of(self, connector: Connector) -> "ConnectorParts":
        """
        Return the parts of *connector* that its tasks share, made once for each configuration.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
        """
        parts = self._parts.get(connector.name)
        if parts is None or parts.texts != connector.config:
            config = self._read(connector)
            destination = destination_of(config, self._settings)
            writer = writer_of(config.value_format)
            form, added = form_of(config, writer), headers_of(config, self._app.trace_parents)
            transformer = transformer_of(config, self._settings, form, added)
            schemas = None if writer is None else self._schemas_of(config, writer)
            credentials = credentials_of(config)
            alone = None if config.chain or added else form
            parts = ConnectorParts(connector.config, config, credentials, destination, transformer, schemas, alone)
            self._parts[connector.name] = parts
        return parts

    def _schemas_of(self, config: ConnectorConfig, writer: Writer) -> SchemaIds:
        from connector.formats.schemas.confluent import ConfluentRegistry  # the extra `schema`

        return SchemaIds(
            writer,
            ConfluentRegistry(registry_settings_of(config)),
            connector=config.name,
            strategy=config.value_subject_name_strategy,
            emit=self._emit,
        )

    def terms_of(self, connector: Connector) -> Terms:
        """Return what is shown of the configuration of *connector*; little, if this worker cannot read it."""
        try:
            config = self._read(connector)
        except ConfigError:  # its secrets are on other workers, or its task says what is wrong
            texts = translate(connector.config).texts
            return Terms(stream=texts.get("stream") or None, topic=texts.get("topic") or None)
        return Terms(
            stream=config.stream,
            topic=config.topic,
            delivery=config.delivery,
            budget=budget_of(config),
            rules={rule.label: rule.value for rule in config.rules},
            known=True,
        )

    def _read(self, connector: Connector) -> ConnectorConfig:
        """Return the configuration; what came by REST may refer to less than what an environment declares."""
        group_id = self._settings.group_id
        if connector.declared_by is not None:
            environ, directory = self._loaded.environ, self._loaded.directory
            texts = connector.config
            return parse(texts, environ=environ, directory=directory, group_id=group_id, catalogue=CATALOGUE)
        checked = self._vault.check(connector.name, connector.config, group_id=group_id)
        if checked.config is None:
            raise ConfigError([problem.sentence for problem in checked.problems])
        return checked.config

    async def prepare(self, connector: Connector, slot: int) -> bool:
        """
        See to it that Kafka has the topics of *connector*, and that this worker may use them.

        The offsets of its task in *slot* are brought there, if they lie where the task ran before.  Return False if
        *connector* got other slots meanwhile.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
            BrokerUnsuitable, RightMissing, KafkaError, OSError, TimeoutError: as `prepare_connector`.
        """
        self._parts.pop(connector.name, None)  # a file or variable with a secret may have changed since the last start
        config = self.parts_of(connector).config
        self._watch.watch(own_topics(self._settings, config))
        if self._prepared.get(connector.name) != connector.config:
            async with self._gate.asking() as (admin, capabilities):
                await prepare_connector(
                    admin, capabilities, self._settings, config, self._cluster.user, self._emit, made=self._watch.made
                )
            self._prepared[connector.name] = connector.config
        number_of, number = partial(_number_of, config, len(connector.slots)), connector.slots.index(slot)
        return await self.changes.gather(connector, number, number_of, self.transactional_id)

    def keep(self, names: Collection[str]) -> None:
        """Forget the credentials and configurations of connectors that are not among *names*."""
        for known in (self._parts, self._prepared):
            for name in known.keys() - names:
                del known[name]

    def retries(self, connector: Connector) -> Retries:
        """Return for how long and how often a failed task of *connector* is tried again."""
        try:
            config = self.parts_of(connector).config
        except ConfigError:
            return Retries(timeout_secs=0, longest_secs=1)
        timeout_ms = config.errors_retry_timeout
        return Retries(
            timeout_secs=timeout_ms / 1000 if timeout_ms >= 0 else -1.0,
            longest_secs=config.errors_retry_delay_max_ms / 1000,
        )

    async def retire(self, connector: Connector, beside: Sequence[Connector]) -> None:
        """
        Delete the rules of *connector* at X, as nobody reads for it, but none that those *beside* it want, too.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
            ConnectorError: X cannot be reached, or refuses.
        """
        parts = self.parts_of(connector)
        if STREAMS[parts.config.stream].has_rules:
            partition = spread(STREAMS[parts.config.stream], 1)[0][0]
            source = self._source(parts, partition, parameters=parts.config.stream_params)
            others = [self.parts_of(each).config for each in beside]
            source.want({connector.name: {}, **{each.name: _rules_of(each) for each in others}})
            await asyncio.get_running_loop().run_in_executor(self._executor, source.prepare)

    def app_of(self, connector: Connector) -> Hashable:
        """
        Return which app at X *connector* reads with; no secret can be read out of it.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
        """
        return sha256("\n".join(app_of(self.parts_of(connector).config)).encode()).digest()

    async def held_rules(self, connector: Connector) -> Sequence[Rule]:
        """
        Return all rules that X holds for the app of *connector*; no task need run here.

        Raises:
            ConfigError: the configuration cannot be used on this worker.
            ConnectorError: X cannot be reached, or refuses.
        """
        parts = self.parts_of(connector)

        def ask() -> Sequence[Rule]:
            with Api(parts.config.x_api_url, parts.credentials, answer_secs=X_ANSWER_SECS) as api:
                return held_rules(api)

        return await asyncio.get_running_loop().run_in_executor(self._executor, ask)

    def build(
        self,
        connectors: Sequence[Connector],
        slot: int,
        *,
        idle: Collection[Connector],
        on_status: OnStatus,
        ghosts: Collection[Handle],
    ) -> SourceTask:
        """
        Build the task of *slot* for *connectors*, which share a stream; X shall hold no rules of those *idle*.

        The first one says how the stream is read; *ghosts* are connections that the last owner may have left open at X.

        Raises:
            ConfigError: a configuration cannot be used on this worker.
        """
        first = connectors[0]
        parts, config = self.parts_of(first), self.parts_of(first).config
        task = TaskId(first.name, first.slots.index(slot))
        partitions = spread(STREAMS[config.stream], len(first.slots))[task.number]
        sources = [self._source(parts, partition, parameters=self._parameters(connectors)) for partition in partitions]
        self._built[slot] = Built(first.name, _shape(first, config), sources, self._parameters(connectors))
        return SourceTask(
            TaskSettings(
                task=task,
                poll_interval_secs=config.poll_interval_ms / 1000,
                pace_secs=TRANSACTION_PACE_SECS if config.delivery == "exactly_once" else DELIVERY_PACE_SECS,
                offset_interval_secs=0.0 if config.delivery == "exactly_once" else OFFSET_INTERVAL_SECS,
                batch_max_records=config.batch_max_records,
                buffer_max_bytes=config.buffer_max_bytes,
                time_limit_secs=config.time_limit_secs,
                traced=wants_traces(os.environ),  # as OpenTelemetry reads it
            ),
            sources,
            self._wished(connectors, slot, idle=idle, on_status=on_status),
            self._sink(connectors, task, slot),
            self._executor,
            requests=self._requests,
            emit=self._emit,
            ghosts=ghosts,
        )

    def fits(self, slot: int, connectors: Sequence[Connector]) -> bool:
        """
        Return whether the task that was built for *slot* can go on for *connectors*.

        It cannot if the connector that says how the stream is read says something else now.
        """
        built = self._built[slot]
        first = next((each for each in connectors if each.name == built.first), None)
        return first is None or _shape(first, self.parts_of(first).config) == built.shape

    def change(
        self,
        task: SourceTask,
        connectors: Sequence[Connector],
        slot: int,
        *,
        idle: Collection[Connector],
        restart: Collection[TaskId],
        on_status: OnStatus,
    ) -> None:
        """
        Let *task*, which was built for *slot*, read for *connectors* from now on; those of *restart* begin anew.

        Raises:
            ConfigError: a configuration cannot be used on this worker.
        """
        built, parameters = self._built[slot], self._parameters(connectors)
        wished = self._wished(connectors, slot, idle=idle, on_status=on_status)
        asked = None if parameters == built.parameters else parameters
        self._built[slot] = replace(built, parameters=parameters)
        task.change(replace(wished, restart=frozenset(restart), parameters=asked))

    def _wished(
        self, connectors: Sequence[Connector], slot: int, *, idle: Collection[Connector], on_status: OnStatus
    ) -> Wished:
        subscriptions = tuple(self._subscription(each, slot, on_status=on_status) for each in connectors)
        return Wished(subscriptions=subscriptions, idle=frozenset(each.name for each in idle))

    def _parameters(self, connectors: Sequence[Connector]) -> dict[str, str]:
        """Return the query parameters of the stream: the fields and expansions of all *connectors* together."""
        chosen: dict[str, list[str]] = {}
        for connector in connectors:
            for name, fields in self.parts_of(connector).config.stream_params.items():
                chosen.setdefault(name, []).extend(fields.split(","))
        return {name: ",".join(dict.fromkeys(fields)) for name, fields in chosen.items()}

    def _subscription(self, connector: Connector, slot: int, *, on_status: OnStatus) -> Subscription:
        """Return what *connector* wants of the stream that is read in *slot*."""
        parts, sources = self.parts_of(connector), self._built[slot].sources
        config = parts.config
        characters = QUERY_CHARACTERS[config.plan]
        task = TaskId(connector.name, connector.slots.index(slot))
        return Subscription(
            task=task,
            destination=_destination(connector, parts, slot),
            settle_secs=config.settle_secs,
            tolerate_bad_records=config.errors_tolerance == "all",
            policy=policy_of(config),
            metered=is_metered(config),
            budget=budget_of(config),
            wanted=_rules_of(config),
            paused_until_ms=None if connector.idle_ms is None else connector.idle_ms[1],
            transformer=parts.transformer,
            form=parts.form,
            value_format=config.value_format,
            schemas=parts.schemas,
            others=self._spends_but(connector, config, [source.partition for source in sources]),
            finder=lambda number: PostFinder(source=sources[number], max_characters=characters),
            on_status=lambda status: on_status(task, status),
            withdrawals=self._withdrawals_of(config, sources),
            console=self._console_of(config),
        )

    def _withdrawals_of(self, config: ConnectorConfig, sources: Sequence[StreamSource]) -> "WithdrawalSettings | None":
        """Return what becomes of compliance events and rechecks; None for streams of posts."""
        if config.stream not in {COMPLIANCE, RECHECK}:
            return None
        from connector.kafka.state.authors import AuthorsTopic
        from connector.sources.lookup import LookupSource
        from connector.task.withdrawals import Recheck, WithdrawalSettings

        asking = [source for source in sources if isinstance(source, LookupSource)]
        age_ms = config.recheck_hours * 3_600_000

        names, gate = self._settings.names, self._gate
        return WithdrawalSettings(
            action=config.compliance_action,
            window_ms=config.compliance_window_hours * 3_600_000,
            remember_ms=config.compliance_remember_minutes * 60_000,
            posts=AuthorsTopic(
                self._cluster, names.authors, config.name, config.topic, trust_end_offsets=lambda: gate.transactions
            ),
            recheck=Recheck(age_ms=age_ms, handover=asking[0].handover) if asking else None,
        )

    def _console_of(self, config: ConnectorConfig) -> Console | None:
        if not config.print_posts:
            return None
        self._console = self._console or Console(sys.stdout, self._emit)
        return self._console

    def _source(
        self, parts: "ConnectorParts", partition: SourcePartition, *, parameters: Mapping[str, str]
    ) -> StreamSource:
        config = parts.config
        source = StreamSource
        if config.stream == RECHECK:
            from connector.sources.lookup import LookupSource

            source = LookupSource
        return source(
            connector=config.name,
            stream=at_x(partition),
            partition=partition,
            url=config.x_api_url,
            credentials=parts.credentials,
            parameters=parameters,
            wanted={config.name: {}},
            emit=self._emit,
            limits=Limits(silence_secs=config.silence_timeout_secs),
        )

    def _spends_but(
        self, connector: Connector, config: ConnectorConfig, mine: Collection[SourcePartition]
    ) -> Callable[[], Collection[Spend]]:
        """Return a function that returns what the connector's source partitions other than *mine* have spent."""
        if len(connector.slots) == 1 or not budget_of(config):
            return tuple

        def others() -> Collection[Spend]:
            known = self.changes.offsets.coverage(config.name)
            return [_spend_in(value) for partition, value, _ in known if partition not in mine]

        return others

    def transactional_id(self, connector: Connector, task: TaskId) -> str | None:
        """Return the id with which *task* of *connector* delivers; None if it uses no transactions."""
        owner = task.connector if connector.placement is None else connector.placement.owner
        if connector.config.get("delivery", "").strip().lower() == "at_least_once":
            return None
        return self._settings.names.transactional_id(TaskId(owner, task.number))

    def _sink(self, connectors: Sequence[Connector], task: TaskId, slot: int) -> TopicSink:
        names = self._settings.names
        return TopicSink(
            self._app,
            self._cluster,
            [_destination(each, self.parts_of(each), slot) for each in connectors],
            Slot(offsets_topic=names.offsets, ledger_topic=names.ledger, number=slot),
            DeliverySettings(
                task=task,
                transactional_id=self.transactional_id(connectors[0], task),
                idempotent=self._gate.idempotence,
                transaction_timeout_secs=self._settings.transaction_timeout_secs,
                trust_end_offsets=self._gate.transactions,
            ),
            self._emit,
        )


@dataclass(frozen=True, slots=True)
class ConnectorParts:
    """What the tasks of one connector share; *texts* is the configuration that it was made of."""

    texts: Mapping[str, str] = field(repr=False)
    config: ConnectorConfig
    credentials: Credentials
    destination: Destination
    transformer: Transformer | None
    schemas: SchemaIds | None = None
    form: Form | None = None
    """How values are written, if that is all that *transformer* does."""


@dataclass(frozen=True, slots=True)
class Built:
    """What the task of a slot was built with; *first* is the connector that says how the stream is read: *shape*."""

    first: str
    shape: object
    sources: Sequence[StreamSource]
    parameters: Mapping[str, str]


def _rules_of(config: ConnectorConfig) -> dict[str, str]:
    """Return the rules that X shall hold for a connector, value to label."""
    return {rule.value: rule.label for rule in config.rules}


def _shape(connector: Connector, config: ConnectorConfig) -> object:
    """Return what a running task cannot change: how the stream is read and delivered, and the slots."""
    return (
        connector.slots,
        config.x_api_url,
        config.stream,
        config.delivery,
        config.value_format,
        (config.bearer_token, config.consumer_key, config.consumer_secret),
        (config.poll_interval_ms, config.batch_max_records, config.buffer_max_bytes, config.silence_timeout_secs),
        config.time_limit_secs,
        (config.compliance_action, config.compliance_window_hours, config.compliance_remember_minutes),
        config.recheck_hours,
    )


def is_metered(config: ConnectorConfig) -> bool:
    """Return whether X charges for each post, or posts are counted for a budget; events of compliance are no posts."""
    if config.stream == COMPLIANCE:
        return False
    return config.plan == "pay_per_use" or config.budget_posts_per_day is not None


def destination_of(config: ConnectorConfig, settings: WorkerSettings) -> Destination:
    """Return where the posts of a connector go."""
    output = connector_topics(config)[0]
    new_topics = NewTopics(
        partitions=output.partitions,
        replication=output.replication,
        settings=tuple(output.settings.items()),
        allowed=settings.topic_allow_declare,
    )
    return Destination(
        connector=config.name,
        topic=config.topic,
        dead_letter_topic=config.dead_letter_topic,
        new_topics=new_topics if config.chain else None,
        authors_topic=settings.names.authors if config.withdraws else None,
    )


def _destination(connector: Connector, parts: ConnectorParts, slot: int) -> Destination:
    former = () if connector.placement is None else connector.placement.earlier
    earlier = dict.fromkeys(each.slot for each in former if each.slot != slot)
    return replace(parts.destination, earlier_slots=tuple(earlier))


def _number_of(config: ConnectorConfig, count: int, partition: Mapping[str, str]) -> int:
    """Return which of *count* tasks reads the source *partition*; -1 for one of another stream."""
    dealt = spread(STREAMS[config.stream], count)
    return next((number for number, parts in enumerate(dealt) if partition in parts), -1)


def transformer_of(
    config: ConnectorConfig, settings: WorkerSettings, form: Form | None = None, added: AddedHeaders = NO_HEADERS
) -> Transformer | None:
    """
    Return what applies the transforms of a connector, writes in *form* and adds the headers *added*; None without any.

    Raises:
        ConfigError: a transform of another package refuses its options.
    """
    if not config.chain and form is None and not added:
        return None
    try:
        chain = Chain(config.chain)
    except Unfit as unfit:
        raise ConfigError([f"A transform {rest}" for rest in unfit.rests]) from unfit
    letters = [] if config.dead_letter_topic is None else [config.dead_letter_topic]
    return Transformer(
        chain,
        connector=config.name,
        topic=config.topic,
        labels=[rule.label for rule in config.rules],
        reserved=[*settings.names.topics, *letters],
        form=form,
        added=added,
    )


def credentials_of(config: ConnectorConfig) -> Credentials:
    """
    Return the credentials of the connector at X.

    Raises:
        ConfigError: neither a bearer token nor a pair of consumer key and secret is set.
    """
    if config.bearer_token is not None:
        return BearerToken(config.bearer_token.reveal())
    if config.consumer_key is None or config.consumer_secret is None:
        raise ConfigError(["x.bearer.token, or x.consumer.key and x.consumer.secret, is required"])
    return KeyPair(config.consumer_key.reveal(), config.consumer_secret.reveal())


def policy_of(config: ConnectorConfig) -> Policy:
    """Return in which ways the gaps of a connector may be repaired."""
    stream = STREAMS[config.stream]
    ways: set[Way] = set()
    if config.plan == "enterprise" and config.recovery in {"auto", "backfill"}:
        if stream.has_backfill and config.backfill_max_minutes:
            ways.add(Way.BACKFILL)
        if stream.has_recovery:
            ways.add(Way.RECOVERY)
    if config.recovery in {"auto", "search"} and stream.has_rules:
        ways.add(Way.SEARCH)
    if config.recovery == "none":
        reason = "recovery=none"
    elif not stream.has_rules:
        reason = f"the stream {stream.name} has no rules that could be searched for"
    else:
        reason = f"recovery={config.recovery} allows no search"
    return Policy(ways=frozenset(ways), none_because=reason, backfill_max_minutes=config.backfill_max_minutes)


def budget_of(config: ConnectorConfig) -> Budget:
    """Return what a connector may spend; an enterprise account has no price per post here, as X publishes none."""
    dollars = config.budget_usd_per_month
    return Budget(
        posts_per_day=config.budget_posts_per_day,
        mills_per_month=None if dollars is None else round(dollars * MILLS),
        mills_each=mills_each(config),
    )


@lru_cache(maxsize=64)
def _spend_in(offset: bytes) -> Spend:
    try:
        return Coverage.decode(offset).spent
    except ValueError:  # the task of that source partition reports it, and fails
        return NOTHING_SPENT
