import asyncio
import base64
import contextlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from connector import __version__
from connector.cluster.configs import Connector, Placement, created
from connector.cluster.requests import Action, GapRequest
from connector.config.load import load
from connector.coverage.offset import Coverage, Gap, GapState, Way
from connector.errors import BrokerAway
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import encode_key
from connector.records.record import TaskId
from connector.records.snowflake import to_iso
from connector.task.status import State, TaskStatus
from connector.worker import wiring

BEARER, PASSWORD = "AAAAsynthetic%3Dtoken", "grain of salt"
ENVIRONMENT = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": BEARER}
TASK = TaskId("posts", 0)


class Web:
    """A worker's web interface, and the worker behind it, of which nothing runs."""

    def __init__(self, app, client):
        self.app, self.client = app, client
        self.herder, (_, *self.logs, _, self.statuses, _, _, _, _, _) = app.herder, app.after_producer

    async def get(self, path, **kwargs):
        """Status, headers and body of an answer."""
        async with self.client.get(path, **kwargs) as response:
            body = await (response.json() if response.content_type == "application/json" else response.text())
            return response.status, response.headers, body

    async def post(self, path, **kwargs):
        """Status and body of an answer."""
        async with self.client.post(path, **kwargs) as response:
            return response.status, await response.json()

    def tell_offset(self, partition, value, kind=None):
        """Let the offsets topic have told of this."""
        log = next(log for log in self.logs if log.topic.endswith("-offsets"))
        log._apply(encode_key("posts", partition, kind), value, 0)

    async def json(self, path):
        status, _, body = await self.get(path)
        assert 200 == status
        return body

    def answered(self, secs_ago=0.0):
        for log in self.logs:
            log._answered_at = time.monotonic() - secs_ago


def declare(app, loaded):
    """Let the topic of configurations have told of the connector that the environment declares."""
    if loaded.connector is not None:
        slots = tuple(range(loaded.connector.tasks))
        placement, name = Placement(slots, loaded.connector.name), loaded.connector.name
        connector = Connector(name=name, config=loaded.declared, placement=placement, tasks=len(slots))
        log = next(log for log in app.after_producer if getattr(log, "topic", "").endswith("-configs"))
        for key, value in created(replace(connector, declared_by="here:8083")):
            log._apply(key.encode(), value, 0)


def read_on(app):
    """Let all that the group's topics hold have been read."""
    for service in app.after_producer:
        if isinstance(service, CompactedLog):
            service.caught_up.set()


@contextlib.asynccontextmanager
async def serving(tmp_path, environment=None):
    loaded = load(ENVIRONMENT if environment is None else environment, tmp_path)
    app = wiring.wire(loaded)
    declare(app, loaded)
    read_on(app)
    app.loop = asyncio.get_running_loop()
    app.finalize()
    app.web.init_server()
    async with TestClient(TestServer(app.web.web_app)) as client:
        yield Web(app, client)


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as web:
        yield web


@pytest.fixture
async def guarded(tmp_path):
    async with serving(tmp_path, ENVIRONMENT | {"CONNECTOR_WEB_USERS": f"ada:{PASSWORD}"}) as web:
        yield web


ROUTES = [
    "/ping",
    "/metrics",
    "/connectors",
    "/connectors/posts",
    "/connectors/posts/config",
    "/connectors/posts/status",
    "/connectors/posts/tasks",
    "/connectors/posts/tasks/0/status",
    "/connectors/posts/topics",
    "/connectors/posts/offsets",
    "/connector-plugins",
    "/connector-plugins/PostStreamSource/config",
    "/coverage",
    "/openapi.json",
    "/admin/loggers",
    "/admin/loggers/root",
    "/health",
    "/page/main.js",
    "/history",
]
NOT_READ = [
    "/connectors/{name}/pause",
    "/connectors/{name}/resume",
    "/connectors/{name}/stop",
    "/connectors/{name}/restart",
    "/connectors/{name}/tasks/{task}/restart",
    "/connectors/{name}/topics/reset",
    "/connector-plugins/{plugin}/config/validate",
    "/events",  # does not end
    "/rules",  # asks X
]
PARAMETERS = {
    "/posts": "/{name}",
    "/0": "/{task}",
    "PostStreamSource": "{plugin}",
    "/root": "/{logger}",
    "main.js": "{file}",
}


