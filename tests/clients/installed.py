"""
Clients of Kafka Connect, installed from their registries: each in build/clients, in an environment of its own.

`python -m tests.clients.installed` installs what is missing.  An environment for each client, because two of them have
a package `kafka_connect`, and one needs old versions of what others need.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.absent import skip
from tests.brokers import JarsMissing, copy_jars

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "clients"
JAVA = "kafka-connect-client"
JAVA_SOURCES = [HERE / "pom.xml", HERE / "Console.java"]
INSTALL_SECS = 300.0


class NotInstalled(RuntimeError):
    """A client is not here and cannot be had; the message says which one, and why."""


def clients() -> list[str]:
    """Return the names of all clients, as their registries have them."""
    return [*sorted(path.stem for path in (HERE / "requirements").glob("*.txt")), JAVA]


def require(name: str) -> Path:
    """Return the folder of an installed client; skip the test where there is none, and with CI=true fail it."""
    try:
        return install(name)
    except NotInstalled as error:
        skip(str(error))


def install(name: str) -> Path:
    """
    Install a client, once for each change of what it is made of, Python among it; return its folder.

    Raises:
        NotInstalled: its registry does not answer, or Java is not here.
    """
    sources, make = (JAVA_SOURCES, _java) if name == JAVA else ([_requirements(name)], _python)
    wanted = "\n".join([sys.version, *(source.read_text() for source in sources)])
    folder, stamp = BUILD / name, BUILD / name / "installed"
    with _alone(name):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            make(name, folder)
            stamp.write_text(wanted)
    return folder


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let no other process install the same client meanwhile."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _requirements(name: str) -> Path:
    return HERE / "requirements" / f"{name}.txt"


def _python(name: str, folder: Path) -> None:
    _run(name, sys.executable, "-m", "venv", "--without-pip", str(folder))
    pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check")
    # what a client needs is pinned, too; what it only says it needs is left out
    _run(name, *pip, "install", "--quiet", "--no-deps", "--requirement", str(_requirements(name)))


def _java(name: str, folder: Path) -> None:
    if absent := [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]:
        raise NotInstalled(f"{name} is not installed: no {' and no '.join(absent)} on the PATH")
    pom, source = JAVA_SOURCES
    try:
        copy_jars(pom, folder, f"its jars into {folder}")
    except JarsMissing as error:
        raise NotInstalled(f"{name} is not installed: {error}") from None
    _run(name, "javac", "-cp", f"{folder}/*", "-d", str(folder), str(source))


def _run(name: str, *command: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECS, capture_output=True, text=True)  # noqa: S603  # ours
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise NotInstalled(f"{name} is not installed: {said[-1] if said else error}") from None


def main() -> int:
    """Install all; say what is missing, which is an error with CI=true only."""
    missing = 0
    for name in clients():
        try:
            install(name)
        except NotInstalled as error:
            print(f"{error}; its tests cannot run")  # noqa: T201  # for whoever runs it
            missing += 1
    return 1 if missing and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
