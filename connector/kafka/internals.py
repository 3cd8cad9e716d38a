"""
Every private name of aiokafka, Faust and mode that the connector uses, and a check that it exists.

Other modules get such a name from here, once, when they make an object.  Only names that a subclass overrides or finds
in itself stay where the subclass is.  `USES` lists all names by their use.  A worker checks them at its start.  If a
name for a faster way is missing, that way is turned off (`missing`).  If any other is missing, the worker does not
start (`unfit`).

The names were seen in aiokafka 0.14.0, faust-streaming 0.15.3 and mode-streaming 0.7.1; each is imported when needed.
"""

import dis
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import import_module, metadata
from operator import attrgetter, methodcaller
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

# -- the private names, by their use


@dataclass(frozen=True, slots=True)
class Library:
    """A library, the versions that pyproject.toml allows, and the one in which the names were seen."""

    distribution: str
    bounds: str
    seen: str


LIBRARIES: Mapping[str, Library] = {
    "aiokafka": Library("aiokafka", ">=0.14,<0.15", "0.14.0"),
    "faust": Library("faust-streaming", ">=0.15.3,<0.16", "0.15.3"),
    "mode": Library("mode-streaming", ">=0.7.1,<0.8", "0.7.1"),
}
"""By the package that is imported."""


class Use(StrEnum):
    """What private names are used for."""

    SMALL_BATCHES = "small_batches"
    PIPELINING = "pipelining"
    RECORD_BATCH = "record_batch"
    ONCE = "once"
    GONE = "gone"
    SIEVE = "sieve"
    PRODUCER = "producer"
    ADMIN = "admin"
    CONNECTION = "connection"
    CLOSING = "closing"
    METADATA = "metadata"
    GROUP = "group"
    COMPACTED_LOG = "compacted_log"
    FORMATS = "formats"
    WORKER = "worker"
    COMMAND_LINE = "command_line"


FALL_BACKS: Mapping[Use, str] = {
    Use.SMALL_BATCHES: "small batches are left to aiokafka's sender and take more CPU",
    Use.PIPELINING: "each broker gets one produce request at a time, which carries fewer posts at full speed",
}
"""The only uses whose names may be missing, and the consequence of each."""


