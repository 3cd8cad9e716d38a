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

    Members own disjoint slots (`owners`).
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


def owners(claims: Mapping[str, Mapping[int, float]]) -> dict[str, set[int]]:
    """
    Return who owns which slots, from what each member claims: slots, and since when (UNIX seconds).

    The newest claim counts: an older one is of a worker that was paused and does not know yet that it was replaced.
    """
    newest: dict[int, tuple[float, str]] = {}
    for member, slots in claims.items():
        for slot, since in slots.items():
            newest[slot] = max(newest.get(slot, (since, member)), (since, member))
    return {member: {slot for slot in slots if newest[slot][1] == member} for member, slots in claims.items()}


class SlotAssignor(PartitionAssignor):
    """
    Faust's assignor with our own dealing; it carries the members' claims in the group's metadata.

    *tasks_topic* has a partition for each slot, *slots_in_use* are those that have a task, *claims* those whose tasks
    this member runs, and since when.
    """

    tasks_topic: str
    slots_in_use: Callable[[], set[int]]
    claims: Callable[[], Mapping[int, float]]

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Say which slots this member has.  Consumer's thread."""
        return ConsumerProtocolMemberMetadata(1, list(topics), json.dumps(self.claims()).encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Deal all partitions of all subscribed topics."""
        result: dict[str, dict[str, list[int]]] = {member: {} for member in members}
        for topic in {topic for member in members.values() for topic in member.subscription}:
            ours = topic == self.tasks_topic
            owned = owners(
                {
                    name: _claims_of(member) if ours else {}
                    for name, member in members.items()
                    if topic in member.subscription
                }
            )
            partitions = set(cluster.partitions_for_topic(topic) or ())
            used = self.slots_in_use() & partitions if ours else set[int]()
            for group in (used, partitions - used):
                for name, dealt in spread(group, owned).items():
                    result[name].setdefault(topic, []).extend(sorted(dealt))
        return {
            name: ConsumerProtocolMemberAssignment(1, sorted(topics.items()), b"") for name, topics in result.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Do nothing: Faust's would look for its own metadata, and a slot is claimed once its task runs."""


def _claims_of(member: ConsumerProtocolMemberMetadata) -> dict[int, float]:
    """Return what *member* told of its slots; nothing for one of another program in the group."""
    try:
        claims = {int(slot): float(since) for slot, since in json.loads(member.user_data or b"{}").items()}
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return {}
    return claims
