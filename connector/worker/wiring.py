"""Builds the Faust application from the settings: the one place where all parts are made and connected."""

import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import faust
from faust.types import TP

from connector import __version__, web
from connector.cluster.assignment import SlotAssignor
from connector.cluster.config_writer import MARK, ConfigWriter
from connector.cluster.configs import Configs
from connector.cluster.connectors import Connectors
from connector.cluster.declaration import Declaration
from connector.cluster.herder import Herder
from connector.cluster.offset_changes import OffsetChanges
from connector.cluster.overview import Overview
from connector.cluster.plugins import CONVERTERS, Plugins
from connector.cluster.requests import GAP_KEY, GapRequests
from connector.cluster.rules import ConnectorRules
from connector.cluster.statuses import Statuses
from connector.cluster.view.live import Live
from connector.cluster.view.view import View
from connector.config.addresses import netloc
from connector.config.dotenv import load_dotenv_into
from connector.config.load import Examined, Loaded, examine
from connector.config.names import Names
from connector.config.vault import Vault
from connector.config.worker import WorkerSettings
from connector.formats.schemas import native as avro_native
from connector.history.recorder import Recorder
from connector.kafka import internals as kafka_internals
from connector.kafka import topics
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import BrokerGate
from connector.kafka.gate.preparation import preparation, topics_of
from connector.kafka.gate.watch import TopicWatch, meanings
from connector.kafka.group.member import member
from connector.kafka.group.membership import membership_of
from connector.kafka.internals import rejoin
from connector.kafka.login import connection
from connector.kafka.login.refusals import Refusal
from connector.kafka.metadata import make_no_topics
from connector.kafka.slot_topics import SlotTopics
from connector.kafka.state.compacted_log import METADATA_MS, SILENCE_SECS, CompactedLog
from connector.kafka.state.offsets import OffsetTable
from connector.records import native
from connector.sources.http import internals as x_internals
from connector.telemetry.events.event import Event
from connector.telemetry.events.worker import CompiledFormBroken, FastPathOff, Noticed, WorkerStarting
from connector.telemetry.logs import Emitter
from connector.telemetry.metrics import Metrics
from connector.telemetry.obstacles import Obstacles
from connector.telemetry.parents import TraceParents
from connector.transforms.catalogue import CATALOGUE
from connector.web.guard import MAX_BODY_BYTES, middlewares
from connector.worker.gauges import gauges_of
from connector.worker.history import history_of
from connector.worker.plugin import parts_of, plugin_of
from connector.worker.process import ConnectorApp, ConnectorWorker, NoTables
from connector.worker.tasks import TaskBuilder

Apply: TypeAlias = Callable[[bytes, bytes | None, int], None]
"""Applies key, value and partition of a record; a None value is a tombstone."""

REQUEST_TIMEOUT_SECS = 30.0
REJOIN_SECS = 2.0
"""Time for an expelled worker to join the group again; its next heartbeat tells the worker that it is expelled."""

NOTHING_DECLARED = (
    "The environment declares no connector: this worker runs those that are created with POST /connectors, or by the"
    " environment of another worker of the group. CONNECTOR_TOPIC and others would declare one."
)

REFUSED_SECS = 15.0
"""A refusal counts for this time; every connection is tried again sooner, after a refused login too."""


def create_app(
    add_commands: Callable[[ConnectorApp, Loaded], None], misconfigured: Callable[[Examined], NoReturn]
) -> ConnectorApp:
    """
    Build the application from the environment and the `.env` of the working directory, and call *add_commands*.

    If settings are wrong, *misconfigured* is called instead, which ends the process.
    """
    directory = Path.cwd()
    examined = examine(os.environ, directory, CATALOGUE)
    if examined.problems:
        misconfigured(examined)
    loaded = examined.loaded
    load_dotenv_into(os.environ, directory)
    loaded.worker.export_to(os.environ)
    app = wire(loaded)
    add_commands(app, loaded)
    if loaded.connector is None:
        app.unconfigured = _missing(directory)
    return app


def _missing(directory: Path) -> tuple[str, ...]:
    """Return the problems of a worker without a connector: the required options that it would have to set."""
    return examine({**os.environ, "CONNECTOR_NAME": "posts"}, directory, CATALOGUE).problems


