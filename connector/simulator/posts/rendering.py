"""
The bytes of a post that a request gets: fields, expansions, spelling, escapes.

    Post --select(Selection)--> object --encode(Spelling)--> line
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from connector.simulator.http.problems import Refused, invalid_request
from connector.simulator.posts.post import Object, Post

POST_FIELDS = (  # noqa: SIM905 - a list of names reads better as prose
    "article attachments author_id card_uri community_id context_annotations"
    " conversation_id created_at display_text_range edit_controls"
    " edit_history_tweet_ids entities geo id in_reply_to_user_id lang"
    " matched_media_notes media_metadata non_public_metrics note_request_suggestions"
    " note_tweet organic_metrics paid_partnership possibly_sensitive promoted_metrics"
    " public_metrics referenced_tweets reply_settings scopes source"
    " suggested_source_links suggested_source_links_with_counts text withheld"
).split()
EXPANSIONS = (  # noqa: SIM905
    "article.cover_media article.media_entities attachments.media_keys"
    " attachments.media_source_tweet attachments.poll_ids author_id"
    " edit_history_tweet_ids entities.mentions.username"
    " entities.note.mentions.username geo.place_id in_reply_to_user_id"
    " referenced_tweets.id referenced_tweets.id.attachments.media_keys"
    " referenced_tweets.id.author_id"
).split()
USER_FIELDS = (  # noqa: SIM905
    "affiliation confirmed_email connection_status created_at description entities id"
    " is_identity_verified location most_recent_tweet_id name parody pinned_tweet_id"
    " profile_banner_url profile_image_url protected public_metrics receives_your_dm"
    " subscription subscription_type url username verified verified_followers_count"
    " verified_type withheld"
).split()
MEDIA_FIELDS = (  # noqa: SIM905
    "alt_text duration_ms height media_key non_public_metrics organic_metrics"
    " preview_image_url promoted_metrics public_metrics type url variants width"
).split()
PLACE_FIELDS = (  # noqa: SIM905
    "contained_within country country_code full_name geo id name place_type"
).split()
POLL_FIELDS = "duration_minutes end_datetime id options voting_status".split()  # noqa: SIM905

POST_SPELLING = {
    "edit_history_tweet_ids": "edit_history_post_ids",
    "referenced_tweets": "referenced_posts",
    "note_tweet": "note_post",
    "retweet_count": "repost_count",
    "tweets": "posts",
}
"""Since OpenAPI 2.167 REST has two spellings; the answer has the spelling of the request."""

_STREAM_SPELLING = {post: tweet for tweet, post in POST_SPELLING.items()}
_FIELDS = {
    "tweet.fields": POST_FIELDS,
    "post.fields": POST_FIELDS,
    "expansions": EXPANSIONS,
    "user.fields": USER_FIELDS,
    "media.fields": MEDIA_FIELDS,
    "place.fields": PLACE_FIELDS,
    "poll.fields": POLL_FIELDS,
}
_DEFAULT_POST = frozenset({"id", "text", "edit_history_tweet_ids"})
_DEFAULT_USER = frozenset({"id", "name", "username"})
_DEFAULT_MEDIA = frozenset({"media_key", "type"})
_DEFAULT_POLL = frozenset({"id", "options"})
_DEFAULT_PLACE = frozenset({"id", "full_name"})
_POST_EXPANSIONS = frozenset(
    {
        "referenced_tweets.id",
        "referenced_tweets.id.author_id",
        "referenced_tweets.id.attachments.media_keys",
        "edit_history_tweet_ids",
        "attachments.media_source_tweet",
    }
)
# If these are requested and the post has none, the answer has {}.
_KEPT_EMPTY = ("attachments", "entities", "geo")
# An expansion puts the field that it needs into the answer, requested or not.
_IMPLIED = {
    "attachments.media_keys": "attachments",
    "attachments.poll_ids": "attachments",
    "author_id": "author_id",
    "entities.mentions.username": "entities",
    "geo.place_id": "geo",
    "in_reply_to_user_id": "in_reply_to_user_id",
    "referenced_tweets.id": "referenced_tweets",
    "referenced_tweets.id.author_id": "referenced_tweets",
    "referenced_tweets.id.attachments.media_keys": "referenced_tweets",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The fields and expansions that a request asks for."""

    post: frozenset[str] = frozenset()
    expansions: frozenset[str] = frozenset()
    user: frozenset[str] = frozenset()
    media: frozenset[str] = frozenset()
    place: frozenset[str] = frozenset()
    poll: frozenset[str] = frozenset()
    post_spelling: bool = False

    @property
    def bills_users(self) -> bool:
        return "author_id" in self.expansions


def selection(query: Iterable[tuple[str, str]], *, stream: bool) -> Selection:
    """
    Read the field parameters of a request.

    Raises:
        Refused: X does not list one of the values (400).
    """
    asked: dict[str, list[str]] = {name: [] for name in _FIELDS}
    for name, value in query:
        if name in asked and not (stream and name == "post.fields"):
            asked[name] += [part for part in value.split(",") if part]
    errors = [
        {
            "parameters": {name: values},
            "message": f"The `{name}` query parameter value [{value}] is not one of [{','.join(_FIELDS[name])}]",
        }
        for name, values in asked.items()
        for value in values
        if _stream_spelling(value) not in _FIELDS[name]
    ]
    if errors:
        raise Refused(invalid_request(*errors))
    every = {name: frozenset(map(_stream_spelling, asked[name])) for name in asked}
    spelled = asked["expansions"] + asked["tweet.fields"]
    return Selection(
        post=every["tweet.fields"] | every["post.fields"],
        expansions=every["expansions"],
        user=every["user.fields"],
        media=every["media.fields"],
        place=every["place.fields"],
        poll=every["poll.fields"],
        post_spelling=bool(asked["post.fields"]) or any(_stream_spelling(value) != value for value in spelled),
    )


