"""
The requests that were recorded against real Kafka Connect workers, asked of a real worker: Kafka, tasks, simulated X.

They speak of our class instead of the file source; see `tests.connect.translated`.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from connector.simulator import SimulatorThread
from tests.brokers import Broker
from tests.connect.file_source import FILE_SOURCE
from tests.connect.replay import Recorded, Replayer, differences, recorded
from tests.connect.schemathesis_run import start
from tests.connect.translated import COVERED_TO, Translation
from tests.workers import SESSION_SECS, TOKEN, Worker, Workers, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SECS = int(os.environ.get("CONNECTOR_SCHEMATHESIS_SECS", "30"))

OWN_OPTIONS = "plugin config FileStream"
"""How the names of those requests begin whose answers list the options of a class."""

OF_THE_CLASS = frozenset(
    {
        *("plugins", "plugins slash", "plugins all", "loggers", "loggers after"),
        "validate missing name/topic",  # our class misses more
        "validate transform missing spec",  # another transform
    }
)
MOMENTS = {
    "status immediately": ("$.tasks", "$.connector.state"),
    "restart failed": ("$.connector.state", "$.tasks"),
    "info provider": ("$.tasks",),
    "offsets": ("$.offsets[0].offset",),
    "get c1/offsets": ("$.offsets[0].offset",),
}
"""What of an answer hangs on the moment, or on the post that came last."""


SHARED = (
    "/connectors",
    "/connectors?expand=info&expand=status",
    "/connectors/cp/config",
    "/connectors/c3/tasks",
    "/connectors/c3/topics",
    "/connectors/c1/status",
    "/connector-plugins?connectorsOnly=false",
    "/",
)
"""What every worker of a group answers alike; c1 was deleted last."""


def differing(each: Recorded, status: int, headers: object, body: object) -> list[str]:
    """Return what of an answer is not as it was recorded."""
    if status != each.status:
        return [f"status {status}, not {each.status}: {body}"]
    if each.why or each.name in OF_THE_CLASS or each.name.startswith(OWN_OPTIONS) or each.name == "OPTIONS":
        return []
    found = differences(each.body, body)
    ours = ("[file]", "[topic]", "[batch.max.records]", "[batch.size]", "$.groups has", "Unsupported Media Type")
    ignored = MOMENTS.get(each.name, ("$.tasks",) if status == 201 else ())  # a new task may be listed at once
    return [text for text in found if not text.startswith(ignored or "-") and not any(own in text for own in ours)]


def without_connector(broker: Broker, group: str) -> dict[str, str]:
    """Return what a worker needs that declares nothing and waits for connectors."""
    return {
        "CONNECTOR_BROKER_URL": broker.url,
        "CONNECTOR_GROUP_ID": group,
        "CONNECTOR_BROKER_SESSION_TIMEOUT": str(SESSION_SECS),
        "CONNECTOR_LOG_FORMAT": "json",
        "CONNECTOR_GOOD_TOKEN": TOKEN,
        "CONNECTOR_BAD_TOKEN": "nobody's",
    }


def test_contract(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """
    Every status, and every body but what is of our class, is what a real worker answers.

    The other worker of the group, which nobody has asked to change anything, then answers the same.
    """
    simulators = {f"g-{name}": simulate() for name in ("c1", "c2", "c3", "cf", "ce")}
    urls = {name: simulator.url for name, simulator in simulators.items()} | {None: simulators["g-c1"].url}
    worker, other = (workers.start(without_connector(broker, fresh)) for _ in range(2))
    translation = Translation(fresh, urls)
    worker.wait_ready()
    other.wait_ready()

    answers = asyncio.run(replay(worker, translation, simulators["g-c1"]))

    for path in SHARED:
        wait_for(lambda path=path: worker.get(path) == other.get(path), f"both answer {path} alike")
    assert [] == [f"{name}: {text}" for name, found in answers.items() for text in found]
    assert [0, 0] == [each.stop() for each in (worker, other)]
    assert "Traceback" not in worker.log + other.log


async def replay(worker: Worker, translation: Translation, simulator: SimulatorThread) -> dict[str, list[str]]:
    """Send all requests; return what of each answer differs.  The first connector gets posts before anybody looks."""
    found = {}
    async with aiohttp.ClientSession() as session:
        replayer = Replayer(session, f"http://127.0.0.1:{worker.port}")
        for each in map(translation.recorded, recorded()):
            if each.name == "get unknown":
                await asyncio.to_thread(deliver, worker, simulator)
            status, headers, body = await replayer.ask(each.request)
            found[each.name] = differing(each, status, headers, body)
            if each.name == "offsets after patch":
                assert COVERED_TO == body["offsets"][0]["offset"]["covered_to"]
    return found


def deliver(worker: Worker, simulator: SimulatorThread) -> None:
    wait_for(simulator.simulator.streams.live, "a connection")
    simulator.emit(5)
    wait_for(lambda: worker.delivered("c1") >= 5, "5 posts of c1")  # the offsets are in Kafka, whoever runs the task
    # whoever runs the task tells the group within a second where it has written
    wait_for(lambda: worker.get("/connectors/c1/topics")[1]["c1"]["topics"], "the topic of c1")


@pytest.mark.alone
@pytest.mark.timeout(SECS + 240)
def test_schemathesis_of_two_workers(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, tmp_path: Path
) -> None:
    """Requests made of /openapi.json, to both workers of a group at once: only answers that the document allows."""
    environment, translation = without_connector(broker, fresh), Translation(fresh, {None: simulate(rate=10).url})
    config = translation({"connector.class": FILE_SOURCE, "file": "", "topic": "g-any"})
    first, second = (workers.start(environment) for _ in range(2))
    runs = [
        start(f"http://127.0.0.1:{worker.wait_ready().port}", tmp_path / name, secs=SECS, config=config, **names)
        for worker, name, names in (
            (first, "one", {"names": ["a", "b"], "only": True}),
            (second, "two", {"names": ["c", "d e"], "only": True}),
        )
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [0, 0] == [run.returncode for run in runs], "\n\n".join(output[-6_000:] for output in outputs)

    assert [200, 200] == [worker.get("/health")[0] for worker in (first, second)]
    assert first.events("task.started") + second.events("task.started")
    assert "Traceback" not in first.log + second.log
