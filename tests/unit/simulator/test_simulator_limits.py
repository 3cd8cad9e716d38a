"""Tokens, rate windows and money."""

import base64
import time
from datetime import UTC, datetime

import pytest
import requests
from simulator_clients import RULES, STREAM, Client, Socket, eventually, next_post

from connector.simulator import ManualClock

RULE = (("#python", "py"),)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


PAIR = "simulated-key", "simulated-secret"


def exchange(sim, pair=PAIR, **form):
    form = form or {"grant_type": "client_credentials"}
    return requests.post(f"{sim.url}/oauth2/token", auth=pair, data=form, timeout=30)


def test_key_and_secret_give_a_token_that_stays(sim):
    """The same token until it is invalidated; used as it is, percent escapes included."""
    first, second = exchange(sim).json(), exchange(sim).json()

    assert first == second
    assert set(first) == {"token_type", "access_token"}
    assert "%2F" in first["access_token"]
    assert Client(sim, token=first["access_token"]).get(RULES).status_code == 200
    decoded = requests.utils.unquote(first["access_token"])
    assert Client(sim, token=decoded).get(RULES).status_code == 401


def test_wrong_credentials_are_a_403_with_code_99(sim):
    """As X answers them."""
    for answer in (exchange(sim, ("simulated-key", "wrong")), exchange(sim, grant_type="password")):
        assert answer.status_code == 403
        assert answer.json() == {
            "errors": [
                {"code": 99, "label": "authenticity_token_error", "message": "Unable to verify your credentials"}
            ]
        }


def test_escaped_credentials_are_read(start):
    """Key and secret may hold what must be escaped."""
    sim = start(consumer_key="a/b c", consumer_secret="d:e%")  # noqa: S106 - opens nothing
    pair = base64.b64encode(b"a%2Fb%20c:d%3Ae%25").decode()
    answer = requests.post(
        f"{sim.url}/oauth2/token",
        headers={"Authorization": f"Basic {pair}"},
        data={"grant_type": "client_credentials"},
        timeout=30,
    )

    assert answer.status_code == 200


def test_a_token_can_be_given_back(sim):
    """`/oauth2/invalidate_token` answers the token; the next exchange gives another."""
    token = exchange(sim).json()["access_token"]
    answer = requests.post(
        f"{sim.url}/oauth2/invalidate_token",
        auth=("simulated-key", "simulated-secret"),
        data={"access_token": token},
        timeout=30,
    )

    assert answer.json() == {"access_token": token}
    assert Client(sim, token=token).get(RULES).status_code == 401
    assert exchange(sim).json()["access_token"] != token


def test_a_wrong_token_is_a_401_without_rate_headers(sim):
    """E401, and the header set of a 401."""
    answer = Client(sim, token=sim.settings.token[::-1]).get(STREAM)

    assert answer.status_code == 401
    assert answer.json() == {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}
    assert not [name for name in answer.headers if name.startswith(("x-rate-limit", "x-access-level"))]
    assert "x-transaction-id" in answer.headers


def test_a_window_is_fixed_and_begins_with_its_first_request(start):
    """50 connects in 15 minutes; the 51st is a 429 until the window ends."""
    clock = ManualClock(time=NOON)
    client = Client(start(clock=clock))
    answers = [client.get(STREAM) for _ in range(50)]
    clock.advance(899)
    refused = client.get(STREAM)
    clock.advance(1)
    again = client.get(STREAM)

    assert [int(answer.headers["x-rate-limit-remaining"]) for answer in answers] == list(range(49, -1, -1))
    assert {answer.headers["x-rate-limit-reset"] for answer in answers} == {str(int(NOON) + 900)}
    assert (refused.status_code, refused.json()["title"]) == (429, "Too Many Requests")
    assert refused.headers["x-rate-limit-reset"] == str(int(NOON) + 900)
    assert again.status_code == 409
    assert again.headers["x-rate-limit-remaining"] == "49"


def test_each_endpoint_has_its_own_window(sim):
    """450 listings and 100 changes of rules, by the table of X."""
    client = Client(sim)

    assert client.get(RULES).headers["x-rate-limit-limit"] == "450"
    assert client.post(RULES, {"add": []}).headers["x-rate-limit-limit"] == "100"
    assert client.get("/2/usage/tweets").headers["x-rate-limit-limit"] == "50"
    assert client.get("/2/tweets/search/recent", query="a").headers["x-rate-limit-limit"] == "450"
    assert client.get("/2/tweets/search/recent", query="a").headers["x-rate-limit-remaining"] == "448"


