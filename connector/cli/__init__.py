"""
Commands of `faust -A connector …`, one file each.

`inherited` adapts Faust's own; `children`, `proof` and `screen` are parts of the demo.
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
    """A command that is imported when it is called: a worker knows all of them, calls none, and saves 6 MB."""

    def __init__(self, name: str, help_: str, load: Callable[[], click.Command]) -> None:
        super().__init__(name, help=help_)
        self._load = load

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Begin a call, or the answer to `--help`: of the command itself."""
        return self._load().make_context(*args, **kwargs)


def register(app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add all commands to *app*, which was made of *loaded*."""
    inherited.adapt()
    for name, help_ in COMMANDS.items():
        faust_cli.add_command(_Later(name, help_, partial(_load, name, app, loaded)))


def _load(name: str, app: "ConnectorApp", loaded: "Loaded") -> click.Command:
    import_module(MODULES[name]).register(app, loaded)  # which puts it into the place of the `_Later`
    return faust_cli.commands[name]
