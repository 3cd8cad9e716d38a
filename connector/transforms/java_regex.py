"""
Java's regular expressions for names of topics, as far as Python has the same and their time is bounded.

A pattern is searched with backtracking, and some take time that doubles with each character of the text: `(a+)+`.  Such
forms are refused: what is repeated must match a character, and must not itself hold a repetition of several lengths, a
choice or a lookahead: `((^){249}){249}` finds nothing, 62,001 times.  All repetitions and choices together
must not leave more ways than `WAYS_MAX` to match a topic of 249 characters, the longest that there is: four times `.*`.
So the slowest pattern that is left ends within some seconds, and each topic is matched only once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from connector.config.options import Unfit, shown

PATTERN_CHARACTERS_MAX = 500
COUNT_MAX = 249
"""The largest number in `{n,m}`: no topic is longer."""
WAYS_MAX = 200_000_000
"""The most ways to match a topic; a second has time for some fifty million."""

_SAFE_CLASSES = "dDwWsSbB"
_COUNTED = re.compile(r"\{(\d{1,9})(,(\d{1,9})?)?\}")
_NAMED = re.compile(r"\(\?<([a-zA-Z][a-zA-Z0-9]*)>")
_AHEAD = ("(?=", "(?!")
_PLAIN_GROUPS = ("(?:", *_AHEAD)
_IN_REPLACEMENT = re.compile(r"\\(.)|\$\{([a-zA-Z][a-zA-Z0-9]*)\}|\$(\d+)|([\\$])", re.DOTALL)


def compiled(pattern: str) -> re.Pattern[str]:
    """
    Return Java's *pattern* as Python's.

    Raises:
        Unfit: Java would refuse the pattern, it is not known here, or it could take too long.
    """
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise Unfit(f"has {len(pattern)} characters: use at most {PATTERN_CHARACTERS_MAX}.")
    translated = _Scanner(pattern).translated()
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError) as exc:
        raise Unfit(f"is no regular expression: {exc}.") from None


@dataclass(slots=True)
class _Group:
    """What a group holds, or a single character."""

    ahead: bool = False
    """It is a lookahead, which takes no character."""
    varies: bool = False
    """It holds a repetition, a choice or a lookahead: one text may match it in several ways, or is read repeatedly."""
    takes: bool = False
    """It takes a character, unless it varies."""


class _Scanner:
    """Translates *pattern*, and refuses what is not safe."""

    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._groups = [_Group()]
        self._ways = 1.0
        self._endless = 0
        self._last: _Group | None = None
        """What a quantifier would repeat: a group that has just ended, or an atom; None if there is nothing."""

    def translated(self) -> str:
        """Return the pattern in Python's syntax."""
        pieces = []
        if self._pattern.startswith("(?i)"):
            pieces.append("(?i)")
            self._at = 4
        while self._at < len(self._pattern):
            pieces.append(self._next())
        if len(self._groups) > 1:
            raise Unfit("has a ( that is not closed.")
        return "".join(pieces)

    def _next(self) -> str:
        char = self._pattern[self._at]
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._atom(self._class())
        if char == "(":
            return self._open()
        if char == ")":
            return self._close()
        if char in "*+?{":
            return self._quantifier()
        self._at += 1
        if char == "|":
            self._groups[-1].varies, self._last = True, None
            self._count_ways(2)
        elif char in "^$":
            self._last = None
        else:
            self._atom(char)
        return char

    def _atom(self, piece: str) -> str:
        self._last = _Group(takes=True)
        self._groups[-1].takes = True
        return piece

    def _escape(self) -> str:
        escaped = self._pattern[self._at + 1 : self._at + 2]
        if not escaped:
            raise Unfit("ends with a backslash: write two for one.")
        if escaped == "Q":
            end = self._pattern.find("\\E", self._at + 2)
            quoted = self._pattern[self._at + 2 : end if end >= 0 else len(self._pattern)]
            self._at = len(self._pattern) if end < 0 else end + 2
            # a quantifier behind \E repeats the last character
            return self._atom(re.escape(quoted)) if quoted else ""
        if escaped.isascii() and escaped.isalnum() and escaped not in _SAFE_CLASSES:
            raise Unfit(f"has \\{escaped}, which is not known here: use characters, classes and groups.")
        self._at += 2
        piece = f"\\{escaped}" if escaped.isascii() else re.escape(escaped)
        if escaped not in "bB":
            return self._atom(piece)
        self._last = None
        return piece

    def _class(self) -> str:
        at = self._at + 1
        if self._pattern.startswith("^", at):
            at += 1
        begin = at
        while at < len(self._pattern) and (self._pattern[at] != "]" or at == begin):
            char = self._pattern[at]
            if char == "[" or (char in "&~|-" and self._pattern[at + 1 : at + 2] == char):
                raise Unfit("has a class inside a class, or an operator in it, which is not known here: write it flat.")
            if char == "]":
                raise Unfit("has an empty class [].")
            if char == "\\":
                following = self._pattern[at + 1 : at + 2]
                if not following or (following.isalnum() and following not in "dDwWsS"):
                    raise Unfit(f"has \\{following} in a class, which is not known here.")
                at += 1
            at += 1
        if at >= len(self._pattern):
            raise Unfit("has a [ that is not closed.")
        found, self._at = self._pattern[self._at : at + 1], at + 1
        return found

    def _open(self) -> str:
        named = _NAMED.match(self._pattern, self._at)
        if named is not None:
            opened, length = f"(?P<{named[1]}>", len(named[0])
        elif self._pattern.startswith("(?", self._at):
            opened = self._pattern[self._at : self._at + 3]
            length = 3
            if opened not in _PLAIN_GROUPS:
                raise Unfit(
                    f"has {opened}, which is not known here: use (...), (?:...), (?<name>...), (?=...) or (?!...)."
                )
        else:
            opened, length = "(", 1
        self._at += length
        self._groups.append(_Group(ahead=opened in _AHEAD))
        self._last = None
        return opened

    def _close(self) -> str:
        if len(self._groups) == 1:
            raise Unfit("has a ) without a (.")
        ended = self._groups.pop()
        self._groups[-1].varies |= ended.varies or ended.ahead
        self._groups[-1].takes |= ended.takes and not ended.ahead
        self._last = ended
        self._at += 1
        return ")"

    def _quantifier(self) -> str:
        repeated, self._last = self._last, None
        if repeated is None:
            raise Unfit(f"has a {self._pattern[self._at]} behind nothing that could be repeated: write \\ before it.")
        quantifier, least, most = self._counts()
        self._at += len(quantifier)
        if self._pattern[self._at : self._at + 1] in {"?", "+"}:  # takes as little as it can, or gives nothing back
            quantifier += self._pattern[self._at]
            self._at += 1
        if most is None or most > 1:
            if repeated.varies:
                raise Unfit(
                    "repeats a group that itself holds a repetition, a choice or a lookahead, which may take for ever:"
                    " write it without."
                )
            if repeated.ahead or not repeated.takes:
                raise Unfit("repeats a group that matches no character: write it once.")
        if most != least or not most:
            self._groups[-1].varies = True
            # the places at which k repetitions meet are the same ones in any order
            self._endless += most is None
            self._count_ways((COUNT_MAX + 1) / self._endless if most is None else most - least + 1)
        return quantifier

    def _count_ways(self, ways: float) -> None:
        self._ways *= ways
        if self._ways > WAYS_MAX:
            raise Unfit("has so many repetitions and choices that a match may take long: use at most four such as .*.")

    def _counts(self) -> tuple[str, int, int | None]:
        """Return the quantifier here, and the least and the most times that it repeats."""
        char = self._pattern[self._at]
        if char != "{":
            return (char, *{"*": (0, None), "+": (1, None), "?": (0, 1)}[char])
        counted = _COUNTED.match(self._pattern, self._at)
        if counted is None:
            raise Unfit("has a { that begins no count such as {2,3}: write \\{ for the character.")
        least = int(counted[1])
        most = least if counted[2] is None else None if counted[3] is None else int(counted[3])
        if max(least, most or 0) > COUNT_MAX:
            raise Unfit(f"repeats more than {COUNT_MAX} times, and no topic is longer.")
        return counted[0], least, most


