"""The check `registry` of `doctor`: what each URL says, what a worker makes of it, the cure, and no secret."""

import asyncio
import json
import ssl

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.cli.doctor import registry as checked
from connector.cli.doctor.case import Case
from connector.cli.doctor.finding import State
from connector.cli.places import places
from connector.config.load import examine
from connector.formats.schemas.form import writer_of
from connector.transforms.catalogue import CATALOGUE
from tests.brokers import free_port
from tests.certificates import Authority

WORD = "s3cret-word"
OURS = writer_of("avro").schema.text
GOOD = {
    "CONNECTOR_TOPIC": "posts",
    "CONNECTOR_HASHTAGS": "python",
    "CONNECTOR_X_BEARER_TOKEN": "AAAA",
    "CONNECTOR_VALUE_FORMAT": "avro",
}
OTHER = {"subject": "posts-value", "id": 9, "version": 2, "schema": '"string"'}
OWN = {"subject": "posts-value", "id": 7, "version": 3, "schema": OURS}
LATEST = ("GET", "/subjects/posts-value/versions/latest")
LOOKUP = ("POST", "/subjects/posts-value")
JUDGE = ("POST", "/compatibility/subjects/posts-value/versions")
JUDGE_ONE = ("POST", "/compatibility/subjects/posts-value/versions/latest")
LEVEL, GLOBAL_LEVEL = ("GET", "/config/posts-value"), ("GET", "/config")


def error(status, code, words="the registry's words"):
    return status, {"error_code": code, "message": words}


EMPTY = {LATEST: error(404, 40401), LEVEL: error(404, 40408), GLOBAL_LEVEL: (200, {"compatibilityLevel": "BACKWARD"})}
THEIRS = EMPTY | {LATEST: (200, OTHER), LOOKUP: error(404, 40403), JUDGE: (200, {"is_compatible": False})}


class Registry:
    """A registry with an answer for each request; it notes them, and refuses all that would change something."""

    def __init__(self, answers):
        self.answers, self.requests = answers, []

    async def answer(self, request):
        self.requests.append((request.method, request.path))
        status, body = self.answers.get((request.method, request.path), (404, "<html>no such page</html>"))
        if callable(body):
            body = body(request)
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


