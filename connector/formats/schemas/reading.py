"""
Reads values with a schema as `Post`s in a Faust application: the typed channel of `avro`, `json_schema`, `protobuf`.

    PostsTopic(app, topic="posts", value_codec=SchemaCodec("avro", {"url": "http://registry:8081"}))

Confluent's deserializers do the work.  They ask the registry once for each id of a schema, and that request blocks the
event loop of the application that reads; no worker of the connector reads values.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from faust.serializers.codecs import Codec

from connector.formats.post.declaration import POST
from connector.formats.post.protobuf_messages import message_class
from connector.formats.schemas.wire import BODY_AT, HEAD_BYTES_MAX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SchemaCodec(Codec):
    """
    Reads values of *value_format* by the schemas of the registry that Confluent's client finds with *registry*.

    Only Avro needs the registry: JSON says its fields itself, and Protobuf their numbers.

    Raises:
        TypeError: something is written.
    """

    def __init__(
        self, value_format: Literal["avro", "json_schema", "protobuf"], registry: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._client = SchemaRegistryClient(dict(registry or {})) if value_format == "avro" else None
        self._read = _reader_of(value_format, self._client)

    def close(self) -> None:
        """Close the connections to the registry."""
        if self._client is not None:
            self._client.close()

    def _loads(self, s: bytes) -> Any:
        return self._read(s)

    def _dumps(self, s: Any) -> bytes:
        raise TypeError(
            "This channel reads values with a schema, and writes none: a connector writes them, or Confluent's"
        )


def _reader_of(value_format: str, client: SchemaRegistryClient | None) -> Callable[[bytes], dict[str, Any]]:
    if client is not None:
        read = AvroDeserializer(client, conf={"subject.name.strategy.type": "RECORD"})
        return lambda value: _fields(read(value))
    if value_format == "json_schema":
        return lambda value: _fields(orjson.loads(memoryview(value)[BODY_AT:]))
    message = message_class(POST)
    return lambda value: _fields(_dict_of(message.FromString(_without_head(value))))


def _without_head(value: bytes) -> bytes:
    """Return *value* without its head, whose message indexes are a single 0 as long as `Post` comes first."""
    if value[BODY_AT : BODY_AT + 1] != b"\0":
        raise ValueError(f"a value begins with {value[:HEAD_BYTES_MAX]!r}: its message is not the first of its schema")
    return value[BODY_AT + 1 :]


def _dict_of(post: Any) -> dict[str, Any]:
    author = {"id": post.author.id} if post.HasField("author") else None
    made = post.created_at
    return {
        "id": post.id,
        "text": post.text,
        "created_at": _EPOCH + timedelta(seconds=made.seconds, microseconds=made.nanos // 1000),
        "author": author,
        "lang": post.lang if post.HasField("lang") else None,
        "matching_rules": [{"id": rule.id, "tag": rule.tag} for rule in post.matching_rules],
    }


def _fields(post: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `connector.Post`; the text of a post with a schema is whole already."""
    made = post["created_at"]
    return {
        "id": post["id"],
        "text": post["text"],
        "created_at": made if isinstance(made, datetime) else _EPOCH + timedelta(milliseconds=made),
        "author_id": (post.get("author") or {}).get("id"),
        "lang": post.get("lang"),
        "note_text": None,
        "matching_rules": [
            {"id": rule["id"], "tag": rule.get("tag") or ""} for rule in post.get("matching_rules") or ()
        ],
    }
