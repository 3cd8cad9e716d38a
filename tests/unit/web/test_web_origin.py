"""From whom a worker's web interface takes requests: by the names it is asked under, and by the pages that ask."""

import asyncio
import io
import json

import pytest
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import TestClient, TestServer

from connector.web.guard import MAX_BODY_BYTES, middlewares
from tests.unit.web.test_web import COVERED, ENVIRONMENT, FILTERED, PASSWORD, ROUTES, basic, serving

JSON = {"Content-Type": "application/json"}
RETRY = b'{"connector": "posts", "action": "retry", "from": "all"}'
PROXIED = ENVIRONMENT | {"CONNECTOR_WEB_HOSTS": "birds.example.com"}
GUARDED = ENVIRONMENT | {"CONNECTOR_WEB_USERS": f"ada:{PASSWORD}"}


@pytest.fixture(params=[ENVIRONMENT], ids=["open"])
async def asking(request, tmp_path, monkeypatch):
    """A web interface with two gaps, and what is asked of the group."""
    async with serving(tmp_path, request.param) as web:
        web.asked = []

        async def send(each):
            web.asked.append(each)

        monkeypatch.setattr(web.herder._factory._requests, "send", send)
        web.tell_offset(FILTERED, COVERED.encode())
        yield web


async def write(web, headers, body=RETRY):
    """The status of a write that carries these headers."""
    async with web.client.post("/coverage", data=body, headers=JSON | headers) as response:
        answer = await response.json()
        assert answer.get("error_code", response.status) == response.status
        return response.status


async def raw(web, request):
    """The status of an answer to bytes that no client library sends."""
    reader, writer = await asyncio.open_connection(web.client.host, web.client.port)
    writer.write(request)
    status = int((await asyncio.wait_for(reader.readline(), 30)).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


# -- the host that is asked

OWN_HOSTS = [
    "localhost",
    "localhost:8083",
    "LocalHost:8083",
    "localhost.:8083",
    "127.0.0.1",
    "127.0.0.1:9",
    "127.8.9.1",
    "[::1]",
    "[::1]:8083",
    "[0:0:0:0:0:0:0:1]:8083",
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8083",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "birds.example.com.evil.example",
    "xbirds.example.com",
    # what some resolvers and browsers take for this machine
    "0.0.0.0:8083",
    "[::]:8083",
    "10.0.0.1",
    "[fe80::1]:8083",
]
NO_HOSTS = ["", " ", ":8083", "a b", "localhost:", "localhost:x", "ada@localhost", "localhost, a", "[::1", "::1"]


async def test_own_host(asking):
    """By any name of the loopback, with whatever port a tunnel has, it answers."""
    for host in OWN_HOSTS:
        assert (200, host) == ((await asking.get("/coverage", headers={"Host": host}))[0], host)
        assert (202, host) == (await write(asking, {"Host": host}), host)


@pytest.mark.parametrize("path", [*ROUTES, "/ready", "/", "/nonsense"])
async def test_foreign_host(asking, path):
    """A name that a foreign page has made to lead here is refused on every route, and the answer says nothing else."""
    for host in FOREIGN_HOSTS:
        status, _, body = await asking.get(path, headers={"Host": host, "X-Forwarded-Host": "localhost"})
        assert (403, host) == (status, host)
        assert {"error_code", "message"} == set(body)
        assert "CONNECTOR_WEB_HOSTS" in body["message"]


async def test_foreign_host_cannot_write(asking):
    """Nor does a write help, from the page of that very name."""
    assert 403 == await write(asking, {"Host": "evil.example", "Origin": "http://evil.example"})
    assert [] == asking.asked


async def test_no_host(asking):
    """What is no host name is a 400."""
    for host in NO_HOSTS:
        request = f"GET /coverage HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert (400, host) == (await raw(asking, request), host)


async def test_missing_and_several_hosts(asking):
    """One `Host` header, neither none nor two: which of them a browser meant is not to be guessed."""
    assert 400 == await raw(asking, b"GET /coverage HTTP/1.1\r\n\r\n")
    assert 400 == await raw(asking, b"GET /coverage HTTP/1.0\r\n\r\n")
    for hosts in ("Host: localhost\r\nHost: evil.example", "Host: evil.example\r\nHost: localhost"):
        assert 400 == await raw(asking, f"GET /coverage HTTP/1.1\r\n{hosts}\r\n\r\n".encode())


@pytest.mark.parametrize("asking", [PROXIED], indirect=True)
async def test_configured_host(asking):
    """Behind a reverse proxy the names are answered that are configured, in any case with any port, and no others."""
    for host in ("birds.example.com", "BIRDS.example.com:443", "birds.example.com.", "localhost"):
        assert 200 == (await asking.get("/coverage", headers={"Host": host}))[0]
    assert 202 == await write(asking, {"Host": "birds.example.com", "Origin": "https://birds.example.com"})
    for host in FOREIGN_HOSTS:
        assert 403 == (await asking.get("/coverage", headers={"Host": host}))[0]


@pytest.mark.parametrize("asking", [GUARDED], indirect=True)
async def test_any_host_with_a_login(asking):
    """Where a login is asked for the name does not matter: a foreign page does not know the password."""
    assert 200 == (await asking.get("/coverage", headers=basic(f"ada:{PASSWORD}") | {"Host": "worker-1"}))[0]
    assert 401 == (await asking.get("/coverage", headers={"Host": "worker-1"}))[0]


# -- the page that asks

OWN_PAGES = [
    {},  # curl and programs
    {"Origin": "http://localhost:8083", "Host": "localhost:8083"},
    {"Origin": "http://LOCALHOST:8083", "Host": "localhost:8083"},
    {"Origin": "http://[::1]:8083", "Host": "[::1]:8083"},
    {"Origin": "http://localhost", "Host": "localhost"},
    {"Origin": "http://localhost", "Host": "localhost:80"},
    {"Origin": "https://localhost", "Host": "localhost:443"},
    {"Origin": "https://localhost:443", "Host": "localhost"},
]
FOREIGN_PAGES = [
    "http://evil.example",
    "https://evil.example:8083",
    "null",
    "",
    "http://localhost:3000",  # another program of this machine
    "http://localhost",
    "http://127.0.0.1:8083",
    "http://localhost.evil.example:8083",
    "http://localhost:8083.evil.example",
    "http://localhost:8083@evil.example",
    "http://evil.example:8083#localhost:8083",
    "localhost:8083",
    "file://",
    "file://localhost:8083",
    "chrome-extension://localhost:8083",
    "http://localhost:8083, http://localhost:8083",
    "http://[::1",
    "http://localhost:99999",
]


async def test_own_page(asking):
    """A program, or a page that this very host and port has served, may write."""
    for headers in OWN_PAGES:
        assert (202, headers) == (await write(asking, headers), headers)


async def test_foreign_page(asking):
    """Any other page may not, whatever it claims, and nobody is asked anything."""
    for origin in FOREIGN_PAGES:
        headers = {"Host": "localhost:8083", "Origin": origin, "X-Forwarded-Host": "evil.example"}
        assert (403, origin) == (await write(asking, headers), origin)
    assert [] == asking.asked


@pytest.mark.parametrize("asking", [GUARDED], indirect=True)
async def test_foreign_page_with_a_login(asking):
    """Nor with the login that the operator's browser adds by itself."""
    login = basic(f"ada:{PASSWORD}") | {"Host": "worker-1:8083"}

    assert 403 == await write(asking, login | {"Origin": "http://evil.example"})
    assert 202 == await write(asking, login | {"Origin": "http://worker-1:8083"})


async def test_several_origins(asking):
    """Two `Origin` headers are none that can be trusted."""
    request = b"POST /coverage HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n"

    assert 403 == await raw(
        asking, request + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(RETRY) + RETRY
    )


# -- what it sends

NO_JSON = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain; application/json",
    "application/jsonp",
    "application/json-patch+json",
    "text/json",
]


