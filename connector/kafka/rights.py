"""
The rights that the connector needs in Kafka, and which of them are missing.

`needs` is the only list of these rights: the gate checks it before anything starts, docs/operations.md shows it, and a
test runs a worker with exactly these.  Kafka 2.3 and later tell which operations they allow on a topic and on a group
(KIP-430).  With other brokers, only a refused request shows that a right is missing.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from connector.config.names import Names
from connector.errors import RightMissing
from connector.kafka.internals import ask, ask_node, client_of

READ, WRITE, CREATE, DESCRIBE_CONFIGS, IDEMPOTENT_WRITE = (
    "READ",
    "WRITE",
    "CREATE",
    "DESCRIBE_CONFIGS",
    "IDEMPOTENT_WRITE",
)
TOPIC, GROUP, TRANSACTIONAL_ID, CLUSTER = "topic", "group", "transactional id", "cluster"
_BITS = {READ: 3, WRITE: 4, CREATE: 5, DESCRIBE_CONFIGS: 10, IDEMPOTENT_WRITE: 12}
"""Numbers of Kafka's `AclOperation`; each is a bit of what a broker allows."""

_UNTOLD = -(2**31)
"""The answer of a broker that does not tell which operations it allows."""

REFUSALS = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    ClusterAuthorizationFailedError,
)


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One operation on one resource."""

    operation: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """
    The operations that the connector needs on one resource.

    A worker waits until it has all *required* rights.  It also runs without the *useful* ones.
    """

    kind: str
    name: str
    required: tuple[str, ...]
    useful: Mapping[str, str]
    """By operation: the consequence if the right is missing."""


def needs(
    group_id: str,
    *,
    topic: str | None,
    dead_letter_topic: str | None,
    transactional_ids: Sequence[str],
    withdraws: bool = False,
) -> tuple[Need, ...]:
    """
    Return the rights that a worker of *group_id* needs; *transactional_ids* is empty for at-least-once.

    If it *withdraws* posts, it also reads *topic*, and has a topic of authors.
    """
    size = {DESCRIBE_CONFIGS: "posts over 1 MB count as too large, whatever the topic takes"}
    found = [
        Need(kind=TOPIC, name=name, required=(READ, WRITE) if withdraws and name == topic else (WRITE,), useful=size)
        for name in (topic, dead_letter_topic)
        if name is not None
    ]
    names = Names(group_id)
    found += [
        Need(kind=TOPIC, name=name, required=(READ, WRITE, DESCRIBE_CONFIGS), useful={})
        for name in (
            *(names.offsets, names.ledger, names.statuses, names.configs, names.history),
            *((names.authors,) if withdraws else ()),
        )
    ]
    found += [
        Need(kind=TOPIC, name=names.tasks, required=(READ,), useful={}),
        Need(kind=GROUP, name=group_id, required=(READ,), useful={}),
    ]
    found += [Need(kind=TRANSACTIONAL_ID, name=name, required=(WRITE,), useful={}) for name in transactional_ids]
    return tuple(found)


# -- rights that Kafka has refused


def right_missing(rights: Iterable[Right], user: str | None) -> RightMissing:
    """Return the error that names *rights*, all of which *user* lacks."""
    resources: dict[tuple[str, str], list[str]] = {}
    all_rights = tuple(rights)
    for right in all_rights:
        operations = resources.setdefault((right.kind, right.name), [])
        if right.operation not in operations:
            operations.append(right.operation)
    listed = [_allow(kind, name, operations) for (kind, name), operations in resources.items()]
    single = len(listed) == 1 and sum(map(len, resources.values())) == 1
    who = "This worker's user" if user is None else f"User {user}"
    what = "a right" if single else "rights"
    return RightMissing(f"{who} lacks {what} in Kafka: allow {', '.join(listed)}.", rights=all_rights)


def _allow(kind: str, name: str, operations: Sequence[str]) -> str:
    resource = "the cluster" if kind == CLUSTER else f"{kind} {name}"
    if CREATE in operations and len(operations) > 1:  # the topic may also exist unseen by this user
        others = _listed([operation for operation in operations if operation != CREATE])
        return f"CREATE on {resource} (or, if it is there, {others})"
    return f"{_listed(operations)} on {resource}"


def _listed(operations: Sequence[str]) -> str:
    *others, last = operations
    return f"{', '.join(others)} and {last}" if others else last


def refused(
    exc: BaseException,
    user: str | None,
    operation: str = READ,
    *,
    topic: str = "",
    group_id: str = "",
    transactional_id: str | None = None,
) -> RightMissing | None:
    """
    Return the missing right for which Kafka refused an *operation* on a topic with *exc*; None for another error.

    *topic*, *group_id* and *transactional_id* are those of the request, for errors that do not name them.
    """
    if isinstance(exc, TopicAuthorizationFailedError):
        return right_missing([Right(operation, TOPIC, name) for name in _topics_of(exc) or [topic]], user)
    if isinstance(exc, GroupAuthorizationFailedError):
        return right_missing([Right(READ, GROUP, group_id)], user)
    if isinstance(exc, TransactionalIdAuthorizationFailed):
        return right_missing([Right(WRITE, TRANSACTIONAL_ID, transactional_id or "")], user)
    if isinstance(exc, ClusterAuthorizationFailedError):
        return right_missing([Right(IDEMPOTENT_WRITE, CLUSTER, "")], user)
    return None


def _topics_of(exc: KafkaError) -> list[str]:
    """Return the topics that aiokafka put into *exc*: one, several, or none."""
    names: list[str] = []
    for argument in exc.args:
        names += [argument] if isinstance(argument, str) else sorted(argument or ())
    return [name for name in names if name and " " not in name]  # some answers hold a text instead of a name


# -- operations that Kafka allows


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _DescribeGroupsStruct(DescribeGroupsRequest_v3):
    RESPONSE_TYPE = DescribeGroupsResponse_v3  # in aiokafka it is version 2, which lacks the operations


class _AllowedOnTopics(Request[_MetadataStruct]):
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        return request_struct_class(self._topics, False, False, True)  # noqa: FBT003  # as the schema has them


class _AllowedOnGroup(Request[_DescribeGroupsStruct]):
    API_KEY = 15

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id

    def build(self, request_struct_class: type[_DescribeGroupsStruct]) -> _DescribeGroupsStruct:
        return request_struct_class([self._group_id], True)  # noqa: FBT003


async def lacking(admin: AIOKafkaAdminClient, wanted: Sequence[Need]) -> tuple[list[Right], list[tuple[Right, str]]]:
    """
    Return the missing rights of *wanted*: the required ones, and the useful ones with the consequence of each.

    Topics that are absent, or that this user does not see, are left out: `topics.declare` reports on them.

    Raises:
        KafkaError: the broker cannot be asked now.
    """
    required: list[Right] = []
    useful: list[tuple[Right, str]] = []
    on_topics = await _on_topics(admin, [need.name for need in wanted if need.kind == TOPIC])
    asked: Mapping[str, Callable[[str], Any]] = {
        GROUP: lambda name: _on_group(admin, name),
        TRANSACTIONAL_ID: lambda name: _on_transactional_id(admin, name),
    }
    for need in wanted:
        bits = on_topics.get(need.name, _UNTOLD) if need.kind == TOPIC else await asked[need.kind](need.name)
        if bits == _UNTOLD:
            continue
        required += [Right(each, need.kind, need.name) for each in need.required if not bits & 1 << _BITS[each]]
        useful += [
            (Right(each, need.kind, need.name), without)
            for each, without in need.useful.items()
            if not bits & 1 << _BITS[each]
        ]
    return required, useful


async def require(admin: AIOKafkaAdminClient, wanted: Sequence[Right], user: str | None) -> None:
    """
    Check that *user* has the rights *wanted*, all on topics; no right is needed on an absent topic.

    Raises:
        RightMissing: a right is missing, or *user* does not see the topic at all.
        KafkaError: the broker cannot be asked now.
    """
    allowed = await _on_topics(admin, [right.name for right in wanted], hidden=0)
    missing = [
        right for right in wanted if not allowed.get(right.name, _UNTOLD) & (_UNTOLD | 1 << _BITS[right.operation])
    ]
    if missing:
        raise right_missing(missing, user)


@contextlib.contextmanager
def named(user: str | None, operation: str, topic: str) -> Iterator[None]:
    """Turn Kafka's refusal of an *operation* on *topic* into a `RightMissing` that names the right of *user*."""
    try:
        yield
    except REFUSALS as exc:
        raise refused(exc, user, operation, topic=topic) or exc from exc


