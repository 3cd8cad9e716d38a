"""
Which connectors is a line of a shared stream for?

X says in each line which rules it matched.  A line is for each connector that wants one of them; a rule that several
want stands at X once, under the tag of one of them.  A line that does not say so, such as one that is no post, is for
all: each connector has its own way with bad records.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from connector.records.record import Arrival, HeldRule, held_bytes


class _Rule(msgspec.Struct, gc=False):
    id: str = ""
    tag: str = ""


class _Line(msgspec.Struct, gc=False):
    matching_rules: list[_Rule]


_decode = msgspec.json.Decoder(_Line).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Router:
    """
    Splits lines among the connectors *names*; *rules* returns those of each connector, by its name.

    None as *rules* is for a stream that has none: each line is for all.  *missed* counts lines that were for nobody.
    """

    def __init__(self, names: Iterable[str], rules: Callable[[], Mapping[str, Sequence[HeldRule]]] | None) -> None:
        self.missed = 0
        self._names, self._rules = tuple(names), rules
        self._by_rule: dict[str, frozenset[str]] | None = None
        self.renew()

    def renew(self) -> None:
        """Ask for the rules again: the source of a new connection may have added them anew, with other ids."""
        if self._rules is None:
            return
        by_rule: dict[str, set[str]] = {}
        for name, its_rules in self._rules().items():
            for rule in its_rules:
                by_rule.setdefault(rule.id, set()).add(name)
        self._by_rule = {rule: frozenset(wanting) for rule, wanting in by_rule.items()}

    def split(self, arrivals: Sequence[Arrival]) -> dict[str, list[Arrival]]:
        """Return the arrivals of each connector that gets any of the lines, with these lines alone."""
        if self._by_rule is None:
            return {name: list(arrivals) for name in self._names} if any(each.lines for each in arrivals) else {}
        found: dict[str, list[Arrival]] = {}
        for arrival in arrivals:
            lines: dict[str, list[bytes]] = {}
            for line in arrival.lines:
                names = self.names_of(line)
                self.missed += not names
                for name in names:
                    lines.setdefault(name, []).append(line)
            for name, its_lines in lines.items():
                its = arrival if len(its_lines) == len(arrival.lines) else _with(arrival, its_lines)
                found.setdefault(name, []).append(its)
        return found

    def only(self, name: str, arrivals: Sequence[Arrival]) -> tuple[Arrival, ...]:
        """Return *arrivals* with the lines for the connector *name*."""
        return tuple(self.split(arrivals).get(name, ()))

    def names_of(self, line: bytes) -> Collection[str]:
        """Return the connectors that *line* is for."""
        if self._by_rule is None:
            return self._names
        try:
            matched = _decode(line).matching_rules
        except _UNREADABLE:
            return self._names
        if not matched:
            return self._names
        names: set[str] = set()
        for rule in matched:
            names |= self._by_rule.get(rule.id) or self._by_tag(rule.tag)
        return names

    def _by_tag(self, tag: str) -> frozenset[str]:
        """Return the connector to which *tag* belongs, as for a rule that another worker has just made again."""
        name, slash, _ = tag.partition("/")
        return frozenset({name}) & frozenset(self._names) if slash else frozenset()


def _with(arrival: Arrival, lines: Sequence[bytes]) -> Arrival:
    return replace(arrival, lines=tuple(lines), size=held_bytes(lines))
