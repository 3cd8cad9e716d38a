"""What travels from a source to the topic, and how far it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

SourcePartition = Mapping[str, str]
"""Which feed: `{"stream": "filtered"}`, or with `"partition": "3"`."""


class TaskId(NamedTuple):
    """One task of a connector."""

    connector: str
    number: int

    def __str__(self) -> str:
        return f"{self.connector}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    Lines that came out of the socket together.

    *lines* are X's bytes without line ends; empty for a keep-alive.  *at* is the local UNIX time in seconds, *size*
    the bytes of the lines.
    """

    lines: tuple[bytes, ...]
    at: float
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A connection was opened at *at* (local UNIX seconds); X's clock is *skew_secs* ahead of ours."""

    at: float
    skew_secs: float


class SourceRecord(NamedTuple):
    """One record of the output topic: *timestamp_ms* is the post's creation time.  A tuple, as each post is one."""

    key: bytes
    value: bytes
    timestamp_ms: int


class DeadLetter(NamedTuple):
    """A line that did not become a record, as X sent it, and headers that say why."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetWrite:
    """A source offset as it stands in the offsets topic: Connect's key, and a JSON value; None for no offset yet."""

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is delivered together: all of it in one transaction, the offsets last."""

    records: tuple[SourceRecord, ...]
    dead_letters: tuple[DeadLetter, ...]
    offsets: tuple[OffsetWrite, ...]
