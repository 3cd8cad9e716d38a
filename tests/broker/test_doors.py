"""A real broker with a listener of each kind: who is let in, and what is said to whoever is not."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from connector.cli import coverage
from connector.cli.audit import command
from connector.config.load import load
from connector.kafka.brokers import cluster_of
from connector.kafka.gate.gate import BrokerGate
from connector.kafka.login import connection
from connector.kafka.login.refusals import Refusals
from connector.telemetry.events.kafka import BrokerAwaited, BrokerReached
from tests import brokers
from tests.brokers import free_port
from tests.certificates import Authority
from tests.doors import SCRAM, Door, LockedBroker

pytestmark = pytest.mark.broker

USER, SECRET, WRONG_SECRET = "alice", "Sesame-Open-47", "Barley-Shut-74"
KEY_SECRET = "Key-Opens-12"  # noqa: S105
SASL = "CONNECTOR_KAFKA_SASL_USERNAME and CONNECTOR_KAFKA_SASL_PASSWORD"
PROTOCOL = "CONNECTOR_KAFKA_SECURITY_PROTOCOL"


@dataclass(frozen=True, slots=True)
class House:
    """The broker, and the folder with certificates."""

    broker: LockedBroker
    folder: Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    brokers.require()
    folder = tmp_path_factory.mktemp("house")
    ours, theirs = Authority("ours"), Authority("theirs")
    trusted = ours.write(folder, "ca")
    theirs.write(folder, "other-ca")
    ours.sign("client").write(folder, "client", KEY_SECRET)
    theirs.sign("client").write(folder, "foreign", KEY_SECRET)

    def certificate(name: str, **wrong: object) -> dict[str, str]:
        store = ours.sign("broker", **wrong).write_store(folder, name)
        return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}

    doors = {
        "PLAIN": Door("SASL_PLAINTEXT", ("PLAIN",)),
        "SCRAM": Door("SASL_PLAINTEXT", SCRAM),
        "TLS": Door("SSL"),
        "BOTH": Door("SASL_SSL", ("PLAIN", *SCRAM)),
        "MUTUAL": Door("SSL", settings={"ssl.client.auth": "required"}),
        "EXPIRED": Door("SSL", settings=certificate("expired", expired=True)),
        "ELSEWHERE": Door("SSL", settings=certificate("elsewhere", hosts=("kafka.example.com",), addresses=())),
        "OAUTH": Door("SASL_PLAINTEXT", ("OAUTHBEARER",)),
    }
    store = ours.sign("broker").write_store(folder, "broker")
    with LockedBroker(folder / "broker", doors, users={USER: SECRET}, store=store, trusted=trusted) as broker:
        yield House(broker, folder)


@dataclass(frozen=True, slots=True)
class Visit:
    """Knocking at *door* with these settings; `{ca}` and others are files in the house's folder."""

    door: str
    protocol: str
    mechanism: str = ""
    user: str = USER
    secret: str = SECRET
    files: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    def environ(self, house: House) -> dict[str, str]:
        port = free_port() if self.door == "NOBODY" else house.broker.ports.get(self.door, house.broker.port)
        environ = {"CONNECTOR_BROKER_URL": f"{self.host}:{port}", PROTOCOL: self.protocol}
        environ["CONNECTOR_GROUP_ID"] = "doors"
        if self.mechanism:
            environ |= {
                "CONNECTOR_KAFKA_SASL_MECHANISM": self.mechanism,
                "CONNECTOR_KAFKA_SASL_USERNAME": self.user,
                "CONNECTOR_KAFKA_SASL_PASSWORD": self.secret,
            }
        environ |= {f"CONNECTOR_KAFKA_SSL_{what}_FILE": str(house.folder / name) for what, name in self.files.items()}
        if "KEY" in self.files:
            environ["CONNECTOR_KAFKA_SSL_KEY_PASSWORD"] = KEY_SECRET
        return environ


CA = {"CA": "ca.crt"}
CLIENT = CA | {"CERT": "client.crt", "KEY": "client.key"}

GOOD = {
    "no security": Visit("OPEN", "PLAINTEXT"),
    "PLAIN": Visit("PLAIN", "SASL_PLAINTEXT", "PLAIN"),
    "SCRAM-SHA-256": Visit("SCRAM", "SASL_PLAINTEXT", "SCRAM-SHA-256"),
    "TLS": Visit("TLS", "SSL", files=CA),
    "TLS by name": Visit("TLS", "SSL", files=CA, host="localhost"),
    "TLS and PLAIN": Visit("BOTH", "SASL_SSL", "PLAIN", files=CA),
    "TLS and SCRAM-SHA-512": Visit("BOTH", "SASL_SSL", "SCRAM-SHA-512", files=CA),
    "a certificate on both sides, with a locked key": Visit("MUTUAL", "SSL", files=CLIENT),
}

