"""
Finds by recent search, rule by rule, the posts that the filtered stream would have delivered in a gap.

    rule ─▶ queries ─▶ pages, newest first ─┐
    rule ─▶ queries ─▶ pages, newest first ─┼─▶ merged by id, newest first ─▶ lines as of the stream
    rule ─▶ queries ─▶ pages, newest first ─┘

A stream sends a post once, with all rules that match it; search answers for one rule at a time.  So the answers are
merged: each query holds one page, and gets its next page before any post older than the page is returned.

X's answers can break X's own rules.  They are handled so:

* A page that is out of order is sorted; an id that is on it twice counts once.
* Posts outside the requested range are dropped, though X bills them.
* A post that comes on a later page than it should is returned at the head of the next piece, unless it was returned
  before.
* A page without a new post is barren, even if it has a token.  Other pages may follow, as X removes deleted posts after
  it has made a page; but tokens may also repeat.  So the query ends after some barren pages in a row, and its rule
  counts as lost, because nobody knows which posts are missing.
* If X refuses a token, the query goes on without it, from `until_id`.

Search differs from the stream: search ignores accents, does not match quoted posts, and since 2026-05-04 finds no
retweets by a keyword (docs.x.com: recovery-and-redundancy, changelog).
"""

import heapq
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from connector.errors import InvalidRequest, RateLimited, ServiceUnavailable
from connector.records.record import HeldRule
from connector.sources.archive.queries import Unsearchable, queries_of
from connector.sources.rest.api import Api
from connector.sources.rest.rules import Rule

SEARCH_PATH = "/2/tweets/search/recent"

POSTS_PER_PAGE = 100
"""The most posts on one page (OpenAPI 2.167)."""

POSTS_PER_PIECE = 100

BARREN_PAGES = 5
"""A query ends after so many pages in a row without a new post."""

REMEMBERED_POSTS = 1_000
"""How many of the last returned posts are remembered, to tell a late post from a repeated one."""

MAX_DIGITS = 19
"""The most digits of an id (OpenAPI 2.167: ^[0-9]{1,19}$)."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Some posts that search has found, and what they cost."""

    lines: tuple[bytes, ...]
    """Newest first, in the form of the stream's lines, without line end."""
    down_to_id: int
    """All posts of the gap that search has, from this id upwards, are in this piece or earlier ones."""
    fetched: tuple[int, ...]
    """The ids that X has sent, and bills, since the last piece; an id that several queries found is repeated."""
    requests: int
    """How many requests were sent to X since the last piece."""


@dataclass(slots=True, kw_only=True)
class _Query:
    """One query and its position."""

    text: str
    rule: int
    until_id: int
    """The pages begin below this id; a token is valid only with the same id."""
    oldest: int
    """The oldest id of the last page that had a post."""
    token: str = ""
    is_over: bool = False
    barren: int = 0
    """How many pages in a row had no new post."""
    posts: list[tuple[int, bytes]] = field(default_factory=list)
    """The posts of the page that are not returned yet, oldest first: id, and line without `matching_rules`."""


