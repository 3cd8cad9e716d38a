"""
The rules of a connector for the filtered stream, read from its options.

Rules come from the options `hashtags`, `rules` and `rules.file`, and become one list in that order.  A rule's *label*
is the part of its tag at X after `<connector name>/`; records show the labels of the rules that a post matched.

A hashtag is the rule `#python` with the label `python`.  A rule without a tag gets a label made from its value, so
that the label stays the same over restarts.  The same value given twice is one rule (hashtags ignore case, as X does).
One value with two different tags is a mistake, because X keeps a value only once; so is one tag for two rules, because
a label must tell rules apart.
"""

import hashlib
import json
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from connector.config.options import Unfit, items, read_text, shown

RULE_CHARACTERS_MAX = 2048  # the most that any plan allows; X refuses longer rules where a plan allows less
LABEL_CHARACTERS_MAX = 100
RULES_FILE_BYTES_MAX = 16 * 1024 * 1024

# Characters that X allows inside a hashtag, besides letters, marks, digits.
_TAG_SPECIALS = "_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
_HASH_SIGNS = "#\uff03"
_HEX_DIGITS = 8
HASH_LABEL = "rule-"
"""The label of a rule without a tag, unless it is a hashtag, is this and a digest of the rule's value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule for the filtered stream."""

    value: str
    label: str


def label_of(value: str) -> str:
    """Return the label of a rule that has no tag."""
    if value[:1] == "#" and is_hashtag(value[1:]):
        return value[1:]
    return HASH_LABEL + hashlib.sha256(value.encode()).hexdigest()[:_HEX_DIGITS]


def is_hashtag(word: str) -> bool:
    """Return whether `#word` is a hashtag for X: letters, marks, digits and `_`, and not digits alone."""
    kinds = [unicodedata.category(character) for character in word]
    legal = all(kind[0] in "LM" or kind == "Nd" or word[i] in _TAG_SPECIALS for i, kind in enumerate(kinds))
    return legal and any(kind[0] in "LM" for kind in kinds)


def parse_hashtags(text: str) -> tuple[str, ...]:
    """
    Return the hashtags in a comma-separated *text*, with or without `#`; each once, in the form `#python`.

    Raises:
        Unfit: a part of *text* is not a hashtag.
    """
    hashtags: dict[str, str] = {}
    rests = []
    for item in items(text):
        # X compares code points, and keyboards send composed letters.
        word = unicodedata.normalize("NFC", item[1:] if item[0] in _HASH_SIGNS else item)
        if is_hashtag(word):
            hashtags.setdefault(folded(word), f"#{word}")
        else:
            rests.append(f"has {shown(item)}, which is no hashtag: use letters, digits and _, and at least one letter.")
    if rests:
        raise Unfit(*rests)
    return tuple(hashtags.values())


def folded(word: str) -> str:
    """
    Return *word* with the case of each letter folded: `PYTHON` becomes `python`, but `straße` stays as it is.

    Python's `casefold` also turns one letter into two.  If two rules were wrongly taken for one, a rule would be lost;
    if one rule is wrongly taken for two, X only refuses the second as a duplicate.
    """
    return "".join(fold if len(fold := letter.casefold()) == 1 else letter for letter in map(_lower, word))


