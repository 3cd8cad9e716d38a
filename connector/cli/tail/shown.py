"""
A record of the topic as one line, of JSON or for people; and which rules it matched.  (Pure.)

Posts and tags are written by anybody, so no line has a character that steers a terminal.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import click
import msgspec

from connector.cli.connectors.printable import printable
from connector.records.post import payload_of
from connector.records.scanner import lean
from connector.records.snowflake import to_iso
from connector.task.console import cleaned, words_of_post, words_of_shape

VALUE_CHARACTERS = 500
"""How much of a value that is no post is shown to people."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class _MatchingRule(msgspec.Struct):
    tag: str = ""


class _Line(msgspec.Struct):
    matching_rules: list[_MatchingRule] = []


_decode = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class Shown:
    """A record as it is printed: its *key*, its *value* (None: deleted), and its *timestamp_ms* (UNIX ms)."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the rules that the post matched; none if the value does not have them."""
        if self.value is None:
            return ()
        value = payload_of(self.value)
        try:
            found = _decode(value)
        except (ValueError, RecursionError):  # the parser may refuse another part of a post
            try:
                found = _decode(lean(value, data=(), beside=("matching_rules",)))
            except ValueError:
                return ()
        return tuple(rule.tag for rule in found.matching_rules if rule.tag)

    def matches(self, wanted: Collection[str]) -> bool:
        """Return whether one of *wanted* is the tag or the label of a rule of the post; True if none is wanted."""
        return not wanted or any(tag in wanted or tag.partition("/")[2] in wanted for tag in self.tags)

    def as_json(self) -> str:
        """Return the value in one line if it is JSON, as it was delivered; else an object with key and value."""
        text = None if self.value is None else self.value.decode(errors="replace")
        if text is not None:
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                pass
            else:
                return _UNPRINTABLE.sub(_escaped, text.replace("\r", " ").replace("\n", " ").replace("\t", " "))
        key = None if self.key is None else self.key.decode(errors="replace")
        return json.dumps({"key": key, "timestamp": to_iso(self.timestamp_ms), "value": text})

    def as_line(self, style: Callable[[str], str]) -> str:
        """Return time, labels of rules, author and text in one line; *style* marks what is not the post."""
        labels = ",".join(tag.partition("/")[2] or tag for tag in self.tags)
        head = to_iso(self.timestamp_ms) + (f" [{cleaned(labels)}]" if labels else "")
        return f"{style(head)}  {self._words}"

    @property
    def _words(self) -> str:
        key = "" if self.key is None else printable(self.key.decode(errors="replace"))
        if self.value is None:
            return f"{key} is deleted"
        for words in (words_of_post, words_of_shape):
            try:
                return words(self.value)
            except (ValueError, RecursionError):  # another shape or format, or transformed
                continue
        text = self.value.decode(errors="replace")
        return f"{key}  {cleaned(text[:VALUE_CHARACTERS])}{'…' if len(text) > VALUE_CHARACTERS else ''}"


def lines(records: Sequence[Shown], *, as_json: bool, colours: bool) -> str:
    """Return *records* as text, each in a line."""
    style = (lambda text: click.style(text, dim=True)) if colours else str
    return "".join((record.as_json() if as_json else record.as_line(style)) + "\n" for record in records)


def _escaped(match: re.Match[str]) -> str:
    """Return a character as JSON escapes it; one that is printable stays."""
    letter = match[0]
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]
