"""What are the words of a post?  Tokens and normal forms, as rules see them."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass

URL = re.compile(r"https?://\S+")

# Scripts written without spaces: a keyword of theirs is looked for anywhere.
_UNSPACED = re.compile(r"[\u0E00-\u0EFF\u1780-\u17FF\u3040-\u30FF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF]")
_ACCENTS = re.compile(r"[\u0300-\u036F]")
_KEYCAP = 0x20E3
_FIRST_VARIATION, _LAST_VARIATION = 0xFE00, 0xFE0F


class _Separators(dict[int, int | str]):
    """A table for `str.translate`: letters, marks and digits stay, the rest splits."""

    def __missing__(self, code: int) -> int | str:
        # Variation selectors and the keycap are marks, yet belong to emoji.
        emoji = code == _KEYCAP or _FIRST_VARIATION <= code <= _LAST_VARIATION
        word = unicodedata.category(chr(code))[0] in "LMN" and not emoji
        self[code] = code if word else " "
        return self[code]


_SEPARATORS = _Separators()


def normal(text: str, *, accents: bool = True) -> str:
    """Return the form in which texts are compared: case and, in search, accents go."""
    folded = unicodedata.normalize("NFC", text).casefold()
    if accents or folded.isascii():
        return folded
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    return unicodedata.normalize("NFC", bare)


def tokens(normalised: str) -> tuple[str, ...]:
    """Split at punctuation, symbols and separators: coca-cola gives coca, cola."""
    return tuple(normalised.translate(_SEPARATORS).split())


def unspaced(text: str) -> bool:
    return _UNSPACED.search(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchableText:
    """A text as keywords (tokens) and as phrases (one line) find it."""

    tokens: tuple[str, ...]
    line: str


def searchable(raw: str, *, accents: bool = True, hashtags: bool = True) -> SearchableText:
    """
    Prepare a text from the wire, where `&amp;` stands for `&`.

    Short links are no words.  Without `hashtags` a hashtag is none either.
    """
    plain = normal(URL.sub(" ", html.unescape(raw)), accents=accents)
    words = plain if hashtags else re.sub(r"#\w+", " ", plain)
    return SearchableText(tokens=tokens(words), line=" ".join(plain.split()))


def has_run(haystack: tuple[str, ...], needle: tuple[str, ...]) -> bool:
    """Tell whether the tokens of `needle` stand in `haystack` one after the other."""
    if len(needle) == 1:
        return needle[0] in haystack
    width = len(needle)
    return any(haystack[at : at + width] == needle for at in range(len(haystack) - width + 1))


def has_phrase(line: str, phrase: str) -> bool:
    """Tell whether a phrase stands in a line without cutting a word at its ends."""
    at = line.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        if not (_joined(line, at) or _joined(line, end)):
            return True
        at = line.find(phrase, at + 1)
    return False


def _joined(line: str, at: int) -> bool:
    """Tell whether a word runs on across position `at`."""
    if at in (0, len(line)):
        return False
    pair = line[at - 1 : at + 1]
    return len(pair.translate(_SEPARATORS).split()) == 1 and " " not in pair.translate(_SEPARATORS)


def near(haystack: tuple[str, ...], words: tuple[str, ...], distance: int) -> bool:
    """
    Tell whether all words stand close together: `"a b"~N`.

    At most `distance` other tokens lie between them in the order given, two
    fewer in the reverse order.
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
        # The earliest place of each word gives the narrowest span from `start`.
        if at - start - (len(words) - 1) <= distance:
            return True
    return False
