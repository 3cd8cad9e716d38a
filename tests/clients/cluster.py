"""Two workers of one group that declare no connector; the second wants a login."""

from pathlib import Path
from typing import Any

from connector.simulator import SimulatorThread
from tests.brokers import Broker
from tests.workers import SESSION_SECS, TOKEN, Worker, Workers, wait_for

LOGIN = "ci:a-long-word"
CLASS = "PostStreamSourceConnector"
GOOD_TOKEN, REFUSED_TOKEN = "${env:CONNECTOR_GOOD_TOKEN}", "${env:CONNECTOR_BAD_TOKEN}"


class Cluster:
    """The workers of the group *name*, on *broker*, beside *simulator*."""

    def __init__(self, broker: Broker, simulator: SimulatorThread, name: str, folder: Path) -> None:
        environment = {
            "CONNECTOR_BROKER_URL": broker.url,
            "CONNECTOR_GROUP_ID": name,
            "CONNECTOR_BROKER_SESSION_TIMEOUT": str(SESSION_SECS),
            "CONNECTOR_LOG_FORMAT": "json",
            "CONNECTOR_GOOD_TOKEN": TOKEN,
            "CONNECTOR_BAD_TOKEN": "nobody's",
        }
        self.name, self.simulator, self.workers = name, simulator, Workers(folder)
        self.one = self.workers.start(environment)
        self.two = self.workers.start(environment, web_users=LOGIN)
        self.both = (self.one, self.two)

    def wait_ready(self) -> None:
        for worker in self.both:
            worker.wait_ready()

    def close(self) -> None:
        self.workers.close()

    def config(self, name: str, **changes: object) -> dict[str, Any]:
        """Return a configuration that follows #murmuration into a topic of its own, with *changes* (`tasks_max=2`)."""
        config = {
            "connector.class": CLASS,
            "topic": self.topic(name),
            "hashtags": "murmuration",
            "x.bearer.token": GOOD_TOKEN,
            "x.api.url": self.simulator.url,
            "settle.secs": "1",
        }
        return config | {option.replace("_", "."): text for option, text in changes.items()}

    def topic(self, name: str) -> str:
        return f"{self.name}-{name}"

    def wait(self, name: str, connector: str, *tasks: str) -> dict[str, Any]:
        """Return the connector's status, once both workers say that it and its tasks are in these states."""
        wanted = [connector, *tasks]
        wait_for(lambda: [wanted, wanted] == [states(worker, name) for worker in self.both], f"{name} is {wanted}")
        return self.one.status(name)

    def wait_restarted(self, name: str, before: int) -> None:
        """Return once a task has been started since *before*, what `starts` returned, and runs."""
        wait_for(lambda: self.starts(name) > before, f"a task of {name} is started again")
        self.wait(name, "RUNNING", "RUNNING")

    def starts(self, name: str) -> int:
        """Return how often a worker has started a task of the connector."""
        return sum(len(worker.events("task.started", connector=name)) for worker in self.both)

    def deliver(self, name: str, posts: int = 3) -> None:
        """Let X have some posts, and wait until the connector has delivered them."""
        before = self.one.delivered(name)
        wait_for(self.simulator.simulator.streams.live, "a connection")
        self.simulator.emit(posts)
        for worker in self.both:
            wait_for(lambda: worker.delivered(name) >= before + posts, f"{posts} posts of {name}")  # noqa: B023  # at once
            wait_for(lambda: self.topics(worker, name), f"the topic of {name}")  # noqa: B023  # told within a second

    @staticmethod
    def topics(worker: Worker, name: str) -> list[str]:
        """Return the topics that the connector has written to, as *worker* knows them."""
        found: list[str] = worker.get(f"/connectors/{name}/topics")[1][name]["topics"]
        return found

    def wait_gone(self, name: str) -> None:
        """Return once both workers answer 404."""
        wait_for(
            lambda: all(worker.get(f"/connectors/{name}/status")[0] == 404 for worker in self.both), f"{name} is gone"
        )

    def empty(self) -> None:
        """Delete what connectors there are."""
        for name in self.one.get("/connectors")[1]:
            self.one.delete(f"/connectors/{name}")
            self.wait_gone(name)


def states(worker: Worker, name: str) -> list[str]:
    """Return the states of a connector and of its tasks, as *worker* has them."""
    status, body = worker.get(f"/connectors/{name}/status")
    return [body["connector"]["state"], *(task["state"] for task in body["tasks"])] if status == 200 else []
