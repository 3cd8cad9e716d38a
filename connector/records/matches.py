"""
Which rules did posts match, and how many posts matched the same ones?

X ends each line of a stream with rules by the member `matching_rules`.  Lines that matched the same rules have the same
end, so posts are counted by these bytes, which nothing decodes on the way of a post; `rules_in` reads them later.
"""

from functools import lru_cache

import msgspec

from connector.records.native import compiled

END_BYTES = 4096
"""`matching_rules` is looked for in so many bytes at the end of a line."""

_MEMBER = b'"matching_rules"'


class MatchedRule(msgspec.Struct, gc=False, frozen=True):
    """A rule that a post matched: its id at X, and its tag."""

    id: str = ""
    tag: str = ""


class _End(msgspec.Struct, gc=False):
    matching_rules: list[MatchedRule]


_decode = msgspec.json.Decoder(_End).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def count_ends(lines: tuple[bytes, ...], counts: dict[bytes, int]) -> None:
    """Add to *counts* how many of *lines* have which end; `b""` is for those without the member near their end."""
    if compiled is not None:
        compiled.count_ends(lines, counts)
        return
    for line in lines:
        at = line.rfind(_MEMBER, -END_BYTES)
        end = line[at:] if at >= 0 else b""
        counts[end] = counts.get(end, 0) + 1


@lru_cache(maxsize=2048)
def rules_in(end: bytes) -> tuple[MatchedRule, ...]:
    """Return the rules in *end*, one of the ends of `count_ends`; none if they cannot be read."""
    try:
        return tuple(dict.fromkeys(_decode(b"{" + end).matching_rules))
    except _UNREADABLE:
        return ()
