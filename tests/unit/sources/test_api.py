import contextlib
import json
import time
from email.utils import formatdate

import pytest
import requests

from connector import __version__
from connector.errors import (
    ConfigError,
    ConnectionLost,
    ConnectionTaken,
    InvalidRequest,
    NotAuthorized,
    NotFound,
    OutOfCredit,
    RateLimited,
    RulesMissing,
    ServiceUnavailable,
    TokenRejected,
)
from connector.sources.rest.api import Api, ahead_of, classify, network_error, parse_problem
from connector.sources.rest.credentials import BearerToken, KeyPair

from .scripted import CUT, RESET, ScriptedServer, answer, silence, stream

TOKEN = "AAAAAAAAAAAAAAAAAAAAASYNTHETIC%2FAAAA0000%3DAAAA0000"  # noqa: S105 - synthetic
X = "https://api.x.com/2/problems/"
TWITTER = "https://api.twitter.com/2/problems/"


def problem(title, kind="about:blank", **more):
    return json.dumps({"title": title, "detail": f"{title} in detail", "type": kind, **more}).encode()


# What X answers, and what it is.  The bodies are those of the reference, shortened.
ANSWERS = [
    (401, problem("Unauthorized"), TokenRejected),
    (401, b'{"errors":[{"message":"Invalid or expired token","code":89}]}', TokenRejected),
    (401, b"", TokenRejected),
    (402, problem("CreditsDepleted", TWITTER + "credits"), OutOfCredit),
    (402, b"", OutOfCredit),
    (403, problem("SpendCapReached", TWITTER + "credits", reset_date="2026-04-14"), OutOfCredit),
    (403, problem("SpendCapReached", X + "credits"), OutOfCredit),
    (403, problem("Client Forbidden", TWITTER + "client-forbidden", reason="client-not-enrolled"), NotAuthorized),
    (403, problem("Forbidden"), NotAuthorized),
    (403, problem("Unsupported Authentication", X + "unsupported-authentication"), NotAuthorized),
    (403, b"<html>Please use V2</html>", NotAuthorized),
    (404, b"", NotFound),
    (
        409,
        problem("ConnectionException", X + "streaming-connection", connection_issue="RuleConfigurationIssue"),
        RulesMissing,
    ),
    (409, problem("Conflict", X + "conflict"), InvalidRequest),
    (
        429,
        problem("ConnectionException", TWITTER + "streaming-connection", connection_issue="TooManyConnections"),
        ConnectionTaken,
    ),
    (429, problem("UsageCapExceeded", TWITTER + "usage-capped", period="Monthly"), OutOfCredit),
    (429, problem("UsageCapExceeded", X + "usage-capped"), OutOfCredit),
    (429, problem("Too Many Requests"), RateLimited),
    (429, b'{"errors":[{"code":88,"message":"Rate limit exceeded"}]}', RateLimited),
    (429, b"", RateLimited),
    (420, b"", RateLimited),
    (400, problem("Invalid Request", X + "invalid-request", errors=[{"message": "The `a`"}]), InvalidRequest),
    (400, b"{broken", InvalidRequest),
    (422, problem("RulesCapExceeded", X + "rule-cap"), InvalidRequest),
    (418, b"[]", InvalidRequest),
    (408, b"", ServiceUnavailable),
    (500, problem("Internal Server Error"), ServiceUnavailable),
    (502, b"<html>Bad gateway</html>", ServiceUnavailable),
    (503, problem("Service Unavailable"), ServiceUnavailable),
    (
        503,
        problem("ConnectionException", X + "streaming-connection", connection_issue="ProvisioningSubscription"),
        ServiceUnavailable,
    ),
    (504, b"", ServiceUnavailable),
    (520, b"", ServiceUnavailable),
    (302, b"", ServiceUnavailable),
    (304, b"", ServiceUnavailable),
]


def ids(row):
    return f"{row[0]} {row[1][:30]}"


