"""The streams of X, and how the parts of a stream are dealt to tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

from connector.config.fields import COMPLIANCE, RECHECK, STREAM_PARTITIONS
from connector.records.record import SourcePartition


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """
    A stream that X offers (docs.x.com: API reference of the endpoints).

    *endpoint* is the stream's name in the answer of GET /2/connections.
    """

    name: str
    path: str
    endpoint: str
    has_rules: bool = False
    has_backfill: bool = True
    """Whether the stream takes `backfill_minutes`: up to 5 minutes on a reconnect, Enterprise only."""
    has_recovery: bool = True
    """Whether the stream takes `start_time` and `end_time`: an interval of the last 24 h, Enterprise only."""

    @property
    def partitions(self) -> int:
        """How many connections carry the whole stream together; 0 for a stream that takes no `partition`."""
        count = STREAM_PARTITIONS[self.name]
        return count if count > 1 else 0


def _language(code: str) -> Stream:
    return Stream(
        name=f"firehose.{code}",
        path=f"/2/tweets/firehose/stream/lang/{code}",
        endpoint=f"firehose_stream_lang_{code}",
    )


_COMPLIANCE = {
    "posts": Stream(name=COMPLIANCE, path="/2/tweets/compliance/stream", endpoint="tweets_compliance_stream"),
    "users": Stream(name=COMPLIANCE, path="/2/users/compliance/stream", endpoint="users_compliance_stream"),
}
"""X has two streams of what it withdraws; a connector reads both."""

_COMPLIANCE_PARTITIONS = STREAM_PARTITIONS[COMPLIANCE] // len(_COMPLIANCE)

_TABLE = (
    Stream(name="filtered", path="/2/tweets/search/stream", endpoint="filtered_stream", has_rules=True),
    Stream(name="sample", path="/2/tweets/sample/stream", endpoint="sample_stream", has_recovery=False),
    Stream(name="sample10", path="/2/tweets/sample10/stream", endpoint="sample10_stream"),
    Stream(name="firehose", path="/2/tweets/firehose/stream", endpoint="firehose_stream"),
    _language("en"),
    _language("ja"),
    _language("ko"),
    _language("pt"),
    _COMPLIANCE["posts"],
    Stream(name=RECHECK, path="/2/tweets", endpoint="", has_backfill=False, has_recovery=False),
)

STREAMS: Mapping[str, Stream] = {stream.name: stream for stream in _TABLE}
"""The streams a connector can read, by the value of its option `stream`."""


def source_partitions(stream: Stream) -> tuple[SourcePartition, ...]:
    """Return the parts of *stream*; reading the whole stream needs one connection for each part."""
    if not stream.partitions:
        return ({"stream": stream.name},)
    if stream.name == COMPLIANCE:
        numbers = range(1, _COMPLIANCE_PARTITIONS + 1)
        return tuple({"stream": stream.name, "partition": f"{of}-{number}"} for of in _COMPLIANCE for number in numbers)
    return tuple({"stream": stream.name, "partition": str(number)} for number in range(1, stream.partitions + 1))


def at_x(partition: SourcePartition) -> Stream:
    """Return the stream of X that *partition* is a part of."""
    of = partition.get("partition", "").partition("-")[0]
    return _COMPLIANCE[of] if partition["stream"] == COMPLIANCE else STREAMS[partition["stream"]]


def number_of(partition: SourcePartition) -> str | None:
    """Return the number by which X names *partition*; None for a stream in one piece."""
    name = partition.get("partition")
    return None if name is None else name.rpartition("-")[2]


def spread(stream: Stream, tasks: int) -> tuple[tuple[SourcePartition, ...], ...]:
    """
    Deal the parts of *stream* to *tasks* tasks, as evenly as possible; with more tasks than parts, some get none.

    A task with several parts needs one connection for each.
    """
    parts = source_partitions(stream)
    return tuple(parts[task::tasks] for task in range(tasks))