class RecentSearch:
    """
    The posts of one gap, with ids from *low_id* up to, not including, *high_id*.  Executor thread.

    *parameters* are the fields and expansions of the stream.  A query has at most *max_characters*.  After a crash, a
    new search with the last `Found.down_to_id` as its *high_id* continues this one.

    Each query holds up to one page of lines, some 300 kB if the gap has many posts.
    """

    def __init__(
        self,
        api: Api,
        rules: Sequence[Rule | HeldRule],
        parameters: Mapping[str, str],
        *,
        low_id: int,
        high_id: int,
        max_characters: int,
    ) -> None:
        self.lost: dict[str, str] = {}
        """The rules, by value, whose posts search cannot find, or not all of them; and the reason."""
        self._api, self._rules = api, rules
        self._parameters = dict(parameters)
        self._expansions = frozenset(parameters.get("expansions", "").split(","))
        self._low, self._high = low_id, high_id
        self._down_to = high_id
        self._given: deque[int] = deque(maxlen=REMEMBERED_POSTS)
        self._fetched: list[int] = []
        self._requests = 0
        self._queries: list[_Query] = []
        for number, rule in enumerate(rules):
            try:
                texts = queries_of(rule.value, max_characters)
            except Unsearchable as error:
                self.lost[rule.value] = str(error)
            else:
                self._queries += [_Query(text=text, rule=number, until_id=high_id, oldest=high_id) for text in texts]

    def next(self) -> Found | None:
        """
        Return the next piece, about 100 posts; None after the last piece, which reaches down to *low_id*.

        After an error, the next call continues where this one ended.

        Raises:
            RateLimited: X refuses more requests now, or its last answer has told so: then no request is sent.
            ConnectorError: as `Api.get`.  If X refuses a query as invalid, nothing is raised: its rule is in `lost`.
        """
        if self._down_to <= self._low:
            return None
        for query in self._queries:
            while not (query.posts or query.is_over):
                self._fetch(query)
        # nothing fails from here on, so every post that is taken out of a page is also returned
        lines = self._merge()
        found = Found(
            lines=tuple(lines), down_to_id=self._down_to, fetched=tuple(self._fetched), requests=self._requests
        )
        self._fetched.clear()
        self._requests = 0
        return found

    # -- merging

    def _merge(self) -> list[bytes]:
        """Return the lines of the newest posts, until there are enough or a query needs its next page."""
        heads = [(-query.posts[-1][0], number) for number, query in enumerate(self._queries) if query.posts]
        heapq.heapify(heads)
        lines: list[bytes] = []
        while heads and len(lines) < POSTS_PER_PIECE:
            post_id = -heads[0][0]
            rules: set[int] = set()
            body = b""
            starved = False
            while heads and heads[0][0] == -post_id:
                number = heads[0][1]
                query = self._queries[number]
                _, body = query.posts.pop()
                rules.add(query.rule)
                if query.posts:
                    heapq.heapreplace(heads, (-query.posts[-1][0], number))
                else:
                    heapq.heappop(heads)
                    starved = starved or not query.is_over
            lines.append(self._line(body, sorted(rules)))
            self._given.append(post_id)
            self._down_to = min(self._down_to, post_id)
            if starved:
                return lines
        if not heads:  # all queries are over
            self._down_to = self._low
        return lines

    def _line(self, body: bytes, rules: Sequence[int]) -> bytes:
        matching = [{"id": self._rules[number].id, "tag": self._rules[number].tag} for number in rules]
        return b"%b,%b" % (body[:-1], _encode({"matching_rules": matching})[1:])

    # -- asking

    def _fetch(self, query: _Query) -> None:
        quota = self._api.quota(SEARCH_PATH)
        if quota is not None and quota.is_used_up:
            raise RateLimited(
                "X allows no more searches for now: it will be tried again when it does",
                reset_at=quota.reset_at,
                reset_secs=quota.secs_left,
            )
        self._requests += 1
        try:
            answer = self._api.get(SEARCH_PATH, self._page_of(query), exact=True)
        except InvalidRequest as error:
            if query.token:
                # X refuses the token or the query: the next request, without the token, shows which
                query.until_id, query.token = query.oldest, ""
            else:
                query.is_over = True
                self.lost.setdefault(self._rules[query.rule].value, str(error))
        else:
            try:
                self._take(query, answer)
            except RecursionError:
                raise ServiceUnavailable(
                    f"X answered {SEARCH_PATH} with a post that is nested too deep: it will be tried again"
                ) from None
        if query.barren >= BARREN_PAGES and not query.is_over:
            query.is_over = True
            self.lost.setdefault(
                self._rules[query.rule].value,
                f"X offered {query.barren} pages in a row without a new post: it may have more that it did not give",
            )

    def _page_of(self, query: _Query) -> dict[str, str | int]:
        page: dict[str, str | int] = {
            **self._parameters,
            "query": query.text,
            "max_results": POSTS_PER_PAGE,
            "since_id": max(self._low - 1, 0),
            "until_id": query.until_id,
        }
        if query.token:
            page["next_token"] = query.token
        return page

    def _take(self, query: _Query, answer: Object) -> None:
        meta = answer.get("meta")
        if not isinstance(meta, dict):
            # an answer that is read as "no posts" would wrongly prove that nothing is missing
            raise ServiceUnavailable(f"X answered {SEARCH_PATH} without `meta`: it will be tried again")
        posts: dict[int, Object] = {}
        for post in _objects(answer.get("data")):
            post_id = _id_of(post)
            if post_id is None:
                continue
            self._fetched.append(post_id)
            if self._low <= post_id < self._high:
                posts[post_id] = post
        query.oldest = min(posts, default=query.oldest)
        page = _Page(answer, self._expansions)
        query.posts = [
            (post_id, page.body(posts[post_id])) for post_id in sorted(posts) if not self._was_given(post_id)
        ]
        query.barren = 0 if query.posts else query.barren + 1
        token = meta.get("next_token")
        query.token = token if isinstance(token, str) else ""
        query.is_over = not query.token

    def _was_given(self, post_id: int) -> bool:
        """
        Whether *post_id* was returned before.

        A post that is newer than all remembered posts counts as returned, because it cannot be checked any more.
        """
        if post_id < self._down_to:
            return False
        is_forgotten = len(self._given) == REMEMBERED_POSTS and post_id > self._given[0]
        return is_forgotten or post_id in self._given


@dataclass(frozen=True, slots=True)
class _Reference:
    """*expansion* adds objects of *kind* to an answer; a post names them at *path*, by their *key*."""

    expansion: str
    kind: str
    key: str
    path: tuple[str, ...]


