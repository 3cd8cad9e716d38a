"""What travels from a source to the topic, and how far it came."""

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
"""Eight places in lists more than in C, as a record waits in pieces there (`kafka/delivery/record_batch`)."""
POST_BYTES = PYTHON_POST_BYTES if compiled is None else COMPILED_POST_BYTES
"""What a post takes beside its line until Kafka has it: objects for line, key and time, their places in the columns."""
ARRIVAL_BYTES = 200
"""What an arrival takes: it and its time, and then what is told when Kafka has its posts."""


def held_bytes(lines: Collection[bytes], arrivals: int = 1) -> int:
    """Return how much memory posts of *lines* take; with short lines that is far more than their bytes."""
    return sum(map(len, lines)) + POST_BYTES * len(lines) + ARRIVAL_BYTES * arrivals if lines else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """
    Lines that came out of the socket together.

    *lines* are X's bytes without line ends; empty for a keep-alive.  *at* is when they were read (`clock.now`), *size*
    the memory that they take (`held_bytes`).

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
    Source records in order, a column for each field: an object for each would cost more than what is done with them.

    *sources* is None where no record has one.
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
    """Source records that are being gathered: `Records` in lists."""

    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    sources: list[bytes | None] = field(default_factory=list)

    def append(self, record: SourceRecord) -> None:
        """Add one."""
        self.extend((record.key,), (record.value,), (record.timestamp_ms,), record.source)

    def extend(
        self, keys: Iterable[bytes], values: Iterable[bytes], times_ms: Iterable[int], source: bytes | None
    ) -> None:
        """Add some of one *source*."""
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
        """Return what was gathered."""
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

    *timestamp_ms* is the creation time of the newest of them, *source* what `SourceRecord` says.
    """

    value: bytes
    timestamp_ms: int
    source: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is delivered together: all of it in one transaction, the offsets last."""

    records: Records
    dead_letters: tuple[DeadLetter, ...]
    offsets: tuple[OffsetWrite, ...]
    ledger: tuple[LedgerWrite, ...] = ()

    def held_bytes(self, arrivals: int) -> int:
        """Return how much memory it takes, whose posts came in so many *arrivals*."""
        return held_bytes([*self.records.values, *(letter.value for letter in self.dead_letters)], arrivals)


@dataclass(slots=True, kw_only=True)
class Sifted:
    """
    What became of the records of a batch, by their place in it.

    *refused* has the reason of each, as a sentence.  *taken* says that all others are in the topic by now, else they
    have to be delivered by a new producer.
    """

    refused: dict[int, str] = field(default_factory=dict)
    taken: bool = False
