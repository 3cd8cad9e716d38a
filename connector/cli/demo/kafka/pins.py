"""
Writes jars.jsonl, the jars of Kafka's broker with their checksums, as Maven brings and checks them.

    python -m connector.cli.demo.kafka.pins 4.1.2 > jars.jsonl
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from connector.cli.demo.kafka.jars import MAVEN_SECS, Jar, project_of

LOGGING = "org/apache/logging/log4j/log4j-slf4j-impl/2.25.3/log4j-slf4j-impl-2.25.3.jar"
"""Brings what Kafka says to its log; Kafka's own distribution has it, too."""


def pins(version: str) -> list[Jar]:
    """
    Return the jars of Kafka *version*.

    Raises:
        OSError, subprocess.SubprocessError: Maven is not here, or has not brought them.
    """
    kafka = f"org/apache/kafka/kafka_2.13/{version}/kafka_2.13-{version}.jar"
    with tempfile.TemporaryDirectory() as folder:
        pom, out = Path(folder) / "pom.xml", Path(folder) / "jars"
        pom.write_text(project_of([Jar(path, 0, "") for path in (kafka, LOGGING)]))
        options = ["-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={out}"]
        command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", *options]
        subprocess.run(command, check=True, timeout=MAVEN_SECS, stdout=sys.stderr)  # noqa: S603  # our own arguments
        return [
            Jar(str(path.relative_to(out)), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(out.rglob("*.jar"))
        ]


if __name__ == "__main__":
    for _jar in pins(sys.argv[1]):
        sys.stdout.buffer.write(orjson.dumps(_jar, option=orjson.OPT_APPEND_NEWLINE))
