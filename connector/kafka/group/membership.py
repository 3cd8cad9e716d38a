"""Has the group rebalanced, or has this worker lost its coordinator, since it was asked last?"""

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
