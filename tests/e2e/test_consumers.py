"""The consumers of the documents, as they stand there, read what the connector writes: in Python and in Java."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from connector.formats.post.form import ConnectForm, PostForm
from connector.formats.schemas.form import writer_of
from connector.formats.schemas.subjects import subject_of
from connector.formats.schemas.wire import BODY_AT
from connector.formats.schemas.writer import Schema, stamp_of
from connector.transforms.values import with_timestamps, write_json
from tests import absent, topics
from tests.broker.test_schema_topics import FORMATS, client
from tests.brokers import Broker
from tests.documents import blocks
from tests.readers import java
from tests.registries import Registry
from tests.unit.formats.lines import recorded
from tests.unit.formats.oracle import expected

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

READ_SECS = 90.0
ODD = {
    "data": {
        "id": "2028413882771976192",
        "text": '"a starling" \\ \t\n\N{BIRD} 東 &amp;',
        "created_at": "2026-03-02T10:15:30.125Z",
        "author_id": "7",
        "lang": "ja",
    },
    "includes": {"users": [{"id": "7", "username": "synthetic_user_00007", "name": "Heron"}]},
}
LINES = [*recorded().values(), json.dumps(ODD).encode()]
SHAPES = ("envelope", "post", "connect")
KINDS = (*SHAPES, *FORMATS)
"""A topic each: JSON in its shapes, and the formats with a schema."""

PROGRAMS = {kind: "post" if kind == "connect" else kind for kind in KINDS}
"""Which program reads a topic."""

BLOCKS = [each for each in blocks(["python", "java", "sh"]) if each.mark.startswith("run in ")]
LOGGED = re.compile(r"^\[[^]]+\] \[\d+\] \[WARNING\] ", re.MULTILINE)
"""What a worker of Faust puts before each word that is printed."""


def block(language: str, name: str) -> str:
    """Return the one block that a page marks so."""
    (found,) = [each.text for each in BLOCKS if each.mark == f"run in {language}: {name}"]
    return found


class Place:
    """A folder in which consumers of *topic* are run."""

    def __init__(self, broker: Broker, registry: Registry, topic: str, folder: Path) -> None:
        java.lay(folder)
        self._folder = folder
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        # Into a file, Java would write ASCII, and Python what it has when its buffer is full.
        self._environ = os.environ | {
            "PATH": path,
            "JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 -Xmx200m -XX:+UseSerialGC",
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._changes = {
            "localhost:9092": broker.address,
            "http://127.0.0.1:8081": registry.url,
            "http://127.0.0.1:8080": f"http://127.0.0.1:{registry.port}",
            '"posts"': f'"{topic}"',
            "/posts-value/": f"/{topic}-value/",
            '"reader"': f'"{topic}-{uuid.uuid4().hex[:6]}"',  # the group
        }

    def write(self, name: str, program: str) -> None:
        """Write *program* into the folder, with its addresses, its topic and its group changed to ours."""
        for theirs, ours in self._changes.items():
            program = program.replace(theirs, ours)
        (self._folder / name).write_text(program, encoding="utf-8")

    def shell(self, commands: str) -> None:
        """Carry out *commands*."""
        if "curl" in commands and shutil.which("curl") is None:
            absent.skip("curl is not installed")
        self.write("commands.sh", commands)
        ran = subprocess.run(
            ["bash", "-e", "commands.sh"],  # noqa: S607  # the page's
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=READ_SECS,
            check=False,
        )
        assert 0 == ran.returncode, ran.stderr

    def read(self, command: str, enough: Callable[[str], bool], stream: str = "stdout") -> str:
        """Return what *command*, which never ends, writes to *stream* until that is *enough*, or what went wrong."""
        files = {name: self._folder / name for name in ("stdout", "stderr")}
        until = time.monotonic() + READ_SECS
        with files["stdout"].open("wb") as out, files["stderr"].open("wb") as err:
            words = ["bash", "-c", f"exec {command}"]
            process = subprocess.Popen(words, cwd=self._folder, env=self._environ, stdout=out, stderr=err)  # noqa: S603  # likewise
        try:
            while process.poll() is None and time.monotonic() < until and not enough(_text(files[stream])):
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait(30)
        return _text(files[stream]) or _text(files["stderr"])


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")  # the last character may not be there yet


async def values_of(kind: str, topic: str, registry: Registry) -> list[bytes]:
    """Return the values that a worker writes for `LINES` into *topic*."""
    match kind:
        case "envelope":
            return LINES
        case "post":
            form = PostForm(write_json, with_raw=False)
        case "connect":
            form = ConnectForm(write_json, with_timestamps, changed=False, with_raw=False)
        case _:
            writer = writer_of(kind)
            stamp = stamp_of(writer, await _registered(writer.schema, topic, registry), None)
            form = PostForm(lambda post: stamp.of(writer.body(post)), with_raw=False)
    return [form.write(form.shape(line)) for line in LINES]


async def _registered(schema: Schema, topic: str, registry: Registry) -> int:
    asking = client(registry)
    try:
        return (await asking.find(subject_of("TopicNameStrategy", topic, schema.name), schema)).id
    finally:
        await asking.close()


def produce(broker: Broker, written: Mapping[str, Sequence[bytes]]) -> None:
    """Write values by their topics in a transaction, a tombstone among them, behind one that was given up."""
    keys = [orjson.loads(line)["data"]["id"] for line in LINES]
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions()
    producer.begin_transaction()
    for topic, values in written.items():
        producer.produce(topic, key="never", value=values[-1])
    producer.flush()
    producer.abort_transaction()
    producer.begin_transaction()
    for topic, values in written.items():
        records: list[tuple[str, bytes | None]] = list(zip(keys, values, strict=True))
        for key, value in [*records[:3], (keys[0], None), *records[3:]]:
            producer.produce(topic, key=key, value=value)
    producer.commit_transaction()


@pytest.fixture(scope="module")
def prefix(broker: Broker, shared_registry: Registry) -> str:
    """What the names of the topics begin with, into which the posts are written once for all tests."""
    java.require()
    chosen = f"t{uuid.uuid4().hex[:10]}"

    async def write() -> dict[str, list[bytes]]:
        for kind in KINDS:
            await topics.create(broker, f"{chosen}-{kind}")
        return {f"{chosen}-{kind}": await values_of(kind, f"{chosen}-{kind}", shared_registry) for kind in KINDS}

    written = asyncio.run(write())
    produce(broker, written)
    json_schema = [value[BODY_AT:] for value in written[f"{chosen}-json_schema"]]
    assert written[f"{chosen}-post"] == json_schema  # the page says so
    return chosen


@pytest.fixture
def place(broker: Broker, shared_registry: Registry, prefix: str, tmp_path: Path) -> Callable[[str], Place]:
    return lambda kind: Place(broker, shared_registry, f"{prefix}-{kind}", tmp_path)


def made(post: Mapping[str, Any]) -> datetime:
    """Return when *post* was made."""
    return datetime.fromtimestamp(post["created_at"] / 1000, UTC)


def printed(kind: str, nothing: str, time_of: Callable[[datetime], str]) -> str:
    """Return what a consumer is to print for `LINES`: id, time, username, language and text."""
    rows = []
    for line in map(orjson.loads, LINES):
        data, post = line["data"], expected(line)
        username = post.get("author", {}).get("username", "" if kind == "protobuf" else nothing)
        at, text = time_of(made(post)), post["text"]
        if kind == "envelope":
            at, text = data.get("created_at", nothing), data.get("note_tweet", data)["text"]
        rows.append(f"{post['id']} {at} {username} {post.get('lang', nothing)} {text}\n")
    return "".join(rows)


def of_java(at: datetime) -> str:
    """As Java's `Instant` writes a time: milliseconds only if there are some."""
    return at.isoformat(timespec="milliseconds" if at.microsecond else "seconds").replace("+00:00", "Z")


