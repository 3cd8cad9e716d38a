"""
The image of docker/Dockerfile, built with buildah and run with podman, without a daemon.

Where no registry of images is reached the base is a Debian that debootstrap makes, once: it stays in podman's storage.
CONNECTOR_TEST_BASE_IMAGE names another one, such as docker.io/library/python:3.11-slim-bookworm.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests import ROOT
from tests.absent import skip

BASE = "localhost/murmuration-base:bookworm"
IMAGE = "localhost/murmuration-connector:test"
PROGRAMS = ("buildah", "podman", "runc", "debootstrap")
BUILD_SECS = 900.0
AUTHORITIES = Path("/etc/ssl/certs")
PIP = Path("/etc/pip.conf")
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
LOCKED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges")
"""As docker/compose.yaml and docker/kubernetes have it; podman would else mount writable folders."""


def why_not() -> str | None:
    """Return why no image can be built and run here, or None."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"no {', '.join(missing)} on the PATH (Debian's packages of these names)"
    if os.geteuid() != 0:
        return "debootstrap needs root, and this user is not"
    return None


def require() -> None:
    """Skip the test where no image can be built and run; with CI=true that is a failure."""
    if reason := why_not():
        skip(reason)


def run(*command: str, secs: float = 120.0, **more: Any) -> str:
    """Run *command*, which must succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=secs, check=False, **more)  # noqa: S603  # ours
    assert 0 == done.returncode, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def base() -> str:
    """Return the name of the base image; make it first if it is not there."""
    if named := os.environ.get("CONNECTOR_TEST_BASE_IMAGE"):
        return named
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode == 0:  # noqa: S603, S607
        return BASE
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        packages = "ca-certificates,python3,python3-venv"
        run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", folder, secs=BUILD_SECS)
        for package in (Path(folder) / "var" / "cache" / "apt" / "archives").glob("*.deb"):
            package.unlink()
        archive = f"{folder}.tar"
        try:
            run("tar", "-C", folder, "-cf", archive, ".", secs=BUILD_SECS)
            run("podman", "import", archive, BASE, secs=BUILD_SECS)
        finally:
            Path(archive).unlink(missing_ok=True)
    return BASE


def build() -> str:
    """
    Build the image and return its name; what has not changed since the last build is taken from there.

    The machine's own authorities and pip's settings are there while it is built, and not in the image.
    """
    lent = [f"--volume={path}:{path}:ro" for path in (AUTHORITIES, PIP) if path.exists()]
    # `chroot` needs no rights that a container itself may lack; in OCI's format the health check would be dropped.
    how = ["--layers", "--format", "docker", "--isolation", "chroot", f"--build-arg=BASE={base()}", *lent]
    run("buildah", "bud", *how, "--file", "docker/Dockerfile", "--tag", IMAGE, ".", secs=BUILD_SECS, cwd=ROOT)
    return IMAGE


def inspected(image: str) -> Mapping[str, Any]:
    """Return what podman knows of *image*."""
    return json.loads(run("podman", "image", "inspect", image))[0]


class Container:
    """A container of the image on the network of this machine, locked as in production; removed at the end."""

    def __init__(self, image: str, name: str, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        self.name = name
        given = [f"--env={key}={value}" for key, value in environment.items()]
        where = ("--name", name, "--network", "host")
        run("podman", "--runtime", "runc", "run", "--detach", *where, *LIMITS, *LOCKED, *given, image, *arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        run("podman", "rm", "--force", "--time", "0", self.name)

    @property
    def log(self) -> str:
        done = subprocess.run(["podman", "logs", self.name], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603, S607
        return done.stdout + done.stderr

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of that name in its log."""
        entries = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == name]

    @property
    def state(self) -> Mapping[str, Any]:
        return json.loads(run("podman", "inspect", "--type", "container", self.name))[0]["State"]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run *command* in the container."""
        return subprocess.run(  # noqa: S603
            ["podman", "exec", self.name, *command],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def terminate(self) -> None:
        """Send SIGTERM, and SIGKILL 30 s later, as compose.yaml has it."""
        run("podman", "stop", "--time", "30", self.name)
