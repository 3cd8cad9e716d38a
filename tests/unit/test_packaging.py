"""What is shipped beside the package: the image, the compose file, the Makefile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from connector.cli import demo
from connector.config import CONNECTOR_OPTIONS
from connector.settings import FAUST_SETTINGS, WORKER_OPTIONS
from connector.simulator.command import options as simulator_options

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
SERVICES = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
WORKERS = [name for name in SERVICES if name.startswith("worker")]


def test_two_workers_of_one_group() -> None:
    """One of them can die."""
    assert len(WORKERS) == 2
    assert len({SERVICES[name]["environment"]["CONNECTOR_GROUP_ID"] for name in WORKERS}) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_on_this_machine_alone(service) -> None:
    """Nothing is open to the network."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service]["ports"])


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_watched(service) -> None:
    """By a health check of its own, or by the image's, which the workers have."""
    assert "healthcheck" in SERVICES[service] or service in WORKERS


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_has_a_login_and_time_to_stop(worker) -> None:
    """Its users have no default, its grace period is more than its stop timeout, and all its variables exist."""
    environment = SERVICES[worker]["environment"]
    known = {option.environment for option in [*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()]} | FAUST_SETTINGS

    assert environment["CONNECTOR_WEB_USERS"].startswith("${CONNECTOR_WEB_USERS:?")
    assert int(SERVICES[worker]["stop_grace_period"].removesuffix("s")) > float(
        environment["CONNECTOR_STOP_TIMEOUT_SECS"]
    )
    assert environment.keys() <= known


def test_the_simulator_has_the_options_it_is_given() -> None:
    """The command line of the compose file is one."""
    assert simulator_options()
    assert SERVICES["simulator"]["command"][0] == "simulate"


def test_the_image_runs_without_root_and_hears_signals() -> None:
    """A numeric user, so that Kubernetes can check it; no shell between the signal and the worker."""
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert re.search(r"^ENTRYPOINT \[", last, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last
    assert "/ping" in last


def test_the_demos_options_are_on_both_command_lines() -> None:
    """`python -m connector.cli.demo` has what `faust -A connector demo` has."""
    names = {parameter.name for parameter in demo.main.params}

    assert names == {"broker", "rate", "duration", "faults", "keep"}


def test_the_last_line_of_make_is_the_sentence(tmp_path) -> None:
    """Not make's own about an exit code."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".demo").touch()
    tree = ["-f", str(ROOT / "Makefile"), "-o", ".venv/.demo", f"BIN={Path(sys.executable).parent}"]
    command = ["make", *tree, "demo", "ARGS=--rat 5"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603  # ours
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert 2 == done.returncode
    assert "No such option: --rat" in done.stderr.splitlines()[-1]
    assert "ARGS=--help" in done.stderr.splitlines()[-1]
