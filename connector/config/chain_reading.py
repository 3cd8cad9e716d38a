"""
Reads which transforms and predicates a configuration has chosen, with everything that is wrong with them.

`chain` says what they are, and which options they bring.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from connector.config.chain import (
    NEGATE,
    OF_TRANSFORM,
    PREDICATE,
    PREDICATES,
    TRANSFORMS,
    TYPE,
    Catalogue,
    Chosen,
    Family,
    Kind,
    OfTransform,
    Setting,
    aliases_in,
    brought,
    option_name,
    word_of,
)
from connector.config.options import Conflict, Given, Problem, Unfit, draft, nearest, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The transforms that a configuration names, in order, and what is wrong with them."""

    chosen: tuple[Chosen, ...] = ()
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()


def read(given: Given, setting: Setting, catalogue: Catalogue) -> Chain:
    """Return the transforms that *given* names, with all problems; they are usable if there are none."""
    reading = _Reading(given, setting, catalogue)
    predicates = {alias: reading.chosen(PREDICATES, alias) for alias in aliases_in(given.texts, PREDICATES)}
    chosen = [reading.transform(alias, predicates) for alias in aliases_in(given.texts, TRANSFORMS)]
    reading.notice_unused(predicates)
    return Chain(
        chosen=tuple(each for each in chosen if each is not None),
        problems=tuple(reading.problems),
        notices=tuple(reading.notices),
    )


class _Reading:
    """Reads the transforms and predicates of one configuration, and collects *problems* and *notices*."""

    def __init__(self, given: Given, setting: Setting, catalogue: Catalogue) -> None:
        self.problems: list[Problem] = []
        self.notices: list[str] = []
        self._given, self._setting, self._catalogue = given, setting, catalogue
        self._known = brought(given.texts, catalogue)
        self._used: set[str] = set()

    def chosen(self, family: Family, alias: str) -> Chosen | None:
        """Return the class and options of *alias*; None if something is wrong with them."""
        kind = self._kind(family, alias)
        if kind is None:
            return None
        options = [self._known[option_name(family, alias, name)] for name in kind.options]
        # the problems that `given` has are reported once, by whoever reads the options of the connector
        found = draft(kind.model, options, replace(self._given, problems=()))
        conflicts = [self._full(conflict, family, alias) for conflict in kind.conflicts(found.model, self._setting)]
        problems = list(found.with_conflicts(conflicts))
        if not problems:
            try:
                kind.make(found.model)
            except Unfit as unfit:
                about = option_name(family, alias, TYPE)
                problems = [Problem(about, f"{self._given.name(about)} {rest}") for rest in unfit.rests]
        self.problems += problems
        return None if problems else Chosen(alias=alias, kind=kind, options=found.model)

    def transform(self, alias: str, predicates: Mapping[str, Chosen | None]) -> Chosen | None:
        """Return the transform *alias* with its predicate; None if something is wrong with one of them."""
        chosen = self.chosen(TRANSFORMS, alias)
        common = draft(
            OfTransform,
            [self._known[option_name(TRANSFORMS, alias, name)] for name in OF_TRANSFORM],
            replace(self._given, problems=()),
        )
        self.problems += common.problems
        wanted, option = common.model.predicate, self._given.name(option_name(TRANSFORMS, alias, PREDICATE))
        if wanted is not None:
            self._used.add(wanted)
            if wanted not in predicates:
                near = nearest(wanted, predicates)
                self.problems.append(
                    Problem(
                        option_name(TRANSFORMS, alias, PREDICATE),
                        f"{option} is {shown(wanted)}, which {self._given.name(PREDICATES)} does not name:"
                        + (f" did you mean {near}?" if near else " add it there."),
                    )
                )
        elif common.model.negate:
            self.notices.append(
                f"{self._given.name(option_name(TRANSFORMS, alias, NEGATE))} has no effect without {option}."
            )
        elif chosen is not None and chosen.kind.simple_name == "Filter":
            self.notices.append(f"{option} is not set: {TRANSFORMS}.{alias} drops every record.")
        if chosen is None or (wanted is not None and predicates.get(wanted) is None):
            return None
        return replace(chosen, predicate=predicates[wanted] if wanted else None, negate=common.model.negate)

    def _kind(self, family: Family, alias: str) -> Kind | None:
        option = option_name(family, alias, TYPE)
        name, written = self._given.texts.get(option, "").strip(), self._given.name(option)
        try:
            kind = self._catalogue.find(family, name) if name else None
        except Unfit as unfit:
            self.problems += [Problem(option, f"{written} {rest}") for rest in unfit.rests]
            return None
        if kind is None:
            known = self._catalogue.names(family)
            near = nearest(name, [*known, *(each.rpartition(".")[2] for each in known)]) if name else None
            self.problems.append(
                Problem(
                    option,
                    f"{written} is required: the class of the {word_of(family)}."
                    if not name
                    else f"{written} cannot be {shown(name)}, which is no {word_of(family)} of this worker: "
                    + (f"did you mean {near}?" if near else "see docs/transforms.md for those there are."),
                )
            )
        return kind

    def _full(self, conflict: Conflict, family: Family, alias: str) -> Conflict:
        names = tuple(option_name(family, alias, option) for option in conflict.options)
        return Conflict(names, f"{self._given.name(names[0])} {conflict.sentence}")

    def notice_unused(self, predicates: Iterable[str]) -> None:
        """Note each of *predicates* that no transform uses."""
        self.notices += [
            f"{PREDICATES}.{alias} is used by no transform." for alias in predicates if alias not in self._used
        ]
