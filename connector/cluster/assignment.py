"""
Which worker runs which slot: even over the slots in use, and each stays where it is if evenness allows.

Kafka's group protocol lets the group bring its own assignor, as Kafka Connect does; Faust's `PartitionAssignor` setting
is the public place for it.  Faust's own would move a running stream whenever a worker joins.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor


def spread(slots: set[int], owned: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """
    Deal *slots* over the members of *owned*: counts differ by at most one, and as few slots as possible move.

    Two members may claim the same slot (one of them was paused); one of them keeps it.
    """
    richest_first = sorted(owned, key=lambda member: (-len(owned[member] & slots), member))
    low, extra = divmod(len(slots), len(owned))
    room = {member: low + (rank < extra) for rank, member in enumerate(richest_first)}

    free, dealt = set(slots), dict[str, set[int]]()
    for member in richest_first:
        dealt[member] = set(sorted(owned[member] & free)[: room[member]])
        free -= dealt[member]
    for member in richest_first:
        missing = room[member] - len(dealt[member])
        taken = set(sorted(free)[:missing])
        dealt[member] |= taken
        free -= taken
    return dealt


class SlotAssignor(PartitionAssignor):
    """
    Faust's assignor with our own dealing; it carries the owned slots in the group's metadata.

    *tasks_topic* has a partition for each slot, *slots_in_use* are those that have a task.
    """

    tasks_topic: str
    slots_in_use: Callable[[], set[int]]
    owned: frozenset[int] = frozenset()

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Say which slots this member has."""
        return ConsumerProtocolMemberMetadata(1, list(topics), json.dumps(sorted(self.owned)).encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Deal all partitions of all subscribed topics."""
        result: dict[str, dict[str, list[int]]] = {member: {} for member in members}
        for topic in {topic for member in members.values() for topic in member.subscription}:
            ours = topic == self.tasks_topic
            owned = {
                name: _owned_by(member) if ours else set[int]()
                for name, member in members.items()
                if topic in member.subscription
            }
            partitions = set(cluster.partitions_for_topic(topic) or ())
            used = self.slots_in_use() & partitions if ours else set[int]()
            for group in (used, partitions - used):
                for name, dealt in spread(group, owned).items():
                    result[name].setdefault(topic, []).extend(sorted(dealt))
        return {
            name: ConsumerProtocolMemberAssignment(1, sorted(topics.items()), b"") for name, topics in result.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Remember which slots this member has now."""
        self.owned = frozenset(p for topic, ps in assignment.assignment if topic == self.tasks_topic for p in ps)


def _owned_by(member: ConsumerProtocolMemberMetadata) -> set[int]:
    return set(json.loads(member.user_data or b"[]"))
