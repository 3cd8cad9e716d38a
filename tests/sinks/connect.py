"""A worker of Apache Kafka Connect with its file sink, from the jars of the broker; the converter is Apicurio's."""

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.absent import skip
from tests.brokers import JARS, Broker, JarsMissing, copy_jars, fetch_jars, free_port

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "sinks"
PLUGIN = BUILD / "plugins" / "sink"
POM = HERE / "pom.xml"


def require() -> None:
    """Skip the test where the sink cannot be had; with CI=true that is a failure."""
    try:
        _make()
    except (JarsMissing, OSError) as error:
        skip(f"no sink of Kafka Connect: {error}")


@contextlib.contextmanager
def file_sink(
    broker: Broker, topic: str, converter: Mapping[str, str], transforms: Mapping[str, str], folder: Path
) -> Iterator[Callable[[], list[str]]]:
    """
    Run a worker of Connect with one file sink for *topic*; yield what returns the lines of its file, one for a record.

    *converter* has the settings of `value.converter`, by what follows that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / "found.txt"
    worker = {
        "bootstrap.servers": broker.address,
        "listeners": f"http://127.0.0.1:{free_port()}",
        "plugin.path": PLUGIN.parent,
        "offset.storage.file.filename": folder / "offsets",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "consumer.isolation.level": "read_committed",
        **{f"value.converter{name}": value for name, value in converter.items()},
    }
    connector = {"name": topic, "connector.class": "FileStreamSink", "topics": topic, "file": found, **transforms}
    files = []
    for name, settings in (("worker", worker), ("connector", connector)):
        files.append(folder / f"{name}.properties")
        files[-1].write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = ["java", "-Xmx400m", "-cp", f"{JARS}/*", "org.apache.kafka.connect.cli.ConnectStandalone", *files]

    def lines() -> list[str]:
        assert process.poll() is None, f"Connect has ended with {process.returncode}"
        return found.read_text().splitlines() if found.exists() else []

    with (folder / "connect.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  # ours
        try:
            yield lines
        finally:
            process.kill()
            process.wait(timeout=30)


def _make() -> None:
    if absent := [program for program in ("java", "mvn") if shutil.which(program) is None]:
        raise JarsMissing(f"no {' and no '.join(absent)} on the PATH")
    fetch_jars()
    BUILD.mkdir(parents=True, exist_ok=True)
    stamp = BUILD / "made"
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != POM.read_text():
            shutil.rmtree(PLUGIN, ignore_errors=True)
            copy_jars(POM, PLUGIN, f"its jars into {PLUGIN}")
            stamp.write_text(POM.read_text())
