"""
A real Apache Kafka broker (KRaft, one node) for tests, from Maven Central's jars.

`python -m tests.brokers PORT` starts one in the foreground, to try things by hand.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, Self

from tests.absent import skip

HERE = Path(__file__).parent
JARS = HERE.parent / "build" / "kafka"
START_SECS = 60.0
PARTITIONS_MAX = 4_000
"""
With more partitions a broker that tests share begins anew.

Each is an open file, of which many systems allow 20,000.  To delete topics does not help: the files of deleted ones are
closed by a task whose first run we put off, as it is put off together with the one that deletes old records.
"""
LOWEST_PORT = 10_000
USUAL_LOWEST = 32_768
"""Linux gives outgoing connections ports from here on, unless it is told otherwise."""
_given: set[int] = set()
SINGLE = {
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
"""What a broker needs that has no others beside it."""


class Broker(Protocol):
    """Where tests find Kafka."""

    @property
    def address(self) -> str:
        """`host:port`."""

    @property
    def url(self) -> str:
        """As CONNECTOR_BROKER_URL has it."""


class JarsMissing(RuntimeError):
    """There are no jars to run a broker from; the message says why."""


class NamedBroker:
    """A broker that somebody else started."""

    def __init__(self, url: str) -> None:
        self.address = url.removeprefix("kafka://")

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"


def free_port() -> int:
    """
    Return a port on which nothing listens now, below those that the kernel gives to connections that go out.

    A broker takes seconds to listen, and in that time any of the tests' connections could get a port of the others.
    """
    while True:
        port = random.SystemRandom().randrange(LOWEST_PORT, _lowest_of_kernel())  # hypothesis seeds the common one
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def _lowest_of_kernel() -> int:
    """Return the lowest port of outgoing connections: `ip(7)`, `ip_local_port_range`."""
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return USUAL_LOWEST
    return lowest if lowest >= 2 * LOWEST_PORT else USUAL_LOWEST


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def why_not() -> str | None:
    """Return why no broker can be started here, or None."""
    if shutil.which("java") is None:
        return "no `java` on the PATH (Java 17 or later runs the broker)"
    if not list(JARS.glob("kafka_2.13-*.jar")) and shutil.which("mvn") is None:
        return f"no jars in {JARS.name} and no `mvn` on the PATH to get them"
    return None


def require(*programs: str) -> None:
    """Skip the test where no broker can be started or one of *programs* is missing; with CI=true that is a failure."""
    absent = [f"no `{program}` on the PATH" for program in programs if shutil.which(program) is None]
    if reason := why_not() or ", ".join(absent):
        skip(reason)


def fetch_jars() -> None:
    """
    Copy the broker's jars into build/kafka, once.

    Raises:
        JarsMissing: Maven has not brought them.
    """
    if list(JARS.glob("kafka_2.13-*.jar")):
        return
    # Beside it first: a copy that was cut short is not taken for one that is whole.
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-", dir=JARS.parent) as folder:
        copy_jars(HERE / "kafka" / "pom.xml", Path(folder) / "jars", f"Kafka's jars into {JARS}")
        with contextlib.suppress(OSError):  # another process may be faster
            (Path(folder) / "jars").rename(JARS)
    if not list(JARS.glob("kafka_2.13-*.jar")):
        raise JarsMissing(f"Kafka's jars are not in {JARS}, where something else is: remove it.")


def copy_jars(pom: Path, folder: Path, what: str) -> None:
    """
    Copy the jars that a Maven project depends on into *folder*; *what* says for the error which jars, and whither.

    Raises:
        JarsMissing: Maven has not brought them.
    """
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        subprocess.run(command, check=True, timeout=600, capture_output=True, text=True)  # noqa: S603  # our own arguments
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stdout", None) or error).strip().splitlines()
        raise JarsMissing(f"Maven could not get {what}: {said[0] if said else error}") from None


STARTS_FAST = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java's options that save half the CPU of a start; the code is slower then, which only benchmarks would notice."""


