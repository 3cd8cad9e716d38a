"""How the values of a connector are written by a schema (`connector.transforms.transformer.Form`)."""

from collections.abc import Callable
from typing import Any, assert_never

from connector.config.connector import ValueFormat
from connector.formats.post.declaration import POST
from connector.formats.post.resolving import post_of
from connector.formats.schemas.wire import HEAD_BYTES_MAX
from connector.formats.schemas.writer import Writer


class SchemaForm:
    """
    Makes posts of lines, and writes them with *writer*, without their heads: `SchemaIds` has these.

    With *with_raw* a post has its line, too.  *plain* returns a value that transforms have changed as one of a post's
    types; it is asked only where *writer* cannot write.
    """

    head_bytes = HEAD_BYTES_MAX
    around_bytes = 0

    def __init__(self, writer: Writer, plain: Callable[[Any], Any], *, with_raw: bool = False) -> None:
        self._body, self._plain, self._with_raw = writer.body, plain, with_raw
        self._at_once = writer.at_once(with_raw=with_raw)

    def shape(self, line: bytes) -> Any:
        """As `Form.shape`: a post as `connector.formats.post.declaration` says."""
        return post_of(line, with_raw=self._with_raw)

    def write(self, value: Any) -> bytes:
        """As `Form.write`."""
        try:
            return self._body(value)
        except ValueError:
            return self._body(self._plain(value))

    def body(self, line: bytes) -> bytes:
        """As `Form.body`."""
        at_once = None if self._at_once is None else self._at_once(line)
        return self.write(self.shape(line)) if at_once is None else at_once


def writer_of(value_format: ValueFormat) -> Writer | None:
    """
    Return what writes posts in *value_format*; None for `json`, which has no schema.

    What a format needs of the extra `schema` is imported here.
    """
    match value_format:
        case "json":
            return None
        case "avro":
            from connector.formats.post import avro as avro_schema
            from connector.formats.schemas.avro import AvroWriter

            return AvroWriter(avro_schema.schema_text(POST), POST)
        case "json_schema":
            from connector.formats.post import json_schema
            from connector.formats.schemas.json_schema import JsonSchemaWriter

            return JsonSchemaWriter(json_schema.schema_text(POST))
        case "protobuf":
            from connector.formats.schemas.protobuf import ProtobufWriter

            return ProtobufWriter(POST)
        case _:
            assert_never(value_format)
