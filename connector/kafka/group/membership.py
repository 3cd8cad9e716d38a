"""Does the group leave this worker in peace?"""

import faust


def membership_of(app: faust.App) -> object | None:
    """
    Return what is another thing after each rebalance and each loss of the group's coordinator; None without one.

    A coordinator that answers heartbeats stays; one that says that it is none, or does not answer, is given up.
    """
    consumer = app.consumer._thread._ensure_consumer()  # type: ignore[attr-defined]  # noqa: SLF001  # Faust does not hand it out
    coordinator = consumer._coordinator  # noqa: SLF001  # nor does aiokafka
    if coordinator.coordinator_id is None:
        return None
    return coordinator.generation, coordinator._coordinator_dead_fut  # noqa: SLF001  # a new one for each coordinator found
