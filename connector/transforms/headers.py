"""
Headers that a connector adds to each record on request: CloudEvents' attributes, the labels of rules, a trace's parent.

They come after the transforms, so that none of these sees or loses them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connector.records.snowflake import created_ms, to_iso
from connector.transforms.record import Header

RULES_HEADER = "rules"
TRACEPARENT_HEADER = "traceparent"
EVENT_TYPE = "murmuration.post"
_SPEC_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvents:
    """
    What is the same for all events of a connector.

    *source* is the URL of the stream, a URI as `ce_source` must be; *content_type* the media type of values.
    (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md#32-binary-content-mode)
    """

    source: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedHeaders:
    """
    Which headers are added.

    *trace* returns the `traceparent` of a post by its id, None if the worker traces none.
    """

    cloud_events: CloudEvents | None = None
    rules: bool = False
    trace: Callable[[int], str | None] | None = None

    def __bool__(self) -> bool:
        return self.cloud_events is not None or self.rules or self.trace is not None

    def of(self, post_id: int, labels: Sequence[str], *, tombstone: bool) -> tuple[Header, ...]:
        """Return the headers for the record of the post *post_id*, which matched the rules *labels*."""
        headers: list[Header] = []
        if self.cloud_events is not None:
            headers += (
                ("ce_specversion", _SPEC_VERSION.encode()),
                ("ce_id", b"%d" % post_id),
                ("ce_source", self.cloud_events.source.encode()),
                ("ce_type", EVENT_TYPE.encode()),
                ("ce_time", to_iso(created_ms(post_id)).encode()),
            )
            if not tombstone:  # an event without data has no type of data
                headers.append(("content-type", self.cloud_events.content_type.encode()))
        if self.rules:
            headers.append((RULES_HEADER, json.dumps(labels, ensure_ascii=False).encode(errors="replace")))
        if self.trace is not None and (parent := self.trace(post_id)) is not None:
            headers.append((TRACEPARENT_HEADER, parent.encode()))
        return tuple(headers)


NO_HEADERS = AddedHeaders()
