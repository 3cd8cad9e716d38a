"""Faust's own commands and options, as processes: what a terminal shows."""

import json
import subprocess
import sys

import pytest
from faust.cli.base import cli

from connector import __version__
from connector.cli import COMMANDS, register
from connector.cli.inherited import HIDDEN, REFUSED
from connector.cluster.statuses import Statuses
from connector.config.load import load
from connector.worker import wiring
from tests import ROOT

ENVIRONMENT = {
    "CONNECTOR_TOPIC": "posts",
    "CONNECTOR_HASHTAGS": "python",
    "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic",
    "PYTHONPATH": str(ROOT),
}


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Run a command line on an application of its own, which no worker runs; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, configure=None):
        loaded = load(ENVIRONMENT, tmp_path)
        app = wiring.wire(loaded)
        register(app, loaded)
        monkeypatch.setattr(sys, "argv", ["murmuration", *arguments])
        if configure is not None:
            monkeypatch.setattr("connector.worker.process.ConnectorWorker.execute_from_commandline", configure)
        with pytest.raises(SystemExit) as caught:
            cli(args=list(arguments), app=app)
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def test_help_lists_what_makes_sense(call):
    """And nothing else."""
    code, out, _ = call("--help")
    listed = {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.strip()}

    assert 0 == code
    assert {*COMMANDS, "worker"} <= listed
    assert set() == listed & {*REFUSED, *HIDDEN}
    assert not any(word in out for word in ("datadir", "console-port", "blocking", "--debug", "faust-streaming"))


def test_every_command_was_thought_of(call):
    """Of each command that Faust has, or will have, it is said what becomes of it."""
    ours = {*COMMANDS, "worker"}
    call("--help")

    assert {*REFUSED, *HIDDEN} == cli.commands.keys() - ours


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("rest", [[], ["@worker.hold_slots", "x", "--partition", "3"], ["--help"]])
def test_what_makes_no_sense_is_refused(call, name, rest):
    """With a sentence, whatever is asked of it, and the exit code of a wrong command line."""
    assert (2, "", f"Error: {REFUSED[name]}\n") == call(name, *rest)


def test_a_wrong_model_is_a_sentence(call):
    """A name that cannot be imported is no reason for a stack."""
    code, _, err = call("model", "Post")

    assert 2 == code
    assert "Error: There is no model Post: connector.records.post.Post is one." in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--debug", "worker"], "--debug is for Faust's developers: use -l debug"),
        (["worker", "--web-transport", "unix:x"], "No such option: --web-transport"),
        (["worker", "--web-host", "x"], "No such option: --web-host"),
        (["worker", "--console-port", "9"], "No such option: --console-port"),
        (["worker", "-l", "loud"], "'loud' is not one of"),
        (["worker", "-f", "/nodir/log"], "--logfile /nodir/log cannot be written: No such file or directory."),
        (["-W", "/nodir", "worker"], "Directory '/nodir' does not exist"),
        (["wroker"], "No such command 'wroker'"),
    ],
)
def test_a_wrong_option_is_a_sentence(call, arguments, said):
    """What a worker has no use for is no silent option of it."""
    code, _, err = call(*arguments)

    assert 2 == code
    assert said in err


def test_help_of_a_worker_says_what_is_true(call):
    """Defaults are those of this connector."""
    _, out, _ = call("worker", "--help")
    out = " ".join(out.split())

    assert "CONNECTOR_WEB_PORT, or 8083" in out
    assert "CONNECTOR_WEB_BIND, or 127.0.0.1" in out
    assert not any(word in out for word in ("6066", "(default", "WARN]", "console-port"))


LEVELS = [
    ([], "INFO", "console", None),
    (["worker", "-l", "debug"], "DEBUG", "console", None),
    (["worker", "--loglevel", "WARN"], "WARNING", "console", None),
    (["worker", "-l", "crit"], "CRITICAL", "console", None),
    (["-l", "debug", "worker"], "DEBUG", "console", None),
    (["-l", "WARN", "worker"], "WARNING", "console", None),
    (["-q", "worker"], "ERROR", "console", None),
    (["-q", "worker", "-l", "debug"], "DEBUG", "console", None),
    (["--json", "worker"], "INFO", "json", None),
    (["worker", "-f", "log.txt"], "INFO", "console", "log.txt"),
    (["-f", "log.txt", "worker"], "INFO", "console", "log.txt"),
]


@pytest.mark.parametrize(("arguments", "level", "log_format", "path"), LEVELS)
def test_a_worker_obeys_its_command_line(call, arguments, level, log_format, path):
    """Level, form and file of the log are as the command line says, which wins over the settings."""
    seen = []

    def look(self):
        seen.append((self.app.log_level, self.app.log_format, self.app.log_file))
        self.loop.close()
        raise SystemExit(0)

    call(*(arguments or ["worker"]), configure=look)

    assert [(level, log_format, path)] == seen


@pytest.mark.parametrize(
    ("arguments", "web", "ids"),
    [
        ([], "http://127.0.0.1:8083", "127.0.0.1:8083"),
        (["--web-port", "9101"], "http://127.0.0.1:9101", "127.0.0.1:9101"),
        (["-b", "::1", "-p", "9101"], "http://[::1]:9101", ":9101"),
        (["-b", "[::1]"], "http://[::1]:8083", ":8083"),
        (["--without-web"], None, "127.0.0.1:pid-"),
    ],
)
def test_a_worker_names_the_port_that_it_has(call, monkeypatch, arguments, web, ids):
    """Its id and its first line are of the port that it listens on, so that two of a host are two."""
    seen = []
    monkeypatch.setattr(wiring, "Emitter", lambda *_: seen.append)

    def look(self):
        self.app.announce()
        seen.extend(service.worker_id for service in self.app.after_producer if isinstance(service, Statuses))
        self.loop.close()
        raise SystemExit(0)

    call("worker", *arguments, configure=look)

    assert web == seen[0].web
    assert ids in seen[-1]


@pytest.mark.parametrize("arguments", [["--version"], ["-l", "debug", "--version"]])
def test_version_is_the_connectors(call, arguments):
    """Both versions, ours first."""
    code, out, _ = call(*arguments)

    assert 0 == code
    assert out.startswith(f"murmuration-connector {__version__} (Faust 0.15.")


@pytest.mark.slow
def test_version_needs_no_settings(tmp_path):
    """It is what people are asked for when nothing works."""
    done = subprocess.run(
        [sys.executable, "-m", "connector", "--version"],
        env={"PYTHONPATH": ENVIRONMENT["PYTHONPATH"], "CONNECTOR_WEB_PORT": "x"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.startswith(f"murmuration-connector {__version__} (Faust ")


def test_log_in_a_file(tmp_path):
    """The file has the lines, also after logrotate has moved it, and standard error has none."""
    code = (
        "import logging, os; from connector.telemetry import logs; logs.configure('INFO', 'json', path='log.txt')\n"
        "log = logging.getLogger('connector'); log.warning('one'); os.rename('log.txt', 'old.txt'); log.warning('two')"
    )
    done = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=True, timeout=60
    )

    assert b"" == done.stderr
    assert "one" == json.loads((tmp_path / "old.txt").read_text())["event"]
    assert "two" == json.loads((tmp_path / "log.txt").read_text())["event"]
