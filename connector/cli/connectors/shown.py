"""Answers of the REST API as text for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connector.cli.connectors.plan import Change, Difference, Kind
from connector.cli.connectors.printable import printable
from connector.config.migration import translate

STATES = {
    "RUNNING": "green",
    "PAUSED": "yellow",
    "STOPPED": "yellow",
    "RESTARTING": "yellow",
    "UNASSIGNED": "yellow",
    "FAILED": "red",
}
MARKS = {Kind.CREATE: ("+", "green"), Kind.UPDATE: ("~", "yellow"), Kind.KEEP: ("=", "dim"), Kind.DELETE: ("-", "red")}
DONE = {Kind.CREATE: "created", Kind.UPDATE: "updated", Kind.KEEP: "unchanged", Kind.DELETE: "deleted"}
WILL = {Kind.CREATE: "is created", Kind.UPDATE: "is updated", Kind.KEEP: "is unchanged", Kind.DELETE: "is deleted"}


def show_list(expanded: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print a line for each connector: its state, its tasks by state, its class."""
    if not expanded:
        console.print("There is no connector.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("connector", "state", "tasks", "topic"):
        table.add_column(column, overflow="fold")
    for name in sorted(expanded):
        status, info = expanded[name].get("status") or {}, expanded[name].get("info") or {}
        state = status.get("connector", {}).get("state", "?")
        topic = translate(info.get("config", {})).texts.get("topic", "")
        table.add_row(_text(name), _state(state), _tasks(status.get("tasks", [])), _text(topic))
    console.print(table)


def show_one(info: Mapping[str, Any], status: Mapping[str, Any] | None, console: Console) -> None:
    """Print a connector's state, its tasks and its configuration."""
    status = status or {}
    connector = status.get("connector", {})
    console.print(Text.assemble(_text(info["name"], "bold"), "  ", _state(connector.get("state", "?"))), soft_wrap=True)
    for task in status.get("tasks", []):
        place = f" on {task['worker_id']}" if task.get("worker_id") else ""
        console.print(Text.assemble(f"  task {task['id']}  ", _state(task["state"]), _text(place)), soft_wrap=True)
        for word in ("detail", "trace"):
            if task.get(word):
                console.print(_text(f"    {task[word]}"), soft_wrap=True)
    if connector.get("trace"):
        console.print(_text(f"    {connector['trace']}"), soft_wrap=True)
    show_config(info["config"], console)


def show_config(config: Mapping[str, str], console: Console) -> None:
    """Print a configuration, an option a line."""
    width = max(map(len, config), default=0)
    for name in sorted(config):
        console.print(_text(f"  {name:<{width}}  {config[name]}"), soft_wrap=True)


def show_offsets(offsets: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print each source partition and what its offset says, without the lists of gaps and rules."""
    if not offsets:
        console.print("No offset is committed.")
    for each in offsets:
        parts = ", ".join(f"{key}={value}" for key, value in each["partition"].items())
        console.print(_text(parts, "bold"), soft_wrap=True)
        for key, value in (each["offset"] or {}).items():
            console.print(_text(f"  {key}: {_short(value)}"), soft_wrap=True)


def show_validation(answer: Mapping[str, Any], console: Console) -> None:
    """Print what is wrong with a configuration, and what is worth a warning."""
    for sentence in errors_in(answer):
        console.print(Text.assemble(("error    ", "red"), _text(sentence)), soft_wrap=True)
    for sentence in answer.get("warnings", []):
        console.print(Text.assemble(("warning  ", "yellow"), _text(sentence)), soft_wrap=True)
    if not answer["error_count"]:
        console.print("The configuration is valid.")


def errors_in(answer: Mapping[str, Any]) -> list[str]:
    """Return the errors in an answer of `validate`."""
    return [sentence for each in answer["configs"] for sentence in each["value"]["errors"]]


def show_plan(changes: Iterable[Change], console: Console) -> None:
    """Print what `apply` will do, with the options that differ."""
    for change in changes:
        mark, style = MARKS[change.kind]
        sent_again = f": {', '.join(change.resent)} cannot be compared, and is sent again" if change.resent else ""
        words = f"{mark} {change.name} {WILL[change.kind]}{sent_again}"
        console.print(_text(words, style), soft_wrap=True)
        if change.kind is not Kind.DELETE:
            for difference in change.differences:
                console.print(_difference(difference), soft_wrap=True)


def _difference(difference: Difference) -> Text:
    before, after = difference.before, difference.after
    if before is None:
        return _text(f"    + {difference.option} = {after}", "green")
    if after is None:
        return _text(f"    - {difference.option} = {before}", "red")
    return _text(f"    ~ {difference.option} = {after}  (was {before})", "yellow")


def _tasks(tasks: Sequence[Mapping[str, Any]]) -> Text:
    counted: dict[str, int] = {}
    for task in tasks:
        counted[task["state"]] = counted.get(task["state"], 0) + 1
    parts = [Text.assemble(f"{count} ", _state(state)) for state, count in sorted(counted.items())]
    return Text(", ").join(parts) if parts else Text("none", style="dim")


def _state(state: str) -> Text:
    return _text(state, STATES.get(state, ""))


def _text(words: str, style: str = "") -> Text:
    return Text(printable(words), style=style)


def _short(value: object) -> object:
    return f"{len(value)} of them" if isinstance(value, list) else value
