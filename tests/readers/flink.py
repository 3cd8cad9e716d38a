"""Flink SQL on a Flink of one process, compiled into build/flink."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.readers import compiled

FOLDER = compiled.BUILD / "flink"
OPENED = ("java.base/java.lang", "java.base/java.util")
"""Packages of Java 17 into which Flink looks; `env.java.opts.all` of its own configuration opens them."""

Rows = list[list[Any]]


def require() -> None:
    """Skip the test where Flink cannot be had; with CI=true that is a failure."""
    compiled.require(FOLDER, compiled.HERE / "flink.xml", compiled.HERE / "FlinkSql.java")


def queries(scripts: Sequence[str], folder: Path) -> list[Rows]:
    """Run *scripts*, each as a session of its own; return the rows of each query in them."""
    files = []
    for number, script in enumerate(scripts):
        files.append(folder / f"{number}.sql")
        files[-1].write_text(script)
    opened = [f"--add-opens={package}=ALL-UNNAMED" for package in OPENED]
    memory = ["-Xmx600m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = ["java", *memory, *opened, "-cp", f"{FOLDER}/*:{FOLDER}", "FlinkSql", *map(str, files)]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240, check=False)  # noqa: S603  # ours
    assert 0 == ran.returncode, ran.stderr[-4000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]