REFUSED = "Kafka at {} refuses the login of "
CHECK = f"check {SASL}, or the user in CONNECTOR_BROKER_URL."
INVALID = "Authentication failed during authentication due to invalid credentials with SASL mechanism"
UNKNOWN_AUTHORITY = (
    "The certificate of Kafka at {} is not signed by an authority that this worker knows: set"
    " CONNECTOR_KAFKA_SSL_CA_FILE to the PEM file of the authority that has signed it."
)
OTHER_HOST = (
    "The certificate of Kafka at {} is for another host name: write the name that stands in the certificate into"
    " CONNECTOR_BROKER_URL, or correct the certificate or advertised.listeners of the broker."
)
WANTS_LOGIN = (
    "Kafka at {} ends the connection at the first request, so it wants a login: set "
    f"{PROTOCOL} to %s, CONNECTOR_KAFKA_SASL_USERNAME and CONNECTOR_KAFKA_SASL_PASSWORD."
)
NO_TLS = "The port {} speaks no TLS: set " + PROTOCOL + " to %s, or name a port with TLS in CONNECTOR_BROKER_URL."
NO_LOGIN = (
    "Kafka at {} takes no login on this port: set " + PROTOCOL + " to %s, or name a port with a login in"
    " CONNECTOR_BROKER_URL."
)
SPEAKS_TLS = "The port {} speaks TLS: set " + PROTOCOL + " to %s."

WRONG = {
    "wrong password": (
        Visit("PLAIN", "SASL_PLAINTEXT", "PLAIN", secret=WRONG_SECRET),
        f"{REFUSED}alice with PLAIN (Authentication failed: Invalid username or password): {CHECK}",
    ),
    "wrong password over TLS": (
        Visit("BOTH", "SASL_SSL", "PLAIN", secret=WRONG_SECRET, files=CA),
        f"{REFUSED}alice with PLAIN (Authentication failed: Invalid username or password): {CHECK}",
    ),
    "wrong SCRAM password": (
        Visit("SCRAM", "SASL_PLAINTEXT", "SCRAM-SHA-256", secret=WRONG_SECRET),
        f"{REFUSED}alice with SCRAM-SHA-256 ({INVALID} SCRAM-SHA-256): {CHECK}",
    ),
    "unknown user": (
        Visit("BOTH", "SASL_SSL", "SCRAM-SHA-512", user="bob", files=CA),
        f"{REFUSED}bob with SCRAM-SHA-512 ({INVALID} SCRAM-SHA-512): {CHECK}",
    ),
    "mechanism that is not offered": (
        Visit("SCRAM", "SASL_PLAINTEXT", "PLAIN"),
        (
            "Kafka at {} offers SCRAM-SHA-256 and SCRAM-SHA-512, not PLAIN: set CONNECTOR_KAFKA_SASL_MECHANISM to"
            " SCRAM-SHA-256 or SCRAM-SHA-512."
        ),
    ),
    "unknown authority": (Visit("TLS", "SSL", files={"CA": "other-ca.crt"}), UNKNOWN_AUTHORITY),
    "no authority": (Visit("TLS", "SSL"), UNKNOWN_AUTHORITY),
    "expired certificate": (
        Visit("EXPIRED", "SSL", files=CA),
        "The certificate of Kafka at {} has expired: renew it at the broker, or check the clock of this machine.",
    ),
    "wrong address": (Visit("ELSEWHERE", "SSL", files=CA), OTHER_HOST),
    "wrong host name": (Visit("ELSEWHERE", "SSL", files=CA, host="localhost"), OTHER_HOST),
    "TLS to a port without": (Visit("OPEN", "SSL", files=CA), NO_TLS % "PLAINTEXT"),
    "TLS and login to a port without TLS": (Visit("PLAIN", "SASL_SSL", "PLAIN", files=CA), NO_TLS % "SASL_PLAINTEXT"),
    "no TLS to a port with": (Visit("TLS", "PLAINTEXT"), SPEAKS_TLS % "SSL or SASL_SSL"),
    "login without TLS to a port with": (Visit("BOTH", "SASL_PLAINTEXT", "PLAIN"), SPEAKS_TLS % "SASL_SSL"),
    "login to a port without": (Visit("OPEN", "SASL_PLAINTEXT", "PLAIN"), NO_LOGIN % "PLAINTEXT"),
    "TLS and login to a port without login": (Visit("TLS", "SASL_SSL", "PLAIN", files=CA), NO_LOGIN % "SSL"),
    "no login to a port with": (Visit("PLAIN", "PLAINTEXT"), WANTS_LOGIN % "SASL_PLAINTEXT"),
    "TLS without login to a port with": (Visit("BOTH", "SSL", files=CA), WANTS_LOGIN % "SASL_SSL"),
    "no client certificate": (
        Visit("MUTUAL", "SSL", files=CA),
        "Kafka at {} wants a client certificate: set CONNECTOR_KAFKA_SSL_CERT_FILE and CONNECTOR_KAFKA_SSL_KEY_FILE.",
    ),
    "foreign client certificate": (
        Visit("MUTUAL", "SSL", files=CA | {"CERT": "foreign.crt", "KEY": "foreign.key"}),
        (
            "Kafka at {} refuses our client certificate (certificate unknown): CONNECTOR_KAFKA_SSL_CERT_FILE must name"
            " one that has not expired and that an authority of the broker has signed."
        ),
    ),
    "host that does not resolve": (
        Visit("OPEN", "PLAINTEXT", host="kafka.invalid"),
        (
            "The host name kafka.invalid cannot be resolved: check CONNECTOR_BROKER_URL, or advertised.listeners of the"
            " broker."
        ),
    ),
    "nobody there": (
        Visit("NOBODY", "PLAINTEXT"),
        "Nothing listens at {}: start the broker, or check CONNECTOR_BROKER_URL.",
    ),
}

