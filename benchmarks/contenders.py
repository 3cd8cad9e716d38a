"""
The ways from the stream to Kafka that are compared.

All with `acks=all`, each in a process of its own.

`exactly-once`   Our worker as it is configured by default: one transaction per batch with posts, ledger and source
                 offset, ids looked up and remembered against duplicates, each line checked to be JSON, keyed by the
                 post's id and stamped with its time, REST API and metrics on.  It is bounded in memory, survives
                 SIGKILL at any moment without a post lost or doubled.
`at-least-once`  The same without transactions: posts are acknowledged before the source offset is written.
`as written`     tweepy's `on_data` into confluent-kafka's `produce`, `poll(0)`, tweepy's default chunk of 512 bytes.
                 No key (to have one, the line would have to be parsed), no duplicates removed, no check, no offset:
                 after a crash nobody knows what is missing.  It is not idempotent, and does not look at delivery
                 errors.  A full queue is waited for.
`tuned`          The same with chunks of 64 KiB, a longer linger and a queue of 350,000 posts; `poll` every 1,000.
                 What is in the queue is lost in a crash.
`kafka-python`   tweepy's `on_data` into kafka-python's `send`, with its defaults.
`connect ...`    `FeedSource.java` in Kafka Connect (`connect`): it does as little as the scripts.  At least once it is
                 a standalone worker, exactly once a distributed one, because only that has transactions.
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
        """As the tables have it."""

    @property
    def transactional(self) -> bool:
        """Whether it writes in transactions."""

    @property
    def keyed(self) -> bool:
        """Whether records have the post's id as key."""

    @property
    def warmup_factor(self) -> float:
        """How much more time than others it needs to come to its speed."""

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        """
        Begin to fill *topic*.

        Raises:
            Failure: it cannot be had here.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our worker; *workers* of them in one group, with *settings* such as `{"tasks.max": 2}`."""

    delivery: str
    name: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    workers: int = 1
    command: Sequence[str] = (sys.executable, "-m", "connector", "worker")
    python_path: str = str(ROOT)
    """Where that finds the connector, if it is not installed."""
    keyed: bool = True
    warmup_factor: float = 1.0

    @property
    def transactional(self) -> bool:
        return self.delivery == "exactly_once"

    def start(self, bench: Rig, simulator: Simulator, topic: str) -> Running:
        """A group of its own for each topic: nothing is left over from another run."""
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
            "recovery": "none",  # the feed's posts are in no search
            "rules": rules(1),
            **self.settings,
        }
        return {
            f"CONNECTOR_{name.replace('.', '_').upper()}": str(value)
            for name, value in settings.items()
            if value is not None
        }


def rules(count: int) -> str:
    """The rule that the feed's lines match, and others up to *count*."""
    others = [{"value": f"cats lang:en number{number}", "tag": f"t{number}"} for number in range(1, count)]
    return orjson.dumps([{"value": RULE, "tag": "cats"}, *others]).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script that people write."""

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
    warmup_factor: float = 3.5  # a virtual machine compiles what it finds hot

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
"""In the order of the first round."""
