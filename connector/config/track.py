"""
Turns the filters of X's former streaming API 1.1 into rules of the filtered stream.

The connectors of that time passed their options to `statuses/filter`, which sent a post if any filter matched:

    track       phrases, separated by commas; a phrase matches if all of its words are in the post, in any order and
                case.  A word also matches a hashtag and a mention, and an address its links.
    follow      accounts; their posts, retweets of these, and replies to them
    locations   boxes of longitude and latitude, from south-west to north-east

Each phrase, account and box becomes a rule of its own, as rules are alternatives.  Its label says what it was made of.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from connector.config.options import Unfit, items, shown
from connector.config.rules import LABEL_CHARACTERS_MAX, folded, is_hashtag

SEARCHABLE_CHARACTERS = 512
"""The longest query of recent search on pay-per-use; a longer rule may not be repairable after a gap."""

BOX_MILES_MAX = 25.0
"""The widest and highest box of a rule (docs.x.com: operators)."""

_MILES_PER_DEGREE = 69.05
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,15}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_]{1,15}|[0-9]{1,19}")
_CASHTAG = re.compile(r"\$[A-Za-z]{1,6}")
_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)+(/\S*)?")
_OPERATORS = frozenset({"or", "and", "not"})
_BOX_NUMBERS = 4

Rules = list[dict[str, str]]


def as_json(rules: Iterable[dict[str, str]]) -> str:
    """Return *rules* as the option `rules` reads them."""
    return json.dumps(list(rules), ensure_ascii=False)


def tracked(text: str) -> Rules:
    """
    Return a rule for each phrase in the comma-separated *text*.

    Raises:
        Unfit: a phrase has no word.
    """
    phrases = items(text)
    if empty := [phrase for phrase in phrases if not _words(phrase)]:
        raise Unfit(*(f"has {shown(phrase)}, which holds no word to search for: remove it." for phrase in empty))
    rules: dict[str, dict[str, str]] = {}
    for phrase in phrases:
        value = _value(phrase)
        rules.setdefault(folded(value), _labelled(value, " ".join(phrase.split())))
    return list(rules.values())


def followed(text: str) -> Rules:
    """
    Return a rule for each account in the comma-separated *text*: a number or a user name.

    Raises:
        Unfit: something is neither.
    """
    accounts = list(dict.fromkeys(item.removeprefix("@") for item in items(text)))
    if wrong := [account for account in accounts if not _ACCOUNT.fullmatch(account)]:
        raise Unfit(*(f"has {shown(account)}, which is no account: give its number or its name." for account in wrong))
    return [
        {"value": f"from:{account} OR retweets_of:{account} OR to:{account}", "tag": f"follow {account}"}
        for account in accounts
    ]


def located(text: str) -> tuple[Rules, list[str]]:
    """
    Return a rule for each box in the comma-separated *text*, and the boxes that are too large for a rule.

    Raises:
        Unfit: *text* is no list of boxes: west, south, east and north of each.
    """
    try:
        numbers = [float(item) for item in items(text)]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % _BOX_NUMBERS or not all(map(math.isfinite, numbers)):
        raise Unfit("must be a list of boxes, four numbers each: west, south, east, north.")
    rules, large = [], []
    for box in (numbers[at : at + _BOX_NUMBERS] for at in range(0, len(numbers), _BOX_NUMBERS)):
        corners = " ".join(f"{number:g}" for number in box)
        if _fits(*box):
            rules.append({"value": f"bounding_box:[{corners}]", "tag": f"box {corners}"})
        else:
            large.append(corners)
    return rules, large


def in_languages(rules: Sequence[dict[str, str]], text: str) -> Rules:
    """
    Return *rules* limited to the languages in the comma-separated *text*.

    Raises:
        Unfit: something is no code of a language.
    """
    codes = list(dict.fromkeys(items(text)))
    if wrong := [code for code in codes if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z]{2,4})?", code)]:
        raise Unfit(*(f"has {shown(code)}, which is no language: use codes such as en." for code in wrong))
    terms = [f"lang:{code}" for code in codes]
    limit = terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})"
    return [{**rule, "value": f"{_grouped(rule['value'])} {limit}"} for rule in rules]


def _value(phrase: str) -> str:
    words = _words(phrase)
    wide = " ".join(_grouped(_alternatives(word)) for word in words) if len(words) > 1 else _alternatives(words[0])
    return wide if len(wide) <= SEARCHABLE_CHARACTERS else " ".join(map(_term, words))


def _words(phrase: str) -> list[str]:
    """Return the words of *phrase*; a phrase in double quotes is one."""
    phrase = _clean(phrase)
    quoted = len(phrase) > 1 and phrase[0] == phrase[-1] == '"'
    words = [phrase[1:-1].replace('"', " ")] if quoted else phrase.replace('"', " ").split()
    return [" ".join(word.split()) for word in words if _says_something(word)]


def _clean(phrase: str) -> str:
    # Rules are one line of composed characters, and X's grammar has no escapes.
    visible = (" " if unicodedata.category(letter) in {"Cc", "Cs"} or letter == "\\" else letter for letter in phrase)
    return unicodedata.normalize("NFC", "".join(visible)).strip()


def _says_something(word: str) -> bool:
    return any(unicodedata.category(letter)[0] in "LN" or unicodedata.category(letter) == "So" for letter in word)


def _alternatives(word: str) -> str:
    """Return the terms, joined by OR, that find *word* where `track` found it: words, hashtags, mentions, links."""
    term = _term(word)
    if term[0] in "#@$":
        return term
    if _ADDRESS.fullmatch(word):
        return f'{term} OR url:"{word}"'
    hashtag = [f"#{word}"] if is_hashtag(word) else []
    mention = [f"@{word}"] if _USERNAME.fullmatch(word) else []
    return " OR ".join([term, *hashtag, *mention])


def _term(word: str) -> str:
    """Return *word* as X finds it literally: in quotes if X could take a part of it for an operator."""
    special = (
        (word[0] == "#" and is_hashtag(word[1:]))
        or (word[0] == "@" and _USERNAME.fullmatch(word[1:]))
        or _CASHTAG.fullmatch(word)
    )
    plain = all(unicodedata.category(letter)[0] in "LNM" or letter == "_" for letter in word)
    return word if special or (plain and word.lower() not in _OPERATORS) else f'"{word}"'


def _grouped(value: str) -> str:
    return f"({value})" if " OR " in value else value


def _labelled(value: str, label: str) -> dict[str, str]:
    printable = label.isprintable() and len(label) <= LABEL_CHARACTERS_MAX
    return {"value": value, "tag": label} if printable else {"value": value}


def _fits(west: float, south: float, east: float, north: float) -> bool:
    miles_high = (north - south) * _MILES_PER_DEGREE
    miles_wide = (east - west) * _MILES_PER_DEGREE * math.cos(math.radians((south + north) / 2))
    return 0 < miles_high < BOX_MILES_MAX and 0 < miles_wide < BOX_MILES_MAX