def _lower(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 else letter


def joined(hashtags: str, rules: Iterable[Rule]) -> tuple[tuple[str, str], ...]:
    """Return pairs of a rule of *hashtags* or *rules* and an earlier one that differs in spelling only."""
    words = (item[1:] if item[0] in _HASH_SIGNS else item for item in items(hashtags))
    values = [f"#{unicodedata.normalize('NFC', word)}" for word in words] + [rule.value for rule in rules]
    first: dict[str, str] = {}
    pairs = ((value, first.setdefault(_key(Rule(value, "")), value)) for value in values)
    return tuple(dict.fromkeys((value, kept) for value, kept in pairs if value != kept))


def parse_rules(text: str) -> tuple[Rule, ...]:
    """
    Read a JSON list of `{"value", "tag"}`.

    Raises:
        Unfit: *text* is not such a list.
    """
    return _rules(_json(text, "is not JSON"), "")


def read_rules(path: str) -> tuple[Rule, ...]:
    """
    Read the rules in a file: a JSON list, or TOML with a table `[[rules]]` for each rule.

    Raises:
        Unfit: the file cannot be read, or its content is something else.
    """
    suffix = PurePath(path).suffix.lower()
    if suffix not in {".json", ".toml"}:
        raise Unfit(f"names {path}, which ends neither in .toml nor in .json.")
    content = read_text(path, limit=RULES_FILE_BYTES_MAX)
    if suffix == ".json":
        found = _json(content, f"names {path}, which is not JSON")
        return _rules(found.get("rules") if isinstance(found, dict) else found, f" in {path}")
    try:
        tables = tomllib.loads(content)
    except (ValueError, RecursionError) as error:  # not TOML, or a number with more digits than `int` allows
        raise Unfit(f"names {path}, which is not TOML: {_reason(error)}.") from None
    return _rules(tables.get("rules"), f" in {path}")


def merge(sources: Mapping[str, Iterable[Rule]]) -> tuple[tuple[Rule, ...], tuple[tuple[str, str], ...]]:
    """
    Return the rules of several options as one list, and complaints about them; *sources* has the rules by option.

    A complaint is the name of the option to change, and the rest of a sentence that begins with that name.
    """
    merged: dict[str, Rule] = {}
    owners: dict[str, str] = {}
    complaints = []
    for source, rules in sources.items():
        for rule in rules:
            key = _key(rule)
            known = merged.setdefault(key, rule)
            owners.setdefault(key, source)
            if known.label == rule.label or rule.label == label_of(rule.value):
                continue
            if known.label == label_of(known.value):
                merged[key], owners[key] = Rule(known.value, rule.label), source
            else:
                tags = f"{shown(known.label)} and {shown(rule.label)}"
                complaints.append((source, f"has the tags {tags} for one rule, {shown(rule.value)}: keep one of them."))
    by_label: dict[str, Rule] = {}
    for key, rule in merged.items():
        other = by_label.setdefault(rule.label, rule)
        if other is not rule:
            pair = f"{shown(other.value)} and {shown(rule.value)}"
            complaints.append((owners[key], f"has the tag {shown(rule.label)} for two rules, {pair}: change one tag."))
    return tuple(merged.values()), tuple(complaints)


def as_json(rules: Iterable[Rule]) -> str:
    """Return *rules* as the JSON that `parse_rules` reads."""
    return json.dumps([{"value": rule.value, "tag": rule.label} for rule in rules], ensure_ascii=False)


def _json(text: str, complaint: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"{complaint}: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _key(rule: Rule) -> str:
    # X ignores case in a hashtag; in other rules case may matter, as in the operator OR.
    return folded(rule.value) if rule.value[:1] == "#" and is_hashtag(rule.value[1:]) else rule.value


def _rules(found: object, where: str) -> tuple[Rule, ...]:
    if not isinstance(found, list):
        raise Unfit(f'must be a list of rules{where}, such as [{{"value": "#python", "tag": "python"}}].')
    rules, rests = [], []
    for number, item in enumerate(found, start=1):
        try:
            rules.append(_rule(item))
        except Unfit as unfit:
            rests += [f"has a rule {number}{where} {rest}" for rest in unfit.rests]
    if rests:
        raise Unfit(*rests)
    return tuple(rules)


def _rule(item: object) -> Rule:
    if not isinstance(item, dict):
        raise Unfit('that is no {"value", "tag"}.')
    if unknown := sorted(str(key) for key in item.keys() - {"value", "tag"}):
        raise Unfit(f"with an unknown key, {shown(unknown[0])}: it takes value and tag.")
    value = _line(item.get("value"), "value", RULE_CHARACTERS_MAX)
    return Rule(value, label_of(value) if item.get("tag") is None else _line(item["tag"], "tag", LABEL_CHARACTERS_MAX))


def _line(found: object, key: str, characters_max: int) -> str:
    if not isinstance(found, str) or not found.strip():
        raise Unfit(f"without a {key}: give it a text.")
    line = found.strip()
    if len(line) > characters_max:
        raise Unfit(f"with a {key} of {len(line)} characters: it may have {characters_max}.")
    # Surrogates (Cs) cannot be sent; line ends and other controls (Cc) are not part of X's grammar.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in line):
        raise Unfit(f"with a control character in its {key}: write it in one line.")
    return line
