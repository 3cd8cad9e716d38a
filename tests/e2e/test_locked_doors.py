"""Whole workers before a real broker with locked doors: what they say, and how they get in."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import confluent_kafka.admin
import pytest

from connector.simulator import SimulatorThread
from tests import brokers, topics
from tests.certificates import Authority
from tests.doors import SCRAM, Door, LockedBroker
from tests.workers import SOURCE, Workers, all_delivered, environment, wait_for

pytestmark = pytest.mark.e2e

USER, SECRET, WRONG_SECRET = "alice", "Sesame-Open-47", "Barley-Shut-74"
REAUTHENTICATE_MS = "5000"
"""The broker ends each connection so long after its login: aiokafka logs in once for each."""


@dataclass(frozen=True, slots=True)
class House:
    """The broker, and the folder with certificates."""

    broker: LockedBroker
    folder: Path

    def settings(self, door: str, url: str, name: str, **more: object) -> dict[str, str]:
        return environment(self.broker, url, name, **more) | {"CONNECTOR_BROKER_URL": self.broker.url_of(door)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    brokers.require()
    folder = tmp_path_factory.mktemp("house")
    authority = Authority("ours")
    trusted, store = authority.write(folder, "ca"), authority.sign("broker").write_store(folder, "broker")
    authority.sign("client").write(folder, "client")
    often = "connections.max.reauth.ms"
    doors = {
        "SCRAM": Door("SASL_PLAINTEXT", SCRAM, {f"{name.lower()}.{often}": REAUTHENTICATE_MS for name in SCRAM}),
        "PLAIN": Door("SASL_PLAINTEXT", ("PLAIN",)),
        "MUTUAL": Door("SSL", settings={"ssl.client.auth": "required"}),
        "OAUTH": Door("SASL_PLAINTEXT", ("OAUTHBEARER",), {f"oauthbearer.{often}": REAUTHENTICATE_MS}),
    }
    with LockedBroker(folder / "broker", doors, users={USER: SECRET}, store=store, trusted=trusted) as broker:
        yield House(broker, folder)


def login(mechanism: str, secret: str = SECRET) -> dict[str, str]:
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": mechanism,
        "kafka_sasl_username": USER,
        "kafka_sasl_password": secret,
    }


def refused(port: int, mechanism: str, said: str) -> str:
    return (
        f"Kafka at 127.0.0.1:{port} refuses the login of {USER} with {mechanism} ({said}): check"
        " CONNECTOR_KAFKA_SASL_USERNAME and CONNECTOR_KAFKA_SASL_PASSWORD, or the user in CONNECTOR_BROKER_URL."
    )


INVALID = "Authentication failed: Invalid username or password"


def test_worker_that_is_refused(house: House, workers: Workers, fresh: str) -> None:
    """The log, /ready and the routes of Connect say from the start why Kafka refuses us; a stop ends it with 0."""
    settings = house.settings("PLAIN", "http://127.0.0.1:9", fresh, log_level="DEBUG", **login("PLAIN", WRONG_SECRET))
    worker = workers.start(settings)
    reason = worker.wait_event("kafka.waiting")["reason"]
    status, ready = worker.get("/ready")
    starting = [worker.get(path) for path in ("/health", "/connectors/posts/status")]
    worker.wait_event("kafka.waiting", count=2)
    logins = worker.log.count("SaslAuthenticateRequest")

    sentence = refused(house.broker.port_of("PLAIN"), "PLAIN", INVALID)
    assert sentence == reason
    assert (503, sentence) == (status, ready["reasons"][0])
    assert [(503, f"Worker is still starting up. {sentence}")] * 2 == [
        (code, body["message"]) for code, body in starting
    ]
    assert 0 == worker.stop()
    assert 1 <= logins <= 6  # in the five seconds between the two lines; two clients may have begun at once
    assert "Traceback" not in worker.log
    assert [] == [secret for secret in (SECRET, WRONG_SECRET) if secret in worker.log]
    assert 1 == worker.log.count("Sending username and password in the clear")


def test_demo_that_is_refused(house: House, tmp_path: Path) -> None:
    """The demo on a broker that refuses it ends with 69 and the sentence, before it starts anything."""
    settings = {f"CONNECTOR_{key.upper()}": value for key, value in login("PLAIN", WRONG_SECRET).items()}
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")}
    ended = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "connector", "demo", "--broker", house.broker.url_of("PLAIN")],
        cwd=tmp_path,
        env=surroundings | {"PYTHONPATH": str(SOURCE)} | settings,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    said = " ".join((ended.stderr + ended.stdout).split())  # a screen of 80 columns breaks lines

    assert (69, refused(house.broker.port_of("PLAIN"), "PLAIN", INVALID)) == (ended.returncode, said)


def test_password_that_changes(
    house: House, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """A worker whose password is changed says so, tries seldom, and goes on once it is right again; nothing is lost."""
    simulator = simulate(rate=20)
    worker = workers.start(house.settings("SCRAM", simulator.url, fresh, **login("SCRAM-SHA-256"))).wait_ready()
    worker.wait_delivered(20)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": house.broker.address})
    said = "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    sentence = refused(house.broker.port_of("SCRAM"), "SCRAM-SHA-256", said)
    _set_password(admin, WRONG_SECRET)
    try:
        worker.wait_event("kafka.waiting", reason=sentence)
        wait_for(lambda: worker.get("/ready")[1]["reasons"][:1] == [sentence], "the reason in /ready")
    finally:
        _set_password(admin, SECRET)
    worker.wait_ready()
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all that was sent")

    assert 0 == worker.stop()
    assert sorted(simulator.emissions.complete_ids()) == sorted(topics.ids(topics.read(house.broker, fresh)))
    assert SECRET not in worker.log


def _set_password(admin: confluent_kafka.admin.AdminClient, password: str) -> None:
    alteration = confluent_kafka.admin.UserScramCredentialUpsertion(
        USER,
        confluent_kafka.admin.ScramCredentialInfo(confluent_kafka.admin.ScramMechanism.SCRAM_SHA_256, 4096),
        password.encode(),
    )
    for done in admin.alter_user_scram_credentials([alteration]).values():
        done.result(30)


def test_certificates_on_both_sides(
    house: House, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """A worker delivers exactly once over TLS with a certificate of its own, under the name that it was given."""
    simulator = simulate(rate=20)
    files = {f"kafka_ssl_{what}_file": house.folder / name for what, name in FILES.items()}
    settings = house.settings("MUTUAL", simulator.url, fresh, kafka_security_protocol="SSL", **files)
    worker = workers.start(settings, broker_client_id="birds-7").wait_ready()
    worker.wait_delivered(20)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": house.broker.address})
    (member,) = admin.describe_consumer_groups([fresh])[fresh].result(30).members
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all that was sent")

    assert "birds-7" == member.client_id
    assert 0 == worker.stop()
    assert sorted(simulator.emissions.complete_ids()) == sorted(topics.ids(topics.read(house.broker, fresh)))


FILES = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key"}


# -- OAUTHBEARER


class TokenEndpoint(ThreadingHTTPServer):
    """Gives tokens, unsigned, as Kafka's own module for tests takes them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.granted = 0
        self.life_secs = 10.0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/oauth2/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:  # the library's name
        self.rfile.read(int(self.headers["Content-Length"]))
        known = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        if self.headers["Authorization"] != known:
            return self._send(401, {"error": "invalid_client"})
        self.server.granted += 1
        life_secs = self.server.life_secs
        claims = {"sub": USER, "iat": time.time(), "exp": time.time() + life_secs}
        token = f"{_part({'alg': 'none'})}.{_part(claims)}."
        return self._send(200, {"access_token": token, "token_type": "Bearer", "expires_in": life_secs})

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _part(claims: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as running:
        yield running


def token(endpoint: TokenEndpoint, secret: str = SECRET) -> dict[str, object]:
    return {
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_sasl_mechanism": "OAUTHBEARER",
        "kafka_oauth_token_url": endpoint.url,
        "kafka_oauth_client_id": USER,
        "kafka_oauth_client_secret": secret,
        "kafka_oauth_scope": "kafka",
    }


def test_worker_with_a_token(
    house: House, endpoint: TokenEndpoint, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """
    A worker logs in with a token by client credentials, exactly once, and with a new one when that ends.

    The broker ends a connection with its token, as hosted ones do.
    """
    simulator = simulate(rate=20)
    settings = house.settings("OAUTH", simulator.url, fresh, log_level="DEBUG", **token(endpoint))
    worker = workers.start(settings).wait_ready()
    wait_for(lambda: endpoint.granted >= 3, "two tokens that were replaced")
    before = worker.delivered()
    worker.wait_delivered(before + 20)
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all that was sent")

    assert 0 == worker.stop()
    assert sorted(simulator.emissions.complete_ids()) == sorted(topics.ids(topics.read(house.broker, fresh)))
    assert "SaslAuthenticateRequest_v1([hidden])" in worker.log
    assert [] == [secret for secret in (SECRET, "Bearer ", _part({"alg": "none"})) if secret in worker.log]


def test_worker_without_a_token(house: House, endpoint: TokenEndpoint, workers: Workers, fresh: str) -> None:
    """A token endpoint that refuses the client is told like any refused login."""
    settings = house.settings("OAUTH", "http://127.0.0.1:9", fresh, **token(endpoint, WRONG_SECRET))
    worker = workers.start(settings)

    assert (
        f"The token endpoint {endpoint.url} refuses the client {USER} (invalid_client): check"
        " CONNECTOR_KAFKA_OAUTH_CLIENT_ID and CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET."
    ) == worker.wait_event("kafka.waiting")["reason"]
    assert 0 == worker.stop()
    assert WRONG_SECRET not in worker.log


def test_broker_that_refuses_the_token(house: House, endpoint: TokenEndpoint, workers: Workers, fresh: str) -> None:
    """A token that the broker does not take is told with what the broker says, although it says so as a success."""
    endpoint.life_secs = -60.0
    settings = house.settings("OAUTH", "http://127.0.0.1:9", fresh, **token(endpoint))
    worker = workers.start(settings)
    reason = worker.wait_event("kafka.waiting")["reason"]

    address = f"127.0.0.1:{house.broker.port_of('OAUTH')}"
    assert reason.startswith(f"Kafka at {address} refuses the token ("), reason
    assert reason.endswith(
        "): check that the broker trusts the service at CONNECTOR_KAFKA_OAUTH_TOKEN_URL, and"
        " CONNECTOR_KAFKA_OAUTH_SCOPE."
    ), reason
    assert 0 == worker.stop()
