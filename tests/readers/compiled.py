"""Programs in Java, each compiled once into a folder of its own with the jars that its Maven project names."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.absent import skip
from tests.brokers import JarsMissing, copy_jars

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build"


def require(folder: Path, pom: Path, *programs: Path) -> None:
    """Make *programs* and copy their jars; skip the test where they cannot be had; with CI=true that is a failure."""
    try:
        _make(folder, pom, programs)
    except (JarsMissing, OSError, subprocess.SubprocessError) as error:
        skip(f"no {folder.name} in Java: {error}")


def _make(folder: Path, pom: Path, programs: tuple[Path, ...]) -> None:
    if absent := [name for name in ("java", "javac", "mvn") if shutil.which(name) is None]:
        raise JarsMissing(f"no {' and no '.join(absent)} on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = "".join(path.read_text() for path in (pom, *programs))
    stamp = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        for old in (*folder.glob("*.jar"), *folder.glob("*.exe")):  # of another version
            old.unlink()
        copy_jars(pom, folder, f"its jars into {folder}")
        if programs:
            command = ["javac", "-cp", f"{folder}/*", "-d", str(folder), *map(str, programs)]
            subprocess.run(command, check=True, timeout=120, capture_output=True)  # noqa: S603  # ours
        stamp.write_text(wanted)
