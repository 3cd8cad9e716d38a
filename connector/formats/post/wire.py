"""
What of a line of X goes into a `Post`, with X's names.

A line is decoded into these classes at once; members that they do not name are skipped.  The few lines with a value of
another type than here are read member by member (`fitted`): what does not fit is then absent.
"""

import json
import types
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from connector.errors import BadRecord
from connector.records.post import head_of
from connector.records.scanner import members, whole_pairs

_LONG_MAX = 2**63 - 1
_DOUBLE_MAX = 1.7976931348623157e308

Long = Annotated[int, msgspec.Meta(ge=-_LONG_MAX - 1, le=_LONG_MAX)]
Double = Annotated[float, msgspec.Meta(ge=-_DOUBLE_MAX, le=_DOUBLE_MAX)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Object(msgspec.Struct, gc=False, omit_defaults=True):
    """An object of X; written again, it has only what X sent of it."""


class Hashtag(_Object, kw_only=True):
    start: Long | None = None
    end: Long | None = None
    tag: str


class Mention(_Object, kw_only=True):
    start: Long | None = None
    end: Long | None = None
    username: str
    id: str | None = None


class Url(_Object, kw_only=True):
    start: Long | None = None
    end: Long | None = None
    url: str
    expanded_url: str | None = None
    display_url: str | None = None
    unwound_url: str | None = None
    title: str | None = None
    description: str | None = None
    status: Long | None = None
    media_key: str | None = None


class Entities(_Object):
    hashtags: list[Hashtag] = []  # msgspec copies it
    mentions: list[Mention] = []
    urls: list[Url] = []
    cashtags: list[Hashtag] = []


class NoteTweet(_Object):
    text: str | None = None
    entities: Entities | None = None


class UserMetrics(_Object):
    followers_count: Long | None = None
    following_count: Long | None = None
    tweet_count: Long | None = None
    listed_count: Long | None = None


class User(_Object):
    id: str
    username: str | None = None
    name: str | None = None
    created_at: Moment | None = None
    description: str | None = None
    location: str | None = None
    url: str | None = None
    profile_image_url: str | None = None
    verified: bool | None = None
    verified_type: str | None = None
    protected: bool | None = None
    public_metrics: UserMetrics | None = None


class MediaVariant(_Object):
    url: str
    content_type: str | None = None
    bit_rate: Long | None = None


class MediaMetrics(_Object):
    view_count: Long | None = None


class Media(_Object):
    media_key: str
    type: str | None = None
    url: str | None = None
    preview_image_url: str | None = None
    alt_text: str | None = None
    width: Long | None = None
    height: Long | None = None
    duration_ms: Long | None = None
    public_metrics: MediaMetrics | None = None
    variants: list[MediaVariant] = []


class PlaceGeo(_Object):
    bbox: list[Double] = []


class Place(_Object):
    id: str
    full_name: str | None = None
    name: str | None = None
    country: str | None = None
    country_code: str | None = None
    place_type: str | None = None
    geo: PlaceGeo | None = None


class PollOption(_Object):
    position: Long | None = None
    label: str | None = None
    votes: Long | None = None


class Poll(_Object):
    id: str
    options: list[PollOption] = []
    duration_minutes: Long | None = None
    end_datetime: Moment | None = None
    voting_status: str | None = None


class Metrics(_Object):
    retweet_count: Long | None = None
    reply_count: Long | None = None
    like_count: Long | None = None
    quote_count: Long | None = None
    bookmark_count: Long | None = None
    impression_count: Long | None = None


class EditControls(_Object):
    is_edit_eligible: bool | None = None
    editable_until: Moment | None = None
    edits_remaining: Long | None = None


class Withheld(_Object):
    copyright: bool | None = None
    country_codes: list[str] = []
    scope: str | None = None


class Attachments(_Object):
    media_keys: list[str] = []
    poll_ids: list[str] = []


class Point(_Object):
    coordinates: tuple[Double, Double]
    """Longitude, latitude."""


class Geo(_Object):
    place_id: str | None = None
    coordinates: Point | None = None


class Reference(_Object):
    type: str
    id: str


class MatchingRule(_Object):
    id: str
    tag: str | None = None
    embedding_similarity: Double | None = None
    embedding_threshold: Double | None = None


class Data(_Object):
    """A post, in `data` or in `includes.tweets`."""

    id: str
    text: str | None = None
    created_at: Moment | None = None
    author_id: str | None = None
    lang: str | None = None
    conversation_id: str | None = None
    in_reply_to_user_id: str | None = None
    entities: Entities | None = None
    note_tweet: NoteTweet | None = None
    attachments: Attachments | None = None
    geo: Geo | None = None
    public_metrics: Metrics | None = None
    edit_history_tweet_ids: list[str] = []
    edit_controls: EditControls | None = None
    possibly_sensitive: bool | None = None
    reply_settings: str | None = None
    source: str | None = None
    withheld: Withheld | None = None
    referenced_tweets: list[Reference] = []


class Includes(_Object):
    users: list[User] = []
    tweets: list[Data] = []
    media: list[Media] = []
    places: list[Place] = []
    polls: list[Poll] = []


class Line(_Object):
    """A line of X with a post."""

    data: Data
    includes: Includes | None = None
    matching_rules: list[MatchingRule] = []


_decode = msgspec.json.Decoder(Line).decode
_decode_any = msgspec.json.Decoder().decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(line: bytes) -> Line:
    """
    Return what *line* says.

    Raises:
        BadRecord: *line* is not JSON, or holds no post with an id.
    """
    try:
        if not line.isascii():
            line.decode()  # msgspec does not check the UTF-8 of values that it skips
        return _decode(line)
    except _REFUSED:
        return _read_leniently(line)


def _read_leniently(line: bytes) -> Line:
    head_of(line)  # says what is wrong with a line that is no post
    text = whole_pairs(line)
    try:
        found = _decode_any(text)
    except _REFUSED:
        found = _in_pieces(text)
    try:
        return fitted(found, Line)
    except msgspec.ValidationError as exc:  # not seen: `head_of` has found an id
        raise BadRecord(f"A line of {len(line)} bytes is no post: {exc}") from exc


def _in_pieces(text: bytes) -> dict[str, Any]:
    """Return the members of *text*, and of `data` and `includes` in it, without those that no parser reads."""
    top = members(text)
    found = _readable(top)
    for name in ("data", "includes"):
        if top.get(name, b"").startswith(b"{"):
            found[name] = _readable(members(top[name]))
    return found


def _readable(texts: dict[str, bytes]) -> dict[str, Any]:
    found = {}
    for name, text in texts.items():
        try:
            found[name] = json.loads(text, parse_int=_whole)
        except RecursionError:
            continue
    return found


def _whole(digits: str) -> float:
    """Return the number in *digits*: one that is too large for a whole number of ours as a float, as msgspec does."""
    return int(digits) if len(digits) <= len(str(-_LONG_MAX)) else float(digits)


_O = TypeVar("_O", bound=msgspec.Struct)


def fitted(value: object, kind: type[_O]) -> _O:
    """
    Return the decoded *value* as an object of *kind*, without what does not fit.

    Members of other types are absent; an item of a list that does not fit, or lacks what *kind* must have, is left out.

    Raises:
        ValidationError: *value* itself does not fit.
    """
    if not isinstance(value, dict):
        raise msgspec.ValidationError("it is no object")
    given = {}
    for name, its_kind in _members_of(kind).items():
        if name in value:
            try:
                given[name] = _fitted(value[name], its_kind)
            except msgspec.ValidationError:
                continue
    try:
        return kind(**given)
    except TypeError as exc:
        raise msgspec.ValidationError(str(exc)) from exc


@cache
def _members_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fitted(value: object, kind: Any) -> Any:
    if get_origin(kind) is list:
        return list(_items(value, get_args(kind)[0]))
    if get_origin(kind) is types.UnionType:  # of a kind and None
        return None if value is None else _fitted(value, get_args(kind)[0])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return fitted(value, kind)
    return msgspec.convert(value, kind)


def _items(value: object, kind: Any) -> Any:
    if not isinstance(value, list):
        raise msgspec.ValidationError("it is no list")
    for item in value:
        try:
            yield _fitted(item, kind)
        except msgspec.ValidationError:
            continue