@dataclass(frozen=True, slots=True)
class Part:
    """Names in a class (`module:Class`) or in a module of another library."""

    where: str
    holds: Collection[str] = ()
    """Attributes of the class, or set by its `__init__`; names of a module."""
    calls: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Methods that the connector calls, replaces or overrides, and the parameters that it relies on."""


_PRODUCER = "aiokafka.producer.producer:AIOKafkaProducer"
_SENDER = "aiokafka.producer.sender:Sender"
_ACCUMULATOR = "aiokafka.producer.message_accumulator:MessageAccumulator"
_MESSAGE_BATCH = "aiokafka.producer.message_accumulator:MessageBatch"
_BUILDER = "aiokafka.producer.message_accumulator:BatchBuilder"
_MANAGER = "aiokafka.producer.transaction_manager:TransactionManager"
_CLIENT = "aiokafka.client:AIOKafkaClient"
_CONSUMER = "aiokafka.consumer.consumer:AIOKafkaConsumer"
_FETCHER = "aiokafka.consumer.fetcher:Fetcher"

_SEND = {"send": ("node_id", "request", "group")}
_DRAIN = {"drain_by_nodes": ("ignore_nodes", "muted_partitions")}
_NUMBERS = {"sequence_number": ("tp",), "increment_sequence_number": ("tp", "increment")}
_BUILD = {"_set_producer_state": ("producer_id", "producer_epoch", "base_sequence"), "_build": ()}

USES: Mapping[Use, tuple[Part, ...]] = {
    Use.SMALL_BATCHES: (
        Part(_PRODUCER, ("_message_accumulator", "_sender", "_txn_manager", "client")),
        Part(_SENDER, ("_acks", "_coordinators", "_request_timeout_ms")),
        Part(_ACCUMULATOR, ("_batches", "_closed", "_exception", "_pending_batches")),
        Part(
            _MANAGER,
            ("producer_epoch", "producer_id", "state", "transactional_id", "txn_partitions"),
            {"_transition_to": ("target",), "begin_transaction": (), "complete_transaction": (), **_NUMBERS},
        ),
        Part(_BUILDER, (), _BUILD),
        Part(_CLIENT, (), _SEND),
        # `small_batches._Request` takes the place of these
        Part("aiokafka.protocol.api:Request", (), {"prepare": ("versions",)}),
        Part(
            "aiokafka.protocol.api:RequestStruct",
            (),
            {"build_request_header": ("correlation_id", "client_id"), "encode": (), "parse_response_header": ()},
        ),
    ),
    Use.PIPELINING: (
        Part(_PRODUCER, ("_message_accumulator", "_sender")),
        Part(_SENDER, ("_in_flight",)),
        Part(_ACCUMULATOR, ("_batches", "_waiter_future"), _DRAIN),
        Part(_MESSAGE_BATCH, ("_builder",)),
    ),
    Use.RECORD_BATCH: (
        # `record_batch.RecordBatch` takes the place of this
        Part(_BUILDER, (), {"append": (), "close": (), "closed": (), "record_count": (), "size": (), **_BUILD}),
        Part("aiokafka.protocol.produce:ProduceRequest", (), {"build": ("request_struct_class",)}),
        Part(_CLIENT, (), _SEND),
    ),
    Use.ONCE: (
        Part(_PRODUCER, ("_message_accumulator", "_txn_manager", "client")),
        Part(_ACCUMULATOR, ("_batches", "_pending_batches"), {"fail_all": ("exception",)}),
        Part(_MESSAGE_BATCH, ("_drain_waiter",)),
        Part(_MANAGER, (), {"fatal_error": ("exc",), "is_fatal_error": (), "wait_for_transaction_end": ()}),
        Part(_CLIENT, (), {**_SEND, "coordinator_lookup": ("coordinator_type", "coordinator_key")}),
    ),
    Use.GONE: (
        Part(_PRODUCER, ("_message_accumulator", "_txn_manager", "client")),
        Part(
            _ACCUMULATOR,
            ("_batches", "_pending_batches"),
            {**_DRAIN, "fail_all": ("exception",), "reenqueue": ("batch",)},
        ),
        Part(_MESSAGE_BATCH, ("_drain_waiter",)),
        Part(_MANAGER, ("transactional_id",), {"fatal_error": ("exc",), "is_fatal_error": ()}),
        Part(_CLIENT, ("cluster",), {**_SEND, "force_metadata_update": ()}),
    ),
    Use.SIEVE: (
        Part(_PRODUCER, ("_sender", "_txn_manager", "client")),
        Part(_SENDER, ("_acks", "_coordinators", "_request_timeout_ms")),
        Part(_MANAGER, ("producer_epoch", "producer_id", "transactional_id"), {"begin_transaction": (), **_NUMBERS}),
        Part(_CLIENT, (), _SEND),
    ),
    Use.PRODUCER: (
        Part(
            "faust.transport.drivers.aiokafka:Producer",
            ("_producer",),
            {"_ensure_producer": (), "_new_producer": ("transactional_id",), "_settings_extra": ()},
        ),
        Part(_PRODUCER, ("_txn_manager", "client")),
        Part(_MANAGER, ("_transaction_waiter",), {"maybe_add_partition_to_txn": ("tp",)}),
        Part("aiokafka.producer.sender", ("BACKOFF_OVERRIDE",)),
    ),
    Use.ADMIN: (
        Part(
            "aiokafka.admin.client:AIOKafkaAdminClient",
            ("_client",),
            {"_send_request": ("request",), "_send_request_to_node": ("node_id", "request")},
        ),
        Part(_CLIENT, ("cluster",), {**_SEND, "coordinator_lookup": (), "force_metadata_update": (), "ready": ()}),
        Part(_CONSUMER, ("_client",)),
    ),
    Use.CONNECTION: (
        Part(
            "aiokafka.conn:AIOKafkaConnection",
            (
                "_closed_fut",
                "_protocol",
                "_request_timeout",
                "_requests",
                "_sasl_mechanism",
                "_sasl_oauth_token_provider",
                "_sasl_plain_password",
                "_sasl_plain_username",
                "_security_protocol",
                "_ssl_context",
                "_versions",
                "_writer",
            ),
            {
                "authenticator_oauth": (),
                "close": ("reason", "exc"),
                "connect": (),
                "send": ("request", "expect_response"),
            },
        ),
        Part("aiokafka.conn:OAuthAuthenticator", (), {"step": ("payload",)}),
        Part("aiokafka.conn", ("AIOKafkaConnection",)),
        Part(_CLIENT, ("hosts",), {"bootstrap": ()}),
        Part(
            "aiokafka.protocol.admin",
            (
                "SaslAuthenticateRequest_v0",
                "SaslAuthenticateRequest_v1",
                "SaslAuthenticateResponse_v0",
                "SaslAuthenticateResponse_v1",
            ),
        ),
    ),
    Use.CLOSING: (
        Part(_CONSUMER, ("_client", "_fetcher")),
        Part(_FETCHER, ("_pending_tasks",)),
    ),
    Use.METADATA: (
        Part("aiokafka.client", ("MetadataRequest",)),
        Part("aiokafka.admin.client", ("MetadataRequest",)),
    ),
    Use.GROUP: (
        Part(
            "aiokafka.consumer.group_coordinator:GroupCoordinator",
            (
                "_closing",
                "_commit_refresh_task",
                "_coordinator_dead_fut",
                "_heartbeat_task",
                "_subscription",
                "coordinator_id",
                "generation",
            ),
            {
                "_do_heartbeat": (),
                "_push_error_to_user": ("exc",),
                "_start_heartbeat_task": (),
                "request_rejoin": (),
                "start_commit_offsets_refresh_task": ("assignment",),
            },
        ),
        Part(_CONSUMER, ("_coordinator", "_fetcher")),
        Part(_FETCHER, ("_records",)),
        Part("aiokafka.consumer.fetcher:FetchError", ("_error",)),
        Part(
            "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread",
            ("thread_loop",),
            {
                "_ensure_consumer": (),
                "_fetch_records": ("consumer", "active_partitions", "timeout", "max_records"),
                "seek_to_committed": (),
            },
        ),
        Part("faust.transport.drivers.aiokafka:Consumer", ("_thread",), {"_new_consumer_thread": ()}),
        Part(
            "faust.assignor.partition_assignor:PartitionAssignor",
            (),
            {"assign": ("cluster",), "metadata": ("topics",), "on_assignment": ("assignment",)},
        ),
    ),
    Use.COMPACTED_LOG: (Part(_CONSUMER, ("_fetcher",)), Part(_FETCHER, ("_fetch_min_bytes",))),
    Use.FORMATS: (Part("faust.serializers.codecs:Codec", (), {"_dumps": (), "_loads": ()}),),
    Use.WORKER: (
        Part("faust.app.base:App", (), {"_create_directories": (), "_new_transport": ()}),
        Part("faust.tables.manager:TableManager", ("recovery",), {"_update_channels": (), "on_start": ()}),
        Part("faust.worker:Worker", ("_shutdown_immediately",), {"_on_sigint": (), "_on_sigterm": ()}),
        Part(
            "mode.worker:Worker",
            ("_starting_fut",),
            {"_install_signal_handlers_unix": (), "_schedule_shutdown": ("signal",), "_setup_logging": ()},
        ),
    ),
    Use.COMMAND_LINE: (
        Part("faust.cli.base:Command", ("_click", "_loglevel")),
        Part(
            "faust.cli.worker:worker",
            (),
            {"_init_worker_options": ("web_bind", "web_host", "web_transport"), "on_worker_created": ("worker",)},
        ),
    ),
}


# -- the check that the names exist


@dataclass(frozen=True, slots=True)
class Broken:
    """The names that are *missing* in one library, each with its class or module, and the *uses* that need them."""

    library: Library
    missing: tuple[str, ...]
    uses: tuple[Use, ...]

    @property
    def installed(self) -> str:
        """The library and its installed version."""
        return f"{self.library.distribution} {metadata.version(self.library.distribution)}"

    @property
    def cure(self) -> str:
        """The command that installs a version with these names."""
        return f"pip install '{self.library.distribution}{self.library.bounds}'"


@cache
def missing(use: Use) -> tuple[tuple[str, str], ...]:
    """Return (package, name) for each missing name that *use* needs."""
    return tuple((part.where.partition(".")[0], name) for part in USES[use] for name in _missing_of(part))


def check(uses: Iterable[Use]) -> list[Broken]:
    """Return the missing names that *uses* need, an object for each library."""
    names: dict[str, dict[str, None]] = {}
    broken: dict[str, dict[Use, None]] = {}
    for use in uses:
        for package, name in missing(use):
            names.setdefault(package, {})[name] = None
            broken.setdefault(package, {})[use] = None
    return [Broken(LIBRARIES[package], tuple(names[package]), tuple(broken[package])) for package in names]


def fast_paths() -> dict[str, bool]:
    """Return for each use with a fall-back whether its names exist."""
    return {use.value: not missing(use) for use in FALL_BACKS}


def unfit(*, exactly_once: bool) -> list[str]:
    """Return a sentence for each installed library with which a worker cannot run; empty if it can run."""
    needed = [use for use in Use if use not in FALL_BACKS and (exactly_once or use is not Use.ONCE)]
    return [
        f"{broken.installed} does not have {', '.join(broken.missing)}, which the connector cannot do without"
        f" ({', '.join(broken.uses)}): install a version that it knows, {broken.cure}."
        for broken in check(needed)
    ]


def _missing_of(part: Part) -> list[str]:
    module_name, _, class_name = part.where.partition(":")
    path = part.where.replace(":", ".")
    try:
        module = import_module(module_name)
    except ImportError:
        return [module_name]
    if not class_name:
        return [f"{path}.{name}" for name in part.holds if not hasattr(module, name)]
    owner = getattr(module, class_name, None)
    if not isinstance(owner, type):
        return [path]
    absent = [f"{path}.{name}" for name in part.holds if not _holds(owner, name)]
    for name, parameters in part.calls.items():
        method = _find(owner, name)
        if not callable(method):
            absent.append(f"{path}.{name}()")
        else:
            absent += [f"{path}.{name}({lacking}=)" for lacking in _lacking(method, parameters)]
    return absent


def _ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("connector.")


def _theirs(owner: type) -> list[type]:
    """Return *owner* and its bases, without our own classes: one of these may have replaced *owner* in its library."""
    return [each for each in owner.__mro__ if not _ours(each)]


def _find(owner: type, name: str) -> object:
    return next((vars(each)[name] for each in _theirs(owner) if name in vars(each)), None)


def _holds(owner: type, name: str) -> bool:
    """Return whether objects of *owner* have *name*; makes no object, as that may need an event loop or a broker."""
    if any(name in vars(each) for each in _theirs(owner)):
        return True
    codes = [getattr(vars(each).get("__init__"), "__code__", None) for each in _theirs(owner) if each is not object]
    return any(name in _stored(code) for code in codes if code is not None)


@cache
def _stored(code: CodeType) -> frozenset[str]:
    """Return the attributes that *code* sets."""
    return frozenset(each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR")


def _lacking(method: Callable[..., object], parameters: Collection[str]) -> list[str]:
    if _ours(method):  # our function has replaced the method, so the method existed
        return []
    found = inspect.signature(method).parameters
    if any(each.kind is each.VAR_KEYWORD for each in found.values()):
        return []
    return [name for name in parameters if name not in found]


# -- aiokafka's producer; these objects are never replaced, so one call for each producer is enough


def transaction_manager(producer: Any) -> Any:
    """Return aiokafka's object for sequence numbers and the transaction of *producer*; None without idempotence."""
    return producer._txn_manager


