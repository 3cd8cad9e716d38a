"""The words of a text: normal forms, tokens, and the search for tokens and phrases in a text."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

URL = re.compile(r"https?://\S+")

# Scripts that are written without spaces: a keyword in such a script matches anywhere in a text.
_UNSPACED = re.compile(r"[\u0E00-\u0EFF\u1780-\u17FF\u3040-\u30FF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF]")
_ACCENTS = re.compile(r"[\u0300-\u036F]")
_KEYCAP = 0x20E3
_FIRST_VARIATION, _LAST_VARIATION = 0xFE00, 0xFE0F


class _Separators(dict[int, int | str]):
    """A table for `str.translate` that keeps letters, marks and digits; other characters become spaces."""

    def __missing__(self, code: int) -> int | str:
        # Variation selectors and the keycap are marks in Unicode, but they belong to emoji.
        emoji = code == _KEYCAP or _FIRST_VARIATION <= code <= _LAST_VARIATION
        word = unicodedata.category(chr(code))[0] in "LMN" and not emoji
        self[code] = code if word else " "
        return self[code]


_SEPARATORS = _Separators()


def normal(text: str, *, accents: bool = True) -> str:
    """Return the form in which texts are compared: case folded and, without *accents*, accents removed."""
    folded = unicodedata.normalize("NFC", text).casefold()
    if accents or folded.isascii():
        return folded
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    return unicodedata.normalize("NFC", bare)


def tokens(normalised: str) -> tuple[str, ...]:
    """Split at punctuation, symbols and separators: coca-cola becomes coca and cola."""
    return tuple(normalised.translate(_SEPARATORS).split())


def unspaced(text: str) -> bool:
    return _UNSPACED.search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchableText:
    """A text in two forms: `tokens` for keywords, `line` for phrases."""

    tokens: tuple[str, ...]
    line: str


def searchable(raw: str, *, accents: bool = True, hashtags: bool = True) -> SearchableText:
    """
    Prepare a text that is escaped as on the wire (`&amp;`).

    Short links do not count as words; without *hashtags* neither do hashtags.
    """
    plain = normal(URL.sub(" ", html.unescape(raw)), accents=accents)
    words = plain if hashtags else re.sub(r"#\w+", " ", plain)
    return SearchableText(tokens=tokens(words), line=" ".join(plain.split()))


def has_run(haystack: tuple[str, ...], needle: tuple[str, ...]) -> bool:
    """Tell whether *haystack* has the tokens of *needle* one after the other."""
    if len(needle) == 1:
        return needle[0] in haystack
    width = len(needle)
    return any(haystack[at : at + width] == needle for at in range(len(haystack) - width + 1))


def has_phrase(line: str, phrase: str) -> bool:
    """Tell whether a line has a phrase that begins and ends with whole words."""
    at = line.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        if not (_joined(line, at) or _joined(line, end)):
            return True
        at = line.find(phrase, at + 1)
    return False


def _joined(line: str, at: int) -> bool:
    """Tell whether position *at* is inside a word."""
    if at in (0, len(line)):
        return False
    pair = line[at - 1 : at + 1]
    return len(pair.translate(_SEPARATORS).split()) == 1 and " " not in pair.translate(_SEPARATORS)


def near(haystack: tuple[str, ...], words: tuple[str, ...], distance: int) -> bool:
    """
    Tell whether the words are near each other: `"a b"~N`.

    In the given order at most *distance* other tokens may be between the words, in the reverse order two fewer.
    """
    reverse = distance - 2
    if _within(haystack, words, distance):
        return True
    return reverse >= 0 and _within(haystack, words[::-1], reverse)


def _within(haystack: tuple[str, ...], words: tuple[str, ...], distance: int) -> bool:
    for start, token in enumerate(haystack):
        if token != words[0]:
            continue
        at = start
        for word in words[1:]:
            try:
                at = haystack.index(word, at + 1)
            except ValueError:
                return False
        # The first place of each following word gives the shortest span from `start`.
        if at - start - (len(words) - 1) <= distance:
            return True
    return False
