"""
The records of the topic `<group>-history`, as JSON.

Partition `MINUTES`: a `Minute` from each worker.  Partition `LASTING`: `TenMinutes`, each the sum of the minutes of one
worker, and `Told`, an event.  A worker that starts reads the minutes of the last day and all that is lasting, so a
start reads little.

Kafka may hold a record twice, when it was written again because Kafka had not confirmed.  So each record has the
*process* that wrote it and a *number*, which rises with each record of a process in one partition; `TenMinutes` are
known by process and time.
"""

from typing import Any, TypeAlias

import msgspec

MINUTES, LASTING = 0, 1
"""The partitions of the topic."""

MINUTE_SECS, TEN_MINUTES_SECS = 60, 600

RULES_MAX = 5_000
"""The most rules in the counts of one connector; the rules with the fewest posts are left out."""

Delays: TypeAlias = tuple[int, int]
"""The median and the 99th percentile (ms)."""

PostsOfRule: TypeAlias = tuple[int, int]
"""Posts that matched a rule, and how many of them matched no other rule of the connector."""


class Counts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """
    What there was of one connector in some time.

    *received* posts came from X, *delivered* posts reached Kafka, *repaired* of them were found by a repair.  *mills*
    is X's price in thousandths of a dollar.  *dropped* posts and dead *letters* are counted by reason.  *timed* posts
    are behind *age* (creation to commit) and *delivery* (arrival to commit).  *rules* are known by their label.
    """

    received: int = 0
    delivered: int = 0
    repaired: int = 0
    mills: int = 0
    dropped: dict[str, int] = {}
    letters: dict[str, int] = {}
    timed: int = 0
    age: Delays = (0, 0)
    delivery: Delays = (0, 0)
    rules: dict[str, PostsOfRule] = {}

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum: of medians the mean by posts, of 99th percentiles the highest."""
        found = msgspec.structs.replace(
            self, dropped=dict(self.dropped), letters=dict(self.letters), rules=dict(self.rules)
        )
        found.add(other)
        return found

    def add(self, other: "Counts") -> None:
        """Make this the sum of both, as `plus` returns it."""
        self.received += other.received
        self.delivered += other.delivered
        self.repaired += other.repaired
        self.mills += other.mills
        for mine, others in ((self.dropped, other.dropped), (self.letters, other.letters)):
            for reason, posts in others.items():
                mine[reason] = mine.get(reason, 0) + posts
        self.age = _delays(self.age, self.timed, other.age, other.timed)
        self.delivery = _delays(self.delivery, self.timed, other.delivery, other.timed)
        self.timed += other.timed
        rules = self.rules
        for label, (posts, alone) in other.rules.items():
            before = rules.get(label)
            rules[label] = (posts, alone) if before is None else (before[0] + posts, before[1] + alone)
        self.rules = bounded(rules)


class Minute(msgspec.Struct, tag="minute", omit_defaults=True, kw_only=True):
    """
    One minute of one worker, which began at *at* (UNIX seconds), and a sign of life of that worker.

    *started* is when the process began (UNIX ms), *cpu_ms* the time of one core that it has taken in the minute.
    *lost* minutes and *left_out* events of the process until now could not be written.
    """

    process: str
    number: int
    at: int
    worker: str
    version: str = ""
    started: int = 0
    secs: int = MINUTE_SECS
    cpu_ms: int = 0
    memory_bytes: int = 0
    tasks: tuple[str, ...] = ()
    lost: int = 0
    left_out: int = 0
    connectors: dict[str, Counts] = {}


class TenMinutes(msgspec.Struct, tag="ten", omit_defaults=True, kw_only=True):
    """The sum of the minutes of *process* in the ten minutes from *at* on (UNIX seconds); any worker writes it."""

    process: str
    at: int
    minutes: int = 0
    connectors: dict[str, Counts] = {}


class Told(msgspec.Struct, tag="event", omit_defaults=True, kw_only=True):
    """An event, which happened at *at* (UNIX ms) on *worker*; *by* is the user who wanted it, if somebody did."""

    process: str
    number: int
    at: int
    kind: str
    level: str
    worker: str
    connector: str | None = None
    task: int | None = None
    by: str | None = None
    fields: dict[str, Any] = {}


Written: TypeAlias = Minute | TenMinutes | Told

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Written).decode


def decode(value: bytes) -> Written:
    """
    Return the record that *value* holds.

    Raises:
        ValueError: *value* is no record of a history.
    """
    try:
        record: Written = _decode(value)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"{value[:200]!r} is no record of a history: {exc}") from exc
    return record


def bounded(rules: dict[str, PostsOfRule]) -> dict[str, PostsOfRule]:
    """Return *rules*, with those of the most posts if they are too many for one record."""
    if len(rules) <= RULES_MAX:
        return rules
    return dict(sorted(rules.items(), key=lambda item: -item[1][0])[:RULES_MAX])


def _delays(one: Delays, one_posts: int, other: Delays, other_posts: int) -> Delays:
    posts = one_posts + other_posts
    middle = (one[0] * one_posts + other[0] * other_posts) // posts if posts else 0
    return middle, max(one[1], other[1])
