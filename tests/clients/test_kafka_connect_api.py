"""kafka-connect-api: a library."""

import pytest

from tests.clients.cluster import REFUSED_TOKEN, Cluster
from tests.clients.driving import ClientError, Consoles, address, python_console
from tests.clients.installed import require
from tests.workers import Worker, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

BIRDS = "client.connectors['birds']"
LOGGER = "aiokafka"


def library(worker: Worker) -> list[object]:
    name, _, password = worker.login.partition(":")
    login = f", username={name!r}, password={password!r}" if name else ""
    client = f"Cluster(Api(url={address(worker)!r}{login}))"
    return python_console(require("kafka-connect-api"), "kafka_connect_api.kafka_connect_api", client)


def test_library(cluster: Cluster) -> None:
    """All that its cluster, its connectors and their tasks have; a connector is created by its REST calls."""
    config = cluster.config("birds")
    creation = {"name": "birds", "config": config}
    with Consoles(cluster, library) as call:
        assert call("client.version") == "4.1.0"
        assert call("client.kafka_cluster")
        assert call("client.connectors") == {}
        assert call(f"client.api.post('/connectors', json={creation!r})")["config"] == config | {"name": "birds"}
        cluster.wait("birds", "RUNNING", "RUNNING")
        with pytest.raises(ClientError, match="GenericConflict"):
            call(f"client.api.post('/connectors', json={creation!r})")
        assert call("client.connectors").keys() == {"birds"}
        assert call(f"{BIRDS}.exists()") is True
        assert call(f"{BIRDS}.state") == "RUNNING"
        assert call(f"{BIRDS}.status")["type"] == "source"
        assert call(f"{BIRDS}.connector_class") == config["connector.class"]
        assert call(f"[[task.id, task.state, task.is_running()] for task in {BIRDS}.tasks]") == [[0, "RUNNING", True]]
        assert call(f"{BIRDS}.tasks[0].config")["topic"] == cluster.topic("birds")

        call(f"setattr({BIRDS}, 'config', {config | {'batch.max.records': '100'}!r})")
        cluster.wait("birds", "RUNNING", "RUNNING")
        assert call(f"{BIRDS}.config")["batch.max.records"] == "100"
        call(f"{BIRDS}.pause()")
        cluster.wait("birds", "PAUSED", "PAUSED")
        call(f"{BIRDS}.resume()")
        cluster.wait("birds", "RUNNING", "RUNNING")
        call(f"{BIRDS}.restart()")  # of the connector alone
        for restart in ("restart_all_tasks()", "tasks[0].restart()", "cycle_connector()"):
            starts = cluster.starts("birds")
            call(f"{BIRDS}.{restart}")
            cluster.wait_restarted("birds", starts)
        assert call("client.api.get('/connectors/birds/topics')").keys() == {"birds"}
        cluster.deliver("birds")
        assert call("client.api.get('/connectors/birds/offsets')")["offsets"][0]["partition"] == {"stream": "filtered"}
        call("client.api.put_raw('/connectors/birds/stop')")
        cluster.wait("birds", "STOPPED")
        assert "reset successfully" in call("client.api.delete('/connectors/birds/offsets')")["message"]
        wait_for(lambda: call("client.api.get('/connectors/birds/offsets')") == {"offsets": []}, "no offsets any more")
        call(f"{BIRDS}.delete()")
        cluster.wait_gone("birds")
        for word in ("state", "tasks", "restart()"):
            with pytest.raises(ClientError, match="KeyError"):
                call(f"{BIRDS}.{word}")
        with pytest.raises(ClientError, match="GenericNotFound"):
            call("client.api.get('/connectors/birds/')")


def test_loggers(cluster: Cluster) -> None:
    """Levels are shown and set on the worker that is asked."""
    with Consoles(cluster, library) as consoles:
        for call in consoles.all:
            assert call("client.root_logger")["level"] == "INFO"
            assert LOGGER in call("client.loggers")
            assert LOGGER in call(f"client.set_logger_log_level({LOGGER!r}, 'WARN')")
            assert call("client.loggers")[LOGGER]["level"] == "WARN"
            call("setattr(client, 'root_logger', 'ERROR')")
            assert call("client.root_logger")["level"] == "ERROR"
            call("setattr(client, 'root_logger', 'INFO')")


def test_failed(cluster: Cluster) -> None:
    """A task that failed is seen, and is well again with a token that X takes."""
    with Consoles(cluster, library) as call:
        wrong = {"name": "birds", "config": cluster.config("birds", x_bearer_token=REFUSED_TOKEN)}
        call(f"client.api.post('/connectors', json={wrong!r})")
        cluster.wait("birds", "RUNNING", "FAILED")
        assert call(f"{BIRDS}.tasks[0].is_running()") is False
        assert "401" in call(f"{BIRDS}.tasks[0].status['trace']")
        call(f"setattr({BIRDS}, 'config', {cluster.config('birds')!r})")
        wait_for(lambda: call(f"{BIRDS}.tasks[0].is_running()"), "its task runs")


def test_wrong_login(cluster: Cluster) -> None:
    """Whoever has the wrong password gets the client's own exception."""
    api = f"Api(url={address(cluster.two)!r}, username='ci', password='wrong')"
    command = python_console(require("kafka-connect-api"), "kafka_connect_api.kafka_connect_api", f"Cluster({api})")
    with Consoles(cluster, lambda _: command) as call, pytest.raises(ClientError, match="GenericUnauthorized"):
        call("client.version")
