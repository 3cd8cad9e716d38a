"""What the gate says of each right that is missing, asked of a real authorizer."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.cli import coverage
from connector.cli.audit import command
from connector.cluster.requests import Action
from connector.config.load import Loaded, load
from connector.errors import BrokerUnsuitable, RightMissing
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.delivery.posts_topic import RECORD_OVERHEAD_BYTES
from connector.kafka.delivery.sink import LETTER_HEADER_BYTES, DeliverySettings, TopicSink
from connector.kafka.delivery.writing import Slot
from connector.kafka.gate.gate import probe
from connector.kafka.gate.preparation import MAX_DEAD_LETTER_BYTES, needs_of, preparation, topics_of
from connector.kafka.rights import DESCRIBE_CONFIGS, READ, TOPIC, WRITE, Need, Right
from connector.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES
from connector.records.record import Destination, Limits, TaskId
from connector.telemetry.events.kafka import RightUseful
from tests import brokers
from tests.rights import USER, GuardedBroker, rights_of
from tests.workers import environment

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    brokers.require()
    with GuardedBroker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker


class Case:
    """A worker's settings as alice; `ask` prepares Kafka as the gate does."""

    def __init__(self, broker: GuardedBroker, name: str, **overrides: object) -> None:
        settings = environment(
            broker,
            "http://127.0.0.1:1",
            name,
            **broker.login,
            errors_tolerance="all",
            dead_letter_topic=f"{name}-letters",
            **overrides,
        )
        self.loaded: Loaded = load(settings, Path(__file__).parent)
        self.needs: tuple[Need, ...] = needs_of(self.loaded.worker, self.loaded.connector)
        self.topics = topics_of(self.loaded.worker, self.loaded.connector)
        self.cluster: KafkaCluster = cluster_of(self.loaded.worker)
        self.events = []
        self._prepare = preparation(self.loaded.worker, self.loaded.connector, USER, self.events.append, made=set())

    async def ask(self) -> str:
        """Return which rights are missing, in words; nothing if all is well."""
        admin = AIOKafkaAdminClient(**self.cluster.options())
        try:
            await admin.start()
            await self._prepare(admin, await probe(admin, self.loaded.worker.group_id))
        except RightMissing as exc:
            return str(exc)
        finally:
            await admin.close()
        return ""


async def test_each_right(guarded: GuardedBroker, fresh: str) -> None:
    """Without any one of the rights the sentence names it; with all of them, and no other, there is none."""
    case = Case(guarded, fresh)
    guarded.create(case.topics)
    required = rights_of(case.needs, useful=False)
    guarded.allow(required)
    assert "" == await case.ask()
    for right in required:
        guarded.withdraw([right])
        left = [each for each in required if each.name == right.name and each.kind == right.kind and each != right]
        allowed = f"{right.operation} on {right.kind} {right.name}"
        if right.kind == TOPIC and not [each for each in left if each.operation != DESCRIBE_CONFIGS]:
            # nothing is left with which one sees the topic: it may be there or not
            whole = [each.operation for each in required if each.kind == TOPIC and each.name == right.name]
            listed = " and ".join(filter(None, [", ".join(whole[:-1]), whole[-1]]))
            allowed = f"CREATE on topic {right.name} (or, if it is there, {listed})"
        said = await case.ask()
        guarded.allow([right])

        what = "rights" if "CREATE" in allowed else "a right"
        assert said == f"User alice lacks {what} in Kafka: allow {allowed}."
    assert "" == await case.ask()


async def test_useful_rights(guarded: GuardedBroker, fresh: str) -> None:
    """A right without which a worker runs is told once, with what is missing without it."""
    case = Case(guarded, fresh)
    guarded.create(case.topics)
    guarded.allow(rights_of(case.needs, useful=False))
    for _ in range(2):
        assert "" == await case.ask()

    told = [event for event in case.events if isinstance(event, RightUseful)]
    assert [
        f"DESCRIBE_CONFIGS on topic {fresh}",
        f"DESCRIBE_CONFIGS on topic {fresh}-letters",
    ] == [event.reason.partition(": allow ")[2].removesuffix(".") for event in told]
    assert "posts over 1 MB count as too large" in told[-1].without


async def test_rights_to_create(guarded: GuardedBroker, fresh: str) -> None:
    """With the right to create the topics, and those of use, all are made; without it all of them are named at once."""
    case = Case(guarded, fresh)
    used = rights_of(case.needs)
    guarded.allow([right for right in used if right.kind != TOPIC])
    said = await case.ask()
    for spec in case.topics:
        assert f"CREATE on topic {spec.name} (or, if it is there, " in said
    guarded.allow(used)
    said = await case.ask()
    for spec in case.topics:
        assert f"CREATE on topic {spec.name}" in said
    guarded.allow(rights_of(case.needs, create=True))

    assert "" == await case.ask()
    assert {spec.name for spec in case.topics} <= set(guarded.admin.list_topics(timeout=10).topics)


async def test_nothing_is_declared(guarded: GuardedBroker, fresh: str) -> None:
    """CONNECTOR_TOPIC_ALLOW_DECLARE=false: what is absent is named with the command, and nothing is created."""
    case = Case(guarded, fresh, topic_allow_declare="false")
    guarded.allow(rights_of(case.needs, create=True))
    with pytest.raises(BrokerUnsuitable, match=f"kafka-topics.sh --create --topic {fresh}-offsets --partitions 64"):
        await case.ask()

    assert not [name for name in guarded.admin.list_topics(timeout=10).topics if name.startswith(fresh)]
    guarded.create(case.topics)
    assert "" == await case.ask()


