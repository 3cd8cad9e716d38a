"""The contracts of imports in pyproject.toml, tried on a copy in which one import is turned round."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import connector
from tests import ROOT

pytestmark = pytest.mark.slow  # each reads the whole package; `make lint` reads the real one

LINT = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def copy(tmp_path):
    """The package that is tested, wherever it is installed."""
    source = Path(connector.__file__).parent
    shutil.copytree(source, tmp_path / "connector", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "imported", "broken"),
    [
        ("coverage/offset", "task.progress", "A room imports only those below it BROKEN"),
        ("records/clock", "errors", ""),
        ("records/clock", "config.options", "A room imports only those below it BROKEN"),
        ("config/checks", "transforms.catalogue", "A room imports only those below it BROKEN"),
        ("kafka/topics", "sources.handles", "A room imports only those below it BROKEN"),
        ("kafka/login/tls", "kafka.topics", "topics, login, internals BROKEN"),
        ("sources/http/wire", "sources.rest.api", "REST, HTTP BROKEN"),
        ("task/buffer", "task.reader", "the reader BROKEN"),
        ("simulator/clock", "records.clock", "The simulator shares nothing with the connector BROKEN"),
        ("simulator/http/wire", "simulator.rules.text", "rules, HTTP, settings BROKEN"),
        ("simulator/tokens", "simulator.posts.search", "No circles BROKEN"),
    ],
)
def test_an_import_that_is_turned_round_is_found(copy, module, imported, broken):
    """By the contract that forbids it; one that points down is none."""
    path = copy / "connector" / f"{module}.py"
    path.write_text(f"{path.read_text()}\nimport connector.{imported}\n")
    found = subprocess.run(  # noqa: S603  # ours
        [LINT, "--no-cache", "--no-logo"], cwd=copy, capture_output=True, text=True, check=False, timeout=60
    )

    assert bool(broken) == bool(found.returncode)
    assert broken in found.stdout
