"""Connect's routes: paths, methods, states, classes and log levels.  The recorded requests are in test_web_contract."""

import logging
from collections import Counter

import pytest
from aiohttp.test_utils import make_mocked_request

from connector.cluster.plugins import Plugins, Verdict
from connector.cluster.refused import Conflicting, Unavailable
from connector.cluster.validation import Judged
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.framework import FRAMEWORK
from connector.config.options import Problem
from connector.telemetry.loggers import LOGGERS_MAX, NAME_CHARACTERS_MAX, Loggers
from connector.web.connect.connectors import ConnectorRoutes
from connector.web.connect.definitions import definitions_of, validation_of
from connector.web.connect.root import HEALTHY, STARTING, UNHEALTHY
from tests.connect.file_source import FILE_SOURCE, PLUGIN, config_of
from tests.connect.in_memory import InMemoryConnectors
from tests.connect.serving import served

PATHS = {
    "/": ["GET"],
    "/health": ["GET"],
    "/connectors": ["GET", "POST"],
    "/connectors/c": ["GET", "DELETE"],
    "/connectors/c/config": ["GET", "PUT", "PATCH"],
    "/connectors/c/status": ["GET"],
    "/connectors/c/tasks": ["GET"],
    "/connectors/c/tasks/0/status": ["GET"],
    "/connectors/c/tasks/0/restart": ["POST"],
    "/connectors/c/restart": ["POST"],
    "/connectors/c/pause": ["PUT"],
    "/connectors/c/resume": ["PUT"],
    "/connectors/c/stop": ["PUT"],
    "/connectors/c/topics": ["GET"],
    "/connectors/c/topics/reset": ["PUT"],
    "/connectors/c/offsets": ["GET", "PATCH", "DELETE"],
    "/connector-plugins": ["GET"],
    "/connector-plugins/FileStreamSource/config": ["GET"],
    "/connector-plugins/FileStreamSource/config/validate": ["PUT"],
    "/admin/loggers": ["GET"],
    "/admin/loggers/root": ["GET", "PUT"],
}
ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
async def web():
    async with served() as web:
        await web("POST", "/connectors", {"name": "c", "config": config_of()})
        yield web


@pytest.mark.parametrize("path", PATHS)
async def test_methods(web, path):
    """Each path has Connect's methods, says so to OPTIONS, and refuses others with a 405 that lists them."""
    allowed = {*PATHS[path], "OPTIONS"} | ({"HEAD"} if "GET" in PATHS[path] else set())
    async with web.client.options(path) as response:
        assert (200, allowed) == (response.status, set(response.headers["Allow"].split(", ")))
    for method in set(ALL_METHODS) - set(PATHS[path]):
        async with web.client.request(method, path) as response:
            body = await response.json()
            assert (405, {"error_code": 405, "message": "HTTP 405 Method Not Allowed"}) == (response.status, body)
            assert allowed == set(response.headers["Allow"].split(","))


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/"])
async def test_trailing_slash(web, path):
    """Several clients end paths with a slash."""
    for method in PATHS[path]:
        if method == "GET":
            assert (await web(method, path))[0] == (await web(method, f"{path}/"))[0] == 200
    async with web.client.options(f"{path}/") as response:
        assert 200 == response.status


@pytest.mark.parametrize("path", [path for path in PATHS if "GET" in PATHS[path]])
async def test_head(web, path):
    """HEAD is GET without its body."""
    async with web.client.get(path) as got, web.client.head(path) as response:
        assert (got.status, got.headers["Content-Length"]) == (response.status, response.headers["Content-Length"])
        assert b"" == await response.read()


