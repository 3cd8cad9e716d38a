"""
Turns a rule of the filtered stream into queries of search.

X allows longer rules than queries: self-serve accounts have 1,024 characters for a rule and 512 for a query.  A rule
that is too long is split at its ORs.  The answers to all queries together are then the posts that the rule matches:

    a b OR c OR (d OR e)          a b | c | d | e, several of them in one query if they fit
    (a OR b) lang:en -is:reply    (a) lang:en -is:reply | (b) lang:en -is:reply

AND is a space and binds tighter than OR (docs.x.com: build-a-rule).  Pure.
"""

import re
from collections.abc import Iterator, Mapping

STREAM_ONLY = frozenset(
    {
        "sample",
        "bio",
        "user_bio",
        "bio_name",
        "user_bio_name",
        "bio_location",
        "user_bio_location",
        "embedding",
        "embedding_threshold",
    }
)
"""Operators that search does not have (docs.x.com: recovery-and-redundancy, operators)."""

QUERY_CHARACTERS: Mapping[str, int] = {"pay_per_use": 512, "enterprise": 4096}
"""The longest query of recent search and of recent counts, by plan (docs.x.com: rate-limits, search)."""

MAX_NESTING = 100
"""The most levels of parentheses; a rule with more is not split."""

MAX_QUOTED = 60
"""The most characters of a part that a message quotes."""

OR = " OR "

# One lexeme: a parenthesis, or a term with its minus signs and with all that is in its quotes or brackets.
_LEXEME = re.compile(
    r"""\s*(?:
        (?P<open>-*\()
      | (?P<close>\))
      | -*(?:"[^"]*"(?:~\d+)?
          | (?P<operator>[A-Za-z_]+):(?:"[^"]*"|\[[^\]]*\]|[^\s()"]*)
          | [^\s()"]+)
    )""",
    re.VERBOSE,
)


class Unsearchable(Exception):
    """Search cannot find the posts of a rule; the message is a sentence that says why."""


class _Indivisible(Exception):
    """This module cannot split *part* without changing its meaning."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


def queries_of(rule: str, max_characters: int) -> tuple[str, ...]:
    """
    Return queries of at most *max_characters* that together find what *rule* matches; *rule* itself if it is short.

    The parts of *rule* are packed into queries, the longest first; rarely this makes one query more than necessary.

    Raises:
        Unsearchable: *rule* has an operator that search does not have, or is too long and cannot be split.
    """
    if name := _stream_only(rule):
        raise Unsearchable(f"Search does not have the operator {name}: of the filtered stream")
    try:
        return tuple(_split(rule, max_characters))
    except _Indivisible as error:
        part = error.part if len(error.part) <= MAX_QUOTED else error.part[: MAX_QUOTED - 1] + "…"
        raise Unsearchable(
            f"The rule has {len(rule)} characters, a query may have {max_characters}, and a part of "
            f"{len(error.part)} characters cannot be split: {part}"
        ) from None


def terms_of(rule: str) -> list[str]:
    """
    Return the terms and the parentheses of *rule*, in order, each with the minus signs before it.

    Raises:
        Unsearchable: *rule* has a quote that is not closed.
    """
    lexemes = list(lexemes_of(rule))
    if rule[lexemes[-1].end() if lexemes else 0 :].strip():
        raise Unsearchable("The rule has a quote without its end")
    return [lexeme[0].strip() for lexeme in lexemes]


def lexemes_of(rule: str) -> Iterator[re.Match[str]]:
    """Yield the terms and parentheses of *rule*, up to a quote that is not closed."""
    at = 0
    while lexeme := _LEXEME.match(rule, at):
        at = lexeme.end()
        yield lexeme


def _stream_only(rule: str) -> str:
    for lexeme in lexemes_of(rule):
        name = lexeme["operator"] or ""
        if name.lower() in STREAM_ONLY:
            return name
    return ""


def _split(text: str, limit: int) -> list[str]:
    if len(text) <= limit:
        return [text]
    alternatives = _alternatives(text)
    if len(alternatives) == 1:
        return _distribute(alternatives[0], limit)
    return _pack([part for units in alternatives for part in _parts(units, limit)], limit)


def _alternatives(text: str) -> list[list[str]]:
    """Split *text* at its outermost ORs; return the terms and groups of each part.  A group begins with `(` or `-(`."""
    text = text.rstrip()
    alternatives: list[list[str]] = [[]]
    at = depth = begin = 0
    while at < len(text):
        lexeme = _LEXEME.match(text, at)
        if lexeme is None:  # a quote that is not closed
            raise _Indivisible(text)
        at = lexeme.end()
        if not depth:
            begin = at - len(lexeme[0].lstrip())
        depth += bool(lexeme["open"]) - bool(lexeme["close"])
        if not 0 <= depth <= MAX_NESTING:
            raise _Indivisible(text)
        if depth:
            continue
        if (unit := text[begin:at]) == "OR":
            alternatives.append([])
        else:
            alternatives[-1].append(unit)
    if depth or not all(alternatives):
        raise _Indivisible(text)
    return alternatives


def _parts(units: list[str], limit: int) -> list[str]:
    """Return parts of at most *limit* characters that, joined by OR, mean the same as *units*."""
    if len(units) == 1 and _is_group(units[0]):
        # parentheses around a whole side of an OR change nothing, and small parts are packed better
        return [part for inner in _alternatives(units[0][1:-1]) for part in _parts(inner, limit)]
    whole = " ".join(units)
    return [whole] if len(whole) <= limit else _distribute(units, limit)


def _distribute(units: list[str], limit: int) -> list[str]:
    """Split the AND of *units* by one of its groups: `(a OR b) c` becomes `(a) c` and `(b) c`, for any c."""
    if len(units) == 1 and _is_group(units[0]):
        return _split(units[0][1:-1].strip(), limit)
    found: list[list[str]] = []
    for place, unit in enumerate(units):
        if not _is_group(unit):
            continue
        before, after = " ".join([*units[:place], "("]), " ".join([")", *units[place + 1 :]])
        try:
            inside = _split(unit[1:-1].strip(), limit - len(before) - len(after))
        except _Indivisible:
            continue
        found.append([before + part + after for part in inside])
    if not found:
        raise _Indivisible(" ".join(units))
    return min(found, key=len)


def _is_group(unit: str) -> bool:
    return unit.startswith("(")


def _pack(parts: list[str], limit: int) -> list[str]:
    """Join *parts* by OR into queries: the longest first, each into the first query that has room."""
    queries: list[str] = []
    for part in sorted(parts, key=len, reverse=True):
        for number, query in enumerate(queries):
            if len(query) + len(OR) + len(part) <= limit:
                queries[number] = query + OR + part
                break
        else:
            queries.append(part)
    return queries
