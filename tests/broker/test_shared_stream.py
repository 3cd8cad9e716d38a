"""
Three connectors on one stream, the simulator and a real broker: what each topic holds, beside what X sent.

They come and go, their worker dies and another one takes over; X is connected once each time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Self

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from connector.coverage.offset import Coverage, Way
from connector.coverage.spend import Budget
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.delivery.writing import Slot
from connector.kafka.state.offsets import encode_key
from connector.kafka.topics import declare, internal_topics
from connector.records.record import Destination, TaskId
from connector.simulator import SimulatorSettings, SimulatorThread
from connector.sources.archive.finder import PostFinder
from connector.sources.rest.credentials import BearerToken
from connector.sources.source import StreamSource
from connector.sources.stream.connection import Limits
from connector.sources.stream.streams import STREAMS
from connector.task import backoff, reader, task
from connector.task.repair.policy import Policy
from connector.task.settings import Subscription, TaskSettings
from connector.task.subscribers import Wished
from connector.task.task import SourceTask
from connector.worker.threads import DaemonExecutor
from tests import topics
from tests.brokers import Broker
from tests.unit.fakes import MemoryRequests, until

pytestmark = pytest.mark.broker

SLOT = 3
PARTITION = {"stream": "filtered"}
SECS = 60.0
RULES = {
    "birds": {"#starling": "starling", "#murmuration": "all"},
    "code": {"#python": "python", "#kafka": "kafka"},
    "all": {"#starling": "s", "#python": "p", "#meadow": "m"},
}
"""Two of the values are wanted by two connectors; X holds each once."""


@pytest.fixture
def simulator():
    settings = SimulatorSettings(rate=0, hashtag_share=1.0, keepalive_s=0.3, delivery_lag=(0.0, 0.05), ghost_slot_s=0.5)
    with SimulatorThread(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(task, "RESTART_PAUSE_SECS", 0.2)
    monkeypatch.setattr(backoff, "CONNECT_WINDOW_SECS", 0.5)
    monkeypatch.setattr(reader, "RELEASE_SECS", 1.0)


@pytest.fixture
async def group(broker: Broker, fresh: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    specs = internal_topics(fresh, replication=-1, ledger_retention_ms=86_400_000, history_retention_ms=86_400_000)
    await declare(admin, specs, lambda _: None)
    await topics.known(admin, *(spec.name for spec in specs))
    await admin.close()
    for name in RULES:
        await topics.create(broker, f"{fresh}-{name}", partitions=2)
    return fresh


class Owner:
    """One owner of the stream's task, as a worker would build it."""

    def __init__(self, broker: Broker, group: str, simulator, names, *, exactly_once: bool = True) -> None:
        self.events: list[object] = []
        self.told: dict[str, list[object]] = defaultdict(list)
        self._group = group
        app = faust.App(group, broker=broker.url, loop=asyncio.get_running_loop(), topic_disable_leader=True)
        app.finalize()
        self.source = StreamSource(
            connector="birds",
            stream=STREAMS["filtered"],
            partition=PARTITION,
            url=simulator.url,
            credentials=BearerToken(simulator.settings.token),
            parameters={},
            wanted={},
            emit=self.events.append,
            limits=Limits(silence_secs=5),
        )
        wished = self.wished(names)
        self.sink = TopicSink(
            app,
            KafkaCluster(servers=(broker.address,)),
            [each.destination for each in wished.subscriptions],
            Slot(offsets_topic=f"{group}-offsets", ledger_topic=f"{group}-ledger", number=SLOT),
            DeliverySettings(
                task=TaskId("birds", 0),
                transactional_id=f"{group}-birds-0" if exactly_once else None,
                idempotent=True,
                transaction_timeout_secs=60,
                trust_end_offsets=True,
            ),
        )
        self.task = SourceTask(
            TaskSettings(
                task=TaskId("birds", 0),
                poll_interval_secs=0.02,
                pace_secs=0.02,
                offset_interval_secs=0.0 if exactly_once else 0.1,
                batch_max_records=200,
                buffer_max_bytes=8 * 1024 * 1024,
                time_limit_secs=None,
            ),
            [self.source],
            wished,
            self.sink,
            DaemonExecutor("reader"),
            requests=MemoryRequests(),
            emit=self.events.append,
        )

    def wished(self, names) -> Wished:
        idle = frozenset(RULES.keys() - set(names))
        return Wished(subscriptions=tuple(map(self._wish, names)), idle=idle)

    def _wish(self, name: str) -> Subscription:
        return Subscription(
            task=TaskId(name, 0),
            destination=Destination(connector=name, topic=f"{self._group}-{name}"),
            settle_secs=1.0,
            tolerate_bad_records=False,
            policy=Policy(ways=frozenset({Way.SEARCH}), none_because=""),
            metered=True,
            budget=Budget(),
            wanted=RULES[name],
            finder=lambda _: PostFinder(source=self.source, max_characters=512),
            on_status=self.told[name].append,
        )

    async def __aenter__(self) -> Self:
        await self.task.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(SECS):
            await self.task.stop()

    async def reads(self, *names: str) -> None:
        """Return once it reads for just these."""
        await until(lambda: {each.name for each in self.task.subscribers if each.in_force} == set(names), SECS)
        await until(lambda: {each.name for each in self.task.subscribers} == set(names), SECS)

    async def die(self) -> None:
        """End as a killed worker does: nothing that is under way is finished, and X may count the connection."""
        self.task.abandon()
        async with asyncio.timeout(SECS):
            await self.task.ended.wait()


