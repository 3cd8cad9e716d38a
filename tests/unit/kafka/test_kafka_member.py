"""What a worker does whose group refuses it, on aiokafka's own coordinator."""

import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock

import pytest
from aiokafka.consumer.fetcher import FetchError
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from connector.kafka.group import member as module
from connector.kafka.group.member import group_refusal, keep_trying
from connector.telemetry.events.kafka import KafkaAdmits, KafkaRefuses
from connector.telemetry.obstacles import Obstacles
from tests.unit.fakes import until

SENTENCES = [
    (GroupAuthorizationFailedError("birds"), "User alice lacks a right in Kafka: allow READ on group birds."),
    (
        TopicAuthorizationFailedError("birds-tasks"),
        "User alice lacks a right in Kafka: allow READ on topic birds-tasks.",
    ),
    (
        InvalidSessionTimeoutError(),
        (
            "Kafka does not take this worker's session timeout in the group birds: set CONNECTOR_BROKER_SESSION_TIMEOUT"
            " to what group.min.session.timeout.ms and group.max.session.timeout.ms of the brokers allow."
        ),
    ),
    (
        InconsistentGroupProtocolError(),
        (
            "The members of the group birds are other programs than this connector: set CONNECTOR_GROUP_ID to a name"
            " that only the connector's workers use."
        ),
    ),
    (KafkaError("anything else"), "The group birds refuses this worker: KafkaError: KafkaError: anything else"),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES)
def test_sentence(error, sentence):
    """What an operator can cure is a sentence with the cure."""
    assert sentence == group_refusal(error, "alice", "birds")


class Member:
    """aiokafka's coordinator of a group that refuses, with what was told."""

    def __init__(self, error):
        self.events = []
        self.client = MagicMock(coordinator_lookup=AsyncMock(side_effect=error), ready=AsyncMock(return_value=True))
        subscription = SubscriptionState()
        subscription.subscribe({"birds-tasks"})
        self.coordinator = GroupCoordinator(self.client, subscription, group_id="birds")
        self.obstacles = Obstacles(self.events.append)
        keep_trying(self.coordinator, self.obstacles, lambda exc: group_refusal(exc, "alice", "birds"), retry_secs=0.01)


async def test_refused_before_the_first_assignment():
    """Nobody polls yet, and still the group is asked again and again, and the reason is known."""
    at = Member(GroupAuthorizationFailedError())
    try:
        await until(lambda: 5 <= at.client.coordinator_lookup.await_count)
        reasons = at.obstacles.reasons()
    finally:
        await at.coordinator.close()

    assert ["User alice lacks a right in Kafka: allow READ on group birds."] == reasons
    assert [KafkaRefuses] == [type(event) for event in at.events]


async def test_refused_while_it_is_a_member():
    """A heartbeat that is refused ends no membership: heartbeats go on, and tell when they are allowed again."""
    at = Member(asyncio.CancelledError())
    coordinator, answers = at.coordinator, [GroupAuthorizationFailedError("birds")] * 3
    coordinator._coordination_task.cancel()
    coordinator.coordinator_id, coordinator.member_id, coordinator._heartbeat_interval_ms = 1, "robin", 5

    async def send(_request):
        await asyncio.sleep(0)
        return SimpleNamespace(error_code=answers.pop(0).errno if answers else 0)

    coordinator._send_req = send
    coordinator._start_heartbeat_task()
    try:
        while at.events[-1:] == [] or not isinstance(at.events[-1], KafkaAdmits):
            await asyncio.wait([coordinator._heartbeat_task], timeout=0.05)
            if coordinator._heartbeat_task.done():  # as aiokafka's own loop does
                await coordinator._push_error_to_user(coordinator._heartbeat_task.exception())
    finally:
        await coordinator._stop_heartbeat_task()

    assert [KafkaRefuses, KafkaAdmits] == [type(event) for event in at.events]
    assert "robin" == coordinator.member_id


async def test_error_without_a_cure():
    """Whatever else ends the membership is told in Kafka's words, and tried again: aiokafka would fall silent."""
    at = Member(KafkaError("no idea"))
    try:
        await until(lambda: 3 <= at.client.coordinator_lookup.await_count)
        reasons = at.obstacles.reasons()
    finally:
        await at.coordinator.close()

    assert ["The group birds refuses this worker: KafkaError: KafkaError: no idea"] == reasons


async def test_refused_fetches_are_dropped_together(monkeypatch):
    """A topic of many partitions that may not be read is one refusal, and not one after the other."""
    fetched = {
        number: FetchError(error=TopicAuthorizationFailedError("birds-tasks"), backoff=0.1) for number in range(64)
    } | {64: "records", 65: (other := FetchError(error=KafkaError("another"), backoff=0.1))}
    thread = object.__new__(module.MemberThread)
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=fetched))
    monkeypatch.setattr(module.MemberThread, "_ensure_consumer", lambda _: consumer)
    thread._drop_errors(TopicAuthorizationFailedError)

    assert {64: "records", 65: other} == fetched