@pytest.mark.parametrize("path", ROUTES)
async def test_routes(web, path):
    """Each route answers 200, Connect's also with a slash at the end."""
    assert 200 == (await web.get(path))[0]
    if path.startswith("/connectors"):
        assert (await web.get(path))[2] == (await web.get(f"{path}/"))[2]


async def test_ping(web):
    """Alive while the event loop answers, whatever else is away."""
    assert {"status": "ok"} == await web.json("/ping")


async def test_fausts_own_pages_are_off(web):
    """Faust's pages show tables and routes to whoever asks: nothing is served but our routes, `/` among them."""
    paths = {route.resource.canonical.rstrip("/") for route in web.app.web.web_app.router.routes()}
    ours = {reduce(lambda path, part: path.replace(*part), PARAMETERS.items(), path) for path in ROUTES}

    assert {"", "/ready", *ours, *NOT_READ} == paths
    assert {"version", "commit", "kafka_cluster_id"} == set(await web.json("/"))


async def test_rules_of_whom(web):
    """Whoever does not say whose rules is told how."""
    status, _, body = await web.get("/rules")
    assert (400, "Say whose rules: /rules?connector=NAME.") == (status, body["message"])
    assert 404 == (await web.get("/rules?connector=emus"))[0]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"connector": 7, "action": "apply"}', '{"connector": "posts"}'])
async def test_a_wrong_request_for_rules(web, body):
    """The sentence shows a right one."""
    headers = {"Content-Type": "application/json"}
    status, told = await web.post("/rules", data=body, headers=headers)

    assert (400, True) == (status, '"action": "apply"' in told["message"])


async def test_rules_of_a_task_that_does_not_run(web):
    """Nobody is asked, and the sentence says when they are put in force."""
    status, told = await web.post("/rules", json={"connector": "posts", "action": "apply"})

    assert (409, True) == (status, "are put in force before it connects" in told["message"])


async def test_who_may_ask_for_rules(web, guarded):
    """As with all that changes something: no form of another page, and nobody without a login."""
    ask = {"connector": "posts", "action": "apply"}
    assert 403 == (await web.post("/rules", json=ask, headers={"Origin": "https://elsewhere.example"}))[0]
    assert 415 == (await web.post("/rules", data=json.dumps(ask), headers={"Content-Type": "text/plain"}))[0]
    assert 401 == (await guarded.post("/rules", json=ask))[0]
    assert 401 == (await guarded.get("/rules?connector=posts"))[0]


async def test_list(web):
    """The names, or with `expand` what is asked for of each."""
    assert ["posts"] == await web.json("/connectors")
    expanded = await web.json("/connectors?expand=info&expand=status&expand=nonsense")

    assert {"posts": {"info", "status"}} == {name: set(words) for name, words in expanded.items()}
    assert await web.json("/connectors/posts") == expanded["posts"]["info"]


async def test_info(web):
    """Connect's ConnectorInfo: name, configuration, tasks, type; secrets are not shown."""
    info = await web.json("/connectors/posts")

    assert ["config", "name", "tasks", "type"] == sorted(info)
    assert ("posts", "source", [{"connector": "posts", "task": 0}]) == (info["name"], info["type"], info["tasks"])
    assert "posts" == info["config"]["topic"]
    assert info["config"] == await web.json("/connectors/posts/config")


