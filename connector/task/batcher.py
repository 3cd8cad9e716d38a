"""
Makes the next batch of a task out of what its source partitions have for Kafka.

    buffers   ─▶ drained ─▶ converted ─┐
    repairers ─▶ a page  ─▶ converted ─┴─▶ records, dead letters, ledger, offsets ─▶ Pending
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.coverage.offset import Way
from connector.coverage.progress import Page, Progress, ledger_write
from connector.errors import BadRecord, DeliveryFailed, ToleranceExceeded
from connector.records import clock
from connector.records.record import (
    Arrival,
    Batch,
    Connected,
    Converted,
    DeadLetter,
    LedgerWrite,
    OffsetWrite,
    RecordList,
    TaskId,
)
from connector.task.converter import Converter
from connector.task.in_flight import NOT_BUILT, InFlight, Pending
from connector.task.partition import Partition
from connector.task.ports import Sink
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import DuplicatesDropped, RecordDropped

FORGET_SECS = 1.0

POSTS_AT_ONCE = 512
"""After so many posts the conversion lets the event loop do other work: about half a millisecond in Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherSettings:
    """How batches are made."""

    task: TaskId
    batch_max_records: int
    offset_interval_secs: float
    """The time between writes of the offsets while posts come; 0: they are written with each batch."""
    dead_letter_topic: str | None
    mills_each: int
    """What X charges for a post, in thousandths of a dollar."""


