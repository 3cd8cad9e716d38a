"""Builds the Faust application from the settings: the one place where all parts are made and connected."""

import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from connector import __version__, web
from connector.cluster.assignment import SlotAssignor
from connector.cluster.herder import Herder
from connector.cluster.overview import Overview
from connector.cluster.requests import GapRequests
from connector.cluster.statuses import Statuses
from connector.config.addresses import netloc
from connector.config.dotenv import load_dotenv_into
from connector.config.load import Loaded, load
from connector.config.worker import WorkerSettings
from connector.errors import ConfigError
from connector.kafka import internals as kafka_internals
from connector.kafka import topics
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import BrokerGate
from connector.kafka.gate.preparation import preparation, topics_of
from connector.kafka.gate.watch import TopicWatch, meanings
from connector.kafka.group.member import member
from connector.kafka.group.membership import membership_of
from connector.kafka.login import connection
from connector.kafka.login.refusals import Refusal
from connector.kafka.metadata import make_no_topics
from connector.kafka.state.compacted_log import METADATA_MS, SILENCE_SECS, CompactedLog
from connector.kafka.state.offsets import OffsetTable
from connector.records.native import broken, compiled
from connector.records.record import TaskId
from connector.sources.http import internals as x_internals
from connector.telemetry.events.event import Event
from connector.telemetry.events.worker import CompiledFormBroken, FastPathOff, Noticed, WorkerStarting
from connector.telemetry.logs import Emitter
from connector.telemetry.metrics import Metrics
from connector.telemetry.obstacles import Obstacles
from connector.web.guard import MAX_BODY_BYTES, middlewares
from connector.worker.gauges import gauges_of
from connector.worker.process import ConnectorApp, ConnectorWorker, exit_misconfigured
from connector.worker.tasks import TaskBuilder

REQUEST_TIMEOUT_SECS = 30.0
REJOIN_SECS = 2.0
"""Time for an expelled worker to join the group again; its next heartbeat tells the worker that it is expelled."""

REFUSED_SECS = 15.0
"""A refusal counts for this time; every connection is tried again sooner, after a refused login too."""


def create_app(add_commands: Callable[[ConnectorApp, Loaded], None]) -> ConnectorApp:
    """
    Build the application from the environment and the `.env` of the working directory, and call *add_commands*.

    If settings are wrong, print all problems to standard error and exit with code 78.
    """
    directory = Path.cwd()
    try:
        loaded = load(os.environ, directory)
    except ConfigError as error:
        exit_misconfigured(error)
    load_dotenv_into(os.environ, directory)
    loaded.worker.export_to(os.environ)
    app = wire(loaded)
    add_commands(app, loaded)
    if loaded.connector is None:
        app.unconfigured = _missing(directory)
    return app


def _missing(directory: Path) -> tuple[str, ...]:
    """Return the problems of a worker without a connector: the required options that it would have to set."""
    try:
        load({**os.environ, "CONNECTOR_NAME": "posts"}, directory)
    except ConfigError as error:
        return error.problems
    return ()