class KafkaBroker:
    """
    One broker on a folder of its own; `kill` and `start` again keep the data.  As a context manager it runs.

    *properties* are added to its `server.properties`, or replace what stands there; *format_arguments* go to Kafka's
    StorageTool (SCRAM users are made there); *classes* is a folder of compiled classes for the broker's class path;
    *java* are more options of Java for the broker; its tools always have `STARTS_FAST`.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        properties: Mapping[str, str] = MappingProxyType({}),
        format_arguments: Sequence[str] = (),
        classes: Path | None = None,
        java: Sequence[str] = ("-Xmx1g", *STARTS_FAST),
    ) -> None:
        self.port = port or free_port()
        self.folder = folder
        self._classes, self._java_options = classes, java
        self._frozen = False
        self._process: subprocess.Popen[bytes] | None = None
        fetch_jars()
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        controller = free_port()
        stated = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": f"{folder}/data",
            **SINGLE,
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # The tests' posts have a fixed date, older than topics keep records: by default the broker looks for old
            # records after 30 s, and then every 5 minutes, and would delete them before they are read.
            "log.retention.check.interval.ms": f"{24 * 3600 * 1000}",
            "log.initial.task.delay.ms": f"{24 * 3600 * 1000}",
            **properties,
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in stated.items()))
        self._format_arguments = format_arguments
        self._format()

    def _format(self) -> None:
        format_ = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(self._properties)]
        command = self._java(STARTS_FAST, *format_, *self._format_arguments)
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603  # likewise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _java(self, options: Sequence[str], *arguments: str) -> list[str]:
        quiet = f"-Dlog4j2.configurationFile={HERE / 'kafka' / 'log4j2.yaml'}"
        path = f"{JARS}/*" if self._classes is None else f"{JARS}/*{os.pathsep}{self._classes}"
        return ["java", *options, quiet, "-cp", path, *arguments]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"

    def listening(self) -> Sequence[int]:
        """Return the ports at which clients find it."""
        return (self.port,)

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        self.launch()
        self.wait_up()

    def launch(self) -> None:
        """Start the process."""
        with (self.folder / "broker.log").open("ab") as out:
            command = self._java(self._java_options, "kafka.Kafka", str(self._properties))
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)  # noqa: S603  # likewise

    def wait_up(self) -> None:
        """Wait until the broker answers."""
        log = self.folder / "broker.log"
        end = time.monotonic() + START_SECS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"The broker ended: see {log}\n{log.read_text()[-2000:]}")
            if all(map(_listens, self.listening())):
                return
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"The broker did not answer within {START_SECS} s")

    def tool(self, name: str, *arguments: str, feed: bytes = b"") -> None:
        """Run one of Kafka's own tools by its class, with *feed* on standard input."""
        command = self._java(STARTS_FAST, name, *arguments)
        subprocess.run(command, input=feed, check=True, capture_output=True, timeout=60)  # noqa: S603  # likewise

    def freeze(self) -> None:
        """SIGSTOP: sockets stay open and nobody answers."""
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._frozen = False
        self._signal(signal.SIGCONT)

    def renew(self) -> None:
        """Begin anew, without topics, if there are so many that the broker could reach its limit of open files."""
        if len(list((self.folder / "data").iterdir())) > PARTITIONS_MAX:
            self.stop()
            shutil.rmtree(self.folder / "data")
            self._format()
            self.start()

    def kill(self) -> None:
        """SIGKILL; `start` recovers from the folder."""
        self._signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        self._process = None
        self._frozen = False

    def shut_down(self) -> None:
        """SIGTERM: the broker hands its partitions over to the others, and ends; `start` brings it back."""
        self._signal(signal.SIGTERM)
        self._process.wait(timeout=60)
        self._process = None
        self._frozen = False

    def stop(self) -> None:
        """End it, in whatever state it is; nobody needs its data any more."""
        if self._process is not None:
            self.kill()

    def recover(self) -> None:
        """Run again, whatever was done."""
        if self._process is None:
            self.start()
        elif self._frozen:
            self.thaw()

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)


class KafkaBrokers:
    """
    Three brokers of one cluster, each a controller too; a topic has three replicas, of which two must be in sync.

    As a context manager they run.  *session_secs* after its last sign of life a broker counts as dead.  With *doors*,
    two ports for each broker, it listens at the first as well, and tells who comes there that it is at the second.
    """

    COUNT = 3

    def __init__(self, folder: Path, *, session_secs: float = 6.0, doors: Sequence[tuple[int, int]] = ()) -> None:
        controllers = [free_port() for _ in range(self.COUNT)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        self.all = [
            self._one(folder, number, controller, voters, session_secs, door)
            for number, (controller, door) in enumerate(itertools.zip_longest(controllers, doors), 1)
        ]

    @staticmethod
    def _one(
        folder: Path, number: int, controller: int, voters: str, session_secs: float, door: tuple[int, int] | None
    ) -> KafkaBroker:
        port = free_port()
        replicated = {name: "3" if name.endswith("factor") else "2" for name in SINGLE}
        own = {
            "node.id": str(number),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            **replicated,
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.num.partitions": "8",
            "broker.session.timeout.ms": str(int(session_secs * 1000)),
        }
        if door is not None:
            listens, says = door
            own |= {
                "listeners": f"{own['listeners']},PROXIED://127.0.0.1:{listens}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{says}",
                "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
            }
        return KafkaBroker(folder / str(number), port, properties=own, java=("-Xmx400m", *STARTS_FAST))

    def __enter__(self) -> Self:
        for broker in self.all:
            broker.launch()
        for broker in self.all:
            broker.wait_up()
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.all:
            broker.stop()

    @property
    def address(self) -> str:
        return ",".join(broker.address for broker in self.all)

    @property
    def url(self) -> str:
        return ";".join(broker.url for broker in self.all)

    def recover(self) -> None:
        """Let all of them run again, whatever was done to them."""
        for broker in self.all:
            broker.recover()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as root, KafkaBroker(Path(root) / "broker", int(sys.argv[1])) as broker:
        print(broker.url, flush=True)  # noqa: T201  # for whoever starts it
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
