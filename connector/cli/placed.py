"""Which connectors a group has, and their slots, as the group's topics say: for commands that read Kafka themselves."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from connector.cluster.configs import Configs, Connector, TargetState
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.migration import translate
from connector.config.names import Names
from connector.config.options import Unfit
from connector.coverage.price import mills_each, mills_of
from connector.kafka.brokers import KafkaCluster
from connector.kafka.rights import READ, named
from connector.kafka.state import read_partition as partitions
from connector.worker.plugin import tasks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """
    What a command must know of a connector's configuration to show its coverage, and to tell what a repair costs.

    *mills_each* is the price of a post in thousandths of a dollar: 0 where a contract has it.
    """

    name: str
    tasks: int
    settle_ms: int
    mills_each: int
    state: TargetState = TargetState.RUNNING


def member_of(config: ConnectorConfig, state: TargetState = TargetState.RUNNING) -> Member:
    """Return a connector whose whole configuration is known."""
    return Member(
        name=config.name,
        tasks=config.tasks,
        settle_ms=int(config.settle_secs * 1000),
        mills_each=mills_each(config),
        state=state,
    )


def stored_member(connector: Connector) -> Member:
    """Return a *connector* as it is stored; its secrets are not opened, and what is wrong there has its default."""
    texts = translate(connector.config).texts
    return Member(
        name=connector.name,
        tasks=len(connector.slots) or tasks_of(connector.config),
        settle_ms=int(_value(texts, "settle.secs") * 1000),
        mills_each=mills_of(_value(texts, "plan"), _value(texts, "expansions")),
        state=connector.target,
    )


def _value(texts: Mapping[str, str], name: str) -> Any:
    option = CONNECTOR_OPTIONS[name]
    text = texts.get(name, "").strip()
    try:
        return option.parse(text) if text else option.default
    except Unfit:  # the connector FAILS because of it
        return option.default


async def configs_of(cluster: KafkaCluster, names: Names, *, present: Collection[str], trusted: bool) -> Configs:
    """
    Return the connectors of the group; *present* are the topics that there are.

    Raises:
        KafkaError, OSError, TimeoutError, RightMissing: the topic of the configurations cannot be read.
    """
    configs = Configs()
    if names.configs in present:
        topic = TopicPartition(names.configs, 0)
        with named(cluster.user, READ, names.configs):
            async with contextlib.aclosing(partitions.committed(cluster, topic, trust_end_offsets=trusted)) as records:
                async for record in records:
                    if record.key is not None:
                        configs.apply(record.key, record.value)
    return configs


def slots_in(configs: Configs, connector: str, *, tasks: int) -> tuple[int, ...]:
    """
    Return the slots of *connector*, and those that it had before, whose ledgers have its ids, too.

    Before a worker has given it slots, it has the first *tasks* ones.
    """
    found = configs.get(connector)
    placement = configs.left().get(connector) if found is None else found.placement
    if placement is None:
        return tuple(range(tasks))
    return tuple(dict.fromkeys((*placement.slots, *(former.slot for former in placement.earlier))))


async def slots_of(
    cluster: KafkaCluster, names: Names, connector: str, *, tasks: int, present: Collection[str], trusted: bool
) -> tuple[int, ...]:
    """Return the slots of *connector* as `slots_in`; raises what `configs_of` raises."""
    configs = await configs_of(cluster, names, present=present, trusted=trusted)
    return slots_in(configs, connector, tasks=tasks)
