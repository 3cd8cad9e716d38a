"""What the transforms of a connector make of a post: the record to deliver, or nothing."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from connector.config.options import Unfit
from connector.config.worker import legal_topic
from connector.errors import BadRecord, TransformFailed
from connector.records.record import SOURCE_HEADER, Altered, SourceRecord
from connector.transforms.by_topic import ByTopic
from connector.transforms.chain import Chain
from connector.transforms.headers import NO_HEADERS, AddedHeaders
from connector.transforms.labels import RULES, Labels, rules_in
from connector.transforms.record import Record
from connector.transforms.values import read, write_key, write_value

TOPICS_MAX = 1_000
"""The most topics to which the records of one connector may go."""
HEADERS_MAX = 100
"""The most headers of one record."""
_TIME_MAX = 2**63 - 1


class Form(Protocol):
    """How values are written, if not as the line of X or as JSON of its objects."""

    @property
    def head_bytes(self) -> int:
        """How many bytes a value has at most beside those that `write` returns."""

    @property
    def around_bytes(self) -> int:
        """How many bytes of what `write` returns are the same in each value, and no part of the post."""

    def shape(self, line: bytes) -> Any:
        """
        Return what transforms get of *line*.

        Raises:
            BadRecord: *line* holds no post.
        """

    def write(self, value: Any) -> bytes:
        """
        Return *value*, which is not None, as bytes.

        Raises:
            ValueError: *value* does not fit.
        """

    def body(self, line: bytes) -> bytes:
        """
        Return what `write` returns for what `shape` returns, for a line that no transform gets.

        Raises:
            BadRecord: *line* holds no post.
            ValueError: the post does not fit.
        """


class Transformer:
    """
    Applies *chain* to the posts of *connector*, whose topic is *topic*.

    *labels* are the labels of its rules, in their order.  No record may go to one of the topics *reserved*.  Values are
    written in *form*; without one, as JSON.  Records get the headers *added*.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        connector: str,
        topic: str,
        labels: Sequence[str],
        reserved: Collection[str],
        form: Form | None = None,
        added: AddedHeaders = NO_HEADERS,
    ) -> None:
        self._chain, self._topic, self._form, self._added = chain, topic, form, added
        self._labels = Labels(connector, labels)
        self._reserved = frozenset(reserved)
        self._topics: set[str] = set()
        self._wrong = ByTopic(self._why_wrong)

    def record_of(
        self, post_id: int, line: bytes, made_ms: int, source: bytes | None, max_bytes: int
    ) -> SourceRecord | None:
        """
        Return what becomes of the post *post_id* in *line*; None if a transform drops it.

        *made_ms* is the post's creation time (UNIX ms), *source* says how a repair has found it.  Key, value and
        headers together have at most *max_bytes*.

        Raises:
            TransformFailed: a transform cannot take the post, or made of it what cannot be delivered.
            BadRecord: the record is larger than the topic takes.
        """
        value, labels = self._read(post_id, line)
        after = self._chain.apply(
            Record(
                topic=self._topic,
                key=str(post_id),
                value=value,
                timestamp_ms=made_ms,
                headers=() if source is None else ((SOURCE_HEADER, source),),
                post_id=post_id,
                labels=labels,
            )
        )
        return None if after is None else self._written(after, line, max_bytes)

    @property
    def around_bytes(self) -> int:
        """As `Form.around_bytes`; 0 without a form."""
        return 0 if self._form is None else self._form.around_bytes

    def know_rules(self, labels: Mapping[str, str]) -> None:
        """As `Labels.know_rules`."""
        self._labels.know_rules(labels)

    def _read(self, post_id: int, line: bytes) -> tuple[Any, tuple[str, ...]]:
        """Return what the chain gets as the value, and the labels; without a chain, only what is needed of the line."""
        if self._form is None and not self._chain.length:
            return None, self._labels.of(rules_in(line)) if self._added.rules else ()
        try:
            value = read(line) if self._form is None else self._form.shape(line)
        except ValueError as exc:
            raise TransformFailed(f"The post {post_id} cannot be given to transforms: {exc}") from exc
        return value, self._labels.of(value.get(RULES) if isinstance(value, dict) else None)

    def _written(self, record: Record, line: bytes, max_bytes: int) -> SourceRecord:
        post_id = record.post_id
        try:
            topic = _topic(record.topic)
            key = write_key(record.key)
            value = self._write(record.value, line)
            headers = _headers(record.headers)
            if self._added:
                headers += self._added.of(post_id, record.labels, tombstone=value is None)
            time_ms = _time(record.timestamp_ms)
        except ValueError as exc:
            raise TransformFailed(f"What the transforms make of the post {post_id} cannot be delivered: {exc}") from exc
        if topic != self._topic and (reason := self._wrong[topic]):
            raise TransformFailed(f"The transforms give the post {post_id} the topic {topic!r}, {reason}")
        head_bytes = 0 if self._form is None or value is None else self._form.head_bytes
        size = (
            head_bytes
            + len(key or b"")
            + len(value or b"")
            + sum(len(name) + len(content) for name, content in headers)
        )
        if size > max_bytes:
            whose = "transforms make" if self._chain.length else "connector makes"
            raise BadRecord(
                f"The {whose} of the post {post_id} a record of {size} bytes, the topic takes {max_bytes}: "
                f"raise max.message.bytes of the topic"
            )
        source = headers[0][1] if headers and headers[0][0] == SOURCE_HEADER else None
        altered = Altered(
            post_id,
            None if topic == self._topic else topic,
            headers if source is None else headers[1:],
            keyless=key is None,
            tombstone=value is None,
            line=b"" if value is line else line,
        )
        return SourceRecord(key or b"", value or b"", time_ms, source, altered)

    def _write(self, value: Any, line: bytes) -> bytes | None:
        if self._form is not None and value is not None:
            return self._form.write(value)
        return line if self._chain.keeps_value else write_value(value)

    def _why_wrong(self, topic: str) -> str:
        """Return the rest of a sentence on why no record may go to *topic*; empty if one may."""
        if topic in self._reserved:
            return "which the connector itself writes to: choose another name."
        try:
            legal_topic(topic)
        except Unfit as unfit:
            return f"which {unfit.rests[0]}"
        if len(self._topics) >= TOPICS_MAX and topic not in self._topics:
            return f"and {TOPICS_MAX} topics are the most that a connector may use: make fewer."
        self._topics.add(topic)
        return ""


def _headers(headers: object) -> tuple[tuple[str, bytes], ...]:
    """
    Return *headers* of a record that a transform may have changed.

    Raises:
        ValueError: they are no pairs of a name and bytes, or too many.
    """
    found = tuple(headers) if isinstance(headers, list | tuple) else None
    if found is None or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bytes)  # noqa: PLR2004  # a pair
        for pair in found
    ):
        raise ValueError("its headers are no pairs of a name and bytes")
    if len(found) > HEADERS_MAX:
        raise ValueError(f"it has {len(found)} headers, and {HEADERS_MAX} are the most")
    return found


def _topic(topic: object) -> str:
    if isinstance(topic, str):
        return topic
    raise ValueError(f"its topic {topic!r} is no text")


def _time(time_ms: object) -> int:
    if isinstance(time_ms, int) and not isinstance(time_ms, bool) and 0 <= time_ms <= _TIME_MAX:
        return time_ms
    raise ValueError(f"its timestamp {time_ms!r} is no time in milliseconds since 1970")
