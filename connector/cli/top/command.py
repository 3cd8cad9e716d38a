"""
`faust -A connector top`: how the group is, in a terminal; the facts of the page, from `GET /history` of a worker.

Exit codes: 0 shown, also after Ctrl-C; 1 a worker refused; 2 wrong arguments; 3 no worker can be reached.
"""

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from faust.cli.base import cli as faust_cli
from rich.live import Live

from connector.cli.connectors.client import Failed, Unreachable
from connector.cli.connectors.setup import Setup, end, subcommand
from connector.cli.exits import EX_FAILED
from connector.cli.top.shown import page

if TYPE_CHECKING:
    from connector.config.load import Loaded
    from connector.config.worker import WorkerSettings
    from connector.worker.process import ConnectorApp

RANGES = ("15m", "1h", "6h", "24h", "7d")
EVERY_SECS = 2.0

_OPTIONS = (
    click.option(
        "--range", "range_", type=click.Choice(RANGES), default="1h", show_default=True, help="The time shown."
    ),
    click.option("--connector", "name", metavar="NAME", help="Numbers of this connector alone."),
    click.option("--once", is_flag=True, help="Show it once, as without a terminal."),
    click.option(
        "--every",
        "secs",
        type=click.FloatRange(1, 3600),
        default=EVERY_SECS,
        show_default=True,
        metavar="SECS",
        help="How often a worker is asked.",
    ),
)


@subcommand("top", *_OPTIONS)
def top(setup: Setup, range_: str, name: str | None, *, once: bool, secs: float) -> None:
    """
    Show how the group is. Verdict, connectors, rules, workers and events, until Ctrl-C.

    A worker is asked; which one, and with which login, says: connectors --help.
    """
    asked = {"range": range_, **({"connector": name} if name else {})}
    found = _first(setup, asked)
    if once or setup.json or not _is_terminal():
        setup.answer(found, lambda: setup.console.print(page(found, _now_ms())))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _follow(setup, asked, found, secs)


def _first(setup: Setup, asked: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = setup.client.get("history", **asked)
    except Failed as failed:
        if failed.not_found and str(failed).startswith("HTTP "):  # no words of a worker that knows the route
            end(f"The worker at {setup.client.url} keeps no history: start it with this version.", EX_FAILED)
        raise
    return found


def _follow(setup: Setup, asked: Mapping[str, str], found: Mapping[str, Any], secs: float) -> None:
    with Live(page(found, _now_ms()), console=setup.console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(secs)
            lost = None
            try:
                found = setup.client.get("history", **asked)
            except (Unreachable, Failed) as error:  # the rows stay: a worker may be starting again
                lost = str(error)
            live.update(page(found, _now_ms(), lost), refresh=True)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _now_ms() -> int:
    return int(time.time() * 1000)


def register(_app: "ConnectorApp", loaded: "Loaded") -> None:
    """Add the command `top` to Faust's command line; *loaded* says where the worker is and who asks."""
    faust_cli.add_command(command_of(loaded.worker))


def command_of(settings: "WorkerSettings") -> click.Command:
    """Return the command for a worker of *settings*."""
    given = {"settings": settings, "url": None, "wait_secs": 0.0, "json_": False}
    top.context_settings = {"obj": given}
    return top
