import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.metadata import MetadataRequest

from connector.errors import BrokerUnsuitable, RightMissing
from connector.kafka.brokers import KafkaCluster
from connector.kafka.gate import gate as module
from connector.kafka.gate.gate import BrokerGate, Capabilities, probe
from connector.telemetry.events.kafka import BrokerAwaited, BrokerReached, KafkaAdmits, KafkaRefuses
from tests.unit.fakes import until


class FakeAdmin:
    """aiokafka's admin client: *starts* are errors of the first starts, *codes* answer InitProducerId."""

    made = ()
    _client = SimpleNamespace(cluster=SimpleNamespace(brokers=tuple))

    def __init__(self, codes=(0, 0), starts=()):
        self.codes, self.starts = list(codes), list(starts)
        self.asked, self.closed, self.started = [], 0, 0

    async def start(self):
        self.started += 1
        if self.starts and (error := self.starts.pop(0)):
            raise error

    async def close(self):
        self.closed += 1

    async def _send_request(self, request):
        if isinstance(request, MetadataRequest):
            return SimpleNamespace(to_object=lambda: {"cluster_id": "synthetic"})
        self.asked.append(request)
        code = self.codes[(len(self.asked) - 1) % len(self.codes)]
        if isinstance(code, Exception):
            raise code
        return SimpleNamespace(error_code=code)


PROBES = [
    # Apache Kafka
    ((0, 0), (True, True)),
    # the coordinator of that id is elsewhere, or loading, or not there yet: it has transactions
    ((0, 16), (True, True)),
    ((0, 15), (True, True)),
    ((0, 14), (True, True)),
    # a broker that does not know the request
    ((-1, -1), (False, False)),
    ((35, 35), (False, False)),
    ((IncompatibleBrokerVersion(), IncompatibleBrokerVersion()), (False, False)),
    # idempotence alone
    ((0, 42), (True, False)),
]


@pytest.mark.parametrize(("codes", "found"), PROBES)
async def test_probe(codes, found):
    """What the broker answers to a producer's first request says what it can do."""
    capabilities = await probe(FakeAdmin(codes), "connector")

    assert found == (capabilities.idempotence, capabilities.transactions)


@pytest.mark.parametrize(("delivery", "transactions"), [("exactly_once", True), ("at_least_once", False)])
def test_suitable(delivery, transactions):
    """Transactions are needed for exactly once alone."""
    Capabilities(transactions=transactions, idempotence=False).check(delivery)


def test_unsuitable():
    """Exactly once on a broker without transactions is an error that names the setting."""
    with pytest.raises(BrokerUnsuitable, match="set CONNECTOR_DELIVERY=at_least_once"):
        Capabilities(transactions=False, idempotence=True).check("exactly_once")


class Gate:
    """A gate before *admin*, with what it prepared and told."""

    def __init__(self, monkeypatch, admin, error=None):
        self.prepared, self.events, self.error = [], [], error
        monkeypatch.setattr(module, "AIOKafkaAdminClient", lambda **_: admin)
        monkeypatch.setattr(module, "RETRY_SECS", 0.005)
        self.gate = BrokerGate(KafkaCluster(servers=("kafka:9092",)), "connector", self._prepare, self.events.append)

    async def _prepare(self, admin, capabilities):
        self.prepared.append(capabilities)
        if self.error:
            raise self.error


async def test_passes_when_kafka_answers(monkeypatch):
    """Once Kafka answers, what is needed is prepared, and the services after the gate may start."""
    at = Gate(monkeypatch, admin := FakeAdmin())
    assert (False, False) == (at.gate.transactions, at.gate.idempotence)
    await asyncio.wait_for(at.gate.on_start(), 5)

    assert (True, True) == (at.gate.transactions, at.gate.idempotence)
    assert [Capabilities(transactions=True, idempotence=True)] == at.prepared
    assert [BrokerReached(broker="kafka:9092", transactions=True, idempotence=True)] == at.events
    assert 1 == admin.closed


async def test_waits_for_kafka(monkeypatch):
    """While nobody answers the worker waits and says so, at first and then every few seconds."""
    admin = FakeAdmin(starts=[KafkaConnectionError("no broker"), OSError("unreachable"), TimeoutError()] * 3)
    at = Gate(monkeypatch, admin)
    await asyncio.wait_for(at.gate.on_start(), 5)

    (awaited,) = [event for event in at.events if isinstance(event, BrokerAwaited)]
    assert ("kafka:9092", "KafkaConnectionError: no broker") == (awaited.broker, awaited.reason)
    assert 10 == admin.started == admin.closed


async def test_says_so_again(monkeypatch):
    """A long wait is told more than once."""
    monkeypatch.setattr(module, "SAY_EVERY_SECS", 0.0)
    at = Gate(monkeypatch, FakeAdmin(starts=[TimeoutError()] * 3))
    await asyncio.wait_for(at.gate.on_start(), 5)

    assert ["Kafka has not answered in time"] * 3 == [
        event.reason for event in at.events if isinstance(event, BrokerAwaited)
    ]


async def test_unsuitable_broker_ends_the_worker(monkeypatch):
    """What waiting cannot cure leaves the gate."""
    at = Gate(monkeypatch, admin := FakeAdmin(), BrokerUnsuitable("no transactions"))
    with pytest.raises(BrokerUnsuitable):
        await asyncio.wait_for(at.gate.on_start(), 5)

    assert 1 == admin.closed


async def test_stop_while_waiting(monkeypatch):
    """A stop ends the wait, and what comes after the gate does not start."""
    at = Gate(monkeypatch, admin := FakeAdmin(starts=[TimeoutError()] * 1_000))
    starting = asyncio.create_task(at.gate.on_start())
    await until(lambda: 2 <= admin.started)
    at.gate._stopped.set()
    await asyncio.wait({starting}, timeout=5)

    assert starting.cancelled()
    assert [] == at.prepared


async def test_waits_for_a_right(monkeypatch):
    """A missing right is waited for: it is said once, shown while it lasts, and told to be over."""
    monkeypatch.setattr(module, "RIGHT_RETRY_SECS", 0.005)
    at = Gate(monkeypatch, admin := FakeAdmin(), RightMissing("allow READ on group connector."))
    starting = asyncio.create_task(at.gate.on_start())
    await until(lambda: 3 <= admin.started)
    assert ["allow READ on group connector."] == at.gate._obstacles.reasons()
    at.error = None
    await asyncio.wait_for(starting, 5)

    assert [KafkaRefuses, KafkaAdmits, BrokerReached] == [type(event) for event in at.events]
    assert [] == at.gate._obstacles.reasons()


async def test_refusal_of_the_gate_itself(monkeypatch):
    """Whatever request is refused before the start names its right."""
    monkeypatch.setattr(module, "RIGHT_RETRY_SECS", 0.005)
    at = Gate(monkeypatch, FakeAdmin(), TopicAuthorizationFailedError("posts"))
    starting = asyncio.create_task(at.gate.on_start())
    await until(lambda: at.events)
    at.error = None
    await asyncio.wait_for(starting, 5)

    assert "This worker's user lacks a right in Kafka: allow READ on topic posts." == at.events[0].reason


async def test_idempotence_that_is_not_allowed():
    """A user without the right to an idempotent producer delivers without one, at least once."""
    capabilities = await probe(FakeAdmin((ClusterAuthorizationFailedError.errno, 0)), "connector")

    assert Capabilities(transactions=True, idempotence=False, idempotence_refused=True) == capabilities
