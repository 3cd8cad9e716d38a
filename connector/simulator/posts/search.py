"""Recent search, archive search and counts over the posts in the store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.simulator.clock import Clock, parse_time, rfc3339_second
from connector.simulator.http.problems import Refused, bad_value, invalid_parameter
from connector.simulator.posts.post import Object, Post, facts
from connector.simulator.posts.rendering import Selection, Spelling, respell, select, selection
from connector.simulator.rules.grammar import InvalidRule, parse
from connector.simulator.rules.matching import matches
from connector.simulator.rules.tree import Node, terms
from connector.simulator.snowflakes import first_id
from connector.simulator.tokens import decode_page, encode_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connector.simulator.http.wire import Request
    from connector.simulator.meter import Meter
    from connector.simulator.posts.store import PostStore
    from connector.simulator.settings import SimulatorSettings

PAGE_TOKEN_LENGTH = 45
DAYS = 7
GRANULARITIES: Mapping[str, int] = {"minute": 60, "hour": 3600, "day": 86400}
EXCLUSIVE = (("start_time", "since_id"), ("end_time", "until_id"), ("next_token", "pagination_token"))
KEYWORDS = frozenset({"keyword", "phrase", "near", "emoji", "hashtag", "cashtag"})
"""Since 2026-05-04 queries with one of these operators find no retweets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked request: the tree of its query, and its posts, from id `low` to before id `high`."""

    node: Node
    low: int
    high: int
    begin: float
    end: float
    retweets: bool


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.param(name)
    if text is None:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise bad_value(name, text, f"is not between {low} and {high}")
    return int(text)


class Search:
    """
    Answers searches and counts.

    Search finds a post only when the post is `search_freshness_s` old.  A client that asks earlier gets an incomplete
    answer, as from X.
    """

    def __init__(self, settings: SimulatorSettings, *, clock: Clock, store: PostStore, meter: Meter) -> None:
        self._settings = settings
        self._clock = clock
        self._store = store
        self._meter = meter
        self._spelling = Spelling(
            shuffled=settings.key_order == "shuffled",
            astral_escaped=settings.astral == "escaped",
            seed=settings.seed,
        )

    def find(self, request: Request, *, archive: bool) -> tuple[bytes, list[int], int]:
        """
        Return a page, the ids of its posts, and the number of users to bill.

        Raises:
            Refused: a parameter is wrong.
        """
        chosen = selection(request.query, stream=False)
        query = self._query(request, archive=archive)
        size = _number(request, "max_results", 10, 10, 500 if archive else 100)
        scope = _scope(request)
        high = query.high
        for name in ("next_token", "pagination_token"):
            token = request.param(name)
            if token is not None:
                last = decode_page(token, scope, length=PAGE_TOKEN_LENGTH)
                if last is None:
                    raise bad_value(name, token, "is not valid")
                high = min(high, last)
        found: list[Post] = []
        more = False
        for post in self._matching(query, high):
            if len(found) == size:
                more = True
                break
            found.append(post)
        page = self._page(found, chosen)
        meta: Object = {"result_count": len(found)}
        if found:
            meta = {"newest_id": str(found[0].id), "oldest_id": str(found[-1].id), **meta}
        if more:
            meta["next_token"] = encode_page(found[-1].id, scope, length=PAGE_TOKEN_LENGTH)
        page["meta"] = meta
        users = len(found) if chosen.bills_users else 0
        answer = respell(page) if chosen.post_spelling else page
        return self._spelling.encode(answer), [post.id for post in found], users

    def count(self, request: Request, *, archive: bool) -> Object:
        """
        Return the number of posts per minute, hour or day.

        Raises:
            Refused: a parameter is wrong.
        """
        granularity = request.param("granularity") or "hour"
        if granularity not in GRANULARITIES:
            raise bad_value("granularity", granularity, "is not one of [minute,hour,day]")
        query = self._query(request, archive=archive)
        step = GRANULARITIES[granularity]
        edges = _edges(query.begin, query.end, step)
        totals = [0] * (len(edges) - 1)
        first = math.floor(query.begin / step)
        for post in self._matching(query, query.high):
            slot = math.floor(post.time_ms / 1000 / step) - first
            totals[slot] += 1
        buckets = [
            {"end": rfc3339_second(end), "start": rfc3339_second(begin), "tweet_count": count}
            for begin, end, count in zip(edges, edges[1:], totals, strict=False)
        ]
        return {"data": buckets, "meta": {"total_tweet_count": sum(totals)}}

    def _matching(self, query: Query, high: int) -> Iterator[Post]:
        switch = self._settings.keyword_matches_hashtag
        for post in self._store.newest_first(query.low, high):
            if post.is_retweet and not query.retweets:
                continue
            if matches(query.node, facts(post, product="search", keyword_matches_hashtag=switch)):
                yield post

    def _query(self, request: Request, *, archive: bool) -> Query:
        for one, other in EXCLUSIVE:
            if request.param(one) is not None and request.param(other) is not None:
                raise bad_value(one, request.param(one) or "", f"cannot be combined with `{other}`")
        text = request.param("query")
        if not text:
            raise Refused(invalid_parameter("query", [], "The `query` query parameter can not be empty"))
        node = self._parse(text, archive=archive)
        now = self._clock.now()
        fresh = now - self._settings.search_freshness_s
        oldest = now - DAYS * 86400
        begin = self._time(request, "start_time", oldest)
        end = self._time(request, "end_time", fresh)
        if begin < oldest - 60 and not archive:
            raise bad_value("start_time", request.param("start_time") or "", "must be within the last 7 days")
        if begin > end and request.param("start_time") is not None:
            raise bad_value("start_time", request.param("start_time") or "", "must be before `end_time`")
        low = max(first_id(math.ceil(begin * 1000)), self._id(request, "since_id", -1) + 1)
        high = min(first_id(math.ceil(min(end, fresh) * 1000)), self._id(request, "until_id", 1 << 63))
        keyword = any(term.operator in KEYWORDS for term, _ in terms(node))
        return Query(
            node=node,
            low=low,
            high=high,
            begin=begin,
            end=end,
            retweets=self._settings.search_retweets or not keyword,
        )

    def _parse(self, text: str, *, archive: bool) -> Node:
        profile = self._settings.profile
        limit = profile.archive_query_length if archive else profile.search_query_length
        if len(text) > limit:
            raise bad_value("query", text, f"is longer than {limit} characters")
        try:
            return parse(text, max_length=limit, product="search")
        except InvalidRule as error:
            message = f"There were errors processing your request: {', '.join(error.details)}"
            raise Refused(invalid_parameter("query", [text], message)) from None

    def _time(self, request: Request, name: str, default: float) -> float:
        text = request.param(name)
        if text is None:
            return default
        try:
            return parse_time(text)
        except ValueError:
            raise bad_value(name, text, "is not a valid RFC3339 date-time") from None

    def _id(self, request: Request, name: str, default: int) -> int:
        text = request.param(name)
        if text is None:
            return default
        if not text.isdecimal() or len(text) > 19:  # noqa: PLR2004 - ^[0-9]{1,19}$
            raise bad_value(name, text, "is not a valid post id")
        return int(text)

    def _page(self, found: list[Post], chosen: Selection) -> Object:
        data: list[Object] = []
        includes: dict[str, dict[str, Object]] = {}
        ids = {str(post.id) for post in found}
        for post in found:
            main, others = select(post, chosen)
            data.append(self._spelling.order(main, post.id))
            # REST includes a post only if the page does not have it already.
            others["tweets"] = [t for t in others.get("tweets", []) if t["id"] not in ids]
            for kind, objects in others.items():
                for inner in objects:
                    key = inner.get("id") or inner["media_key"]
                    includes.setdefault(kind, {})[key] = inner
        page: Object = {"data": data} if data else {}
        if includes:
            page["includes"] = {kind: list(objects.values()) for kind, objects in includes.items()}
        return page


def _scope(request: Request) -> str:
    """Return the parameters that a page token belongs to: all but the page and its size."""
    names = ("query", "start_time", "end_time", "since_id", "until_id")
    return "\n".join(f"{name}={request.param(name)}" for name in names)


def _edges(begin: float, end: float, step: int) -> list[float]:
    """Return the limits of the buckets; the first and the last bucket may be short."""
    inner = range((math.floor(begin / step) + 1) * step, math.ceil(end), step)
    return [begin, *map(float, inner), end]
