"""
How many produce requests are under way: some to each broker, where aiokafka has one.

With one, the broker waits while the next request is put together, and we wait while the broker writes.  The same bytes
in several requests keep both busy, which at full speed carries a third more posts.  What makes order and fencing hold
stays as it is: a partition that has a batch under way is muted, so its next batch waits for the answer, and all batches
carry the sequence numbers that aiokafka gave them.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

from connector.kafka import internals

REQUESTS = 4
"""To one broker at once."""

REQUEST_BYTES = 1024 * 1024
"""At so many bytes a request is closed, and the other partitions are left for the next one."""


class _Counted:
    """Stands in for a set of nodes: one is in it while it has `REQUESTS` requests."""

    def __init__(self) -> None:
        self._requests: Counter[int] = Counter()

    def add(self, node: int) -> None:
        self._requests[node] += 1

    def remove(self, node: int) -> None:
        self._requests[node] -= 1

    def __contains__(self, node: int) -> bool:
        return self._requests[node] >= REQUESTS


def pipeline(producer: Any) -> None:
    """Let *producer*, an aiokafka producer that was not started yet, have several requests under way."""
    accumulator = internals.accumulator(producer)
    internals.count_in_flight(internals.sender(producer), _Counted())
    drain, waiting, beyond = accumulator.drain_by_nodes, internals.waiting(accumulator), internals.beyond

    def drain_some(ignore_nodes: Any, muted_partitions: Collection[Any] = frozenset()) -> Any:
        left = beyond(waiting, muted_partitions, REQUEST_BYTES)
        batches, unknown_leaders_exist = drain(ignore_nodes, left.union(muted_partitions))
        if batches and left:  # the sender comes again at once
            internals.wake(accumulator)
        return batches, unknown_leaders_exist

    accumulator.drain_by_nodes = drain_some
