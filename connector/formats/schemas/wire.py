"""
The head of a value with a schema: Confluent's wire format, version 0.

    byte 0    0
    1 to 4    the id of the schema, big-endian
    then      Protobuf only: which message of the schema, see `message_indexes`
    then      the value

Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import re
from collections.abc import Sequence
from struct import Struct

_HEAD = Struct(">bI")
_ID_MAX = 2**31 - 1
_FIRST = b"\0"
BODY_AT = _HEAD.size
"""Where the value begins; with Protobuf, where the place of the message begins."""
HEAD_BYTES_MAX = _HEAD.size + 8
"""More bytes than a head has: Avro and JSON Schema have 5, Protobuf 6 for the first message of a schema."""


def head(schema_id: int, after: bytes = b"") -> bytes:
    """
    Return the head of a value whose schema has the id *schema_id*, with *after* at its end.

    Raises:
        ValueError: *schema_id* is no id, which is a positive whole number of 31 bits.
    """
    if not isinstance(schema_id, int) or not 0 < schema_id <= _ID_MAX:
        raise ValueError(f"{schema_id!r} is no id of a schema")
    return _HEAD.pack(0, schema_id) + after


def message_indexes(places: Sequence[int]) -> bytes:
    """
    Return how Protobuf's head names a message: *places* is its place in the file, or in the message around it.

    The first message of a file, by far the most frequent, is a single zero byte.
    """
    if list(places) == [0]:
        return _FIRST
    return b"".join(map(_zigzag, (len(places), *places)))


def place_of(message: str, text: str) -> int | None:
    """Return the place of the top-level *message* in the schema *text* (proto3); None if it is not there."""
    plain = _without_comments(text)
    depth, place = 0, 0
    for found in re.finditer(r"[{}]|\bmessage\s+(\w+)", plain):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            depth -= 1
        elif depth == 0:
            if found[1] == message:
                return place
            place += 1
    return None


def _without_comments(text: str) -> str:
    # what has no end goes to the end of its line, or of the text: whoever looks for the end again and again takes hours
    return re.sub(r'"(?:[^"\\\n]|\\.)*+"?|//[^\n]*|/\*.*?(?:\*/|\Z)', " ", text, flags=re.DOTALL)


def _zigzag(number: int) -> bytes:
    rest, encoded = number << 1, bytearray()
    while rest >> 7:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