async def test_what_a_form_can_send(asking):
    """A page's form can send some of these without asking first: 415."""
    for content_type in NO_JSON:
        assert (415, content_type) == (await write(asking, {"Content-Type": content_type}), content_type)
    assert [] == asking.asked


async def test_body_that_does_not_say_what_it_is(asking):
    """A body without a content type is refused likewise."""
    request = b"POST /coverage HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(RETRY)

    assert 415 == await raw(asking, request + RETRY)


async def test_json(asking):
    """The content type in any case, with parameters."""
    for content_type in ("application/json", "Application/JSON", "application/json;charset=utf-8"):
        assert 202 == await write(asking, {"Content-Type": content_type})


async def test_body_is_bounded(asking):
    """A longer body than any that makes sense is a 413, with its length told before or in chunks without an end."""

    async def chunks():
        for _ in range(MAX_BODY_BYTES // 1024 + 2):
            yield b" " * 1024

    assert 413 == await write(asking, {}, io.BytesIO(b" " * (MAX_BODY_BYTES + 1)))
    assert 413 == await write(asking, {}, chunks())
    assert [] == asking.asked


async def test_deep_body(asking):
    """Nesting is no way to hurt: 400."""
    half = MAX_BODY_BYTES // 2 - 1
    for body in (b"[" * half + b"]" * half, b'{"a":' * 9_000 + b"1" + b"}" * 9_000):
        assert 400 == await write(asking, {}, body)


# -- every route, those to come too


@pytest.fixture
async def some_routes():
    """A web application with our guards and a route of everybody else's."""
    calls = []

    async def handler(request):
        calls.append(request.method)
        return aiohttp_web.json_response({"sent": json.loads(await request.read() or b"null")})

    app = aiohttp_web.Application(middlewares=middlewares({}), client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/anything/{name}", handler)
    async with TestClient(TestServer(app)) as client:
        yield client, calls


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
async def test_every_route_is_guarded(some_routes, method):
    """No view has to think of it: every method that may change something is guarded on every route."""
    client, calls = some_routes
    statuses = []
    for headers in ({"Origin": "http://evil.example"}, {"Content-Type": "text/plain"}, {"Host": "evil.example"}, {}):
        async with client.request(method, "/anything/at-all", data=b"{}", headers=JSON | headers) as response:
            statuses.append(response.status)

    assert [403, 415, 403, 200] == statuses
    assert [method] == calls


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_reading_needs_no_content_type(some_routes, method):
    """Reading has no body; a link from another page may be followed, as that page does not see the answer."""
    client, _ = some_routes
    async with client.request(method, "/anything/at-all", headers={"Origin": "http://evil.example"}) as response:
        assert 200 == response.status
        assert not {name for name in response.headers if name.lower().startswith("access-control")}
