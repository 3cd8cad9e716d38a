"""Which slots a connector has and had, as the group's topics say: for commands that read Kafka without a worker."""

import contextlib
from collections.abc import Collection

from aiokafka import TopicPartition

from connector.cluster.configs import Configs
from connector.config.names import Names
from connector.kafka.brokers import KafkaCluster
from connector.kafka.rights import READ, named
from connector.kafka.state import read_partition as partitions


async def slots_of(
    cluster: KafkaCluster, names: Names, connector: str, *, tasks: int, present: Collection[str], trusted: bool
) -> tuple[int, ...]:
    """
    Return the slots of *connector*, and those that it had before, whose ledgers have its ids, too.

    *present* are the topics that there are.  Before a worker has given it slots, it has the first *tasks* ones.

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
    found = configs.get(connector)
    placement = configs.left().get(connector) if found is None else found.placement
    if placement is None:
        return tuple(range(tasks))
    return tuple(dict.fromkeys((*placement.slots, *(former.slot for former in placement.earlier))))
