"""
Deals the slots to the workers of the group: evenly, and moving as few slots as possible.

Kafka's group protocol lets a group use its own assignor, as Kafka Connect does; Faust has the public setting
`PartitionAssignor` for it.  Faust's own assignor would move a running stream whenever a worker joins.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor


def spread(slots: set[int], owned: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """
    Deal *slots* to the members of *owned*: counts differ by at most one, and as few slots as possible move.

    *owned* maps each member to the slots that it owns now; no slot has two owners (see `owners`).
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
    Return the slots of each member.  *claims* maps each member to its slots, and since when their tasks run there.

    Times are UNIX seconds.

    The newest claim to a slot counts.  An older claim is from a worker that was paused and does not know yet that
    another worker has replaced it.
    """
    newest: dict[int, tuple[float, str]] = {}
    for member, slots in claims.items():
        for slot, since in slots.items():
            newest[slot] = max(newest.get(slot, (since, member)), (since, member))
    return {member: {slot for slot in slots if newest[slot][1] == member} for member, slots in claims.items()}


class SlotAssignor(PartitionAssignor):
    """
    Faust's assignor with our own way of dealing; members send their claims in the group's metadata.

    *tasks_topic* has a partition for each slot.  *slots_in_use* returns the slots that have a task.  *claims* returns
    the slots whose tasks this member runs, and since when (UNIX seconds).
    """

    tasks_topic: str
    slots_in_use: Callable[[], set[int]]
    claims: Callable[[], Mapping[int, float]]

    def metadata(self, topics: set[str]) -> ConsumerProtocolMemberMetadata:
        """Return this member's subscription and its claims.  Consumer's thread."""
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
        """Do nothing: Faust's method expects Faust's metadata, and a slot is claimed when its task begins."""


def _claims_of(member: ConsumerProtocolMemberMetadata) -> dict[int, float]:
    """Return the claims in the metadata of *member*; empty if the member is another program."""
    try:
        claims = {int(slot): float(since) for slot, since in json.loads(member.user_data or b"{}").items()}
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return {}
    return claims