async def test_status(web):
    """Before a task has told of itself it is UNASSIGNED; then what it told, with the worker that did."""
    before = await web.json("/connectors/posts/status")
    assert "UNASSIGNED" == before["connector"]["state"] == before["tasks"][0]["state"]

    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, detail="ConnectionLost: reset"))
    status = await web.json("/connectors/posts/status")
    assert ("posts", "source", "RUNNING") == (status["name"], status["type"], status["connector"]["state"])
    assert [
        {
            "id": 0,
            "state": "RUNNING",
            "worker_id": "127.0.0.1:8083",
            "version": __version__,
            "detail": "ConnectionLost: reset",
        }
    ] == status["tasks"]


async def test_failed_task(web):
    """A FAILED task has its reason in `trace`; the connector stays RUNNING, as in Connect."""
    web.statuses.publish(TASK, TaskStatus(state=State.FAILED, trace="NotAuthorized: X answered 401"))
    status = await web.json("/connectors/posts/status")

    assert "RUNNING" == status["connector"]["state"]
    assert ("FAILED", "NotAuthorized: X answered 401") == (status["tasks"][0]["state"], status["tasks"][0]["trace"])


async def test_offsets(web):
    """The committed offsets in Connect's shape."""
    assert {"offsets": []} == await web.json("/connectors/posts/offsets")
    web.tell_offset({"stream": "filtered"}, b'{"covered_to":null,"posts":3}')

    assert {
        "offsets": [{"partition": {"stream": "filtered"}, "offset": {"covered_to": None, "posts": 3}}]
    } == await web.json("/connectors/posts/offsets")


async def test_offset_that_cannot_be_read(web):
    """What is no JSON is shown as that, and the offsets of other partitions beside it."""
    web.tell_offset({"stream": "firehose", "partition": "1"}, b"garbage")
    web.tell_offset({"stream": "firehose", "partition": "2"}, b'{"covered_to":null,"posts":3}')
    first, second = (await web.json("/connectors/posts/offsets"))["offsets"]

    assert first["offset"] is None
    assert "b'garbage' is no source offset" in first["error"]
    assert {"covered_to": None, "posts": 3} == second["offset"]


MISSING = [
    ("/connectors/other", "Connector other not found"),
    ("/connectors/other/config", "Connector other not found"),
    ("/connectors/other/status", "No status found for connector other"),
    ("/connectors/other/offsets", "Connector other not found"),
    ("/nonsense", "HTTP 404 Not Found"),
    ("/connectors/posts/nonsense", "HTTP 404 Not Found"),
    ("/connectors/%2e%2e%2fetc", "Connector ../etc not found"),
]


@pytest.mark.parametrize(("path", "message"), MISSING)
async def test_what_is_not_there(web, path, message):
    """404 is Connect's JSON with a code and a message, for routes as for names."""
    assert (404, {"error_code": 404, "message": message}) == (await web.get(path))[::2]


async def test_declared_connector(web):
    """A connector that the environment declares is changed there: 409, and the answer says where."""
    async with web.client.put("/connectors/posts/config", json={"connector.class": "PostStreamSource"}) as response:
        body = await response.json()

    assert 400 == response.status, body  # wrong before it is refused
    for method, path, sent in (
        ("PUT", "/connectors/posts/config", (await web.json("/connectors/posts/config"))),
        ("PATCH", "/connectors/posts/config", {"topic": "other"}),
        ("DELETE", "/connectors/posts", None),
    ):
        kwargs = {"skip_auto_headers": ("Content-Type",)} if sent is None else {"json": sent}
        async with web.client.request(method, path, **kwargs) as response:
            body = await response.json()
            assert (method, 409) == (method, response.status)
            assert "is declared by the environment of the worker here:8083" in body["message"]


