"""
Whether a post matches a rule, or which of many rules.

`Facts` has everything that a rule may ask about.  `RuleIndex` finds the rules of a post without trying every rule: a
rule is filed under keys, such as a token or an author, and every post that matches the rule has one of these keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from connector.simulator.rules import text as words
from connector.simulator.rules.operators import box, radius
from connector.simulator.rules.text import SearchableText
from connector.simulator.rules.tree import And, Node, Not, Or, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Key = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules may ask about a post; all strings are in normal form."""

    id: int
    texts: tuple[SearchableText, ...]
    """The text of the post and, on streams, the text of the quoted post."""
    hashtags: frozenset[str] = frozenset()
    mentions: frozenset[str] = frozenset()
    cashtags: frozenset[str] = frozenset()
    author: frozenset[str] = frozenset()
    """Id and name of the author; `to` and `retweets_of` have id and name, too."""
    to: frozenset[str] = frozenset()
    retweets_of: frozenset[str] = frozenset()
    retweets_of_id: str = ""
    in_reply_to_id: str = ""
    conversation_id: str = ""
    lang: str = "und"
    urls: tuple[str, ...] = ()
    url_titles: tuple[SearchableText, ...] = ()
    url_descriptions: tuple[SearchableText, ...] = ()
    kinds: frozenset[str] = frozenset()
    """The values of `is:` that match this post."""
    holds: frozenset[str] = frozenset()
    """The values of `has:` that match this post."""
    places: frozenset[str] = frozenset()
    country: str = ""
    point: Point | None = None
    contexts: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()
    bio: SearchableText = field(default_factory=lambda: SearchableText(tokens=(), line=""))
    bio_name: str = ""
    bio_location: str = ""
    source: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts by operator: followers_count, min_likes, ..."""

    def filing_keys(self) -> Iterable[Key]:
        """Yield all keys under which a matching rule may be filed."""
        for text in self.texts:
            for token in text.tokens:
                yield "token", token
        for kind, values in (
            ("hashtag", self.hashtags),
            ("mention", self.mentions),
            ("cashtag", self.cashtags),
            ("from", self.author),
            ("to", self.to),
            ("retweets_of", self.retweets_of),
        ):
            for value in values:
                yield kind, value
        yield "conversation_id", self.conversation_id
        yield "lang", self.lang


def _keyword(term: Term, facts: Facts) -> bool:
    if words.unspaced(term.value):
        return any(term.value in text.line for text in facts.texts)
    return any(words.has_run(text.tokens, term.tokens) for text in facts.texts)


def _phrase(term: Term, facts: Facts) -> bool:
    if words.unspaced(term.value):
        return any(term.value in text.line for text in facts.texts)
    return any(words.has_phrase(text.line, term.value) for text in facts.texts)


def _in_text(term: Term, texts: Iterable[SearchableText]) -> bool:
    return any(words.has_run(text.tokens, term.tokens) for text in texts)


def _url(term: Term, facts: Facts) -> bool:
    return any(words.has_run(words.tokens(url), term.tokens) for url in facts.urls)


def _context(term: Term, facts: Facts) -> bool:
    domain, _, entity = term.value.partition(".")
    return any(
        domain in ("*", have_domain) and entity in ("*", have_entity)
        for have_domain, _, have_entity in (c.partition(".") for c in facts.contexts)
    )


def _count(term: Term, facts: Facts) -> bool:
    low, _, high = term.value.partition("..")
    have = facts.counts.get(term.operator, 0)
    return have >= int(low) and (not high or have <= int(high))


_EARTH_RADIUS_MILES = 3958.8


def _miles(a: Point, b: Point) -> float:
    (lon_a, lat_a), (lon_b, lat_b) = (tuple(map(math.radians, p)) for p in (a, b))
    half = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * _EARTH_RADIUS_MILES * math.asin(math.sqrt(half))


def _geo(inside: bool, facts: Facts) -> bool:  # noqa: FBT001 - a computed condition
    # Geo operators never match retweets.
    return inside and "retweet" not in facts.kinds


def _radius(term: Term, facts: Facts) -> bool:
    circle = radius(term.value)
    if circle is None or facts.point is None:
        return False
    return _geo(_miles(circle[:2], facts.point) <= circle[2], facts)


def _box(term: Term, facts: Facts) -> bool:
    edges = box(term.value)
    if edges is None or facts.point is None:
        return False
    west, south, east, north = edges
    longitude, latitude = facts.point
    return _geo(west <= longitude <= east and south <= latitude <= north, facts)


def sampled(snowflake: int, percent: float) -> bool:
    """Tell whether an id is in a sample of *percent* of all ids; for an id the answer is always the same."""
    # The low bits of ids are nearly constant; Fibonacci hashing spreads them.
    return (snowflake * 0x9E3779B97F4A7C15 & (1 << 64) - 1) / 2**64 * 100 < percent


MATCHERS: Mapping[str, Callable[[Term, Facts], bool]] = {
    "keyword": _keyword,
    "emoji": lambda t, f: any(t.value in text.line for text in f.texts),
    "phrase": _phrase,
    "near": lambda t, f: any(words.near(text.tokens, t.tokens, t.number) for text in f.texts),
    "hashtag": lambda t, f: t.value in f.hashtags,
    "mention": lambda t, f: t.value in f.mentions,
    "cashtag": lambda t, f: t.value in f.cashtags,
    "from": lambda t, f: t.value in f.author,
    "to": lambda t, f: t.value in f.to,
    "retweets_of": lambda t, f: t.value in f.retweets_of,
    # Generated authors have no affiliation.
    "from_affiliate_of": lambda _t, _f: False,
    "to_affiliate_of": lambda _t, _f: False,
    "url": _url,
    "url_contains": lambda t, f: any(t.value in url for url in f.urls),
    "url_title": lambda t, f: _in_text(t, f.url_titles),
    "url_description": lambda t, f: _in_text(t, f.url_descriptions),
    "context": _context,
    "entity": lambda t, f: t.value in f.entities,
    "conversation_id": lambda t, f: t.value == f.conversation_id,
    "in_reply_to_tweet_id": lambda t, f: t.value == f.in_reply_to_id,
    "retweets_of_tweet_id": lambda t, f: t.value == f.retweets_of_id,
    "bio": lambda t, f: _in_text(t, (f.bio,)),
    "bio_name": lambda t, f: t.value in f.bio_name,
    "bio_location": lambda t, f: t.value in f.bio_location,
    "place": lambda t, f: _geo(t.value in f.places, f),
    "place_country": lambda t, f: _geo(t.value == f.country, f),
    "point_radius": _radius,
    "bounding_box": _box,
    "is": lambda t, f: t.value in f.kinds,
    "has": lambda t, f: t.value in f.holds,
    "lang": lambda t, f: t.value == f.lang,
    "sample": lambda t, f: sampled(f.id, int(t.value)),
    "source": lambda t, f: t.value == f.source,
    "followers_count": _count,
    "following_count": _count,
    "tweets_count": _count,
    "listed_count": _count,
    "min_followers": _count,
    "min_likes": _count,
    "min_replies": _count,
    "min_reposts": _count,
}


def matches(node: Node, facts: Facts) -> bool:
    """Tell whether a post matches a tree."""
    match node:
        case Term():
            return MATCHERS[node.operator](node, facts)
        case Not(term):
            return not matches(term, facts)
        case And(parts):
            return all(matches(part, facts) for part in parts)
        case Or(parts):
            return any(matches(part, facts) for part in parts)


_FILED = frozenset({"hashtag", "mention", "cashtag", "from", "to", "retweets_of", "conversation_id"})


def anchors(node: Node) -> frozenset[Key] | None:  # noqa: PLR0911 - one for each kind of node
    """
    Return keys of which every matching post has at least one; none if there are no such keys.

    Of a disjunction these are the keys of all parts.  Of a conjunction these are the keys of one part: the part with
    the fewest keys, but not the language, if another part has keys.
    """
    match node:
        case Term(operator="keyword" | "near") if not words.unspaced(node.value):
            return frozenset({("token", max(node.tokens, key=len))})
        case Term(operator="lang"):
            return frozenset({("lang", node.value)})
        case Term() if node.operator in _FILED:
            return frozenset({(node.operator, node.value)})
        case And(parts):
            known = [keys for part in parts if (keys := anchors(part)) is not None]
            return min(known, key=_breadth, default=None)
        case Or(parts):
            union: frozenset[Key] = frozenset()
            for part in parts:
                keys = anchors(part)
                if keys is None:
                    return None
                union |= keys
            return union
    return None


def _breadth(keys: frozenset[Key]) -> tuple[bool, int]:
    return any(kind == "lang" for kind, _ in keys), len(keys)


R = TypeVar("R")


class RuleIndex(Generic[R]):
    """Rules, filed under their anchors; `R` is the caller's type for a rule."""

    def __init__(self, rules: Iterable[tuple[R, Node]]) -> None:
        self._nodes = list(rules)
        self._filed: dict[Key, list[int]] = {}
        self._others: list[int] = []
        for number, (_, node) in enumerate(self._nodes):
            keys = anchors(node)
            if keys is None:
                self._others.append(number)
            else:
                for key in keys:
                    self._filed.setdefault(key, []).append(number)

    def match(self, facts: Facts) -> list[R]:
        """Return the rules that a post matches, in the order of the constructor's argument."""
        candidates = set(self._others)
        for key in facts.filing_keys():
            candidates.update(self._filed.get(key, ()))
        return [self._nodes[number][0] for number in sorted(candidates) if matches(self._nodes[number][1], facts)]
