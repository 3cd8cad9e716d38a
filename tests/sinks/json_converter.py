"""The JsonConverter of Apache Kafka Connect, in a process of Java of its own that is compiled into build/sinks."""

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator

from tests.absent import skip
from tests.brokers import JARS, JarsMissing, fetch_jars
from tests.sinks.connect import BUILD, HERE

SOURCE = HERE / "JsonAgain.java"
CLASSES = BUILD / "classes"


@contextlib.contextmanager
def json_converter() -> Iterator[Callable[[bytes], bytes]]:
    """
    Yield what reads a value with `schemas.enable=true`, and returns it as the converter writes it again.

    What it cannot read is an AssertionError with its words.
    """
    command = ["java", "-Xmx200m", "-cp", f"{JARS}/*:{CLASSES}", "JsonAgain"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603  # ours
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def again(value: bytes) -> bytes:
            assert b"\n" not in value
            asked.write(value + b"\n")
            asked.flush()
            answer = answers.readline().removesuffix(b"\n")
            assert not answer.startswith(b"! "), answer.decode()
            return answer

        try:
            yield again
        finally:
            process.kill()


def require() -> None:
    """Skip the test where the converter cannot be had; with CI=true that is a failure."""
    try:
        _make()
    except (JarsMissing, OSError, subprocess.SubprocessError) as error:
        skip(f"no JsonConverter of Kafka Connect: {error}")


def _make() -> None:
    if absent := [program for program in ("java", "javac") if shutil.which(program) is None]:
        raise JarsMissing(f"no {' and no '.join(absent)} on the PATH")
    fetch_jars()
    CLASSES.mkdir(parents=True, exist_ok=True)
    stamp, wanted = CLASSES / "made", SOURCE.read_text()
    with (CLASSES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            command = ["javac", "-cp", f"{JARS}/*", "-d", str(CLASSES), str(SOURCE)]
            subprocess.run(command, check=True, timeout=120, capture_output=True)  # noqa: S603  # ours
            stamp.write_text(wanted)
