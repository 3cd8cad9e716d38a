"""Checks the topics and rights that a worker needs; the gate calls this before anything starts."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError

from connector.config.connector import ConnectorConfig
from connector.config.worker import WorkerSettings
from connector.errors import RightMissing
from connector.kafka import compaction, rights, topics
from connector.kafka.gate.gate import Capabilities
from connector.kafka.gate.transactions import check_transactions
from connector.kafka.gate.watch import meanings
from connector.records.record import TaskId
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import RightUseful, TopicCreated, TopicKeepsPosts, TopicMissing

MAX_DEAD_LETTER_BYTES = 20 * 1024 * 1024


def topics_of(
    settings: WorkerSettings, config: ConnectorConfig | None, *, slots: int = topics.TASK_SLOTS
) -> list[topics.TopicSpec]:
    """Return the topics that a worker needs, in a group with so many *slots*."""
    specs = list(
        topics.internal_topics(
            settings.group_id,
            replication=settings.internal_replication_factor,
            ledger_retention_ms=settings.ledger_retention_hours * 3_600_000,
            history_retention_ms=settings.history_retention_hours * 3_600_000,
            slots=slots,
        )
    )
    return specs if config is None else [*specs, *own_topics(settings, config)]


def needs_of(
    settings: WorkerSettings, config: ConnectorConfig | None, *, transactions: bool = True
) -> tuple[rights.Need, ...]:
    """Return the rights that a worker needs on a broker with *transactions* or without."""
    ids = [settings.names.configs_writer] if transactions else []
    if config is not None and config.delivery == "exactly_once":
        ids += [settings.names.transactional_id(TaskId(config.name, number)) for number in range(config.tasks)]
    return rights.needs(
        settings.group_id,
        topic=None if config is None else config.topic,
        dead_letter_topic=None if config is None else config.dead_letter_topic,
        transactional_ids=ids,
        withdraws=config is not None and config.withdraws,
    )


def preparation(
    settings: WorkerSettings,
    config: ConnectorConfig | None,
    user: str | None,
    emit: Callable[[Event], None],
    *,
    made: set[str],
) -> Callable[[AIOKafkaAdminClient, Capabilities], Awaitable[None]]:
    """
    Return a function that prepares Kafka for a worker that logs in as *user*; it may be called repeatedly.

    It adds the names of the topics that it creates to *made*.
    """
    specs = topics_of(settings, config)
    told: set[str] = set()
    doubted: list[str] = []

    def tell(missing: RightMissing, without: str) -> None:
        if str(missing) not in told:
            told.add(str(missing))
            emit(RightUseful(reason=str(missing), without=without))

    async def prepare(admin: AIOKafkaAdminClient, capabilities: Capabilities) -> None:
        if config is not None:
            capabilities.check(config.delivery)
        wanted = needs_of(settings, config, transactions=capabilities.transactions)
        absent: Sequence[rights.Right] = ()
        try:
            await topics.declare(admin, specs, _noting(made, emit), user=user, create=settings.topic_allow_declare)
        except RightMissing as exc:
            absent = exc.rights
        required, useful = await rights.lacking(admin, wanted)
        if missing := _together(absent, required, wanted):
            raise rights.right_missing(missing, user)
        for right, without in useful:
            tell(rights.right_missing([right], user), without)
        if config is not None and config.delivery == "at_least_once" and capabilities.idempotence_refused:
            right = rights.Right(rights.IDEMPOTENT_WRITE, rights.CLUSTER, "")
            tell(rights.right_missing([right], user), "Kafka may store a batch twice that it has not acknowledged")
        await _check_transactions(admin, settings, config)
        _tell_lost(settings.group_id, made, emit)
        if config is not None and not doubted:
            doubted.append(config.topic)
            await _doubt(admin, config, emit)

    return prepare


async def prepare_connector(
    admin: AIOKafkaAdminClient,
    capabilities: Capabilities,
    settings: WorkerSettings,
    config: ConnectorConfig,
    user: str | None,
    emit: Callable[[Event], None],
    *,
    made: set[str],
) -> None:
    """
    Prepare Kafka for the tasks of one connector, on a broker that the gate has prepared for this worker.

    The names of topics that are created are added to *made*.

    Raises:
        BrokerUnsuitable: a topic has wrong settings, or the broker lacks what the delivery needs.
        RightMissing: this worker's *user* may not write to a topic, or use a transactional id.
        KafkaError, OSError, TimeoutError: the broker cannot be asked now.
    """
    capabilities.check(config.delivery)
    create = settings.topic_allow_declare
    await topics.declare(admin, own_topics(settings, config), _noting(made, emit), user=user, create=create)
    missing, _ = await rights.lacking(admin, needs_of(settings, config, transactions=capabilities.transactions))
    if missing:
        raise rights.right_missing(missing, user)
    await _check_transactions(admin, settings, config)
    await _doubt(admin, config, emit)


def _noting(made: set[str], emit: Callable[[Event], None]) -> Callable[[Event], None]:
    def note(event: Event) -> None:
        emit(event)
        if isinstance(event, TopicCreated):
            made.add(event.topic)

    return note


async def _check_transactions(
    admin: AIOKafkaAdminClient, settings: WorkerSettings, config: ConnectorConfig | None
) -> None:
    if config is not None and config.delivery == "exactly_once":
        await check_transactions(admin, settings.group_id, settings.transaction_timeout_secs)


async def _doubt(admin: AIOKafkaAdminClient, config: ConnectorConfig, emit: Callable[[Event], None]) -> None:
    """Warn if the topic from which a connector withdraws posts keeps them longer than X allows."""
    if not config.withdraws:
        return
    try:
        settings = await topics.settings_of(admin, config.topic)
    except TopicAuthorizationFailedError:
        cure = f"allow DESCRIBE_CONFIGS on topic {config.topic}"
        emit(TopicKeepsPosts(topic=config.topic, reason="This user may not read its settings", cure=cure))
        return
    for doubt in compaction.doubts(config.topic, settings):
        emit(TopicKeepsPosts(topic=config.topic, reason=doubt.why, cure=doubt.cure))


def _tell_lost(group_id: str, made: Collection[str], emit: Callable[[Event], None]) -> None:
    """Report the topics that were just *made* for a group that has others already, and what their loss means."""
    own = meanings(group_id)
    if not own.keys() <= set(made):
        for name in sorted(own.keys() & set(made)):
            emit(TopicMissing(topic=name, reason=f"The topic {name} was not there, and is made anew: {own[name]}"))


def _together(
    absent: Sequence[rights.Right], required: Sequence[rights.Right], wanted: Sequence[rights.Need]
) -> list[rights.Right]:
    """Return all missing rights; a topic that cannot be created may exist unseen, so its own rights count, too."""
    uncreated = {right.name for right in absent if right.operation == rights.CREATE}
    unseen = [
        rights.Right(operation, need.kind, need.name)
        for need in wanted
        if need.kind == rights.TOPIC and need.name in uncreated
        for operation in need.required
    ]
    return list(dict.fromkeys([*absent, *unseen, *required]))


def own_topics(settings: WorkerSettings, config: ConnectorConfig) -> Sequence[topics.TopicSpec]:
    """Return the topics that a connector writes to, with the one of the group in which it keeps who wrote what."""
    if not config.withdraws:
        return connector_topics(config)
    authors = topics.authors_topic(
        settings.group_id,
        replication=settings.internal_replication_factor,
        window_ms=config.compliance_window_hours * 3_600_000,
    )
    return [*connector_topics(config), authors]


def connector_topics(config: ConnectorConfig) -> Sequence[topics.TopicSpec]:
    """Return the topics that a connector writes to."""
    retention = config.topic_creation_default_retention_ms
    compacts = "compact" in config.topic_creation_default_cleanup_policy
    output = topics.TopicSpec(
        name=config.topic,
        partitions=config.topic_creation_default_partitions,
        replication=config.topic_creation_default_replication_factor,
        settings={"cleanup.policy": config.topic_creation_default_cleanup_policy}
        | ({"max.compaction.lag.ms": str(compaction.LAG_MS)} if compacts else {})
        | ({} if retention is None else {"retention.ms": str(retention)}),
        chosen=True,
    )
    if config.dead_letter_topic is None:
        return [output]
    return [output, letters_topic(config.dead_letter_topic, config.topic_creation_default_replication_factor)]


def letters_topic(name: str, replication: int) -> topics.TopicSpec:
    """Return the spec with which the dead letter topic *name* is created."""
    return topics.TopicSpec(
        name=name,
        partitions=1,
        replication=replication,
        settings={"cleanup.policy": "delete", "max.message.bytes": str(MAX_DEAD_LETTER_BYTES)},
    )
