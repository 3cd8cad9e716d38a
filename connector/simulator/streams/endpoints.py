"""The streams of the API, and the partition of a post."""

from __future__ import annotations

from dataclasses import dataclass

FILTERED = "filtered_stream"
SAMPLE = "sample_stream"
SAMPLE10 = "sample10_stream"
POSTS_COMPLIANCE = "tweets_compliance_stream"
USERS_COMPLIANCE = "users_compliance_stream"
COMPLIANCE = frozenset({POSTS_COMPLIANCE, USERS_COMPLIANCE})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEndpoint:
    """One stream of the API."""

    name: str
    partitions: int | None = None
    language: str | None = None
    has_range: bool = True


STREAMS: dict[str, StreamEndpoint] = {
    "/2/tweets/search/stream": StreamEndpoint(name=FILTERED),
    "/2/tweets/sample/stream": StreamEndpoint(name=SAMPLE, has_range=False),
    "/2/tweets/sample10/stream": StreamEndpoint(name=SAMPLE10, partitions=2),
    "/2/tweets/firehose/stream": StreamEndpoint(name="firehose_stream", partitions=20),
    "/2/tweets/firehose/stream/lang/en": StreamEndpoint(name="firehose_stream_lang_en", partitions=8, language="en"),
    **{
        f"/2/tweets/firehose/stream/lang/{code}": StreamEndpoint(
            name=f"firehose_stream_lang_{code}", partitions=2, language=code
        )
        for code in ("ja", "ko", "pt")
    },
    "/2/tweets/compliance/stream": StreamEndpoint(name=POSTS_COMPLIANCE, partitions=4),
    "/2/users/compliance/stream": StreamEndpoint(name=USERS_COMPLIANCE, partitions=4),
}
"""Streams by path."""

PARTITIONS = {stream.name: stream.partitions for stream in STREAMS.values()}


def partition_of(post_id: int, partitions: int) -> int:
    """Return the partition of a post, from 1; a hash spreads ids whose sequence numbers are uneven."""
    return (post_id * 0x9E3779B97F4A7C15 >> 32) % partitions + 1