async def test_unknown_paths(web):
    """Everything else is a 404 in JSON, tasks without a number among it."""
    for path in (
        "/nope",
        "/connectors/c/nope",
        "/connectors//status",
        "/connectors/c/tasks/x/status",
        "/connectors/c/d/e",
    ):
        assert (404, {"error_code": 404, "message": "HTTP 404 Not Found"}) == await web("GET", path)
    for path in ("/connectors/c/tasks/x/restart", "/connectors/c/tasks/0.5/restart", "/connectors/c/tasks/1e1/restart"):
        assert 404 == (await web("POST", path))[0]


# -- the worker


async def test_root(web):
    """The version is the one of the API, in Kafka's form: clients switch features on it."""
    status, body = await web("GET", "/")

    assert (200, "4.1.0", "test-cluster") == (status, body["version"], body["kafka_cluster_id"])
    assert body["commit"]


async def test_starting(web):
    """While a worker reads what its group knows, it says so in JSON; what is its own is answered all the same."""
    web.worker.why_starting = "Kafka is away."
    health = {"status": "starting", "message": f"{STARTING} Kafka is away."}

    assert (503, health) == await web("GET", "/health")
    for method, path, body in (
        ("GET", "/connectors", ...),
        ("GET", "/connectors/c/status", ...),
        ("POST", "/connectors", {"name": "d", "config": config_of()}),
        ("PUT", "/connectors/c/pause", ...),
    ):
        assert (503, {"error_code": 503, "message": f"{STARTING} Kafka is away."}) == await web(method, path, body)
    for path in ("/", "/connector-plugins", "/admin/loggers"):
        assert 200 == (await web("GET", path))[0]
    assert ["c"] == web.connectors.names()


async def test_health(web):
    """Healthy, or what is wrong."""
    assert (200, {"status": "healthy", "message": HEALTHY}) == await web("GET", "/health")
    web.worker.why_unhealthy = "Kafka has not answered for 61 s."

    assert (500, {"status": "unhealthy", "message": f"{UNHEALTHY} Kafka has not answered for 61 s."}) == await web(
        "GET", "/health"
    )


@pytest.mark.parametrize(("refusal", "status"), [(Conflicting, 409), (Unavailable, 503)])
async def test_refusals(web, monkeypatch, refusal, status):
    """What the group refuses is answered with its status and its sentence."""

    async def refuse(*args, **kwargs):
        raise refusal("Say it again.")

    for name in ("create", "put_config", "patch_config", "delete", "set_state", "restart", "restart_task"):
        monkeypatch.setattr(web.connectors, name, refuse)
    monkeypatch.setattr(web.connectors, "alter_offsets", refuse)
    offsets = {"offsets": [{"partition": {}, "offset": None}]}
    for method, path, body in (
        ("POST", "", {"name": "d", "config": {}}),
        ("PUT", "/c/config", {}),
        ("PATCH", "/c/config", {}),
        ("DELETE", "/c", ...),
        ("PUT", "/c/stop", ...),
        ("POST", "/c/restart", ...),
        ("POST", "/c/tasks/0/restart", ...),
        ("PATCH", "/c/offsets", offsets),
    ):
        answer = await web(method, f"/connectors{path}", body)
        assert (status, {"error_code": status, "message": "Say it again."}) == answer


# -- classes and definitions


async def test_plugins(web):
    """The connector classes, or all classes."""
    only = [{"class": FILE_SOURCE, "type": "source", "version": "4.3.0"}]

    assert (200, only) == await web("GET", "/connector-plugins")
    assert (200, only) == await web("GET", "/connector-plugins?connectorsOnly=True")
    _, every = await web("GET", "/connector-plugins?connectorsOnly=false")
    assert {"source", "converter", "header_converter"} == {each["type"] for each in every}
    for each in every:
        assert 200 == (await web("GET", f"/connector-plugins/{each['class']}/config"))[0]


def defined(definitions):
    return {each["name"]: each for each in definitions}