def replacement(text: str, pattern: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    """
    Return what makes of a match of *pattern* Java's replacement *text*: `$1`, `${name}`, and a backslash before others.

    Raises:
        Unfit: *text* names a group that *pattern* does not have, or ends in the middle.
    """
    parts: list[str | int] = []
    end = 0
    for found in _IN_REPLACEMENT.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        escaped, name, number, alone = found.groups()
        if escaped is not None:
            parts.append(escaped)
        elif name is not None:
            if name not in pattern.groupindex:
                raise Unfit(f"is {shown(text)}, and the regular expression has no group {name!r}.")
            parts.append(pattern.groupindex[name])
        elif number is not None:
            parts += _numbered(number, pattern, text)
        else:
            raise Unfit(f"is {shown(text)}: write \\{alone} for the character {alone}, or $1 for a group.")
    parts.append(text[end:])
    return lambda match: "".join(part if isinstance(part, str) else match[part] or "" for part in parts)


def _numbered(digits: str, pattern: re.Pattern[str], text: str) -> tuple[int, str]:
    """Return the group that *digits* begin with, and the rest: as many digits count as there is such a group."""
    taken = 1
    while taken < len(digits) and int(digits[: taken + 1]) <= pattern.groups:
        taken += 1
    if int(digits[:taken]) > pattern.groups:
        raise Unfit(f"is {shown(text)}, and the regular expression has {pattern.groups} groups.")
    return int(digits[:taken]), digits[taken:]
