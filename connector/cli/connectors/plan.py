"""
What has to change so that the connectors of a group are what files say.

    wanted (files) ─┐
                    ├─▶ Change: create · update, with the options that differ · none · delete
    present (REST) ─┘

Answers of the REST API show `[hidden]` for a secret that stands in a configuration, so such a secret cannot be
compared: it is sent again, and the group takes it for no change if it is the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from connector.cli.connectors.files import Wanted
from connector.config.masks import hide, looks_secret
from connector.config.options import HIDDEN, MASKS


class Kind(StrEnum):
    """What is done with a connector."""

    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Difference:
    """An option that changes; None where it is not set.  No secret is in it."""

    option: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    What is done with the connector *name*.

    *wanted* is None for one that is deleted.  *resent* are secrets that are sent again, as nobody can compare them.
    """

    kind: Kind
    name: str
    wanted: Wanted | None = None
    differences: tuple[Difference, ...] = ()
    resent: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is known to change."""
        return self.kind is not Kind.KEEP

    @property
    def sends(self) -> bool:
        """Whether a request is needed."""
        return self.changes or bool(self.resent)


def plan(wanted: Sequence[Wanted], present: Mapping[str, Mapping[str, str]], *, prune: bool) -> list[Change]:
    """
    Return what is done with each connector, by name.

    *present* are the configurations of the group as its REST API shows them.  With *prune*, connectors that no file
    has are deleted; else they are left alone.
    """
    changes = [compare(each, present.get(each.name)) for each in wanted]
    if prune:
        names = {each.name for each in wanted}
        changes += [
            Change(kind=Kind.DELETE, name=name, differences=_differences(config, {}))
            for name, config in present.items()
            if name not in names
        ]
    return sorted(changes, key=lambda change: change.name)


def compare(wanted: Wanted, present: Mapping[str, str] | None) -> Change:
    """Return what is done so that the connector is as *wanted*; *present* is None if there is none."""
    if present is None:
        return Change(kind=Kind.CREATE, name=wanted.name, wanted=wanted, differences=_differences({}, wanted.config))
    differences = _differences(present, wanted.config)
    kind = Kind.UPDATE if differences else Kind.KEEP
    resent = tuple(
        name
        for name, text in hide(wanted.config).items()
        if text == HIDDEN and wanted.config[name] not in MASKS and _hidden(name, present.get(name))
    )
    return Change(kind=kind, name=wanted.name, wanted=wanted, differences=differences, resent=resent)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Difference, ...]:
    shown_before, shown_after = hide(before), hide(after)
    return tuple(
        Difference(name, shown_before.get(name), shown_after.get(name))
        for name in _names(before, after)
        if _masked(name, shown_before.get(name)) != _masked(name, shown_after.get(name))
    )


def _names(*maps: Iterable[str]) -> list[str]:
    return sorted({name for each in maps for name in each})


def _masked(name: str, text: str | None) -> str | None:
    return HIDDEN if _hidden(name, text) else text


def _hidden(name: str, text: str | None) -> bool:
    return text in MASKS and looks_secret(name)
