"""The rules at X, and changes of them, as text for people and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connector.cli.connectors.printable import printable
from connector.coverage.spend import MILLS
from connector.sources.rest.account import RuleCounts, Usage
from connector.sources.rest.plan import Plan, fields_of
from connector.sources.rest.rules import Rule

RULE_CHARACTERS: Mapping[str, int] = {"pay_per_use": 1024, "enterprise": 2048}
"""The longest rule, by plan (docs.x.com: rate-limits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What X holds: *ours* by connector, *others*; and what it tells of its limits, None for what it does not."""

    ours: Mapping[str, Sequence[Rule]]
    others: Sequence[Rule]
    counts: RuleCounts | None
    usage: Usage | None
    plan: str
    mills_each: int

    def fields(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        counts, usage = self.counts, self.usage
        return {
            "connectors": {name: [fields_of(rule) for rule in rules] for name, rules in self.ours.items()},
            "others": [fields_of(rule) for rule in self.others],
            "limits": {
                "plan": self.plan,
                "rule_characters": RULE_CHARACTERS[self.plan],
                "rules": None if counts is None else counts.app_rules,
                "cap": None if counts is None else counts.app_cap,
                "room": None if counts is None else counts.room,
                "posts_read": None if usage is None else usage.posts,
                "posts_cap": None if usage is None else usage.cap,
                "days_left": None if usage is None else usage.days_left,
                "usd_each": self.mills_each / MILLS if self.mills_each else None,
            },
        }


def split(rules: Iterable[Rule], names: Iterable[str]) -> tuple[dict[str, list[Rule]], list[Rule]]:
    """Return the rules of each connector of *names*, by the begin of their tags, and all others."""
    ours: dict[str, list[Rule]] = {name: [] for name in sorted(set(names))}
    others: list[Rule] = []
    for rule in sorted(rules, key=lambda rule: (rule.tag, rule.value)):
        name, slash, _ = rule.tag.partition("/")
        (ours[name] if slash and name in ours else others).append(rule)
    return ours, others


def show_held(held: Held, console: Console) -> None:
    """Print the rules at X, and the limits."""
    for name, rules in held.ours.items():
        _show_rules(f"Rules of the connector {name}", rules, console)
    if held.others:
        _show_rules("Rules of others, which are never changed", held.others, console)
    for sentence in _limits(held):
        console.print(sentence, soft_wrap=True)


def _show_rules(title: str, rules: Sequence[Rule], console: Console) -> None:
    console.print(text(title, "bold"))
    if not rules:
        console.print("  none")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("  tag", overflow="fold")
    table.add_column("rule", overflow="fold")
    table.add_column("id", no_wrap=True)
    for rule in rules:
        table.add_row(text(f"  {rule.tag}"), text(rule.value), text(rule.id))
    console.print(table)


def _limits(held: Held) -> Iterable[str]:
    counts, usage = held.counts, held.usage
    if counts is not None and counts.app_rules is not None and counts.app_cap is not None:
        yield f"X holds {counts.app_rules:,} of {counts.app_cap:,} rules of this app, and takes {counts.room:,} more."
    yield f"plan={held.plan}: a rule has at most {RULE_CHARACTERS[held.plan]:,} characters" + (
        f", a post costs ${held.mills_each / MILLS:.3f}." if held.mills_each else "; prices are in your contract."
    )
    if usage is not None and usage.posts is not None and usage.cap is not None:
        left = "" if usage.days_left is None else f"; days until the next cycle: {usage.days_left}"
        yield f"{usage.posts:,} of {usage.cap:,} posts of this cycle are read{left}."


def show_plan(plan: Plan, console: Console) -> None:
    """Print what changes, a rule a line; rules that stay as they are stand in the summary only."""
    before = {rule.value: rule.tag for rule in plan.change.delete}
    for rule in plan.change.add:
        if rule.value in before:
            was = f"  (the tag was {before.pop(rule.value)})"
            console.print(text(f"~ {rule.tag}  {rule.value}{was}", "yellow"), soft_wrap=True)
        else:
            console.print(text(f"+ {rule.tag}  {rule.value}", "green"), soft_wrap=True)
    for rule in plan.change.delete:
        if rule.value in before:
            console.print(text(f"- {rule.tag}  {rule.value}", "red"), soft_wrap=True)
    for rule, other in plan.kept:
        console.print(text(f"= {rule.tag}  {rule.value}  (stays: {other} wants it, too)", "dim"), soft_wrap=True)
    for value in plan.change.held_elsewhere:
        sentence = f"! {value}  is at X under a tag of others: its posts come, and are missing if they delete it"
        console.print(text(sentence, "yellow"), soft_wrap=True)
    console.print(text(plan.summary), soft_wrap=True)


def text(words: str, style: str = "") -> Text:
    """Return *words* as text that steers no terminal."""
    return Text(printable(words), style=style)
