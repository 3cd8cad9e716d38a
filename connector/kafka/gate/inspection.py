"""
What a worker checks at its start, asked without changing anything: no topic is made, and no transactional id is used.

Kafka makes its own topics when it is first asked for a coordinator, of transactions or of a group.  So what needs a
coordinator is asked only where those topics are, or where this user does not see whether they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, UnknownTopicOrPartitionError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from connector.kafka import rights
from connector.kafka.gate.gate import UNSUPPORTED, Capabilities
from connector.kafka.gate.transactions import TRANSACTION_LOG
from connector.kafka.internals import ask
from connector.kafka.metadata import metadata_of

GROUP_LOG = "__consumer_offsets"
"""Kafka's topic of the groups' offsets."""

_TRANSACTIONS = frozenset({22, 24, 25, 26, 28})
"""The API keys of InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn and TxnOffsetCommit."""

_KAFKAS = frozenset({19, 20, 23, 32, 33, 35, 37})
"""
The API keys of CreateTopics, DeleteTopics, OffsetForLeaderEpoch, DescribeConfigs, AlterConfigs, DescribeLogDirs and
CreatePartitions.

Kafka lists all of them since 1.0.  Tansu 0.6, which lists only some, creates a topic although it was asked only to
validate the request.
"""

_SINCE = (
    (90, "4.1"),
    (75, "3.8"),
    (74, "3.7"),
    (65, "3.0"),
    (60, "2.8"),
    (50, "2.7"),
    (48, "2.6"),
    (47, "2.4"),
    (44, "2.3"),
    (43, "2.2"),
    (42, "1.1"),
    (37, "1.0"),
    (22, "0.11"),
)
"""By API key, newest first: the version of Apache Kafka whose brokers were the first to list it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """
    What a broker tells of itself.

    *version* is the oldest version of Apache Kafka that answers all that this broker answers, `""` if it is older than
    0.11; brokers of other makers have it only in so far as they speak Kafka's protocol.
    """

    version: str
    cluster_id: str | None
    brokers: int
    capabilities: Capabilities
    tries_out: bool
    """Whether the broker surely creates no topic if it is asked only whether it would."""


async def facts_of(admin: AIOKafkaAdminClient) -> BrokerFacts:
    """
    Ask a broker what it is.

    Raises:
        KafkaError: the broker cannot be asked now.
    """
    keys = {entry[0] for entry in (await ask(admin, ApiVersionRequest())).api_versions}
    cluster = (await ask(admin, metadata_of([]))).to_object()
    plain = await _producer_id(admin)
    refused = plain == ClusterAuthorizationFailedError.errno
    answers = plain not in UNSUPPORTED
    return BrokerFacts(
        version=next((version for key, version in _SINCE if key in keys), ""),
        cluster_id=cluster.get("cluster_id"),
        brokers=len(cluster["brokers"]),
        capabilities=Capabilities(
            idempotence=answers and not refused,
            idempotence_refused=refused,
            transactions=answers and keys >= _TRANSACTIONS,
        ),
        tries_out=keys >= _KAFKAS,
    )


async def _producer_id(admin: AIOKafkaAdminClient) -> int:
    try:
        return int((await ask(admin, InitProducerIdRequest(None, 1000))).error_code)
    except IncompatibleBrokerVersion:
        return -1


async def lacking(
    admin: AIOKafkaAdminClient, wanted: Sequence[rights.Need]
) -> tuple[list[rights.Right], list[tuple[rights.Right, str]], list[rights.Need]]:
    """
    Return what `rights.lacking` returns, and the needs that could not be asked for without changing anything.

    Raises:
        KafkaError: the broker cannot be asked now.
    """
    answer = (await ask(admin, metadata_of([TRANSACTION_LOG, GROUP_LOG]))).to_object()
    absent = {topic["topic"] for topic in answer["topics"] if topic["error_code"] == UnknownTopicOrPartitionError.errno}
    needing = {rights.TRANSACTIONAL_ID: TRANSACTION_LOG, rights.GROUP: GROUP_LOG}
    unasked = [need for need in wanted if needing.get(need.kind) in absent]
    required, useful = await rights.lacking(admin, [need for need in wanted if need not in unasked])
    return required, useful, unasked