def wire(loaded: Loaded) -> ConnectorApp:
    """Build the application that *loaded* describes; no connection and no port is opened yet."""
    settings, config = loaded.worker, loaded.connector
    make_no_topics()
    metrics = Metrics()
    recorder = Recorder()
    emit = Emitter(metrics, recorder.take)
    names = settings.names
    cluster = cluster_of(settings)
    configs = Configs()
    app = _faust_app(settings, cluster, _assignor(names.tasks, configs, lambda: herder))  # built below
    _tell_settings(app, loaded, emit)

    obstacles = Obstacles(emit)
    app.group_consumer = member(obstacles, cluster.user)
    worker_id = _worker_id(settings.web_bind, settings.web_port)
    statuses = Statuses(
        app, names.statuses, worker_id, emit, obstacles=obstacles, user=cluster.user, version=__version__
    )
    offsets = OffsetTable()
    watch = TopicWatch(
        cluster,
        topics_of(settings, config),
        meanings(settings.group_id),
        emit,
        on_made=lambda topic: _begin_anew(topic, (*logs, past.log), herder, connectors, names),
        create=settings.topic_allow_declare,
    )
    prepare = preparation(settings, config, cluster.user, emit, made=watch.made)
    gate = BrokerGate(
        cluster,
        settings.group_id,
        prepare,
        emit,
        obstacles=obstacles,
        refused=lambda: _refused(log.silent_secs for log in logs),
    )
    requests = GapRequests(app, names.configs, user=cluster.user, emit=emit)

    logs = _logs(
        cluster,
        {
            names.statuses: lambda key, value, _: statuses.apply(key, value),
            names.offsets: offsets.apply,
            names.configs: _told(configs, requests, lambda: writer),
        },
        gate,
        obstacles=obstacles,
        emit=emit,
        gathered=names.offsets,
    )
    statuses_log, offsets_log, configs_log = logs
    statuses.follow(statuses_log)
    writer = ConfigWriter(
        cluster, configs_log, transactional_id=names.configs_writer, transactions=lambda: gate.transactions
    )
    past = history_of(
        cluster,
        names.history,
        recorder,
        statuses,
        tasks=lambda: herder.tasks_told(),  # noqa: PLW0108  # built below
        exit_code=lambda: app.exit_code,
        obstacles=obstacles,
        emit=emit,
        trust_end_offsets=lambda: gate.transactions,
    )
    slots = SlotTopics(cluster, names, emit, grown=lambda count: watch.watch(topics_of(settings, None, slots=count)))
    vault = Vault(settings, loaded.environ, loaded.directory, CATALOGUE)
    builder = TaskBuilder(
        app,
        cluster,
        loaded,
        vault,
        gate,
        watch,
        OffsetChanges(cluster, offsets_log, offsets, configs, statuses, trust_end_offsets=lambda: gate.transactions),
        requests,
        emit=emit,
    )
    herder = Herder(
        configs,
        builder,
        statuses,
        membership=lambda: membership_of(app),
        rejoin=lambda: rejoin(app),
        emit=emit,
        over=lambda code: app.leave(code),  # noqa: PLW0108  # the worker sets `leave` later
        retired=lambda connector: connectors.retired(connector),  # noqa: PLW0108  # built below
    )
    overview = Overview(
        configs=configs,
        herder=herder,
        statuses=statuses,
        offsets=offsets,
        requests=requests,
        logs=logs,
        waiting=lambda: gate.waiting,
        troubles=lambda: sorted(watch.troubles.values()),
        rebalancing=lambda: bool(app.rebalancing),
        obstacles=obstacles,
        cluster_id=lambda: gate.cluster_id,
    )
    plugins = Plugins([plugin_of(vault, loaded)], (*CONVERTERS, *parts_of(CATALOGUE)))
    connectors = Connectors(
        configs=configs,
        overview=overview,
        writer=writer,
        plugins=plugins,
        vault=vault,
        statuses=statuses,
        changes=builder.changes,
        transactional_id=builder.transactional_id,
        slots=slots,
        emit=emit,
    )
    live = Live(
        View(
            overview=overview,
            history=past.history,
            log=past.log,
            terms=builder.terms_of,
            group_id=settings.group_id,
            members=lambda: herder.members,
            dealt_ms=lambda: herder.dealt_ms,
        )
    )
    declaration = Declaration(loaded.declared, connectors, herder, statuses, configs_log, emit=emit)
    app.connectors = connectors
    app.herder, app.before_kafka = herder, (gate,)
    app.after_producer = (watch, *logs, past.log, statuses, writer, past.writer, herder, declaration, live)

    def pause_secs() -> float:
        # After it was silent, a broker may expel a worker, although that worker still runs its tasks and will join
        # again.  This happens up to a session timeout after the broker is back; then the group has to settle.
        within_secs = 2 * settings.broker_session_timeout + REJOIN_SECS
        silent = any(log.was_silent(within_secs) for log in logs)
        return settings.broker_heartbeat_interval + REJOIN_SECS if silent else 0.0

    _follow_assignment(app, names.tasks, herder, pause_secs)

    metrics.watch(lambda: gauges_of(herder, lambda: not overview.unready()))
    web.register(
        app,
        overview,
        metrics,
        connectors=connectors,
        plugins=plugins,
        live=live,
        rules=ConnectorRules(
            configs,
            statuses,
            held=builder.held_rules,
            app=builder.app_of,
            terms=builder.terms_of,
            look=connectors.look_at_rules,
        ),
        login=bool(settings.web_users),
    )

    def announce() -> None:
        if not app.conf.web_enabled:  # no port: the process id tells the workers of this host apart
            statuses.worker_id = _worker_id(app.conf.web_bind, f"pid-{os.getpid()}")
        else:  # now with the options of the command line
            statuses.worker_id = _worker_id(app.conf.web_bind, app.conf.web_port)
        _announce(app, loaded, emit)

    app.announce = announce
    return app


