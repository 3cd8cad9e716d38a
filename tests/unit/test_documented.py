"""What README.md and docs/ tell people to write is right: commands, settings, connectors, names of files."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from connector.cli.places import places
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.dotenv import read_dotenv
from connector.config.faust_settings import FAUST_SETTINGS, MISTAKEN_FAUST_SETTINGS, REFUSED_FAUST_SETTINGS
from connector.config.load import examine
from connector.config.options import FILE_SUFFIX
from connector.config.rules import read_rules
from connector.config.worker import WORKER_OPTIONS
from connector.transforms.catalogue import CATALOGUE
from tests import ROOT
from tests.certificates import Authority
from tests.documents import PAGES, blocks, commands

PARSED = """
import json, os, shlex, sys
import click
from connector import app
from connector.cli import loaded_command
from faust.cli.base import cli

def parse(words):
    command, name, arguments = cli, "faust", ["-A", "connector", *words]
    while isinstance(command, click.Group):
        context = command.make_context(name, list(arguments))
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, *arguments = rest
        if command.get_command(context, name) is None:
            raise click.UsageError(f"no such command: {name}")
        command = loaded_command(name) if command is cli else command.get_command(context, name)
    command.make_context(name, list(arguments))

sys.stdout, answers = sys.stderr, sys.stdout
said = {}
for place, words in json.load(sys.stdin).items():
    try:
        parse(words)
    except click.exceptions.Exit as ended:
        said[place] = f"exit code {ended.exit_code}" if ended.exit_code else ""
    except click.ClickException as error:
        said[place] = error.format_message()
    else:
        said[place] = ""
print(json.dumps(said), file=answers, flush=True)
"""
"""Parses each command line as click does when it is called; nothing is carried out."""

STOPS = {"|", ">", ">>", "<", "&&", ";", "2>&1"}
BASE = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "birds", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
CONNECTOR = {
    "name": "documented",
    "topic": "documented",
    "hashtags": "birds",
    "x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}",
}
ELSEWHERE = {"docs/transforms.md", "docs/transforms/example/README.md"}
"""Pages whose examples tests/unit/transforms/test_transforms_page.py and test_own.py carry out."""

OF_TESTS = {
    "CHAOS_MINUTES",
    "FAULT_MINUTES",
    "CHAOS_SEED",
    "SCHEMATHESIS_SECS",
    "REST_STATES_SECS",
    "LATE_REQUESTS",
    "TEST_BROKER_URL",
    "TEST_BASE_IMAGE",
}
KNOWN = {
    *(option.environment for option in [*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()]),
    *(
        option.environment + FILE_SUFFIX
        for option in [*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()]
        if option.secret
    ),
    *FAUST_SETTINGS,
    *MISTAKEN_FAUST_SETTINGS,
    *REFUSED_FAUST_SETTINGS,
    *(f"CONNECTOR_{name}" for name in OF_TESTS),
    "CONNECTOR_PURE_PYTHON",
}
EXAMPLES = re.compile(r"CONNECTOR_(BIRDS|OWLS|PYTHON)_\w+|CONNECTOR_TRANSFORMS_\w+|CONNECTOR_PREDICATES_\w+")
"""Variables of the reader's own, for secrets and transforms."""


def words_of(line):
    """The words of a command line up to where the shell takes over."""
    words = shlex.split(line, comments=True)
    return words[: next((at for at, word in enumerate(words) if word in STOPS), len(words))]


