"""Which of a connector's rules did a post match?"""

import json
from collections.abc import Mapping, Sequence

import msgspec

from connector.records.scanner import members, whole_pairs

RULES = "matching_rules"
"""The member that lists the rules, in a line of X and in a `Post`."""


class _Rules(msgspec.Struct):
    matching_rules: msgspec.Raw = msgspec.Raw(b"[]")


_decode = msgspec.json.Decoder(_Rules).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def rules_in(line: bytes) -> object:
    """Return what *line*, which is JSON, has as its rules; nothing else in it is decoded.  None if it has none."""
    try:
        return msgspec.json.decode(_decode(line).matching_rules)
    except _UNREADABLE:
        try:
            return json.loads(whole_pairs(members(line).get(RULES, b"null")))
        except (ValueError, RecursionError):
            return None


class Labels:
    """The labels of the rules of *connector*, in their order: *labels*."""

    def __init__(self, connector: str, labels: Sequence[str]) -> None:
        self._prefix = f"{connector}/"
        self._by_id: dict[str, str] = {}
        self._places = {label: place for place, label in enumerate(labels)}

    def know_rules(self, labels: Mapping[str, str]) -> None:
        """
        From now on take *labels* for rules: the label of each rule at X that this connector wants, by the rule's id.

        A rule that several connectors want has the tag of one of them.  Other rules have their label in their tag.
        """
        self._by_id = dict(labels)

    def of(self, rules: object) -> tuple[str, ...]:
        """Return the labels of this connector's rules among *rules*, in the order of the configuration."""
        found = {self._of_rule(rule) for rule in rules if isinstance(rule, dict)} if isinstance(rules, list) else set()
        labels = [label for label in found if label is not None]
        return tuple(sorted(labels, key=lambda label: (self._places.get(label, len(self._places)), label)))

    def _of_rule(self, rule: Mapping[str, object]) -> str | None:
        rule_id, tag = rule.get("id"), rule.get("tag")
        if isinstance(rule_id, str) and rule_id in self._by_id:
            return self._by_id[rule_id]
        return tag.removeprefix(self._prefix) if isinstance(tag, str) and tag.startswith(self._prefix) else None
