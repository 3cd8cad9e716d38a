"""Programs in Java, each compiled once into a folder of its own with the jars that its Maven project names."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.absent import skip
from tests.brokers import JarsMissing, copy_jars

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build"


def require(folder: Path, pom: Path, program: Path) -> None:
    """Make the *program*; skip the test where it cannot be had; with CI=true that is a failure."""
    try:
        _make(folder, pom, program)
    except (JarsMissing, OSError, subprocess.SubprocessError) as error:
        skip(f"no {program.stem} in Java: {error}")


def _make(folder: Path, pom: Path, program: Path) -> None:
    if absent := [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]:
        raise JarsMissing(f"no {' and no '.join(absent)} on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pom.read_text() + program.read_text()
    stamp = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        for jar in folder.glob("*.jar"):  # of another version
            jar.unlink()
        copy_jars(pom, folder, f"its jars into {folder}")
        command = ["javac", "-cp", f"{folder}/*", "-d", str(folder), str(program)]
        subprocess.run(command, check=True, timeout=120, capture_output=True)  # noqa: S603  # ours
        stamp.write_text(wanted)