def _tell_settings(app: ConnectorApp, loaded: Loaded, emit: Emitter) -> None:
    settings, config = loaded.worker, loaded.connector
    app.emit, app.stop_timeout_secs = emit, settings.stop_timeout_secs
    app.trace_parents = TraceParents()
    app.web_needs_loopback = not settings.web_users
    app.exactly_once = config is None or config.delivery == "exactly_once"
    app.log_level, app.log_format = settings.log_level, settings.log_format


def _told(configs: Configs, requests: GapRequests, writer: Callable[[], ConfigWriter]) -> Apply:
    """Return what applies the records of the topic that *configs*, *requests* and the marks of *writer* share."""

    def apply(key: bytes, value: bytes | None, _: int) -> None:
        if key.startswith(GAP_KEY):
            requests.apply(key, value)
        elif key == MARK:
            writer().take_mark(value)
        else:
            configs.apply(key, value)

    return apply


def _logs(
    cluster: KafkaCluster,
    followed: Mapping[str, Apply],
    gate: BrokerGate,
    *,
    obstacles: Obstacles,
    emit: Callable[[Event], None],
    gathered: str,
) -> tuple[CompactedLog, ...]:
    """Return what follows the topics of *followed*; the records of the topic *gathered* need not be known at once."""
    return tuple(
        CompactedLog(
            cluster,
            topic,
            apply,
            obstacles=obstacles,
            emit=emit,
            trust_end_offsets=lambda: gate.transactions,
            gather=topic == gathered,
        )
        for topic, apply in followed.items()
    )


def _faust_app(settings: WorkerSettings, cluster: KafkaCluster, assignor: type[SlotAssignor]) -> ConnectorApp:
    return ConnectorApp(
        settings.group_id,
        broker=settings.broker_url.split(";"),
        broker_credentials=cluster.credentials(),
        broker_client_id=settings.broker_client_id,
        broker_session_timeout=settings.broker_session_timeout,
        broker_heartbeat_interval=settings.broker_heartbeat_interval,
        broker_request_timeout=max(REQUEST_TIMEOUT_SECS, settings.broker_session_timeout + 5),
        broker_rebalance_timeout=max(REQUEST_TIMEOUT_SECS, settings.broker_session_timeout),
        consumer_metadata_max_age_ms=METADATA_MS,  # notices soon if the topic of the slots was deleted and made again
        producer_request_timeout=REQUEST_TIMEOUT_SECS,
        producer_compression_type=None if settings.compression == "none" else settings.compression,
        env_prefix="CONNECTOR_",
        store="memory://",
        table_standby_replicas=1,  # with 0 Faust takes its round robin instead of our assignor
        PartitionAssignor=assignor,
        Worker=ConnectorWorker,
        TableManager=NoTables,
        topic_disable_leader=True,
        worker_redirect_stdouts=False,  # `print` goes to the console, not into the log
        web_bind=settings.web_bind,
        web_port=settings.web_port,
        web_router_enabled=False,
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
        web_application_options={
            "middlewares": middlewares(
                {user.name: user.password.reveal() for user in settings.web_users}, settings.web_hosts
            ),
            "client_max_size": MAX_BODY_BYTES,
        },
    )


