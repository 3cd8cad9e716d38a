"""What the clients' tests share: the cluster, empty when a test begins."""

import uuid
from collections.abc import Iterator

import pytest

from connector.simulator import SimulatorSettings, SimulatorThread
from tests.brokers import Broker
from tests.clients.cluster import Cluster
from tests.conftest import LOGS


@pytest.fixture(scope="package")
def running_cluster(shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with SimulatorThread(SimulatorSettings()) as simulator:
        cluster = Cluster(shared_broker, simulator, f"t{uuid.uuid4().hex[:10]}", tmp_path_factory.mktemp("clients"))
        try:
            cluster.wait_ready()
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def cluster(running_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster that all clients share; what connectors one of them leaves behind are deleted."""
    request.node.stash.setdefault(LOGS, []).append(running_cluster.workers)
    yield running_cluster
    running_cluster.empty()
