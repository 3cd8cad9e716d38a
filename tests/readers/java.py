"""A consumer in Java with Apicurio's deserializer for Avro, compiled into build/readers."""

import subprocess

from tests.readers import compiled

FOLDER = compiled.BUILD / "readers"


def require() -> None:
    """Skip the test where the reader cannot be had; with CI=true that is a failure."""
    compiled.require(FOLDER, compiled.HERE / "pom.xml", compiled.HERE / "AvroReader.java")


def read(broker: str, registry: str, topic: str, count: int) -> list[tuple[str, int, str, str]]:
    """Return id, creation (UNIX ms), author's id and text of the first *count* posts of *topic*, as Java reads them."""
    command = ["java", "-cp", f"{FOLDER}/*:{FOLDER}", "AvroReader", broker, registry, topic, str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  # ours
    assert 0 == ran.returncode, ran.stderr[-2000:]
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    return [(key, int(made), author, _unescaped(text)) for key, made, author, text in rows]


def _unescaped(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")