class Batcher:
    """
    Makes the batches of one task.

    The ids of posts that may come again are kept as long as the offset that *in_flight* knows to be in Kafka asks.

    *size_bytes* is the memory of posts that were taken out of the buffers and are not in a batch yet.  *built_at* is
    when the last batch was made (monotonic seconds).
    """

    def __init__(
        self,
        settings: BatcherSettings,
        converter: Converter,
        sink: Sink,
        *,
        in_flight: InFlight,
        emit: Callable[[Event], None],
    ) -> None:
        self.size_bytes = 0
        self.built_at = 0.0
        self._settings, self._converter, self._sink, self._emit = settings, converter, sink, emit
        self._in_flight = in_flight
        self._forgot_at = time.monotonic()
        self._offsets_at = 0.0
        self._owed_ids: list[int] = []

    @property
    def owed_secs(self) -> float:
        """Seconds until the offset of posts sent without it must follow; infinite if there are no such posts."""
        if not self._owed_ids:
            return math.inf
        return max(self._offsets_at + self._settings.offset_interval_secs - time.monotonic(), 0.0)

    async def gather(
        self, partitions: Sequence[Partition], *, prove: bool, quiet: bool
    ) -> tuple[Pending | None, ToleranceExceeded | None]:
        """
        Return the next batch of *partitions*, and the bad record that ends the task; None for each that there is not.

        With *prove* all offsets are written.  With *quiet* also those are that have changed in nothing but the time
        that they cover.
        """
        self._measure()
        taken = _Taken()
        for number, partition in enumerate(partitions):
            before = len(taken.records)
            whole = await self._take_arrivals(partition, taken)
            if len(taken.records) > before:
                taken.live.append(number)
            if whole:
                self._take_page(partition, taken)
            taken.parts.append(len(taken.records) - before)
        progresses = [partition.progress for partition in partitions]
        over = time.monotonic() - self._offsets_at >= self._settings.offset_interval_secs
        due = over or quiet or bool(taken.letters) or taken.error is not None
        for progress in progresses:
            if progress.changed or prove or (progress.moved and quiet) or (progress.ahead and due):
                taken.offsets += progress.writes(self._sink.offset_key)
        self._forget_ids(progresses)
        for result, source in taken.results:
            self._tell(result, source)
        pending = await self._pending_of(taken, progresses)
        self.size_bytes = 0
        return pending, self._intolerable(taken.error)

    async def _take_arrivals(self, partition: Partition, taken: "_Taken") -> bool:
        """
        Convert what waits in the buffer of *partition*, and add it to *taken*.

        Return False if a bad record ends the task: the offset must not pass its line, so nothing behind it is taken.
        """
        progress = partition.progress
        drained = partition.reader.buffer.drain(self._settings.batch_max_records)
        self.size_bytes += sum(item.size for item in drained if isinstance(item, Arrival))
        posts, letters, fresh, whole = len(taken.records), len(taken.letters), 0, True
        for item in _together(drained):
            if isinstance(item, Connected):
                progress.on_connected(item)
                continue
            converted = convert(progress, item, self._converter)
            taken.add(converted, None)
            if converted.error is not None:
                whole = False
                break
            fresh += sum(len(arrival.lines) for arrival in item)
            if fresh >= POSTS_AT_ONCE:
                fresh = 0
                await asyncio.sleep(0)  # so that the commit in flight can send its next request
        progress.delivered(posts=len(taken.records) - posts, dead_letters=len(taken.letters) - letters)
        return whole

    def _take_page(self, partition: Partition, taken: "_Taken") -> None:
        """Convert the page that a repair of *partition* has found, if there is one, and add it to *taken*."""
        page = partition.repairer.page
        if page is not None:
            found = convert_page(partition.progress, page, self._converter)
            partition.progress.delivered(posts=len(found.records), dead_letters=len(found.dead_letters))
            partition.repairer.took_page()
            taken.add(found, page.way)

    async def _pending_of(self, taken: "_Taken", progresses: Sequence[Progress]) -> Pending | None:
        if not (taken.records or taken.letters or taken.offsets):
            return None
        self.built_at = time.monotonic()
        self._owed_ids += taken.live_ids
        if taken.offsets:
            self._offsets_at = self.built_at
        batch = Batch(
            records=taken.records.done(),
            dead_letters=tuple(taken.letters),
            offsets=tuple(taken.offsets),
            ledger=tuple(self._ledger_of(taken.found, max(progress.now_ms for progress in progresses)))
            if taken.offsets
            else (),
        )
        billed = sum(progress.take_billed() for progress in progresses)
        return Pending(
            batch=batch,
            encoded=await self._encoded(batch),
            parts=tuple(taken.parts),
            waits=tuple(taken.waits),
            live=tuple(taken.live),
            since=time.monotonic(),
            size_bytes=batch.held_bytes(arrivals=len(taken.waits)),
            mills=billed * self._settings.mills_each,
        )

    def _measure(self) -> None:
        """Tell the converter the largest records that the topics take, as far as the sink knows."""
        self._converter.limit(self._sink.max_record_bytes, self._sink.max_dead_letter_bytes)

    def letters_of(self, pending: Pending, refused: Mapping[int, str]) -> dict[int, DeadLetter]:
        """Return the dead letters for the records of *pending* that were *refused* (place: reason), and emit events."""
        self._measure()
        at = min((came for came, _, _ in pending.waits), default=clock.now())
        told = Converted()
        letters = {}
        for place, reason in refused.items():
            line, error = pending.batch.records.values[place], BadRecord(reason)
            letters[place] = self._converter.letter(line, error, at)
            told.dropped.append((error.name, reason, len(line)))
        self._tell(told, None)
        return letters

    def fitting(self, letters: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
        """Return *letters*, cut to the size that the dead letter topic takes at present."""
        self._measure()
        return tuple(map(self._converter.fitting, letters))

    async def _encoded(self, batch: Batch) -> Any:
        try:
            return await self._sink.encode(batch)
        except DeliveryFailed:  # the posts have left the buffers: `in_flight` keeps them, and fails when it delivers
            return NOT_BUILT

    def disown(self, ids: Collection[int]) -> None:
        """Forget *ids*, which were handed over: the topic has refused their posts."""
        self._owed_ids = [post_id for post_id in self._owed_ids if post_id not in ids]

    @property
    def owed_ids(self) -> Sequence[int]:
        """Ids of posts that were handed over; no record of the ledger holds them yet."""
        return self._owed_ids

    def _ledger_of(self, found: Sequence[tuple[Sequence[int], Way]], now_ms: int) -> Iterator[LedgerWrite]:
        if self._owed_ids:
            yield ledger_write(self._owed_ids, None, now_ms=now_ms)
            self._owed_ids = []
        for ids, source in found:
            yield ledger_write(ids, source, now_ms=now_ms)

    @staticmethod
    def _intolerable(error: BadRecord | None) -> ToleranceExceeded | None:
        return None if error is None else intolerable(str(error))

    def _forget_ids(self, progresses: Sequence[Progress]) -> None:
        now = time.monotonic()
        if now - self._forgot_at >= FORGET_SECS:
            self._forgot_at = now
            ranges = [
                ids
                for progress in progresses
                for ids in progress.id_ranges(self._in_flight.coverage_of(progress.partition))
            ]
            self._converter.ledger.keep(ranges)

    def _tell(self, result: Converted, source: Way | None) -> None:
        for error, reason, size in result.dropped:
            self._emit(
                RecordDropped(
                    of=self._settings.task,
                    error=error,
                    reason=reason,
                    dead_letter_topic=self._settings.dead_letter_topic or "",
                    size_bytes=size,
                )
            )
        if result.again:
            self._emit(DuplicatesDropped(of=self._settings.task, posts=len(result.again), source=source))


def convert(progress: Progress, arrivals: Sequence[Arrival], converter: Converter) -> Converted:
    """Convert *arrivals* of one source partition, and let its *progress* claim what they prove."""
    until_id = progress.backfilled_until_id
    converted = converter.convert(arrivals, source=Way.BACKFILL.encode() if until_id else None, until_id=until_id)
    progress.take(arrivals, converted)
    return converted


def convert_page(progress: Progress, page: Page, converter: Converter) -> Converted:
    """Convert *page* of a repair of *progress*, and let *progress* write down how far the repair has come."""
    known = frozenset(post_id for post_id in page.fetched or () if post_id in converter.ledger)
    found = converter.convert(page.arrivals, source=page.way.encode())
    progress.take_page(page, found, known=known)
    return found


def intolerable(reason: str) -> ToleranceExceeded:
    """Return the error that ends a task with `errors.tolerance=none`."""
    return ToleranceExceeded(f"{reason}; errors.tolerance=all would keep it aside")


def _together(drained: Sequence[Arrival | Connected]) -> Iterator[Sequence[Arrival] | Connected]:
    """Yield *drained*, with small arrivals in groups: to convert a group costs less than to convert each alone."""
    group: list[Arrival] = []
    posts = 0
    for item in drained:
        lines = len(item.lines) if isinstance(item, Arrival) else 0
        if group and (not lines or posts + lines > POSTS_AT_ONCE):
            yield group
            group, posts = [], 0
        if isinstance(item, Connected):
            yield item
        elif lines:
            group.append(item)
            posts += lines
        else:
            yield (item,)
    if group:
        yield group


class _Taken:
    """What the source partitions of a task give to one batch."""

    def __init__(self) -> None:
        self.results: list[tuple[Converted, Way | None]] = []
        self.records = RecordList()
        self.letters: list[DeadLetter] = []
        self.waits: list[tuple[float, float, int]] = []
        self.offsets: list[OffsetWrite] = []
        self.live_ids: list[int] = []
        self.found: list[tuple[Sequence[int], Way]] = []
        self.live: list[int] = []
        self.parts: list[int] = []
        self.error: BadRecord | None = None

    def add(self, result: Converted, source: Way | None) -> None:
        """Add what was read from the stream (*source* is None), or what a repair found by the way *source*."""
        self.results.append((result, source))
        self.records += result.records
        self.letters += result.dead_letters
        self.waits += result.waits
        self.error = self.error or result.error
        if source is None:
            self.live_ids += result.ids
        elif result.ids:
            self.found.append((result.ids, source))
