"""The Java client that AKHQ uses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.cluster import CLASS, REFUSED_TOKEN, Cluster
from tests.clients.driving import ClientError, Consoles, address
from tests.clients.installed import JAVA, require
from tests.workers import Worker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Client:
    """Its methods, called on the workers by turns: `client("getConnector", "birds")`."""

    def __init__(self, consoles: Consoles) -> None:
        self._consoles = consoles

    def __call__(self, method: str, *arguments: object) -> Any:
        return self._consoles(json.dumps([method, *arguments]))


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    def command(worker: Worker) -> list[str]:
        return java(address(worker), *(worker.login.split(":") if worker.login else []))

    with Consoles(cluster, command) as consoles:
        yield Client(consoles)


def java(*arguments: str) -> list[str]:
    folder = require(JAVA)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:{folder}/*", "Console", *arguments]


def test_methods(cluster: Cluster, client: Client) -> None:
    """Each of its methods, on a connector that runs."""
    config = cluster.config("birds")

    assert client("getConnectServerVersion")["version"] == "4.1.0"
    assert client("getConnectors") == []
    assert {"className": CLASS, "type": "source"}.items() <= client("getConnectorPlugins")[0].items()
    assert client("addConnector", "birds", config)["type"] == "source"
    cluster.wait("birds", "RUNNING", "RUNNING")
    with pytest.raises(ClientError, match="already exists"):
        client("addConnector", "birds", config)
    assert client("getConnectors") == ["birds"]
    assert client("getConnector", "birds")["tasks"] == [{"connector": "birds", "task": 0}]
    assert client("getConnectorConfig", "birds") == config | {"name": "birds"}
    assert client("getConnectorStatus", "birds")["connector"]["state"] == "RUNNING"
    assert client("getConnectorTasks", "birds")[0]["id"] == {"connector": "birds", "task": 0}
    status = client("getConnectorTaskStatus", "birds", 0)
    assert (status["state"], status["trace"]) == ("RUNNING", None)
    assert status["workerId"] in {f"127.0.0.1:{worker.port}" for worker in cluster.both}
    assert client("getConnectorsWithExpandedStatus")["birds"]["connector"]["state"] == "RUNNING"
    assert client("getConnectorsWithExpandedInfo")["birds"]["type"] == "source"
    assert client("getConnectorsWithAllExpandedMetadata")["mappedStatuses"]["birds"]["type"] == "source"
    cluster.deliver("birds")
    assert client("getConnectorTopics", "birds") == {"name": "birds", "topics": [cluster.topic("birds")]}
    assert client("resetConnectorTopics", "birds") is True

    changed = client("updateConnectorConfig", "birds", config | {"batch.max.records": "100"})
    assert changed["config"]["batch.max.records"] == "100"
    cluster.wait("birds", "RUNNING", "RUNNING")
    assert client("pauseConnector", "birds") is True
    cluster.wait("birds", "PAUSED", "PAUSED")
    assert client("resumeConnector", "birds") is True
    cluster.wait("birds", "RUNNING", "RUNNING")
    starts = cluster.starts("birds")
    assert client("restartConnectorWith", "birds", "includeTasks") is True
    cluster.wait_restarted("birds", starts)
    assert client("restartConnectorTask", "birds", 0) is True
    cluster.wait_restarted("birds", starts + 1)
    assert client("restartConnector", "birds") is True
    assert client("restartConnectorWith", "birds", "onlyFailed") is True
    assert client("deleteConnector", "birds") is True
    cluster.wait_gone("birds")
    with pytest.raises(ClientError, match="ResourceNotFoundException: No status found for connector birds"):
        client("getConnectorStatus", "birds")


def test_validate(cluster: Cluster, client: Client) -> None:
    """AKHQ makes its form from what is said of a configuration with nothing but a class and a stray option."""
    (plugin,) = [each for each in client("getConnectorPlugins") if each["type"] == "source"]
    form = client("validateConnectorPluginConfig", plugin["className"], {"connector.class": CLASS, "topics": "x"})
    names = {each["definition"]["name"] for each in form["configs"]}
    assert {"name", "topic", "x.bearer.token"} <= names
    assert all(each["definition"]["type"] and each["definition"]["importance"] for each in form["configs"])
    assert form["errorCount"] > 0
    whole = client("validateConnectorPluginConfig", CLASS, cluster.config("birds") | {"name": "birds"})
    assert whole["errorCount"] == 0
    with pytest.raises(ClientError, match="InvalidRequestException: Connector configuration is invalid"):
        client("addConnector", "birds", cluster.config("birds", plan="none"))


def test_wrong_login(cluster: Cluster) -> None:
    """Whoever has the wrong password gets the client's own exception."""
    command = java(address(cluster.two), "ci", "wrong")
    with Consoles(cluster, lambda _: command) as consoles, pytest.raises(ClientError, match="UnauthorizedRequest"):
        Client(consoles)("getConnectors")


def test_failed(cluster: Cluster, client: Client) -> None:
    """A task that failed says why."""
    client("addConnector", "birds", cluster.config("birds", x_bearer_token=REFUSED_TOKEN))
    cluster.wait("birds", "RUNNING", "FAILED")
    assert "401" in client("getConnectorTaskStatus", "birds", 0)["trace"]
    assert client("getConnectorStatus", "birds")["tasks"][0]["state"] == "FAILED"
    client("updateConnectorConfig", "birds", cluster.config("birds"))
    cluster.wait("birds", "RUNNING", "RUNNING")
