"""A post with all its fields and all objects it refers to, and its facts, which rules are matched with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector.simulator.rules import text as words
from connector.simulator.rules.matching import Facts
from connector.simulator.snowflakes import time_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from connector.simulator.rules.grammar import Product

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Post:
    """A post with all fields; a request selects some of them."""

    id: int
    data: Object
    references: tuple[Object, ...] = ()
    """The posts that this post quotes, answers or repeats, with all their fields."""
    media: tuple[Object, ...] = ()
    polls: tuple[Object, ...] = ()
    places: tuple[Object, ...] = ()
    users: Mapping[str, Object] = field(repr=False)
    """All users by id; all posts share this mapping."""
    errors: tuple[Object, ...] = ()
    """Partial errors: what X could not find for this post."""

    @property
    def time_ms(self) -> int:
        return time_ms(self.id)

    @property
    def author(self) -> Object:
        return self.users[self.data["author_id"]]

    @property
    def is_retweet(self) -> bool:
        return any(r["type"] == "retweeted" for r in self.referenced())

    def referenced(self) -> list[dict[str, str]]:
        """Return the entries of `referenced_tweets`."""
        entries: list[dict[str, str]] = self.data.get("referenced_tweets", [])
        return entries


def _full_text(data: Object) -> str:
    text: str = data.get("note_tweet", data)["text"]
    return text


def _entities(objects: Iterable[Object], kind: str) -> Iterable[Object]:
    for data in objects:
        yield from data.get("entities", {}).get(kind, ())
        yield from data.get("note_tweet", {}).get("entities", {}).get(kind, ())


def facts(post: Post, *, product: Product = "stream", keyword_matches_hashtag: bool = True) -> Facts:
    """
    Return the facts of a post.

    On a stream the text of a quoted post belongs to the facts.  In search it does not, and accents are removed.
    """
    accents = product == "stream"

    def norm(value: str) -> str:
        return words.normal(value, accents=accents)

    def name_and_id(user_id: str | None) -> frozenset[str]:
        if user_id is None:
            return frozenset()
        user = post.users.get(user_id)
        return frozenset({user_id, *([norm(user["username"])] if user else [])})

    def searchable(raw: str) -> words.SearchableText:
        return words.searchable(raw, accents=accents, hashtags=keyword_matches_hashtag)

    data = post.data
    linked = {r["type"]: r["id"] for r in post.referenced()}
    by_id = {reference["id"]: reference for reference in post.references}
    retweeted = by_id.get(linked.get("retweeted", ""))
    quoted = by_id.get(linked.get("quoted", "")) if product == "stream" else None
    # A retweet has the entities and the words of its original.
    own = [data] if retweeted is None else [data, retweeted]
    seen = own if quoted is None else [*own, quoted]
    kinds = {{"retweeted": "retweet", "quoted": "quote", "replied_to": "reply"}[kind] for kind in linked}
    kinds |= {"verified"} if post.author["verified"] else set()
    kinds |= {"reply"} if any("in_reply_to_user_id" in inner for inner in seen) else set()
    urls = list(_entities(seen, "urls"))
    hashtags = frozenset(norm(h["tag"]) for h in _entities(seen, "hashtags"))
    cashtags = frozenset(norm(c["tag"]) for c in _entities(seen, "cashtags"))
    mentions = frozenset(norm(m["username"]) for m in _entities(seen, "mentions"))
    media = {medium["type"] for medium in post.media}
    author = post.author
    metrics = author["public_metrics"]
    place = post.places[0] if post.places else {}
    return Facts(
        id=post.id,
        texts=tuple(searchable(_full_text(inner)) for inner in seen),
        hashtags=hashtags,
        mentions=mentions,
        cashtags=cashtags,
        author=name_and_id(author["id"]),
        to=name_and_id(data.get("in_reply_to_user_id")),
        retweets_of=name_and_id(retweeted["author_id"] if retweeted else None),
        retweets_of_id=linked.get("retweeted", ""),
        in_reply_to_id=linked.get("replied_to", ""),
        conversation_id=data["conversation_id"],
        lang=norm(data["lang"]),
        urls=tuple(norm(url[name]) for url in urls for name in ("url", "expanded_url", "unwound_url") if name in url),
        url_titles=tuple(searchable(u["title"]) for u in urls if "title" in u),
        url_descriptions=tuple(searchable(u["description"]) for u in urls if "description" in u),
        kinds=frozenset(kinds),
        holds=frozenset(
            name
            for name, there in (
                ("hashtags", hashtags),
                ("cashtags", cashtags),
                ("mentions", mentions),
                ("links", urls),
                ("media", media),
                ("images", "photo" in media),
                ("video_link", "video" in media),
                ("geo", data.get("geo")),
            )
            if there
        ),
        places=frozenset(norm(place[name]) for name in ("id", "name", "full_name") if name in place),
        country=norm(place.get("country_code", "")),
        point=_point(data),
        contexts=frozenset(f"{c['domain']['id']}.{c['entity']['id']}" for c in data.get("context_annotations", ())),
        entities=frozenset(norm(c["entity"]["name"]) for c in data.get("context_annotations", ())),
        bio=searchable(author["description"]),
        bio_name=norm(author["name"]),
        bio_location=norm(author.get("location", "")),
        source=norm(data.get("source", "")),
        counts=_counts(data["public_metrics"], metrics),
    )


def _point(data: Object) -> tuple[float, float] | None:
    coordinates = data.get("geo", {}).get("coordinates")
    if coordinates is None:
        return None
    longitude, latitude = coordinates["coordinates"]
    return longitude, latitude


def _counts(post: Mapping[str, int], author: Mapping[str, int]) -> dict[str, int]:
    return {
        "followers_count": author["followers_count"],
        "min_followers": author["followers_count"],
        "following_count": author["following_count"],
        "tweets_count": author["tweet_count"],
        "listed_count": author["listed_count"],
        "min_likes": post["like_count"],
        "min_replies": post["reply_count"],
        "min_reposts": post["retweet_count"],
    }
