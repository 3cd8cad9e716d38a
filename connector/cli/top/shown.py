"""
What `GET /history` says, as tables for a terminal.  (Pure.)

    verdict · connectors · rules · workers · events

Every text is made printable: some of it X or an operator wrote.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connector.cli.connectors.printable import printable
from connector.cli.connectors.shown import STATES
from connector.records.snowflake import from_iso

RULES_MAX = 12
EVENTS_MAX = 12

LEVELS = {"ok": "green", "notice": "cyan", "warning": "yellow", "error": "red", "unknown": "dim"}
LIVES = {"here": "green", "alive": "green", "gone": "red", "stopped": "dim"}
UNKNOWN = "-"

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
_MB = 1_000_000

Document = Mapping[str, Any]


def page(document: Document, now_ms: int, lost: str | None = None) -> RenderableType:
    """
    Return the page of a *document* at *now_ms* (UNIX ms).

    *lost* says why there is no newer one: the rows stay, with their age.
    """
    state, range_ = document["state"], document["range"]
    parts: list[RenderableType] = [_head(document, now_ms, lost), _verdict(state["verdict"], now_ms), ""]
    parts.append(_connectors(state["connectors"], range_, now_ms))
    if range_["rules"]:
        parts += ["", _rules(range_)]
    parts += ["", _workers(state["workers"], now_ms)]
    if document["events"]:
        parts += ["", _events(document["events"])]
    return Group(*parts)


def _head(document: Document, now_ms: int, lost: str | None) -> Text:
    worker = document["state"]["worker"]
    words = f"{worker['group']} by {worker['id']}, last {document['range']['name']}"
    head = Text(printable(words), style="dim")
    if lost is not None:
        age = length((now_ms - from_iso(document["at"])) / 1000)
        head = Text.assemble(head, "  ", _text(f"{age} old: {lost}", "red"))
    return head


def _verdict(verdict: Mapping[str, Any], now_ms: int) -> Text:
    style = LEVELS.get(verdict["level"], "")
    since = verdict.get("since")
    ago = f"  (since {length((now_ms - from_iso(since)) / 1000)})" if since else ""
    more = [_text(f"\n  {verdict[key]}") for key in ("next", "cure") if verdict.get(key)]
    others = [_text(f"\n• {other['text']}", LEVELS.get(other["level"], "")) for other in verdict.get("others", ())]
    return Text.assemble(_text(f"● {verdict['text']}", f"bold {style}"), _text(ago, "dim"), *more, *others)


def _connectors(connectors: Mapping[str, Any], range_: Mapping[str, Any], now_ms: int) -> RenderableType:
    if not connectors:
        return Text("There is no connector.")
    left = ("connector", "state", "covered to", "missing")
    table = _table(left, ("posts/s", "received", "today", "month", "of budget"))
    for name in sorted(connectors):
        found, spend = connectors[name], connectors[name].get("spend") or {}
        counted = range_["connectors"].get(name, {})
        table.add_row(
            _text(name, "bold"),
            _text(_state(found), STATES.get(found["state"], "")),
            _covered(found, now_ms),
            _missing(found),
            _number(found.get("posts_per_sec"), "{:,.1f}"),
            _number(counted.get("received"), "{:,}"),
            _number(spend.get("today_usd"), "${:,.2f}"),
            _number(spend.get("month_usd"), "${:,.2f}"),
            _share(spend.get("month_share") if spend.get("month_share") is not None else spend.get("day_share")),
        )
    return table


def _state(connector: Mapping[str, Any]) -> str:
    if connector["state"] == "RUNNING" and connector.get("connected") is False:
        return "RUNNING, no connection"
    return str(connector["state"])


def _covered(connector: Mapping[str, Any], now_ms: int) -> str:
    covered_to = connector.get("covered_to")
    return UNKNOWN if covered_to is None else f"{length((now_ms - from_iso(covered_to)) / 1000)} ago"


def _missing(connector: Mapping[str, Any]) -> Text:
    count = sum((connector.get("gaps_count") or {}).values())
    if not count:
        return Text("nothing", style="green")
    secs = connector.get("missing_secs")
    return Text(f"{count:,} gaps" + ("" if secs is None else f", {length(secs)}"), style="yellow")


def _rules(range_: Mapping[str, Any]) -> Table:
    table = _table(("rule",), ("posts", "share", "overlap", "cost", "alone"))
    rules = sorted(range_["rules"].items(), key=lambda rule: -(rule[1].get("posts") or 0))
    for name, rule in rules[:RULES_MAX]:
        table.add_row(
            _text(name, "" if rule.get("in_force", True) else "dim"),
            _number(rule.get("posts"), "{:,}"),
            _share(rule.get("share")),
            _share(rule.get("overlap_share")),
            _number(rule.get("usd"), "${:,.2f}"),
            _number(rule.get("usd_alone"), "${:,.2f}"),
        )
    left_out = len(rules[RULES_MAX:]) + (range_.get("rules_left_out") or 0)
    if left_out:
        table.add_row(Text(f"and {left_out:,} more", style="dim"))
    return table


def _workers(workers: Mapping[str, Any], now_ms: int) -> Table:
    table = _table(("worker", "state", "tasks"), ("CPU", "memory", "heard"))
    for worker in sorted(workers.values(), key=lambda worker: str(worker["worker_id"])):
        heard, memory = worker.get("heard"), worker.get("memory_bytes")
        table.add_row(
            _text(worker["worker_id"]),
            _text(worker["state"], LIVES.get(worker["state"], "")),
            _text(", ".join(worker.get("tasks") or ()) or UNKNOWN),
            _share(worker.get("cpu_share")),
            UNKNOWN if memory is None else f"{memory / _MB:,.0f} MB",
            UNKNOWN if heard is None else f"{length((now_ms - from_iso(heard)) / 1000)} ago",
        )
    return table


def _events(events: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(("at (UTC)", "connector", "event"), ())
    for event in events[:EVENTS_MAX]:
        by = f"  by {event['by']}" if event.get("by") else ""
        table.add_row(
            _text(event["at"][11:19], "dim"),
            _text(event.get("connector") or ""),
            _text(f"{event['text']}{by}", LEVELS.get(event["level"], "")),
        )
    return table


def _table(left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold dim")
    for column in left:
        table.add_column(column, overflow="fold")
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def length(secs: float) -> str:
    """Return a span of time in the largest unit that fits."""
    return next((f"{secs / size:.1f} {unit}" for size, unit in _UNITS if abs(secs) >= size), f"{secs:.0f} s")


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0%}" if value >= 0.1 or not value else f"{value:.1%}"  # noqa: PLR2004


def _text(words: str, style: str = "") -> Text:
    return Text(printable(words), style=style)
