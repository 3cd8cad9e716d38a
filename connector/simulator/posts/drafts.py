"""How does a text grow?  Word by word, with the offsets of its entities."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector.simulator.posts.post import Object

_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))


def weight(character: str) -> int:
    """Return what a character counts for in the 280 of a post."""
    code = ord(character)
    return 1 if any(low <= code <= high for low, high in _LIGHT) else 2


@dataclass(slots=True, kw_only=True)
class Draft:
    """A text under way; offsets are code points of the text as delivered."""

    parts: list[str] = field(default_factory=list)
    length: int = 0
    entities: dict[str, list[Object]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def add(self, raw: str, *, glue: bool = False) -> tuple[int, int]:
        """Append a text, escaped; return its offsets."""
        escaped = html.escape(raw, quote=False)
        if self.parts and not glue:
            self.parts.append(" ")
            self.length += 1
        start = self.length
        self.parts.append(escaped)
        self.length += len(escaped)
        return start, self.length

    def entity(self, kind: str, shown: str, **values: Any) -> None:
        """Append a text that is an entity."""
        start, end = self.add(shown)
        self.entities.setdefault(kind, []).append({"start": start, "end": end, **values})
