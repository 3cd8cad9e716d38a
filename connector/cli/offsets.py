"""
`faust -A connector offsets …`: source offsets of a connector, over the REST API of a running group.

The short form of `connectors offsets`, with its options and exit codes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from faust.cli.base import cli as faust_cli

from connector.cli.connectors import offsets
from connector.cli.connectors.setup import Setup, common, subcommand

if TYPE_CHECKING:
    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

HELP = """Show source offsets, or change those of a stopped connector.

The offset of a source partition says up to which time posts are delivered, and which gaps are open. The worker at --url
is asked; which one without it, and with which login, says: connectors --help.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 no worker can be reached."""

_NAME = click.argument("name")


@subcommand("show", _NAME)
def show(setup: Setup, name: str) -> None:
    """Show the offsets of the connector NAME."""
    offsets.show(setup, name)


@subcommand("set", _NAME, click.argument("file", type=click.Path(path_type=Path), metavar="FILE"))
def set_(setup: Setup, name: str, file: Path) -> None:
    """
    Set offsets of the stopped connector NAME by FILE. As show --json prints them; null removes one.

    A minus as FILE reads standard input.
    """
    offsets.replace(setup, name, file)


@subcommand("reset", _NAME, click.option("--yes", is_flag=True, help="Do not ask."))
def reset(setup: Setup, name: str, *, yes: bool) -> None:
    """Remove all offsets of the stopped connector NAME. Coverage and gaps are forgotten."""
    offsets.reset(setup, name, yes=yes)


def register(_app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add the command `offsets` to Faust's command line; *loaded* says where the worker is and who asks."""
    faust_cli.add_command(group_of(loaded.worker))


def group_of(settings: "WorkerSettings") -> click.Group:
    """Return the command with its subcommands."""

    @click.group("offsets", help=HELP)
    @common
    @click.pass_context
    def group(ctx: click.Context, url: str | None, wait_secs: float | None, *, json_: bool) -> None:
        ctx.obj = {"settings": settings, "url": url, "wait_secs": wait_secs, "json_": json_}

    for command in (show, set_, reset):
        group.add_command(command)
    return group
