"""
The bench: one real Kafka, the simulator's feed, and one contender at a time between them.

    simulator (own process) ──▶ contender (own process) ──▶ Kafka (own process)
                                   │ /proc: CPU, memory         │ end offsets, records
                                   └───────── Window ───────────┘
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import kafka
import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic

from tests.brokers import KafkaBroker

ROOT = Path(__file__).parent.parent
TOKEN = "simulated-token"  # noqa: S105  # opens nothing but the simulator
RULE = "cats lang:en"
PARTITIONS = 4
FIRST_POST_SECS = 60.0
STOP_SECS = 60.0
POLL_SECS = 0.05
MOVE_SECS = 1.0
LOG_TAIL = 2000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one contender did in one round, between two moments of steady work."""

    posts: int
    secs: float
    cpu_secs: float
    peak_rss_bytes: int

    @property
    def posts_per_sec(self) -> float:
        return self.posts / self.secs

    @property
    def cpu_us_per_post(self) -> float:
        """Microseconds per post, which is seconds per million posts."""
        return self.cpu_secs / self.posts * 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    at: float
    ends: Mapping[int, int]
    cpu_secs: float


class Process:
    """A process of the bench, with its output in a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> None:
        # not our variables, and no `.env` of the place where the bench was started
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")}
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own commands
                command,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"It ended with {self._process.returncode}:\n{self.log.read_text()[-LOG_TAIL:]}")

    def sleep(self, secs: float) -> None:
        """Sleep, and raise if the process has ended by then."""
        time.sleep(secs)
        self.check()

    @property
    def cpu_secs(self) -> float:
        """User and system time so far, of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    @property
    def peak_rss_bytes(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def stop(self) -> None:
        """Ask it to stop, and kill it if it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            print(f"Killed what did not stop within {STOP_SECS:g} s; see {self.log.name}", file=sys.stderr)


class Rig:
    """Kafka and the simulator, running; use `rig`."""

    def __init__(self, broker: KafkaBroker, simulator_url: str, folder: Path) -> None:
        self.broker, self.simulator_url = broker, simulator_url
        self._folder = folder
        self._admin = KafkaAdminClient(bootstrap_servers=broker.address)
        self._offsets = KafkaConsumer(bootstrap_servers=broker.address, isolation_level="read_committed")
        self._runs = 0

    def measure(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        topic_variable: str,
        transactional: bool,
        warmup_secs: float,
        secs: float,
    ) -> Window:
        """Run one contender into a topic of its own (whose name it gets in *topic_variable*) and stop it again."""
        self._runs += 1
        topic = f"bench-{self._runs}"
        self._create(topic)
        process = Process(command, self._folder / f"{topic}.log", environment | {topic_variable: topic}, self._folder)
        try:
            self._await_first_post(topic, process)
            process.sleep(warmup_secs)
            before = self._now(topic, process)
            process.sleep(secs)
            after = self._now(topic, process)
            peak = process.peak_rss_bytes
        finally:
            process.stop()
        posts = (
            self._committed_records(topic, before.ends, after.ends)
            if transactional
            else sum(after.ends.values()) - sum(before.ends.values())
        )
        self._admin.delete_topics([topic])
        self._await_hang_up()
        return Window(
            posts=posts, secs=after.at - before.at, cpu_secs=after.cpu_secs - before.cpu_secs, peak_rss_bytes=peak
        )

    def _create(self, topic: str) -> None:
        # gone from the disk soon after it is deleted
        new = NewTopic(topic, PARTITIONS, 1, topic_configs={"file.delete.delay.ms": "1000"})
        self._admin.create_topics([new])
        while len(self._offsets.partitions_for_topic(topic) or ()) < PARTITIONS:
            time.sleep(POLL_SECS)

    def _await_first_post(self, topic: str, process: Process) -> None:
        end = time.monotonic() + FIRST_POST_SECS
        while not sum(self._ends(topic).values()):
            if time.monotonic() > end:
                raise RuntimeError(f"No post within {FIRST_POST_SECS:g} s:\n{process.log.read_text()[-LOG_TAIL:]}")
            process.sleep(POLL_SECS)

    def _now(self, topic: str, process: Process) -> _Moment:
        # Ends move by whole transactions: a window that begins and ends at such a move has no part of one too many.
        first, give_up = self._ends(topic), time.monotonic() + MOVE_SECS
        while True:
            begin = time.monotonic()
            ends, cpu_secs = self._ends(topic), process.cpu_secs
            if ends != first or begin > give_up:
                return _Moment(at=(begin + time.monotonic()) / 2, ends=ends, cpu_secs=cpu_secs)

    def _ends(self, topic: str) -> Mapping[int, int]:
        """The last stable offset of each partition: what a reader of committed records may see."""
        places = [kafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
        return {place.partition: end for place, end in self._offsets.end_offsets(places).items()}

    def _committed_records(self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int]) -> int:
        """Count what a reader of committed records gets; offsets would count the markers of transactions, too."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker.address,
                "group.id": "bench",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        left = {number for number in ends if ends[number] > begins[number]}
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in left])
        count = 0
        while left:
            for message in consumer.consume(10_000, timeout=10):
                number = message.partition()
                if message.error() is None:
                    count += message.offset() < ends[number]
                elif message.error().code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    raise RuntimeError(str(message.error()))
                if number in left and message.offset() >= ends[number] - 1:
                    left.remove(number)
                    consumer.incremental_unassign([TopicPartition(topic, number)])
        consumer.close()
        return count

    def _await_hang_up(self) -> None:
        """Wait until the simulator has noticed that nobody reads any more."""
        while True:
            with urllib.request.urlopen(f"{self.simulator_url}/control/state", timeout=10) as answer:  # noqa: S310
                if not orjson.loads(answer.read())["connections"]["live"]:
                    return
            time.sleep(POLL_SECS)


@contextlib.contextmanager
def rig(folder: Path, *, line_bytes: int, chunk_bytes: int) -> Iterator[Rig]:
    """Start Kafka and the simulator's feed, and end both."""
    broker = KafkaBroker(folder / "broker")
    simulator: Process | None = None
    try:
        broker.start()
        simulator = Process(
            [
                *(sys.executable, "-m", "connector.simulator", "--port", "0", "--no-enforce-rate-limits"),
                *("--rule", f"{RULE}=>cats", "--feed"),
                *("--line-bytes", str(line_bytes), "--feed-chunk-bytes", str(chunk_bytes)),
            ],
            folder / "simulator.log",
            {},
            folder,
        )
        yield Rig(broker, _simulator_url(simulator), folder)
    finally:
        if simulator is not None:
            simulator.stop()
        broker.stop()
        shutil.rmtree(broker.folder, ignore_errors=True)


def _simulator_url(simulator: Process) -> str:
    while "http://" not in (said := simulator.log.read_text()):
        simulator.sleep(POLL_SECS)
    return "http://" + said.partition("http://")[2].partition(",")[0]
