"""
The commands of `faust -A connector …`: a module or a package for each.

`inherited` adapts Faust's own commands, `docs` makes docs/command-line.md.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click
from faust.cli.base import cli as faust_cli

from connector.cli import inherited
from connector.errors import ConfigError
from connector.worker.process import exit_misconfigured

if TYPE_CHECKING:
    from connector.config.load import Examined, Loaded
    from connector.worker.process import ConnectorApp

COMMANDS = {
    "audit": "Compare the topic with what X counts, minute by minute; this costs money.",
    "connectors": "Manage the connectors of a running group, over the REST API of one of its workers.",
    "coverage": "Show what is delivered and what is missing.",
    "demo": "Show the connector at work, with a simulated X API and an embedded broker.",
    "doctor": "Look for what would keep a worker from its work, and name the cure.",
    "offsets": "Show source offsets, or change those of a stopped connector.",
    "rules": "Show the rules at X, what would change, and what rules cost.",
    "simulate": "Run a stand-in for the X API v2 on this machine.",
    "tail": "Print posts from the topic.",
    "top": "Show how the group is.",
    "validate": "Check settings and connectors in files, without a network.",
}

MODULES = {
    "audit": "connector.cli.audit.command",
    "connectors": "connector.cli.connectors.command",
    "coverage": "connector.cli.coverage",
    "demo": "connector.cli.demo.command",
    "doctor": "connector.cli.doctor.command",
    "offsets": "connector.cli.offsets",
    "rules": "connector.cli.rules.command",
    "simulate": "connector.cli.simulate",
    "tail": "connector.cli.tail.command",
    "top": "connector.cli.top.command",
    "validate": "connector.cli.validate",
}

WITHOUT_SETTINGS = ("doctor", "rules", "validate")
"""Commands that run with wrong settings: they say more about them than the list of problems, or need few of them."""


class Later(click.Command):
    """A command whose module is imported when the command is called; this saves a worker 6 MB."""

    def __init__(self, name: str, help_: str, load: Callable[[], click.Command]) -> None:
        super().__init__(name, help=help_, short_help=help_)  # click would cut the help off, and wraps this
        self.load = load

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Import the command and let it read the arguments, `--help` too."""
        return self.load().make_context(*args, **kwargs)


def register(app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add all commands to *app*, which was made of *loaded*."""
    inherited.adapt()
    for name, help_ in COMMANDS.items():
        faust_cli.add_command(Later(name, help_, partial(_load, name, app, loaded)))


def loaded_command(name: str) -> click.Command:
    """Return a command of `register` as it is once its module is imported."""
    command = faust_cli.commands[name]
    return command.load() if isinstance(command, Later) else command


def _load(name: str, app: "ConnectorApp", loaded: "Loaded") -> click.Command:
    import_module(MODULES[name]).register(app, loaded)  # the command replaces the `Later`
    return faust_cli.commands[name]


def misconfigured(examined: "Examined") -> NoReturn:
    """Let the command that the command line asks for tell the problems of *examined*, or print them; exit with 78."""
    name, arguments = _asked(sys.argv[1:])
    if name in WITHOUT_SETTINGS:
        command: click.Command = import_module(MODULES[name]).command_of(examined)
        if isinstance(command, click.Group) and arguments[:1] == ["--json"]:  # its subcommands take the option
            arguments = [*arguments[1:2], "--json", *arguments[2:]]
        command.main(arguments, prog_name=f"faust -A connector {name}")
    exit_misconfigured(ConfigError(examined.problems))


def _asked(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command in *arguments* and what follows it; `--json` before the command counts as if it followed."""
    inherited.adapt()
    try:
        options, rest, _ = faust_cli.make_parser(click.Context(faust_cli)).parse_args(list(arguments))
    except click.UsageError:
        return "", []
    name, *following = rest or [""]
    return name, ["--json", *following] if options.get("json") else following
