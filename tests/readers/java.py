"""A consumer in Java with Apicurio's deserializer for Avro, compiled into build/readers."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.absent import skip
from tests.brokers import JarsMissing, copy_jars

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "readers"
SOURCES = (HERE / "pom.xml", HERE / "AvroReader.java")


def require() -> None:
    """Skip the test where the reader cannot be had; with CI=true that is a failure."""
    try:
        _make()
    except (JarsMissing, OSError, subprocess.SubprocessError) as error:
        skip(f"no reader in Java: {error}")


def read(broker: str, registry: str, topic: str, count: int) -> list[tuple[str, int, str, str]]:
    """Return id, creation (UNIX ms), author's id and text of the first *count* posts of *topic*, as Java reads them."""
    command = ["java", "-cp", f"{BUILD}/*:{BUILD}", "AvroReader", broker, registry, topic, str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # ours
    assert 0 == ran.returncode, ran.stderr[-2000:]
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    return [(key, int(made), author, _unescaped(text)) for key, made, author, text in rows]


def _unescaped(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")


def _make() -> None:
    if absent := [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]:
        raise JarsMissing(f"no {' and no '.join(absent)} on the PATH")
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = "".join(source.read_text() for source in SOURCES)
    stamp = BUILD / "made"
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        copy_jars(SOURCES[0], BUILD, f"its jars into {BUILD}")
        command = ["javac", "-cp", f"{BUILD}/*", "-d", str(BUILD), str(SOURCES[1])]
        subprocess.run(command, check=True, timeout=120, capture_output=True)  # noqa: S603  # ours
        stamp.write_text(wanted)
