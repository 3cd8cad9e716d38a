"""
A rule as a tree: `Term`, `Not`, `And` and `Or`.

The values of terms are in normal form, the form in which they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Term:
    """One operator with its value; `number` is the N of `"a b"~N`."""

    operator: str
    value: str
    tokens: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    term: Node


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Node = Term | Not | And | Or


def terms(node: Node, *, negated: bool = False) -> Iterator[tuple[Term, bool]]:
    """Yield each term of a tree, and whether the term is negated."""
    match node:
        case Term():
            yield node, negated
        case Not(term):
            yield from terms(term, negated=not negated)
        case And(parts) | Or(parts):
            for part in parts:
                yield from terms(part, negated=negated)
