"""
The contenders: ways from the stream to Kafka that the benchmarks compare.

All use `acks=all`, each in a process of its own.

`exactly-once`   Our worker with its default settings.  Each batch is one transaction with posts, ledger and source
                 offset.  The worker removes duplicates by their ids, checks that each line is JSON, uses the post's
                 id as key and its time as timestamp, and serves the REST API and metrics.  Its memory is bounded.
                 SIGKILL at any moment loses and doubles no post.
`at-least-once`  The same without transactions: posts are acknowledged before the source offset is written.
`as written`     tweepy's `on_data` into confluent-kafka's `produce`, `poll(0)`, tweepy's default chunk of 512 bytes.
                 It sets no key (it would have to parse the line), removes no duplicates, checks nothing and stores no
                 offset: after a crash nobody knows which posts are missing.  It is not idempotent and ignores delivery
                 errors.  It waits while the queue is full.
`tuned`          The same with chunks of 64 KiB, a longer linger and a queue of 350,000 posts; `poll` every 1,000.
                 A crash loses the posts in the queue.
`kafka-python`   tweepy's `on_data` into kafka-python's `send`, with its defaults.
`connect ...`    `FeedSource.java` in Kafka Connect (`connect`): it does as little as the scripts.  The worker is
                 standalone for at least once and distributed for exactly once, as only that one has transactions.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from benchmarks import connect
from benchmarks.rig import ROOT, RULE, TOKEN, Process, Rig, Running, Simulator
from tests.brokers import free_port

SCRIPTS = Path(__file__).parent / "scripts"


class Contender(Protocol):
    """A way from the stream to Kafka."""

    @property
    def name(self) -> str:
        """The name in the tables."""

    @property
    def transactional(self) -> bool:
        """Whether the contender writes in transactions."""

    @property
    def keyed(self) -> bool:
        """Whether records have the post's id as key."""

    @property
    def warmup_factor(self) -> float:
        """Multiplies the time for the warm-up."""

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        """
        Start the contender, which fills *topic*.

        Raises:
            Failure: this machine cannot run it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our workers: *workers* of them in one group, with *settings* such as `{"tasks.max": 2}`."""

    delivery: str
    name: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    workers: int = 1
    command: Sequence[str] = (sys.executable, "-m", "connector", "worker")
    python_path: str = str(ROOT)
    """The folder with the connector, if it is not installed."""
    keyed: bool = True
    warmup_factor: float = 1.0

    @property
    def transactional(self) -> bool:
        return self.delivery == "exactly_once"

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        """Start the workers in a new group for each topic, so that no state of another run is used."""
        ports = [free_port() for _ in range(self.workers)]
        environment = self._environment(bench, simulator, topic)
        processes = [
            Process(
                self.command,
                bench.log(topic, number),
                environment | {"CONNECTOR_WEB_PORT": str(port), "PYTHONPATH": self.python_path},
            )
            for number, port in enumerate(ports, start=1)
        ]
        return Running(topic, processes, urls=[f"http://127.0.0.1:{port}" for port in ports])

    def _environment(self, bench: Rig, simulator: Simulator, topic: str) -> dict[str, str]:
        settings = {
            "broker_url": bench.broker.url,
            "group_id": f"{topic}-group",
            "topic": topic,
            "delivery": self.delivery,
            "x_api_url": simulator.url,
            "x_bearer_token": TOKEN,
            "recovery": "none",  # the simulator's search does not have the feed's posts
            "rules": rules(1),
            **self.settings,
        }
        return {
            f"CONNECTOR_{name.replace('.', '_').upper()}": str(value)
            for name, value in settings.items()
            if value is not None
        }


def rules(count: int) -> str:
    """Return *count* rules as JSON; the feed's lines match one of them."""
    others = [{"value": f"cats lang:en number{number}", "tag": f"t{number}"} for number in range(1, count)]
    return orjson.dumps([{"value": RULE, "tag": "cats"}, *others]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script as users write it."""

    name: str
    file: str
    transactional: bool = False
    keyed: bool = False
    warmup_factor: float = 1.0

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        environment = {
            "BOOTSTRAP_SERVERS": bench.broker.address,
            "X_API_URL": simulator.url,
            "BEARER_TOKEN": TOKEN,
            "TOPIC": topic,
        }
        process = Process([sys.executable, str(SCRIPTS / self.file)], bench.log(topic), environment)
        return Running(topic, [process])


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """The Java source in Kafka Connect."""

    name: str
    tuned: bool
    transactional: bool
    keyed: bool = False
    warmup_factor: float = 3.5  # Java compiles hot code only after some time

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        url = f"{simulator.url}/2/tweets/search/stream"
        run = connect.run_distributed if self.transactional else connect.run_standalone
        return run(bench, topic, url, tuned=self.tuned)


AS_WRITTEN = Script(name="as written", file="confluent_as_written.py")
TUNED = Script(name="tuned", file="confluent_tuned.py")
EXACTLY_ONCE = Ours(name="exactly-once", delivery="exactly_once")
AT_LEAST_ONCE = Ours(name="at-least-once", delivery="at_least_once")

CONTENDERS: Sequence[Contender] = (
    EXACTLY_ONCE,
    AS_WRITTEN,
    AT_LEAST_ONCE,
    TUNED,
    Script(name="kafka-python", file="kafka_python.py"),
    Connect(name="connect", tuned=False, transactional=False),
    Connect(name="connect tuned", tuned=True, transactional=False),
    Connect(name="connect exactly-once", tuned=False, transactional=True),
    Connect(name="connect exactly-once tuned", tuned=True, transactional=True),
)
"""All contenders, in the order of the first round."""
