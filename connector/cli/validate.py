"""
`faust -A connector validate`: checks the environment's settings and connectors in files, without a network.

It says what a worker would say at its start, and what a worker would answer if a file were posted to it.  All problems
are told at once.  Exit codes: 0 all is valid, perhaps with warnings; 2 wrong arguments; 78 something is wrong.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from faust.cli.base import cli as faust_cli
from rich.console import Console
from rich.text import Text

from connector.cli.connectors.printable import printable
from connector.cli.exits import EX_CONFIG, EX_OK
from connector.cli.places import Place, places
from connector.config.load import Examined, Loaded

if TYPE_CHECKING:
    from connector.worker.process import ConnectorApp

HELP = """Check settings and connectors in files, without a network.

The settings are those of this environment: CONNECTOR_* variables, and .env in the working directory. A FILE is a
connector as the command connectors takes it (.json, .properties, .toml), or a folder of such files; it is checked as a
worker with this environment would check it, so run this where the secrets are that it refers to.

Exit codes: 0 valid, perhaps with warnings; 2 wrong arguments; 78 something is wrong."""


def show(found: Iterable[Place], console: Console) -> None:
    """Print each place with its problems and warnings, and how many there are of both."""
    problems = warnings = 0
    for place in found:
        named = f" (connector {place.connector})" if place.connector else ""
        verdict, style = ("wrong", "bold red") if place.problems else ("valid", "bold green")
        head = Text.assemble((printable(f"{place.title}{named}"), "bold"), ": ", (verdict, style))
        console.print(head, soft_wrap=True)
        for word, colour, sentences in (
            ("error", "red", place.problems),
            ("warning", "yellow", place.warnings),
        ):
            for sentence in sentences:
                console.print(Text.assemble((f"  {word:<9}", colour), printable(sentence)), soft_wrap=True)
        problems, warnings = problems + len(place.problems), warnings + len(place.warnings)
    console.print(f"{_count(problems, 'error')}, {_count(warnings, 'warning')}.")


def report(found: Sequence[Place]) -> dict[str, object]:
    """Return what `--json` prints."""
    return {
        "valid": not any(place.problems for place in found),
        "places": [
            {
                "place": place.title,
                "connector": place.connector,
                "errors": list(place.problems),
                "warnings": list(place.warnings),
            }
            for place in found
        ],
    }


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def command_of(examined: Examined) -> click.Command:
    """Return the command for the settings of *examined*, right or wrong."""

    @click.command("validate", help=HELP)
    @click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
    @click.option("--json", "json_", is_flag=True, help="Print JSON.")
    @click.pass_context
    def validate(ctx: click.Context, files: Sequence[Path], *, json_: bool) -> NoReturn:
        found = places(examined, files)
        if json_ or ctx.find_root().params.get("json"):
            sys.stdout.write(json.dumps(report(found)) + "\n")
        else:
            show(found, Console(highlight=False))
        raise SystemExit(EX_CONFIG if any(place.problems for place in found) else EX_OK)

    return validate


def register(_app: "ConnectorApp", loaded: Loaded) -> None:
    """Add the command `validate` to Faust's command line; *loaded* has no problems."""
    faust_cli.add_command(command_of(Examined(loaded=loaded)))
