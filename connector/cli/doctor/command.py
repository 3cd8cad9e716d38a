"""
`faust -A connector doctor`: looks for what would keep a worker from its work, and names the cure.  It changes nothing.

Exit codes: 0 nothing is wrong, perhaps warnings; 1 something is wrong; 2 wrong arguments; 78 the settings are wrong;
130 Ctrl-C.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from faust.cli.base import cli as faust_cli
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from connector.cli.doctor import shown
from connector.cli.doctor.case import Case
from connector.cli.doctor.checks import CHECKS, Check, Result, run
from connector.cli.doctor.finding import State
from connector.cli.doctor.rules import price_of, requests_of
from connector.cli.exits import EX_CONFIG, EX_FAILED, EX_INTERRUPTED, EX_OK
from connector.cli.places import places
from connector.config.load import Examined, Loaded

if TYPE_CHECKING:
    from connector.worker.process import ConnectorApp

HELP = """Look for what would keep a worker from its work, and name the cure.

It asks X, Kafka and a schema registry as a worker would, with the settings of this environment and the connector that
they declare; each FILE (.json, .properties, .toml, or a folder of them) is one more connector. It changes nothing: no
topic, no rule, no schema, no connection to a stream, so it may run beside workers.

X charges $0.005 for each request of counts, with which the check cost finds out what the rules will cost. Without --yes
it asks before it spends that, and without a terminal it spends nothing.

Exit codes: 0 nothing is wrong; 1 something is wrong; 2 wrong arguments; 78 the settings are wrong."""

Step = Callable[[str], None]


async def examine(case: Case, checks: Sequence[Check], step: Step) -> list[Result]:
    """Run *checks*, one after the other; *step* is called with the name of each before it begins."""
    results = []
    try:
        for check in checks:
            step(check.name)
            results.append(await run(check, case))
    finally:
        await case.close()
    return results


def exit_code_of(results: Sequence[Result]) -> int:
    """Return 78 if the settings are wrong, 1 if anything else is, else 0."""
    wrong = {result.check.name for result in results for finding in result.findings if finding.state is State.WRONG}
    if "settings" in wrong:
        return EX_CONFIG
    return EX_FAILED if wrong else EX_OK


@contextlib.contextmanager
def _progress(checks: int, *, quiet: bool) -> Iterator[Step]:
    """Show on a terminal which of so many *checks* is under way."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=checks)
        begun = [False]

        def step(name: str) -> None:
            progress.update(bar, description=f"{name:<16}", advance=int(begun[0]))
            begun[0] = True

        yield step


def _may_spend(case: Case, checks: Sequence[Check], *, yes: bool) -> bool:
    if yes:
        return True
    requests = requests_of(case) if any(check.name == "cost" for check in checks) else 0
    if not requests or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return click.confirm(f"What will the rules cost? X charges for its counts: {price_of(requests)}. Ask X?", err=True)


def command_of(examined: Examined) -> click.Command:
    """Return the command for the settings of *examined*, right or wrong."""

    @click.command("doctor", help=HELP)
    @click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
    @click.option(
        "--check",
        "names",
        multiple=True,
        type=click.Choice([check.name for check in CHECKS]),
        metavar="NAME",
        help="Make this check alone; may be given several times. --list shows the names.",
    )
    @click.option("--list", "list_", is_flag=True, help="List the checks, and what each asks.")
    @click.option("--yes", is_flag=True, help="Let X count posts, although it charges for that.")
    @click.option("--json", "json_", is_flag=True, help="Print JSON.")
    @click.pass_context
    def doctor(
        ctx: click.Context, files: Sequence[Path], names: Sequence[str], *, list_: bool, yes: bool, json_: bool
    ) -> NoReturn:
        as_json = json_ or bool(ctx.find_root().params.get("json"))
        checks = [check for check in CHECKS if not names or check.name in names]
        if list_:
            _list(checks, as_json=as_json)
            raise SystemExit(EX_OK)
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # findings tell what went wrong
        case = Case(examined, places(examined, files), may_spend=False)
        try:
            case.may_spend = _may_spend(case, checks, yes=yes)
            with _progress(len(checks), quiet=as_json) as step:
                results = asyncio.run(examine(case, checks, step))
        except (KeyboardInterrupt, click.Abort):
            sys.stderr.write("Cut short.\n")
            raise SystemExit(EX_INTERRUPTED) from None
        code = exit_code_of(results)
        if as_json:
            sys.stdout.write(json.dumps(shown.report(results, code)) + "\n")
        else:
            shown.show(results, Console(highlight=False))
        raise SystemExit(code)

    return doctor


def _list(checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        listed = [{"check": check.name, "asks": check.question} for check in checks]
        sys.stdout.write(json.dumps({"checks": listed}) + "\n")
    else:
        shown.show_list(checks, Console(highlight=False))


def register(_app: "ConnectorApp", loaded: Loaded) -> None:
    """Add the command `doctor` to Faust's command line; *loaded* has no problems."""
    faust_cli.add_command(command_of(Examined(loaded=loaded)))