def accumulator(producer: Any) -> Any:
    """Return the object in which the batches of *producer* wait."""
    return producer._message_accumulator


def sender(producer: Any) -> Any:
    """Return the object that sends the batches of *producer*."""
    return producer._sender


def waiting(accumulator: Any) -> dict[Any, Any]:
    """Return the batches that wait to be sent, as a queue for each partition."""
    batches: dict[Any, Any] = accumulator._batches
    return batches


def under_way(accumulator: Any) -> set[Any]:
    """Return the batches that were sent and not confirmed."""
    batches: set[Any] = accumulator._pending_batches
    return batches


ended = attrgetter("_exception", "_closed")
"""Returns the error because of which an accumulator takes no more batches, and whether it is closed."""

drained = attrgetter("_drain_waiter")
"""Returns the future that ends when a batch of an accumulator has been taken for sending."""

build = methodcaller("_build")
"""Returns the bytes of a `BatchBuilder`, or of our `RecordBatch`."""

numbering = attrgetter("_set_producer_state")
"""Returns the method of either that takes producer id, epoch and sequence number."""


def wake(accumulator: Any) -> None:
    """Let the sender look for batches again at once."""
    accumulator._waiter_future.set_result(None)


def beyond(batches: Mapping[Any, Any], muted: Collection[Any], request_bytes: int) -> set[Any]:
    """Return the partitions of *batches* to leave out of a request: those before them have *request_bytes* already."""
    size = 0
    left: set[Any] = set()
    for partition, queue in batches.items():
        if partition in muted:
            continue
        if size >= request_bytes:
            left.add(partition)
        size += queue[0]._builder.size()
    return left


