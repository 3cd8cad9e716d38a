"""What requests to Connect's routes may hold, and what is said of those that are wrong."""

import io
import json
from urllib.parse import quote

import pytest

from connector.web.connect.bodies import DEPTH_MAX
from connector.web.guard import MAX_BODY_BYTES
from tests.connect.file_source import FILE_SOURCE, config_of
from tests.connect.serving import served

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def web():
    async with served() as web:
        yield web


async def create(web, **fields):
    """Status and body of the answer to a POST with these fields."""
    return await web("POST", "/connectors", {"name": "c", "config": config_of()} | fields)


async def test_scalars_become_strings(web):
    """Numbers keep their text, booleans are `true` and `false`, and null is an option that is not given."""
    body = (
        '{"name":"c","config":{"connector.class":"FileStreamSource","topic":"t","tasks.max":1,'
        '"a":1.50,"b":1e5,"c":123456789012345678901234567890,"d":true,"e":null,"f":-0}}'
    )
    status, info = await web("POST", "/connectors", data=body, headers=JSON)

    assert 201 == status
    assert {"a": "1.50", "b": "1e5", "c": "123456789012345678901234567890", "d": "true", "f": "-0"} == {
        name: text for name, text in info["config"].items() if len(name) == 1
    }
    assert "1" == info["config"]["tasks.max"]
    assert "e" not in info["config"]


async def test_name(web):
    """POST trims the name, and a configuration may have it as well."""
    assert "c" == (await create(web, name=" c\t", config=config_of(name="c")))[1]["name"]
    assert ["c"] == web.connectors.names()
    assert "c" == web.connectors.info("c")["config"]["name"]


@pytest.mark.parametrize("name", ["a{b}", "{name}", "}{", "a%2e", "a b", "%", "a?b#c", "*", "[^x]+", "\U0010ffff~"])
async def test_any_name_is_found_again(web, name):
    """Whatever a name is made of, its connector answers under it."""
    path = f"/connectors/{quote(name, safe='')}"
    assert 201 == (await create(web, name=name))[0]

    assert name == (await web("GET", path))[1]["name"]
    assert (200, name) == ((found := await web("PUT", f"{path}/config", config_of()))[0], found[1]["name"])
    assert 204 == (await web("DELETE", f"{path}/"))[0]


@pytest.mark.parametrize("state", ["paused", "PAUSED", "Paused", None, "stopped"])
async def test_initial_state(web, state):
    """In any case; null is not given."""
    await create(web, initial_state=state)

    assert (state or "RUNNING").upper() == web.connectors.status("c")["connector"]["state"]


async def test_initial_offsets(web):
    """A connector may begin where somebody says, in one request."""
    offsets = [{"partition": {"filename": "/data/input.txt"}, "offset": {"position": 7}}]
    status, _ = await create(web, initial_state="STOPPED", initial_offsets=offsets)

    assert 201 == status
    assert (200, {"offsets": offsets}) == await web("GET", "/connectors/c/offsets")


WRONG = [
    (b"{", "The body is not JSON: "),
    (b"\xff", "The body is not JSON: "),
    (b'{"name": NaN}', "The body is not JSON: "),
    (b'{"name": "\\ud800"}', "The body is not JSON: "),
    (b" ", "The body must be a JSON object, and the request has no body"),
    (b"null", "The body must be a JSON object, not null"),
    (b"[1]", "The body must be a JSON object, not a list"),
    (b'"x"', "The body must be a JSON object, not a string"),
    (b"7", "The body must be a JSON object, not a number"),
    (b"true", "The body must be a JSON object, not a boolean"),
    (b'{"name": "c"}', 'The field "config" is required'),
    (b'{"name": "c", "config": null}', 'The field "config" is required'),
    (b'{"name": "c", "config": []}', '"config" must be a JSON object, not a list'),
    (b'{"name": "c", "config": "x"}', '"config" must be a JSON object, not a string'),
    (b'{"name": {}, "config": {}}', 'The value of "name" in the body must be a string, number, boolean or null'),
    (b'{"name": "c", "config": {"x": []}}', 'The value of "x" in "config" must be a string, number, boolean or null'),
    (b'{"name": "c", "config": {}, "foo": 1}', 'Unrecognized field "foo" in the body'),
    (b'{"name": "c", "config": {}, "initial_state": 7}', "\"initial_state\" cannot be '7'"),
    (b'{"name": "c", "config": {}, "initial_state": []}', '"initial_state" cannot be a list'),
    (b'{"name": "c", "config": {}, "initial_offsets": {}}', '"initial_offsets" must be a list of objects'),
    (b'{"name": "c", "config": {}, "initial_offsets": [7]}', "initial_offsets[0] must be a JSON object, not a number"),
    (
        b'{"name": "c", "config": {}, "initial_offsets": [{"partition": null, "offset": {}}]}',
        "initial_offsets[0].partition must be a JSON object, not null",
    ),
    (
        b'{"name": "c", "config": {}, "initial_offsets": [{"partition": {}, "offset": null}]}',
        "initial_offsets[0].offset is required",
    ),
]


