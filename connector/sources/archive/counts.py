"""
Asks X how many posts match our rules.

X counts the *distinct* posts that match one query.  So rules are joined, `((one) OR (two)) -is:retweet`, into as few
queries as their length allows.  Retweets are excluded because X treats them differently: a stream delivers them, but
since 2026-05-04 search and counts find none for a keyword or a hashtag (docs.x.com: changelog).
"""

import functools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from connector.errors import ConnectorError, RateLimited, RetriableError
from connector.records.post import MAX_DIGITS
from connector.records.snowflake import created_ms, from_iso, to_iso
from connector.sources.archive.queries import Unsearchable, queries_of, terms_of
from connector.sources.rest.api import Api
from connector.sources.rest.rules import Rule

COUNTS_PATH = "/2/tweets/counts/recent"

MINUTE_MS = 60_000

Step = Literal["minute", "hour", "day"]
STEP_MS: Mapping[Step, int] = {"minute": MINUTE_MS, "hour": 3_600_000, "day": 86_400_000}
"""The lengths of the spans that X counts posts in (`granularity`), in ms."""

REQUEST_MILLS = 5
"""The price of one request with pay-per-use, in thousandths of a dollar (docs.x.com: pricing)."""

ACTIVE_MS = 20_000
"""The longest time until a new rule acts on a stream, in ms; observed, not documented."""

TRIES = 5
"""The most tries of one request that fails with a `RetriableError`."""

RETRY_SECS = 1.0
"""The first wait after a broken answer, in seconds; doubled for each further try."""

RATE_SECS = 60.0
"""The first wait for a rate limit whose end X did not tell, in seconds; doubled for each further try."""

WINDOW_SECS = 900.0
"""The window of X's rate limits, in seconds; no wait for a limit is longer, even if X tells a later end."""

_FRAME = "({}) -is:retweet"
JOINT = " OR "

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountQuery:
    """A query for posts that match any of *rules*; all of *rules* act from *from_ms* on (UNIX ms, whole minute)."""

    text: str
    rules: tuple[Rule, ...]
    from_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncounted:
    """A rule that is in no query, and the reason."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """All rules: those that are in queries, and those that are left out."""

    queries: tuple[CountQuery, ...]
    left_out: tuple[Uncounted, ...]

    @property
    def are_distinct(self) -> bool:
        """Whether X's number counts each post once, and counts every post that the stream delivers."""
        rules = [rule for query in self.queries for rule in query.rules]
        return len(self.queries) == 1 and not self.left_out and all(excludes_retweets(rule.value) for rule in rules)


def pack(rules: Iterable[Rule], *, from_ms: int, to_ms: int, max_characters: int) -> Packed:
    """
    Put *rules* into few queries of at most *max_characters*: the longest first, each into the first query with room.

    Times are UNIX ms.  A rule that was made after *from_ms* is counted from the first whole minute in which it acts.
    So rules that begin in different minutes are in different queries.  A rule that does not act in a whole minute
    before *to_ms* is left out.
    """
    left_out: list[Uncounted] = []
    begins: dict[int, list[tuple[str, Rule]]] = defaultdict(list)
    for rule in rules:
        since_ms = max(from_ms, acts_from_ms(rule))
        if since_ms >= to_ms:
            left_out.append(
                Uncounted(rule=rule, reason=f"it is new: it acts in whole minutes from {to_iso(since_ms)} on")
            )
            continue
        try:
            begins[since_ms].append((_term_of(rule, max_characters), rule))
        except Unsearchable as error:
            left_out.append(Uncounted(rule=rule, reason=str(error)))
    queries = [
        CountQuery(
            text=_FRAME.format(JOINT.join(term for term, _ in bundle)),
            rules=tuple(rule for _, rule in bundle),
            from_ms=since_ms,
        )
        for since_ms, terms in sorted(begins.items())
        for bundle in bundles(terms, max_characters - len(_FRAME.format("")))
    ]
    return Packed(queries=tuple(queries), left_out=tuple(left_out))


def excludes_retweets(value: str) -> bool:
    """Whether the rule *value* surely matches no retweet, because `-is:retweet` applies to the whole rule."""
    return excludes(value, "is:retweet")


def excludes(value: str, operator: str) -> bool:
    """Whether the rule *value* surely matches nothing that *operator* does: its negation applies to the whole rule."""
    depth, found = 0, False
    try:
        terms = terms_of(value)
    except Unsearchable:
        return False
    for term in terms:
        depth += term.endswith("(") - (term == ")")
        if depth == 0 and term == "OR":
            return False
        found = found or (depth == 0 and term.lower() == f"-{operator}")
    return found