_OWN = (
    _Reference("attachments.media_keys", "media", "media_key", ("attachments", "media_keys")),
    _Reference("article.cover_media", "media", "media_key", ("article", "cover_media")),
    _Reference("article.media_entities", "media", "media_key", ("article", "media_entities")),
    _Reference("attachments.poll_ids", "polls", "id", ("attachments", "poll_ids")),
    _Reference("geo.place_id", "places", "id", ("geo", "place_id")),
    _Reference("author_id", "users", "id", ("author_id",)),
    _Reference("in_reply_to_user_id", "users", "id", ("in_reply_to_user_id",)),
    # early mentions have no id
    _Reference("entities.mentions.username", "users", "id", ("entities", "mentions", "id")),
    _Reference("entities.mentions.username", "users", "username", ("entities", "mentions", "username")),
    _Reference("entities.note.mentions.username", "users", "id", ("note_tweet", "entities", "mentions", "id")),
    _Reference(
        "entities.note.mentions.username", "users", "username", ("note_tweet", "entities", "mentions", "username")
    ),
    _Reference("referenced_tweets.id", "tweets", "id", ("referenced_tweets", "id")),
    _Reference("referenced_tweets.id.author_id", "tweets", "id", ("referenced_tweets", "id")),
    _Reference("referenced_tweets.id.attachments.media_keys", "tweets", "id", ("referenced_tweets", "id")),
    _Reference("edit_history_tweet_ids", "tweets", "id", ("edit_history_tweet_ids",)),
    _Reference("attachments.media_source_tweet", "tweets", "id", ("attachments", "media_source_tweet_id")),
)
"""The objects that a post refers to."""

_OF_REFERENCED = (
    _Reference("referenced_tweets.id.author_id", "users", "id", ("author_id",)),
    _Reference("referenced_tweets.id.attachments.media_keys", "media", "media_key", ("attachments", "media_keys")),
)
"""The objects that the posts in `referenced_tweets` of a post refer to."""


class _Page:
    """
    A page of search, which `body` turns into lines of the stream.

    On a page, an object to which several posts refer is there only once, and a referenced post that is itself on the
    page is not repeated.  A line of the stream has every object to which its post refers by the requested expansions,
    and no other object.  If an expansion adds posts, the post itself is the first of them (from recorded streams).
    """

    def __init__(self, answer: Object, expansions: frozenset[str]) -> None:
        self._own = [reference for reference in _OWN if reference.expansion in expansions]
        self._of_referenced = [reference for reference in _OF_REFERENCED if reference.expansion in expansions]
        self._has_posts = any(reference.kind == "tweets" for reference in self._own)
        self._errors = _objects(answer.get("errors"))
        includes = answer.get("includes")
        came = {kind: _objects(listed) for kind, listed in includes.items()} if isinstance(includes, dict) else {}
        came["tweets"] = [*came.get("tweets", ()), *_objects(answer.get("data"))]
        self._known = {
            (kind, key): {name: item for item in came.get(kind, ()) if isinstance(name := item.get(key), str)}
            for kind, key in {(reference.kind, reference.key) for reference in (*_OWN, *_OF_REFERENCED)}
        }

    def body(self, post: Object) -> bytes:
        """Return the line of *post* without `matching_rules`."""
        includes: dict[str, dict[int, Object]] = {}
        names = {post["id"]}

        def include(of: Object, references: Sequence[_Reference]) -> None:
            for reference in references:
                for name in _values(of, reference.path):
                    names.add(name)
                    item = self._known[reference.kind, reference.key].get(name)
                    if item is not None:
                        includes.setdefault(reference.kind, {})[id(item)] = item

        if self._has_posts:
            includes["tweets"] = {id(post): post}
        include(post, self._own)
        for name in _values(post, ("referenced_tweets", "id")):
            if referenced := self._known["tweets", "id"].get(name):
                include(referenced, self._of_referenced)
        line: Object = {"data": post}
        if includes:
            line["includes"] = {kind: list(items.values()) for kind, items in includes.items()}
        if errors := [error for error in self._errors if not names.isdisjoint(_subjects(error))]:
            line["errors"] = errors
        return _encode(line)


def _subjects(error: Object) -> list[str]:
    """Return the names of the objects that an entry of `errors[]` is about."""
    return [name for key in ("resource_id", "value") if isinstance(name := error.get(key), str)]


def _values(of: object, path: Sequence[str]) -> Iterator[str]:
    """Yield the strings at *path*, also those in lists, but not those in lists of lists."""
    if isinstance(of, list):
        for item in of:
            if not isinstance(item, list):
                yield from _values(item, path)
    elif path:
        if isinstance(of, dict):
            yield from _values(of.get(path[0]), path[1:])
    elif isinstance(of, str):
        yield of


def _objects(listed: object) -> list[Object]:
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def _id_of(post: Object) -> int | None:
    text = post.get("id")
    if isinstance(text, str) and len(text) <= MAX_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    return None


def _encode(value: Object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # half of a surrogate pair, or a number of more than 64 bits
        return json.dumps(value, separators=(",", ":")).encode()