@pytest.mark.parametrize(("body", "begin"), WRONG)
async def test_wrong_bodies(web, body, begin):
    """A 400 whose message names the field; nothing is created."""
    status, answer = await web("POST", "/connectors", data=body, headers=JSON)

    assert (400, 400) == (status, answer["error_code"])
    assert answer["message"].startswith(begin)
    assert [] == web.connectors.names()


async def test_place_of_an_error(web):
    """What is not JSON is told with line and column."""
    _, answer = await web("POST", "/connectors", data=b'{"name":\n  bad}', headers=JSON)

    assert answer["message"].endswith(", at line 2, column 3")


async def test_depth(web):
    """Nesting has a bound of its own, and none of it is a crash."""
    for depth in (DEPTH_MAX + 1, 500, 5_000, MAX_BODY_BYTES // 2 - 100):
        nested = b'{"name":' + b"[" * depth + b"]" * depth + b"}"
        status, _ = await web("POST", "/connectors", data=io.BytesIO(nested), headers=JSON)
        assert (400, depth) == (status, depth)
    for depth in (DEPTH_MAX, 500):
        nested = b'{"offsets":' + b"[" * depth + b"]" * depth + b"}"
        _, answer = await web("PATCH", "/connectors/c/offsets", data=nested, headers=JSON)
        assert f"The JSON in the body is nested more than {DEPTH_MAX} levels deep" == answer["message"]
    offsets = {"offsets": [{"partition": {"filename": "f"}, "offset": {"position": 1, "deep": [[[[[1.5]]]]]}}]}
    await create(web, initial_state="STOPPED")
    assert 200 == (await web("PATCH", "/connectors/c/offsets", offsets))[0]
    assert offsets == (await web("GET", "/connectors/c/offsets"))[1]


async def test_length(web):
    """A configuration with all the rules that an account may have is taken, and what is longer than that is a 413."""
    for length, expected in ((900_000, 201), (MAX_BODY_BYTES, 413)):
        body = json.dumps({"name": "c", "config": config_of(rules="r" * length)}).encode()
        assert expected == (await web("POST", "/connectors", data=io.BytesIO(body), headers=JSON))[0]
    assert ["c"] == web.connectors.names()


async def test_put(web):
    """PUT does not trim the name, and drops what is null; the place of what is new is escaped for a URL."""
    config = config_of() | {"file": None, "name": "ä c "}
    async with web.client.put("/connectors/%C3%A4%20c%20/config", json=config) as response:
        info = await response.json()

        assert (201, "ä c ") == (response.status, info["name"])
        assert response.headers["Location"].endswith("/connectors/%C3%A4%20c%20")
    assert "file" not in info["config"]


async def test_patch(web):
    """PATCH sets, removes with null, and cannot rename."""
    await create(web)
    status, info = await web("PATCH", "/connectors/c/config", {"batch.size": 5, "file": None, "name": None})

    assert (200, "5", "c") == (status, info["config"]["batch.size"], info["config"]["name"])
    assert "file" not in info["config"]
    assert (400, "Connector name configuration (d) doesn't match connector name in the URL (c)") == tuple(
        refused(await web("PATCH", "/connectors/c/config", {"name": "d"}))
    )


def refused(answer):
    status, body = answer
    return status, body["message"]


WRONG_OFFSETS = [
    ({}, "Partitions / offsets need to be provided for an alter offsets request"),
    ({"offsets": []}, "Partitions / offsets need to be provided for an alter offsets request"),
    ({"offsets": None}, "Partitions / offsets need to be provided for an alter offsets request"),
    ([], "The body must be a JSON object, not a list"),
    ({"offsets": {}}, '"offsets" must be a list of objects with "partition" and "offset", not an object'),
    ({"offsets": [], "x": 1}, 'Unrecognized field "x" in the body: known is offsets'),
    ({"offsets": [{"offset": {}}]}, "offsets[0].partition must be a JSON object, not null"),
    ({"offsets": [{"partition": {}}]}, "offsets[0].offset is required, and null removes the offset"),
    ({"offsets": [{"partition": {}, "offset": 7}]}, "offsets[0].offset must be a JSON object, not a number"),
]


@pytest.mark.parametrize(("body", "message"), WRONG_OFFSETS)
async def test_wrong_offsets(web, body, message):
    """A 400 that names the place in the list."""
    await create(web, initial_state="STOPPED")

    assert (400, message) == refused(await web("PATCH", "/connectors/c/offsets", body))


BODILESS = [
    {},
    {"headers": JSON},  # kafka-connect-api sends it with every request
    {"data": b"null", "headers": JSON},
    {"data": b"{}", "headers": {"Content-Type": "application/json; charset=utf-8"}},
]


@pytest.mark.parametrize("kwargs", BODILESS)
async def test_without_a_body(web, kwargs):
    """What needs no body needs no content type, and may have one."""
    await create(web)
    statuses = [
        (await web(method, f"/connectors/c{path}", **kwargs))[0]
        for method, path in (
            ("PUT", "/pause"),
            ("PUT", "/resume"),
            ("POST", "/restart"),
            ("POST", "/tasks/0/restart"),
            ("PUT", "/topics/reset"),
            ("PUT", "/stop"),
            ("DELETE", "/offsets"),
            ("DELETE", ""),
        )
    ]

    assert [202, 202, 204, 204, 202, 204, 200, 204] == statuses


async def test_content_types(web):
    """A form is refused even without a body, and so is a body that does not say what it is."""
    await create(web)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    plain = {"skip_auto_headers": ("Content-Type",)}

    assert 415 == (await web("POST", "/connectors/c/restart", headers=form))[0]
    assert 415 == (await web("PUT", "/connectors/c/pause", data=b"null", **plain))[0]
    assert 415 == (await web("POST", "/connectors", data=json.dumps({}).encode(), **plain))[0]
    assert 400 == (await web("POST", "/connectors"))[0]


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},  # another port of this machine
    {"Sec-Fetch-Site": "nonsense"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_foreign_page_without_a_body(web, headers):
    """A page can send a POST without a body, and without asking first: it is refused by what the browser says of it."""
    await create(web)

    assert 403 == (await web("POST", "/connectors/c/restart", headers=headers))[0]
    assert 403 == (await web("DELETE", "/connectors/c", headers=headers))[0]
    assert ["c"] == web.connectors.names()
    for own in ("same-origin", "none"):
        assert 204 == (await web("POST", "/connectors/c/restart", headers={"Sec-Fetch-Site": own}))[0]


ACCEPTS = [
    (None, 200),
    ("", 200),
    ("*/*", 200),
    ("application/json", 200),
    ("Application/JSON;q=0.5", 200),
    ("application/*", 200),
    ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", 200),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200),
    ("application/xml", 406),
    ("text/html, text/plain", 406),
    ("application/vnd.kafka.v2+json", 406),
]


@pytest.mark.parametrize(("accept", "expected"), ACCEPTS)
async def test_accept(web, accept, expected):
    """Whoever takes no JSON is told so, with JSON."""
    headers = {} if accept is None else {"Accept": accept}

    assert expected == (await web("GET", "/connectors", headers=headers))[0]


TRUTHS = [
    ("", 204),
    ("?includeTasks=true", 202),
    ("?includeTasks=True&onlyFailed=False", 202),
    ("?onlyFailed=TRUE", 202),
]
TRUTHS += [("?includeTasks=banana", 204), ("?includeTasks=1", 204), ("?includeTasks", 204), ("?includetasks=true", 204)]


@pytest.mark.parametrize(("query", "expected"), TRUTHS)
async def test_truth(web, query, expected):
    """`true` in any case; everything else is false."""
    await create(web)

    assert expected == (await web("POST", f"/connectors/c/restart{query}"))[0]


async def test_class_by_any_name(web):
    """The class may be given by its full name, its simple name, and that without `Connector`."""
    for number, name in enumerate((FILE_SOURCE, "FileStreamSourceConnector", "FileStreamSource")):
        assert 201 == (await create(web, name=f"c{number}", config=config_of(connector_class=name)))[0]