async def test_validation(web):
    """Our own class is judged as it would be created, its secrets too, and nothing shows a secret."""
    config = {"connector.class": "PostStreamSource", "name": "n", "topic": "t", "hashtags": "a", "settle.secs": "x"}
    path = "/connector-plugins/PostStreamSource/config/validate"
    async with web.client.put(path, json=config | {"x.bearer.token": BEARER}) as response:
        text, body = await response.text(), await response.json()

    errors = {each["value"]["name"]: each["value"]["errors"] for each in body["configs"] if each["value"]["errors"]}
    assert {"settle.secs", "x.bearer.token"} == set(errors)
    assert "would lie readable in Kafka" in errors["x.bearer.token"][0]
    assert BEARER not in text
    assert 2 == body["error_count"]


async def test_transforms_are_validated(web):
    """Each has a group of its own with its options; what is wrong stands at its option."""
    config = {
        "connector.class": "PostStreamSource",
        "name": "n",
        "topic": "t",
        "hashtags": "a",
        "x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}",
        "transforms": "hide",
        "transforms.hide.type": "org.apache.kafka.connect.transforms.MaskField$Value",
        "transforms.hide.predicate": "absent",
    }
    path = "/connector-plugins/PostStreamSource/config/validate"
    async with web.client.put(path, json=config) as response:
        body = await response.json()

    errors = {each["value"]["name"]: each["value"]["errors"] for each in body["configs"] if each["value"]["errors"]}
    assert {
        "transforms.hide.fields": ["transforms.hide.fields is required: Fields to hide."],
        "transforms.hide.predicate": [
            "transforms.hide.predicate is 'absent', which predicates does not name: add it there."
        ],
    } == errors
    assert "Transforms: hide" in body["groups"]
    (kind,) = [each["definition"] for each in body["configs"] if each["definition"]["name"] == "transforms.hide.type"]
    assert ("CLASS", True, "Transforms: hide") == (kind["type"], kind["required"], kind["group"])


async def test_transforms_are_plugins(web):
    """They are listed as Connect lists them, and each tells its options."""
    listed = await web.json("/connector-plugins?connectorsOnly=false")
    names = {each["class"]: each["type"] for each in listed}
    options = await web.json("/connector-plugins/org.apache.kafka.connect.transforms.RegexRouter/config")

    assert "transformation" == names["org.apache.kafka.connect.transforms.RegexRouter"]
    assert "predicate" == names["org.apache.kafka.connect.transforms.predicates.HasHeaderKey"]
    assert ["regex", "replacement"] == [each["name"] for each in options]


async def test_starting(tmp_path):
    """A worker that has not read its group's topics says so on every route of a connector, and of /health."""
    loaded = load(ENVIRONMENT, tmp_path)
    app = wiring.wire(loaded)
    app.loop = asyncio.get_running_loop()
    app.web.init_server()
    async with TestClient(TestServer(app.web.web_app)) as client:
        for path in ("/connectors", "/connectors/posts/status", "/health"):
            async with client.get(path) as response:
                body = await response.json()
                assert (503, path) == (response.status, path)
                assert body["message"].startswith("Worker is still starting up. It has not read connector-statuses")
        async with client.get("/ping") as response:
            assert 200 == response.status


# -- what is missing


T0 = 1_793_536_500_000
FILTERED = {"stream": "filtered"}
LOST = Gap(from_ms=T0, to_ms=T0 + 1_500, reason="budget", state=GapState.LOST, detail="the budget was spent")
REPAIRING = Gap(
    from_ms=T0 + 10_000,
    to_ms=T0 + 20_000,
    reason="connection_lost",
    state=GapState.REPAIRING,
    way=Way.SEARCH,
    posts=7,
    billed=7,
    mills=35,
    until_id=1,
)
REPAIRED = Gap(from_ms=T0 - 9_000, to_ms=T0 - 8_000, reason="silent", state=GapState.REPAIRED, posts=2, closed_ms=T0)
COVERED = Coverage(covered_from_ms=T0 - 60_000, covered_to_ms=T0 + 60_000, gaps=(LOST, REPAIRING))
SHOWN_LOST = {
    "from": "2026-11-01T12:35:00.000Z",
    "to": "2026-11-01T12:35:01.500Z",
    "reason": "budget",
    "state": "lost",
    "detail": "the budget was spent",
    "posts": 0,
    "cost_usd": 0.0,
}
SHOWN_REPAIRING = {
    "from": "2026-11-01T12:35:10.000Z",
    "to": "2026-11-01T12:35:20.000Z",
    "reason": "connection_lost",
    "state": "repairing",
    "detail": None,
    "posts": 7,
    "cost_usd": 0.035,
    "way": "search",
}


