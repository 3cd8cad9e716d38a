"""
What a compliance connector does with X's events: tombstones for the posts in its topic, or records of the events.

    X ─▶ event ─▶ convert ─▶ in the topic? ─▶ tombstone ─┐
                     └─▶ remembered ─┐                   ├─▶ the task's batches, with what the memory has learnt
    topic ─▶ post ─▶ follow ─▶ withdrawn before? ─▶ due ─┘

`Withdrawals` stands in the place of the converter.  With tombstones it follows the topic, whoever writes the posts: a
tombstone comes after its post, also if the post was late.
"""

import asyncio
import contextlib
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from connector.compliance import events
from connector.compliance.events import ComplianceEvent
from connector.compliance.memory import Memory
from connector.compliance.rechecks import Handover
from connector.errors import BadRecord, ConnectorError, FatalError
from connector.formats.author import Lack, author_in, id_in
from connector.records import clock
from connector.records.post import MAX_DIGITS, MAX_ID
from connector.records.record import Altered, Arrival, Converted, SourceRecord, TaskId, TopicRecord
from connector.records.snowflake import created_ms, first_id
from connector.task.converter import Converter
from connector.task.ports import Posts
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import (
    AuthorMissing,
    ComplianceReceived,
    ComplianceUnknown,
    PostsNotFollowed,
    PostsWithdrawn,
    PostsWithoutAuthor,
)

Action = Literal["tombstone", "event", "none"]

KIND_HEADER = "compliance"
"""Header of tombstones and of records of events: the kind of the event, as X names it."""

LATE = "late"
"""The kind under which tombstones count for posts that came to the topic after X had withdrawn them."""

NEWS_SECS = 1.0
"""How often what was read out of the topic is written down while nothing is withdrawn."""

RETRY_SECS = 3.0
SAY_SECS = 60.0
"""How often it is reported that the topic cannot be read."""

DUE_MAX = 20_000
"""The topic is not read on while so many late posts wait for their tombstones."""

_REASONS: Mapping[Lack, str] = {
    "no_author": "the post has none: without author_id in tweet.fields X does not say who wrote a post, and a transform"
    " may take it out",
    "no_format": "the value is neither JSON nor a post by a schema that this version knows: take the newest version,"
    " and see docs/compliance.md for use.latest.version",
}

