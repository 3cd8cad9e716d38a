"""
How many posts do rules bring, and what do they cost?  By X's counts, also for rules that X does not hold.

    rules ─▶ Questions: each rule, all together ─▶ X's counts ─▶ Estimate: posts of each rule, of all together

X bills a post once, however many rules it matches.  So the rules are also counted together, joined by OR: X then counts
each post once.  If that is too long for one query, it is split into parts, and the posts that two parts have in common
are counted: `(one part) (another)`.  What all parts have together then lies between two bounds.

A rule with `sample:10` is counted without it, and brings a tenth; so do the posts that it has in common with others.

Counts are not the stream: they have no retweets for keywords and hashtags, and match a quote by its own text alone
(docs.x.com: changelog, recovery-and-redundancy).  Each rule says what it `misses`.  All but `ask` is pure.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from connector.config.rules import Rule
from connector.coverage.spend import DAY_MS, MILLS
from connector.sources.archive.counts import JOINT, REQUEST_MILLS, Counting, bundles, excludes
from connector.sources.archive.queries import Unsearchable, lexemes_of, queries_of, terms_of

PAIRS_MAX = 45
"""The most pairs of parts that are counted, as each costs a request; more parts have wider bounds."""

MONTH_DAYS = 30

RETWEETS, QUOTES = "retweets", "quotes"

_PAIR = "({}) ({})"
_SAMPLE = re.compile(r"sample:(\d{1,3})", re.IGNORECASE)
_OPERATOR = re.compile(r"([A-Za-z_]+):")
_OF_CONTENT = frozenset({"url", "url_contains", "url_title", "url_description", "has"})
"""Operators that a stream also applies to the quoted post."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number of posts between *low* and *high*, both included."""

    low: int
    high: int

    @property
    def are_exact(self) -> bool:
        """Whether the number is known."""
        return self.low == self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Countable:
    """
    A rule that X can count, by the *queries* that together find its posts; *misses* names what they do not find.

    It brings *percent* of the posts that are found.
    """

    rule: Rule
    queries: tuple[str, ...]
    misses: tuple[str, ...]
    percent: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the rules together: a *query*, and the *percent* of its posts that they bring."""

    query: str
    percent: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCounted:
    """A rule that search and counts cannot express, and why."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What has to be counted: the *rules*, the *parts* of all together, and the common posts of *pairs* of parts."""

    rules: tuple[Countable, ...]
    left_out: tuple[NotCounted, ...]
    parts: tuple[Part, ...]
    pairs: Mapping[tuple[int, int], str]

    @property
    def queries(self) -> tuple[str, ...]:
        """All queries, each once."""
        single = (query for rule in self.rules for query in rule.queries)
        return tuple(dict.fromkeys([*single, *(part.query for part in self.parts), *self.pairs.values()]))

    @property
    def cost_mills(self) -> int:
        """The price of all queries with pay-per-use, in thousandths of a dollar; a further page costs one more."""
        return len(self.queries) * REQUEST_MILLS


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEstimate:
    """The posts of one rule in the time that was counted; *misses* as in `Countable`."""

    rule: Rule
    posts: Bounds
    misses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """
    The posts in the time that was counted: of each rule, and of all *together*, where each post counts once.

    *days* is the length of that time, *mills_each* the price of a post in thousandths of a dollar.
    """

    rules: tuple[RuleEstimate, ...]
    left_out: tuple[NotCounted, ...]
    together: Bounds
    days: float
    mills_each: int

    @property
    def overlap(self) -> Bounds:
        """How many posts the rules have in common: what their sum counts too often."""
        low, high = (sum(getattr(rule.posts, end) for rule in self.rules) for end in ("low", "high"))
        return Bounds(max(low - self.together.high, 0), max(high - self.together.low, 0))

    @property
    def misses(self) -> tuple[str, ...]:
        """What X does not count of at least one rule, and a stream delivers."""
        return tuple(dict.fromkeys(missed for rule in self.rules for missed in rule.misses))

    def posts_a_day(self, posts: int) -> float:
        """Return *posts* of the time that was counted as posts a day."""
        return posts / self.days

    def usd_a_day(self, posts: int) -> float:
        """Return the price of *posts* of the time that was counted, in dollars a day."""
        return self.posts_a_day(posts) * self.mills_each / MILLS

    def usd_a_month(self, posts: int) -> float:
        """As `usd_a_day`, for 30 days."""
        return self.usd_a_day(posts) * MONTH_DAYS