@pytest.mark.parametrize("kind", KINDS)
def test_in_python(place: Callable[[str], Place], kind: str) -> None:
    """Each post that was committed, field by field, and nothing for a tombstone."""
    here, wanted = place(kind), printed(kind, "None", datetime.isoformat)
    if kind == "protobuf":
        here.shell(block("the shell", "schema") + block("the shell", "protobuf, Python"))
    here.write("reader.py", block("Python", PROGRAMS[kind]))

    assert wanted == here.read("python reader.py", lambda said: len(said) >= len(wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_in_java(place: Callable[[str], Place], kind: str) -> None:
    """The same."""
    here, wanted = place(kind), printed(kind, "null", of_java)
    here.write("Reader.java", block("Java", PROGRAMS[kind]))
    *before, last = block("the shell", "protobuf, Java" if kind == "protobuf" else "Java").splitlines()
    if before:
        here.shell("\n".join([block("the shell", "schema"), *before]))

    assert wanted == here.read(last, lambda said: len(said) >= len(wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_in_faust(place: Callable[[str], Place], kind: str) -> None:
    """The typed channel gives the posts of each format; the page says what changes in the program."""
    here = place(kind)
    program = block("Python", "Faust" if kind in FORMATS else "Faust, JSON")
    here.write("reader.py", program.replace('"avro"', f'"{kind}"'))
    rows = []
    for line in map(orjson.loads, LINES):
        post, data = expected(line), line["data"]
        text = data.get("note_tweet", data)["text"] if kind == "envelope" else post["text"]
        rows.append(_words(f"{made(post)} {post.get('author', {}).get('id')} {text}"))
    said = here.read("faust -A reader worker --without-web", lambda said: rows[-1] in _words(said), "stderr")

    assert [row for row in rows if row not in _words(said)] == [], said
    assert 1 == _words(said).count(rows[-1])  # the one that was given up is not there


def _words(said: str) -> str:
    return " ".join(LOGGED.sub("", said).split())


def test_every_program_is_run() -> None:
    """A block with another mark would not be run."""
    programs = [
        *(f"run in {language}: {name}" for language in ("Python", "Java") for name in set(PROGRAMS.values())),
        *(f"run in Python: {name}" for name in ("Faust", "Faust, JSON")),
        *(f"run in the shell: {name}" for name in ("schema", "protobuf, Python", "protobuf, Java", "Java")),
    ]

    assert sorted(programs) == sorted(each.mark for each in BLOCKS)