def count_in_flight(sender: Any, nodes: object) -> None:
    """Replace the sender's set of brokers that have a request in flight with *nodes*."""
    sender._in_flight = nodes


def request_settings(sender: Any) -> tuple[int, int]:
    """Return the acknowledgements that a produce request asks for, and its timeout in milliseconds."""
    return sender._acks, sender._request_timeout_ms


def coordinators(sender: Any) -> dict[Any, int]:
    """Return the coordinators' broker ids, by `CoordinationType`."""
    nodes: dict[Any, int] = sender._coordinators
    return nodes


def transition(manager: Any) -> Callable[[Any], None]:
    """Return the method that sets the state of *manager* and does nothing else."""
    method: Callable[[Any], None] = manager._transition_to
    return method


def outcome(manager: Any) -> Any:
    """Return the future that ends with the transaction; None before the first transaction."""
    return manager._transaction_waiter


def ask_again_after(secs: float) -> None:
    """Let all senders wait *secs* before they try again while the last transaction ends; aiokafka has no option."""
    _replace(import_module("aiokafka.producer.sender"), "BACKOFF_OVERRIDE", secs)


# -- aiokafka's admin client and consumer


def ask(admin: Any, request: Any) -> Awaitable[Any]:
    """Send *request* to any broker: the admin client's public methods cover only few requests."""
    answer: Awaitable[Any] = admin._send_request(request)
    return answer


