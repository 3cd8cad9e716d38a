"""Tells whether the group has rebalanced, or this worker has lost its coordinator."""

import faust

from connector.kafka import internals


def membership_of(app: faust.App) -> object | None:
    """
    Return an opaque token that changes whenever the group rebalances or this worker loses its coordinator.

    It is None while there is no coordinator.

    aiokafka gives up a coordinator that does not answer heartbeats, or says that it is no coordinator.
    """
    coordinator = internals.coordinator_of(internals.group_consumer(app))
    if coordinator.coordinator_id is None:
        return None
    return coordinator.generation, internals.given_up(coordinator)