def call(step, **options):
    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN), **options) as api:
        return api.get("/2/things")


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS, ids=[ids(row) for row in ANSWERS])
def test_an_answer_has_one_meaning(status, body, kind):
    """The table, over HTTP: class, status and X's own words; never the token."""
    with pytest.raises(kind) as caught:
        call(answer(status, body))

    error = caught.value
    assert kind is type(error)
    assert status == error.status
    if b'"detail"' in body:
        assert error.title == json.loads(body)["title"]
        assert error.detail == json.loads(body)["detail"]
        assert error.detail in str(error)
    assert TOKEN not in str(error)
    assert ": " in str(error)


def test_xs_sentences_about_a_bad_request_are_in_the_message():
    """They name the parameter."""
    sentence = "The `tweet.fields` query parameter value [bogus] is not one of [attachments,author_id]"
    body = problem("Invalid Request", X + "invalid-request", errors=[{"parameters": {}, "message": sentence}])

    with pytest.raises(InvalidRequest) as caught:
        call(answer(400, body))

    assert sentence in str(caught.value)


def test_a_key_pair_that_x_does_not_know_names_the_settings():
    """Code 99 of /oauth2/token."""
    body = {"errors": [{"code": 99, "label": "authenticity_token_error", "message": "Unable to verify"}]}
    with (
        ScriptedServer([answer(403, body)]) as server,
        Api(server.url, KeyPair("k", "s")) as api,
        pytest.raises(NotAuthorized, match=r"x\.consumer\.key.*CONNECTOR_X_CONSUMER_KEY"),
    ):
        api.token()


@pytest.mark.parametrize(
    ("value", "reset_at"), [("1613881982", 1613881982.0), (None, None), ("soon", None), ("-1", None), ("", None)]
)
def test_a_rate_limit_says_when_it_ends(value, reset_at):
    """From the header, if there is one that can be read."""
    headers = {} if value is None else {"X-Rate-Limit-Reset": value}

    with pytest.raises(RateLimited) as caught:
        call(answer(429, problem("Too Many Requests"), headers))

    assert reset_at == caught.value.reset_at


def test_a_long_list_of_values_is_shortened():
    """A message stays a line."""
    error = classify(400, {}, problem("Invalid Request", errors=[{"message": "x" * 10_000}]))

    assert len(str(error)) < 700


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b'{"errors":1}',
        b'{"errors":[1,null]}',
        b'{"title":{}}',
        b"[" * 100_000,
    ],
)
def test_any_body_can_be_read(body):
    """A body never makes things worse."""
    assert "" == parse_problem(body).words


def test_nested_errors_are_found():
    """A rule that does not exist is reported as an error inside an error."""
    body = {"errors": [{"errors": [{"parameters": {}, "message": "Rule does not exist"}], "title": "Invalid Request"}]}

    assert ("Rule does not exist",) == parse_problem(body).messages


def test_a_token_that_a_page_repeats_stays_hidden():
    """Some proxies print the request into their error page."""
    with pytest.raises(NotAuthorized) as caught:
        call(answer(403, problem("Forbidden", errors=[{"message": f"Bearer {TOKEN} refused"}])))

    assert "Bearer [token] refused" in str(caught.value)


