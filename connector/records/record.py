"""Arrivals, records and batches on their way from a source to the topic, and the writes that go with them."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import NamedTuple, Self, TypeVar

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


class TopicRecord(NamedTuple):
    """A record that was read out of a topic; *value* is None for a tombstone."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


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


Header = tuple[str, bytes]


class Altered(NamedTuple):
    """
    What a transform has set on a record.

    *topic* replaces the connector's topic, if it is not None.  *headers* follow the header `source`.  *post_id* is the
    id of the post, which the record's key may no longer say.  With *keyless* the record has no key, with *tombstone* no
    value; the record's own are empty then.  *line* is what X sent, empty if the record's value is just that.
    """

    post_id: int
    topic: str | None = None
    headers: tuple[Header, ...] = ()
    keyless: bool = False
    tombstone: bool = False
    line: bytes = b""


class SourceRecord(NamedTuple):
    """
    One record of an output topic.

    *timestamp_ms* is the post's creation time.  *source* is the value of the header `source` of a post that a repair
    found; live posts have no header.  *altered* is None if no transform has changed the record: its key is then the
    post's id.
    """

    key: bytes
    value: bytes
    timestamp_ms: int
    source: bytes | None = None
    altered: Altered | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """
    Source records in order, with a column for each field: making an object for each record costs more than all its use.

    *sources* is None if no record has a source, *altered* if no transform has changed a record.  *lines* are what X
    sent, None if the values are that; a record with an `Altered` has its line there.
    """

    keys: tuple[bytes, ...] = ()
    values: tuple[bytes, ...] = ()
    times_ms: tuple[int, ...] = ()
    sources: tuple[bytes | None, ...] | None = None
    altered: tuple[Altered | None, ...] | None = None
    lines: tuple[bytes, ...] | None = None

    @classmethod
    def of(cls, records: Iterable[SourceRecord]) -> Self:
        """Return *records* in columns."""
        columns = tuple(zip(*records, strict=True))
        if not columns:
            return cls()
        keys, values, times_ms, sources, altered = columns
        return cls(keys, values, times_ms, _unless_empty(sources), _unless_empty(altered))

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SourceRecord]:
        if self.lines is not None:
            return map(self.at, range(len(self.keys)))
        sources, altered = self.sources or repeat(None), self.altered or repeat(None)
        return map(SourceRecord, self.keys, self.values, self.times_ms, sources, altered)

    @property
    def have_headers(self) -> bool:
        """Whether a record may have a header."""
        return self.sources is not None or self.altered is not None

    def at(self, place: int) -> SourceRecord:
        """Return the record at *place*."""
        return SourceRecord(
            self.keys[place],
            self.values[place],
            self.times_ms[place],
            None if self.sources is None else self.sources[place],
            self._altered(place),
        )

    def _altered(self, place: int) -> Altered | None:
        """Return what was set on the record at *place*: its line alone, if nothing but the value was changed."""
        altered = None if self.altered is None else self.altered[place]
        if altered is None and self.lines is not None:
            return Altered(int(self.keys[place]), line=self.lines[place])
        return altered

    def post_id(self, place: int) -> int:
        """Return the id of the post in the record at *place*."""
        altered = None if self.altered is None else self.altered[place]
        return int(self.keys[place]) if altered is None else altered.post_id

    def line(self, place: int) -> bytes:
        """Return the line of X from which the record at *place* was made."""
        altered = self._altered(place)
        return (altered and altered.line) or self.values[place]

    @property
    def other_topics(self) -> set[str]:
        """The topics that transforms have set in place of the connector's."""
        return {altered.topic for altered in self.altered or () if altered is not None and altered.topic is not None}

    @property
    def partition_keys(self) -> Sequence[bytes]:
        """What decides on the partition of each record: its key, or the post's id if it has none."""
        if self.altered is None:
            return self.keys
        return [
            b"%d" % altered.post_id if altered is not None and altered.keyless else key
            for key, altered in zip(self.keys, self.altered, strict=True)
        ]

    def by_topic(self, topic: str) -> "Mapping[str, Records]":
        """Return the records of each topic, in order; *topic* has those for which no transform has set another."""
        if self.altered is None:
            return {topic: self} if self else {}
        return {name: Records.of(map(self.at, places)) for name, places in self.places_by_topic(topic).items()}

    def topics(self, topic: str) -> Collection[str]:
        """Return the topics to which the records go, as `by_topic` does."""
        if self.altered is None:
            return {topic} if self.keys else ()
        return self.places_by_topic(topic).keys()

    def places_by_topic(self, topic: str) -> Mapping[str, Sequence[int]]:
        """Return the places of each topic's records, as `by_topic` does."""
        if self.altered is None:
            return {topic: range(len(self))} if self else {}
        places: dict[str, list[int]] = {}
        for place, altered in enumerate(self.altered):
            places.setdefault((altered and altered.topic) or topic, []).append(place)
        return places


