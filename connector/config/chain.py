"""
The transforms and predicates that a configuration names, with options whose names it makes up itself.

    transforms=route                                              the aliases, in the order in which records pass
    transforms.route.type=org.apache.kafka.connect.transforms.RegexRouter
    transforms.route.regex=(.*)                                   the options of that class, under the alias
    transforms.route.predicate=ours                               only for records for which the predicate holds
    predicates=ours
    predicates.ours.type=...

`connector.transforms` declares the classes and hands them to this module as a `Catalogue`.  In the environment an
option has the name that every option has there: `transforms.route.regex` is `CONNECTOR_TRANSFORMS_ROUTE_REGEX`; each
character of an alias that is neither a letter nor a digit is `_`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from connector.config.options import (
    PREFIX,
    Conflict,
    Declared,
    Option,
    Parser,
    Problem,
    Unfit,
    boolean,
    declared,
    items,
    shown,
    text,
)

TRANSFORMS, PREDICATES = "transforms", "predicates"
ALIASES_MAX = 32
"""The most transforms, and the most predicates, of one connector."""
ALIAS_CHARACTERS_MAX = 64
OPTION_CHARACTERS_MAX = 16_384
"""The most characters of one option of a transform or predicate."""

_ALIAS = re.compile(r"[A-Za-z0-9_.-]+")
_NOT_IN_VARIABLES = re.compile(r"[^A-Z0-9]")
TYPE, PREDICATE, NEGATE = "type", "predicate", "negate"
Family = str
"""`transforms` or `predicates`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What options are checked against: the connector's *topic*, and the *labels* of its rules in their order."""

    topic: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    A class of transforms or predicates: its full *name*, a sentence on what it does, and its *options*.

    *make* gets the options as *model*, a dataclass or `dict`, and returns the transform or predicate.  It raises
    `Unfit` for options that it cannot use, with sentences that begin with the alias.  *conflicts* looks at several
    options together; it names them without the alias, and its sentences begin with the name of its first option.
    """

    name: str
    doc: str
    options: Mapping[str, Declared]
    model: type[Any]
    make: Callable[[Any], Any]
    conflicts: Callable[[Any, Setting], Iterable[Conflict]] = lambda *_: ()
    keeps_value: bool = False
    """Whether it never changes a record's value."""

    @property
    def simple_name(self) -> str:
        """The name without its package, such as `ReplaceField$Value`."""
        return self.name.rpartition(".")[2]


