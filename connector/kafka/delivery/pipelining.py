"""
Lets a producer have several produce requests in flight to each broker; aiokafka alone has one.

With one request, the broker waits while the producer builds the next one, and the producer waits while the broker
writes.  The same bytes in several requests keep both busy: at full speed a third more posts are delivered.  Order and
fencing hold as before.  A partition with a batch in flight is muted, so its next batch waits for the answer.  All
batches have the sequence numbers that aiokafka gave them.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

from connector.kafka import internals

REQUESTS = 4
"""Most produce requests that are in flight to one broker."""

REQUEST_BYTES = 1024 * 1024
"""A request of this size (bytes) is closed; the remaining partitions wait for the next request."""


class _Counted:
    """Replaces aiokafka's set of brokers that have a request in flight: a broker is in it while it has `REQUESTS`."""

    def __init__(self) -> None:
        self._requests: Counter[int] = Counter()

    def add(self, node: int) -> None:
        self._requests[node] += 1

    def remove(self, node: int) -> None:
        self._requests[node] -= 1

    def __contains__(self, node: int) -> bool:
        return self._requests[node] >= REQUESTS


def pipeline(producer: Any) -> None:
    """Let *producer*, an aiokafka producer that was not started yet, have several produce requests in flight."""
    accumulator = internals.accumulator(producer)
    internals.count_in_flight(internals.sender(producer), _Counted())
    drain, waiting, beyond = accumulator.drain_by_nodes, internals.waiting(accumulator), internals.beyond

    def drain_some(ignore_nodes: Any, muted_partitions: Collection[Any] = frozenset()) -> Any:
        left = beyond(waiting, muted_partitions, REQUEST_BYTES)
        batches, unknown_leaders_exist = drain(ignore_nodes, left.union(muted_partitions))
        if batches and left:  # let the sender come again at once for the rest
            internals.wake(accumulator)
        return batches, unknown_leaders_exist

    accumulator.drain_by_nodes = drain_some