async def missing(web):
    """What /coverage says of the one connector that there is."""
    (connector,) = (await web.json("/coverage"))["connectors"]
    return connector


async def test_coverage_before_anything_is_covered(web):
    """Nothing is claimed and nothing is missing."""
    nothing = {"name": "posts", "covered_from": None, "covered_to": None, "gaps": [], "repaired": []}

    assert nothing == await missing(web)


async def test_coverage(web):
    """What is covered, the gaps in it, and the last ones that are none any more, with what they cost."""
    web.tell_offset(FILTERED, COVERED.encode())
    web.tell_offset(FILTERED, b"[%s]" % json.dumps(REPAIRED.fields()).encode(), "repaired")

    assert {
        "name": "posts",
        "covered_from": "2026-11-01T12:34:00.000Z",
        "covered_to": "2026-11-01T12:36:00.000Z",
        "gaps": [SHOWN_LOST, SHOWN_REPAIRING],
        "repaired": [
            {
                "from": "2026-11-01T12:34:51.000Z",
                "to": "2026-11-01T12:34:52.000Z",
                "reason": "silent",
                "state": "repaired",
                "detail": None,
                "posts": 2,
                "cost_usd": 0.0,
                "closed_at": "2026-11-01T12:35:00.000Z",
            }
        ],
    } == await missing(web)


@pytest.mark.parametrize("kept", [b"{}", b"7", b"[7]", b"[{}]", b'[{"from": 7}]', b"garbage"])
async def test_coverage_that_cannot_be_read(web, kept):
    """Whatever stands in the offsets topic, the answer says which connector's coverage cannot be read, and why."""
    web.tell_offset(FILTERED, COVERED.encode())
    web.tell_offset(FILTERED, kept, "repaired")
    shown = await missing(web)

    assert (None, []) == (shown["covered_to"], shown["gaps"])
    assert shown["error"]


async def test_coverage_of_several_partitions(web):
    """All of the stream is covered where each partition is; a gap says whose it is, and the last hundred are kept."""
    for number, shift in (("1", 0), ("2", 5_000)):
        covered = Coverage(covered_from_ms=T0 + shift, covered_to_ms=T0 + 60_000 + shift, gaps=(LOST,) * (shift > 0))
        web.tell_offset({"stream": "firehose", "partition": number}, covered.encode())
        closed = [
            REPAIRED.fields() | {"posts": index, "closed_at": to_iso(T0 + index * 1_000 + shift)} for index in range(60)
        ]
        web.tell_offset({"stream": "firehose", "partition": number}, json.dumps(closed).encode(), "repaired")
    shown = await missing(web)

    assert ("2026-11-01T12:35:05.000Z", "2026-11-01T12:36:00.000Z") == (shown["covered_from"], shown["covered_to"])
    assert [SHOWN_LOST | {"partition": "2"}] == shown["gaps"]
    assert 100 == len(shown["repaired"])
    closed_at = [gap["closed_at"] for gap in shown["repaired"]]
    assert sorted(closed_at) == closed_at
    assert to_iso(T0 + 59_000 + 5_000) == closed_at[-1]


def lasting(shown):
    """Seconds of the one gap that is shown, without its end."""
    (gap,) = shown["gaps"]
    begin, end = (datetime.fromisoformat(gap.pop(key)) for key in ("from", "to"))
    return begin, (end - begin).total_seconds(), gap


