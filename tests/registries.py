"""
A real schema registry for tests: Apicurio, in memory, from Maven Central.

`python -m tests.registries PORT` starts one in the foreground, to try things by hand.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.absent import skip
from tests.brokers import free_port

VERSION = "2.6.13.Final"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
FOLDER = Path(__file__).parent.parent / "build" / "apicurio"
RUNNER = FOLDER / f"apicurio-registry-app-{VERSION}-runner.jar"
START_SECS = 120.0
"""It takes 7 s on a bare machine, and 30 s on one that tests keep busy."""


class RegistryMissing(RuntimeError):
    """There is no registry to run; the message says why."""


def require() -> None:
    """Skip the test where no registry can be started; with CI=true that is a failure."""
    try:
        fetch()
    except RegistryMissing as error:
        skip(str(error))


def fetch() -> None:
    """
    Unpack Apicurio into build/apicurio, once.

    Raises:
        RegistryMissing: no Java, or Maven has not brought it.
    """
    if shutil.which("java") is None:
        raise RegistryMissing("no `java` on the PATH (Java 17 or later runs the schema registry)")
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "apicurio.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not RUNNER.exists():
            _unpack(_archive())


def _archive() -> Path:
    if shutil.which("mvn") is None:
        raise RegistryMissing(f"no {FOLDER.name} in {FOLDER.parent.name}/ and no `mvn` on the PATH to get it")
    copied = FOLDER.parent / f"apicurio-registry-app-{VERSION}-all.tar.gz"
    commands = (
        ["dependency:get", "-Dtransitive=false", f"-Dartifact={ARTIFACT}"],
        ["dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={copied.parent}"],
    )
    for command in commands:
        try:
            arguments = ["mvn", "-q", "-B", *command]
            subprocess.run(arguments, check=True, timeout=600, capture_output=True, text=True)  # noqa: S603  # ours
        except (OSError, subprocess.SubprocessError) as error:
            said = str(getattr(error, "stdout", None) or error).strip().splitlines()
            raise RegistryMissing(f"Maven could not get Apicurio: {said[0] if said else error}") from None
    return copied


def _unpack(archive: Path) -> None:
    fresh = FOLDER.with_suffix(".part")  # an unpacking that was cut short is not taken for one that is whole
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(fresh, filter="data")
    fresh.rename(FOLDER)
    archive.unlink()


class Registry:
    """
    One registry on a port of its own, in memory: one that is killed and started again knows nothing.

    As a context manager it runs.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        fetch()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """As `schema.registry.url` has it."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; `wait` returns once it answers."""
        environ = os.environ | {"QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self.port)}
        command = ["java", "-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(RUNNER)]
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=FOLDER, env=environ, stdout=log, stderr=log)  # noqa: S603  # ours

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + START_SECS
        while time.monotonic() < until:
            if self._process is not None and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, ValueError):
                self.ask("/subjects")
                return
            time.sleep(0.2)
        said = (self._folder / "registry.log").read_text(errors="replace").splitlines()[-5:]
        raise RuntimeError(f"the registry does not answer on port {self.port}: {said}")

    def kill(self) -> None:
        """End it at once, as by SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            self.thaw(process)
            process.kill()
            process.wait(30)

    def freeze(self) -> None:
        """Stop it in its tracks: connections are accepted by the kernel, and nothing answers."""
        if self._process is not None:
            self._frozen = True
            os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Let it go on after `freeze`."""
        process = process or self._process
        if self._frozen and process is not None:
            self._frozen = False
            os.kill(process.pid, signal.SIGCONT)

    def ask(self, path: str, body: object = None, method: str | None = None) -> object:
        """Return the answer to a request, as JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310  # our own URL
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def set_compatibility(self, level: str) -> None:
        """Set the level that holds for all subjects; Apicurio's own default is NONE, Confluent's BACKWARD."""
        self.ask("/config", {"compatibility": level}, "PUT")

    def forget_compatibility(self) -> None:
        """Set the level for all subjects back to Apicurio's default; it does not take NONE where no level was set."""
        if self.ask("/config") != {"compatibilityLevel": "NONE"}:
            self.set_compatibility("NONE")


def main() -> None:
    """Run one in the foreground."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else None
    with Registry(FOLDER.parent / "registry", port) as registry:
        print(registry.url)  # noqa: T201  # for whoever runs it
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
