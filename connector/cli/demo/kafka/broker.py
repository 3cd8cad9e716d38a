"""One Apache Kafka broker (KRaft) on this machine, in a folder of its own."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from connector.cli.demo.failed import DemoFailed
from connector.cli.demo.kafka.jars import bring, cache_folder, pinned, version
from connector.cli.demo.kafka.java import find_java
from connector.cli.demo.kafka.programs import ended

FORMAT_SECS = 120.0
CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"

_LOGGING = """\
Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: "%p %c{1}: %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: STDOUT}}
"""


@dataclass(frozen=True, slots=True)
class RealKafka:
    """A Kafka that is ready to start: the *command* of its broker, its *version*, and the Java that runs it."""

    command: tuple[str, ...]
    version: str
    java: str


async def prepare(
    folder: Path,
    port: int,
    controller_port: int,
    *,
    environ: Mapping[str, str],
    repository: str | None,
    say: Callable[[str], None],
) -> RealKafka:
    """
    Bring all that a broker on *port* needs, and make its *folder*.

    Raises:
        DemoFailed: there is no Java, the jars cannot be had, or the folder cannot be made.
    """
    java = await asyncio.to_thread(find_java, environ)
    kafka = version(pinned())
    jars = cache_folder(environ) / f"kafka-{kafka}"
    await bring(jars, repository, say)
    properties, logging = _written(folder, port, controller_port)
    common = (
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        f"{jars}/*",
    )
    await _format(java, *common, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
    return RealKafka((java, *common, "kafka.Kafka", str(properties)), kafka, java)


def _written(folder: Path, port: int, controller_port: int) -> tuple[Path, Path]:
    """Make *folder* with the broker's properties and those of its log."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        properties, logging = folder / "server.properties", folder / "log4j2.yaml"
        properties.write_text(properties_of(folder / "data", port, controller_port))
        logging.write_text(_LOGGING)
    except OSError as error:
        raise DemoFailed(f"{folder} cannot be written: {error.strerror or error}. Name another with TMPDIR.") from None
    return properties, logging


def properties_of(data: Path, port: int, controller_port: int) -> str:
    """Return the properties of a single broker whose transactions need no other."""
    stated = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
    }
    return "".join(f"{name}={value}\n" for name, value in stated.items())


async def _format(*command: str) -> None:
    try:
        code, said = await ended(*command, secs=FORMAT_SECS)
    except TimeoutError:
        raise DemoFailed(f"Kafka has not made its folder within {FORMAT_SECS:g} s.") from None
    if code:
        last = (said.strip().splitlines() or ["nothing"])[-1]
        raise DemoFailed(f"Kafka cannot make its folder; it says: {last[:300]}")