async def posts_in(broker: Broker, topic: str) -> list[int]:
    return [int(record.key) async for record in topics.records_of(broker, topic)]


def sent_to(simulator, name: str) -> set[int]:
    """The posts that X wrote for a rule of *name*, whoever's tag it has."""
    return {int(each.post_id) for each in simulator.emissions if each.complete and is_for(name, each.tags)}


def is_for(name: str, tags: Collection[str]) -> bool:
    values = {f"{owner}/{label}": value for owner, rules in RULES.items() for value, label in rules.items()}
    return not RULES[name].keys().isdisjoint(values[tag] for tag in tags)


def emitted_for(simulator, name: str) -> set[int]:
    """The posts that matched a rule of *name* when they were made, whether anybody was connected or not."""
    return {int(each.post_id) for each in simulator.emissions if is_for(name, each.tags)}


async def offset_of(broker: Broker, group: str, name: str) -> Coverage:
    key = encode_key(name, PARTITION)
    values = [record.value async for record in topics.records_of(broker, f"{group}-offsets") if record.key == key]
    return Coverage.decode(values[-1])


@pytest.mark.parametrize("exactly_once", [True, False])
async def test_three_on_one_stream(broker: Broker, group: str, simulator, exactly_once: bool) -> None:  # noqa: FBT001
    """One connection; each topic holds what X sent for the rules of its connector, each post once."""
    async with Owner(broker, group, simulator, RULES, exactly_once=exactly_once) as owner:
        await owner.reads(*RULES)
        await until(lambda: owner.task.readers[0].connected, SECS)
        simulator.rate = 300
        await asyncio.sleep(3)
        simulator.rate = 0
        await asyncio.sleep(1)

    assert 1 == len(simulator.connections)
    for name in RULES:
        found = await posts_in(broker, f"{group}-{name}")
        assert len(set(found)) == len(found) > 50
        assert sent_to(simulator, name) == set(found)
        assert len(found) == (await offset_of(broker, group, name)).posts
    assert 5 == len({rule for each in simulator.emissions for rule in each.rule_ids})


async def test_they_come_and_go_and_workers_die(broker: Broker, group: str, simulator) -> None:
    """No topic has a post twice, or one of another's rules; what a connector missed lies in a gap of its own."""
    simulator.rate = 200
    async with Owner(broker, group, simulator, ["birds"]) as owner:
        await owner.reads("birds")
        for names in (["birds", "code"], ["birds", "code", "all"], ["code", "all"], ["birds", "code", "all"]):
            await asyncio.sleep(0.7)
            owner.task.change(owner.wished(names))
            await owner.reads(*names)
        connections = len(simulator.connections)
        await asyncio.sleep(1)
        await owner.die()
    assert 1 == connections
    async with Owner(broker, group, simulator, RULES) as second:
        await second.reads(*RULES)
        await asyncio.sleep(1.5)
        await second.die()
    async with Owner(broker, group, simulator, RULES) as third:
        await third.reads(*RULES)
        await asyncio.sleep(2.5)
        simulator.rate = 0
        await asyncio.sleep(1.5)

    for name in RULES:
        found = await posts_in(broker, f"{group}-{name}")
        coverage = await offset_of(broker, group, name)
        assert len(set(found)) == len(found) == coverage.posts
        await _check_covered(simulator, name, set(found), coverage)
        assert set(found) <= emitted_for(simulator, name)


async def _check_covered(simulator, name: str, found: set[int], coverage: Coverage) -> None:
    """Whatever was made in covered time, outside of the gaps, and matched a rule of *name* is in its topic."""
    for post in sent_to(simulator, name) - found:
        made_ms = (post >> 22) + 1_288_834_974_657
        covered = coverage.covered_from_ms <= made_ms < coverage.covered_to_ms
        assert not covered or any(gap.from_ms <= made_ms < gap.to_ms for gap in coverage.gaps), (name, post)
