"""
How does a rule of the filtered stream become queries of search?

A query may be shorter than a rule: self-serve accounts have 512 characters for it, and 1,024 for a rule.  A rule that
is too long is split where that changes nothing, for OR is what the union of all answers does anyway:

    a b OR c OR (d OR e)          a b | c | d | e, and as many of them in one query as it holds
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
"""Parentheses in parentheses; deeper ones are not taken apart."""

MAX_QUOTED = 60
"""Characters of a part that go into a message."""

OR = " OR "

# A sign of its own is the parenthesis.  What is in quotes or brackets belongs to its term, as do minus signs.
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
    """Search cannot answer for this rule; the message is a sentence that says why."""


class _Indivisible(Exception):
    """No way to split *part* is known that leaves its meaning as it is."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


def queries_of(rule: str, max_characters: int) -> tuple[str, ...]:
    """
    Return queries of at most *max_characters* each that together find what *rule* matches; *rule* itself if it fits.

    They are as few as the longest-first packing finds, which is rarely one more than the fewest.

    Raises:
        Unsearchable: *rule* has an operator of the stream only, or is too long and cannot be split.
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
    Return the terms and the parentheses of *rule*, in order; minus signs belong to what they stand before.

    Raises:
        Unsearchable: *rule* has a quote without its end.
    """
    lexemes = list(_lexemes(rule))
    if rule[lexemes[-1].end() if lexemes else 0 :].strip():
        raise Unsearchable("The rule has a quote without its end")
    return [lexeme[0].strip() for lexeme in lexemes]


def _lexemes(rule: str) -> Iterator[re.Match[str]]:
    """Yield terms and parentheses, up to a quote without its end."""
    at = 0
    while lexeme := _LEXEME.match(rule, at):
        at = lexeme.end()
        yield lexeme


def _stream_only(rule: str) -> str:
    for lexeme in _lexemes(rule):
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
    """Return the terms and groups of each side of the outermost ORs; groups begin with their parenthesis."""
    text = text.rstrip()
    alternatives: list[list[str]] = [[]]
    at = depth = begin = 0
    while at < len(text):
        lexeme = _LEXEME.match(text, at)
        if lexeme is None:  # a quote without its end
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
    """Return what may stand between ORs instead of *units*, in parts of at most *limit*."""
    if len(units) == 1 and _is_group(units[0]):
        # parentheses between ORs mean nothing, and small parts are packed better
        return [part for inner in _alternatives(units[0][1:-1]) for part in _parts(inner, limit)]
    whole = " ".join(units)
    return [whole] if len(whole) <= limit else _distribute(units, limit)


def _distribute(units: list[str], limit: int) -> list[str]:
    """Split the AND of *units* by one of its groups: `(a OR b) c` is `(a) c OR (b) c`, whatever c is."""
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
    """Join *parts* by OR: the longest first, each into the first query that has room."""
    queries: list[str] = []
    for part in sorted(parts, key=len, reverse=True):
        for number, query in enumerate(queries):
            if len(query) + len(OR) + len(part) <= limit:
                queries[number] = query + OR + part
                break
        else:
            queries.append(part)
    return queries