HASH_BITS = 22
RECENT = 65_536
"""So many of the last events are told apart by their whole text, and not by their ids alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """At which age X is asked for a post (ms), and how the reader thread learns of it."""

    age_ms: int
    handover: Handover = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalSettings:
    """
    What becomes of events; *window_ms* and *remember_ms* are as in `Memory`.

    *posts* reads what lies in Kafka; it is used for tombstones only.  With *recheck* X is asked for the posts.
    """

    action: Action
    window_ms: int
    remember_ms: int
    posts: Posts = field(compare=False)
    recheck: Recheck | None = None


class Withdrawals(Converter):
    """Turns the events of one connector into records; the ledger has an id for each event, made of time and text."""

    def __init__(self, settings: WithdrawalSettings, *, task: TaskId, dead_letters: bool) -> None:
        super().__init__(connector=task.connector, dead_letters=dead_letters)
        self._settings, self._task = settings, task
        self._memory: Memory | None = None
        self._recent: dict[int, int] = {}
        self._due: deque[tuple[int, float]] = deque()
        self._stopped = asyncio.Event()
        self._news_at = time.monotonic()
        self._counts: dict[str, int] = {}
        self._withdrawn: dict[str, int] = {}
        self._told: list[Event] = []
        self._unknown: set[str] = set()
        self._authorless: Counter[Lack] = Counter()
        self._said: set[Lack] = set()
        self._troubled_at: float | None = None

    # -- life

    async def load(self) -> None:
        """
        Read what the last owner has learnt; before the first event.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
            FatalError: a record cannot be read.
        """
        if self._settings.action != "tombstone" or self._memory is not None:
            return
        memory = Memory(
            window_ms=self._settings.window_ms,
            remember_ms=self._settings.remember_ms,
            rechecks=self._settings.recheck is not None,
        )
        async with contextlib.aclosing(self._settings.posts.kept()) as values:
            async for value in values:
                try:
                    memory.load(value)
                except ValueError as exc:
                    raise FatalError(
                        f"A record of the topic of authors cannot be read: {exc}; delete its records up to now, and"
                        " posts that were delivered before are withdrawn only one by one, not by their author"
                    ) from exc
        self._memory = memory

    def spend_within(self, left: Callable[[], int | None]) -> None:
        """Buy no more posts than *left* returns, None for any number: events are not bought."""

    async def follow(self, wake: Callable[[], None]) -> None:
        """Read the topic of the posts until `stop`; *wake* is called when there is a late post to be withdrawn."""
        if self._memory is None:
            return
        while not self._stopped.is_set():
            try:
                await self._follow(self._memory, wake)
            except ConnectorError as exc:
                if isinstance(exc, FatalError):
                    raise
                self._tell_trouble(exc)
                await self._pause(RETRY_SECS)

    def stop(self) -> None:
        """Read the topic no more."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    async def _follow(self, memory: Memory, wake: Callable[[], None]) -> None:
        following = self._settings.posts.follow(dict(memory.read_to), memory.begin_ms)
        async with contextlib.aclosing(following) as batches:
            async for batch in batches:
                if self._stopped.is_set():
                    return
                self._troubled_at = None
                late = [record for record in batch if self._see(memory, record)]
                self._seen()
                if late:
                    wake()
                while len(self._due) >= DUE_MAX and not self._stopped.is_set():
                    await self._pause(0.1)

    async def _pause(self, secs: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), secs)

    def _tell_trouble(self, exc: ConnectorError) -> None:
        now = time.monotonic()
        if self._troubled_at is None or now - self._troubled_at >= SAY_SECS:
            self._troubled_at = now
            self._told.append(PostsNotFollowed(of=self._task, error=exc.name, reason=str(exc)))

    def _seen(self) -> None:
        """Do what is to be done once records of the topic were seen, or none came for a second."""

    def _see(self, memory: Memory, record: TopicRecord) -> bool:
        """Take note of a record of the topic; return whether it is a post that X has withdrawn."""
        partition, offset, key, value = record
        post = id_in(key)
        if not post or key is None:
            memory.passed(partition=partition, offset=offset)
        elif value is None:
            memory.saw_tombstone(post, partition=partition, offset=offset)
        else:
            author, geo, lack = author_in(value, key)
            if lack is not None:
                self._note_lack(lack, record)
            if memory.saw(post, author, geo=geo, partition=partition, offset=offset):
                memory.gone(post)
                self._due.append((post, clock.now()))
                return True
        return False

    def _note_lack(self, lack: Lack, record: TopicRecord) -> None:
        self._authorless[lack] += 1
        if lack not in self._said:
            self._said.add(lack)
            told = AuthorMissing(of=self._task, partition=record.partition, offset=record.offset, reason=_REASONS[lack])
            self._told.append(told)

    # -- events

    def convert(self, arrivals: Sequence[Arrival], *, source: bytes | None = None, until_id: int = 0) -> Converted:
        """Return what the events in *arrivals* become, up to the first line that is none and is not tolerated."""
        result = Converted()
        for arrival in arrivals:
            before = len(result.records)
            for line in arrival.lines:
                try:
                    event = events.read(line)
                    event_id = _id_of(event, line, arrival.at)
                    found = source if not until_id or event_id < until_id else None
                    self._take(event, event_id, line, found, result)
                except BadRecord as exc:
                    if not self.dead_letters:
                        result.error = exc
                        return result
                    self._bury(line, exc, arrival.at, result)
                else:
                    result.newest_id = max(result.newest_id, event_id)
            records = len(result.records) - before
            if records and (source is None or until_id):
                result.waits.append((arrival.at, created_ms(result.newest_id) / 1000, records))
        return result

    def _take(
        self, event: ComplianceEvent, event_id: int, line: bytes, source: bytes | None, result: Converted
    ) -> None:
        """
        Add to *result* what becomes of *event*.

        Raises:
            BadRecord: the event is larger than the topic takes.
        """
        action = self._settings.action
        if action == "event" and len(line) + MAX_DIGITS > self._max_record_bytes:
            raise BadRecord(
                f"An event has {len(line)} bytes, the topic takes {self._max_record_bytes}: raise max.message.bytes of"
                " the topic"
            )
        again = self._is_known(event_id, line)
        (result.again if again else result.ids).append(event_id)
        if not again:
            self._count(event)
        if (
            action == "tombstone"
        ):  # also of an event that comes again: it changes nothing, and ids of two may be the same
            for post in self._withdrawn_by(event):
                result.records.append(self._tombstone(post, event.kind, created_ms(event_id), source, line))
        elif action == "event" and not again:
            result.records.append(_record_of(event, event_id, line, source))

    def _is_known(self, event_id: int, line: bytes) -> bool:
        """Return whether the event came before, and remember it."""
        text = hash(line)
        if event_id not in self.ledger:
            self.ledger.add(event_id)
        elif self._recent.get(event_id, text) == text:
            return True
        self._recent[event_id] = text
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        return False

    def _withdrawn_by(self, event: ComplianceEvent) -> Iterator[int]:
        """Yield the posts in the topic that have to go because of *event*."""
        memory = self._memory
        if memory is None:
            raise RuntimeError("An event before the memory was loaded")
        kind, post, user = event.kind, event.post, event.user
        at_ms = clock_ms() if event.at_ms is None else event.at_ms
        if post is not None and kind in events.WITHDRAWN and event.countries:
            yield from self._posts(memory, (post,))
        elif kind == events.EDITED:
            yield from self._posts(memory, event.older)
        elif post is not None and kind in events.RESTORED:
            memory.restore(post)
        elif user is not None and kind in events.USER_WITHDRAWN and event.countries:
            yield from _all_gone(memory, memory.withdraw_user(user, at_ms))
        elif user is not None and kind == events.SCRUB_GEO:
            yield from _all_gone(memory, memory.withdraw_user(user, at_ms, geo=True, up_to=event.up_to))
        elif user is not None and kind in events.USER_RESTORED:
            memory.restore_user(user)

    @staticmethod
    def _posts(memory: Memory, posts: Sequence[int]) -> Iterator[int]:
        for post in posts:
            if memory.withdraw(post):
                memory.gone(post)
                yield post

    def _count(self, event: ComplianceEvent) -> None:
        known = event.kind in events.KINDS
        kind = event.kind if known else "unknown"
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if not known and event.kind not in self._unknown and len(self._unknown) < len(events.KINDS):
            self._unknown.add(event.kind)
            self._told.append(ComplianceUnknown(of=self._task, kind=event.kind[:64]))

    def _tombstone(self, post: int, kind: str, at_ms: int, source: bytes | None, line: bytes) -> SourceRecord:
        self._withdrawn[kind] = self._withdrawn.get(kind, 0) + 1
        altered = Altered(post, headers=((KIND_HEADER, kind.encode()),), tombstone=True, line=line)
        return SourceRecord(b"%d" % post, b"", at_ms, source, altered)

    # -- what goes into the batches

    def due(self) -> Converted:
        """Return the tombstones of posts that came to the topic after X had withdrawn them."""
        result = Converted()
        while self._due:
            post, _ = self._due.popleft()
            result.records.append(self._tombstone(post, LATE, clock_ms(), None, b"{}"))
        return result

    def news(self, *, at_once: bool) -> tuple[bytes, ...]:
        """
        Return what was learnt since this was last called, for the topic of authors.

        With *at_once* there are tombstones in the batch, or events: their records must be in its transaction.
        """
        memory, now = self._memory, time.monotonic()
        if memory is None or not memory.has_news or not (at_once or now - self._news_at >= NEWS_SECS):
            return ()
        self._news_at = now
        memory.forget()
        return memory.take()

    def take_events(self) -> list[Event]:
        """Return what there is to tell since this was last called."""
        told, self._told = self._told, []
        counts, self._counts = self._counts, {}
        withdrawn, self._withdrawn = self._withdrawn, {}
        if counts:
            told.append(ComplianceReceived(of=self._task, kinds=tuple(sorted(counts.items()))))
        if withdrawn:
            told.append(PostsWithdrawn(of=self._task, kinds=tuple(sorted(withdrawn.items()))))
        if self._authorless:
            authorless, self._authorless = self._authorless, Counter()
            told.append(PostsWithoutAuthor(of=self._task, lacks=tuple(sorted(authorless.items()))))
        return told


def _all_gone(memory: Memory, posts: Sequence[int]) -> Iterator[int]:
    for post in posts:
        memory.gone(post)
        yield post


def clock_ms() -> int:
    """Return the time (UNIX ms)."""
    return int(clock.now() * 1000)


def _id_of(event: ComplianceEvent, line: bytes, at: float) -> int:
    """
    Return an id of *event* in the form of a post's: its time, and a hash of *line* where a post's id has a number.

    Two events of one millisecond have the same id by chance once in four million pairs.
    """
    at_ms = int(at * 1000) if event.at_ms is None else event.at_ms
    return min(first_id(max(at_ms, 0)) | zlib.crc32(line) >> (32 - HASH_BITS), MAX_ID) or 1


def _record_of(event: ComplianceEvent, event_id: int, line: bytes, source: bytes | None) -> SourceRecord:
    key = b"user-%d" % event.user if event.user is not None else b"%d" % (event.post or 0)
    altered = Altered(event_id, headers=((KIND_HEADER, event.kind[:64].encode()),))
    return SourceRecord(key, line, created_ms(event_id), source, altered)
