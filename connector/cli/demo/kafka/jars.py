"""
Brings the jars of Apache Kafka into the user's cache, once.

    jars.jsonl ─▶ what is missing ─▶ Maven, or a Maven repository over HTTPS ─▶ checksum ─▶ <cache>/kafka-<version>

Each jar appears in the cache whole and checked, or not at all: a run that was cut short is continued by the next one,
and two runs at once do not harm each other.
"""

import asyncio
import hashlib
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import aiohttp
import orjson

from connector.cli.demo.failed import DemoFailed
from connector.cli.demo.kafka.programs import ended
from connector.config.addresses import is_loopback

PINS = Path(__file__).with_name("jars.jsonl")
MAVEN_SECS = 600.0
JAR_SECS = 300.0
"""How long one jar may take (seconds); the largest has 10 MB."""

CONNECT_SECS, SILENT_SECS = 15.0, 60.0
AT_ONCE, TRIES, RETRY_SECS = 4, 3, 1.0
PIECE_BYTES = 256 * 1024
SPARE_BYTES = 200 * 1024 * 1024
"""What must be free beside the jars: the broker's own data (bytes)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """A jar: its *path* in a Maven repository, its size and its checksum."""

    path: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def coordinates(self) -> tuple[str, str, str]:
        """Group, artifact and version."""
        group, artifact, version, _ = self.path.rsplit("/", 3)
        return group.replace("/", "."), artifact, version


def pinned() -> tuple[Jar, ...]:
    """Return the jars of which Kafka's broker is made."""
    return tuple(Jar(**orjson.loads(line)) for line in PINS.read_bytes().splitlines())


def version(jars: Sequence[Jar]) -> str:
    """Return the version of Kafka in *jars*."""
    return next(jar.coordinates[2] for jar in jars if jar.coordinates[1] == "kafka_2.13")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """
    Return the user's cache of this program (XDG Base Directory Specification; on macOS ~/Library/Caches).

    Raises:
        DemoFailed: it is not known where the user's home is.
    """
    named = environ.get("XDG_CACHE_HOME", "")
    if Path(named).is_absolute():  # the specification wants others to be ignored
        return Path(named) / "murmuration"
    try:
        home = Path.home()
    except RuntimeError:
        raise DemoFailed(
            "The home directory is not known: name a folder for Kafka's jars with XDG_CACHE_HOME."
        ) from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "murmuration"


def missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    """Return those of *jars* that are not in *folder*, or not as they should be."""
    return [jar for jar in jars if not _is_whole(jar, folder / jar.name)]


async def bring(folder: Path, repository: str | None, say: Callable[[str], None]) -> None:
    """
    See to it that all jars are in *folder*: by Maven, else from the Maven *repository* (a URL).

    Raises:
        DemoFailed: they cannot be had, or there is no room; the message says why, and the cure.
    """
    jars = pinned()
    wanted = missing(jars, folder)
    if not wanted:
        return
    try:
        await _bring(wanted, folder, repository, say)
    except OSError as error:
        raise DemoFailed(
            f"Kafka's jars cannot be kept in {folder}: {error.strerror or error}. Make room there, or name another"
            " folder with XDG_CACHE_HOME."
        ) from None


async def _bring(wanted: list[Jar], folder: Path, repository: str | None, say: Callable[[str], None]) -> None:
    size = sum(jar.bytes for jar in wanted)
    _make(folder, size + SPARE_BYTES)
    say(f"Kafka's jars are brought once, {_mb(size)} into {folder} ...")
    why = "Maven (`mvn`) is not on the PATH"
    if maven := shutil.which("mvn"):
        why = await _by_maven(maven, wanted, folder)
        wanted = missing(wanted, folder)
    if wanted and repository is None:
        raise DemoFailed(
            f"Kafka's jars cannot be had: {why}. Install Maven, or name a Maven repository with --repository"
            " https://... (ARGS='--repository https://...' of `make demo`), or use another Kafka with --broker."
        )
    if wanted and repository is not None:
        await download(wanted, folder, repository)


def _make(folder: Path, size: int) -> None:
    """Make *folder*; raise `DemoFailed` if less than *size* bytes are free there."""
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < size:
        raise DemoFailed(
            f"Kafka needs {_mb(size)} in {folder}, and {_mb(free)} are free: make room, or name another folder with"
            " XDG_CACHE_HOME."
        )


