"""
What the records of all workers say together: counts over time, the latest events, and who was heard of when.

Each worker folds the same records and so shows the same.  Minutes count from `begin_secs` on, the begin of ten minutes;
what is older comes from `TenMinutes`.  So nothing counts twice, and a worker that starts need not read the minutes of
eight days.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connector.history.channels import DAY_SECS, HIGHEST, LARGE_SUM, MAIN, RULES, Channels
from connector.history.ranges import Range
from connector.history.records import (
    MINUTE_SECS,
    TEN_MINUTES_SECS,
    Counts,
    Minute,
    TenMinutes,
    Told,
    Written,
)
from connector.history.timeline import GOODBYES

ALL = ""
"""Whose counts are those of all connectors together."""

MINUTES_BACK_SECS = DAY_SECS + 3600
"""How far back the minutes are read (seconds)."""

TIDY_SECS = 3600
"""How often counts that are too old are looked for (seconds)."""

EVENTS_MAX = 5_000
PROCESSES_MAX = 1_000
"""The most runs of workers that are remembered, those heard of last."""

LAST_MAX = 10_000
"""Of so many connectors and kinds of events it is known when there was one last."""

WINDOW = 256
"""A record that is so many numbers behind the newest of its process is taken for one that was read before."""

WAITING_TENS_MAX = 5_000
OWN_GRACE_SECS, OTHERS_GRACE_SECS = 90, 900
"""How long after ten minutes their worker, and how long after them any worker, writes them down (seconds)."""

POSTS, ALONE, DROPPED, LETTERS = "posts/", "alone/", "dropped/", "letters/"
MINUTES_KNOWN = "minutes"


@dataclass(slots=True)
class Life:
    """What is known of one run of a worker; times in UNIX ms."""

    worker: str
    heard: int = 0
    started: int | None = None
    version: str = ""
    tasks: tuple[str, ...] = ()
    cpu_share: float | None = None
    memory_bytes: int | None = None
    goodbye: int | None = None
    lost_minutes: int = 0
    left_out_events: int = 0


@dataclass(slots=True)
class _Numbers:
    """The numbers of the records of one process in one partition that were applied lately."""

    newest: int = -1
    seen: int = 0

    def is_new(self, number: int) -> bool:
        behind = self.newest - number
        if behind < 0:
            self.seen = (self.seen << -behind | 1) & ((1 << WINDOW) - 1) if -behind < WINDOW else 1
            self.newest = number
            return True
        if behind >= WINDOW or self.seen >> behind & 1:
            return False
        self.seen |= 1 << behind
        return True


@dataclass(slots=True)
class _Ten:
    minutes: int = 0
    connectors: dict[str, Counts] = field(default_factory=dict)


class History:
    """What is known of the group's history at present; *now_secs* is when this worker began (UNIX seconds)."""

    def __init__(self, now_secs: float) -> None:
        begin = int(now_secs) - MINUTES_BACK_SECS
        self.begin_secs = begin - begin % TEN_MINUTES_SECS
        """Minutes before this are not applied, and ten minutes from this on neither."""
        self.lives: dict[str, Life] = {}
        self.newest_minute = 0
        """When the newest minute began of which there is a record (UNIX seconds)."""
        self.minutes_applied = 0
        """How many minutes were applied; it changes when there is something new to show."""
        self._last: dict[tuple[str, str], int] = {}
        self._now_secs = int(now_secs)
        self._counts = Channels(self._now_secs)
        self._events: deque[tuple[int, Told]] = deque(maxlen=EVENTS_MAX)
        self._numbers: dict[tuple[str, type[Written]], _Numbers] = {}
        self._waiting: dict[tuple[str, int], _Ten] = {}
        self._written: set[tuple[str, int]] = set()
        self._tidied_at = 0

    def clear(self) -> None:
        """Forget everything: the topic was deleted."""
        self._counts = Channels(self._now_secs)
        for known in (self.lives, self._events, self._last, self._numbers, self._waiting, self._written):
            known.clear()
        self.newest_minute = 0
        self.minutes_applied += 1

    # -- records

    def apply(self, record: Written, offset: int) -> None:
        """Apply a record of the topic; *offset* is its own."""
        if isinstance(record, TenMinutes):
            self._apply_ten(record)
        elif self._is_new(record):
            if isinstance(record, Minute):
                self._apply_minute(record)
            else:
                self._apply_told(record, offset)

    def _is_new(self, record: Minute | Told) -> bool:
        key = (record.process, type(record))
        numbers = self._numbers.pop(key, None) or _Numbers()
        self._numbers[key] = numbers  # now the last: those heard of longest ago are forgotten first
        if len(self._numbers) > 2 * PROCESSES_MAX:
            del self._numbers[next(iter(self._numbers))]
        return numbers.is_new(record.number)

    def _life(self, process: str, worker: str) -> Life:
        life = self.lives.pop(process, None) or Life(worker)
        self.lives[process] = life
        if len(self.lives) > PROCESSES_MAX:
            del self.lives[next(iter(self.lives))]
        return life

    def _apply_minute(self, minute: Minute) -> None:
        life = self._life(minute.process, minute.worker)
        life.worker, life.version, life.tasks = minute.worker, minute.version, minute.tasks
        life.heard = max(life.heard, (minute.at + minute.secs) * 1000)
        life.started = minute.started or life.started
        life.memory_bytes = minute.memory_bytes or None
        life.cpu_share = minute.cpu_ms / 1000 / minute.secs if minute.secs >= 1 else None
        life.lost_minutes = max(life.lost_minutes, minute.lost)
        life.left_out_events = max(life.left_out_events, minute.left_out)
        if minute.at < self.begin_secs:
            return
        self.minutes_applied += 1
        self.newest_minute = max(self.newest_minute, minute.at)
        self._count(minute.at, minute.connectors, 1, MINUTE_SECS)
        self._keep_for_ten(minute)
        self._tidy(minute.at)

    def _apply_ten(self, ten: TenMinutes) -> None:
        key = (ten.process, ten.at)
        if key in self._written:
            return
        self._written.add(key)
        self._waiting.pop(key, None)
        if ten.at < self.begin_secs:
            self._count(ten.at, ten.connectors, ten.minutes, TEN_MINUTES_SECS)
        self._tidy(ten.at)

    def _apply_told(self, told: Told, offset: int) -> None:
        life = self._life(told.process, told.worker)
        life.worker, life.heard = told.worker, max(life.heard, told.at)
        if told.kind in GOODBYES:
            life.goodbye = told.at
        self._events.append((offset, told))
        if told.connector is not None:
            key = (told.connector, told.kind)
            self._last.pop(key, None)
            self._last[key] = told.at
            if len(self._last) > LAST_MAX:
                del self._last[next(iter(self._last))]

    def _count(self, at: int, connectors: dict[str, Counts], minutes: int, least_step_secs: int) -> None:
        add_all = self._counts.add_all
        together: dict[str, int] = {MINUTES_KNOWN: minutes}
        for connector, counts in connectors.items():
            named = _named(counts)
            add_all(connector, named, at, kinds=_KINDS, least_step_secs=least_step_secs)
            for name, value in named:
                before = together.get(name, 0)
                together[name] = max(before, value) if name in _HIGHEST else before + value
            rules = [(POSTS + label, posts) for label, (posts, _) in counts.rules.items()]
            rules += [(ALONE + label, alone) for label, (_, alone) in counts.rules.items()]
            add_all(connector, rules, at, tiers=RULES, least_step_secs=least_step_secs)
        add_all(ALL, together.items(), at, kinds=_KINDS, least_step_secs=least_step_secs)

    def _keep_for_ten(self, minute: Minute) -> None:
        key = (minute.process, minute.at - minute.at % TEN_MINUTES_SECS)
        if key in self._written:
            return
        if key not in self._waiting and len(self._waiting) >= WAITING_TENS_MAX:
            del self._waiting[next(iter(self._waiting))]
        ten = self._waiting.setdefault(key, _Ten())
        ten.minutes += 1
        for connector, counts in minute.connectors.items():
            if connector in ten.connectors:
                ten.connectors[connector].add(counts)
            else:
                ten.connectors[connector] = Counts().plus(counts)  # a copy, for the others are added to it

    def tens_due(self, process: str, now_secs: float) -> list[TenMinutes]:
        """
        Return the ten minutes that *process* is to write down now: its own, and those that their worker did not.

        Two workers may write the same; the first one counts.
        """
        grace = {True: OWN_GRACE_SECS, False: OTHERS_GRACE_SECS}
        return [
            TenMinutes(process=whose, at=at, minutes=ten.minutes, connectors=ten.connectors)
            for (whose, at), ten in self._waiting.items()
            if now_secs >= at + TEN_MINUTES_SECS + grace[whose == process]
        ]

    def _tidy(self, at: int) -> None:
        if at - self._tidied_at >= TIDY_SECS:
            self._tidied_at, oldest = at, at - MAIN[-1].keep_secs
            self._counts.forget_before(oldest)
            self._written = {key for key in self._written if key[1] >= oldest}

    # -- what is shown

    def events(self, from_ms: int, most: int, *, after: int = -1) -> list[tuple[int, Told]]:
        """Return at most *most* events since *from_ms* with their ids above *after*, newest first."""
        found: list[tuple[int, Told]] = []
        for offset, told in reversed(self._events):
            if offset <= after or len(found) >= most:
                break
            if told.at >= from_ms:
                found.append((offset, told))
        return found

    def last(self, connector: str, kinds: Iterable[str]) -> int | None:
        """Return when there was last an event of one of *kinds* of *connector* (UNIX ms); None if there was none."""
        return max((self._last[connector, kind] for kind in kinds if (connector, kind) in self._last), default=None)

    def known_secs(self, from_secs: int, now_secs: int) -> int:
        """Return of how many seconds since *from_secs* there are minutes; at most a day back."""
        begin = max(from_secs, now_secs - DAY_SECS) // MINUTE_SECS * MINUTE_SECS
        count = max((now_secs - begin) // MINUTE_SECS, 0)
        minutes = self._counts.column(ALL, MINUTES_KNOWN, begin, MINUTE_SECS, count, now_secs)
        return MINUTE_SECS * sum(number > 0 for number in minutes)

    def total(self, connector: str, name: str, from_secs: int, now_secs: int) -> int:
        """Return the count *name* of *connector* since *from_secs*."""
        return self._counts.total(connector, name, from_secs, now_secs, now_secs)

    @property
    def lost_minutes(self) -> int:
        """How many minutes of workers that are remembered could not be written."""
        return sum(life.lost_minutes for life in self.lives.values())

    @property
    def left_out_events(self) -> int:
        """How many events of workers that are remembered could not be written, or were too many."""
        return sum(life.left_out_events for life in self.lives.values())

    @property
    def newest_event(self) -> int:
        """The id of the newest event; -1 if there is none."""
        return self._events[-1][0] if self._events else -1

    @property
    def holds_all_events(self) -> bool:
        """Whether no event was forgotten yet because there were too many."""
        return len(self._events) < EVENTS_MAX

    @property
    def oldest_event(self) -> int:
        """The id of the oldest event that is kept; -1 if there is none."""
        return self._events[0][0] if self._events else -1

    def series(self, span: Range, now_secs: float, connector: str | None = None) -> dict[str, list[Any]]:
        """Return the columns of *span*, for all connectors or one: numbers, or None where nothing is known."""
        begin, end = span.span(now_secs)
        count = (end - begin) // span.step_secs
        owner = ALL if connector is None else connector

        def column(name: str, whose: str = owner) -> list[int]:
            return self._counts.column(whose, name, begin, span.step_secs, count, int(now_secs))

        known = column(MINUTES_KNOWN, ALL)
        columns: dict[str, list[Any]] = {
            name: column(name) for name in ("received", "delivered", "repaired", "dropped")
        }
        columns["usd"] = [mills / 1000 for mills in column("mills")]
        timed = column("timed")
        for name in ("age", "delivery"):
            sums, highest = column(f"{name}_sum"), column(f"{name}_p99")
            columns[f"{name}_p50"] = [ms / n / 1000 if n else None for ms, n in zip(sums, timed, strict=True)]
            columns[f"{name}_p99"] = [ms / 1000 if n else None for ms, n in zip(highest, timed, strict=True)]
        shown = {
            name: [value if there else None for value, there in zip(values, known, strict=True)]
            for name, values in columns.items()
        }
        return {"t": list(range(begin, end, span.step_secs)), **shown}

    def totals(self, span: Range, now_secs: float, connector: str) -> dict[str, Any]:
        """Return the sums of *connector* in *span*, by reason where there are reasons, and its small curve."""
        begin, end = span.span(now_secs)

        def total(name: str) -> int:
            return self._counts.total(connector, name, begin, end, int(now_secs))

        def by_reason(prefix: str) -> dict[str, int]:
            found = {reason: total(prefix + reason) for reason in sorted(self._counts.names_of(connector, prefix))}
            return {reason: posts for reason, posts in found.items() if posts}

        spark = self._counts.column(
            connector, "delivered", begin, span.spark_secs, (end - begin) // span.spark_secs, int(now_secs)
        )
        return {
            "received": total("received"),
            "delivered": total("delivered"),
            "repaired": total("repaired"),
            "usd": total("mills") / 1000,
            "dropped": by_reason(DROPPED),
            "dead_letters": by_reason(LETTERS),
            "spark": spark,
        }

    def rules(self, span: Range, now_secs: float, connector: str) -> dict[str, tuple[int, int]]:
        """Return of each rule of *connector* the posts in *span*, and how many of them matched no other rule of it."""
        begin, end = span.span(now_secs)
        return {
            label: (
                self._counts.total(connector, POSTS + label, begin, end, int(now_secs)),
                self._counts.total(connector, ALONE + label, begin, end, int(now_secs)),
            )
            for label in self._counts.names_of(connector, POSTS)
        }


_KINDS = {"age_sum": LARGE_SUM, "delivery_sum": LARGE_SUM, "age_p99": HIGHEST, "delivery_p99": HIGHEST}
"""Of counts that are not simply added up."""

_HIGHEST = {name for name, kind in _KINDS.items() if kind.highest}


def _named(counts: Counts) -> list[tuple[str, int]]:
    return [
        ("received", counts.received),
        ("delivered", counts.delivered),
        ("repaired", counts.repaired),
        ("mills", counts.mills),
        ("timed", counts.timed),
        ("dropped", sum(counts.dropped.values()) + sum(counts.letters.values())),
        *((DROPPED + reason, posts) for reason, posts in counts.dropped.items()),
        *((LETTERS + reason, posts) for reason, posts in counts.letters.items()),
        ("age_sum", counts.age[0] * counts.timed),
        ("age_p99", counts.age[1]),
        ("delivery_sum", counts.delivery[0] * counts.timed),
        ("delivery_p99", counts.delivery[1]),
    ]