def parsed(lines, folder):
    """What click says against each of *lines*; nothing where a command can be called so."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **BASE}
    given = json.dumps({place: words_of(line) for place, line in lines.items()})
    done = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-c", PARSED],
        input=given,
        capture_output=True,
        text=True,
        timeout=110,
        env=environ,
        cwd=folder,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return {place: said for place, said in json.loads(done.stdout).items() if said}


@pytest.mark.slow
def test_every_documented_command_can_be_called(tmp_path):
    """Its subcommand and its options exist, and its arguments are enough."""
    for name in ("birds.toml", "rules.toml", "birds.properties", "offsets.json"):
        (tmp_path / name).touch()
    lines = commands()

    assert {} == parsed(lines, tmp_path)
    assert 60 < len(lines)


@pytest.mark.slow
def test_a_wrong_command_is_found(tmp_path):
    """Else nothing would have been tested."""
    wrong = {
        "option": "tail --nummer 3",
        "command": "tale",
        "subcommand": "connectors lists",
        "argument": "connectors create",
        "root": "--jsn tail",
        "right": "tail -n 3 | jq .",
    }

    assert wrong.keys() - {"right"} == parsed(wrong, tmp_path).keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_exists(page):
    """A worker reads it, or a test; `CONNECTOR_KAFKA_…` is a family."""
    named = set(re.findall(r"\bCONNECTOR_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_]*[…*])", page.read_text()))

    assert set() == {name for name in named - KNOWN if not EXAMPLES.fullmatch(name) and not _begins_one(name)}


def _begins_one(name):
    """`CONNECTOR_KAFKA` of `CONNECTOR_KAFKA_…`, whose last sign is no letter."""
    return any(each.startswith(f"{name}_") for each in KNOWN)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_and_file_exists(page):
    """`make` knows the target, and files of the repository are where the page says."""
    text = page.read_text()
    targets = re.findall(r"^([a-z][a-z-]*)(?=[ a-z-]*:)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = set(re.findall(r"(?:^\s*|`|\$ )make ([a-z][a-z-]+)", text, re.MULTILINE))
    files = set(re.findall(r"\b(?:docker|benchmarks)/[\w/.-]*\w", text)) - {"docker/.env"}

    assert set() == made - set(targets) - {"a", "sure"}
    assert set() == {name for name in files if not name.startswith("docker/secrets") and not (ROOT / name).exists()}


AUTHORITY = Authority("documented")
IDENTITY = AUTHORITY.sign("murmuration")


def lend(folder, name, path):
    """Put a file in place of *path*, which the variable *name* names; return where."""
    contents = {
        "SSL_CA_FILE": AUTHORITY.identity.certificate_pem(),
        "SSL_CERT_FILE": IDENTITY.certificate_pem(),
        "SSL_KEY_FILE": IDENTITY.key_pem(),
        "WEB_USERS_FILE": b"admin:opens-nothing\n",
    }
    found = [content for end, content in contents.items() if name.endswith(end)]
    at = folder / path.lstrip("/").replace("/", "-")
    if not at.exists():
        at.write_bytes(found[0] if found else b"synthetic\n")
        at.chmod(0o600)
    return str(at)


def settings_in(block, folder):
    """What a worker reads from the settings in *block*, as `.env` in *folder*; the files that it names are lent."""
    (folder / ".env").write_text(block.text)
    given = read_dotenv(folder).variables
    environ = {name: lend(folder, name, value) for name, value in given.items() if name.endswith(FILE_SUFFIX)}
    if not given.keys() & {option.environment for option in CONNECTOR_OPTIONS.values()}:
        environ |= BASE  # a block of the worker alone
    return examine(environ, folder, CATALOGUE)


@pytest.mark.parametrize("block", blocks(["ini"]), ids=str)
def test_settings_are_right(block, tmp_path):
    """A worker would start with them, without a warning."""
    for other in blocks(["toml"]):
        if other.page == block.page and other.mark == "checked as: rules":
            (tmp_path / "rules.toml").write_text(other.text)
    examined = settings_in(block, tmp_path)

    assert ((), ()) == (examined.problems, examined.loaded.notices)


def wrong_in(block, folder):
    """What `validate` says against the connector in *block*; one that says no name or topic gets them."""
    text, suffix = block.text, {"properties": "properties", "toml": "toml", "json": "json"}[block.language]
    if suffix == "properties":
        text += "".join(f"{key}={value}\n" for key, value in CONNECTOR.items() if f"\n{key}=" not in f"\n{text}")
    path = folder / f"documented.{suffix}"
    path.write_text(text)
    environ = {**BASE, "CONNECTOR_BIRDS_TOKEN": "AAAA", "CONNECTOR_PYTHON_TOKEN": "AAAA"}
    (_, found) = places(examine(environ, folder, CATALOGUE), [path])
    return [*found.problems, *found.warnings]


@pytest.mark.parametrize(
    "block", [each for each in blocks(["properties", "toml", "json", "yaml"]) if each.page not in ELSEWHERE], ids=str
)
def test_configurations_are_right(block, tmp_path):
    """A worker would take the connector, without a warning; what is something else says so in a comment above it."""
    kind, _, reason = block.mark.partition(": ")
    if kind == "not checked":
        assert 3 <= len(reason.split())
    elif block.mark == "checked as: rules":
        (tmp_path / "rules.toml").write_text(block.text)
        assert read_rules(str(tmp_path / "rules.toml"))
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)
    elif kind == "warns":
        (warning,) = wrong_in(block, tmp_path)
        assert reason in warning
    else:
        assert [] == wrong_in(block, tmp_path)


def test_wrong_settings_are_found(tmp_path):
    """Else nothing would have been tested."""
    (block, *_) = [each for each in blocks(["ini"]) if each.page == "docs/tutorial.md"]
    wrong = type(block)(block.page, block.line, block.language, block.text.replace("_TOPIC", "_TOPIK"), "")

    assert settings_in(wrong, tmp_path).problems


RUN = [each for each in blocks(["console"]) if each.mark == "run"]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=str)
def test_what_is_shown_is_what_is_said(block, tmp_path):
    """A block that is marked with `run` is carried out, with the settings of its page, and says what stands there."""
    settings = [each for each in blocks(["ini"]) if each.page == block.page and each.line < block.line]
    (tmp_path / ".env").write_text(settings[-1].text)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    for call in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = call.partition("\n")
        words = [sys.executable, "-m", "connector", *shlex.split(command)[3:]]
        done = subprocess.run(  # noqa: S603  # ours
            words, capture_output=True, text=True, timeout=110, env=environ, cwd=tmp_path, check=False
        )

        assert shown == done.stdout, done.stderr


def test_something_is_run():
    """At least the first command of the tutorial."""
    assert "docs/tutorial.md" in {block.page for block in RUN}


def test_each_statement_of_sql_is_run():
    """tests/e2e/test_flink_sql.py runs blocks by this mark, each of which has another name."""
    marks = [block.mark.partition("run in Flink: ") for block in blocks(["sql"])]

    assert all(not before and mark for before, mark, _ in marks)
    assert len(marks) == len({name for *_, name in marks}) > 0


CONSUMERS = [
    each
    for each in blocks(["python", "java", "sh"])
    if each.page.startswith("docs/formats/") or (each.page == "docs/formats.md" and each.language != "sh")
]


@pytest.mark.parametrize("block", CONSUMERS, ids=str)
def test_each_consumer_is_run(block):
    """tests/e2e/test_consumers.py runs blocks by this mark."""
    assert re.fullmatch(r"run in (Python|Java|the shell): .+", block.mark)


def artifacts(pom):
    """What the Maven project names, as `group:artifact:version`."""
    properties = dict(re.findall(r"<(\w+)>([\w.-]+)</\1>", pom))
    filled = re.sub(r"\$\{(\w+)\}", lambda name: properties[name[1]], pom)
    parts = r"<groupId>(.+)</groupId>\s*<artifactId>(.+)</artifactId>\s*<version>(.+)</version>"
    return {":".join(names) for names in re.findall(parts, filled)}


def test_the_jars_that_are_named_are_those_of_the_tests():
    """Consumers and sinks were run with the versions that the pages give."""
    ours = {
        name for folder in ("readers", "sinks") for name in artifacts((ROOT / f"tests/{folder}/pom.xml").read_text())
    }
    pages = [path.read_text() for path in PAGES if str(path.relative_to(ROOT)).startswith("docs/formats")]
    named = {name for page in pages for name in re.findall(r"`(\w+(?:\.\w+)+:[\w-]+:[\w.]+)`", page)}

    assert set() == named - ours
    assert len(named) >= 6
