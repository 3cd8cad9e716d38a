"""
What does a rule say?  Text to tree, with the checks that X makes.

    rule  = and ("OR" and)*          a space binds tighter than OR
    and   = unary+
    unary = "-"? term | "(" rule ")"
    term  = keyword | "phrase" | "a b"~N | #tag | @user | $TAG | operator:value

A tree is made of `Term`, `Not`, `And` and `Or`.  Values are kept in the form in
which they are compared.  The wording of errors is X's where it is known: the
two about positive terms and the one about invalid operators.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from connector.simulator.rules import text as words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Product = Literal["stream", "search"]


class InvalidRule(Exception):
    """The rule is refused; `details` says why, one sentence each."""

    def __init__(self, details: list[str]) -> None:
        super().__init__("; ".join(details))
        self.details = details


@dataclass(frozen=True, slots=True)
class Term:
    """One operator and what it looks for; `number` is the N of `"a b"~N`."""

    operator: str
    value: str
    tokens: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    term: Node


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Node, ...]


Node = Term | Not | And | Or

LANGUAGE_CODES = frozenset(
    "am ar hy eu bn bg ca hr cs da nl en et fi fr de ka el gu iw hi hu in it ja kn ko"
    " lv lt ml mr no fa pl pt ro ru sr zh-CN sk sl es sv ta te th zh-TW tr uk ur vi"
    " bs my ht hi-Latn is km und".lower().split()
)
HAS = frozenset(
    "hashtags cashtags links mentions media images video_link geo".split()  # noqa: SIM905
)
IS = frozenset({"retweet", "reply", "quote", "verified", "nullcast"})
ALIASES = {
    "retweets_of_user": "retweets_of",
    "user_bio": "bio",
    "user_bio_name": "bio_name",
    "user_bio_location": "bio_location",
    "geo_bounding_box": "bounding_box",
    "statuses_count": "tweets_count",
    "friends_count": "following_count",
    "user_in_lists_count": "listed_count",
    "within_url_title": "url_title",
    "within_url_description": "url_description",
    "in_reply_to_status_id": "in_reply_to_tweet_id",
    "retweets_of_status_id": "retweets_of_tweet_id",
}
HAS_ALIASES = {"media_link": "media", "videos": "video_link"}
CONJUNCTION_REQUIRED = frozenset({"is", "has", "sample", "lang", "source"})
STREAM_ONLY = frozenset({"sample", "bio", "bio_name", "bio_location"})
MAX_DISTANCE = 6
MAX_MILES = 25.0
MAX_NESTING = 100

NO_POSITIVE = "Rules must contain a non-negation term (at position 1)"
NO_STANDALONE = "Rules must contain at least one positive, non-stopword clause (at position 1)"

_NUMBER = re.compile(r"\d+")
_RANGE = re.compile(r"\d+(\.\.\d+)?")
_USER = re.compile(r"\w+")
_CONTEXT = re.compile(r"(\d+\.(\d+|\*))|(\*\.\d+)")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_RADIUS = re.compile(r"\[(\S+) (\S+) (\d+(?:\.\d+)?)(mi|km)\]")
_BOX = re.compile(r"\[(\S+) (\S+) (\S+) (\S+)\]")
_KM_PER_MILE = 1.609344


def _anything(value: str) -> bool:
    return bool(value)


def _percent(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None and 1 <= int(value) <= 100  # noqa: PLR2004 - X's bounds


def _numbers(match: re.Match[str], count: int) -> list[float] | None:
    try:
        return [float(match[group]) for group in range(1, count + 1)]
    except ValueError:
        return None


def radius(value: str) -> tuple[float, float, float] | None:
    """Read `[longitude latitude radius]`; the radius comes back in miles."""
    match = _RADIUS.fullmatch(value)
    numbers = _numbers(match, 3) if match else None
    if match is None or numbers is None:
        return None
    longitude, latitude, distance = numbers
    miles = distance if match[4] == "mi" else distance / _KM_PER_MILE
    return longitude, latitude, miles


def box(value: str) -> tuple[float, float, float, float] | None:
    """Read `[west south east north]`."""
    match = _BOX.fullmatch(value)
    numbers = _numbers(match, 4) if match else None
    if numbers is None:
        return None
    west, south, east, north = numbers
    return west, south, east, north


def _small_radius(value: str) -> bool:
    circle = radius(value)
    return circle is not None and circle[2] < MAX_MILES


OPERATORS: dict[str, Callable[[str], object]] = {
    "from": _USER.fullmatch,
    "to": _USER.fullmatch,
    "retweets_of": _USER.fullmatch,
    "from_affiliate_of": _USER.fullmatch,
    "to_affiliate_of": _USER.fullmatch,
    "url": _anything,
    "url_contains": _anything,
    "url_title": _anything,
    "url_description": _anything,
    "context": _CONTEXT.fullmatch,
    "entity": _anything,
    "conversation_id": _NUMBER.fullmatch,
    "in_reply_to_tweet_id": _NUMBER.fullmatch,
    "retweets_of_tweet_id": _NUMBER.fullmatch,
    "bio": _anything,
    "bio_name": _anything,
    "bio_location": _anything,
    "place": _anything,
    "place_country": _COUNTRY.fullmatch,
    "point_radius": _small_radius,
    "bounding_box": box,
    "is": IS.__contains__,
    "has": HAS.__contains__,
    "lang": LANGUAGE_CODES.__contains__,
    "sample": _percent,
    "source": _anything,
    "followers_count": _RANGE.fullmatch,
    "following_count": _RANGE.fullmatch,
    "tweets_count": _RANGE.fullmatch,
    "listed_count": _RANGE.fullmatch,
    "min_followers": _NUMBER.fullmatch,
    "min_likes": _NUMBER.fullmatch,
    "min_replies": _NUMBER.fullmatch,
    "min_reposts": _NUMBER.fullmatch,
}
"""Operators with a name, and what their value must look like."""

# One lexeme: a sign, a quoted text with an optional distance, or a word.  A word
# may hold one quoted or bracketed value after its colon.
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
    """Recursive descent over the lexemes; errors carry the position, from 1."""

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
        # X refuses "--b" as a negation: two signs do not cancel out.
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
        value = self._normal(raw.removeprefix("@") if name in _USERS else raw)
        if name == "has":
            value = HAS_ALIASES.get(value, value)
        if not check(value):
            self._fail(f"invalid value '{raw}' for the operator '{name}'", at)
        return Term(name, value, words.tokens(value))


_USERS = frozenset({"from", "to", "retweets_of", "from_affiliate_of", "to_affiliate_of"})


def invalid_operator(name: str, at: int) -> str:
    """Return X's sentence about an operator it does not know, or not in this plan."""
    return (
        f"Reference to invalid operator '{name}'. Operator is not available in current"
        " product or product packaging. Please refer to complete available operator"
        f" list at https://docs.x.com/x-api/posts/operators. (at position {at})"
    )


def terms(node: Node, *, negated: bool = False) -> Iterator[tuple[Term, bool]]:
    """Yield each term with whether it is negated."""
    match node:
        case Term():
            yield node, negated
        case Not(term):
            yield from terms(term, negated=not negated)
        case And(parts) | Or(parts):
            for part in parts:
                yield from terms(part, negated=negated)


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
