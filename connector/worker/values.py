"""What a connector's configuration says of the values and headers of its records."""

from functools import partial
from typing import assert_never

from connector.config.connector import ConnectorConfig
from connector.formats.post.form import ConnectForm, PostForm
from connector.formats.schemas.form import SchemaForm
from connector.formats.schemas.writer import Writer
from connector.sources.stream.streams import STREAMS
from connector.telemetry.parents import TraceParents
from connector.transforms.headers import AddedHeaders, CloudEvents
from connector.transforms.transformer import Form
from connector.transforms.values import with_timestamps, write_json

CONTENT_TYPES = {
    "json": "application/json",
    "json_schema": "application/json",
    "avro": "application/avro",
    "protobuf": "application/protobuf",
}
"""The media type in each format; before the values of all but `json` a registry's head stands."""


def form_of(config: ConnectorConfig, writer: Writer | None) -> Form | None:
    """
    Return how the values of a connector are made and written; None for X's own lines.

    *writer* writes by a schema, None without one.
    """
    if writer is not None:
        return SchemaForm(writer, with_timestamps, with_raw=config.value_raw)
    match config.value_shape:
        case "envelope":
            return None
        case "post":
            return PostForm(write_json, with_raw=config.value_raw)
        case "connect":
            changed = bool(config.chain)
            return ConnectForm(write_json, with_timestamps, changed=changed, with_raw=config.value_raw)
        case _:
            assert_never(config.value_shape)


def headers_of(config: ConnectorConfig, parents: TraceParents) -> AddedHeaders:
    """Return the headers that a connector adds to its records; *parents* has those of traces."""
    events = CloudEvents(
        source=f"{config.x_api_url}{STREAMS[config.stream].path}", content_type=CONTENT_TYPES[config.value_format]
    )
    return AddedHeaders(
        cloud_events=events if config.headers_cloudevents else None,
        rules=config.headers_rules,
        trace=partial(parents.of, config.name) if config.headers_traceparent else None,
    )