async def _on_topics(admin: AIOKafkaAdminClient, topics: Sequence[str], *, hidden: int | None = None) -> dict[str, int]:
    """Return the allowed operations on those *topics* that exist; *hidden* for topics that this user does not see."""
    try:
        answer = await ask(admin, _AllowedOnTopics(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return {}
    found: dict[str, int] = {}
    for entry in answer.to_object()["topics"]:
        if not entry["error_code"]:
            found[entry["topic"]] = entry["authorized_operations"]
        elif entry["error_code"] == TopicAuthorizationFailedError.errno and hidden is not None:
            found[entry["topic"]] = hidden
    return found


async def _on_group(admin: AIOKafkaAdminClient, group_id: str) -> int:
    try:
        coordinator = await admin.find_coordinator(group_id)
        answer = await ask_node(admin, coordinator, _AllowedOnGroup(group_id))
    except GroupAuthorizationFailedError:
        return 0
    except (KafkaError, NotImplementedError):
        return _UNTOLD  # a new cluster has no coordinator yet; `group.member` reports a refusal later
    (group,) = answer.to_object()["groups"]
    if for_code(group["error_code"]) is GroupAuthorizationFailedError:
        return 0
    return _UNTOLD if group["error_code"] else int(group["authorized_operations"])


async def _on_transactional_id(admin: AIOKafkaAdminClient, transactional_id: str) -> int:
    """Ask only for the id's coordinator, which needs a right, too: asking for a producer id would fence a task."""
    try:
        await client_of(admin).coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
    except TransactionalIdAuthorizationFailed:
        return 0
    except (KafkaError, NotImplementedError):
        return _UNTOLD  # no coordinator yet, or no transactions, which `probe` has found out
    return _UNTOLD
