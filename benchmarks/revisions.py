"""Installs two versions of the connector from git, each in a virtual environment of its own in build/versions."""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "versions"
NEW, BEFORE = "new", "before"
PIP_SECS = 600.0


class Unavailable(RuntimeError):
    """A version cannot be installed; the message says why in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One of the two versions, installed."""

    side: str
    revision: str
    """The name of the revision in reports."""
    venv: Path
    packages: Mapping[str, str] = field(default_factory=dict)
    """The versions of the packages it is installed with, by package name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A state of the source that `git archive` can export."""

    tree: str
    """A commit, or the tree of a folder that has changes."""
    said: str


def revisions(before: str, root: Path = ROOT) -> tuple[Revision, Revision]:
    """
    Return the tree in *root*, with what was changed and added since the last commit, and the revision *before*.

    Raises:
        Unavailable: git does not know *before*, or *root* is not the root of a repository.
    """
    if shutil.which("git") is None:
        raise Unavailable("No comparison of versions without `git` on the PATH.")
    try:
        inside = _git(root, "rev-parse", "--show-prefix")
    except subprocess.CalledProcessError:
        inside = "no repository"
    if inside:
        raise Unavailable(f"{root} is not the root of a git repository, so there is no earlier revision of it.")
    earlier = _commit(root, before)
    if earlier is None:
        raise Unavailable(f"git knows no revision {before!r} here.")
    return _present(root), Revision(tree=earlier, said=_short(root, earlier))


def _present(root: Path) -> Revision:
    head = _commit(root, "HEAD") or ""
    if not _git(root, "status", "--porcelain"):
        return Revision(tree=head, said=_short(root, head))
    with tempfile.TemporaryDirectory() as folder:  # an index of its own, so that the user's index stays as it is
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git(root, "add", "--all", environment=index)
        tree = _git(root, "write-tree", environment=index)
    return Revision(tree=tree, said=f"{_short(root, head)} with changes")


def _commit(root: Path, revision: str) -> str | None:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except subprocess.CalledProcessError:
        return None


def _short(root: Path, commit: str) -> str:
    return _git(root, "rev-parse", "--short", commit)


def _git(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    return _git_bytes(root, *arguments, environment=environment).decode().strip()


def _git_bytes(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, **(environment or {})})  # noqa: S603  # ours
    return done.stdout


def keep_only(*wanted: Revision) -> None:
    """Remove installed versions that are not *wanted*; each comparison of a changed tree leaves one."""
    for folder in FOLDER.glob("*"):
        if folder.name not in {_name(revision) for revision in wanted}:
            shutil.rmtree(folder, ignore_errors=True)


def _name(revision: Revision) -> str:
    return revision.tree[:12]


def install(side: str, revision: Revision) -> Version:
    """
    Install *revision*, unless it is installed already.

    Raises:
        Unavailable: the revision cannot be installed, or only without its part in C.
    """
    folder = FOLDER / _name(revision)
    venv, source, stamp = folder / "venv", folder / "source", folder / f"installed-by-{platform.python_version()}"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        source.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(_git_bytes(ROOT, "archive", "--format=tar", revision.tree))) as archive:
            archive.extractall(source, filter="data")
        _run(revision, sys.executable, "-m", "venv", str(venv))
        _run(revision, *_pip(venv), "install", "--quiet", str(source))
        if list(source.glob("connector/**/*.c")) and not list(venv.glob("lib/*/site-packages/connector/**/*.so")):
            raise Unavailable(f"{revision.said} was installed without its part in C: is there a C compiler?")
        stamp.write_text(_run(revision, *_pip(venv), "freeze"))
    pinned = (line.split("==", 1) for line in stamp.read_text().splitlines() if "==" in line)
    return Version(side=side, revision=revision.said, venv=venv, packages=dict(pinned))


def _pip(venv: Path) -> Sequence[str]:
    return (str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")


def _run(revision: Revision, *command: str) -> str:
    # with a PYTHONPATH pip would see another connector
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        return subprocess.run(  # noqa: S603  # ours
            command, capture_output=True, text=True, check=True, timeout=PIP_SECS, env=environment, cwd=FOLDER
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        errors = [line.strip() for line in said if "ERROR:" in line]  # pip writes notes after its errors
        why = (errors or said or [str(error)])[-1]
        raise Unavailable(f"{revision.said} cannot be installed: {why}") from None


def packages_that_differ(one: Version, other: Version) -> str:
    """Name the packages of which *one* has another release than *other*; empty if there are none."""
    names = sorted(
        name for name in {*one.packages, *other.packages} if one.packages.get(name) != other.packages.get(name)
    )
    return ", ".join(
        f"{name} {one.packages.get(name, 'none')} and {other.packages.get(name, 'none')}" for name in names
    )
