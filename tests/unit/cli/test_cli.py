import subprocess
import sys

import pytest

from connector.cli import COMMANDS, MODULES
from tests import ROOT

pytestmark = pytest.mark.slow  # each starts a process

ENVIRONMENT = {
    "CONNECTOR_TOPIC": "posts",
    "CONNECTOR_HASHTAGS": "python",
    "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic",
    "PYTHONPATH": str(ROOT),
}


def said_by(folder, *arguments):
    command = [sys.executable, *arguments]
    done = subprocess.run(  # noqa: S603  # ours
        command, capture_output=True, text=True, check=True, timeout=60, env=ENVIRONMENT, cwd=folder
    )
    return " ".join(done.stdout.split())


ARGUMENTS = {
    "connectors": "COMMAND [ARGS]... ",
    "offsets": "COMMAND [ARGS]... ",
    "rules": "COMMAND [ARGS]... ",
    "doctor": "[FILE]... ",
    "validate": "[FILE]... ",
}

EACH_IN_A_FORK = """
import os, sys
from connector import __main__, app
for name in sys.argv[1:]:
    if not os.fork():
        sys.argv[1:] = [name, "--help"]
        __main__.main()
    assert 0 == os.wait()[1]
"""
"""What all of them import takes most of a second, and is imported once; what only one does, in a process of its own."""


@pytest.fixture(scope="module")
def said_by_commands(tmp_path_factory):
    return said_by(tmp_path_factory.mktemp("commands"), "-c", EACH_IN_A_FORK, *COMMANDS)


@pytest.mark.parametrize(("name", "words"), COMMANDS.items())
def test_a_command_is_there_when_it_is_called(said_by_commands, name, words):
    """What the list of commands says of it is what the command itself says."""
    assert f"{name} [OPTIONS] {ARGUMENTS.get(name, '')}{words}" in said_by_commands


def test_all_commands_are_listed(tmp_path):
    """Although none of them was imported."""
    said = said_by(tmp_path, "-m", "connector", "--help")

    for name, words in COMMANDS.items():
        assert f" {name} {words[:20]}" in said


def test_a_worker_imports_what_it_needs(tmp_path):
    """Commands, the simulator and what only these need are megabytes that a worker would never touch."""
    modules = said_by(tmp_path, "-c", "import sys, connector; connector.app; print(*sys.modules)").split()

    unwanted = ("rich", "pygments", "connector.simulator", *MODULES.values())
    assert "faust" in modules
    assert [] == [name for name in modules if name.startswith(unwanted)]


def test_the_page_of_all_commands_is_fresh(tmp_path):
    """docs/command-line.md is what `--help` says, line breaks aside, which are click's; `make docs` writes it."""
    assert said_by(tmp_path, "-m", "connector.cli.docs") == " ".join(
        (ROOT / "docs" / "command-line.md").read_text().split()
    )
