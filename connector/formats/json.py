"""`value.format=json`: the value is X's line, byte for byte, or with another `value.shape` the post in it."""

from typing import Any

import orjson
from faust.serializers.codecs import Codec

from connector.records.post import payload_of, to_fields, to_fields_of_shape, to_line
from connector.records.scanner import lean

_READ = ("id", "text", "created_at", "author_id", "lang", "note_tweet")
"""The members of a line's `data` that `to_fields` reads; next to `data` it reads only the rules."""


class LineCodec(Codec):
    """
    Reads a line of X, or a value of the shape `post` or `connect`, as the fields of a `Post`.

    It writes bytes as they are, and a `Post` as the line it came from.
    """

    def _loads(self, s: bytes) -> Any:
        s = payload_of(s)
        try:
            line = orjson.loads(s)
        except orjson.JSONDecodeError:  # not JSON; or JSON with half of a surrogate pair, or with a thousand levels
            line = orjson.loads(lean(s, data=_READ, beside=("matching_rules",)))
        return to_fields(line) if "data" in line else to_fields_of_shape(line)

    def _dumps(self, s: Any) -> bytes:
        return s if isinstance(s, bytes) else orjson.dumps(to_line(s))