def count_page(
    api: Api, query: str, *, from_ms: int, to_ms: int, step: Step = "minute", token: str | None = None
) -> tuple[dict[int, int], str | None]:
    """
    Ask X how many posts match *query*; return one page of numbers by *step* (its begin in UNIX ms), and the next
    page's token.

    X charges for each call.  Executor thread.

    Raises:
        ConnectorError: as `Api.get`, or the form of the answer is not known.
    """
    page = {"query": query, "granularity": step, "start_time": _seconds(from_ms), "end_time": _seconds(to_ms)}
    answer = api.get(COUNTS_PATH, page | ({} if token is None else {"next_token": token}))
    counts: dict[int, int] = defaultdict(int)
    try:
        for entry in answer.get("data", []):
            at_ms = from_iso(entry["start"])
            counts[at_ms - at_ms % STEP_MS[step]] += _count(entry["tweet_count"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        # An answer that is read as "no posts" would prove something false.  X charges for each request, so no retry.
        raise ConnectorError(f"X answered the counts in a form that is not known: {error!r}") from None
    return dict(counts), _next_token(answer)


def _count(value: Any) -> int:
    count = int(value)
    if count < 0:
        raise ValueError(f"{count} posts")
    return count


def _next_token(answer: dict[str, Any]) -> str | None:
    meta = answer.get("meta")
    token = meta.get("next_token") if isinstance(meta, dict) else None
    return token if isinstance(token, str) and token else None


def _seconds(ms: int) -> str:
    return to_iso(ms).replace(".000Z", "Z")


def acts_from_ms(rule: Rule) -> int:
    """Return the first whole minute (UNIX ms) in which *rule* surely acts; the rule's id tells when it was made."""
    acts_ms = created_ms(int(rule.id)) + ACTIVE_MS if rule.id.isdecimal() and len(rule.id) <= MAX_DIGITS else 0
    return -(-acts_ms // MINUTE_MS) * MINUTE_MS


def _term_of(rule: Rule, max_characters: int) -> str:
    room = max_characters - len(_FRAME.format("()"))
    queries = queries_of(rule.value, room)
    if len(queries) > 1:
        raise Unsearchable(f"it is longer than one query of {room} characters, and the numbers of several overlap")
    return f"({queries[0]})"


def bundles(terms: Iterable[tuple[str, T]], room: int) -> list[list[tuple[str, T]]]:
    """Put *terms* into few bundles that, joined by OR, have at most *room* characters; a longer term stays alone."""
    found: list[list[tuple[str, T]]] = []
    for one in sorted(terms, key=lambda term: -len(term[0])):
        bundle = next((bundle for bundle in found if _length([*bundle, one]) <= room), None)
        if bundle is None:
            found.append([one])
        else:
            bundle.append(one)
    return found


def _length(bundle: Sequence[tuple[str, object]]) -> int:
    return sum(len(term) for term, _ in bundle) + len(JOINT) * (len(bundle) - 1)


class Patience:
    """
    Repeats a request after a `RetriableError`: when the rate limit ends, or a little after a broken answer.

    *say* is called with a sentence before each wait.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._say, self._sleep, self._clock = say, sleep, clock

    def ask(self, question: Callable[[], T]) -> T:
        """
        Return the answer to *question*.

        Raises:
            ConnectorError: the last try failed, or waiting does not help.
        """
        for tried in range(TRIES - 1):
            try:
                return question()
            except RetriableError as error:
                secs = self._secs(error, tried)
                self._say(f"{error}; the next try is in {secs:.0f} s")
                self._sleep(secs)
        return question()

    def _secs(self, error: RetriableError, tried: int) -> float:
        if not isinstance(error, RateLimited):
            return RETRY_SECS * float(1 << tried)
        secs = error.secs_left(self._clock())
        if secs is None:
            return RATE_SECS * float(1 << tried)
        # 1 s more, as X's clock has whole seconds; if the time that X told was too short once, wait longer
        return max(min(secs, WINDOW_SECS) + 1, RATE_SECS * float(1 << tried) / 2 if tried else 0)


class Counting:
    """Adds up X's counts over all pages; *requests* is the number of requests that X has answered."""

    def __init__(self, api: Api, patience: Patience) -> None:
        self._api, self._patience = api, patience
        self.requests = 0

    def by_minute(self, query: CountQuery, to_ms: int) -> Mapping[int, int]:
        """
        Return the number of posts by minute (UNIX ms), from `query.from_ms` up to *to_ms*, over all pages.

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """
        return self.by(query.text, from_ms=query.from_ms, to_ms=to_ms, step="minute")

    def total(self, query: str, from_ms: int, to_ms: int) -> int:
        """
        Return the number of posts that match *query* from *from_ms* up to *to_ms* (UNIX ms, whole minutes).

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """
        coarse: tuple[Step, ...] = ("day", "hour")  # few numbers on few pages
        step: Step = next((step for step in coarse if to_ms - from_ms > STEP_MS[step]), "minute")
        return sum(self.by(query, from_ms=from_ms, to_ms=to_ms, step=step).values())

    def by(self, query: str, *, from_ms: int, to_ms: int, step: Step) -> Mapping[int, int]:
        """
        Return the number of posts that match *query*, by the begin of each *step* (UNIX ms), over all pages.

        Raises:
            ConnectorError: X refuses, or cannot be reached.
        """
        counted: Counter[int] = Counter()
        token: str | None = None
        seen: set[str] = set()
        # each page has at least one step, so there cannot be more pages than steps
        while len(seen) <= (to_ms - from_ms) // STEP_MS[step]:
            page = functools.partial(count_page, self._api, query, from_ms=from_ms, to_ms=to_ms, step=step, token=token)
            counts, following = self._patience.ask(page)
            self.requests += 1
            counted.update(counts)
            if following is None:
                return counted
            if following in seen:
                break
            seen.add(following)
            token = following
        raise ConnectorError("X answers with one page of counts again and again, and each costs money")
