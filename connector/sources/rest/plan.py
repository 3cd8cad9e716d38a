"""
What has to change so that X holds the rules that a connector wants: for the command `rules`, and for a worker.  (Pure.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.sources.rest.rules import Rule, RuleChange, Wanted, difference, differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What has to change so that X holds the rules that connector *name* wants.

    *kept* has the rules that stay because another connector wants their value, with its name; *others* counts rules of
    others, *objection* says why nothing must be changed.
    """

    name: str
    change: RuleChange
    unchanged: Sequence[Rule]
    kept: Sequence[tuple[Rule, str]]
    others: int
    objection: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        return {
            "connector": self.name,
            "add": [{"value": rule.value, "tag": rule.tag} for rule in self.change.add],
            "delete": [fields_of(rule) for rule in self.change.delete],
            "unchanged": [fields_of(rule) for rule in self.unchanged],
            "held_elsewhere": list(self.change.held_elsewhere),
            "kept": [{**fields_of(rule), "wanted_by": other} for rule, other in self.kept],
            "others": self.others,
            "objection": self.objection,
        }

    @property
    def summary(self) -> str:
        """What changes, in numbers."""
        retagged = {rule.value for rule in self.change.add} & {rule.value for rule in self.change.delete}
        numbers = (
            (len(self.change.add) - len(retagged), "to add"),
            (len(self.change.delete) - len(retagged), "to delete"),
            (len(retagged), "to tag anew"),
            (len(self.unchanged), "unchanged"),
        )
        told = [f"{number:,} {word}" for number, word in numbers if number or word == "unchanged"]
        return f"{self.name}: {', '.join(told)}."


def planned(
    name: str,
    wanted: Mapping[str, str],
    held: Sequence[Rule],
    *,
    others: Mapping[str, str],
    unknown: Sequence[str] = (),
    objection: str | None = None,
) -> Plan:
    """
    Return the plan for connector *name* alone, which *wanted* these values (and labels), from the rules *held* by X.

    *others* are values that other connectors want, with their names; what those of *unknown* want is not known.
    """
    full = difference(held, wanted, name)
    if unknown and full.delete and objection is None:
        objection = f"The rules of {', '.join(unknown)} cannot be read from here, and may be among those to delete."
    own = _own(held, name)
    return Plan(
        name=name,
        change=full.without(others),
        unchanged=[rule for rule in own if rule not in full.delete],
        kept=[(rule, others[rule.value]) for rule in full.delete if rule.value in others],
        others=len(held) - len(own),
        objection=objection,
    )


def planned_beside(name: str, wanted: Wanted, held: Sequence[Rule], objection: str | None = None) -> Plan:
    """
    Return what the worker that reads a stream would change for connector *name*, from the rules *held* by X.

    *wanted* are the rules of all connectors of the stream, as the worker applies them together.
    """
    full, prefix, own = differences(held, wanted), f"{name}/", _own(held, name)
    mine = wanted.get(name, {})
    change = RuleChange(
        add=tuple(rule for rule in full.add if rule.tag.startswith(prefix)),
        delete=tuple(rule for rule in full.delete if rule.tag.startswith(prefix)),
        held_elsewhere=tuple(value for value in full.held_elsewhere if value in mine),
    )
    tags = {value: tag for value in mine if not (tag := full.tags[value]).startswith(prefix)}
    return Plan(
        name=name,
        change=change,
        unchanged=[rule for rule in own if rule not in change.delete],
        kept=[(Rule(value=value, tag=tag), tag.partition("/")[0]) for value, tag in tags.items()],
        others=len(held) - len(own),
        objection=objection,
    )


def fields_of(rule: Rule) -> dict[str, str]:
    """Return *rule* as a JSON object."""
    return {"id": rule.id, "value": rule.value, "tag": rule.tag}


def _own(held: Sequence[Rule], name: str) -> list[Rule]:
    return [rule for rule in held if rule.tag.startswith(f"{name}/")]
