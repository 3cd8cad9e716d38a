import asyncio
import logging
import socket
import ssl
from types import SimpleNamespace

import pytest
from aiokafka import client, conn
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1, SaslAuthenticateResponse_v1

from connector.errors import BrokerAway
from connector.kafka.delivery.sink import failure_of
from connector.kafka.login import connection
from connector.kafka.login.refusals import (
    LOGIN_RETRY_SECS_MAX,
    Attempt,
    ConnectionRefused,
    Refusal,
    Refusals,
    TokenRefused,
    refusal_of,
    words_of,
)

WORD = "Sesame-Open-47"


def attempt(protocol="PLAINTEXT", **known):
    return Attempt(host="kafka", port=9092, protocol=protocol, timeout_secs=10, **known)


def closed_by(error):
    """What aiokafka raises for a connection that *error* has ended."""
    raised = KafkaConnectionError("Connection at kafka:9092 closed")
    raised.__cause__ = error
    return raised


SEVERAL = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 9092), [Errno 111] Connect call failed")

# What a real broker seldom or never does here; tests/broker/test_doors.py has the others.
SENTENCES = [
    (
        closed_by(asyncio.IncompleteReadError(b"/1.1", int.from_bytes(b"HTTP"))),
        attempt(),
        "What listens at kafka:9092 is a web server: write the port of a Kafka broker into CONNECTOR_BROKER_URL.",
    ),
    (SEVERAL, attempt(), "Nothing listens at kafka:9092: start the broker, or check CONNECTOR_BROKER_URL."),
    (
        OSError(113, "No route to host"),
        attempt(),
        "kafka:9092 cannot be reached (No route to host): check CONNECTOR_BROKER_URL and the network.",
    ),
    (
        TimeoutError(),
        attempt(),
        (
            "Kafka at kafka:9092 has not answered within 10 s: check CONNECTOR_BROKER_URL, firewalls on the way, and"
            " whether the broker hangs."
        ),
    ),
    (
        closed_by(asyncio.IncompleteReadError(b"", 4)),
        attempt(),
        (
            "Kafka at kafka:9092 ends the connection at once: the port may speak TLS"
            " (CONNECTOR_KAFKA_SECURITY_PROTOCOL), or not be Kafka's (CONNECTOR_BROKER_URL)."
        ),
    ),
    (
        closed_by(asyncio.IncompleteReadError(b"", 4)),
        attempt("SSL"),
        (
            "Kafka at kafka:9092 ends the connection at once: it may want a client certificate"
            " (CONNECTOR_KAFKA_SSL_CERT_FILE, CONNECTOR_KAFKA_SSL_KEY_FILE)."
        ),
    ),
    (
        closed_by(None),
        attempt("SASL_SSL", answered=True),
        (
            "Kafka at kafka:9092 ends the connection during the login: check CONNECTOR_KAFKA_SASL_USERNAME, and look"
            " into the broker's log."
        ),
    ),
    (
        UnsupportedSaslMechanismError(object()),
        attempt("SASL_SSL", mechanism="PLAIN", offered=("GSSAPI",)),
        "Kafka at kafka:9092 offers GSSAPI, none of which this version has: name another port in CONNECTOR_BROKER_URL.",
    ),
    (
        ValueError("Server sent wrong signature!"),
        attempt("SASL_SSL", answered=True),
        (
            "Kafka at kafka:9092 answers the login in a way that this version does not understand (ValueError): check"
            " that CONNECTOR_BROKER_URL names a Kafka broker."
        ),
    ),
    (TokenRefused("The token endpoint is tired."), attempt("SASL_SSL"), "The token endpoint is tired."),
]


@pytest.mark.parametrize(("error", "known", "sentence"), SENTENCES, ids=[sentence[:60] for *_, sentence in SENTENCES])
def test_sentence(error, known, sentence):
    """Every end of a connection has a sentence that names what to look at."""
    assert sentence == refusal_of(error, known).sentence


def test_secret_that_the_broker_repeats():
    """What the broker says is shown without our password, and without what would break a line."""
    known = attempt("SASL_SSL", mechanism="PLAIN", user="alice", secret=WORD)
    sentence = refusal_of(SaslAuthenticationFailed(f"no {WORD}\n\x1b[31m here " + "x" * 1_000), known).sentence

    assert "(no [hidden][31m here xxx" in sentence
    assert WORD not in sentence
    assert len(sentence) < 500


EXPIRED = ssl.SSLCertVerificationError()
EXPIRED.verify_code = 10


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), True),
        (socket.gaierror(-2, "Name or service not known"), True),
        (TimeoutError(), True),
        (EXPIRED, False),
        (SaslAuthenticationFailed("no"), False),
    ],
)
def test_away(error, away):
    """A broker that is not there may come back by itself; one that refuses does not change its mind."""
    assert away is refusal_of(error, attempt("SASL_SSL")).away


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefused(Refusal(address="a", sentence="No.")), "No."),
        (TimeoutError(), "Kafka has not answered in time"),
        (OSError("unreachable"), "unreachable"),
        (ValueError(), "ValueError"),
    ],
)
def test_words(error, words):
    """An error is shown by what it says."""
    assert words == words_of(error)


