"""
The test bench: a real Kafka, a simulator, and one contender at a time between them.

    simulator (own process) ──▶ contender (own process) ──▶ Kafka (own process)
                                   │ CPU, memory                │ end offsets, records
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kafka
import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic

from tests.brokers import KafkaBroker

ROOT = Path(__file__).parent.parent
TOKEN = "simulated-token"  # noqa: S105  # valid for the simulator only
RULE = "cats lang:en"
PARTITIONS = 4
LINE_BYTES = 2600
CHUNK_BYTES = 64 * 1024

SIMULATOR = ("connector.simulator", "--port", "0", "--no-enforce-rate-limits", "--rule", f"{RULE}=>cats")
START_SECS = 120.0
STOP_SECS = 30.0
POLL_SECS = 0.05
MOVE_SECS = 1.0
LOG_TAIL = 1500

# At full speed a run fills the disk within minutes, so Kafka has to delete old records soon.
BROKER_EXTRAS = "log.retention.check.interval.ms=2000\nlog.initial.task.delay.ms=1000\n"
TOPIC_BYTES = 8 * 1024**3
"""Kafka keeps this much of each partition; a window writes less."""


class Failure(RuntimeError):
    """A run failed and gave no number; the first line says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a contender did in a window of time, after its warm-up."""

    posts: int
    secs: float
    cpu_secs: float
    peak_rss_bytes: int

    @property
    def posts_per_sec(self) -> float:
        return self.posts / self.secs

    @property
    def cpu_us_per_post(self) -> float:
        """CPU time per post in microseconds; the same number is seconds per million posts."""
        return self.cpu_secs / self.posts * 1e6

    @property
    def cpu_percent(self) -> float:
        """CPU time in percent of one core."""
        return self.cpu_secs / self.secs * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    at: float
    ends: Mapping[int, int]
    cpu_secs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where several topics ended *at* a time (monotonic seconds), by topic and partition."""

    at: float
    by_topic: Mapping[str, Mapping[int, int]]


class Process:
    """A process of the bench, with its output in a file."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], *, folder: Path | None = None
    ) -> None:
        # without CONNECTOR_ variables and without the `.env` of the folder in which the bench was started
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")}
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder or log.parent,
                env=kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """The end of the process's output."""
        return self.log.read_text(errors="replace")[-LOG_TAIL:].strip()

    def check(self) -> None:
        """
        Check that the process still runs.

        Raises:
            Failure: the process has ended.
        """
        if self._process.poll() is not None:
            raise Failure(f"it ended with {self._process.returncode}\n{self.said}")

    def sleep(self, secs: float) -> None:
        """Sleep, and raise `Failure` if the process has ended by then."""
        time.sleep(secs)
        self.check()

    @property
    def cpu_secs(self) -> float:
        """User and system time of the process so far (seconds), with threads that have ended."""
        # Linux's number for the CPU clock of another process.  /proc counts in ticks of 10 ms, which is too coarse: an
        # idle worker takes six ticks in ten seconds.
        try:
            return time.clock_gettime(~self._process.pid << 3 | 2)
        except OSError:
            self.check()
            raise

    @property
    def peak_rss_bytes(self) -> int:
        """The largest resident memory of the process so far."""
        return self._status("VmHWM")

    @property
    def rss_bytes(self) -> int:
        """The resident memory of the process now."""
        return self._status("VmRSS")

    def _status(self, field: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) * 1024

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process does not end."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            print(f"Killed what did not stop within {STOP_SECS:g} s; see {self.log.name}", file=sys.stderr)


class Running:
    """
    A contender that runs: *processes* between the stream and *topic*.

    *why_not* returns an explanation if the contender does not start to work.  *urls* are those of the workers' web
    interfaces.
    """

    def __init__(
        self, topic: str, processes: Sequence[Process], why_not: Callable[[], str] = str, urls: Sequence[str] = ()
    ) -> None:
        self.topic, self.processes, self.urls, self._why_not = topic, processes, urls, why_not

    @property
    def cpu_secs(self) -> float:
        return sum(process.cpu_secs for process in self.processes)

    @property
    def peak_rss_bytes(self) -> int:
        return sum(process.peak_rss_bytes for process in self.processes)

    @property
    def rss_bytes(self) -> int:
        return sum(process.rss_bytes for process in self.processes)

    def check(self) -> None:
        for process in self.processes:
            process.check()

    def sleep(self, secs: float) -> None:
        """Sleep, and raise `Failure` if one of the processes has ended by then."""
        time.sleep(secs)
        self.check()

    def await_(self, condition: Callable[[], object], what: str, *, secs: float = START_SECS) -> None:
        """
        Wait until *condition* is true.

        Raises:
            Failure: *condition* does not become true within *secs*, or a process ends.
        """
        end = time.monotonic() + secs
        while not condition():
            if time.monotonic() > end:
                said = "\n".join(filter(None, [self._why_not(), *(process.said for process in self.processes)]))
                raise Failure(f"{what}: waited {secs:g} s in vain\n{said}")
            self.sleep(POLL_SECS)

    def ask_to_stop(self) -> None:
        for process in self.processes:
            process.ask_to_stop()

    def stop(self) -> None:
        self.ask_to_stop()
        for process in self.processes:
            process.stop()


