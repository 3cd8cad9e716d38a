import asyncio
import base64
import json

import pytest
from aiohttp import web

from connector.kafka.login import oauth
from connector.kafka.login.oauth import ANSWER_BYTES_MAX, ClientCredentials
from connector.kafka.login.refusals import TokenRefused
from tests.brokers import free_port

WORD = "Sesame-Open-47"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Endpoint:
    """A token endpoint that answers what a test wants."""

    def __init__(self):
        self.asked, self.answer, self.url = [], None, ""
        self.clock = Clock()

    def provider(self, **options):
        return ClientCredentials(self.url, "wren", WORD, **{"extensions": {}, "clock": self.clock, **options})

    async def reply(self, request):
        form = dict(await request.post())
        self.asked.append((request.headers["Authorization"], form))
        if callable(self.answer):
            return await self.answer(request)
        return web.Response(**self.answer)


def answered(status=200, **fields):
    return {"status": status, "text": json.dumps(fields), "content_type": "application/json"}


def granted(token, life=100):
    return answered(access_token=token, expires_in=life)


@pytest.fixture
async def endpoint():
    at = Endpoint()
    app = web.Application()
    app.router.add_post("/token", at.reply)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    at.url = f"http://127.0.0.1:{port}/token"
    yield at
    await runner.cleanup()


async def test_token_is_asked_for_as_oauth_has_it(endpoint):
    """The client's id and secret go into the head, the scope into the form."""
    endpoint.answer = granted("t1")

    assert "t1" == await endpoint.provider(scope="kafka").token()
    head = "Basic " + base64.b64encode(f"wren:{WORD}".encode()).decode()
    assert [(head, {"grant_type": "client_credentials", "scope": "kafka"})] == endpoint.asked


async def test_token_is_kept_and_replaced_before_it_ends(endpoint):
    """All logins share one token; it is replaced after four fifths of its life."""
    provider = endpoint.provider()
    endpoint.answer = granted("t1")
    assert ["t1"] * 5 == await asyncio.gather(*(provider.token() for _ in range(5)))
    endpoint.clock.now += 79
    assert "t1" == await provider.token()
    endpoint.answer = granted("t2")
    endpoint.clock.now += 1

    assert "t2" == await provider.token()
    assert 2 == len(endpoint.asked)


async def test_endpoint_that_fails_while_the_token_is_good(endpoint):
    """A token that cannot be replaced is used to its end, and the endpoint is not asked with each login."""
    provider = endpoint.provider()
    endpoint.answer = granted("t1")
    await provider.token()
    endpoint.answer = answered(status=503)
    endpoint.clock.now += 85
    assert ["t1", "t1"] == [await provider.token(), await provider.token()]
    assert 2 == len(endpoint.asked)
    endpoint.clock.now += 15

    with pytest.raises(TokenRefused):
        await provider.token()


WRONG = [
    (
        answered(status=401, error="invalid_client"),
        (
            "refuses the client wren (invalid_client): check CONNECTOR_KAFKA_OAUTH_CLIENT_ID and"
            " CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET."
        ),
    ),
    (
        {"status": 401, "text": "<html>"},
        "refuses the client wren: check CONNECTOR_KAFKA_OAUTH_CLIENT_ID and CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET.",
    ),
    (answered(status=400, error="invalid_scope"), "refuses the scope: check CONNECTOR_KAFKA_OAUTH_SCOPE."),
    (answered(status=404), "answers with status 404: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL."),
    (answered(status=400, error=f"no {WORD}"), "answers with status 400: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL."),
    (
        {"status": 302, "headers": {"Location": "http://127.0.0.1/"}},
        "answers with status 302: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL.",
    ),
    (answered(other="t"), "answers without an access_token: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL."),
    (granted("a\x01b"), "answers without an access_token: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL."),
    ({"text": "[" * 50_000}, "answers without an access_token: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL."),
    (
        {"body": b" " * (ANSWER_BYTES_MAX + 1)},
        f"answers with more than {ANSWER_BYTES_MAX} bytes: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL.",
    ),
]


@pytest.mark.parametrize(("answer", "rest"), WRONG, ids=[rest[:50] for _, rest in WRONG])
async def test_wrong_answer(endpoint, answer, rest):
    """What the endpoint answers instead of a token is a sentence, with the setting and without the secret."""
    endpoint.answer = answer
    with pytest.raises(TokenRefused) as caught:
        await endpoint.provider().token()

    assert f"The token endpoint {endpoint.url} {rest}" == str(caught.value)


async def test_answer_that_never_ends(endpoint, monkeypatch):
    """An answer has a bound in time, however it trickles."""
    monkeypatch.setattr(oauth, "TIMEOUT_SECS", 1.0)
    given_up = asyncio.Event()

    async def trickle(request):
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            while request.transport is not None:
                await response.write(b" ")
                await asyncio.sleep(0.01)
        finally:
            given_up.set()
        return response

    endpoint.answer = trickle
    with pytest.raises(TokenRefused, match="has not answered within 1 s: check CONNECTOR_KAFKA_OAUTH_TOKEN_URL"):
        await endpoint.provider().token()
    await asyncio.wait_for(given_up.wait(), 30)


async def test_nobody_there():
    """An endpoint that is not there is a sentence."""
    url = f"http://127.0.0.1:{free_port()}/token?key={WORD}"
    with pytest.raises(TokenRefused) as caught:
        await ClientCredentials(url, "wren", WORD, extensions={}).token()

    assert (
        f"The token endpoint {url.partition('?')[0]} cannot be reached (connection refused): check"
        " CONNECTOR_KAFKA_OAUTH_TOKEN_URL."
    ) == str(caught.value)


@pytest.mark.parametrize("life", [None, 0, -5, "soon", "NaN", [3]])
async def test_life_that_makes_no_sense(endpoint, life):
    """A token whose life is not told is used for a minute."""
    endpoint.answer = granted("t1", life)
    provider = endpoint.provider()
    await provider.token()
    endpoint.clock.now += 40
    await provider.token()
    assert 1 == len(endpoint.asked)
    endpoint.clock.now += 20
    await provider.token()

    assert 2 == len(endpoint.asked)


async def test_caller_that_gives_up(endpoint):
    """A login that is cut short does not end the asking of the others."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_):
        asked.set()
        await go.wait()
        return web.Response(**granted("t1"))

    endpoint.answer = slow
    provider = endpoint.provider()
    first, second = asyncio.create_task(provider.token()), asyncio.create_task(provider.token())
    await asyncio.wait_for(asked.wait(), 30)
    first.cancel()
    go.set()

    assert "t1" == await asyncio.wait_for(second, 30)
    assert 1 == len(endpoint.asked)
