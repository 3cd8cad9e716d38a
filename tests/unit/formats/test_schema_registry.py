"""What a registry, or whatever answers in its place, says: which answers waiting cures, and which a person."""

import asyncio
import json
import ssl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.errors import RegistryAway, SchemaRefused
from connector.formats.schemas import confluent
from connector.formats.schemas.confluent import ConfluentRegistry
from connector.formats.schemas.registry import Registered, RegistrySettings
from connector.formats.schemas.writer import Schema
from tests.brokers import free_port
from tests.certificates import Authority

SCHEMA = Schema("AVRO", '{"type": "string"}', "string")
DEFAULTS = {
    "login": None,
    "token": None,
    "authorities": None,
    "certificate": None,
    "key": None,
    "key_password": None,
    "auto_register": True,
    "use_latest": False,
    "normalize": False,
    "compatibility": None,
}
WORD = "s3cret-word"


class Answering:
    """A server that gives one answer to all requests, and notes them."""

    def __init__(self, status=200, body=b'{"id": 7}', *, headers=None, wait=False):
        self.status, self.body, self.headers, self.wait = status, body, headers or {}, wait
        self.requests = []

    async def answer(self, request):
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        if self.wait:
            await asyncio.sleep(3600)
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def serve():
    servers = []

    async def start(answering, **more):
        app = web.Application()
        answer = answering.answer if isinstance(answering, Answering) else answering
        app.router.add_route("*", "/{path:.*}", answer)
        server = TestServer(app)
        servers.append(server)
        await server.start_server(**more)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


async def find(*urls, **changed):
    registry = ConfluentRegistry(RegistrySettings(urls=urls, **DEFAULTS | changed))
    try:
        async with asyncio.timeout(30):
            return await registry.find("posts-value", SCHEMA)
    finally:
        await registry.close()


async def test_registers(serve):
    """The schema is posted to its subject, and no compressed answer is asked for."""
    answering = Answering()
    found = await find(await serve(answering), normalize=True)

    ((method, path, headers),) = answering.requests
    assert Registered(7) == found
    assert ("POST", "/subjects/posts-value/versions?normalize=True") == (method, path)
    assert ("identity", None) == (headers["Accept-Encoding"], headers.get("Authorization"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"login": f"birds:{WORD}"}, "Basic YmlyZHM6czNjcmV0LXdvcmQ="),
        ({"token": WORD}, f"Bearer {WORD}"),
    ],
)
async def test_logins(serve, changed, expected):
    """A login or a token goes with each request, and is in no text."""
    answering = Answering(401, b'{"error_code": 40101, "message": "Unauthorized"}')
    url = await serve(answering)
    with pytest.raises(SchemaRefused) as refused:
        await find(url, **changed)

    assert expected == answering.requests[0][2]["Authorization"]
    assert WORD not in str(refused.value)
    assert WORD not in repr(RegistrySettings(urls=(url,), **DEFAULTS | changed))
    assert str(refused.value).endswith("answers 401: Unauthorized; check the login for the registry")


ERROR = b'{"error_code": %d, "message": "the registry\'s\\nown words"}'


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SchemaRefused),
        (401, SchemaRefused),
        (403, SchemaRefused),
        (404, SchemaRefused),
        (409, SchemaRefused),
        (422, SchemaRefused),
        (408, RegistryAway),
        (429, RegistryAway),
        (500, RegistryAway),
        (503, RegistryAway),
    ],
)
async def test_answers(serve, status, error):
    """The registry's words are in the message, in one line."""
    with pytest.raises(error, match="the registry's own words") as raised:
        await find(await serve(Answering(status, ERROR % (status * 100))))

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"id": "x"}',
        b'{"id": -1}',
        b'{"id": true}',
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_an_answer_that_is_none(serve, body):
    """What a proxy or a portal may answer with 200 is no id; the posts wait."""
    with pytest.raises(RegistryAway):
        await find(await serve(Answering(body=body)))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"7", b'{"message": 7}', b"x" * 1_000_000])