def questions(rules: Iterable[Rule], max_characters: int) -> Questions:
    """Return what to count for *rules*, in queries of at most *max_characters*."""
    countable: list[Countable] = []
    left_out: list[NotCounted] = []
    for rule in dict.fromkeys(rules):
        try:
            value, percent = _unsampled(rule.value)
            queries, misses = queries_of(value, max_characters), _misses(value)
        except Unsearchable as error:
            left_out.append(NotCounted(rule=rule, reason=str(error)))
        else:
            countable.append(Countable(rule=rule, queries=queries, misses=misses, percent=percent))
    parts, pairs = _together(countable, max_characters)
    return Questions(rules=tuple(countable), left_out=tuple(left_out), parts=parts, pairs=pairs)


def estimate(asked: Questions, posts: Mapping[str, int], *, days: float, mills_each: int) -> Estimate:
    """Return the estimate by what X has counted: the number of *posts* of each query of *asked*."""
    rules = tuple(
        RuleEstimate(
            rule=each.rule,
            posts=_of_queries([round(posts[query] * each.percent / 100) for query in each.queries]),
            misses=each.misses,
        )
        for each in asked.rules
    )
    shares = [part.percent / 100 for part in asked.parts]
    together = union(
        [round(posts[part.query] * share) for part, share in zip(asked.parts, shares, strict=True)],
        {(i, j): round(posts[query] * shares[i] * shares[j]) for (i, j), query in asked.pairs.items()},
    )
    at_least = max((rule.posts.low for rule in rules), default=0)
    together = Bounds(max(together.low, at_least), max(together.high, at_least))
    return Estimate(rules=rules, left_out=asked.left_out, together=together, days=days, mills_each=mills_each)


def with_uncounted(counted: Estimate, percent: float) -> Estimate:
    """Return *counted* with *percent* more posts of each rule that misses some, and as many more in all together."""
    rules = tuple(replace(rule, posts=_more(rule.posts, percent if rule.misses else 0, 100)) for rule in counted.rules)
    sums = [sum(rule.posts.high for rule in counted.rules if rule.misses or every) for every in (False, True)]
    return replace(counted, rules=rules, together=_more(counted.together, percent * sums[0], 100 * max(sums[1], 1)))


def _more(posts: Bounds, part: float, of: float) -> Bounds:
    return Bounds(round(posts.low * (1 + part / of)), round(posts.high * (1 + part / of)))


def ask(
    counting: Counting,
    asked: Questions,
    *,
    from_ms: int,
    to_ms: int,
    mills_each: int,
    answered: Callable[[], None] = lambda: None,
) -> Estimate:
    """
    Let X count, from *from_ms* up to *to_ms* (UNIX ms, whole minutes); *answered* is called after each query.

    Executor thread.

    Raises:
        ConnectorError: X refuses, or cannot be reached.
    """
    posts = {}
    for query in asked.queries:
        posts[query] = counting.total(query, from_ms, to_ms)
        answered()
    return estimate(asked, posts, days=(to_ms - from_ms) / DAY_MS, mills_each=mills_each)


def union(parts: Sequence[int], common: Mapping[tuple[int, int], int]) -> Bounds:
    """
    Return how many posts *parts* have together, by their numbers and what pairs of parts have in *common*.

    A pair that is not in *common* may have anything in common.
    """
    if not parts:
        return Bounds(0, 0)
    known = {pair: min(number, parts[pair[0]], parts[pair[1]]) for pair, number in common.items()}
    every = [*combinations(range(len(parts)), 2)]
    most = sum(known.get((i, j), min(parts[i], parts[j])) for i, j in every)
    high = sum(parts) - _spanning(len(parts), known)
    low = min(max(*parts, _at_least(sum(parts), most)), high) if len(parts) > 1 else high
    return Bounds(low, high)


