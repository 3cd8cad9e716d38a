"""
Deals the slots to the workers of the group: evenly, and moving as few slots as possible.

Kafka's group protocol lets a group use its own assignor, as Kafka Connect does; Faust has the public setting
`PartitionAssignor` for it.  Faust's own assignor would move a running stream whenever a worker joins.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.assignor import PartitionAssignor


def spread(slots: set[int], owned: Mapping[str, Collection[int]]) -> dict[str, set[int]]:
    """
    Deal *slots* to the members of *owned*: counts differ by at most one, and as few slots as possible move.

    *owned* maps each member to the slots that it owns now; no slot has two owners (see `owners`).  A member that has
    too many gives up the last ones.
    """
    richest_first = sorted(owned, key=lambda member: (-len(slots.intersection(owned[member])), member))
    low, extra = divmod(len(slots), len(owned))
    room = {member: low + (rank < extra) for rank, member in enumerate(richest_first)}

    free, dealt = set(slots), dict[str, set[int]]()
    for member in richest_first:
        dealt[member] = set([slot for slot in owned[member] if slot in free][: room[member]])
        free -= dealt[member]
    for member in richest_first:
        missing = room[member] - len(dealt[member])
        taken = set(sorted(free)[:missing])
        dealt[member] |= taken
        free -= taken
    return dealt


def owners(claims: Mapping[str, Mapping[int, float]]) -> dict[str, list[int]]:
    """
    Return the slots of each member, the longest running first.

    *claims* maps each member to its slots, and since when their tasks run there (UNIX seconds).

    The newest claim to a slot counts.  An older claim is from a worker that was paused and does not know yet that
    another worker has replaced it.  The order matters when a worker comes back after a restart: what the others took
    over from it moves again, and what was never interrupted stays.
    """
    newest: dict[int, tuple[float, str]] = {}
    for member, slots in claims.items():
        for slot, since in slots.items():
            newest[slot] = max(newest.get(slot, (since, member)), (since, member))
    return {
        member: sorted((slot for slot in slots if newest[slot][1] == member), key=lambda slot: (newest[slot], slot))
        for member, slots in claims.items()
    }


def spread_free(free: set[int], used: Mapping[str, set[int]]) -> dict[str, set[int]]:
    """
    Deal the *free* slots to the members of *used*, who have those slots in use: the lowest goes to who has fewest.

    A new task gets the lowest free slot.  So the group stays even while tasks come, without a rebalance.
    """
    dealt: dict[str, set[int]] = {member: set() for member in used}
    for slot in sorted(free):
        poorest = min(used, key=lambda member: (len(used[member]) + len(dealt[member]), member))
        dealt[poorest].add(slot)
    return dealt


class SlotAssignor(PartitionAssignor):
    """
    Faust's assignor with our own way of dealing; members send their claims in the group's metadata.

    *tasks_topic* has a partition for each slot.  *slots_in_use* returns the slots that have a task.  *claims* returns
    the slots whose tasks this member runs, and since when (UNIX seconds).  *dealt* is called with the number of members
    after each rebalance.  Consumer's thread.
    """

    tasks_topic: str
    slots_in_use: Callable[[], set[int]]
    claims: Callable[[], Mapping[int, float]]
    dealt: Callable[[int], None]

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
            used = spread(self.slots_in_use() & partitions if ours else set(), owned)
            free = spread_free(partitions.difference(*used.values()), used)
            for name, slots in used.items():
                result[name].setdefault(topic, []).extend(sorted(slots | free[name]))
        told = json.dumps({"members": len(members)}).encode()
        return {
            name: ConsumerProtocolMemberAssignment(1, sorted(topics.items()), told) for name, topics in result.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Take note how many members the group has; Faust's method expects Faust's own data here."""
        try:
            members = int(json.loads(assignment.user_data or b"{}").get("members", 0))
        except (AttributeError, TypeError, ValueError):
            members = 0
        self.dealt(members)


def _claims_of(member: ConsumerProtocolMemberMetadata) -> dict[int, float]:
    """Return the claims in the metadata of *member*; empty if the member is another program."""
    try:
        claims = {int(slot): float(since) for slot, since in json.loads(member.user_data or b"{}").items()}
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
        return {}
    return claims