LOOKED_FOR = {"from_": "-2h", "to": None, "threshold": "99", "yes": True, "json_": False}
DECLARED = {
    "CONNECTOR_TOPIC": "posts",
    "CONNECTOR_HASHTAGS": "python",
    "CONNECTOR_X_BEARER_TOKEN": "token",
}


@contextlib.asynccontextmanager
async def gate_of(environ, folder):
    """A gate before Kafka, as a worker has it, being started; and what it says."""
    events = []

    async def prepare(*_: object) -> None:
        pass

    settings = load(environ, folder).worker
    gate = BrokerGate(cluster_of(settings), settings.group_id, prepare, events.append)
    starting = asyncio.create_task(gate.start())
    try:
        yield gate, events
    finally:
        await gate.stop()
        await asyncio.gather(starting, return_exceptions=True)


async def first(events, kind):
    async with asyncio.timeout(30):
        while not (found := [event for event in events if isinstance(event, kind)]):  # noqa: ASYNC110  # a list
            await asyncio.sleep(0.01)
    return found[0]


@pytest.mark.parametrize("visit", GOOD.values(), ids=GOOD)
async def test_let_in(house, visit, caplog):
    """Each kind of login lets us in, and shows no secret at any level."""
    caplog.set_level(logging.DEBUG)
    async with gate_of(visit.environ(house), house.folder) as (gate, events):
        await first(events, BrokerReached)
        admin = AIOKafkaAdminClient(**gate._cluster.options())
        await admin.start()
        await admin.list_topics()
        await admin.close()

        assert gate.waiting is None
    assert not visit.mechanism or "SaslAuthenticateRequest" in caplog.text  # the lines are there, without the secret
    assert [] == [secret for secret in (SECRET, KEY_SECRET) if secret in caplog.text]


@pytest.mark.parametrize(("visit", "sentence"), WRONG.values(), ids=WRONG)
async def test_refused(house, visit, sentence, monkeypatch, caplog, capsys):
    """Whatever keeps us out is one sentence with its setting: in the log, for /ready, and from a command."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="aiokafka")  # the command changes it, and it is set back
    environ = visit.environ(house)
    sentence = sentence.format(environ["CONNECTOR_BROKER_URL"])
    async with gate_of(environ, house.folder) as (gate, events):
        said = await first(events, BrokerAwaited)

        assert sentence == said.reason
        assert sentence == gate.waiting.sentence
    monkeypatch.setattr(connection, "REFUSALS", Refusals())
    values = {"connector": None, "retry": None, "accept": None, "yes": False, "json_": False}
    code = await asyncio.to_thread(coverage.run, values, load(environ | DECLARED, house.folder))

    assert (69, f"{sentence}\n") == (code, capsys.readouterr().err)
    shown = caplog.text + str(events)
    assert [] == [secret for secret in (SECRET, WRONG_SECRET, KEY_SECRET) if secret in shown]
    assert "AddressFamily" not in str(events)


def test_audit_that_is_refused(house, monkeypatch, capsys):
    """An audit that cannot read the topic ends with 69 and the sentence; what it asks X before is not of interest."""
    visit, sentence = WRONG["wrong password"]
    environ = visit.environ(house)
    loaded = load(environ | DECLARED, house.folder)
    reading = command.Reading(loaded.worker, loaded.connector)
    monkeypatch.setattr(command.Audit, "run", lambda *_: asyncio.run(reading.read(None, None)))

    assert 69 == command.run(LOOKED_FOR, loaded)
    said = capsys.readouterr().err.splitlines()[-1]  # behind the minutes that are audited
    assert f"No audit: {sentence.format(environ['CONNECTOR_BROKER_URL'])}" == said


async def test_stop_over_tls(house):
    """Whoever stops waits for no fetch to end: TLS says goodbye to a broker that does not listen while it holds one."""
    settings = load(Visit("TLS", "SSL", files=CA).environ(house), house.folder).worker
    consumer = AIOKafkaConsumer("held", **cluster_of(settings).options(), fetch_max_wait_ms=60_000)
    await consumer.start()  # the broker makes the topic
    await consumer.getmany(timeout_ms=500)
    async with asyncio.timeout(30):
        while not any(_is_held(opened) for opened in consumer._client._conns.values()):  # noqa: ASYNC110  # theirs
            await asyncio.sleep(0.01)
        await consumer.stop()


def _is_held(opened):
    """Whether the broker holds a fetch, for which it has nothing."""
    return any(connection._is_fetch(request) for _, request, _ in opened._requests)
