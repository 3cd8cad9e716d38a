"""What the group does with a worker, read off aiokafka's own coordinator."""

from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState

from connector.kafka.group.membership import membership_of


async def test_membership_tells_of_every_disturbance():
    """None without a coordinator; another thing after each rebalance, and for each coordinator that is found anew."""
    client = MagicMock(coordinator_lookup=AsyncMock(return_value=1), ready=AsyncMock(return_value=True))
    coordinator = GroupCoordinator(client, SubscriptionState(), group_id="connector")
    consumer = SimpleNamespace(_coordinator=coordinator)
    app = SimpleNamespace(consumer=SimpleNamespace(_thread=SimpleNamespace(_ensure_consumer=lambda: consumer)))
    try:
        assert membership_of(app) is None
        await coordinator.ensure_coordinator_known()
        first = membership_of(app)
        assert first == membership_of(app)
        coordinator.generation += 1
        second = membership_of(app)
        coordinator.coordinator_dead()
        assert membership_of(app) is None
        await coordinator.ensure_coordinator_known()
        third = membership_of(app)
    finally:
        await coordinator.close()

    assert None not in (first, second, third)
    assert first != second
    assert second != third
