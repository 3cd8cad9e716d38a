"""Reads a line of X as objects, and writes a record's key and value as bytes."""

import json
from typing import Any

import msgspec
import orjson

from connector.transforms.moment import Moment

_decode = msgspec.json.Decoder().decode
# what JSON allows and msgspec does not read: half of a surrogate pair, a number out of range, any depth
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
    Moment: "a time",
}


def read(line: bytes) -> Any:
    """
    Return the objects in *line*, which is JSON; whole numbers of any size are exact.

    Raises:
        ValueError: *line* is nested too deeply.
    """
    try:
        return _decode(line)
    except _REFUSED:
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError("its objects are nested too deeply to be read") from None


def write_value(value: Any) -> bytes | None:
    """
    Return *value* as JSON; None, a tombstone, for None.

    Raises:
        ValueError: *value* holds what JSON cannot express.
    """
    return None if value is None else write_json(value)


def write_key(key: Any) -> bytes | None:
    """
    Return a text as it is, and any other *key* but None as JSON.

    Raises:
        ValueError: *key* holds what JSON cannot express.
    """
    if isinstance(key, str):
        return key.encode(errors="surrogatepass")
    return None if key is None else write_json(key)


def kind_of(value: Any) -> str:
    """Return what *value* is, in words for people."""
    return _KINDS.get(type(value), type(value).__name__)


def write_json(value: Any) -> bytes:
    """
    Return *value* as JSON.

    Raises:
        ValueError: *value* holds what JSON cannot express.
    """
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError as exc:  # half of a surrogate pair, a number of more than 64 bits, or no JSON at all
        try:
            return json.dumps(value, default=_plain, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"its result cannot be written as JSON: {exc}") from exc


def with_timestamps(value: Any) -> Any:
    """
    Return *value*, a post as its schema has it, with UNIX ms in the place of each Timestamp that a transform has made.

    Raises:
        ValueError: *value* holds a Date or a Time, which no field of a post is, or is nested too deeply.
    """
    try:
        return _timed(value)
    except RecursionError:
        raise ValueError("its objects are nested too deeply to be written") from None


def _timed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_timed, value))
    if not isinstance(value, Moment):
        return value
    if value.form != "Timestamp":
        raise ValueError(f"its times are a Timestamp, and no {value.form}: use target.type=Timestamp or unix")
    return value.ms


def _plain(value: object) -> object:
    if isinstance(value, Moment):
        return value.number
    raise TypeError(f"{type(value).__name__} is no type of JSON")
