"""
`faust -A connector connectors …`: manages the connectors of a running group over its REST API.

Exit codes: 0 done; 1 a worker refused, a configuration is wrong, or something else failed; 2 wrong arguments, or a file
that holds no connector; 3 no worker can be reached.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from faust.cli.base import cli as faust_cli

from connector.cli.connectors import offsets as offsets_
from connector.cli.connectors import shown
from connector.cli.connectors.apply import apply
from connector.cli.connectors.client import Failed
from connector.cli.connectors.files import read
from connector.cli.connectors.setup import Setup, common, confirm, end, subcommand
from connector.cli.connectors.validation import validated, warn
from connector.cli.exits import EX_FAILED, EX_OK

if TYPE_CHECKING:
    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

STATES = ("RUNNING", "PAUSED", "STOPPED")

HELP = """Manage the connectors of a running group, over the REST API of one of its workers.

The worker is the one at --url; without it at CONNECTOR_REST_URL, or where CONNECTOR_WEB_BIND and CONNECTOR_WEB_PORT say
that a worker on this machine listens. The login is CONNECTOR_REST_USER with CONNECTOR_REST_PASSWORD (or
CONNECTOR_REST_PASSWORD_FILE); without them, for a worker on this machine, the first of CONNECTOR_WEB_USERS.