async def test_coverage_in_an_outage(web):
    """An outage that goes on is shown as it is now, with the reason that its task told; it ends with the outage."""
    web.tell_offset(FILTERED, Coverage(covered_from_ms=T0, covered_to_ms=T0 + 60_000).encode())
    assert [] == (await missing(web))["gaps"]
    running = TaskStatus(state=State.RUNNING, outages=(("", "connection_lost"),))
    web.statuses.publish(TASK, running)
    begin, secs, gap = lasting(await missing(web))

    assert datetime(2026, 11, 1, 12, 36, tzinfo=UTC) == begin
    assert 15 <= secs < 20  # it began when the last keep-alive came, `settle` before which all is covered
    assert {
        "reason": "connection_lost",
        "state": "open",
        "detail": "it goes on",
        "posts": 0,
        "cost_usd": 0.0,
    } == gap
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING))
    assert [] == (await missing(web))["gaps"]


async def test_coverage_of_a_task_that_is_silent(web, monkeypatch):
    """Nobody has told of an outage, but nothing moves: that is one, too, whoever should have told."""
    web.tell_offset(FILTERED, Coverage(covered_from_ms=T0, covered_to_ms=T0 + 60_000, gaps=(LOST,)).encode())
    offsets = web.herder._factory.changes.offsets
    began = offsets._clock()
    monkeypatch.setattr(offsets, "_clock", lambda: began + 59.0)
    assert [SHOWN_LOST] == (await missing(web))["gaps"]
    monkeypatch.setattr(offsets, "_clock", lambda: began + 75.0)
    outage = (await missing(web))["gaps"][-1]

    assert ("silent", "2026-11-01T12:36:00.000Z") == (outage["reason"], outage["from"])
    assert "2026-11-01T12:37:" == outage["to"][:17]


async def test_outage_begins_behind_the_last_gap(web):
    """What is a gap already is not shown twice."""
    gap = Gap(from_ms=T0 + 60_000, to_ms=T0 + 70_000, reason="connection_lost")
    web.tell_offset(FILTERED, Coverage(covered_from_ms=T0, covered_to_ms=T0 + 60_000, gaps=(gap,)).encode())
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, outages=(("", "service_unavailable"),)))
    shown = (await missing(web))["gaps"]

    assert [("connection_lost", None), ("service_unavailable", "it goes on")] == [
        (gap["reason"], gap["detail"]) for gap in shown
    ]
    assert shown[0]["to"] == shown[1]["from"]


@pytest.fixture
async def asking(web, monkeypatch):
    """A web interface with two gaps, and what is asked of the group."""
    web.asked = []

    async def send(request):
        web.asked.append(request)

    monkeypatch.setattr(web.herder._factory._requests, "send", send)
    web.tell_offset(FILTERED, COVERED.encode())
    return web


async def test_asks_for_another_try(asking):
    """One gap by its begin, as /coverage shows it: 202 once the group has been told."""
    before = int(time.time() * 1000)
    answer = await asking.post(
        "/coverage", json={"connector": "posts", "action": "retry", "from": "2026-11-01T12:35:00.000Z"}
    )

    assert (202, {"asked": 1}) == answer
    (request,) = asking.asked
    assert before <= request.at_ms <= time.time() * 1000
    assert (
        GapRequest(connector="posts", partition=None, from_ms=T0, action=Action.RETRY, at_ms=request.at_ms) == request
    )


async def test_accepts_all(asking):
    """All gaps in one go, but not an outage that goes on: it is no gap yet."""
    asking.statuses.publish(TASK, TaskStatus(state=State.RUNNING, outages=(("", "connection_lost"),)))
    answer = await asking.post("/coverage", json={"connector": "posts", "action": "accept", "from": "all"})

    assert (202, {"asked": 2}) == answer
    assert [(T0, "accept"), (T0 + 10_000, "accept")] == [(each.from_ms, each.action) for each in asking.asked]


