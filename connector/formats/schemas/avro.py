"""`value.format=avro`: Avro's binary form, by `avro_encoder`; fastavro reads and writes by the versions of others."""

import json
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, to_parsing_canonical_form

from connector.formats.post.avro_steps import program
from connector.formats.post.model import RecordType
from connector.formats.schemas import native
from connector.formats.schemas.avro_encoder import encoder_of
from connector.formats.schemas.writer import Schema, Unfitting


class AvroWriter:
    """
    Writes a post, a dict of Avro's types with the times as whole numbers, by the Avro schema *text*.

    *record* is the declaration of which that is made, if it is that of a post: then a line can be written at once.
    """

    after_id = b""

    def __init__(self, text: str, record: RecordType | None = None) -> None:
        self._record = record
        parsed = json.loads(text)
        self._parsed = parse_schema(parsed)
        self._encode = encoder_of(parsed)
        self.schema = Schema("AVRO", text, self._parsed["name"])  # type: ignore[call-overload, index]  # a record

    def body(self, value: Any) -> bytes:
        """As `Writer.body`."""
        try:
            return self._encode(value)
        except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
            raise ValueError(f"it does not fit the Avro schema: {error!r:.200}") from error

    def at_once(self, *, with_raw: bool) -> Callable[[bytes], bytes | None] | None:
        """As `Writer.at_once`: the compiled form does."""
        if native.compiled is None or self._record is None:
            return None
        written: Callable[[bytes], bytes | None] = native.compiled.writer(program(self._record, with_raw=with_raw))
        return written

    def by(self, text: str) -> tuple[bytes, Callable[[bytes], bytes] | None]:
        """As `Writer.by`: a body is read as Avro's rules of resolution say, and written again."""
        try:
            theirs = parse_schema(json.loads(text))
            if to_parsing_canonical_form(theirs) == to_parsing_canonical_form(self._parsed):
                return b"", None
        except (ValueError, TypeError, KeyError, RecursionError, SchemaParseException) as error:
            raise Unfitting(f"it cannot be read: {error!r:.200}") from error
        ours = self._parsed

        def change(body: bytes) -> bytes:
            written = BytesIO()
            try:
                schemaless_writer(written, theirs, schemaless_reader(BytesIO(body), ours, theirs))
            except (SchemaResolutionError, ValueError, TypeError, KeyError) as error:
                raise Unfitting(f"{error!r:.200}") from error
            return written.getvalue()

        return b"", change
