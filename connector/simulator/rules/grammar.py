"""
The parser of rules: from a text to a tree, with the checks that X makes.

    rule  = and ("OR" and)*          a space binds tighter than OR
    and   = unary+
    unary = "-"? term | "(" rule ")"
    term  = keyword | "phrase" | "a b"~N | #tag | @user | $TAG | operator:value

Three errors have X's own words: the two about positive terms, and the one about invalid operators.  X's words for the
other errors are not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from connector.simulator.rules import text as words
from connector.simulator.rules.operators import (
    ALIASES,
    CONJUNCTION_REQUIRED,
    HAS_ALIASES,
    OPERATORS,
    STREAM_ONLY,
    USERS,
    invalid_operator,
)
from connector.simulator.rules.tree import And, Node, Not, Or, Term, terms

if TYPE_CHECKING:
    from collections.abc import Iterator

Product = Literal["stream", "search"]

MAX_DISTANCE = 6
MAX_NESTING = 100

NO_POSITIVE = "Rules must contain a non-negation term (at position 1)"
NO_STANDALONE = "Rules must contain at least one positive, non-stopword clause (at position 1)"


class InvalidRule(Exception):
    """X refuses the rule; each of `details` is a sentence that says why."""

    def __init__(self, details: list[str]) -> None:
        super().__init__("; ".join(details))
        self.details = details


# One lexeme: a sign, a quoted text with an optional distance, an operator with its value, or a word.
_LEXEME = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<sign>[()])
  | (?P<minus>-(?=\S))
  | "(?P<quoted>[^"]*)"(?:~(?P<distance>\d+))?
  | (?P<name>[A-Za-z_]+):(?:"(?P<text>[^"]*)"|(?P<bracket>\[[^\]]*\])|(?P<bare>[^\s()"]*))
  | (?P<word>[^\s()"]+)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Lexeme:
    kind: str
    at: int
    match: re.Match[str]


def _lexemes(value: str) -> Iterator[_Lexeme]:
    at = 0
    while at < len(value):
        match = _LEXEME.match(value, at)
        if match is None:
            raise InvalidRule([f"missing closing quote (at position {at + 1})"])
        if match["space"] is None:
            yield _Lexeme(_kind(match), at + 1, match)
        at = match.end()


def _kind(match: re.Match[str]) -> str:
    for name in ("sign", "minus", "quoted", "name"):
        if match[name] is not None:
            return match[name] if name == "sign" else name
    return "OR" if match["word"] == "OR" else "word"


class _Parser:
    """Recursive descent over the lexemes; errors name the position, from 1."""

    def __init__(self, value: str, *, product: Product) -> None:
        self._lexemes = list(_lexemes(value))
        self._next = 0
        self._depth = 0
        self._accents = product == "stream"
        self._product = product

    def rule(self) -> Node:
        node = self._or()
        if self._next < len(self._lexemes):
            self._fail("unexpected ')'", self._lexemes[self._next].at)
        return node

    def _peek(self) -> str:
        if self._next == len(self._lexemes):
            return "end"
        return self._lexemes[self._next].kind

    def _take(self) -> _Lexeme:
        self._next += 1
        return self._lexemes[self._next - 1]

    def _here(self) -> int:
        if self._next < len(self._lexemes):
            return self._lexemes[self._next].at
        return self._lexemes[-1].match.end() + 1 if self._lexemes else 1

    def _fail(self, reason: str, at: int) -> None:
        raise InvalidRule([f"{reason} (at position {at})"])

    def _or(self) -> Node:
        parts = [self._and()]
        while self._peek() == "OR":
            self._take()
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("OR", ")", "end"):
            parts.append(self._unary())
        if not parts:
            self._fail("missing clause", self._here())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _unary(self) -> Node:
        minuses = 0
        at = self._here()
        while self._peek() == "minus":
            self._take()
            minuses += 1
        if self._peek() == "(":
            if minuses:
                self._fail("a group cannot be negated", at)
            return self._group()
        if self._peek() in ("OR", ")", "end"):
            self._fail("missing clause", self._here())
        lexeme = self._take()
        term = self._term(lexeme)
        self._check_sign(term, negated=minuses > 0, at=lexeme.at)
        # "--b" is one negation, as for X: two minus signs do not cancel out.
        return Not(term) if minuses else term

    def _group(self) -> Node:
        opened = self._take().at
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._fail("too many nested groups", opened)
        node = self._or()
        if self._peek() != ")":
            self._fail("missing closing parenthesis", opened)
        self._take()
        self._depth -= 1
        return node

    def _check_sign(self, term: Term, *, negated: bool, at: int) -> None:
        if negated and term.operator == "sample":
            self._fail("The operator 'sample' cannot be negated", at)
        if not negated and (term.operator, term.value) == ("is", "nullcast"):
            self._fail("The operator 'is:nullcast' must be negated", at)

    def _normal(self, value: str) -> str:
        return words.normal(value, accents=self._accents)

    def _term(self, lexeme: _Lexeme) -> Term:
        match = lexeme.match
        if lexeme.kind == "quoted":
            return self._phrase(match["quoted"], match["distance"], lexeme.at)
        if lexeme.kind == "name":
            return self._operator(match, lexeme.at)
        return self._word(match["word"], lexeme.at)

    def _phrase(self, quoted: str, distance: str | None, at: int) -> Term:
        line = " ".join(self._normal(quoted).split())
        tokens = words.tokens(line)
        if not line:
            self._fail("empty phrase", at)
        if distance is None:
            return Term("phrase", line, tokens)
        if len(tokens) < 2 or int(distance) > MAX_DISTANCE:  # noqa: PLR2004 - a pair
            self._fail(f"invalid proximity '~{distance}'", at)
        return Term("near", line, tokens, int(distance))

    def _word(self, word: str, at: int) -> Term:
        value = self._normal(word)
        entity = {"#": "hashtag", "@": "mention", "$": "cashtag"}.get(word[0])
        if entity and words.tokens(value):
            return Term(entity, value[1:])
        tokens = words.tokens(value)
        if tokens:
            return Term("keyword", value, tokens)
        if word.isascii():
            self._fail(f"no searchable term in '{word}'", at)
        return Term("emoji", value)

    def _operator(self, match: re.Match[str], at: int) -> Term:
        name = match["name"].lower()
        name = ALIASES.get(name, name)
        check = OPERATORS.get(name)
        if check is None or (self._product == "search" and name in STREAM_ONLY):
            raise InvalidRule([invalid_operator(match["name"], at)])
        raw = match["text"] or match["bracket"] or match["bare"] or ""
        value = self._normal(raw.removeprefix("@") if name in USERS else raw)
        if name == "has":
            value = HAS_ALIASES.get(value, value)
        if not check(value):
            self._fail(f"invalid value '{raw}' for the operator '{name}'", at)
        return Term(name, value, words.tokens(value))


def parse(value: str, *, max_length: int = 1024, product: Product = "stream") -> Node:
    """
    Return the tree of a rule, or of a search query.

    Raises:
        InvalidRule: X would refuse it.
    """
    if len(value) > max_length:
        raise InvalidRule([f"Rule length {len(value)} exceeds the maximum of {max_length}"])
    node = _Parser(value, product=product).rule()
    positive = [term for term, negated in terms(node) if not negated]
    details = [] if positive else [NO_POSITIVE]
    if all(term.operator in CONJUNCTION_REQUIRED for term in positive):
        details.append(NO_STANDALONE)
    if details:
        raise InvalidRule(details)
    return node
