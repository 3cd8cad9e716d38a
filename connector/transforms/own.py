"""
Transforms of other packages, by the entry point group `murmuration.transforms`.

`transforms.<alias>.type` names the entry point, which leads to a class such as this, made without arguments:

    class Shout:
        OPTIONS = {"field": "Field of the post that is written in capitals."}

        def configure(self, options: Mapping[str, str]) -> None:
            self._field = options.get("field", "text")

        def apply(self, record: Record) -> Record | None:
            ...

`OPTIONS` has the name of each option and a sentence on it; all are texts, and none is required.  `configure` is called
once, with those that are set, before any record; it raises ValueError, with a sentence, for a wrong one.  A validation
calls it too, so it opens nothing.  `apply` gets each record in turn, and raises any exception for one that it cannot
take.  Both run in the event loop, on which everything of a task waits.
"""

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from connector.config.chain import TRANSFORMS, Family, Kind
from connector.config.options import Declared, Unfit, shown

GROUP = "murmuration.transforms"


def names(family: Family) -> list[str]:
    """Return the names of the transforms that other packages offer; there are no such predicates."""
    return sorted({point.name for point in _offered(tuple(sys.path))}) if family == TRANSFORMS else []


def find(family: Family, name: str) -> Kind | None:
    """
    Return the transform *name* of another package, None if there is none.

    Raises:
        Unfit: the package cannot be loaded, or offers something else than such a class; or two packages offer the name.
    """
    if family != TRANSFORMS or not name:
        return None
    points = {
        (point.dist and point.dist.name, point.value): point
        for point in _offered(tuple(sys.path))
        if point.name == name
    }
    if len(points) > 1:
        offering = ", ".join(sorted(_package(point) for point in points.values()))
        raise Unfit(f"cannot be {shown(name)}, which several packages offer: remove all but one of {offering}.")
    return next((_kind(point) for point in points.values()), None)


@lru_cache(maxsize=1)
def _offered(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of the packages on the module search *_path*, looked for once: it takes milliseconds."""
    return tuple(entry_points(group=GROUP))


def _kind(point: EntryPoint) -> Kind:
    cls = _loaded(point)
    options = getattr(cls, "OPTIONS", {})
    well_formed = isinstance(options, Mapping) and all(
        isinstance(part, str) for pair in options.items() for part in pair
    )
    if not (callable(cls) and all(callable(getattr(cls, name, None)) for name in ("configure", "apply"))):
        raise Unfit(_broken(point, "it is no class with the methods configure and apply"))
    if not well_formed:
        raise Unfit(_broken(point, "its OPTIONS are no mapping of names to sentences"))
    return Kind(
        name=point.name,
        doc=next(iter((cls.__doc__ or "").strip().splitlines()), ""),
        options={name: _option(name, sentence) for name, sentence in options.items()},
        model=dict,
        make=_maker(point, cls),
    )


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as exc:  # somebody else's module may raise anything
        raise Unfit(_broken(point, f"{type(exc).__name__}: {exc}")) from exc


def _maker(point: EntryPoint, cls: Callable[[], Any]) -> Callable[[Mapping[str, str | None]], Any]:
    def make(options: Mapping[str, str | None]) -> Any:
        given = {name: text for name, text in options.items() if text is not None}
        try:
            transform = cls()
            transform.configure(given)
        except ValueError as exc:
            raise Unfit(f"is {point.name}, which refuses its options: {exc}") from exc
        except Exception as exc:  # somebody else's class may raise anything
            raise Unfit(_broken(point, f"configure raised {type(exc).__name__}: {exc}")) from exc
        return transform

    return make


def _broken(point: EntryPoint, reason: str) -> str:
    offered = f"cannot be {point.name}, which {_package(point)} offers as {point.value}"
    return f"{offered}: {reason.rstrip('.')}. Repair or remove it."


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist is not None else "a package"


def _option(name: str, sentence: str) -> Declared:
    return Declared(
        name=name,
        attribute=name,
        environment="",
        kind="STRING",
        required=False,
        default=None,
        importance="MEDIUM",
        group="",
        documentation=sentence,
        choices=(),
        bounds="",
        available=True,
        path=False,
        parse=str,
    )