def test_definition_for_each_option():
    """Each option of our connector has a definition, those of Connect's framework come last, and each name once."""
    ours = Plugins([plugin()]).find("PostStreamSource")
    definitions = definitions_of(ours)
    names = [each["name"] for each in definitions]

    assert sorted({*CONNECTOR_OPTIONS, *FRAMEWORK}) == sorted(names)
    assert list(FRAMEWORK) == names[-len(FRAMEWORK) :]
    found = defined(definitions)
    assert ("LONG", "Tuning", "67108864") == tuple(
        found["buffer.max.bytes"][key] for key in ("type", "group", "default_value")
    )
    for each in definitions:
        assert each["order"] == each["order_in_group"]
        assert each["documentation"]


def plugin():
    """Our class, as the routes see it."""
    return type(PLUGIN)(
        name="PostStreamSourceConnector",
        version="0.1.0",
        options=CONNECTOR_OPTIONS,
        check=PLUGIN.check,
        check_offset=PLUGIN.check_offset,
    )


def values(config, problems=()):
    """What a configuration makes of each option."""
    config = {"connector.class": "PostStreamSource", **config}
    verdict = Verdict(problems=tuple(problems))
    answer = validation_of(Judged(config=config, plugin=plugin(), options=CONNECTOR_OPTIONS, verdict=verdict), config)
    return {each["value"]["name"]: each["value"] for each in answer["configs"]}


def test_values():
    """The text if it can be read, the default if there is none, and null if it is no value."""
    shown = values({"settle.secs": "7", "plan": "nonsense", "stream": " sample "})

    assert ("7", None, " sample ") == tuple(shown[name]["value"] for name in ("settle.secs", "plan", "stream"))
    assert "auto" == shown["recovery"]["value"]
    assert ["auto", "backfill", "search", "none"] == shown["recovery"]["recommended_values"]


def test_secrets_are_hidden():
    """A secret is `[hidden]`, a reference to one is shown, and what nobody knows may be a misspelled secret."""
    shown = values(
        {"x.bearer.token": "AAAA", "x.consumer.key": "${env:CONNECTOR_KEY}", "x.bearer": "AAAA"},
        [Problem("x.bearer", "no such option")],
    )

    assert "[hidden]" == shown["x.bearer.token"]["value"] == shown["x.bearer"]["value"]
    assert "${env:CONNECTOR_KEY}" == shown["x.consumer.key"]["value"]
    assert "AAAA" not in str(shown)


def test_file_is_not_opened_for_its_value():
    """Showing a path reads no file."""
    assert "/no/such/file" == values({"rules.file": "/no/such/file"})["rules.file"]["value"]


async def test_incomplete_configuration(web):
    """A form is built of an incomplete configuration, which may have keys of other connectors."""
    status, body = await web(
        "PUT", "/connector-plugins/FileStreamSource/config/validate", {"connector.class": FILE_SOURCE, "topics": "x"}
    )

    assert (200, 2) == (status, body["error_count"])
    assert all(each["definition"] for each in body["configs"])
    assert ["topics is not known and has no effect: did you mean topic?"] == body["warnings"]


async def test_problem_of_an_unlisted_option(web):
    """An option with errors always has a definition, because a client reads it."""
    config = config_of(name="n", value_converter_schemas_enable="perhaps")
    _, body = await web("PUT", "/connector-plugins/FileStreamSource/config/validate", config)
    (found,) = [each for each in body["configs"] if each["value"]["errors"]]

    assert "value.converter.schemas.enable" == found["definition"]["name"] == found["value"]["name"]
    assert "STRING" == found["definition"]["type"]


# -- log levels


@pytest.fixture
def loggers():
    """Loggers under a name of the test's own."""
    known = set(logging.root.manager.loggerDict)
    yield Loggers(clock=lambda: 1_793_536_500_000)
    for name in set(logging.root.manager.loggerDict) - known:
        del logging.root.manager.loggerDict[name]