class Simulator:
    """The simulator, running in a process of its own."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._process = Process([sys.executable, "-m", *arguments], log, {})
        while "http://" not in (said := log.read_text()):
            self._process.sleep(POLL_SECS)
        self.url = "http://" + said.partition("http://")[2].partition(",")[0]

    @property
    def connections(self) -> int:
        """The number of open streams."""
        return len(orjson.loads(self.ask("state"))["connections"]["live"])

    def ask(self, what: str, body: object = None) -> bytes:
        """Return the answer of the control endpoint *what*."""
        data = None if body is None else orjson.dumps(body)
        with urllib.request.urlopen(f"{self.url}/control/{what}", data=data, timeout=30) as answer:  # noqa: S310  # http
            return bytes(answer.read())

    def await_hang_up(self) -> None:
        """Wait until the simulator has noticed that its client is gone."""
        while self.connections:
            time.sleep(POLL_SECS)

    def stop(self) -> None:
        self._process.stop()


class Rig:
    """Kafka and the simulators of the bench; made by `rig`."""

    def __init__(self, broker: KafkaBroker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self._admin = KafkaAdminClient(bootstrap_servers=broker.address)
        self._offsets = KafkaConsumer(bootstrap_servers=broker.address, isolation_level="read_committed")
        self._runs = 0

    @contextlib.contextmanager
    def simulator(self, *arguments: str) -> Iterator[Simulator]:
        """Run a simulator inside `with`; *arguments* are its module and its options."""
        self._runs += 1
        simulator = Simulator(arguments, self.folder / f"simulator-{self._runs}.log")
        try:
            yield simulator
        finally:
            simulator.stop()

    @contextlib.contextmanager
    def feed(
        self, *arguments: str, line_bytes: int = LINE_BYTES, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[Simulator]:
        """Run a simulator that writes prepared lines as fast as the socket takes them."""
        sizes = ("--line-bytes", str(line_bytes), "--feed-chunk-bytes", str(chunk_bytes))
        with self.simulator(*SIMULATOR, "--feed", *sizes, *arguments) as simulator:
            yield simulator

    @contextlib.contextmanager
    def paced(self, rate: float) -> Iterator[tuple[Simulator, Path]]:
        """Run a simulator that writes *rate* prepared lines a second; yield it and the file with their times."""
        emissions = self.folder / f"emissions-{self._runs}"
        arguments = (str(rate), str(LINE_BYTES), str(emissions))
        with self.simulator("benchmarks.paced_feed", *arguments) as simulator:
            yield simulator, emissions

    @contextlib.contextmanager
    def topic(self, partitions: int = PARTITIONS, *, keep_bytes: int = TOPIC_BYTES) -> Iterator[str]:
        """Make a new topic inside `with`; at the end delete all topics whose names begin with its name."""
        self._runs += 1
        topic = f"bench-{self._runs}"
        # deleted topics leave the disk soon
        settings = {
            "file.delete.delay.ms": "1000",
            "retention.bytes": str(keep_bytes),
            "segment.bytes": str(min(keep_bytes, 256 * 1024**2)),
        }
        self.create(topic, partitions, settings)
        try:
            yield topic
        finally:
            every = self._admin.list_topics()
            self._admin.delete_topics([name for name in every if name == topic or name.startswith(f"{topic}-")])

    def create(self, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
        """Make a topic; within `topic` one whose name begins with that topic's name is deleted with it."""
        self._admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(settings))])
        while len(self._offsets.partitions_for_topic(topic) or ()) < partitions:
            time.sleep(POLL_SECS)

    def log(self, topic: str, number: int = 1) -> Path:
        """Return the log file, in a folder of its own, of the process *number* that fills *topic*."""
        folder = self.folder / topic / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "log"

    def await_first_post(self, running: Running) -> None:
        """
        Wait until a reader of committed records can see a record in the topic.

        Raises:
            Failure: no record comes.
        """
        running.await_(lambda: sum(self.ends(running.topic).values()), "the first post")

    def window(self, running: Running, secs: float, *, transactional: bool, ordered: bool = False) -> Window:
        """
        Measure for *secs*.

        With *ordered* the keys are the ids of one connection, and must ascend in each partition.

        Raises:
            Failure: a process has ended, no record came, or the order is wrong.
        """
        before = self._now(running)
        running.sleep(secs)
        after = self._now(running)
        peak = running.peak_rss_bytes
        posts = sum(after.ends.values()) - sum(before.ends.values())
        if transactional or ordered:
            posts = self._records(running.topic, before.ends, after.ends, ordered=ordered)
        if not posts:
            raise Failure(f"no post within {secs:g} s\n{running.processes[0].said}")
        return Window(
            posts=posts, secs=after.at - before.at, cpu_secs=after.cpu_secs - before.cpu_secs, peak_rss_bytes=peak
        )

    def _now(self, running: Running) -> _Moment:
        # End offsets move by whole transactions: a window that begins and ends at a move holds only whole transactions.
        first, give_up = self.ends(running.topic), time.monotonic() + MOVE_SECS
        while True:
            begin = time.monotonic()
            ends, cpu_secs = self.ends(running.topic), running.cpu_secs
            if ends != first or begin > give_up:
                return _Moment(at=(begin + time.monotonic()) / 2, ends=ends, cpu_secs=cpu_secs)

    def moment(self, running: Running, topics: Sequence[str]) -> Ends:
        """Return where *topics* end, just after *running* has committed a transaction."""
        running.check()
        first, give_up = self.ends(topics[0]), time.monotonic() + MOVE_SECS
        while self.ends(topics[0]) == first and time.monotonic() < give_up:
            pass
        begin = time.monotonic()
        by_topic = {topic: self.ends(topic) for topic in topics}
        return Ends(at=(begin + time.monotonic()) / 2, by_topic=by_topic)

    def records_between(self, before: Ends, after: Ends) -> int:
        """
        Return how many committed records came into the topics; they have the ids of one connection as keys.

        Raises:
            Failure: the order of a partition is wrong.
        """
        return sum(
            self._records(topic, before.by_topic[topic], ends, ordered=True) for topic, ends in after.by_topic.items()
        )

    def ends(self, topic: str) -> Mapping[int, int]:
        """Return the last stable offset of each partition, up to which a reader of committed records may read."""
        places = [kafka.TopicPartition(topic, number) for number in self._offsets.partitions_for_topic(topic) or ()]
        return {place.partition: end for place, end in self._offsets.end_offsets(places).items()}

    def consumer(self, **settings: Any) -> Consumer:
        """Return a consumer that reads committed records only."""
        return Consumer(
            {
                "bootstrap.servers": self.broker.address,
                "group.id": "bench",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # fail if records are deleted before they are counted
                **{name.replace("_", "."): value for name, value in settings.items()},
            }
        )

    def _records(self, topic: str, begins: Mapping[int, int], ends: Mapping[int, int], *, ordered: bool) -> int:
        """Return the number of committed records; offsets would count the markers of transactions, too."""
        consumer = self.consumer(enable_partition_eof=True)
        left = {number for number in ends if ends[number] > begins[number]}
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in left])
        count, last = 0, dict.fromkeys(left, b"")
        try:
            while left:
                for message in consumer.consume(10_000, timeout=10):
                    number, error = message.partition(), message.error()
                    if error is None:
                        count += message.offset() < ends[number]
                        if ordered:
                            if message.key() <= last[number]:
                                raise Failure(f"partition {number}: {message.key()} comes after {last[number]}")
                            last[number] = message.key()
                    elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                        raise Failure(str(error))
                    if number in left and message.offset() >= ends[number] - 1:
                        left.remove(number)
                        consumer.incremental_unassign([TopicPartition(topic, number)])
        finally:
            consumer.close()
        return count


@contextlib.contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """Run Kafka in *folder* inside `with`."""
    broker = KafkaBroker(folder / "broker", java=("-Xmx1g",))  # compiled as for service
    with (broker.folder / "server.properties").open("a") as properties:
        properties.write(BROKER_EXTRAS)
    try:
        broker.start()
        yield Rig(broker, folder)
    finally:
        broker.stop()
        shutil.rmtree(broker.folder, ignore_errors=True)
