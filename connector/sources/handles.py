"""Which connections does X hold for us?  How one of them is named, and what became of those that were to be ended."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Handle = str | float
"""One of our connections at X: its id; while X has not told that, when it was opened (UNIX seconds of X's clock)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of connections that were to be ended: X has *ended* some, and does not list those *absent*."""

    ended: AbstractSet[Handle] = frozenset()
    absent: AbstractSet[Handle] = frozenset()
