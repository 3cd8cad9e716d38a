"""
Runs `FeedSource.java` in a worker of Kafka Connect.

The worker comes from the broker's jars (build/kafka) and runs with the Java options of Apache's start scripts.
*Default* means Connect's default settings, except for the converter, which passes bytes unchanged.
"""

import contextlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import orjson

from benchmarks.rig import ROOT, START_SECS, TOKEN, Failure, Process, Rig, Running
from tests.brokers import JARS, free_port

SOURCE = Path(__file__).parent / "FeedSource.java"
CLASSES = ROOT / "build" / "bench"

# kafka-run-class.sh and connect-standalone.sh of Apache Kafka 4.1
JAVA_OPTIONS = (
    *("-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"),
    *("-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"),
)

BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"

# Larger batches, as in the tuned script, and several requests in flight, which idempotence keeps in order.
TUNED_PRODUCER = {
    "batch.size": 1_000_000,
    "linger.ms": 20,
    "buffer.memory": 256 * 1024 * 1024,
    "max.request.size": 8 * 1024 * 1024,
    "enable.idempotence": "true",
    "max.in.flight.requests.per.connection": 5,
}
TUNED_LINES = 8000
TUNED_TRANSACTION_MS = 500


def compile_source() -> None:
    """
    Compile the source, unless it is compiled already.

    Raises:
        Failure: there is no compiler.
    """
    built = CLASSES / "FeedSource.class"
    if built.exists() and built.stat().st_mtime >= SOURCE.stat().st_mtime:
        return
    if shutil.which("javac") is None:
        raise Failure("no `javac` on the PATH: a JDK, not only a JRE, compiles the source")
    CLASSES.mkdir(parents=True, exist_ok=True)
    command = ["javac", "-cp", f"{JARS}/*", "-d", str(CLASSES), str(SOURCE)]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603  # ours
    if compiled.returncode:
        raise Failure(f"javac: {compiled.stderr.strip()}")


def run_standalone(bench: Rig, topic: str, url: str, *, tuned: bool) -> Running:
    """Start a standalone worker, which delivers at least once."""
    port = free_port()
    worker = _worker(bench, port, tuned=tuned) | {"offset.storage.file.filename": "offsets"}
    process = _start(bench, topic, "ConnectStandalone", worker, _connector(topic, url, tuned=tuned))
    return Running(topic, [process], lambda: _status(port))


def run_distributed(bench: Rig, topic: str, url: str, *, tuned: bool) -> Running:
    """Start a distributed worker, which delivers exactly once."""
    port = free_port()
    worker = _worker(bench, port, tuned=tuned)
    worker |= {"group.id": f"{topic}-group", "exactly.once.source.support": "enabled"}
    for kind in ("config", "offset", "status"):
        worker |= {f"{kind}.storage.topic": f"{topic}-{kind}", f"{kind}.storage.replication.factor": 1}
    worker |= {"offset.storage.partitions": 1, "status.storage.partitions": 1}
    connector = _connector(topic, url, tuned=tuned)
    if tuned:  # by default each poll is a transaction
        connector |= {"transaction.boundary": "interval", "transaction.boundary.interval.ms": TUNED_TRANSACTION_MS}
    running = Running(topic, [_start(bench, topic, "ConnectDistributed", worker)], lambda: _status(port))
    try:
        running.await_(lambda: _submit(port, connector), "a worker that takes a connector", secs=START_SECS)
    except Failure:
        running.stop()
        raise
    return running


def _worker(bench: Rig, port: int, *, tuned: bool) -> dict[str, object]:
    return {
        "bootstrap.servers": bench.broker.address,
        "listeners": f"http://127.0.0.1:{port}",
        "key.converter": BYTES,
        "value.converter": BYTES,
        **({f"producer.{name}": value for name, value in TUNED_PRODUCER.items()} if tuned else {}),
    }


def _connector(topic: str, url: str, *, tuned: bool) -> dict[str, object]:
    return {
        "name": "feed",
        "connector.class": "FeedSource",
        "tasks.max": 1,
        "url": url,
        "token": TOKEN,
        "topic": topic,
        **({"batch.lines": TUNED_LINES} if tuned else {}),
    }


def _start(
    bench: Rig, topic: str, name: str, worker: Mapping[str, object], connector: Mapping[str, object] | None = None
) -> Process:
    compile_source()
    log = bench.log(topic)
    files = [_properties(log.parent / "worker.properties", worker)]
    if connector is not None:
        files.append(_properties(log.parent / "connector.properties", connector))
    where = ["-cp", f"{JARS}/*:{CLASSES}", f"org.apache.kafka.connect.cli.{name}"]
    return Process(["java", *JAVA_OPTIONS, *where, *files], log, {})


def _properties(path: Path, settings: Mapping[str, object]) -> str:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return str(path)


def _submit(port: int, connector: Mapping[str, object]) -> bool:
    body = orjson.dumps({name: str(value) for name, value in connector.items()})
    request = urllib.request.Request(  # http
        f"http://127.0.0.1:{port}/connectors/feed/config",
        data=body,
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # http
            return True
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        if error.code == 400:
            raise Failure(f"Connect refuses the connector: {said}") from None
    except OSError:
        pass
    time.sleep(0.2)
    return False


def _status(port: int) -> str:
    """Return the connector's status from the worker, with the stack trace of its task."""
    url = f"http://127.0.0.1:{port}/connectors/feed/status"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # http
        return str(answer.read().decode()[:2000])
    return ""