async def test_asks_for_the_gap_of_its_partition(asking):
    """A request is for the source partition whose gap it is."""
    asking.tell_offset({"stream": "firehose", "partition": "3"}, Coverage(covered_to_ms=T0, gaps=(LOST,)).encode())
    await asking.post("/coverage", json={"connector": "posts", "action": "retry", "from": "2026-11-01T12:35:00.000Z"})

    assert {None, "3"} == {each.partition for each in asking.asked}


NO_REQUESTS = [
    (b"", 'the body must be JSON: {"connector": "posts", "action": "retry", "from": "all"}'),
    (b"\xff", 'the body must be JSON: {"connector": "posts", "action": "retry", "from": "all"}'),
    (b"[]", '"connector" must be posts'),
    (b"{}", '"connector" must be posts'),
    (b'{"connector": "other", "action": "retry", "from": "all"}', '"connector" must be posts'),
    (b'{"connector": ["posts"], "action": "retry", "from": "all"}', '"connector" must be posts'),
    (b'{"connector": "posts", "action": "repair", "from": "all"}', '"action" must be "retry" or "accept"'),
    (b'{"connector": "posts", "action": {}, "from": "all"}', '"action" must be "retry" or "accept"'),
    *[
        (
            b'{"connector": "posts", "action": "retry"%b}' % begin,
            '"from" must be "all", or the begin of a gap: 2026-11-01T12:35:00.000Z, 2026-11-01T12:35:10.000Z',
        )
        for begin in (b"", b', "from": 7', b', "from": "2026-11-01T12:35:00.001Z"', b', "from": ["all"]')
    ],
]


@pytest.mark.parametrize(("body", "message"), NO_REQUESTS)
async def test_what_is_no_request(asking, body, message):
    """A wrong request is a 400 with one sentence that names the cure, and nobody is asked anything."""
    answer = await asking.post("/coverage", data=body, headers={"Content-Type": "application/json; charset=none"})

    assert (400, {"error_code": 400, "message": message}) == answer
    assert [] == asking.asked


async def test_request_without_a_gap(asking):
    """There may be nothing to ask for."""
    asking.tell_offset(FILTERED, Coverage(covered_from_ms=T0, covered_to_ms=T0).encode())
    one = await asking.post("/coverage", json={"connector": "posts", "action": "retry", "from": "x"})
    every = await asking.post("/coverage", json={"connector": "posts", "action": "retry", "from": "all"})

    assert (400, {"error_code": 400, "message": "There is no gap"}) == one
    assert (202, {"asked": 0}) == every


async def test_request_without_kafka(asking, monkeypatch):
    """What the group could not be told is not said to be asked."""

    async def send(_):
        raise BrokerAway("KafkaConnectionError: no broker")

    monkeypatch.setattr(asking.herder._factory._requests, "send", send)
    answer = await asking.post("/coverage", json={"connector": "posts", "action": "retry", "from": "all"})

    message = "Kafka has not confirmed: KafkaConnectionError: no broker"
    assert (503, {"error_code": 503, "message": message}) == answer


# -- ready


async def test_ready(web):
    """Not ready before the worker is in its group; then ready, and told so with 200."""
    web.answered()
    assert (503, ["the worker has not joined its group yet"]) == await reasons(web)
    web.herder.joined = True

    assert (200, {"status": "ready", "reasons": []}) == (await web.get("/ready"))[::2]


async def reasons(web):
    status, _, body = await web.get("/ready")
    assert "not ready" == body["status"]
    return status, body["reasons"]


async def test_not_ready_without_kafka(web):
    """A Kafka that does not answer makes the worker unready, with how long that has been."""
    web.herder.joined = True
    web.answered(secs_ago=61.0)

    assert (503, ["Kafka has not answered for 61 s"]) == await reasons(web)


async def test_not_ready_while_rebalancing(web):
    """So does a rebalance."""
    web.answered()
    web.herder.joined = True
    web.app.rebalancing = True

    assert (503, ["the group is rebalancing"]) == await reasons(web)


