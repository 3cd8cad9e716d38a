"""Starts schemathesis: requests made of /openapi.json, and whether the document allows the answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.absent import skip

TOOL = Path(sys.executable).with_name("schemathesis")
SETTINGS = ROOT / "tests" / "connect" / "schemathesis.toml"


def start(url, folder, *, secs, config, names, only=False):
    """
    Start a run of *secs* against the server at *url*, and return the process.

    *config* is a valid configuration and *names* are for the connectors that get it; with *only*, no others do.
    """
    if not TOOL.exists():
        skip("schemathesis is not installed")
    hooks = {
        "CONNECTOR_VALID_CONFIG": json.dumps(config),
        "CONNECTOR_NAMES": json.dumps(names),
        "CONNECTOR_ONLY_NAMES": json.dumps(only),
        "PYTHONPATH": str(ROOT),
    }
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(  # noqa: S603
        [TOOL, "--config-file", SETTINGS, "run", f"{url}/openapi.json", "--max-time", str(secs), "--no-color"],
        cwd=folder,
        env={**os.environ, **hooks},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check(run):
    """Wait for *run*; what it has found is in the error."""
    output, _ = run.communicate()

    assert 0 == run.returncode, output[-10_000:]
