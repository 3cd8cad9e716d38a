"""`value.format=json_schema`: JSON, whose schema is in the registry."""

from collections.abc import Callable
from typing import Any

import orjson

from connector.formats.schemas.writer import Schema

NAME = "Post"
"""The name of the record for the strategies that use one: the schema's title, as Confluent's serializer has it."""


class JsonSchemaWriter:
    """Writes a post, a dict of JSON's types, whose JSON Schema is *text*; none of its values is checked against it."""

    after_id = b""

    def __init__(self, text: str) -> None:
        self.schema = Schema("JSON", text, str(orjson.loads(text).get("title", NAME)))

    def body(self, value: Any) -> bytes:
        """As `Writer.body`."""
        try:
            return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS)  # a dataclass is none of JSON's types
        except TypeError as error:
            raise ValueError(f"it cannot be written as JSON: {error}") from error

    def at_once(self, *, with_raw: bool) -> None:
        """As `Writer.at_once`: nothing does."""

    def by(self, text: str) -> tuple[bytes, Callable[[bytes], bytes] | None]:
        """As `Writer.by`: JSON is the same by any version."""
        return b"", None