def ask_node(admin: Any, node: int, request: Any) -> Awaitable[Any]:
    """Send *request* to the broker *node*."""
    answer: Awaitable[Any] = admin._send_request_to_node(node, request)
    return answer


def client_of(outer: Any) -> Any:
    """Return the `AIOKafkaClient` inside *outer*, an admin client or a consumer."""
    return outer._client


def fetches(consumer: Any) -> "set[asyncio.Task[Any]]":
    """Return the tasks that fetch records for *consumer*; none if it has not started."""
    return set() if consumer._fetcher is None else set(consumer._fetcher._pending_tasks)


def gather(consumer: Any, least_bytes: int) -> None:
    """Let Kafka gather *least_bytes* for each later fetch of *consumer*; aiokafka's option is for all fetches."""
    consumer._fetcher._fetch_min_bytes = least_bytes


# -- the group


def group_consumer(app: Any) -> Any:
    """Return aiokafka's consumer of *app*, which is a Faust application that has started."""
    return app.consumer._thread._ensure_consumer()


def coordinator_of(consumer: Any) -> Any:
    """Return the object that keeps *consumer* in its group."""
    return consumer._coordinator


def rejoin(app: Any) -> None:
    """Let the group of *app* deal its partitions again, as if a member had come.  Any thread."""
    coordinator = coordinator_of(group_consumer(app))
    app.consumer._thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)


