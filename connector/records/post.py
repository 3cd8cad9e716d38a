"""
Reads a line of X: the id of its post, or the typed `Post`.

`head_of` finds the id without decoding the rest of the line; every post takes this path.  `Post` is the value of the
typed channel, for applications that read the topic.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import faust
import msgspec

from connector.errors import BadRecord
from connector.records import snowflake
from connector.records.native import compiled
from connector.records.scanner import members

MAX_ID = 2**63 - 1
MAX_DIGITS = len(str(MAX_ID))
_SHOWN_CHARACTERS = 32


class _Data(msgspec.Struct, gc=False):
    id: str


class _Head(msgspec.Struct, gc=False):
    data: _Data


class _WithSchema(msgspec.Struct, gc=False):
    payload: msgspec.Raw


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_with_schema = msgspec.json.Decoder(_WithSchema).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no post of X, and for valid JSON that msgspec does not read."""


def head_of(line: bytes) -> int:
    """
    Return the id of the post in *line*, after checking that the whole line is JSON.

    Everything that the grammar of JSON allows is accepted, at any depth: the line goes to Kafka as X sent it.

    Raises:
        BadRecord: *line* is not JSON, or holds no post with an id.
    """
    if compiled is not None and (heads := heads_of((line,))) is not None:
        return heads[0][0]
    try:
        if not line.isascii():
            line.decode()  # msgspec does not check the UTF-8 of values that it skips
        post_id = _decode_head(line).data.id
    except _REFUSED:
        post_id = _look_for_id(line)
    if (
        len(post_id) <= MAX_DIGITS
        and post_id.isascii()
        and post_id.isdigit()
        and 0 < (number := int(post_id)) <= MAX_ID
    ):
        return number
    shown = json.dumps(post_id[:_SHOWN_CHARACTERS])
    raise BadRecord(f"A line of {len(line)} bytes has the post id {shown}, which is no number of 63 bits")


def _look_for_id(line: bytes) -> str:
    """
    Return the id in *line*, found with `scanner` instead of a parser.

    Raises:
        BadRecord: *line* is not JSON, or holds no post with an id.
    """
    about = f"A line of {len(line)} bytes"
    try:
        data = members(line).get("data")
    except ValueError as exc:
        raise BadRecord(f"{about} is no post: it {exc}") from exc
    if data is None or not data.startswith(b"{"):
        raise BadRecord(f"{about} is no post: it has no object `data`")
    post_id = members(data).get("id")
    if post_id is None or not post_id.startswith(b'"'):
        raise BadRecord(f"{about} is no post: its `data` has no `id`, or one that is no string")
    return str(json.loads(post_id.decode()))


def heads_of(lines: tuple[bytes, ...]) -> tuple[list[int], list[bytes]] | None:
    """
    Return the ids of the posts in *lines* and the keys of their records, with the checks of `head_of`.

    None if a line needs `head_of` itself, which reads more kinds of JSON and says what is wrong.
    """
    return compiled.heads(lines) if compiled is not None else _heads_in_python(lines)


def _heads_in_python(lines: Sequence[bytes]) -> tuple[list[int], list[bytes]] | None:
    # takes a third less time than `head_of` for each line
    try:
        if not all(map(bytes.isascii, lines)):
            for line in lines:
                line.decode()
        texts = [_decode_head(line).data.id for line in lines]
    except _REFUSED:
        return None
    together = "".join(texts)
    if not (together.isascii() and together.isdigit() and all(texts)) or max(map(len, texts)) > MAX_DIGITS:
        return None
    ids = [int(text) for text in texts]
    if min(ids) <= 0 or max(ids) > MAX_ID:
        return None
    return ids, [b"%d" % post_id for post_id in ids]


def payload_of(value: bytes) -> bytes:
    """Return the post in a *value* of the shape `connect`, which has its schema before it; any other value as it is."""
    if not value.startswith(b'{"schema":'):
        return value
    try:
        return bytes(_decode_with_schema(value).payload)
    except _REFUSED:
        return value


class MatchingRule(faust.Record, include_metadata=False):
    """A rule that a post matched; an untagged one has the tag `""`."""

    id: str
    tag: str = ""


class Post(faust.Record, include_metadata=False, coerce=True):
    """
    The fields of a post that most readers need; the record's bytes have everything that X sent.

    *text* is as X sent it, cut for long posts, or in full with `value.shape=post`; `full_text` is never cut for long
    posts.  *created_at* comes from the id if the line does not have it.
    """

    id: str
    text: str
    created_at: datetime
    author_id: str | None = None
    lang: str | None = None
    note_text: str | None = None
    matching_rules: list[MatchingRule] = []  # noqa: RUF012  # Faust's models copy their defaults

    @property
    def full_text(self) -> str:
        """The whole text, also of posts longer than 280 characters."""
        return self.note_text or self.text


def to_fields(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Post` from a decoded line of X."""
    data = line["data"]
    return {
        "id": data["id"],
        "text": data.get("text", ""),
        # Not parsed by Faust, which reads the fraction .789 as 789 microseconds.
        "created_at": datetime.fromisoformat(
            data.get("created_at") or snowflake.to_iso(snowflake.created_ms(int(data["id"])))
        ),
        "author_id": data.get("author_id"),
        "lang": data.get("lang"),
        "note_text": data.get("note_tweet", {}).get("text"),
        "matching_rules": [{"id": rule["id"], "tag": rule.get("tag", "")} for rule in line.get("matching_rules", [])],
    }


def to_fields_of_shape(post: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the fields of a `Post` from a decoded value of the shape `post` (`connector.formats.post.declaration`).

    Its text is never cut, so there is no other.
    """
    return {
        "id": post["id"],
        "text": post["text"],
        "created_at": datetime.fromisoformat(snowflake.to_iso(post["created_at"])),
        "author_id": post.get("author", {}).get("id"),
        "lang": post.get("lang"),
        "note_text": None,
        "matching_rules": [{"id": rule["id"], "tag": rule.get("tag", "")} for rule in post.get("matching_rules", [])],
    }


def to_line(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of X from which `to_fields` reads these *fields*."""
    data = {key: fields[key] for key in ("id", "text", "author_id", "lang") if fields.get(key) is not None}
    created_at = fields["created_at"]
    data["created_at"] = created_at if isinstance(created_at, str) else created_at.isoformat()
    if fields.get("note_text"):
        data["note_tweet"] = {"text": fields["note_text"]}
    rules = [rule.asdict() if isinstance(rule, MatchingRule) else rule for rule in fields.get("matching_rules", ())]
    return {"data": data, "matching_rules": rules}
