"""
What all tests share: a scrubbed environment, a real broker, workers as processes, the simulator.

`pytest` alone runs what needs neither broker nor process; `pytest -m broker` and `pytest -m e2e` run the rest.  They
start Apache Kafka themselves (Java, jars from Maven Central in build/kafka), or use the one that
CONNECTOR_TEST_BROKER_URL names; tests that freeze or kill a broker always start their own.  Without Java they are
skipped, except where CI=true: there a skip is a failure.
"""

import gc
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from connector.kafka.login import connection
from connector.kafka.login.refusals import Refusals
from connector.simulator import SimulatorSettings, SimulatorThread
from tests import brokers, registries
from tests.brokers import Broker, KafkaBroker, NamedBroker
from tests.registries import Registry
from tests.workers import Workers

KEPT = ("CONNECTOR_TEST_BROKER_URL", "CONNECTOR_TEST_BASE_IMAGE", "CONNECTOR_FAULT_MINUTES", "CONNECTOR_FUZZ_MINUTES")
"""Variables that steer the tests, not the connector."""

# An example, or the making of one, takes as long as the machine lets it: how busy that is says nothing about the code.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

LONG_SECS = 5.0
"""A unit test takes so long only if it is marked `slow`, or if the machine is busy."""

LOGS = pytest.StashKey[list[Workers]]()


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CONNECTOR_* of the developer's shell, or of an earlier test, reaches a test."""
    for name in list(os.environ):
        if name.startswith("CONNECTOR_") and name not in KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def refusals(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """What a process knows of refused connections, as if each test were a process of its own."""
    fresh = Refusals()
    monkeypatch.setattr(connection, "REFUSALS", fresh)
    return fresh


@pytest.fixture
def fresh() -> str:
    """A name that no other test has: for groups, topics and connectors."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if url := os.environ.get("CONNECTOR_TEST_BROKER_URL"):
        yield NamedBroker(url)
        return
    with _own(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture(scope="module")
def broker(shared_broker: Broker) -> Iterator[Broker]:
    """
    The broker that most tests share; nobody may stop it.

    It may begin anew behind each module: a worker makes two hundred partitions.
    """
    yield shared_broker
    if isinstance(shared_broker, KafkaBroker):
        shared_broker.renew()


@pytest.fixture(scope="module")
def weak_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of one module's own, to be frozen and killed; it runs when a test begins."""
    with _own(tmp_path_factory.mktemp("weak-broker")) as started:
        yield started


@pytest.fixture
def frail_broker(weak_broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """The module's own broker, running again after whatever the test did to it."""
    yield weak_broker
    weak_broker.recover()


@pytest.fixture(scope="session")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registries.require()
    with Registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def registry(shared_registry: Registry) -> Iterator[Registry]:
    """The schema registry that most tests share; nobody may stop it.  What a test sets for all ends with it."""
    yield shared_registry
    shared_registry.forget_compatibility()


@pytest.fixture
def frail_registry(tmp_path: Path) -> Iterator[Registry]:
    """A schema registry of the test's own, to be frozen and killed; it is not started."""
    registries.require()
    own = Registry(tmp_path / "registry")
    yield own
    own.kill()


def _own(folder: Path) -> KafkaBroker:
    brokers.require()
    return KafkaBroker(folder)


@pytest.fixture
def simulate() -> Iterator[Callable[..., SimulatorThread]]:
    """Start simulators with the settings given, as `simulate(rate=100)`."""
    running: list[SimulatorThread] = []

    def start(**settings: object) -> SimulatorThread:
        simulator = SimulatorThread(SimulatorSettings(**settings))
        running.append(simulator.__enter__())
        return simulator

    yield start
    for simulator in running:
        simulator.__exit__(None, None, None)


@pytest.fixture
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    """Starts workers, and leaves none behind."""
    group = Workers(tmp_path)
    request.node.stash.setdefault(LOGS, []).append(group)
    yield group
    group.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Put files that take long first, then those with many tests, where several processes share the tests by their files.

    Else one process would be given a file that takes minutes at the end, and the others would wait for it.
    """
    if hasattr(config, "workerinput"):
        tests = Counter(item.path for item in items)
        long = {item.path for item in items if item.get_closest_marker("long")}
        items.sort(key=lambda item: (item.path not in long, -tests[item.path]))


def pytest_collection_finish() -> None:
    """Keep the thousands of tests out of each later run of the garbage collector, which would take half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Show the ends of the workers' logs below a failure."""
    report = yield
    if report.failed:
        for group in item.stash.get(LOGS, []):
            report.sections += group.logs()
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the unit tests that took long and are not marked `slow`.  It fails nothing: a person is to look at them."""
    took: Counter[str] = Counter()
    for report in (*terminalreporter.getreports(""), *terminalreporter.getreports("passed")):
        if isinstance(report, pytest.TestReport) and not {"slow", "broker", "e2e"} & report.keywords.keys():
            took[report.nodeid] += report.duration
    if long := [f"{secs:5.1f} s  {name}" for name, secs in took.most_common(10) if secs > LONG_SECS]:
        terminalreporter.section(f"unit tests that took over {LONG_SECS:g} s: is the machine busy, or are they slow?")
        terminalreporter.write_line("\n".join(long))
