"""Writes and reads a record's value, with a Faust codec for each `value.format`."""

from typing import Literal

from faust.serializers.codecs import Codec, register

from connector.formats.json import LineCodec

Format = Literal["json"]

FORMATS: dict[str, Codec] = {"json": LineCodec()}


def codec_name(value_format: Format) -> str:
    """Return the name under which Faust knows the codec of *value_format*."""
    return f"post_{value_format}"


for _name, _codec in FORMATS.items():
    register(f"post_{_name}", _codec)