def given_up(coordinator: Any) -> object:
    """Return the future that ends when *coordinator* gives its broker up; each time a broker is found, a new one."""
    return coordinator._coordinator_dead_fut


def closing(coordinator: Any) -> Any:
    """Return the future that ends when *coordinator* is closed."""
    return coordinator._closing


def heartbeat(coordinator: Any) -> Callable[[], Awaitable[bool]]:
    """Return the method that sends one heartbeat."""
    method: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat
    return method


def take_over(
    coordinator: Any, on_error: Callable[[BaseException], Awaitable[None]], beat: Callable[[], Awaitable[bool]]
) -> None:
    """Let *coordinator* await *on_error* when Kafka refuses it, and send heartbeats with *beat*."""
    coordinator._push_error_to_user, coordinator._do_heartbeat = on_error, beat


def heartbeat_task(coordinator: Any) -> Any:
    """Return the task that sends heartbeats; None if there is none."""
    return coordinator._heartbeat_task


def beat_again(coordinator: Any) -> None:
    """Start the task that sends heartbeats again after it has ended."""
    coordinator._heartbeat_task = None
    coordinator._start_heartbeat_task()


def refresh_task(coordinator: Any) -> Any:
    """Return the task that asks for committed offsets; None if there is none."""
    return coordinator._commit_refresh_task


def refresh_again(coordinator: Any) -> None:
    """Start the task that asks for committed offsets again, for the present assignment."""
    coordinator._commit_refresh_task = None
    subscription = coordinator._subscription.subscription
    if subscription is not None and subscription.assignment is not None:
        coordinator.start_commit_offsets_refresh_task(subscription.assignment)


def fetched(consumer: Any) -> dict[Any, Any]:
    """Return what *consumer* has fetched and not returned from a poll yet, by partition."""
    records: dict[Any, Any] = consumer._fetcher._records
    return records


def error_of(fetch_error: Any) -> object:
    """Return the error in *fetch_error*, which aiokafka raises at the next poll."""
    return fetch_error._error


# -- names that are replaced for the whole process


def _replace(owner: type | ModuleType, name: str, value: object) -> Any:
    """Replace *name* of *owner* and return the old value; a missing name is not added, so that `check` reports it."""
    before = getattr(owner, name, None)
    if before is not None:
        setattr(owner, name, value)
    return before


def replace_connection(connection: type) -> None:
    """Let all aiokafka clients open connections of the class *connection*."""
    _replace(import_module("aiokafka.conn"), "AIOKafkaConnection", connection)


def replace_bootstrap(bootstrap: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """Replace the `bootstrap` of all aiokafka clients; return the old one."""
    before: Callable[[Any], Awaitable[None]]
    before = _replace(import_module("aiokafka.client").AIOKafkaClient, "bootstrap", bootstrap)
    return before


def replace_metadata_request(request: Callable[..., Any]) -> None:
    """Let all aiokafka clients ask for metadata with *request*."""
    for module in ("aiokafka.client", "aiokafka.admin.client"):
        _replace(import_module(module), "MetadataRequest", request)


def hide_logins(shown: Callable[[object], str]) -> None:
    """Let aiokafka's log show the result of *shown* in place of the requests and answers of a login."""
    module = import_module("aiokafka.protocol.admin")
    for name in ("Request", "Response"):
        for version in (0, 1):
            struct = getattr(module, f"SaslAuthenticate{name}_v{version}", None)
            if struct is not None:
                struct.__repr__ = shown


# -- Faust's command line


def click_command(command: Any) -> Any:
    """Return the click command that Faust has made from the class *command*."""
    return command._click
