"""
Reads a line of X's compliance streams.

The kinds and members are those of OpenAPI 2.166 (https://api.x.com/2/openapi.json).  What each kind asks for follows
X's table of recommended actions (developer.x.com: compliance data objects, honoring user intent).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from connector.errors import BadRecord
from connector.records.post import MAX_ID

WITHDRAWN: Final = frozenset({"delete", "drop", "withheld"})
"""Of a post: it must not be shown any more, `withheld` in some countries."""
EDITED: Final = "tweet_edit"
RESTORED: Final = frozenset({"undrop"})
USER_WITHDRAWN: Final = frozenset({"user_delete", "user_protect", "user_suspend", "user_withheld"})
"""Of a user: none of the user's posts may be shown any more."""
USER_RESTORED: Final = frozenset({"user_undelete", "user_unprotect", "user_unsuspend"})
SCRUB_GEO: Final = "scrub_geo"
PROFILE: Final = "user_profile_modification"
KINDS: Final = frozenset({*WITHDRAWN, EDITED, *RESTORED, *USER_WITHDRAWN, *USER_RESTORED, SCRUB_GEO, PROFILE})

MAX_VERSIONS = 100
"""Most versions of an edited post that are read; X allows five edits."""


class _Subject(msgspec.Struct, gc=False):
    id: str


class _Body(msgspec.Struct, gc=False):
    tweet: _Subject | None = None
    post: _Subject | None = None
    user: _Subject | None = None
    event_at: str | None = None
    initial_tweet_id: str | None = None
    edit_tweet_ids: list[str] = msgspec.field(default_factory=list)
    up_to_tweet_id: str | None = None
    withheld_in_countries: list[str] | None = None


class _Line(msgspec.Struct, gc=False):
    data: dict[str, _Body]


_decode = msgspec.json.Decoder(_Line).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceEvent:
    """
    One event: its *kind* as X names it, the *post* or the *user* that it is about (ids), and its time at X (UNIX ms).

    *at_ms* is None if X does not say it.  *older* are the versions that an edit has replaced.  *up_to* is the last post
    whose location is to go; None: all.  *countries*: whether the post or user is still withheld anywhere.
    """

    kind: str
    post: int | None = None
    user: int | None = None
    at_ms: int | None = None
    older: tuple[int, ...] = ()
    up_to: int | None = None
    countries: bool = True


def read(line: bytes) -> ComplianceEvent:
    """
    Return the event in *line*.

    A kind that is not in `KINDS` is returned, too: X may add some.

    Raises:
        BadRecord: *line* is no compliance event about a post or a user.
    """
    about = f"A line of {len(line)} bytes"
    try:
        data = _decode(line).data
    except _REFUSED as exc:
        raise BadRecord(f"{about} is no compliance event: {exc}") from exc
    if len(data) != 1:
        raise BadRecord(f"{about} is no compliance event: its `data` has {len(data)} members instead of one")
    ((kind, body),) = data.items()
    subject = body.tweet or body.post
    if subject is None and body.user is None:
        raise BadRecord(f"{about} is no compliance event: {kind[:32]!r} names neither a post nor a user")
    post = None if subject is None else _id(subject.id, about)
    older = {_id(text, about) for text in body.edit_tweet_ids[:MAX_VERSIONS]}
    if body.initial_tweet_id is not None:
        older.add(_id(body.initial_tweet_id, about))
    return ComplianceEvent(
        kind=kind,
        post=post,
        user=None if body.user is None or post is not None else _id(body.user.id, about),
        at_ms=_ms(body.event_at, about),
        older=tuple(sorted(older - {post})),
        up_to=None if body.up_to_tweet_id is None else _id(body.up_to_tweet_id, about),
        countries=body.withheld_in_countries is None or bool(body.withheld_in_countries),
    )


def _id(text: str, about: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID)) and 0 < int(text) <= MAX_ID:
        return int(text)
    raise BadRecord(f"{about} is no compliance event: {text[:32]!r} is no id of 63 bits")


def _ms(text: str | None, about: str) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as exc:
        raise BadRecord(f"{about} is no compliance event: {text[:32]!r} is no time") from exc