T = TypeVar("T")


def _unless_empty(column: tuple[T | None, ...]) -> tuple[T | None, ...] | None:
    return None if column.count(None) == len(column) else column


@dataclass(slots=True)
class RecordList:
    """Source records that are still being collected: like `Records`, with lists as columns."""

    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    sources: list[bytes | None] = field(default_factory=list)
    altered: list[Altered | None] | None = None
    """None while no transform has changed a record."""
    lines: list[bytes] | None = None
    """None while the values are the lines of X, or `altered` has these."""

    def append(self, record: SourceRecord) -> None:
        """Add *record*."""
        self.extend((record.key,), (record.value,), (record.timestamp_ms,), record.source)
        if record.altered is not None or self.altered is not None:
            self._pad(len(self.keys) - 1).append(record.altered)

    def _pad(self, length: int) -> list[Altered | None]:
        """Return the column *altered* of *length* records, filled with None."""
        if self.altered is None:
            self.altered = []
        self.altered += [None] * (length - len(self.altered))
        return self.altered

    @property
    def changes(self) -> Sequence[Altered | None] | None:
        """What transforms have set on each record; None if no transform has changed a record."""
        return None if self.altered is None else self._pad(len(self.keys))

    def _pad_lines(self, length: int) -> list[bytes]:
        """Return the column *lines* of *length* records, filled with nothing."""
        if self.lines is None:
            self.lines = []
        self.lines += [b""] * (length - len(self.lines))
        return self.lines

    def extend(
        self,
        keys: Iterable[bytes],
        values: Iterable[bytes],
        times_ms: Iterable[int],
        source: bytes | None,
        lines: Iterable[bytes] | None = None,
    ) -> None:
        """Add records that have the same *source*; *lines* are what X sent, None if the values are that."""
        if lines is not None:
            self._pad_lines(len(self.keys)).extend(lines)
        self.keys += keys
        self.values += values
        self.times_ms += times_ms
        self.sources += [source] * (len(self.keys) - len(self.sources))

    def __iadd__(self, other: "RecordList") -> Self:
        if other.altered is not None:
            self._pad(len(self.keys)).extend(other.altered)
        if other.lines is not None:
            self._pad_lines(len(self.keys)).extend(other.lines)
        self.keys += other.keys
        self.values += other.values
        self.times_ms += other.times_ms
        self.sources += other.sources
        return self

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[SourceRecord]:
        return iter(self.done())

    def done(self) -> Records:
        """Return the collected records."""
        sources = None if self.sources.count(None) == len(self.sources) else tuple(self.sources)
        altered = None if self.altered is None else _unless_empty(tuple(self._pad(len(self.keys))))
        lines = None if self.lines is None else tuple(self._pad_lines(len(self.keys)))
        return Records(tuple(self.keys), tuple(self.values), tuple(self.times_ms), sources, altered, lines)


