"""What the connector uses inside aiokafka, Faust and mode: all in one module; and what follows without it."""

import ast
import importlib
import inspect
import logging
import pkgutil
import re
import textwrap
import tomllib
from pathlib import Path
from types import SimpleNamespace

import faust
import pytest
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from faust.transport.drivers.aiokafka import Producer
from packaging.specifiers import SpecifierSet
from prometheus_client.parser import text_string_to_metric_families

import connector
from connector.cli.doctor import machine
from connector.config.load import load
from connector.kafka import internals
from connector.kafka.delivery.producer import TaskProducer
from connector.kafka.internals import Use
from connector.kafka.login.connection import Connection
from connector.telemetry.events.worker import FastPathOff
from connector.telemetry.metrics import Metrics
from connector.worker import wiring
from connector.worker.gauges import gauges_of
from connector.worker.process import ConnectorWorker
from tests import ROOT
from tests.unit.worker.test_process import ENVIRONMENT

FOREIGN = ("aiokafka", "faust", "mode")
AIOKafkaConnection = Connection.__base__
"""The name of it in aiokafka is that of ours."""

PACKAGE = Path(connector.__file__).parent


@pytest.fixture(autouse=True)
def look_anew():
    """What is missing is looked up once for a process, and here for each test."""
    internals.missing.cache_clear()
    yield
    internals.missing.cache_clear()


@pytest.fixture
def without(monkeypatch):
    """Take a name from a class: the method, or the attribute that `__init__` makes."""

    def take(owner, name):
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
            return
        code = owner.__init__.__code__
        assert name in code.co_names
        other = tuple("of_tomorrow" if each == name else each for each in code.co_names)

        def begin(self, *args, **kwargs): ...

        begin.__code__ = code.replace(co_names=other, co_freevars=())
        monkeypatch.setattr(owner, "__init__", begin)

    return take


# -- what is wrapped


def test_consumers_are_closed_in_one_place():
    """A consumer that is closed otherwise may end whoever closes it: see `connector.kafka.closing`."""
    closing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"consumer\.stop\(\)", path.read_text())
    }
    assert {"kafka/closing.py"} == closing


# -- the table


def test_the_installed_libraries_have_all():
    """None is missing, so that nothing falls back and a worker starts."""
    assert [] == internals.check(Use)
    assert [] == internals.unfit(exactly_once=True)
    assert set(Use) == set(internals.USES)


def test_the_bounds_are_those_of_the_installation():
    """The cure names the versions that pyproject.toml allows."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"{each.distribution}{each.bounds}" for each in internals.LIBRARIES.values()} <= set(asked)
    assert all(SpecifierSet(each.bounds).contains(each.seen) for each in internals.LIBRARIES.values())
    assert all(f"{each.distribution} {each.seen}" in internals.__doc__ for each in internals.LIBRARIES.values())


MISSING = [
    (TransactionManager, "_transition_to", "TransactionManager._transition_to()", {Use.SMALL_BATCHES}),
    (Sender, "_in_flight", "Sender._in_flight", {Use.PIPELINING}),
    (MessageAccumulator, "_waiter_future", "MessageAccumulator._waiter_future", {Use.PIPELINING}),
    (MessageBatch, "_drain_waiter", "MessageBatch._drain_waiter", {Use.ONCE, Use.GONE}),
    (AIOKafkaConnection, "_closed_fut", "AIOKafkaConnection._closed_fut", {Use.CONNECTION}),
    (Producer, "_settings_extra", "Producer._settings_extra()", {Use.PRODUCER}),
]


@pytest.mark.parametrize(("owner", "name", "said", "uses"), MISSING)
def test_a_name_that_is_gone(without, owner, name, said, uses):
    """It is found without an object being made, and names what it is used for."""
    without(owner, name)
    (broken,) = internals.check(Use)

    assert [True] == [each.endswith(said) for each in broken.missing]
    assert uses == set(broken.uses)


def test_a_parameter_that_is_gone(monkeypatch):
    """A method that does not take what we give it is none."""

    def drain(self, nodes, muted_partitions): ...

    monkeypatch.setattr(MessageAccumulator, "drain_by_nodes", drain)
    (broken,) = internals.check([Use.PIPELINING])

    assert ("aiokafka.producer.message_accumulator.MessageAccumulator.drain_by_nodes(ignore_nodes=)",) == broken.missing


def test_a_class_and_a_module_that_are_gone(monkeypatch):
    """They are named as the first thing that is missing."""
    parts = (internals.Part("aiokafka.client:Client", ("_conns",)), internals.Part("aiokafka.tomorrow", ("client",)))
    monkeypatch.setitem(internals.USES, Use.METADATA, parts)
    (broken,) = internals.check([Use.METADATA])

    assert ("aiokafka.client.Client", "aiokafka.tomorrow") == broken.missing


def test_ours_does_not_hide_that_theirs_is_gone(without):
    """Our connection stands in the place of aiokafka's, and overrides what must be there."""
    without(AIOKafkaConnection, "authenticator_oauth")
    (broken,) = internals.check([Use.CONNECTION])

    assert ("aiokafka.conn.AIOKafkaConnection.authenticator_oauth()",) == broken.missing


