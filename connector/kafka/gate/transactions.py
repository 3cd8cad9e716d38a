"""
Checks that the broker can do transactions now, and that it allows the configured timeout.

`InitProducerId` needs the transaction log, which Kafka creates at the first request.  A cluster with fewer brokers than
`transaction.state.log.replication.factor` cannot create the log, and answers "not yet" for ever.
"""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from connector.errors import BrokerAway, BrokerUnsuitable
from connector.kafka.internals import ask, client_of
from connector.kafka.metadata import metadata_of

MAKING_SECS = 5.0
"""How long Kafka may take to create the transaction log at the first request (seconds)."""
POLL_SECS = 0.2
_LOADING, _NOT_AVAILABLE, _NOT_COORDINATOR, _CONCURRENT, _BAD_TIMEOUT = 14, 15, 16, 51, 50
_LATER = frozenset({_LOADING, _NOT_AVAILABLE, _NOT_COORDINATOR, _CONCURRENT})
TRANSACTION_LOG = "__transaction_state"
"""Kafka's topic of the states of transactions."""

_LOG_SETTINGS = ("transaction.state.log.replication.factor", "transaction.state.log.min.isr")
_MAX_TIMEOUT = "transaction.max.timeout.ms"


async def check_transactions(admin: AIOKafkaAdminClient, group_id: str, timeout_secs: float) -> None:
    """
    Ask for a transactional producer id, with transactions of up to *timeout_secs*.

    Raises:
        BrokerUnsuitable: the broker does not allow transactions of that length.
        BrokerAway: the broker has no transaction log.
        KafkaError: the broker cannot be asked now.
    """
    name = f"{group_id}-probe"
    until = asyncio.get_running_loop().time() + MAKING_SECS
    while (code := await _ask(admin, name, round(timeout_secs * 1000))) in _LATER:
        if asyncio.get_running_loop().time() > until:
            raise BrokerAway(await _no_log(admin))
        await asyncio.sleep(POLL_SECS)
    if code == _BAD_TIMEOUT:
        raise BrokerUnsuitable(too_long(timeout_secs, (await _broker_settings(admin)).get(_MAX_TIMEOUT)))


def too_long(timeout_secs: float, limit_ms: str | None) -> str:
    """Return the error message for transactions of *timeout_secs*; *limit_ms* is the broker's limit, if known."""
    limit = _MAX_TIMEOUT if limit_ms is None else f"{_MAX_TIMEOUT}={limit_ms}"
    lower = "" if limit_ms is None else f" to {int(limit_ms) // 1000}"
    return (
        f"CONNECTOR_TRANSACTION_TIMEOUT_SECS={timeout_secs:g} is more than the broker's {limit} allows: "
        f"lower it{lower}, or raise the broker's limit."
    )


async def inspect_transactions(admin: AIOKafkaAdminClient, timeout_secs: float) -> None:
    """
    Check the same by the broker's settings alone: to ask for an id would make Kafka create its transaction log.

    A limit that the broker does not tell is not checked.

    Raises:
        BrokerUnsuitable, BrokerAway, KafkaError: as `check_transactions`.
    """
    settings = await _broker_settings(admin)
    limit = settings.get(_MAX_TIMEOUT)
    if limit is not None and int(limit) < round(timeout_secs * 1000):
        raise BrokerUnsuitable(too_long(timeout_secs, limit))
    brokers = len(client_of(admin).cluster.brokers())
    replicas = [int(settings[name]) for name in _LOG_SETTINGS if name in settings]
    if replicas and max(replicas) > brokers and not await _has_log(admin):
        raise BrokerAway(await _no_log(admin))


async def _has_log(admin: AIOKafkaAdminClient) -> bool:
    answer = await ask(admin, metadata_of([TRANSACTION_LOG]))
    return any(not topic["error_code"] for topic in answer.to_object()["topics"])


async def _ask(admin: AIOKafkaAdminClient, name: str, timeout_ms: int) -> int:
    """Return Kafka's error number; 0 for none."""
    found = await ask(admin, FindCoordinatorRequest(name, CoordinationType.TRANSACTION))
    if found.error_code:
        return int(found.error_code)
    client, node = client_of(admin), found.coordinator_id
    if not await client.ready(node):
        return _NOT_AVAILABLE
    answer = await client.send(node, InitProducerIdRequest(name, timeout_ms))
    return int(answer.error_code)


async def _no_log(admin: AIOKafkaAdminClient) -> str:
    settings = await _broker_settings(admin)
    brokers = len(client_of(admin).cluster.brokers())
    known = " and ".join(
        f"{setting}={settings[setting]}" if setting in settings else setting for setting in _LOG_SETTINGS
    )
    count = "1 broker" if brokers == 1 else f"{brokers} brokers"
    return (
        f"Kafka cannot make or reach its transaction log, which exactly-once needs, with {count}: {known} must not be "
        "more than there are. Lower both on the brokers, start the missing brokers, or set "
        "CONNECTOR_DELIVERY=at_least_once"
    )


async def _broker_settings(admin: AIOKafkaAdminClient) -> dict[str, str]:
    """Return some settings of one broker; empty if the broker does not tell them."""
    nodes = [broker.nodeId for broker in client_of(admin).cluster.brokers()]
    if not nodes:
        return {}
    wanted = dict.fromkeys((*_LOG_SETTINGS, _MAX_TIMEOUT))
    try:
        (response,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.BROKER, str(nodes[0]), configs=wanted)]
        )
    except (KafkaError, OSError, TimeoutError):  # the message then goes without the values
        return {}
    return {
        entry["config_names"]: entry["config_value"]
        for resource in response.to_object()["resources"]
        for entry in resource["config_entries"]
        if entry["config_value"] is not None
    }
