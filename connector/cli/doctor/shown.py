"""Findings as text for people, and as JSON for programs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connector.cli.connectors.printable import printable
from connector.cli.doctor.checks import Check, Result
from connector.cli.doctor.finding import Finding, State

MARKS = {
    State.OK: ("ok", "green"),
    State.WARNING: ("warning", "yellow"),
    State.WRONG: ("WRONG", "bold red"),
    State.UNKNOWN: ("unknown", "magenta"),
}


def show(results: Iterable[Result], console: Console) -> None:
    """Print each finding with its cure, then what could not be checked, and how many there are of each state."""
    counts: Counter[State] = Counter()
    unknown: dict[Finding, list[str]] = {}
    table = Table.grid(padding=(0, 2, 0, 0))
    for result in results:
        counts.update(finding.state for finding in result.findings)
        name = result.check.name
        for finding in result.findings:
            if finding.state is State.UNKNOWN:
                unknown.setdefault(finding, []).append(result.check.name)
                continue
            mark, style = MARKS[finding.state]
            _add(table, Text(name, style="bold"), Text(mark, style=style), finding)
            name = ""
    for finding, names in unknown.items():
        _add(table, Text("\n".join(names), style="bold"), Text(*MARKS[State.UNKNOWN]), finding)
    _print(table, console)
    console.print(f"\n{_summary(counts)}", highlight=False)


def _add(table: Table, name: Text, mark: Text, finding: Finding) -> None:
    words = Text(printable(finding.message))
    if finding.cure:
        words.append(f"\n→ {printable(finding.cure)}", style="bold")
    table.add_row(name, mark, words)


def show_list(checks: Sequence[Check], console: Console) -> None:
    """Print the names of all checks, and what each asks."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        table.add_row(Text(check.name, style="bold"), check.question)
    _print(table, console)


def report(results: Sequence[Result], exit_code: int) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "exit_code": exit_code,
        "checks": [
            {
                "check": result.check.name,
                "asks": result.check.question,
                "findings": [_fields(finding) for finding in result.findings],
            }
            for result in results
        ],
    }


def _fields(finding: Finding) -> dict[str, object]:
    return {
        "state": finding.state.value,
        "message": finding.message,
        "cure": finding.cure or None,
        **({"facts": dict(finding.facts)} if finding.facts else {}),
    }


def _print(table: Table, console: Console) -> None:
    if console.is_terminal:
        console.print(table)
        return
    # what reads a pipe looks for whole sentences
    wide = Console(file=console.file, width=10_000, highlight=False)
    with wide.capture() as capture:
        wide.print(table)
    console.file.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _summary(counts: Counter[State]) -> str:
    words = [
        (State.OK, "ok"),
        (State.WARNING, "warning" if counts[State.WARNING] == 1 else "warnings"),
        (State.WRONG, "wrong"),
        (State.UNKNOWN, "could not be checked"),
    ]
    return ", ".join(f"{counts[state]} {word}" for state, word in words) + "."