@pytest.mark.parametrize(
    ("plan", "status"),
    [("ppu", 409), ("enterprise", 409), ("pro", 409), ("academic", 409), ("basic", 403), ("free", 403)],
)
def test_a_plan_has_the_stream_or_not(start, plan, status):
    """The legacy small plans have no filtered stream."""
    sim = start(plan=plan)

    assert Client(sim).get(STREAM).status_code == status


def test_a_post_costs_half_a_cent_once_a_day(start):
    """Deduplicated per UTC day, also between stream and search; tomorrow it costs again."""
    clock = ManualClock(time=NOON)
    sim = start(clock=clock, rules=RULE)
    client = Client(sim)

    def spent():
        return round(client.control("state")["meter"]["spent_usd"], 3)

    with client.stream() as response:
        sim.emit_post("#python one")
        sim.emit_post("#python two")
        next_post(response)
    streamed = spent()
    clock.advance(60)
    client.get("/2/tweets/search/recent", query="#python")
    searched = spent()
    clock.advance(86400)
    client.get("/2/tweets/search/recent", query="#python")

    assert (streamed, searched, spent()) == (0.010, 0.010, 0.020)
    assert client.get("/2/usage/tweets").json()["data"]["project_usage"] == "4"


def test_users_and_counts_cost_too(start):
    """`expansions=author_id` bills $0.010 a user, a counts request half a cent."""
    sim = start(rules=RULE)
    client = Client(sim)
    with client.stream(expansions="author_id") as response:
        sim.emit_post("#python")
        next_post(response)
    client.get("/2/tweets/counts/recent", query="a")

    assert round(client.control("state")["meter"]["spent_usd"], 3) == 0.020


@pytest.mark.parametrize(
    ("settings", "status", "title"),
    [
        ({"credit_usd": 0.01}, 402, "CreditsDepleted"),
        ({"spend_cap_usd": 0.01}, 403, "SpendCapReached"),
        ({"usage_cap": 2}, 429, "UsageCapExceeded"),
    ],
)
def test_when_the_money_ends_the_stream_is_disconnected(start, settings, status, title):
    """The posts that were paid arrive, an in-stream error, a close; the next connect says why."""
    sim = start(rules=RULE, **settings)
    client = Client(sim)
    with client.stream() as response:
        for _ in range(5):
            sim.emit_post("#python")
        lines = [line for line in response.lines if line]

    assert len(lines) == 3
    assert b"OperationalDisconnect" in lines[2]
    answer = client.get(STREAM)
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert answer.headers["x-rate-limit-remaining"] == "48"
    assert client.get("/2/tweets/search/recent", query="a").status_code == status


@pytest.mark.parametrize("ending", ["silent", "keep"])
def test_the_end_of_credit_is_a_switch(start, ending):
    """`credits_end`: the stream falls silent, or goes on."""
    sim = start(rules=RULE, credit_usd=0.01, credits_end=ending, keepalive_s=0.1)
    with Socket(sim) as stream:
        stream.read_head()
        for _ in range(5):
            sim.emit_post("#python")
        eventually(lambda: len(sim.emissions) >= 2)
        stream.wait_for(b"2\r\n\r\n\r\n")
        assert stream.data.count(b'"data"') == (2 if ending == "silent" else 5)
    assert Client(sim).get(STREAM).status_code == 402


def test_credit_can_be_given_and_taken(sim):
    """The fault `credit` sets the balance."""
    sim.fault("credit", usd=0)
    assert Client(sim).get(STREAM).status_code == 402
    sim.fault("credit", usd=10)
    with Client(sim).stream() as response:
        assert response.status_code == 200


@pytest.mark.slow
def test_the_delivery_cap_drops_what_exceeds_it(start):
    """`delivery_cap`: 250 posts a second and connection, the rest is logged as dropped."""
    sim = start(rules=RULE, delivery_cap=True)
    with Socket(sim) as stream:
        stream.read_head()
        began = time.monotonic()
        sim.emit(2000)
        counts = sim.emissions.counts
        eventually(lambda: counts["written"] + counts["dropped"] == 2000)
        secs = time.monotonic() - began

    assert 250 <= counts["written"] <= 250 * (secs + 2)
