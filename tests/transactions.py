"""
A task on real Kafka behind a proxy, fed by the test; and is each of its transactions whole?

What stands in for X is a `Feeder`: the task, its batches in flight and its sink are the worker's own.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import faust
import orjson

from connector.coverage.ledger import decode_ids
from connector.coverage.offset import Coverage
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.sink import DeliverySettings, TopicSink
from connector.kafka.delivery.writing import Slot
from connector.records import clock
from connector.records.record import Arrival, Connected, Destination, TaskId, held_bytes
from connector.records.snowflake import first_id
from connector.worker.tasks import DELIVERY_PACE_SECS, OFFSET_INTERVAL_SECS, TRANSACTION_PACE_SECS
from tests import topics
from tests.brokers import Broker, KafkaBroker, KafkaBrokers, free_port
from tests.kafka_proxy import KafkaProxy
from tests.topics import OFFSET_KEY_ELEMENTS
from tests.unit.fakes import Running, ScriptedFinder, until

SLOT = 0
PARTITIONS = 4
STOP_SECS = 120.0
ID_STEP = 1000
TICK_SECS = 0.01


def properties_behind(proxy: KafkaProxy, target: int, direct: int) -> dict[str, str]:
    """Return properties of a broker whose clients stay behind the *proxy*; those at the port *direct* do not."""
    controller = free_port()
    return {
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{direct},PROXIED://127.0.0.1:{target},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{direct},PROXIED://{proxy.address}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
        "log.cleaner.backoff.ms": "200",
    }


class Feeder:
    """A source whose only connection brings the posts that the test asks for, from any thread."""

    rules = ()

    def __init__(self, *, first_number: int = 0) -> None:
        self.partition = {"stream": "filtered"}
        self.ids: list[int] = []
        """Of all posts that were handed over."""
        self._base = first_id(int(time.time() * 1000)) + first_number * ID_STEP
        self._numbers = itertools.count()
        self._put = None
        self._connected, self._stopped = threading.Event(), threading.Event()

    def want(self, wanted):
        """It has no rules."""

    def rules_of(self, connector):
        """Nor has any connector."""
        return ()

    def ask(self, parameters):
        """Nothing is asked for."""

    def prepare(self) -> frozenset[str]:
        """Nothing is to be prepared."""
        return frozenset()

    def read(self, put, connected, *, backfill_minutes=None):
        connected(Connected(at=clock.now(), skew_secs=0.0))
        self._put = put
        self._connected.set()
        self._stopped.wait()

    def stop(self):
        self._stopped.set()

    def find_connection(self):
        return None

    def bring(self, count: int, size: int) -> None:
        """Hand over *count* posts of *size* bytes in one arrival; waits while the buffer is full."""
        assert self._connected.wait(60)
        ids = [self._base + next(self._numbers) * ID_STEP for _ in range(count)]
        lines = tuple(b'{"data":{"id":"%d","text":"%s"}}' % (post, b"x" * (size - 50)) for post in ids)
        self.ids += ids
        self._put(Arrival(lines=lines, at=clock.now(), size=held_bytes(lines)))

    def bring_steadily(self, rate: float, size: int, until: threading.Event) -> None:
        """Hand over *rate* posts a second until the event is set.  A thread of its own."""
        began, count = time.monotonic(), 0
        while not until.wait(TICK_SECS):
            if due := int((time.monotonic() - began) * rate) - count:
                count += due
                self.bring(due, size)


class Task(Running):
    """A task that takes turns as a worker's does."""

    def __init__(self, feeder: Feeder, sink: TopicSink, *, exactly_once: bool, **changed: object) -> None:
        super().__init__(
            [feeder],
            sink,
            finder=ScriptedFinder(),
            **{
                "pace_secs": TRANSACTION_PACE_SECS if exactly_once else DELIVERY_PACE_SECS,
                "offset_interval_secs": 0.0 if exactly_once else OFFSET_INTERVAL_SECS,
                "batch_max_records": 10_000,
                "buffer_max_bytes": 64 * 1024 * 1024,
            }
            | changed,
        )

    async def stop(self) -> None:
        async with asyncio.timeout(STOP_SECS):
            await self.task.stop()

    async def delivered(self, posts: int) -> None:
        """Return once Kafka has confirmed so many."""
        await until(
            lambda: posts <= sum(coverage.posts for coverage in self.committed),
            STOP_SECS,
        )

    @property
    def committed(self) -> list[Coverage]:
        """What the committed offset of each source partition says."""
        return [self.task._in_flight.coverage_of("posts", progress.partition) for progress in self.task.progresses]

    @property
    def commits(self) -> int:
        """Batches that Kafka has confirmed."""
        return self.task._in_flight.commits


