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

    *lines* are X's bytes without line ends; empty for a keep-alive.  *at* is when they were read (`clock.now`), *size*
    the bytes of the lines.

    *drained* says that nothing more waited then: all that had reached this host by *at* is in hand.  After a stall it
    is False until the old data is through, and False wherever it cannot be known.
    """

    lines: tuple[bytes, ...]
    at: float
    size: int
    drained: bool = True


BUDGET = "budget"
"""Why there was no connection: what may be spent was spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """
    A connection was opened at *at* (`clock.now`); X's clock is *skew_secs* ahead of ours.

    *after* is why there was none before it: the first cause since the last connection, such as `connection_lost`, also
    if refused connects followed.  None for the first connection of a task.  *backfill_minutes* were asked for with it.
    *date* is what X's clock said (UNIX seconds, whole), None if it said nothing.
    """

    at: float
    skew_secs: float
    after: str | None = None
    backfill_minutes: int | None = None
    date: float | None = None


class HeldRule(NamedTuple):
    """A rule in force, as X has it; a rule without a tag has the tag `""`."""

    id: str
    value: str
    tag: str


class SourceRecord(NamedTuple):
    """
    One record of the output topic.  A tuple, as each post is one.

    *timestamp_ms* is the post's creation time.  *source* is the value of the header `source` of a post that a repair
    found; live posts have no header.
    """

    key: bytes
    value: bytes
    timestamp_ms: int
    source: bytes | None = None


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
class LedgerWrite:
    """
    Ids of delivered posts for the ledger topic, as `connector.ledger.encode_ids` writes them.

    *timestamp_ms* is the creation time of the newest of them, *source* what `SourceRecord` says.
    """

    value: bytes
    timestamp_ms: int
    source: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is delivered together: all of it in one transaction, the offsets last."""

    records: tuple[SourceRecord, ...]
    dead_letters: tuple[DeadLetter, ...]
    offsets: tuple[OffsetWrite, ...]
    ledger: tuple[LedgerWrite, ...] = ()