async def test_not_ready_without_its_tasks(web):
    """A task that is assigned here and does not do its work is named."""
    web.answered()
    web.herder.joined = True
    web.herder.assigned = {0}

    assert (503, ["task posts-0: starting"]) == await reasons(web)


async def test_metrics(web):
    """The metrics are Prometheus' text format, by content type and by content."""
    status, headers, text = await web.get("/metrics")

    assert 200 == status
    assert headers["Content-Type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"connector_posts_delivered", "connector_buffer_bytes", "connector_task_state"} <= names
    assert {
        "connector_covered_to_timestamp_seconds",
        "connector_heard_timestamp_seconds",
    } <= names


# -- who may ask


def basic(login):
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


@pytest.mark.parametrize("path", [*ROUTES[1:], "/ready", "/nonsense"])
async def test_login_is_asked_for(guarded, path):
    """With users every route but /ping wants a login, and says how."""
    status, headers, body = await guarded.get(path)

    assert (401, {"error_code": 401, "message": "User cannot access the resource."}) == (status, body)
    assert 'Basic realm="connector"' == headers["WWW-Authenticate"]
    assert 401 != (await guarded.get(path, headers=basic(f"ada:{PASSWORD}")))[0]


async def test_ping_is_open(guarded):
    """A liveness probe needs no login."""
    assert 200 == (await guarded.get("/ping"))[0]


WRONG = [
    basic("ada:"),
    basic("ada"),
    basic("ada:wrong"),
    basic(f"bob:{PASSWORD}"),
    basic("bob:"),
    basic(":"),
    basic(f"ada:{PASSWORD} "),
    {"Authorization": "Basic"},
    {"Authorization": "Basic !!!"},
    {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    {"Authorization": f"Bearer {PASSWORD}"},
    {"Authorization": ""},
]


@pytest.mark.parametrize("headers", WRONG)
async def test_wrong_login(guarded, headers):
    """Anything but a user with the password is a 401, and never an error of ours."""
    assert 401 == (await guarded.get("/connectors", headers=headers))[0]


async def test_scheme_in_any_case(guarded):
    """`basic` is the same as `Basic`."""
    headers = {"Authorization": basic(f"ada:{PASSWORD}")["Authorization"].replace("Basic", "basic")}

    assert 200 == (await guarded.get("/connectors", headers=headers))[0]


# -- what is not said


async def test_error_of_ours_says_nothing(web, monkeypatch, caplog):
    """An unexpected error is a 500 without a word of our insides; the log has the stack."""
    monkeypatch.setattr(web.statuses, "of", lambda _: {}[BEARER])
    status, _, body = await web.get("/connectors/posts/status")

    assert (500, {"error_code": 500, "message": "HTTP 500 Internal Server Error"}) == (status, body)
    assert "A request for /connectors/posts/status failed" in caplog.text


async def test_no_secret_in_any_answer(guarded):
    """Neither the token nor the password is in an answer, not even to whoever logs in."""
    for path in [*ROUTES, "/ready", "/nonsense", "/connectors?expand=info&expand=status"]:
        for headers in ({}, basic(f"ada:{PASSWORD}")):
            async with guarded.client.get(path, headers=headers) as response:
                text = await response.text() + str(response.headers)
            assert BEARER not in text
            assert "synthetic" not in text
            assert PASSWORD not in text


async def test_worker_without_a_connector(tmp_path):
    """A worker that declares nothing shows an empty list."""
    async with serving(tmp_path, {"CONNECTOR_GROUP_ID": "other"}) as web:
        assert [] == await web.json("/connectors")
        assert {"connectors": []} == await web.json("/coverage")
        message = "This worker has no connector"
        assert (400, {"error_code": 400, "message": message}) == await web.post(
            "/coverage", json={"connector": "posts"}
        )
        assert 404 == (await web.get("/connectors/posts"))[0]
