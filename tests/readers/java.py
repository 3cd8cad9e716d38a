"""The jars and the protoc with which the consumers in Java of docs/formats are run, in build/readers."""

import zipfile
from pathlib import Path

from tests.readers import compiled

FOLDER = compiled.BUILD / "readers"
WELL_KNOWN = "google/protobuf/"
"""What a schema may import without having it."""


def require() -> None:
    """Skip the test where the jars cannot be had; with CI=true that is a failure."""
    compiled.require(FOLDER, compiled.HERE / "pom.xml")


def lay(folder: Path) -> None:
    """Put `jars` into *folder*, and into `bin` and `include` what a release of protoc has there."""
    (folder / "jars").symlink_to(FOLDER)
    (protoc,) = FOLDER.glob("protoc-*.exe")
    (folder / "bin").mkdir()
    (folder / "bin" / "protoc").write_bytes(protoc.read_bytes())
    (folder / "bin" / "protoc").chmod(0o755)
    (jar,) = FOLDER.glob("protobuf-java-*.jar")
    with zipfile.ZipFile(jar) as opened:
        named = [name for name in opened.namelist() if name.startswith(WELL_KNOWN) and name.endswith(".proto")]
        opened.extractall(folder / "include", named)
