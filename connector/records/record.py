"""Arrivals, records and batches on their way from a source to the topic, and the writes that go with them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple, Self

from connector.errors import BadRecord
from connector.records.native import compiled

SourcePartition = Mapping[str, str]
"""Which feed: `{"stream": "filtered"}`, or with `"partition": "3"`."""


class TaskId(NamedTuple):
    """One task of a connector."""

    connector: str
    number: int

    def __str__(self) -> str:
        return f"{self.connector}-{self.number}"


COMPILED_POST_BYTES = 200
PYTHON_POST_BYTES = 240
"""More than with compiled code: in Python a record waits as eight pieces in a list (`kafka/delivery/record_batch`)."""
POST_BYTES = PYTHON_POST_BYTES if compiled is None else COMPILED_POST_BYTES
"""
Memory that a post takes beside the bytes of its line until Kafka has the post (bytes): objects for line, key and time,
and their places in the columns.
"""
ARRIVAL_BYTES = 200
"""Memory of an arrival (bytes): the object, its time, and later what is reported when Kafka has its posts."""


def held_bytes(lines: Collection[bytes], arrivals: int = 1) -> int:
    """Return the memory that the posts in *lines* take (bytes); for short lines, far more than the lines themselves."""
    return sum(map(len, lines)) + POST_BYTES * len(lines) + ARRIVAL_BYTES * arrivals if lines else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    Lines that were read from the socket together.

    *lines* are X's bytes without line ends; empty for a keep-alive.  *at* is when they were read (`clock.now`), *size*
    the memory that they take (`held_bytes`).

    *drained* says that no more data waited in the socket: everything that had reached this host by *at* has been read.
    After a stall it is False until the old data has been read.  It is also False if this cannot be known.
    """

    lines: tuple[bytes, ...]
    at: float
    size: int
    drained: bool = True


BUDGET = "budget"
"""A value of `Connected.after`: there was no connection because the budget was spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """
    A connection was opened at *at* (`clock.now`); X's clock is *skew_secs* ahead of ours.

    *after* is why there was no connection before: the first cause since the last connection, such as
    `connection_lost`, even if X refused later connects.  It is None for the first connection of a task.
    *backfill_minutes* is the backfill that this connection asked for.  *date* is the time of X's clock (whole UNIX
    seconds), None if X did not send it.
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


SOURCE_HEADER = "source"
"""Says how a repair found a post: `search`, `backfill` or `recovery`; live posts have no such header."""


class SourceRecord(NamedTuple):
    """
    One record of the output topic.

    *timestamp_ms* is the post's creation time.  *source* is the value of the header `source` of a post that a repair
    found; live posts have no header.
    """

    key: bytes
    value: bytes
    timestamp_ms: int
    source: bytes | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """
    Source records in order, with a column for each field: making an object for each record costs more than all its use.

    *sources* is None if no record has a source.
    """

    keys: tuple[bytes, ...] = ()
    values: tuple[bytes, ...] = ()
    times_ms: tuple[int, ...] = ()
    sources: tuple[bytes | None, ...] | None = None

    @classmethod
    def of(cls, records: Iterable[SourceRecord]) -> Self:
        """Return *records* in columns."""
        columns = tuple(zip(*records, strict=True))
        if not columns:
            return cls()
        keys, values, times_ms, sources = columns
        return cls(keys, values, times_ms, None if sources.count(None) == len(sources) else sources)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SourceRecord]:
        return map(SourceRecord, self.keys, self.values, self.times_ms, self.sources or repeat(None))


@dataclass(slots=True)
class RecordList:
    """Source records that are still being collected: like `Records`, with lists as columns."""

    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    sources: list[bytes | None] = field(default_factory=list)

    def append(self, record: SourceRecord) -> None:
        """Add *record*."""
        self.extend((record.key,), (record.value,), (record.timestamp_ms,), record.source)

    def extend(
        self, keys: Iterable[bytes], values: Iterable[bytes], times_ms: Iterable[int], source: bytes | None
    ) -> None:
        """Add records that have the same *source*."""
        self.keys += keys
        self.values += values
        self.times_ms += times_ms
        self.sources += [source] * (len(self.keys) - len(self.sources))

    def __iadd__(self, other: "RecordList") -> Self:
        self.keys += other.keys
        self.values += other.values
        self.times_ms += other.times_ms
        self.sources += other.sources
        return self

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SourceRecord]:
        return map(SourceRecord, self.keys, self.values, self.times_ms, self.sources)

    def done(self) -> Records:
        """Return the collected records."""
        sources = None if self.sources.count(None) == len(self.sources) else tuple(self.sources)
        return Records(tuple(self.keys), tuple(self.values), tuple(self.times_ms), sources)


class DeadLetter(NamedTuple):
    """A line that did not become a record, as X sent it, and headers that say why."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(slots=True, kw_only=True)
class Converted:
    """
    What the lines of some arrivals of one source partition became.

    *ids* are the ids of the records, *again* the ids of posts that were delivered before.  *newest_id* is the largest
    of all these ids; 0 if there is none.  *waits* has for each arrival: when it came (`clock.now`), when one of its
    posts was made (UNIX seconds), how many posts it brought.  *dropped* has the error, reason and size of each dead
    letter.  *error* is the bad record at which the conversion stopped, None if all lines were converted.
    """

    records: RecordList = field(default_factory=RecordList)
    ids: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    newest_id: int = 0
    dead_letters: list[DeadLetter] = field(default_factory=list)
    waits: list[tuple[float, float, int]] = field(default_factory=list)
    dropped: list[tuple[str, str, int]] = field(default_factory=list)
    error: BadRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetWrite:
    """A source offset as it stands in the offsets topic: Connect's key, and a JSON value; None for no offset yet."""

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerWrite:
    """
    Ids of delivered posts for the ledger topic, as `connector.coverage.ledger.encode_ids` writes them.

    *timestamp_ms* is the creation time of the newest of these posts; *source* is as in `SourceRecord`.
    """

    value: bytes
    timestamp_ms: int
    source: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is delivered together: in one transaction if the connector uses transactions, with the offsets last."""

    records: Records
    dead_letters: tuple[DeadLetter, ...]
    offsets: tuple[OffsetWrite, ...]
    ledger: tuple[LedgerWrite, ...] = ()

    def held_bytes(self, arrivals: int) -> int:
        """Return the memory that the batch takes (bytes), if its posts came in *arrivals* arrivals."""
        return held_bytes([*self.records.values, *(letter.value for letter in self.dead_letters)], arrivals)


@dataclass(slots=True, kw_only=True)
class Sifted:
    """
    Which records of a batch the topic refuses.

    *refused* has a sentence with the reason, by the record's place in the batch.  *taken* says that all other records
    are in the topic; if it is False, a new producer must deliver them.
    """

    refused: dict[int, str] = field(default_factory=dict)
    taken: bool = False