def test_a_name_that_is_not_there_is_not_made():
    """Else it would seem to be there, and nobody would read it."""
    owner = SimpleNamespace(old=1)

    assert (1, None) == (internals._replace(owner, "old", 2), internals._replace(owner, "gone", 3))
    assert {"old": 2} == vars(owner)


# -- what falls back


@pytest.fixture
async def producer():
    app = faust.App("posts", broker="kafka://127.0.0.1:1", topic_disable_leader=True)
    app.finalize()
    return TaskProducer(app, transactional_id="posts-0", idempotent=True, transaction_timeout_secs=60)


async def start(producer, monkeypatch):
    """Start *producer* without a broker; return whether it takes each of its fast paths."""

    async def begin(_):
        producer._producer = producer._new_producer()

    monkeypatch.setattr(Producer, "on_start", begin)
    await producer.on_start()
    made = producer.client
    await made.client.close()
    made._closed = True
    return producer.small_batches is not None, not isinstance(made._sender._in_flight, set)


@pytest.mark.parametrize(
    ("use", "taken"), [(None, (True, True)), (Use.SMALL_BATCHES, (False, True)), (Use.PIPELINING, (True, False))]
)
async def test_a_producer_without_a_fast_path(producer, monkeypatch, use, taken):
    """It is as aiokafka's own there, and has the other one."""
    if use is not None:
        gone = (internals.Part("aiokafka.producer.sender:Sender", ("_of_tomorrow",)),)
        monkeypatch.setitem(internals.USES, use, gone)

    assert taken == await start(producer, monkeypatch)


def paths_of_a_scrape():
    metrics = Metrics()
    metrics.watch(lambda: gauges_of(SimpleNamespace(tasks={}, states=dict), lambda: True))
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    return {sample.labels["path"]: sample.value for sample in families["connector_fast_path"].samples}


def test_a_fast_path_that_is_off_is_said_once(without, tmp_path):
    """One warning with the names, the installed version and the cure; and the metric is 0."""
    assert (1.0, 1.0) == tuple(paths_of_a_scrape()[path] for path in ("small_batches", "pipelining"))
    without(TransactionManager, "_transition_to")
    without(Sender, "_in_flight")
    internals.missing.cache_clear()
    told = []
    app = SimpleNamespace(conf=SimpleNamespace(web_enabled=False))
    wiring._announce(app, load({}, tmp_path), told.append)
    (event,) = (each for each in told if isinstance(each, FastPathOff))

    assert logging.WARNING == event.level
    assert ("pipelining", "small_batches") == event.paths
    assert ["TransactionManager._transition_to()", "Sender._in_flight"] == [
        name.split(".", 3)[-1] for name in event.missing
    ]
    assert event.installed[0].startswith("aiokafka 0.")
    assert "pip install 'aiokafka>=0.14,<0.15'" == event.cure
    assert internals.unfit(exactly_once=True) == []
    assert (0.0, 0.0) == tuple(paths_of_a_scrape()[path] for path in ("small_batches", "pipelining"))


@pytest.mark.parametrize(
    ("form", "of_avro", "value"), [(None, object(), 0), (object(), None, 0), (object(), object(), 1)]
)
def test_the_compiled_form_is_a_fast_path(monkeypatch, form, of_avro, value):
    """As it is used, whatever was built; `doctor` says so, too."""
    monkeypatch.setattr("connector.records.native.compiled", form)
    monkeypatch.setattr("connector.formats.schemas.native.compiled", of_avro)
    monkeypatch.setattr("connector.formats.schemas.native.broken", "" if of_avro else "wrong ELF class")
    told = [each.message for each in machine._slower_ways() if "compiled part" in each.message]

    assert value == paths_of_a_scrape()["compiled"]
    assert (not told) is bool(value)
    assert of_avro is not None or "(wrong ELF class)" in told[0]