@pytest.fixture
async def serve():
    servers = []

    async def start(answers, **more):
        app = web.Application()
        registry = answers if isinstance(answers, Registry) else Registry(answers)
        app.router.add_route("*", "/{path:.*}", registry.answer)
        servers.append(TestServer(app))
        await servers[-1].start_server(**more)
        return str(servers[-1].make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


async def ask(folder, *urls, **changed):
    settings = {f"CONNECTOR_{name.upper()}": str(value) for name, value in changed.items()}
    environ = GOOD | {"CONNECTOR_SCHEMA_REGISTRY_URL": ",".join(urls)} | settings
    examined = examine(environ, folder, CATALOGUE)
    assert [] == list(examined.problems)
    async with asyncio.timeout(25):
        return await checked.registry(Case(examined, places(examined, []), may_spend=False))


async def one(folder, *urls, **changed):
    (found,) = await ask(folder, *urls, **changed)
    return found


async def test_json_needs_none(tmp_path):
    """A sentence says so, and nobody is asked."""
    found = await one(tmp_path, f"http://127.0.0.1:{free_port()}", value_format="json")

    assert (State.OK, True) == (found.state, "value.format is json" in found.message)


@pytest.mark.parametrize(
    ("answers", "changed", "state", "words", "cure"),
    [
        # nothing is there: a worker registers it, unless it may not
        (EMPTY, {}, State.OK, "no schema under posts-value yet", ""),
        (EMPTY, {"schema_compatibility": "FULL"}, State.OK, "sets the level FULL first, in place of BACKWARD", ""),
        (EMPTY, {"auto_register_schemas": "false"}, State.WRONG, "lets no worker register it", "auto.register.sch"),
        # somebody else's
        (THEIRS, {}, State.WRONG, "by the level BACKWARD it cannot follow", "value.subject.name.strategy"),
        (THEIRS | {LEVEL: (200, {"compatibilityLevel": "NONE"})}, {}, State.WRONG, "by the level BACKWARD it", "value"),
        (THEIRS, {"schema_compatibility": "NONE"}, State.UNKNOWN, "A worker sets the level NONE first", "Start a w"),
        (THEIRS | {JUDGE: (200, {"is_compatible": True})}, {}, State.OK, "as the next version of posts-value", ""),
        (THEIRS | {JUDGE: error(404, 404), JUDGE_ONE: (200, {"is_compatible": True})}, {}, State.OK, "next ver", ""),
        (THEIRS, {"auto_register_schemas": "false"}, State.WRONG, "does not have the schema of posts", "auto.regi"),
        # ours
        (THEIRS | {LATEST: (200, OWN), LOOKUP: (200, OWN)}, {}, State.OK, "with the id 7", ""),
        # who may register need not be allowed to read the level
        (EMPTY | {LEVEL: error(403, 40301), GLOBAL_LEVEL: error(403, 40301)}, {}, State.OK, "registers it.", ""),
        # a login
        (EMPTY | {LATEST: error(401, 40101)}, {}, State.WRONG, "answers 401: the registry's words", "Set schema.regi"),
        (
            EMPTY | {LATEST: error(401, 40101)},
            {"schema_registry_basic_auth_user_info": f"birds:{WORD}"},
            State.WRONG,
            "answers 401",
            "Check schema.registry.basic.auth.user.info of posts.",
        ),
        (
            EMPTY | {LATEST: error(401, 40101)},
            {"schema_registry_bearer_auth_token": WORD},
            State.WRONG,
            "answers 401",
            "Check schema.registry.bearer.auth.token of posts.",
        ),
        (EMPTY | {LATEST: error(403, 40301)}, {}, State.WRONG, "answers 403", "and to register schemas there"),
        # no registry, or none at this path
        ({}, {}, State.WRONG, "answers 404", "Check schema.registry.url"),
        ({LATEST: (200, "<html>Log in</html>")}, {}, State.WRONG, "none of a schema registry", "something else answ"),
        ({LATEST: error(503, 50301)}, {}, State.WRONG, "The posts of posts wait until it answers", "Start the regis"),
        ({LATEST: error(422, 42201)}, {}, State.WRONG, "answers 422", "Do what the registry's words say"),
    ],
)
async def test_what_a_registry_says(serve, tmp_path, answers, changed, state, words, cure):
    """Each is told with its cure, if one is needed, and the registry is not changed."""
    registry = Registry(answers)
    found = await one(tmp_path, await serve(registry), **changed)

    assert (state, True) == (found.state, words in found.message), found
    assert cure in found.cure
    assert bool(cure) == bool(found.cure)
    assert {request for request in registry.requests if request[0] != "GET"} <= {LOOKUP, JUDGE, JUDGE_ONE}


LATEST_ONLY = {"auto_register_schemas": "false", "use_latest_version": "true"}


@pytest.mark.parametrize(
    ("latest", "state", "words"),
    [
        ((200, OWN), State.OK, "with the id 7"),
        ((200, OTHER), State.WRONG, "No post of posts can be written by the latest version of posts-value"),
        ((200, OTHER | {"schemaType": "PROTOBUF"}), State.WRONG, "is of type PROTOBUF, and posts writes AVRO"),
        (error(404, 40401), State.WRONG, "has no schema under posts-value"),
    ],
)
async def test_the_latest_version(serve, tmp_path, latest, state, words):
    """With `use.latest.version` a post must fit what somebody has registered."""
    found = await one(tmp_path, await serve(THEIRS | {LATEST: latest}), **LATEST_ONLY)

    assert (state, True) == (found.state, words in found.message), found


async def test_one_of_two_is_away(serve, tmp_path):
    """A worker asks the other: a warning, which names the one that is away; if both are, nothing can be written."""
    gone, other = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    fine, warned = await ask(tmp_path, gone, await serve(EMPTY))
    both = await ask(tmp_path, gone, other)

    assert (State.OK, State.WARNING) == (fine.state, warned.state)
    assert f"registry at {gone} " in warned.message
    assert "Start the registry" in warned.cure
    assert [(State.WRONG, gone), (State.WRONG, other)] == [(each.state, each.facts["url"]) for each in both]


async def test_one_of_two_refuses(serve, tmp_path):
    """A worker asks the first that answers: what it refuses is wrong, what a later one would refuse is a warning."""
    strict, fine = await serve(EMPTY | {LATEST: error(401, 40101)}), await serve(EMPTY)
    found = await ask(tmp_path, strict, fine)
    later = await ask(tmp_path, fine, strict)

    assert [State.WRONG] == [each.state for each in found]
    assert [State.OK, State.WARNING] == [each.state for each in later]
    assert strict in later[1].message


async def test_no_secret_is_shown(serve, tmp_path):
    """Not even where something sends back what it was given, and not in what `repr` says."""
    echo = {LATEST: (401, lambda request: f"<p>{request.headers['Authorization']} birds:{WORD}</p>")}
    url = await serve(echo)
    by_login = await ask(tmp_path, url, schema_registry_basic_auth_user_info=f"birds:{WORD}")
    by_token = await ask(tmp_path, url, schema_registry_bearer_auth_token=WORD)

    for found in (by_login, by_token):
        assert "[hidden]" in found[0].message
        assert WORD not in repr(found)
        assert "YmlyZHM6czNjcmV0LXdvcmQ=" not in repr(found)


async def test_tls(serve, tmp_path):
    """An authority that is not known, a name that the certificate has not, a certificate that is asked for, no TLS."""
    authority = Authority("tests")
    authorities = authority.write(tmp_path, "ca")
    pair = authority.sign("server").write(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(*pair)
    strict.load_verify_locations(authorities)
    strict.verify_mode = ssl.CERT_REQUIRED
    url = (await serve(EMPTY, scheme="https", ssl=context)).replace("127.0.0.1", "localhost")
    asking = (await serve(EMPTY, scheme="https", ssl=strict)).replace("127.0.0.1", "localhost")
    plain = (await serve(EMPTY)).replace("http:", "https:")
    trusting = {"schema_registry_ssl_ca_location": authorities}

    assert State.OK == (await one(tmp_path, url, **trusting)).state
    assert "schema.registry.ssl.ca.location" in (await one(tmp_path, url)).cure
    assert "schema.registry.ssl.certificate.location" in (await one(tmp_path, asking, **trusting)).cure
    assert "It speaks no TLS there" in (await one(tmp_path, plain, **trusting)).cure
    assert "Write https:// in schema.registry.url" in (await one(tmp_path, url.replace("https:", "http:"))).cure


async def test_silence(serve, tmp_path, monkeypatch):
    """A frozen registry keeps the check for no longer than its bound."""
    monkeypatch.setattr("connector.formats.schemas.registry.ANSWER_SECS", 0.2)

    class Frozen(Registry):
        async def answer(self, request):
            await asyncio.sleep(3600)

    found = await one(tmp_path, await serve(Frozen({})))

    assert (State.WRONG, True) == (found.state, "See why the registry is slow" in found.cure)
