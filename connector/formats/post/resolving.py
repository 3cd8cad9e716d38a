"""
Makes a `Post` of a line of X: an object as `declaration` says, with what X puts into `includes` in its place.

Members that are absent, empty lists and objects without members are left out.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from msgspec import Struct, to_builtins

from connector.errors import BadRecord
from connector.formats.post import wire
from connector.records.post import MAX_DIGITS, MAX_ID, head_of
from connector.records.snowflake import created_ms

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FIRST_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS
_NOTHING = wire.Includes()
_ID, _MEDIA_KEY = attrgetter("id"), attrgetter("media_key")
_S = TypeVar("_S", bound=Struct)
_AS_THEY_ARE = (
    "lang",
    "conversation_id",
    "in_reply_to_user_id",
    "possibly_sensitive",
    "reply_settings",
    "source",
)

LOOKED_THROUGH_BYTES_MAX = 64 * 1024 * 1024
"""
The most bytes of lines that are looked through for one post: its line, as often as it refers to what X sent along.

A line that names one large object thousands of times, as X never writes it, would become a post of gigabytes.
"""

Value = dict[str, Any]


class _Beside:
    """What X sent along with the post in a line of *line_bytes*."""

    __slots__ = ("_left", "_line_bytes", "sent")

    def __init__(self, sent: wire.Includes, line_bytes: int) -> None:
        self.sent, self._line_bytes = sent, line_bytes
        self._left = LOOKED_THROUGH_BYTES_MAX // line_bytes

    def find(self, key: Callable[[_S], str], among: Sequence[_S], wanted: str) -> _S | None:
        """
        Return the first *among* these with the key *wanted*; X sends few, so a table of them would not pay.

        Raises:
            BadRecord: the post refers to too many.
        """
        self._left -= 1
        if self._left < 0:
            most = LOOKED_THROUGH_BYTES_MAX // self._line_bytes
            raise BadRecord(
                f"The post in a line of {self._line_bytes} bytes refers more than {most} times to what X sent along"
            )
        for each in among:
            if key(each) == wanted:
                return each
        return None


def post_of(line: bytes, *, with_raw: bool = False) -> Value:
    """
    Return the `Post` in *line*; with *with_raw* it has the line as `raw`.

    Raises:
        BadRecord: *line* is not JSON, or holds no post with an id.
    """
    read = wire.read(line)
    data, beside = read.data, _Beside(read.includes or _NOTHING, len(line))
    if not _is_id(data.id):
        head_of(line)
        raise BadRecord(f"A line of {len(line)} bytes has the post id {data.id!r}, which is no number of 63 bits")
    original = data
    references = []
    for reference in data.referenced_tweets:
        found: Value = {"type": reference.type, "id": reference.id}
        other = beside.find(_ID, beside.sent.tweets, reference.id)
        if other is not None and _is_id(other.id):
            found["post"] = _referenced(other, beside)
            if reference.type == "retweeted":
                original = other
        references.append(found)
    post = _content(data, beside, original)
    if references:
        post["references"] = references
    if read.matching_rules:
        post["matching_rules"] = to_builtins(read.matching_rules)
    if with_raw:
        post["raw"] = line.decode()
    return post


def _referenced(data: wire.Data, beside: _Beside) -> Value:
    """Return the post *data* of `includes`, to which another one refers."""
    post = _content(data, beside, data)
    if data.referenced_tweets:
        post["references"] = to_builtins(data.referenced_tweets)
    return post


def _content(data: wire.Data, beside: _Beside, original: wire.Data) -> Value:
    """Return what each post has, with the text of *original*: the post itself, or the one that it reposts."""
    text, entities = _whole_text(original)
    post: Value = {"id": data.id, "text": text, "created_at": _created_at(data)}
    if data.author_id is not None:
        user = beside.find(_ID, beside.sent.users, data.author_id)
        post["author"] = {"id": data.author_id} if user is None else _user(user)
    for name in _AS_THEY_ARE:
        plain = getattr(data, name)
        if plain is not None:
            post[name] = plain
    if data.edit_history_tweet_ids:
        post["edit_history_post_ids"] = data.edit_history_tweet_ids
    if data.attachments is not None:
        _add_attachments(data.attachments, beside, post)
    if data.geo is not None:
        _add_place(data.geo, beside, post)
    for name, found in (
        ("entities", to_builtins(entities)),
        ("metrics", _renamed(to_builtins(data.public_metrics), "retweet_count", "repost_count")),
        ("edit_controls", _edit_controls(data.edit_controls)),
        ("withheld", to_builtins(data.withheld)),
    ):
        if found:
            post[name] = found
    return post


def _add_attachments(attachments: wire.Attachments, beside: _Beside, post: Value) -> None:
    if attachments.media_keys:
        post["media"] = [_media(key, beside) for key in attachments.media_keys]
    if attachments.poll_ids:
        post["polls"] = [_poll(poll_id, beside) for poll_id in attachments.poll_ids]


def _whole_text(data: wire.Data) -> tuple[str, wire.Entities | None]:
    """Return the text of *data* in full, and what X found in it: the places of the one are those in the other."""
    note = data.note_tweet
    if note is not None and note.text:
        return note.text, note.entities
    return data.text or "", data.entities


def _created_at(data: wire.Data) -> int:
    made_ms = _ms(data.created_at)
    return created_ms(int(data.id)) if made_ms is None else made_ms


def _ms(moment: datetime | None) -> int | None:
    """Return *moment* in UNIX ms; None for none, and for one at the edge of the calendar that UTC does not have."""
    if moment is None:
        return None
    ms = (moment - _EPOCH) // _MS
    return ms if _FIRST_MS <= ms <= _LAST_MS else None


def _user(user: wire.User) -> Value:
    found: Value = to_builtins(user)
    found.pop("created_at", None)
    found.pop("public_metrics", None)
    _add_moment("created_at", user.created_at, found)
    if user.public_metrics is not None and (metrics := to_builtins(user.public_metrics)):
        found["metrics"] = _renamed(metrics, "tweet_count", "post_count")
    return found


def _media(key: str, beside: _Beside) -> Value:
    media = beside.find(_MEDIA_KEY, beside.sent.media, key)
    if media is None:
        return {"media_key": key}
    found: Value = to_builtins(media)
    found.pop("public_metrics", None)
    if media.public_metrics is not None and media.public_metrics.view_count is not None:
        found["view_count"] = media.public_metrics.view_count
    return found


def _add_place(geo: wire.Geo, beside: _Beside, post: Value) -> None:
    if geo.place_id is not None:
        place = beside.find(_ID, beside.sent.places, geo.place_id)
        post["place"] = {"id": geo.place_id} if place is None else _place(place)
    if geo.coordinates is not None:
        longitude, latitude = geo.coordinates.coordinates
        post["coordinates"] = {"longitude": longitude, "latitude": latitude}


def _place(place: wire.Place) -> Value:
    found: Value = to_builtins(place)
    found.pop("geo", None)
    if place.geo is not None and place.geo.bbox:
        found["bbox"] = place.geo.bbox
    return found


def _poll(poll_id: str, beside: _Beside) -> Value:
    poll = beside.find(_ID, beside.sent.polls, poll_id)
    if poll is None:
        return {"id": poll_id}
    found: Value = to_builtins(poll)
    found.pop("end_datetime", None)
    _add_moment("end_datetime", poll.end_datetime, found)
    return found


def _edit_controls(controls: wire.EditControls | None) -> Value | None:
    if controls is None:
        return None
    found: Value = to_builtins(controls)
    found.pop("editable_until", None)
    _add_moment("editable_until", controls.editable_until, found)
    return found


def _add_moment(name: str, moment: datetime | None, to: Value) -> None:
    ms = _ms(moment)
    if ms is not None:
        to[name] = ms


def _renamed(found: Value | None, old: str, new: str) -> Value | None:
    if found and old in found:
        found[new] = found.pop(old)
    return found


def _is_id(text: str) -> bool:
    return len(text) <= MAX_DIGITS and text.isascii() and text.isdigit() and 0 < int(text) <= MAX_ID
