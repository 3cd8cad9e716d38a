"""`faust -A connector simulate`, in an application of the test's own."""

import os
import signal
import subprocess
import sys

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow  # each starts a process

APPLICATION = """
import faust
from connector.cli.simulate import register

app = faust.App("throwaway", broker="kafka://localhost:1", datadir="data")
register(app)
"""


@pytest.fixture
def faust(tmp_path):
    """The command line of an application that has nothing but our command."""
    (tmp_path / "throwaway.py").write_text(APPLICATION)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def run(*arguments):
        command = [sys.executable, "-m", "faust", "-A", "throwaway", "simulate", *arguments]
        return subprocess.Popen(  # noqa: S603 - our own
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return run


def test_the_command_starts_with_nothing_configured_and_stops(faust):
    """No broker, no account, no options but the port: one line, and 0 on a signal."""
    with faust("--port", "0") as process:
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0

    assert line.startswith("Simulator of the X API v2 at http://127.0.0.1:")
    assert "bearer token simulated-token; Ctrl-C stops it." in line


def test_a_taken_port_ends_the_command_with_1(faust, sim):
    """One sentence, no banner, no traceback."""
    with faust("--port", str(sim.simulator.port)) as process:
        _, said = process.communicate(timeout=20)

    assert process.returncode == 1
    assert said.endswith(f"cannot listen on 127.0.0.1:{sim.simulator.port}: the port is taken.\n")
    assert "Traceback" not in said


def test_a_port_that_is_none_ends_the_command_with_1(faust):
    """Likewise: a sentence."""
    with faust("--port", "99999") as process:
        _, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "cannot listen on 127.0.0.1:99999: " in said
    assert "Traceback" not in said