def test_a_request_shows_who_asks():
    """Bearer token, exactly as it was given, and the product's own name."""
    with ScriptedServer([answer(200, {"data": []})]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        assert {"data": []} == api.get("/2/things", {"a": "b,c"})
        assert {"data": []} == api.post("/2/things", {"add": []})
        assert {"data": []} == api.delete("/2/things", {"uuids": ["1"]})

    get, post, delete = server.requests
    assert f"Bearer {TOKEN}" == get.headers["authorization"]
    assert f"murmuration-connector/{__version__}" == get.headers["user-agent"]
    assert ("GET", "/2/things?a=b%2Cc") == (get.method, get.path)
    assert ("POST", {"add": []}) == (post.method, post.json)
    assert ("DELETE", {"uuids": ["1"]}) == (delete.method, delete.json)


def test_a_netrc_file_does_not_replace_the_token(tmp_path, monkeypatch):
    """requests would look there for the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer([answer(200, {})]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        api.get("/2/things")

    assert f"Bearer {TOKEN}" == server.requests[0].headers["authorization"]


def test_a_redirect_is_not_followed():
    """Another host must not get the token."""
    with ScriptedServer([answer(200, {})]) as other, pytest.raises(ServiceUnavailable, match="redirect"):
        call(answer(307, b"", {"Location": other.url}))

    assert [] == other.requests


@pytest.mark.parametrize("body", [b"<html></html>", b"[1]", b"{"])
def test_a_success_that_is_no_json_is_none(body):
    """A captive portal answers 200 to everything."""
    with pytest.raises(ServiceUnavailable, match="no JSON"):
        call(answer(200, body))


def test_an_empty_success_is_an_empty_object():
    """As for a DELETE."""
    assert {} == call(answer(204))


@pytest.mark.parametrize("end", [CUT, RESET])
def test_a_broken_answer_is_a_lost_connection(end):
    """Whatever breaks it."""
    with pytest.raises(ConnectionLost):
        call(stream(b'{"data":', end))


def test_nobody_there_is_a_lost_connection():
    """In a sentence without the classes of the libraries."""
    with ScriptedServer([silence()]) as server:
        pass
    with Api(server.url, BearerToken(TOKEN)) as api, pytest.raises(ConnectionLost, match="refused") as caught:
        api.get("/2/things")

    assert "object at" not in str(caught.value)
    assert "Pool" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "nonsense", "http://[::1"])
def test_an_address_that_can_not_be_asked_is_fatal(url):
    """Waiting does not cure it."""
    with Api(url, BearerToken(TOKEN)) as api, pytest.raises(InvalidRequest, match=r"x\.api\.url"):
        api.get("/2/things")


def test_an_error_about_a_header_does_not_quote_it():
    """requests quotes the whole header, token included."""
    error = network_error(requests.exceptions.InvalidHeader(f"Invalid value: 'Bearer {TOKEN}\n'"))

    assert TOKEN not in str(error)


def test_a_token_with_a_line_end_is_cleaned_and_others_are_refused():
    """Files end in a line end; anything else that no header can hold is a mistake."""
    assert "abc" == BearerToken(" abc\n").token(lambda _: "")
    for token in ("", "a b", "a\nb", "caf\u00e9"):
        with pytest.raises(ConfigError, match=r"x\.bearer\.token"):
            BearerToken(token)


class Clock:
    """Counts exchanges."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def exchanged(token):
    return answer(200, {"token_type": "bearer", "access_token": token})


def test_a_key_pair_is_exchanged_once():
    """Both parts url-encoded, the token used as X wrote it."""
    fetched = Clock()
    with (
        ScriptedServer([exchanged(TOKEN), answer(200, {})]) as server,
        Api(server.url, KeyPair("ke:y", "s/t"), token_fetched=fetched) as api,
    ):
        api.get("/2/things")
        api.get("/2/things")

    exchange, call_, _ = server.requests
    assert ("POST", "/oauth2/token", b"grant_type=client_credentials") == (
        exchange.method,
        exchange.path,
        exchange.body,
    )
    assert "Basic a2UlM0F5OnMlMkZ0" == exchange.headers["authorization"]
    assert f"Bearer {TOKEN}" == call_.headers["authorization"]
    assert 1 == fetched.count


def test_a_refused_token_is_fetched_again_once():
    """The call succeeds with the new one."""
    script = [exchanged("old"), answer(401), exchanged("new"), answer(200, {"data": 1})]
    with ScriptedServer(script) as server, Api(server.url, KeyPair("k", "s")) as api:
        assert {"data": 1} == api.get("/2/things")

    assert "Bearer new" == server.requests[-1].headers["authorization"]


def test_a_second_refusal_is_final():
    """No loop between two endpoints that disagree."""
    script = [exchanged("old"), answer(401), exchanged("new"), answer(401)]
    with (
        ScriptedServer(script) as server,
        Api(server.url, KeyPair("k", "s")) as api,
        pytest.raises(TokenRejected),
    ):
        api.get("/2/things")

    assert 4 == len(server.requests)


def test_the_same_token_again_is_a_final_refusal():
    """X returns the same token until it is invalidated, so trying it once more is no use."""
    script = [exchanged("old"), answer(401), exchanged("old"), answer(200, {})]
    with (
        ScriptedServer(script) as server,
        Api(server.url, KeyPair("k", "s")) as api,
        pytest.raises(TokenRejected),
    ):
        api.get("/2/things")

    assert 3 == len(server.requests)


def test_a_bearer_token_is_not_tried_again():
    """Only the operator has another one."""
    with (
        ScriptedServer([answer(401)]) as server,
        Api(server.url, BearerToken(TOKEN)) as api,
        pytest.raises(TokenRejected, match=r"x\.bearer\.token"),
    ):
        api.get("/2/things")

    assert 1 == len(server.requests)


def test_another_thread_s_new_token_is_used():
    """Two tasks that are refused together exchange once."""
    pair = KeyPair("k", "s")
    tokens = iter(["one", "two", "three"])
    pair.token(lambda _: next(tokens))

    assert pair.renew("one", lambda _: next(tokens))
    assert pair.renew("one", lambda _: next(tokens))
    assert "two" == pair.token(lambda _: next(tokens))


def test_an_exchange_without_a_token_is_no_token():
    """Whatever the 200 holds."""
    with (
        ScriptedServer([answer(200, {"token_type": "bearer"})]) as server,
        Api(server.url, KeyPair("k", "s")) as api,
        pytest.raises(ServiceUnavailable, match="without a token"),
    ):
        api.token()


def test_secrets_are_in_no_repr():
    """Nor in what an object graph prints."""
    pair = KeyPair("the-key", "the-secret")
    pair.token(lambda _: "the-token")

    printed = repr([pair, BearerToken("the-token"), Api("http://x", pair)])

    assert "the-" not in printed
    with contextlib.suppress(AttributeError):
        assert "the-" not in str(pair)


def test_a_pair_needs_both_parts():
    """Half a pair is a mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"x\.consumer\.secret"):
        KeyPair("k", " ")


@pytest.mark.parametrize(
    ("date", "asked_at", "answered_at", "ahead_secs"),
    [
        (100.0, 100.2, 100.3, 0.0),
        (100.0, 100.9, 101.1, 0.0),
        (100.0, 96.0, 104.0, 0.0),
        (110.0, 96.0, 104.0, 6.0),
        (90.0, 96.0, 104.0, -5.0),
    ],
)
def test_a_slow_answer_is_no_wrong_clock(date, asked_at, answered_at, ahead_secs):
    """X read its clock at some time of the request, and told the second."""
    assert ahead_secs == ahead_of(date, asked_at, answered_at)


@pytest.mark.parametrize("status", [200, 401])
def test_xs_clock_is_known_from_any_answer(status):
    """An answer without a date says nothing, and leaves what is known."""
    ahead = formatdate(time.time() + 90, usegmt=True)
    script = [answer(status, {}, {"Date": ahead}), answer(200, {})]
    with ScriptedServer(script) as server, Api(server.url, BearerToken("t")) as api:
        before = api.ahead_secs
        with contextlib.suppress(TokenRejected):
            api.get("/2/x")
        told = api.ahead_secs
        api.get("/2/x")
        after = api.ahead_secs

    assert before is None
    assert 85 <= told <= 91
    assert told == after
