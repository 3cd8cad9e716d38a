"""The subcommand `apply`: brings a group to what the files of a folder say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from connector.cli.connectors import shown
from connector.cli.connectors.client import Client, Failed
from connector.cli.connectors.files import Wanted, read_folder
from connector.cli.connectors.plan import Change, Kind, plan
from connector.cli.connectors.setup import Setup, end, say, subcommand
from connector.cli.connectors.validation import validated
from connector.cli.exits import EX_FAILED, EX_OK


@dataclass(frozen=True, slots=True)
class Outcome:
    """The connectors that the group refused to change, and those that it does not delete because they are declared."""

    failed: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()


@subcommand(
    "apply",
    click.argument("folder", type=click.Path(path_type=Path), metavar="DIR"),
    click.option("--dry-run", is_flag=True, help="Check and show what would change, and change nothing."),
    click.option("--prune", is_flag=True, help="Delete connectors that no file in DIR has."),
)
def apply(setup: Setup, folder: Path, *, dry_run: bool, prune: bool) -> int:
    """
    Bring the group to what the files in DIR say.

    All files are checked before anything is changed.  Connectors that no file has stay, unless --prune is given.
    """
    wanted = read_folder(folder)
    warnings, problems = _checked(setup.client, wanted)
    if problems:
        end("\n".join([*problems, "Nothing was changed."]), EX_FAILED)
    present = {name: each["info"]["config"] for name, each in setup.client.get("connectors", expand="info").items()}
    changes = plan(wanted, present, prune=prune)
    for change in changes:
        if change.changes:
            say(*warnings.get(change.name, ()))
    if not setup.json:
        shown.show_plan(changes, setup.console)
    outcome = Outcome() if dry_run else _carried_out(setup, changes)
    setup.answer(
        _report(changes, outcome, dry_run=dry_run),
        lambda: setup.console.print(_summary(changes, outcome, dry_run=dry_run), markup=False),
    )
    return EX_FAILED if outcome.failed else EX_OK


def _checked(client: Client, wanted: Sequence[Wanted]) -> tuple[dict[str, list[str]], list[str]]:
    """Return a worker's warnings, by connector, and what it finds wrong; each sentence with its file."""
    warnings: dict[str, list[str]] = {}
    problems = []
    for each in wanted:
        try:
            answer = validated(client, each)
        except Failed as failed:
            problems.append(f"{each.path}: {failed}")
            continue
        problems += [f"{each.path}: {sentence}" for sentence in shown.errors_in(answer)]
        warnings[each.name] = [f"{each.path}: {sentence}" for sentence in answer.get("warnings", [])]
    return warnings, problems


def _carried_out(setup: Setup, changes: Sequence[Change]) -> Outcome:
    failed: list[str] = []
    left_alone: list[str] = []
    for change in changes:
        try:
            if change.sends:
                _carry_out(setup.client, change)
        except Failed as error:
            say(f"{change.name}: {error}")
            # no folder can hold what a worker's environment declares
            pruned = change.kind is Kind.DELETE and error.declared
            (left_alone if pruned else failed).append(change.name)
    return Outcome(tuple(failed), tuple(left_alone))


def _carry_out(client: Client, change: Change) -> None:
    if change.wanted is None:
        try:
            client.send("DELETE", "connectors", change.name)
        except Failed as failed:
            if not failed.not_found:  # else somebody else has deleted it
                raise
        return
    if change.kind is Kind.CREATE and change.wanted.first:
        try:
            client.send("POST", "connectors", body=change.wanted.body)
        except Failed as failed:
            if not failed.exists:
                raise
            # somebody else, or a try of ours whose answer was lost, has made it
        else:
            return
    client.send("PUT", "connectors", change.name, "config", body=dict(change.wanted.config))


def _report(changes: Sequence[Change], outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "failed": list(outcome.failed),
        "left_alone": list(outcome.left_alone),
        "connectors": [
            {
                "name": change.name,
                "change": change.kind,
                "differences": [
                    {"option": each.option, "before": each.before, "after": each.after} for each in change.differences
                ],
                "sent_again": list(change.resent),
            }
            for change in changes
        ],
    }


def _summary(changes: Sequence[Change], outcome: Outcome, *, dry_run: bool) -> str:
    done = [change for change in changes if change.name not in {*outcome.failed, *outcome.left_alone}]
    counts = [f"{sum(change.kind is kind for change in done)} {word}" for kind, word in shown.DONE.items()]
    counts += [f"{len(outcome.left_alone)} left alone"] if outcome.left_alone else []
    counts += [f"{len(outcome.failed)} failed"] if outcome.failed else []
    return f"Nothing was changed: {', '.join(counts)} by apply." if dry_run else f"{', '.join(counts)}."