class DeadLetter(NamedTuple):
    """A line that did not become a record, as X sent it, and headers that say why."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(slots=True, kw_only=True)
class Converted:
    """
    What the lines of some arrivals of one source partition became.

    *ids* are the ids of the records and of the posts that a transform dropped; the latter are *filtered* in number.
    *again* are the ids of posts that were delivered before.  *newest_id* is the largest of all these ids; 0 if there is
    none.  *waits* has for each arrival: when it came (`clock.now`), when one of its posts was made (UNIX seconds), how
    many posts it brought.  *bought* are posts that X has charged for and that are not delivered, as they were before:
    those of a recheck.  *dropped* has the error, reason and size of each dead letter.  *error* is the bad record at
    which the conversion stopped, None if all lines were converted.
    """

    records: RecordList = field(default_factory=RecordList)
    ids: list[int] = field(default_factory=list)
    filtered: int = 0
    again: list[int] = field(default_factory=list)
    newest_id: int = 0
    dead_letters: list[DeadLetter] = field(default_factory=list)
    waits: list[tuple[float, float, int]] = field(default_factory=list)
    bought: list[int] = field(default_factory=list)
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
class NewTopics:
    """
    How to create topics to which transforms route records: *partitions*, *replication* (-1: the broker's default) and
    *settings*, names with values.  If it is not *allowed*, they must be there.
    """

    partitions: int
    replication: int
    settings: tuple[tuple[str, str], ...]
    allowed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """
    Where the posts of one connector go: its name, which is also its key in the ledger, and its topics.

    *new_topics* is for those to which its transforms may route records; None without transforms.  *earlier_slots* are
    partitions of the ledger that also have its ids, from before it had its slot.  *authors_topic* has what a connector
    that withdraws posts has learnt of its topic; None for all others.
    """

    connector: str
    topic: str
    dead_letter_topic: str | None = None
    new_topics: NewTopics | None = None
    earlier_slots: tuple[int, ...] = ()
    authors_topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    The largest sizes that the topics of a destination take (bytes).

    *record_bytes* is for key and value together in the output topic, *dead_letter_bytes* for a value in the dead letter
    topic; 0 without one.
    """

    record_bytes: int
    dead_letter_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one connector has in a batch."""

    to: Destination
    records: Records = Records()
    dead_letters: tuple[DeadLetter, ...] = ()
    offsets: tuple[OffsetWrite, ...] = ()
    ledger: tuple[LedgerWrite, ...] = ()
    authors: tuple[bytes, ...] = ()
    """Values of records for the topic of authors."""

    def held_bytes(self, arrivals: int) -> int:
        """Return the memory that the share takes (bytes), if its posts came in *arrivals* arrivals."""
        lines = [altered.line for altered in self.records.altered or () if altered is not None]
        letters = [letter.value for letter in self.dead_letters]
        lines += self.records.lines or ()
        beside = sum(map(len, lines)) + sum(map(len, self.authors))
        return held_bytes([*self.records.values, *letters], arrivals) + beside


@dataclass(frozen=True, slots=True)
class Batch:
    """
    What is delivered together: in one transaction if the connectors use transactions, with the offsets last.

    It has one share for each connector; several connectors on one stream share its transactions.
    """

    shares: tuple[Share, ...]

    @property
    def posts(self) -> int:
        """How many records it holds; a post for two connectors counts twice."""
        return sum(len(share.records) for share in self.shares)

    @property
    def offsets(self) -> tuple[OffsetWrite, ...]:
        """The offsets of all shares."""
        return tuple(chain.from_iterable(share.offsets for share in self.shares))

    @property
    def has_more(self) -> bool:
        """Whether it holds more than records, ledgers and offsets: a dead letter, or something for the authors."""
        return any(share.dead_letters or share.authors for share in self.shares)

    def by_topic(self) -> Mapping[str, Records]:
        """Return the records of each topic; those of several connectors follow each other."""
        found: dict[str, Records] = {}
        for share in self.shares:
            for topic, records in share.records.by_topic(share.to.topic).items():
                known = found.get(topic)
                found[topic] = records if known is None else Records.of((*known, *records))
        return found

    def with_share(self, number: int, share: Share) -> "Batch":
        """Return the batch with *share* as its share *number*."""
        return Batch((*self.shares[:number], share, *self.shares[number + 1 :]))


Spot = tuple[int, int]
"""A record of a batch: the number of its share, and its place there."""


@dataclass(slots=True, kw_only=True)
class Sifted:
    """
    Which records of a batch their topics refuse.

    *refused* has a sentence with the reason for each of them.  *taken* says that all other records are in the topics;
    if it is False, a new producer must deliver them.
    """

    refused: dict[Spot, str] = field(default_factory=dict)
    taken: bool = False

    def refused_of(self, number: int) -> dict[int, str]:
        """Return the reasons for the refused records of share *number*, by their places."""
        return {place: reason for (share, place), reason in self.refused.items() if share == number}