A connector in a FILE is a .json file (the body of POST /connectors, or a flat map with a name), a .properties or a
.toml file.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 no worker can be reached."""


_NAME = click.argument("name")
_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")
_FILE = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


# -- what is


@subcommand("list")
def list_(setup: Setup) -> None:
    """List the connectors, with their states."""
    found = setup.client.get("connectors", expand=["status", "info"])
    setup.answer(found, lambda: shown.show_list(found, setup.console))


@subcommand("show", _NAME)
def show(setup: Setup, name: str) -> None:
    """Show one connector. State, tasks and configuration."""
    info, status = setup.client.get("connectors", name), setup.client.get("connectors", name, "status")
    setup.answer({"info": info, "status": status}, lambda: shown.show_one(info, status, setup.console))


@subcommand("validate", _FILE)
def validate(setup: Setup, file: Path) -> int:
    """Check the connector in FILE. Says what is wrong and what is worth a warning; nothing is created."""
    answer = validated(setup.client, read(file))
    setup.answer(answer, lambda: shown.show_validation(answer, setup.console))
    return EX_FAILED if answer["error_count"] else EX_OK


# -- what changes


@subcommand(
    "create",
    _FILE,
    click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="The state to begin in."),
)
def create(setup: Setup, file: Path, state: str | None) -> None:
    """Create the connector in FILE."""
    wanted = read(file)
    body = wanted.body | ({"initial_state": state.upper()} if state else {})
    try:
        info = setup.client.send("POST", "connectors", body=body)
    except Failed as failed:
        if failed.exists and failed.sent_before:
            end(f"{failed}: an earlier try of this command may have created it. See: show {wanted.name}", EX_FAILED)
        raise
    warn(setup.client, wanted)
    setup.answer(info, lambda: setup.console.print(f"{wanted.name} is created.", markup=False))


@subcommand(
    "update",
    click.argument("target", metavar="FILE|NAME"),
    click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Set an option of NAME."),
    click.option("--remove", "removed", multiple=True, metavar="OPTION", help="Remove an option of NAME."),
)
def update(setup: Setup, target: str, settings: Sequence[str], removed: Sequence[str]) -> None:
    """Replace a configuration, or change options. By FILE, or of NAME with --set and --remove."""
    if settings or removed:
        name, info = target, setup.client.send("PATCH", "connectors", target, "config", body=_edits(settings, removed))
    else:
        wanted = read(Path(target))
        name = wanted.name
        if not setup.client.exists(name):
            end(f"There is no connector {name}: create makes one.", EX_FAILED)
        info = setup.client.send("PUT", "connectors", name, "config", body=dict(wanted.config))
        warn(setup.client, wanted)
    setup.answer(info, lambda: setup.console.print(f"{name} is updated.", markup=False))


@subcommand("pause", _NAMES)
def pause(setup: Setup, names: Sequence[str]) -> None:
    """Pause connectors. Their tasks read nothing; what they miss is a gap."""
    _each(setup, names, "pause", "is paused")


@subcommand("resume", _NAMES)
def resume(setup: Setup, names: Sequence[str]) -> None:
    """Run connectors that are paused or stopped."""
    _each(setup, names, "resume", "is resumed")


@subcommand("stop", _NAMES)
def stop(setup: Setup, names: Sequence[str]) -> None:
    """Stop connectors. They have no tasks then, and their offsets may be changed."""
    _each(setup, names, "stop", "is stopped")


@subcommand(
    "restart",
    _NAME,
    click.option("--task", type=click.IntRange(0), metavar="NUMBER", help="Restart this task alone."),
    click.option("--only-failed", is_flag=True, help="Restart only what has FAILED."),
)
def restart(setup: Setup, name: str, task: int | None, *, only_failed: bool) -> None:
    """Restart a connector with its tasks."""
    if task is not None:
        found = setup.client.send("POST", "connectors", name, "tasks", str(task), "restart")
    else:
        flags = {"includeTasks": "true", "onlyFailed": str(only_failed).lower()}
        found = setup.client.send("POST", "connectors", name, "restart", **flags)
    what = name if task is None else f"Task {task} of {name}"
    setup.answer(found or {}, lambda: setup.console.print(f"{what} is being restarted.", markup=False))


@subcommand("delete", _NAMES, _YES)
def delete(setup: Setup, names: Sequence[str], *, yes: bool) -> None:
    """Delete connectors. Their offsets stay: a new connector of the same name goes on from them."""
    confirm(f"Delete {', '.join(names)}?", yes=yes)
    for name in names:
        try:
            setup.client.send("DELETE", "connectors", name)
        except Failed as failed:
            if not (failed.not_found and failed.sent_before):  # else an earlier try has deleted it
                raise
    setup.answer({"deleted": list(names)}, lambda: _lines(setup, names, "is deleted"))


@subcommand(
    "offsets",
    _NAME,
    click.option("--set", "file", type=click.Path(path_type=Path), metavar="FILE", help=offsets_.FILE_HELP),
    click.option("--reset", is_flag=True, help="Remove all offsets."),
    _YES,
)
def offsets(setup: Setup, name: str, file: Path | None, *, reset: bool, yes: bool) -> None:
    """Show source offsets, or change those of a stopped connector. The command offsets does the same."""
    if file is not None and reset:
        raise click.UsageError("--set and --reset contradict each other: use one of them.")
    if reset:
        offsets_.reset(setup, name, yes=yes)
    elif file is not None:
        offsets_.replace(setup, name, file)
    else:
        offsets_.show(setup, name)


def _each(setup: Setup, names: Sequence[str], action: str, done: str) -> None:
    for name in names:
        setup.client.send("PUT", "connectors", name, action)
    setup.answer(dict.fromkeys(names, action), lambda: _lines(setup, names, done))


def _lines(setup: Setup, names: Sequence[str], done: str) -> None:
    for name in names:
        setup.console.print(f"{name} {done}.", markup=False)


def _edits(settings: Sequence[str], removed: Sequence[str]) -> Mapping[str, str | None]:
    edits: dict[str, str | None] = dict.fromkeys(removed)
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not equals or not option.strip():
            raise click.UsageError(f"--set {setting!r} is no OPTION=VALUE.")
        edits[option.strip()] = value
    return edits


COMMANDS = (list_, show, validate, create, update, pause, resume, stop, restart, delete, offsets, apply)


def register(_app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add the command `connectors` to Faust's command line; *loaded* says where the worker is and who asks."""
    faust_cli.add_command(group_of(loaded.worker))


def group_of(settings: "WorkerSettings") -> click.Group:
    """Return the command with its subcommands."""

    @click.group("connectors", help=HELP)
    @common
    @click.pass_context
    def connectors(ctx: click.Context, url: str | None, wait_secs: float | None, *, json_: bool) -> None:
        ctx.obj = {"settings": settings, "url": url, "wait_secs": wait_secs, "json_": json_}

    for command in COMMANDS:
        connectors.add_command(command)
    return connectors
