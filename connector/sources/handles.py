"""Names for the connections that X holds for this account, and the result of ending some of them."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

Handle = str | float
"""A connection at X: its id, or when it was opened (UNIX seconds of X's clock) if the id is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The result of `StreamSource.release`: connections that X *ended*, and those that X does not list (*absent*)."""

    ended: AbstractSet[Handle] = frozenset()
    absent: AbstractSet[Handle] = frozenset()