def _assignor(topic: str, configs: Configs, herder: Callable[[], Herder]) -> type[SlotAssignor]:
    class GroupAssignor(SlotAssignor):
        tasks_topic = topic
        slots_in_use = staticmethod(configs.slots_in_use)

    GroupAssignor.claims = staticmethod(lambda: herder().claims())
    GroupAssignor.dealt = staticmethod(lambda members: herder().note_members(members))
    return GroupAssignor


def _follow_assignment(app: ConnectorApp, tasks_topic: str, herder: Herder, pause_secs: Callable[[], float]) -> None:
    # not `internal`: Faust would create the topic again and may lack the right; the gate has created it already
    slots = app.topic(tasks_topic, partitions=topics.TASK_SLOTS, key_type=bytes, value_type=bytes)

    @app.agent(slots)
    async def hold_slots(stream: faust.StreamT[Any]) -> None:
        async for _ in stream:
            pass  # the topic stays empty; Faust assigns its partitions only to a worker that consumes it

    # Not `on_partitions_revoked`: each rebalance revokes everything for a moment.
    @app.on_partitions_assigned.connect(weak=False)
    async def assign(_: faust.App, assigned: set[TP], **__: Any) -> None:
        mine = {tp.partition for tp in assigned if tp.topic == tasks_topic}
        herder.assign(mine, pause_secs=pause_secs())


def _refused(silences_secs: Iterable[float]) -> Refusal | None:
    """
    Return why Kafka refuses our connections, None if it does not.

    One absent broker counts only once Kafka is silent, because other brokers may answer.
    """
    refusal = connection.REFUSALS.current(REFUSED_SECS)
    if refusal is not None and refusal.away and max(silences_secs, default=0.0) < SILENCE_SECS:
        return None
    return refusal


def _fast_path_off(off: Collection[kafka_internals.Broken]) -> FastPathOff:
    paths = sorted({use for broken in off for use in broken.uses})
    return FastPathOff(
        paths=tuple(paths),
        missing=tuple(name for broken in off for name in broken.missing),
        installed=tuple(broken.installed for broken in off),
        consequence="; ".join(kafka_internals.FALL_BACKS[path] for path in paths),
        cure="; ".join(broken.cure for broken in off),
    )


def _worker_id(bind: str, port: int | str) -> str:
    return netloc(bind if bind.startswith("127.") else socket.gethostname(), port)


def _begin_anew(
    topic: str, logs: Collection[CompactedLog], herder: Herder, connectors: Connectors, names: Names
) -> None:
    """Read *topic* anew after it was deleted and made again; write again what it held."""
    for log in logs:
        if log.topic == topic:
            log.follow_anew()
    if topic == names.offsets:
        herder.rewrite_offsets()
    if topic == names.configs:
        herder.add_future(connectors.restore())


def _announce(app: ConnectorApp, loaded: Loaded, emit: Callable[[Event], None]) -> None:
    settings, config = loaded.worker, loaded.connector
    emit(
        WorkerStarting(
            version=__version__,
            broker=settings.broker_url_redacted,
            group=settings.group_id,
            web=f"http://{netloc(app.conf.web_bind, app.conf.web_port)}" if app.conf.web_enabled else None,
            connector=None if config is None else config.name,
            topic=None if config is None else config.topic,
            delivery=None if config is None else config.delivery,
            compiled=avro_native.all_compiled(),
        )
    )
    for reason in filter(None, (native.broken, avro_native.broken)):
        emit(CompiledFormBroken(reason=reason))
    for off in x_internals.paths_off():
        emit(off)
    if lacking := kafka_internals.check(kafka_internals.FALL_BACKS):
        emit(_fast_path_off(lacking))
    notices = loaded.notices if config is not None else (*loaded.notices, NOTHING_DECLARED)
    for notice in notices:
        emit(Noticed(notice=notice))
