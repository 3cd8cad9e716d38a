"""The operators with a name, and the checks of their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

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
USERS = frozenset({"from", "to", "retweets_of", "from_affiliate_of", "to_affiliate_of"})
CONJUNCTION_REQUIRED = frozenset({"is", "has", "sample", "lang", "source"})
STREAM_ONLY = frozenset({"sample", "bio", "bio_name", "bio_location"})
MAX_MILES = 25.0

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
    """Read `[longitude latitude radius]`; return the radius in miles."""
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
"""By operator, the check of its value: a truthy result is a good value."""


def invalid_operator(name: str, at: int) -> str:
    """Return X's sentence about an operator that is unknown or not in the plan."""
    return (
        f"Reference to invalid operator '{name}'. Operator is not available in current"
        " product or product packaging. Please refer to complete available operator"
        f" list at https://docs.x.com/x-api/posts/operators. (at position {at})"
    )