LEVELS = [
    ("trace", "TRACE", 5),
    ("Debug", "DEBUG", 10),
    ("INFO", "INFO", 20),
    ("warn", "WARN", 30),
    ("WARNING", "WARN", 30),
    ("error", "ERROR", 40),
    ("FATAL", "FATAL", 50),
    ("critical", "FATAL", 50),
]


@pytest.mark.parametrize(("given", "shown", "number"), LEVELS)
def test_levels(loggers, given, shown, number):
    """Levels are set by Connect's names and Python's, in any case, and shown by Connect's."""
    assert ["birds.tests"] == loggers.set_level("birds.tests", given)

    assert (shown, number) == (loggers.level("birds.tests"), logging.getLogger("birds.tests").level)


def test_loggers_below(loggers):
    """A level is set for a logger and for all below it, and only for those."""
    for name in ("birds.a", "birds.a.b", "birds.ab"):
        logging.getLogger(name)
    changed = loggers.set_level("birds.a", "ERROR")

    assert ["birds.a", "birds.a.b"] == changed
    assert 1_793_536_500_000 == loggers.modified_ms("birds.a.b")
    assert loggers.modified_ms("birds.ab") is None
    assert "root" in loggers.names()


def test_loggers_are_bounded(loggers, monkeypatch):
    """Requests cannot make loggers without end."""
    with pytest.raises(ValueError, match="printable"):
        loggers.set_level("x" * (NAME_CHARACTERS_MAX + 1), "INFO")
    with pytest.raises(ValueError, match="printable"):
        loggers.set_level("a\nb", "INFO")
    monkeypatch.setattr(logging.root.manager, "loggerDict", {str(number): None for number in range(LOGGERS_MAX)})
    with pytest.raises(ValueError, match="restart the worker"):
        loggers.set_level("one.more", "INFO")


async def test_loggers_that_cannot_be(web, monkeypatch):
    """A name that no logger can have is not found, as a level is; one more than there may be contradicts the state."""
    status, body = await web("PUT", "/admin/loggers/a%0Db", {"level": "debug"})
    assert (404, True) == (status, "printable" in body["message"])
    monkeypatch.setattr(logging.root.manager, "loggerDict", {str(number): None for number in range(LOGGERS_MAX)})
    status, body = await web("PUT", "/admin/loggers/one.more", {"level": "debug"})
    assert (409, True) == (status, "restart the worker" in body["message"])


async def test_levels_by_request(web, loggers):
    """The names that changed, an empty answer for the whole cluster, and sentences for what is wrong."""
    put = "/admin/loggers/birds.tests"

    assert 404 == (await web("GET", put))[0]
    assert (200, ["birds.tests"]) == await web("PUT", put, {"level": "debug"})
    assert (200, ["birds.tests"]) == await web("PUT", f"{put}?scope=nonsense", {"level": "debug"})
    assert (204, None) == await web("PUT", f"{put}?scope=CLUSTER", {"level": "info"})
    assert "INFO" == (await web("GET", put))[1]["level"]
    for body, status, message in (
        ({}, 400, "Desired 'level' parameter was not specified in request."),
        ({"level": None}, 400, "Desired 'level' parameter was not specified in request."),
        ({"level": 7}, 404, "invalid log level '7'."),
        ({"level": ["INFO"]}, 404, "invalid log level \"['INFO']\"."),
        ([], 400, "The body must be a JSON object, not a list"),
    ):
        assert (status, {"error_code": status, "message": message}) == await web("PUT", put, body)


class CountingConnectors(InMemoryConnectors):
    """Connectors that count how often their status is asked for."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def names(self):
        return ["a", "b"]

    def status(self, name):
        self.asked[name] += 1
        return {}


async def test_expanded_once():
    """However often a query names what to show, it is looked up once for each connector."""
    connectors = CountingConnectors()
    request = make_mocked_request("GET", "/connectors?" + "expand=status&" * 500)
    await ConnectorRoutes(connectors).names(request)

    assert {"a": 1, "b": 1} == connectors.asked