# -- by Maven


async def _by_maven(maven: str, wanted: Sequence[Jar], folder: Path) -> str:
    """Let Maven bring *wanted* into *folder*; return why it did not, if it did not."""
    with tempfile.TemporaryDirectory(prefix=".maven-", dir=folder) as work:
        pom, out = Path(work) / "pom.xml", Path(work) / "jars"
        pom.write_text(project_of(wanted))
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DexcludeTransitive=true"]
        try:
            _, said = await ended(*command, f"-DoutputDirectory={out}", secs=MAVEN_SECS)
        except TimeoutError:
            return f"Maven was not done within {MAVEN_SECS:g} s"
        for jar in wanted:
            if _is_whole(jar, out / jar.name):
                (out / jar.name).replace(folder / jar.name)
        errors = [line.removeprefix("[ERROR]").strip() for line in said.splitlines() if line[:7] == "[ERROR]"]
        return f"Maven says: {errors[0][:300].rstrip('.')}" if errors else "Maven did not bring all of them"


def project_of(jars: Sequence[Jar]) -> str:
    """Return a Maven project that depends on *jars*."""
    wanted = ""
    for jar in jars:
        group, artifact, number = map(escape, jar.coordinates)
        wanted += (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{number}</version>"
        )
        wanted += "</dependency>"
    head = "<modelVersion>4.0.0</modelVersion><groupId>murmuration</groupId><artifactId>demo-kafka</artifactId>"
    body = f"{head}<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies>"
    return f'<project xmlns="http://maven.apache.org/POM/4.0.0">{body}</project>\n'


# -- over HTTPS


def is_repository(url: str) -> bool:
    """Return whether *url* is that of a repository, over HTTPS unless it is on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host or "")))


async def download(wanted: Sequence[Jar], folder: Path, repository: str) -> None:
    """
    Bring *wanted* from the Maven *repository* into *folder*; jars that came stay there, whatever becomes of the others.

    The repository is one that `is_repository` takes.

    Raises:
        DemoFailed: a jar cannot be had, or is not the one that is pinned.
        OSError: *folder* cannot be written.
    """
    timeout = aiohttp.ClientTimeout(total=JAR_SECS, sock_connect=CONNECT_SECS, sock_read=SILENT_SECS)
    left = iter(wanted)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as http:

        async def some() -> None:
            for jar in left:
                await _with_tries(http, jar, folder, repository)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in itertools.repeat(None, AT_ONCE):
                    group.create_task(some())
        except BaseExceptionGroup as failed:
            raise _first(failed) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _with_tries(http: aiohttp.ClientSession, jar: Jar, folder: Path, repository: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            await _download(http, jar, folder, f"{repository.rstrip('/')}/{jar.path}")
        except (aiohttp.ClientError, TimeoutError) as error:
            if not left:
                host = urlsplit(repository).netloc.rpartition("@")[2]
                why = str(error) or f"no answer within {JAR_SECS:g} s"
                raise DemoFailed(
                    f"{host} does not give {jar.name}: {why}. What has come is kept: look at the network (a proxy is"
                    " named with HTTPS_PROXY), and start the demo again."
                ) from None
            await asyncio.sleep(RETRY_SECS)
        else:
            return


async def _download(http: aiohttp.ClientSession, jar: Jar, folder: Path, url: str) -> None:
    digest, size = hashlib.sha256(), 0
    handle, name = tempfile.mkstemp(prefix=f".{jar.name}-", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            async with http.get(url, max_redirects=3, raise_for_status=True) as answer:
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    size += len(piece)
                    if size > jar.bytes:
                        break
                    digest.update(piece)
                    file.write(piece)
        if (size, digest.hexdigest()) != (jar.bytes, jar.sha256):
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise DemoFailed(
                f"What {host} gives as {jar.name} is not that jar: its checksum is another. Nothing of it is kept; use"
                " another repository."
            )
        part.replace(folder / jar.name)  # noqa: ASYNC240  # on this disk
    finally:
        part.unlink(missing_ok=True)  # noqa: ASYNC240


def _is_whole(jar: Jar, path: Path) -> bool:
    try:
        if path.stat().st_size != jar.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