def wire(loaded: Loaded) -> ConnectorApp:
    """Build the application that *loaded* describes; no connection and no port is opened yet."""
    settings, config = loaded.worker, loaded.connector
    make_no_topics()
    metrics = Metrics()
    emit = Emitter(metrics)
    slots = {} if config is None else {slot: TaskId(config.name, slot) for slot in range(config.tasks)}
    names = settings.names
    cluster = cluster_of(settings)
    app = _faust_app(settings, cluster, _assignor(names.tasks, slots.keys(), claims=lambda: herder.claims()))  # noqa: PLW0108  # built below
    app.emit, app.stop_timeout_secs = emit, settings.stop_timeout_secs
    app.web_needs_loopback = not settings.web_users
    app.exactly_once = config is not None and config.delivery == "exactly_once"
    app.log_level, app.log_format = settings.log_level, settings.log_format

    obstacles = Obstacles(emit)
    app.group_consumer = member(obstacles, cluster.user)
    worker_id = _worker_id(settings.web_bind, settings.web_port)
    statuses = Statuses(app, names.statuses, worker_id, emit, obstacles=obstacles, user=cluster.user)
    offsets = OffsetTable()
    watch = TopicWatch(
        cluster,
        topics_of(settings, config),
        meanings(settings.group_id),
        emit,
        on_made=lambda topic: _begin_anew(topic, logs, herder, offsets_topic=names.offsets),
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
    requests = GapRequests(app, names.configs, user=cluster.user)
    followed = {
        names.statuses: statuses.apply,
        names.offsets: offsets.apply,
        names.configs: requests.apply,
    }
    logs = tuple(
        CompactedLog(
            cluster,
            topic,
            apply,
            obstacles=obstacles,
            emit=emit,
            trust_end_offsets=lambda: gate.transactions,
            gather=apply == offsets.apply,  # states and requests have to be known at once, offsets need not
        )
        for topic, apply in followed.items()
    )
    statuses.follow(logs[0])
    builder = (
        None if config is None else TaskBuilder(app, cluster, settings, config, gate, offsets, requests, emit=emit)
    )
    herder = Herder(
        slots,
        builder,
        statuses,
        membership=lambda: membership_of(app),
        emit=emit,
        over=lambda code: app.leave(code),  # noqa: PLW0108  # the worker sets `leave` later
    )
    app.herder, app.before_kafka, app.after_producer = herder, (gate,), (watch, *logs, statuses, herder)

    def pause_secs() -> float:
        # After it was silent, a broker may expel a worker, although that worker still runs its tasks and will join
        # again.  This happens up to a session timeout after the broker is back; then the group has to settle.
        within_secs = 2 * settings.broker_session_timeout + REJOIN_SECS
        silent = any(log.was_silent(within_secs) for log in logs)
        return settings.broker_heartbeat_interval + REJOIN_SECS if silent else 0.0

    _follow_assignment(app, names.tasks, herder, pause_secs)

    overview = Overview(
        declared={} if config is None else {config.name: loaded.declared},
        tasks={} if config is None else {config.name: tuple(slots.values())},
        herder=herder,
        statuses=statuses,
        offsets=offsets,
        requests=requests,
        settle_ms=0 if config is None else int(config.settle_secs * 1000),
        logs=logs,
        waiting=lambda: gate.waiting,
        troubles=lambda: sorted(watch.troubles.values()),
        rebalancing=lambda: bool(app.rebalancing),
        obstacles=obstacles,
    )
    metrics.watch(lambda: gauges_of(herder))
    web.register(app, overview, metrics)

    def announce() -> None:
        if not app.conf.web_enabled:  # no port: the process id tells the workers of this host apart
            statuses.worker_id = _worker_id(app.conf.web_bind, f"pid-{os.getpid()}")
        else:  # now with the options of the command line
            statuses.worker_id = _worker_id(app.conf.web_bind, app.conf.web_port)
        _announce(app, loaded, emit)

    app.announce = announce
    return app


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


def _assignor(topic: str, used: Collection[int], *, claims: Callable[[], Mapping[int, float]]) -> type[SlotAssignor]:
    class GroupAssignor(SlotAssignor):
        tasks_topic = topic
        slots_in_use = staticmethod(lambda: set(used))

    GroupAssignor.claims = staticmethod(claims)
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


def _begin_anew(topic: str, logs: Collection[CompactedLog], herder: Herder, *, offsets_topic: str) -> None:
    """Read *topic* anew after it was deleted and made again; write the offsets again if it held them."""
    for log in logs:
        if log.topic == topic:
            log.follow_anew()
    if topic == offsets_topic:
        herder.rewrite_offsets()


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
            compiled=compiled is not None,
        )
    )
    if broken:
        emit(CompiledFormBroken(reason=broken))
    for off in x_internals.paths_off():
        emit(off)
    if lacking := kafka_internals.check(kafka_internals.FALL_BACKS):
        emit(_fast_path_off(lacking))
    for notice in loaded.notices:
        emit(Noticed(notice=notice))
