"""`value.format=json`: the value is X's line, byte for byte."""

from typing import Any

import orjson
from faust.serializers.codecs import Codec

from connector.posts import to_fields, to_line


class LineCodec(Codec):
    """Reads a line of X as the fields of a `Post`; writes bytes as they are, and a `Post` as the line it came from."""

    def _loads(self, s: bytes) -> Any:
        return to_fields(orjson.loads(s))

    def _dumps(self, s: Any) -> bytes:
        return s if isinstance(s, bytes) else orjson.dumps(to_line(s))