def kind(
    name: str,
    doc: str,
    model: type[Any],
    make: Callable[[Any], Any],
    conflicts: Callable[[Any, Setting], Iterable[Conflict]] = lambda *_: (),
    *,
    keeps_value: bool = False,
) -> Kind:
    """Return the kind *name* whose options the dataclass *model* declares."""
    options = declared(model, ".")  # type: ignore[arg-type]  # classes are hashable, which mypy does not see in `type[Any]`
    return Kind(
        name=name, doc=doc, options=options, model=model, make=make, conflicts=conflicts, keeps_value=keeps_value
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """
    The classes that a configuration may name, by family.

    *other* returns a class of somebody else's package, None if there is none of that name.  It raises `Unfit` if the
    package cannot be used.  *others* returns the names of all such classes.
    """

    kinds: Mapping[Family, tuple[Kind, ...]] = field(default_factory=dict)
    other: Callable[[Family, str], Kind | None] = lambda *_: None
    others: Callable[[Family], Iterable[str]] = lambda _: ()

    def find(self, family: Family, name: str) -> Kind | None:
        """
        Return the class with the full or simple *name*; None if there is none.

        Raises:
            Unfit: the class is in a package that cannot be used.
        """
        known = (kind for kind in self.kinds.get(family, ()) if name in {kind.name, kind.simple_name})
        return next(known, None) or self.other(family, name)

    def names(self, family: Family) -> list[str]:
        """Return the names of all classes of *family*."""
        return [kind.name for kind in self.kinds.get(family, ())] + sorted(self.others(family))


NO_CLASSES = Catalogue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A transform or predicate of a configuration; *options* is an object of its class's model."""

    alias: str
    kind: Kind
    options: Any
    predicate: "Chosen | None" = None
    negate: bool = False


def aliases(text: str) -> tuple[str, ...]:
    """
    Return the aliases in a comma-separated *text*.

    Raises:
        Unfit: an alias is there twice, has other characters than letters, digits, `.`, `_` and `-`, or is one too many.
    """
    found = tuple(items(text))
    if len(found) > ALIASES_MAX:
        raise Unfit(f"names {len(found)} aliases: use at most {ALIASES_MAX}.")
    rests = [f"names {shown(alias)} twice: give each an alias of its own." for alias in _doubled(found)]
    rests += [
        f"names {shown(alias)}, which is no alias: use up to {ALIAS_CHARACTERS_MAX} letters, digits, dots, underscores"
        " and hyphens."
        for alias in found
        if len(alias) > ALIAS_CHARACTERS_MAX or not _ALIAS.fullmatch(alias)
    ]
    if rests:
        raise Unfit(*rests)
    return found


ALIASES = Parser(kind="LIST", parse=aliases)


# Which options there are


def brought(texts: Mapping[str, str], catalogue: Catalogue) -> dict[str, Declared]:
    """Return the options that the transforms and predicates of *texts* bring, by name; an unknown class brings none."""
    return {
        option.name: option
        for family in (PREDICATES, TRANSFORMS)
        for alias in aliases_in(texts, family)
        for option in _options_of(family, alias, texts, catalogue)
    }


def environment_options(environ: Mapping[str, str], catalogue: Catalogue) -> dict[str, Declared]:
    """Return the options that the transforms and predicates in *environ* bring, as `brought` does."""
    texts = {family: environ.get(_variable(family), "") for family in (TRANSFORMS, PREDICATES)}
    for family in (TRANSFORMS, PREDICATES):
        for alias in aliases_in(texts, family):
            name = option_name(family, alias, TYPE)
            texts[name] = environ.get(_variable(name), "")
    return brought(texts, catalogue)


def ambiguous(options: Iterable[Declared]) -> Iterator[Problem]:
    """Yield a problem for each two of *options* that are set by the same variable of the environment."""
    first: dict[str, Declared] = {}
    for option in options:
        other = first.setdefault(option.environment, option)
        if other is not option:
            yield Problem(
                option.name,
                f"{option.environment} could mean {other.name} or {option.name}: change one of the aliases.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfAll:
    """The options that every transform and predicate has."""

    plugin_version: Annotated[
        str | None, Option(text(), "", "Accepted, and without effect: there is one version of each class.", "LOW")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTransform:
    """The options that every transform has."""

    predicate: Annotated[
        str | None,
        Option(
            text(), "", "Alias of the predicate that decides for which records the transform is used; none: for all."
        ),
    ] = None
    negate: Annotated[
        bool, Option(boolean(), "", "Use the transform for the records for which the predicate does not hold.")
    ] = False


OF_ALL, OF_TRANSFORM = declared(_OfAll, "."), declared(OfTransform, ".")


def _options_of(family: Family, alias: str, texts: Mapping[str, str], catalogue: Catalogue) -> Iterator[Declared]:
    yield _type_option(family, alias, catalogue)
    common = {**OF_ALL, **(OF_TRANSFORM if family == TRANSFORMS else {})}
    try:
        kind = catalogue.find(family, texts.get(option_name(family, alias, TYPE), "").strip())
    except Unfit:  # `read` reports it
        kind = None
    own = {} if kind is None else kind.options
    for option in (*(own[name] for name in own if name not in common), *common.values()):
        yield _under(option, family, alias)


def _type_option(family: Family, alias: str, catalogue: Catalogue) -> Declared:
    name = option_name(family, alias, TYPE)
    return Declared(
        name=name,
        attribute=TYPE,
        environment=_variable(name),
        kind="CLASS",
        required=True,
        default=None,
        importance="HIGH",
        group=_group(family, alias),
        documentation=f"Class of the {word_of(family)}.",
        choices=tuple(catalogue.names(family)),
        bounds="",
        available=True,
        path=False,
        parse=str,
    )


def _under(option: Declared, family: Family, alias: str) -> Declared:
    name = option_name(family, alias, option.name)
    return replace(
        option, name=name, environment=_variable(name), group=_group(family, alias), parse=_bounded(option.parse)
    )


def _bounded(parse: Callable[[str], object]) -> Callable[[str], object]:
    def parse_bounded(text: str) -> object:
        if len(text) > OPTION_CHARACTERS_MAX:
            raise Unfit(f"has {len(text)} characters: use at most {OPTION_CHARACTERS_MAX}.")
        return parse(text)

    return parse_bounded


def aliases_in(texts: Mapping[str, str], family: Family) -> tuple[str, ...]:
    """Return the aliases that *texts* names; none if they are wrong, which the option itself is told for."""
    try:
        return aliases(texts.get(family, ""))
    except Unfit:  # reported where `transforms` and `predicates` themselves are read
        return ()


def _doubled(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(name for name in names if name in seen or seen.add(name)))  # type: ignore[func-returns-value]


def option_name(family: Family, alias: str, option: str) -> str:
    """Return the whole name of *option* of the transform or predicate *alias*."""
    return f"{family}.{alias}.{option}"


def _variable(name: str) -> str:
    return PREFIX + _NOT_IN_VARIABLES.sub("_", name.upper())


def _group(family: Family, alias: str) -> str:
    return f"{family.capitalize()}: {alias}"


def word_of(family: Family) -> str:
    """Return the word for one of *family*."""
    return family.removesuffix("s")