# -- what is remembered


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


LOGIN = Refusal(address="a:1", sentence="Wrong password.", login=True)
AWAY = Refusal(address="b:1", sentence="Nothing listens.", away=True)


def test_refused_login_backs_off():
    """A refused login is tried again after 1, 2, 4, 8 and then 10 s, by one client alone."""
    clock = Clock()
    refusals, tries = Refusals(clock), []
    refusals.note(LOGIN)
    while clock.now < 1040:
        clock.now += 0.25
        for _ in range(3):  # clients
            if refusals.held_back() is None:
                tries.append(clock.now - 1000)
                refusals.note(LOGIN)

    assert [1.0, 3.0, 7.0, 15.0, 25.0, 35.0] == tries
    assert LOGIN_RETRY_SECS_MAX == tries[-1] - tries[-2]


def test_others_wait_for_the_one_that_tries():
    """While one client tries a login that was refused, the others do not."""
    clock = Clock()
    refusals = Refusals(clock)
    refusals.note(LOGIN)
    clock.now += 1

    assert [None, LOGIN, LOGIN] == [refusals.held_back() for _ in range(3)]


def test_login_that_is_right_again():
    """A login that is accepted ends the back-off, and whatever is refused next begins anew."""
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(5):
        refusals.note(LOGIN)
    refusals.opened(LOGIN.address)

    assert refusals.held_back() is None
    assert refusals.current(15) is None


def test_what_is_refused_now():
    """A refusal counts for some seconds, until another connection is opened; what waiting does not cure comes first."""
    clock = Clock()
    refusals = Refusals(clock)
    refusals.note(LOGIN)
    clock.now += 1
    refusals.note(AWAY)

    assert LOGIN == refusals.current(15)
    assert AWAY == refusals.of("b:1")
    clock.now += 14.5
    assert AWAY == refusals.current(15)
    clock.now += 1
    assert refusals.current(15) is None
    refusals.note(LOGIN)
    clock.now += 1
    refusals.opened("c:1")
    assert refusals.current(15) is None


# -- aiokafka


@pytest.mark.parametrize(
    "struct",
    [
        SaslAuthenticateRequest_v0(WORD.encode()),
        SaslAuthenticateRequest_v1(WORD.encode()),
        SaslAuthenticateResponse_v1(0, None, WORD.encode(), 0),
    ],
)
def test_login_is_not_shown(struct):
    """aiokafka logs what it sends at DEBUG; a login it shows without its bytes."""
    assert f"{type(struct).__name__}([hidden])" == repr(struct) == str(struct)


async def test_aiokafka_opens_our_connections():
    """Every client opens its connections by `create_conn`, and that makes ours."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionRefused, match=f"^Nothing listens at 127.0.0.1:{port}: "):
        await client.create_conn("127.0.0.1", port)
    assert conn.AIOKafkaConnection is connection.Connection


async def test_bootstrap_raises_all_reasons(monkeypatch, caplog, refusals):
    """With several brokers each one's reason is told, those that waiting does not cure first."""
    caplog.set_level(logging.CRITICAL)

    async def refuse(host, port, **_):
        refusals.note(refusal := LOGIN if host == "a" else AWAY)
        raise ConnectionRefused(refusal)

    monkeypatch.setattr(client, "create_conn", refuse)
    kafka = client.AIOKafkaClient(bootstrap_servers="b:1,a:1")
    with pytest.raises(ConnectionRefused) as caught:
        await kafka.bootstrap()
    await kafka.close()

    assert "Wrong password. Nothing listens." == str(caught.value)
    assert (True, False) == (caught.value.refusal.login, caught.value.refusal.away)


class Lonely:
    """A connection to a broker that was frozen: it answers, and its controller has not let it in again."""

    closed = False

    async def send(self, request):
        return SimpleNamespace(brokers=[], topics=[], API_VERSION=1, controller_id=-1)

    def close(self, reason=None):
        self.closed = True
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def test_a_broker_that_names_no_broker_is_away(monkeypatch):
    """aiokafka would start, and end with `AssertionError: Did we not perform bootstrap?` at its first coordinator."""
    lonely = Lonely()

    async def open_it(host, port, **_):
        return lonely

    monkeypatch.setattr(client, "create_conn", open_it)
    kafka = client.AIOKafkaClient(bootstrap_servers="kafka:9092")
    with pytest.raises(ConnectionRefused, match=r"^Kafka at kafka:9092 answers and names no broker: ") as caught:
        await kafka.bootstrap()

    assert caught.value.refusal.away
    assert lonely.closed
    assert isinstance(failure_of(caught.value), BrokerAway)
    await kafka.close()
