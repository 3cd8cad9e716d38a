"""
The commands of `faust -A connector …`: a module or a package for each.

`inherited` adapts Faust's own commands.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from faust.cli.base import cli as faust_cli

from connector.cli import inherited

if TYPE_CHECKING:
    from connector.config.load import Loaded
    from connector.worker.process import ConnectorApp

COMMANDS = {
    "audit": "Compare the topic with what X counts, minute by minute; this costs money.",
    "coverage": "Show what is delivered and what is missing.",
    "demo": "Show the connector at work, with a simulated X API and an embedded broker.",
    "simulate": "Run a stand-in for the X API v2 on this machine.",
}

MODULES = {
    "audit": "connector.cli.audit.command",
    "coverage": "connector.cli.coverage",
    "demo": "connector.cli.demo.command",
    "simulate": "connector.cli.simulate",
}


class _Later(click.Command):
    """A command whose module is imported when the command is called; this saves a worker 6 MB."""

    def __init__(self, name: str, help_: str, load: Callable[[], click.Command]) -> None:
        super().__init__(name, help=help_)
        self._load = load

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Import the command and let it read the arguments, `--help` too."""
        return self._load().make_context(*args, **kwargs)


def register(app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add all commands to *app*, which was made of *loaded*."""
    inherited.adapt()
    for name, help_ in COMMANDS.items():
        faust_cli.add_command(_Later(name, help_, partial(_load, name, app, loaded)))


def _load(name: str, app: "ConnectorApp", loaded: "Loaded") -> click.Command:
    import_module(MODULES[name]).register(app, loaded)  # the command replaces the `_Later`
    return faust_cli.commands[name]
