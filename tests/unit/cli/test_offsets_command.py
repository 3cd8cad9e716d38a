"""The command `offsets`, which does what `connectors offsets` does."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from connector.cli.exits import EX_FAILED, EX_OK, EX_UNREACHABLE, EX_USAGE
from connector.cli.offsets import group_of
from connector.config.worker import WorkerSettings
from connector.web.connect.ports import TargetState
from tests.brokers import free_port
from tests.connect.file_source import INPUT
from tests.connect.in_memory import InMemoryConnectors
from tests.connect.serving import serving

BIRDS = {"name": "birds", "connector.class": "FileStreamSource", "file": INPUT, "topic": "posts"}
PARTITION = {"filename": INPUT}


@pytest.fixture
def connectors():
    found = InMemoryConnectors()
    asyncio.run(found.create("birds", dict(BIRDS)))
    return found


@pytest.fixture
def offsets(connectors):
    with serving(connectors) as url:

        def run(*args, code=EX_OK, **kwargs):
            done = CliRunner().invoke(group_of(WorkerSettings(rest_url=url)), [str(arg) for arg in args], **kwargs)
            assert code == done.exit_code, done.output
            return done.output

        yield run


def test_offsets_are_shown_set_and_removed(offsets, connectors, tmp_path):
    """What --json prints can be set again, from a file or from standard input; a running connector keeps its own."""
    assert f"filename={INPUT}\n  position: 12\n" == offsets("show", "birds")
    kept = offsets("show", "birds", "--json")
    file = tmp_path / "offsets.json"
    file.write_text(json.dumps({"offsets": [{"partition": PARTITION, "offset": {"position": 5}}]}))

    assert "must be in the STOPPED state" in offsets("set", "birds", file, code=EX_FAILED)
    connectors.connectors["birds"].state = TargetState.STOPPED
    assert "altered successfully" in offsets("set", "birds", file)
    assert "position: 5" in offsets("show", "birds")
    assert "altered successfully" in offsets("set", "birds", "-", input=kept)
    assert "position: 12" in offsets("show", "birds")
    assert "--yes says so" in offsets("reset", "birds", code=EX_USAGE)
    assert "reset successfully" in offsets("reset", "birds", "--yes")
    assert "No offset is committed.\n" == offsets("show", "birds")


def test_what_goes_wrong_is_told(offsets, tmp_path):
    """An unknown connector, a file that is none, and too long a file."""
    assert "nobody" in offsets("show", "nobody", code=EX_FAILED)
    assert "cannot be read" in offsets("set", "birds", tmp_path / "none.json", code=EX_USAGE)
    assert "is no JSON" in offsets("set", "birds", "-", input="{", code=EX_USAGE)
    assert "more than" in offsets("set", "birds", "-", input=" " * (4 * 1024 * 1024 + 1), code=EX_USAGE)


def test_no_worker_is_told():
    """With an exit code of its own."""
    settings = WorkerSettings(rest_url=f"http://127.0.0.1:{free_port()}")

    assert EX_UNREACHABLE == CliRunner().invoke(group_of(settings), ["show", "birds"]).exit_code