def _at_least(singles: int, pairs: int) -> int:
    """Return the least size of a union whose parts have *singles* posts, and in pairs *pairs* (Dawson and Sankoff)."""
    if not singles:
        return 0
    times = 1 + 2 * pairs // singles
    return -(-(2 * times * singles - 2 * pairs) // (times * (times + 1)))


def _spanning(parts: int, common: Mapping[tuple[int, int], int]) -> int:
    """Return the most posts that are surely counted twice: those of a maximal spanning tree (Hunter and Worsley)."""
    joined, total = {0}, 0
    while len(joined) < parts:
        number, part = max(
            (common.get((min(i, j), max(i, j)), 0), j) for i in joined for j in range(parts) if j not in joined
        )
        joined.add(part)
        total += number
    return total


def _of_queries(posts: Sequence[int]) -> Bounds:
    return Bounds(max(posts), sum(posts))


def _together(rules: Iterable[Countable], limit: int) -> tuple[tuple[Part, ...], Mapping[tuple[int, int], str]]:
    """Return the parts of *rules* that are counted together, and the queries for what pairs of parts have in common."""
    kinds: dict[tuple[int, bool], dict[str, str]] = {}
    for rule in rules:
        for query in rule.queries:
            # a keyword lets a whole query find no retweets, so it joins its like only
            kinds.setdefault((rule.percent, _has_keyword(query)), {})[f"({query})"] = query
    whole = _parts(kinds, limit)
    if len(whole) <= 1:
        return tuple(whole), {}
    halves = _parts(kinds, (limit - len(_PAIR.format("", ""))) // 2)
    if len(halves) * (len(halves) - 1) // 2 > PAIRS_MAX:
        return tuple(whole), {}
    numbers = combinations(range(len(halves)), 2)
    pairs = {(i, j): _PAIR.format(halves[i].query, halves[j].query) for i, j in numbers}
    return tuple(halves), {pair: query for pair, query in pairs.items() if len(query) <= limit}


def _parts(kinds: Mapping[tuple[int, bool], Mapping[str, str]], room: int) -> list[Part]:
    return [
        Part(
            query=bundle[0][1] if len(bundle) == 1 else JOINT.join(term for term, _ in bundle),
            percent=percent,
        )
        for (percent, _), terms in kinds.items()
        for bundle in bundles(terms.items(), room)
    ]


def _unsampled(value: str) -> tuple[str, int]:
    """Return the rule *value* without `sample:`, and the percentage of its posts that it brings."""
    depth, found = 0, []
    for lexeme in lexemes_of(value):
        depth += bool(lexeme["open"]) - bool(lexeme["close"])
        if depth == 0 and lexeme[0].strip() == "OR":  # X takes it for the whole rule if the rest is in parentheses
            return value, 100
        if depth == 0 and (sample := _SAMPLE.fullmatch(lexeme[0].strip())):
            found.append((lexeme, int(sample[1])))
    if len(found) != 1 or not 1 <= found[0][1] <= 100:  # noqa: PLR2004  # percent
        return value, 100
    ((lexeme, percent),) = found
    return (value[: lexeme.start()] + value[lexeme.end() :]).strip(), percent


def _misses(value: str) -> tuple[str, ...]:
    """
    Return what counts do not find of the rule *value*, and a stream delivers.

    Raises:
        Unsearchable: *value* has a quote that is not closed.
    """
    of_content = any(_is_of_content(term) for term in terms_of(value))
    missed = []
    if _has_keyword(value) and not excludes(value, "is:retweet"):
        missed.append(RETWEETS)
    if of_content and not excludes(value, "is:quote"):
        missed.append(QUOTES)
    return tuple(missed)


def _has_keyword(value: str) -> bool:
    return any(_is_keyword(term) for term in terms_of(value))


def _is_keyword(term: str) -> bool:
    """Whether *term* is a word, phrase, hashtag or cashtag, negated or not."""
    word = term.lstrip("-")
    return word not in {"(", ")", "OR"} and not word.startswith("@") and not _OPERATOR.match(word)


def _is_of_content(term: str) -> bool:
    word = term.lstrip("-")
    operator = _OPERATOR.match(word)
    return _is_keyword(term) or word.startswith("@") or (operator is not None and operator[1].lower() in _OF_CONTENT)
