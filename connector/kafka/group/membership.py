"""Does the group leave this worker in peace?"""

import faust

from connector.kafka import internals


def membership_of(app: faust.App) -> object | None:
    """
    Return what is another thing after each rebalance and each loss of the group's coordinator; None without one.

    A coordinator that answers heartbeats stays; one that says that it is none, or does not answer, is given up.
    """
    coordinator = internals.coordinator_of(internals.group_consumer(app))
    if coordinator.coordinator_id is None:
        return None
    return coordinator.generation, internals.given_up(coordinator)
