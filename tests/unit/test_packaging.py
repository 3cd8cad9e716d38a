"""What is shipped beside the package: the image, the compose file, the Makefile."""

import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml

from connector.cli.demo import command
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.faust_settings import FAUST_SETTINGS
from connector.config.worker import WORKER_OPTIONS
from connector.simulator.command import options as simulator_options
from tests import ROOT

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


def test_one_service_builds_the_image() -> None:
    """Compose builds side by side, and two builds of one name end in "already exists"; the others wait for the one."""
    users = [name for name in SERVICES if str(SERVICES[name]["image"]).startswith("murmuration")]
    builders = [name for name in users if "build" in SERVICES[name]]

    assert ["simulator", *WORKERS] == users
    assert ["simulator"] == builders
    assert all(SERVICES[name]["pull_policy"] == "never" for name in users if name not in builders)
    assert all(builders[0] in SERVICES[name]["depends_on"] for name in users if name not in builders)


@pytest.mark.parametrize("worker", WORKERS)
def test_wrong_settings_are_not_started_for_ever(worker) -> None:
    """A restart cures no exit code 78."""
    assert SERVICES[worker]["restart"].startswith("on-failure:")


def test_the_image_has_the_hot_path_in_c() -> None:
    """Headers are fetched where the interpreter is the distribution's, and a build without the hot path fails."""
    first = DOCKERFILE[: DOCKERFILE.rindex("FROM ")]

    assert "python3-dev" in first
    # -I: not the sources beside it
    assert '-I -c "import connector.records._native, connector.formats.schemas._avro"' in first


@pytest.mark.parametrize(
    ("bind", "asked"),
    [
        ("", "http://127.0.0.1:8083/ping"),
        ("0.0.0.0", "http://127.0.0.1:8083/ping"),  # noqa: S104  # of a container
        ("10.0.0.7", "http://10.0.0.7:8083/ping"),
        ("::", "http://[::1]:8083/ping"),
        ("[::1]", "http://[::1]:8083/ping"),
        ("fd00::7", "http://[fd00::7]:8083/ping"),
    ],
)
def test_the_health_check_asks_where_the_worker_listens(monkeypatch, bind, asked) -> None:
    """Also where that is an address of IPv6."""
    code = re.search(r'CMD \["python3", "-c", "(.*?)"\]', DOCKERFILE, re.DOTALL)[1]
    code = code.replace("\\\n", "").replace("\\n", "\n")
    opened = []

    class Opener:
        def open(self, url, timeout):
            opened.append(url)

    monkeypatch.setenv("CONNECTOR_WEB_BIND", bind)
    monkeypatch.setattr(urllib.request, "build_opener", lambda _: Opener())
    exec(compile(code, "Dockerfile", "exec"), {})  # noqa: S102  # ours

    assert [asked] == opened


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


def test_the_image_has_the_extras_that_are_asked_for() -> None:
    """By `--build-arg EXTRAS`, for an image has no pip; each that the Dockerfile and the pages name is one of ours."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = [(ROOT / "docs" / name).read_text() for name in ("how-to/docker.md", "formats.md")]
    named = [each.split(",") for page in [DOCKERFILE, *pages] for each in re.findall(r'EXTRAS="?([\w,-]+)', page)]

    assert 2 == DOCKERFILE.count("[${EXTRAS}]")
    assert len(named) >= 4
    assert set() == {extra for each in named for extra in each} - extras.keys()


def test_the_demos_options_are_on_both_command_lines() -> None:
    """`python -m connector.cli.demo.command` has what `faust -A connector demo` has."""
    names = {parameter.name for parameter in command.main.params}

    assert names == {"broker", "kafka", "repository", "rate", "duration", "faults", "keep"}


@pytest.mark.slow
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
