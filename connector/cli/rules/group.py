"""
What a running group wants of the rules at X, asked of one of its workers.

A worker brings the rules of its connectors to X by itself, before each connect and after each change
(`task/rule_keeper`).  So nobody else may give a running connector other rules, or take a rule away that one wants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.cli.connectors.client import Client
from connector.config.migration import translate
from connector.config.options import Unfit
from connector.config.rules import Rule, label_of, merge, parse_hashtags, parse_rules

RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Group:
    """The connectors of a group: each one's state, and its rules as value and label; None if they cannot be read."""

    states: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)

    def objection(self, name: str, wanted: Mapping[str, str]) -> str | None:
        """Return why the rules of connector *name* must not be made those that are *wanted*; None if they may."""
        if name not in self.rules:
            return None
        state = self.states[name]
        if self.rules[name] != wanted:
            return (
                f"The group has the connector {name} with other rules, and its worker brings those back: change its"
                f" configuration (connectors update {name}, or the environment that declares it), which changes the"
                " rules at X, too."
            )
        if state != RUNNING:
            return (
                f"The connector {name} is {state}, and meanwhile its worker keeps its rules away from X, so that"
                f" nothing is paid for them: connectors resume {name} brings them back."
            )
        return None

    def wanted_by_others(self, name: str) -> Mapping[str, str]:
        """Return each value that another connector than *name* wants, and the first that does."""
        return {
            value: other
            for other in sorted(self.rules, reverse=True)
            for value in (self.rules[other] or ())
            if other != name
        }

    def unknown(self, name: str) -> tuple[str, ...]:
        """Return the other connectors whose rules cannot be read."""
        return tuple(other for other, rules in self.rules.items() if rules is None and other != name)


def ask(client: Client) -> Group:
    """
    Return what the group of a worker wants.

    Raises:
        Unreachable: no worker answers.
        Failed: the worker does not tell.
    """
    found = client.get("connectors", expand=["info", "status"])
    return Group(
        states={name: str(each["status"]["connector"]["state"]) for name, each in found.items()},
        rules={name: rules_in(each["info"]["config"]) for name, each in found.items()},
    )


def rules_in(config: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return the rules in a *config* as the REST API shows it; None if they cannot be read from here."""
    texts = translate({name: str(text) for name, text in config.items()}).texts
    if texts.get("rules.file", "").strip():
        return None  # on the machine of the worker
    try:
        hashtags = tuple(Rule(value, label_of(value)) for value in parse_hashtags(texts.get("hashtags", "")))
        listed = parse_rules(texts["rules"]) if texts.get("rules", "").strip() else ()
    except Unfit:
        return None
    rules, complaints = merge({"hashtags": hashtags, "rules": listed})
    return None if complaints else {rule.value: rule.label for rule in rules}