async def test_an_error_that_is_none(serve, body):
    """An error in another form is one all the same, in bounded words."""
    with pytest.raises((RegistryAway, SchemaRefused)) as raised:
        await find(await serve(Answering(409, body)))

    assert len(str(raised.value)) < 1_000


async def test_an_answer_without_end(serve, monkeypatch):
    """It is not read to its end."""
    monkeypatch.setattr(confluent, "ANSWER_BYTES_MAX", 10_000)
    with pytest.raises(RegistryAway, match="more than 10000 bytes"):
        await find(await serve(Answering(body=b'{"id": 7, "x": "' + b"x" * 100_000 + b'"}')))


async def test_a_compressed_answer(serve):
    """A small one may be large: it is not unpacked."""
    with pytest.raises(RegistryAway, match="compressed"):
        await find(await serve(Answering(headers={"Content-Encoding": "gzip"})))


async def test_silence_is_bounded(serve, monkeypatch):
    """A frozen registry accepts connections and answers nothing."""
    monkeypatch.setattr("connector.formats.schemas.registry.ANSWER_SECS", 0.2)
    with pytest.raises(RegistryAway, match="ReadTimeout"):
        await find(await serve(Answering(wait=True)))


async def test_drops_are_bounded(serve, monkeypatch):
    """One that sends a byte now and then is no better."""

    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.02)

    monkeypatch.setattr(confluent, "ANSWER_SECS", 0.1)
    with pytest.raises(RegistryAway, match="has not answered"):
        await find(await serve(drip))


async def test_the_next_url(serve):
    """If one does not answer the next one is asked."""
    answering = Answering()

    assert Registered(7) == await find(f"http://127.0.0.1:{free_port()}", await serve(answering))
    assert Registered(7) == await find(await serve(Answering(503)), await serve(answering))
    assert 2 == len(answering.requests)


async def test_nobody_there():
    """The address is named, so that somebody can look."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RegistryAway, match=f"The schema registry at {url} cannot be asked"):
        await find(url)


async def test_latest(serve):
    """The latest version comes with its text, as it may be another schema than ours."""
    latest = {"id": 9, "version": 2, "subject": "posts-value", "schema": '"string"'}

    assert Registered(9, '"string"') == await find(
        await serve(Answering(body=json.dumps(latest).encode())), use_latest=True, auto_register=False
    )


async def test_latest_of_another_type(serve):
    """A subject whose values are Protobuf takes no Avro."""
    latest = {"id": 9, "version": 2, "schemaType": "PROTOBUF", "schema": "x"}
    with pytest.raises(SchemaRefused, match="is of type PROTOBUF"):
        await find(await serve(Answering(body=json.dumps(latest).encode())), use_latest=True, auto_register=False)


async def test_only_looked_up(serve):
    """Without the right to register, a schema that is there is found."""
    answering = Answering()
    await find(await serve(answering), auto_register=False)

    assert ["/subjects/posts-value?normalize=False&deleted=False"] == [path for _, path, _ in answering.requests]


async def test_both_sides_show_certificates(serve, tmp_path):
    """A registry that wants a certificate gets ours, and is trusted by our authorities only."""
    authority = Authority("tests")
    authorities = authority.write(tmp_path, "ca")
    certificate, key = authority.sign("client").write(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server").write(tmp_path, "server"))
    context.load_verify_locations(authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    url = (await serve(Answering(), scheme="https", ssl=context)).replace("127.0.0.1", "localhost")

    ours = {"certificate": certificate, "key": key}
    assert Registered(7) == await find(url, authorities=authorities, **ours)
    with pytest.raises(RegistryAway, match="CERTIFICATE_VERIFY_FAILED"):
        await find(url, **ours)
    with pytest.raises(RegistryAway):
        await find(url, authorities=authorities)


async def test_a_certificate_that_is_gone(tmp_path):
    """It was there when the configuration was checked; somebody has to put it back."""
    gone = tmp_path / "gone.pem"
    with pytest.raises(SchemaRefused, match="The certificates for the schema registry cannot be used"):
        await find("https://127.0.0.1:1", certificate=gone)