async def make_topics(broker: Broker, group: str, *, replicas: int = 1, **offsets_settings: str) -> None:
    """Create what a task of *group* needs; a worker's internal topics have 64 partitions, of which a task uses one."""
    await topics.create(broker, f"{group}-offsets", replicas=replicas, cleanup_policy="compact", **offsets_settings)
    await topics.create(broker, f"{group}-ledger", replicas=replicas, retention_ms="-1")
    await topics.create(broker, group, partitions=PARTITIONS, replicas=replicas, retention_ms="-1")


def make_sink(
    servers: str, group: str, *, exactly_once: bool = True, idempotent: bool = True, timeout_secs: float = 60.0, **conf
) -> TopicSink:
    """Return the sink of task 0 of connector `posts` in *group*; *conf* are Faust's settings."""
    app = faust.App(
        group,
        broker=";".join(f"kafka://{server}" for server in servers.split(",")),
        loop=asyncio.get_running_loop(),
        topic_disable_leader=True,
        producer_max_request_size=32 * 1024 * 1024,
        **conf,
    )
    app.finalize()
    return TopicSink(
        app,
        KafkaCluster(servers=tuple(servers.split(","))),
        [Destination(connector="posts", topic=group, dead_letter_topic=None)],
        Slot(offsets_topic=f"{group}-offsets", ledger_topic=f"{group}-ledger", number=SLOT),
        DeliverySettings(
            task=TaskId("posts", 0),
            transactional_id=f"{group}-posts-0" if exactly_once else None,
            idempotent=idempotent,
            transaction_timeout_secs=timeout_secs,
            trust_end_offsets=True,
        ),
    )


@dataclass(slots=True, kw_only=True)
class Transactions:
    """What a reader of committed records finds: posts, and for each transaction the ids in its ledger, its offset."""

    posts: Counter[int] = field(default_factory=Counter)
    ledger: list[list[int]] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    """What each committed offset says of how many posts were delivered."""

    @property
    def doubled(self) -> int:
        return sum(times - 1 for times in self.posts.values())

    def lost(self, fed: list[int]) -> int:
        """Return how many of *fed* are not in the topic."""
        return len(set(fed) - self.posts.keys())

    @property
    def broken(self) -> list[str]:
        """Return what is not whole: of each transaction posts, ledger and offset must be there, or none of them."""
        found = []
        steps = [now - before for before, now in itertools.pairwise([0, *self.delivered]) if now != before]
        if steps != [len(ids) for ids in self.ledger]:
            found.append("offsets and ledger differ in how many posts a transaction had")
        known = Counter(itertools.chain.from_iterable(self.ledger))
        if known.total() != len(known):
            found.append(f"{known.total() - len(known)} ids are in two transactions' ledgers")
        if only_known := known.keys() - self.posts.keys():
            found.append(f"{len(only_known)} ids are in the ledger and their posts not in the topic")
        if only_there := self.posts.keys() - known.keys():
            found.append(f"{len(only_there)} posts are in the topic and their ids not in the ledger")
        return found


async def transactions_of(broker: Broker, group: str) -> Transactions:
    """Read the topics of *group*."""
    found = Transactions()
    async for record in topics.records_of(broker, group):
        found.posts[int(record.key)] += 1
    async for record in topics.records_of(broker, f"{group}-ledger"):
        found.ledger.append(decode_ids(record.value))
    async for record in topics.records_of(broker, f"{group}-offsets"):
        if len(orjson.loads(record.key)) == OFFSET_KEY_ELEMENTS:
            found.delivered.append(orjson.loads(record.value)["posts"])
    return found


async def assert_exact(broker: Broker, group: str, fed: list[int]) -> None:
    """Each post that was fed is there once, and every transaction is whole."""
    found = await transactions_of(broker, group)

    findings = {"doubled": found.doubled, "lost": found.lost(fed), "broken": found.broken}
    assert {"doubled": 0, "lost": 0, "broken": []} == findings, findings
    assert (len(fed), len(fed)) == (len(found.posts), found.delivered[-1])


def behind_proxy(folder, **properties: str) -> tuple[KafkaBroker, KafkaProxy]:
    """Return a broker, and a proxy before it; neither runs yet."""
    target, direct = free_port(), free_port()
    proxy = KafkaProxy(target)
    stated = properties_behind(proxy, target, direct) | properties
    return KafkaBroker(folder, direct, properties=stated), proxy


def behind_proxies(folder) -> tuple[KafkaBrokers, list[KafkaProxy]]:
    """Return three brokers with a proxy before each, which share what is planned; none of them runs yet."""
    first = KafkaProxy(free_port())
    proxies = [first, *(KafkaProxy(free_port(), beside=first) for _ in range(KafkaBrokers.COUNT - 1))]
    return KafkaBrokers(folder, doors=[(proxy.target, proxy.port) for proxy in proxies]), proxies