def _stream_spelling(value: str) -> str:
    first, dot, rest = value.partition(".")
    if first == "referenced_posts" and not dot:
        return "referenced_tweets.id" if value == "referenced_posts" else value
    return _STREAM_SPELLING.get(first, first) + dot + rest


def _pick(source: Mapping[str, Any], names: Iterable[str]) -> Object:
    return {name: source[name] for name in names if name in source}


def _post_object(data: Object, chosen: Selection) -> Object:
    implied = {_IMPLIED[name] for name in chosen.expansions if name in _IMPLIED}
    picked = _pick(data, sorted(_DEFAULT_POST | chosen.post | implied))
    for name in _KEPT_EMPTY:
        if name in chosen.post:
            picked.setdefault(name, {})
    return dict(sorted(picked.items()))


def select(post: Post, chosen: Selection) -> tuple[Object, dict[str, list[Object]]]:
    """
    Return the post object and the includes that a request gets.

    If the request asks for an expansion to posts, the first of `includes.tweets` is the post itself.
    """
    data = _post_object(post.data, chosen)
    includes: dict[str, list[Object]] = {}
    media = post.media if "attachments.media_keys" in chosen.expansions else ()
    if media:
        names = sorted(_DEFAULT_MEDIA | chosen.media)
        includes["media"] = [_pick(medium, names) for medium in media]
    if post.polls and "attachments.poll_ids" in chosen.expansions:
        names = sorted(_DEFAULT_POLL | chosen.poll)
        includes["polls"] = [_pick(poll, names) for poll in post.polls]
    if post.places and "geo.place_id" in chosen.expansions:
        names = sorted(_DEFAULT_PLACE | chosen.place)
        includes["places"] = [_pick(place, names) for place in post.places]
    users = _users(post, chosen.expansions)
    if users:
        names = sorted(_DEFAULT_USER | chosen.user)
        includes["users"] = [_pick(post.users[user], names) for user in users if user in post.users]
    if chosen.expansions & _POST_EXPANSIONS:
        includes["tweets"] = [data] + [_post_object(reference, chosen) for reference in post.references]
    return data, includes


def _users(post: Post, expansions: frozenset[str]) -> list[str]:
    ids: dict[str, None] = {}
    if "author_id" in expansions:
        ids[post.data["author_id"]] = None
    if "in_reply_to_user_id" in expansions and "in_reply_to_user_id" in post.data:
        ids[post.data["in_reply_to_user_id"]] = None
    if "entities.mentions.username" in expansions:
        for mention in post.data.get("entities", {}).get("mentions", ()):
            ids[mention["id"]] = None
    if "referenced_tweets.id.author_id" in expansions:
        for reference in post.references:
            ids[reference["author_id"]] = None
    return list(ids)


_ASTRAL = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")


def _surrogates(match: re.Match[bytes]) -> bytes:
    code = ord(match[0].decode()) - 0x10000
    return b"\\u%04X\\u%04X" % (0xD800 | code >> 10, 0xDC00 | code & 0x3FF)


def escape_astral(raw: bytes) -> bytes:
    r"""Escape characters beyond the BMP as X does, such as `\uD83E\uDD41`; leave the others raw."""
    return _ASTRAL.sub(_surrogates, raw)


Hostility = Callable[[Object], None]


def without_tag(line: Object) -> None:
    """Leave out the `tag` of matching rules, like the first versions of the API."""
    for rule in line.get("matching_rules", ()):
        rule.pop("tag", None)


def without_name(line: Object) -> None:
    """Leave out the `name` of included users, like an example in X's documentation."""
    for user in line.get("includes", {}).get("users", ()):
        user.pop("name", None)


def without_fraction(line: Object) -> None:
    """Write times without a fraction, like X's webhooks."""
    users = line.get("includes", {}).get("users", ())
    for part in (line.get("data", {}), *users):
        if "created_at" in part:
            part["created_at"] = part["created_at"].replace(".000Z", "Z")


HOSTILITIES: Mapping[str, Hostility] = {
    "no_tag": without_tag,
    "no_name": without_name,
    "no_fraction": without_fraction,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """Makes bytes of objects: key order, escapes, hostility."""

    shuffled: bool = True
    astral_escaped: bool = True
    seed: int = 0
    hostile: Hostility | None = field(default=None)

    def encode(self, value: Object) -> bytes:
        """Return compact JSON, without the line end."""
        raw = orjson.dumps(value)
        return escape_astral(raw) if self.astral_escaped else raw

    def order(self, data: Object, key: int) -> Object:
        """Return an object with its keys in an order that *key* decides."""
        if not self.shuffled:
            return data
        names = list(data)
        random.Random(self.seed ^ key).shuffle(names)
        return {name: data[name] for name in names}

    def line(self, post: Post, chosen: Selection, rules: list[dict[str, str]] | None) -> bytes:
        """Return the line of a post on a stream, without the line end; *rules* is none on volume streams."""
        data, includes = select(post, chosen)
        line: Object = {"data": self.order(data, post.id)}
        if includes:
            if "tweets" in includes:
                includes["tweets"][0] = line["data"]
            line["includes"] = includes
        if post.errors:
            line["errors"] = list(post.errors)
        if rules is not None:
            line["matching_rules"] = rules
        if self.hostile is not None:
            self.hostile(line)
        return self.encode(line)


def respell(value: Any) -> Any:
    """Return an answer in the newer spelling of REST: `posts` for `tweets`."""
    if isinstance(value, dict):
        return {POST_SPELLING.get(k, k): respell(v) for k, v in value.items()}
    if isinstance(value, list):
        return [respell(inner) for inner in value]
    return value