# -- what does not


def test_a_worker_does_not_start_without(without, tmp_path, capsys):
    """One sentence with the library, its version, the name and the cure, and the exit code of a wrong configuration."""
    app = wiring.wire(load(ENVIRONMENT, tmp_path))
    without(MessageBatch, "_drain_waiter")
    with pytest.raises(SystemExit) as caught:
        ConnectorWorker(app)

    assert 78 == caught.value.code
    _, sentence = capsys.readouterr().err.split("  - ")
    version = internals.check([Use.GONE])[0].installed
    assert (
        f"{version} does not have aiokafka.producer.message_accumulator.MessageBatch._drain_waiter, which the connector"
        " cannot do without (once, gone): install a version that it knows, pip install 'aiokafka>=0.14,<0.15'.\n"
    ) == sentence


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_only_exactly_once_needs_once(without, tmp_path, delivery):
    """Without transactions no request of one is to be sent once."""
    app = wiring.wire(load({**ENVIRONMENT, "CONNECTOR_DELIVERY": delivery}, tmp_path))
    without(TransactionManager, "wait_for_transaction_end")

    assert (delivery == "exactly_once") == app.exactly_once
    assert app.exactly_once == bool(internals.unfit(exactly_once=app.exactly_once))


# -- all in one module


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.endswith("/internals.py"):
            yield place, path.read_text()


@pytest.mark.slow
def test_no_other_module_has_their_private_names():
    """Ruff finds them (SLF001), and nobody silences it but for an object of ours; nor are they fetched by a string."""
    found = [
        f"{place}: {line}"
        for place, source in modules()
        for line in source.splitlines()
        if "SLF001" in line and "SLF001 - one thing in two classes" not in line
    ]
    for place, source in modules():
        found += [
            f"{place}:{call.lineno}: {argument.value}"
            for call in ast.walk(ast.parse(source))
            if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) in FETCHING
            for argument in call.args
            if isinstance(argument, ast.Constant) and str(argument.value).startswith("_")
        ]

    assert [] == found


FETCHING = ("getattr", "setattr", "delattr", "hasattr", "attrgetter", "methodcaller")


def test_ruff_looks_everywhere_else():
    """Only the one module is exempt, the like of it for the X end, and the tests."""
    exempt = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["per-file-ignores"]

    assert {"connector/kafka/internals.py", "connector/sources/http/internals.py", "tests/*"} == {
        place for place, codes in exempt.items() if any("SLF001".startswith(code) for code in codes)
    }


def subclasses():
    """Yield the connector's classes that are made of a class of the three."""
    for info in pkgutil.walk_packages(connector.__path__, "connector."):
        if info.name.rpartition(".")[2].startswith("_") or info.name.startswith("connector.simulator"):
            continue
        for each in vars(importlib.import_module(info.name)).values():
            if inspect.isclass(each) and each.__module__ == info.name and foreign(each):
                yield each


def foreign(owner):
    return [each for each in owner.__mro__ if each.__module__.partition(".")[0] in FOREIGN]


def private_names(owner):
    """Return what the class defines, and what it looks up in itself."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner)))):
        name = getattr(node, "attr" if isinstance(node, ast.Attribute) else "name", None)
        if isinstance(name, str) and name.startswith("_") and not name.endswith("__"):
            yield name


def test_what_our_subclasses_take_of_theirs_is_in_the_table():
    """Private methods that they override, and attributes of their bases: each is looked for at the start."""
    listed = {
        (part.where.replace(":", "."), name)
        for parts in internals.USES.values()
        for part in parts
        for name in (*part.holds, *part.calls)
    }
    found = set()
    for owner in subclasses():
        bases = {f"{each.__module__}.{each.__name__}" for each in foreign(owner)}
        found |= {
            f"{owner.__module__}.{owner.__name__}.{name}"
            for name in private_names(owner)
            if internals._holds(owner, name) and not any((base, name) in listed for base in bases)
        }

    assert set() == found
