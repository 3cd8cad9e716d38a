"""
Adapts Faust's own commands and options to this connector.

Faust's commands and options are made for applications with agents, tables and files.  A command that can do nothing
here is refused with a sentence; commands and options that do no harm are hidden.  The options of a worker are passed to
our logging, because Faust would pass them to its own, which we replace.
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import faust.cli.faust  # registers the commands that are adapted here
from click.core import ParameterSource
from faust.cli.base import cli, compat_option, option
from faust.cli.params import TCPPort, WritableFilePath
from faust.cli.worker import worker as faust_worker
from mode.utils.imports import symbol_by_name

from connector import __version__
from connector.cli.exits import EX_USAGE
from connector.kafka.internals import click_command

if TYPE_CHECKING:
    from connector.worker.process import ConnectorApp

VERSION = f"murmuration-connector {__version__} (Faust {faust.__version__})"

REFUSED = {
    "clean-versions": "There are no data directories of old versions: a worker keeps its state in Kafka.",
    "completion": "There is no shell completion: which commands there are is known only once -A is.",
    "livecheck": "There are no LiveCheck tests: `GET /ready` says whether a worker does its part, and why not.",
    "reset": "There is no local table to delete: a worker keeps its state in Kafka. The command coverage shows it.",
    "send": "Posts come from X alone, and the group's own topics take records of its workers alone. For another topic"
    " use Kafka's kafka-console-producer.",
    "tables": "There are no Faust tables: a worker keeps its state in Kafka. The command coverage shows it.",
}
HIDDEN = ("agents", "model", "models")
HIDDEN_OPTIONS = ("datadir", "debug")
REMOVED_OPTIONS = ("blocking_timeout", "console_port")

HELP = """Copy posts of the X API v2 into Kafka, each exactly once.

Settings come from CONNECTOR_* variables or a file .env. The command demo needs neither an account at X nor Kafka; the
command doctor says what would keep a worker from its work.

Exit codes: 0 done; 1 the answer is no, or a worker had a fatal error; 2 wrong arguments; 3 no worker can be reached;
69 Kafka or X does not answer; 78 wrong settings; 130 Ctrl-C."""

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "warn": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "crit": "CRITICAL",
}

_LEVEL_HELP = "The least level that is logged. [default: CONNECTOR_LOG_LEVEL, or info]"
_FILE_HELP = "Log into this file, which logrotate may move. [default: standard error]"


class _Refused(click.Command):
    """A command of Faust that can do nothing here; it says why."""

    def __init__(self, name: str, why: str) -> None:
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        super().__init__(name, hidden=True, add_help_option=False, context_settings=anything)
        self._why = why

    def invoke(self, ctx: click.Context) -> None:
        """Say why the command is refused, and exit with 2, as after wrong arguments."""
        refusal = click.ClickException(self._why)
        refusal.exit_code = EX_USAGE
        raise refusal


class worker(faust_worker):  # noqa: N801  # Faust makes the command's name of it
    """Run a worker: read X, deliver into Kafka."""

    app: "ConnectorApp"

    options: Sequence[Callable[[Any], Any]] = [  # type: ignore[assignment]  # Faust's own are declared likewise
        option("--with-web/--without-web", default=True, help="Serve the REST API and the web interface."),
        option(
            "--web-port",
            "-p",
            type=TCPPort(),
            metavar="PORT",
            help="Port of the web interface. [default: CONNECTOR_WEB_PORT, or 8083]",
        ),
        option(
            "--web-bind",
            "-b",
            metavar="ADDRESS",
            help="Address of the web interface. [default: CONNECTOR_WEB_BIND, or 127.0.0.1]",
        ),
        compat_option("--logfile", "-f", state_key="logfile", type=WritableFilePath, help=_FILE_HELP),
        compat_option(
            "--loglevel",
            "-l",
            state_key="loglevel",
            type=click.Choice(list(LEVELS), case_sensitive=False),
            help=_LEVEL_HELP,
        ),
    ]

    def __init__(self, ctx: click.Context, *args: Any, **kwargs: Any) -> None:
        root = ctx.find_root()
        if root.get_parameter_source("debug") is ParameterSource.COMMANDLINE and root.params.get("debug"):
            raise click.UsageError("--debug is for Faust's developers: use -l debug, which logs all there is.", root)
        if root.params.get("loop") == "eventlet" or (
            root.params.get("loop") == "uvloop" and importlib.util.find_spec("uvloop") is None
        ):
            raise click.UsageError(f"There is no event loop {root.params['loop']} here: leave --loop out.", root)
        super().__init__(ctx, *args, **kwargs)
        self.debug = False  # a worker ignores the variable DEBUG
        if self.quiet:
            self.app.log_level = "ERROR"
        if self.json:
            self.app.log_format = "json"
        level = self._loglevel
        if level is None and root.get_parameter_source("loglevel") is ParameterSource.COMMANDLINE:
            level = "warn"  # Faust ignores this level, because it is its default
        if level is not None:
            self.app.log_level = LEVELS[level.lower()]
        self.app.log_file = self._writable(self.logfile)

    def _writable(self, path: str | None) -> str | None:
        try:
            if path is not None:
                with Path(path).open("a"):
                    pass
        except OSError as error:
            raise click.UsageError(f"--logfile {path} cannot be written: {error.strerror}.", self.ctx) from None
        return path

    def _init_worker_options(self, *args: Any, web_bind: str | None, **kwargs: Any) -> None:
        address = web_bind and web_bind.strip("[]")
        super()._init_worker_options(*args, web_bind=address, web_host=None, web_transport=None, **kwargs)


def adapt() -> None:
    """Adapt Faust's command line; a second call changes nothing."""
    cli.help = HELP
    cli.params[:] = [param for param in cli.params if param.name not in REMOVED_OPTIONS]
    for param in cli.params:
        if isinstance(param, click.Option):
            _adapt_option(param)
    for name, why in REFUSED.items():
        cli.add_command(_Refused(name, why))
    for name in HIDDEN:
        cli.commands[name].hidden = True
    cli.add_command(click_command(worker))
    _check_model(cli.commands["model"])


def _adapt_option(param: click.Option) -> None:
    param.hidden = param.name in HIDDEN_OPTIONS
    if param.name == "loglevel":
        param.help, param.show_default, param.default = _LEVEL_HELP, False, None
        param.type = click.Choice(list(LEVELS), case_sensitive=False)
    elif param.name == "logfile":
        param.help = _FILE_HELP
    elif param.name == "quiet":
        param.help, param.show_default = "A worker logs errors alone.", False
    elif param.name == "json":
        param.help = "In JSON: a worker's log, and what commands print."
    elif param.name == "loop":
        param.type = click.Choice(["aio", "uvloop"])
    elif param.name == "workdir":
        param.type = click.Path(exists=True, file_okay=False)
    elif param.name == "version":
        param.callback = _say_version


def _say_version(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(VERSION)
        ctx.exit()


def _check_model(command: click.Command) -> None:
    """Let the command `model` refuse an unknown name with a sentence; Faust prints a stack."""
    show = command.callback
    if show is None or getattr(show, "checks", False):
        return

    def checked(**values: Any) -> Any:
        try:
            symbol_by_name(str(values["name"]))
        except (ImportError, AttributeError, ValueError):
            raise click.UsageError(f"There is no model {values['name']}: connector.records.post.Post is one.") from None
        return show(**values)

    checked.checks = True  # type: ignore[attr-defined]
    command.callback = checked
