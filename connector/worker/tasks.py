"""Builds the tasks of a connector from its configuration: their sources, sink, ways of repair and budget."""

import sys
from collections.abc import Callable, Collection
from functools import lru_cache

from connector.cluster.requests import GapRequests
from connector.config.connector import ConnectorConfig
from connector.config.fields import POST_EXPANSIONS, USER_EXPANSIONS
from connector.config.worker import WorkerSettings
from connector.coverage.offset import Coverage, Way
from connector.coverage.spend import MILLS, NOTHING_SPENT, POST_MILLS, USER_MILLS, Budget, Spend
from connector.errors import ConfigError
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.posts_topic import Destination, PostsTopic
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.gate.gate import BrokerGate
from connector.kafka.state.offsets import OffsetTable
from connector.records.record import SourcePartition, TaskId
from connector.sources.archive.finder import PostFinder
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.handles import Handle
from connector.sources.rest.credentials import BearerToken, Credentials, KeyPair
from connector.sources.source import StreamSource
from connector.sources.stream.connection import Limits
from connector.sources.stream.streams import STREAMS, spread
from connector.task.console import Console
from connector.task.repair.policy import Policy
from connector.task.settings import TaskSettings
from connector.task.status import TaskStatus
from connector.task.task import SourceTask
from connector.telemetry.events.event import Event
from connector.worker.process import ConnectorApp
from connector.worker.threads import DaemonExecutor

TRANSACTION_PACE_SECS = 0.044
DELIVERY_PACE_SECS = 0.014
"""
Least time between the begins of two batches, exactly once and at least once.

A commit takes a millisecond of CPU, however many posts are in the batch.  A post waits half of this time on average.
These are the longest times with which the median from arrival to commit stays below 30 ms (exactly once) and 10 ms (at
least once), measured on two shared cores.
"""

OFFSET_INTERVAL_SECS = 0.1
"""
Time between two writes of the source offset, at least once.

Without transactions an offset is a request of its own, sent after its posts.  After a crash the posts delivered since
the last written offset are delivered again; this interval adds at most 0.1 s of posts to them.
"""


class TaskBuilder:
    """Builds the tasks of one connector (`connector.cluster.herder.BuildTask`)."""

    def __init__(
        self,
        app: ConnectorApp,
        cluster: KafkaCluster,
        settings: WorkerSettings,
        config: ConnectorConfig,
        gate: BrokerGate,
        offsets: OffsetTable,
        requests: GapRequests,
        *,
        emit: Callable[[Event], None],
    ) -> None:
        self._app, self._cluster, self._settings, self._config = app, cluster, settings, config
        self._gate, self._offsets, self._requests, self._emit = gate, offsets, requests, emit
        self._credentials = credentials_of(config)
        self._posts = PostsTopic(app, topic=config.topic, value_format=config.value_format)
        self._executor = DaemonExecutor("reader")
        self._console = Console(sys.stdout, emit) if config.print_posts else None

    def __call__(
        self, task: TaskId, slot: int, *, on_status: Callable[[TaskStatus], None], ghosts: Collection[Handle]
    ) -> SourceTask:
        config = self._config
        partitions = spread(STREAMS[config.stream], config.tasks)[task.number]
        return SourceTask(
            TaskSettings(
                task=task,
                poll_interval_secs=config.poll_interval_ms / 1000,
                pace_secs=TRANSACTION_PACE_SECS if config.delivery == "exactly_once" else DELIVERY_PACE_SECS,
                offset_interval_secs=0.0 if config.delivery == "exactly_once" else OFFSET_INTERVAL_SECS,
                batch_max_records=config.batch_max_records,
                buffer_max_bytes=config.buffer_max_bytes,
                settle_secs=config.settle_secs,
                time_limit_secs=config.time_limit_secs,
                dead_letter_topic=config.dead_letter_topic,
                tolerate_bad_records=config.errors_tolerance == "all",
                policy=policy_of(config),
                metered=config.plan == "pay_per_use" or config.budget_posts_per_day is not None,
                budget=budget_of(config),
                others=self._spends_but(partitions),
            ),
            [self._ends(partition) for partition in partitions],
            self._sink(task, slot),
            self._executor,
            requests=self._requests,
            emit=self._emit,
            on_status=on_status,
            ghosts=ghosts,
            console=self._console,
        )

    def _ends(self, partition: SourcePartition) -> tuple[StreamSource, PostFinder]:
        config = self._config
        source = StreamSource(
            connector=config.name,
            stream=STREAMS[config.stream],
            partition=partition,
            url=config.x_api_url,
            credentials=self._credentials,
            parameters=config.stream_params,
            wanted={rule.value: rule.label for rule in config.rules},
            emit=self._emit,
            limits=Limits(silence_secs=config.silence_timeout_secs),
        )
        return source, PostFinder(source=source, max_characters=QUERY_CHARACTERS[config.plan])

    def _spends_but(self, mine: Collection[SourcePartition]) -> Callable[[], Collection[Spend]]:
        """Return a function that returns what the connector's source partitions other than *mine* have spent."""
        config = self._config
        if config.tasks == 1 or not budget_of(config):
            return tuple

        def others() -> Collection[Spend]:
            known = self._offsets.coverage(config.name)
            return [_spend_in(value) for partition, value, _ in known if partition not in mine]

        return others

    def _sink(self, task: TaskId, slot: int) -> TopicSink:
        exactly_once = self._config.delivery == "exactly_once"
        names = self._settings.names
        return TopicSink(
            self._app,
            self._cluster,
            self._posts,
            Destination(
                offsets_topic=names.offsets,
                ledger_topic=names.ledger,
                slot=slot,
                ledger_key=task.connector.encode(),
                dead_letter_topic=self._config.dead_letter_topic,
            ),
            DeliverySettings(
                task=task,
                transactional_id=names.transactional_id(task) if exactly_once else None,
                idempotent=self._gate.idempotence,
                transaction_timeout_secs=self._settings.transaction_timeout_secs,
                trust_end_offsets=self._gate.transactions,
            ),
            self._emit,
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
    price = 0
    if config.plan == "pay_per_use":
        chosen = set(config.expansions)
        price = POST_MILLS + USER_MILLS * bool(chosen & USER_EXPANSIONS)
        price += POST_MILLS * bool(chosen & POST_EXPANSIONS)
    dollars = config.budget_usd_per_month
    return Budget(
        posts_per_day=config.budget_posts_per_day,
        mills_per_month=None if dollars is None else round(dollars * MILLS),
        mills_each=price,
    )


@lru_cache(maxsize=64)
def _spend_in(offset: bytes) -> Spend:
    try:
        return Coverage.decode(offset).spent
    except ValueError:  # the task of that source partition reports it, and fails
        return NOTHING_SPENT