async def test_idempotence_at_least_once(guarded: GuardedBroker, fresh: str) -> None:
    """Rights on the cluster are not needed: Kafka gives an idempotent producer to whoever may write to a topic."""
    case = Case(guarded, fresh, delivery="at_least_once")
    guarded.create(case.topics)
    guarded.allow(rights_of(case.needs))

    assert "" == await case.ask()
    assert [] == [event for event in case.events if isinstance(event, RightUseful)]


async def test_size_of_records_without_the_settings(guarded: GuardedBroker, fresh: str) -> None:
    """Records are as large as the topics take; where that may not be asked, as large as Kafka's default."""
    import faust

    case = Case(guarded, fresh)
    guarded.create(case.topics)
    guarded.allow(rights_of(case.needs))
    app = faust.App(
        fresh,
        broker=case.loaded.worker.broker_url,
        broker_credentials=case.cluster.credentials(),
        loop=asyncio.get_running_loop(),
        topic_disable_leader=True,
    )
    app.finalize()

    def sink() -> TopicSink:
        return TopicSink(
            app,
            case.cluster,
            [Destination(connector="posts", topic=fresh, dead_letter_topic=f"{fresh}-letters")],
            Slot(offsets_topic=f"{fresh}-offsets", ledger_topic=f"{fresh}-ledger", number=0),
            DeliverySettings(
                task=TaskId("posts", 0),
                transactional_id=f"{fresh}-posts-0",
                idempotent=True,
                transaction_timeout_secs=60,
                trust_end_offsets=True,
            ),
        )

    first, second = sink(), sink()
    await first.open()
    await first.close()
    guarded.withdraw([Right(DESCRIBE_CONFIGS, TOPIC, f"{fresh}{end}") for end in ("", "-letters")])
    await second.open()
    await second.close()
    to = first.destinations[0]
    known = first.limits_of(to).dead_letter_bytes
    await first.open()
    await first.close()

    least = DEFAULT_MAX_MESSAGE_BYTES - RECORD_OVERHEAD_BYTES
    assert (
        MAX_DEAD_LETTER_BYTES - RECORD_OVERHEAD_BYTES - LETTER_HEADER_BYTES
        == known
        == first.limits_of(to).dead_letter_bytes
    )
    assert Limits(record_bytes=least, dead_letter_bytes=least - LETTER_HEADER_BYTES) == second.limits_of(to)


@pytest.fixture
def quiet_aiokafka() -> Iterator[None]:
    """A command silences aiokafka for its process; the tests behind it are to hear it."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("quiet_aiokafka")
def test_coverage_command(guarded: GuardedBroker, fresh: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`coverage` names the right that it lacks, instead of showing that nothing is covered; it needs three."""
    case = Case(guarded, fresh)
    guarded.create(case.topics)
    values = {"connector": None, "retry": None, "accept": None, "yes": False, "json_": True}
    codes = [coverage.run(values, case.loaded)]
    said = capsys.readouterr().err
    guarded.allow([Right(READ, TOPIC, f"{fresh}-offsets")])
    codes.append(coverage.run(values, case.loaded))
    less = capsys.readouterr().err
    guarded.allow([Right(READ, TOPIC, f"{fresh}-{name}") for name in ("statuses", "configs")])
    codes.append(coverage.run(values, case.loaded))

    assert [69, 69, 0] == codes
    rest = f"READ on topic {fresh}-statuses, READ on topic {fresh}-configs"
    assert said.endswith(f" User alice lacks rights in Kafka: allow READ on topic {fresh}-offsets, {rest}.\n")
    assert less.endswith(f" User alice lacks rights in Kafka: allow {rest}.\n")


async def test_request_of_a_gap(guarded: GuardedBroker, fresh: str) -> None:
    """`coverage --retry` needs one right more, and names it."""
    case = Case(guarded, fresh)
    guarded.create(case.topics)
    group = coverage.Group(case.loaded.worker, case.loaded.connector)
    gap = {"from": "2026-11-01T12:34:56.789Z", "partition": None}
    with pytest.raises(RightMissing, match=rf"lacks a right in Kafka: allow WRITE on topic {fresh}-configs\.$"):
        await group.ask("posts", [gap], Action.RETRY)
    guarded.allow([Right(WRITE, TOPIC, f"{fresh}-configs")])

    await group.ask("posts", [gap], Action.RETRY)


async def test_audit_names_its_rights(guarded: GuardedBroker, fresh: str) -> None:
    """`audit` asks for all that it reads, before it counts anything, or pays for it."""
    case = Case(guarded, fresh)
    guarded.create(case.topics)
    with pytest.raises(RightMissing) as caught:
        await command.Reading(case.loaded.worker, case.loaded.connector).read(None, None)

    assert str(caught.value) == (
        f"User alice lacks rights in Kafka: allow DESCRIBE_CONFIGS and READ on topic {fresh},"
        f" READ on topic {fresh}-ledger, READ on topic {fresh}-offsets, READ on topic {fresh}-configs."
    )
