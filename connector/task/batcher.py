"""
Makes the next batch of a task out of what its source partitions have for Kafka.

    buffers   ─▶ drained ─▶ split among the connectors ─▶ converted ─┐
    repairers ─▶ a page ────────────────────────────────▶ converted ─┴─▶ records, dead letters, ledger, offsets
                                                                         of each connector: a share of the Pending
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from connector.coverage.offset import Way
from connector.coverage.progress import Page, Progress, ledger_write
from connector.errors import (
    BadRecord,
    ConnectorError,
    DeliveryFailed,
    RegistryUnanswered,
    SchemaRefused,
    ToleranceExceeded,
)
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
    Share,
    SourcePartition,
    TaskId,
)
from connector.task.buffer import Buffer
from connector.task.converter import Converter
from connector.task.encoding import encode_fit
from connector.task.in_flight import NOT_BUILT, InFlight, Pending, Receipt
from connector.task.ports import Sink
from connector.task.reader import Reader
from connector.task.router import Router
from connector.task.stamping import stamp
from connector.task.subscriber import Subscriber
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import (
    DuplicatesDropped,
    PostsFiltered,
    PostsReceived,
    PostsUnmatched,
    RecordDropped,
    RulesMatched,
)

TIDY_SECS = 1.0
"""How often ids that are not needed any more are forgotten, and how often it is told which rules posts matched."""

SHARED_WAIT_SECS = 10.0
"""How long connectors that share a stream wait for the schema registry of one of them, which FAILS then."""

POSTS_AT_ONCE = 512
"""After so many posts the conversion lets the event loop do other work: about half a millisecond in Python."""


FORMED_AT_ONCE = 64
"""So many if a post has to be read whole and written by a schema: about two milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatcherSettings:
    """How batches are made."""

    task: TaskId
    batch_max_records: int
    offset_interval_secs: float
    """The time between writes of the offsets while posts come; 0: they are written with each batch."""


class Batcher:
    """
    Makes the batches of one task.

    The ids of posts that may come again are kept as long as the offset that *in_flight* knows to be in Kafka asks.

    *size_bytes* is the memory of posts that were taken out of the buffers and are not in flight yet.  *built_at* is
    when the last batch was made (monotonic seconds).
    """

    def __init__(
        self,
        settings: BatcherSettings,
        sink: Sink,
        *,
        in_flight: InFlight,
        emit: Callable[[Event], None],
        told: Callable[[], None],
    ) -> None:
        """*told* is called when a batch that waits for a schema registry may be complete."""
        self.size_bytes = 0
        self._held: _Held | None = None
        self._told = told
        self.built_at = 0.0
        self._settings, self._sink, self._emit = settings, sink, emit
        self._in_flight = in_flight
        self._tidied_at = time.monotonic()
        self._offsets_at = 0.0

    def owed_secs(self, subscribers: Collection[Subscriber]) -> float:
        """Return the seconds until an offset must follow posts sent without it; infinite if there are no such posts."""
        if not any(subscriber.owed_ids for subscriber in subscribers):
            return math.inf
        return max(self._offsets_at + self._settings.offset_interval_secs - time.monotonic(), 0.0)

    async def gather(
        self,
        readers: Sequence[Reader],
        subscribers: Sequence[Subscriber],
        router: Router | None,
        *,
        prove: bool,
        quiet: bool,
    ) -> tuple[Pending | None, dict[Subscriber, ConnectorError]]:
        """
        Return the next batch, None if there is nothing to write; and the subscribers that a bad record ends.

        *router* says for which of the *subscribers* a line is; None if there is only one, who gets all lines.  With
        *prove* all offsets are written.  With *quiet* also those are that have changed in nothing but the time that
        they cover.

        While the id of a schema is not known, there is no batch: `waits` is then true, and what was taken is held.
        """
        if self._held is None:
            self._held = await self._take(readers, subscribers, router, prove=prove, quiet=quiet)
        held = self._held
        failed: dict[Subscriber, ConnectorError] = {}
        if held.needs_ids:
            held.takes = [take for take in held.takes if take.subscriber in subscribers]  # the others have left
            failed = self._stamp(held, subscribers)
            if held.waiting:
                return None, failed
        self._held = None
        with_any = []
        for take in held.takes:
            if take.has_any:
                with_any.append(take)
            if take.error is not None:
                failed[take.subscriber] = intolerable(str(take.error))
        if not with_any:
            self.size_bytes = 0
            return None, failed
        pending, unfit = await self._pending_of(with_any, held.live)
        self.size_bytes = 0
        return pending, failed | unfit

    @property
    def waits(self) -> bool:
        """Whether a batch is held until the id of a schema is known."""
        return self._held is not None

    @property
    def held_posts(self) -> int:
        """How many posts are in the batch that is held."""
        return 0 if self._held is None else sum(len(take.records) for take in self._held.takes)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Why a batch is held, sentences; none for the moment that a registry has to answer."""
        return () if self._held is None else tuple(dict.fromkeys(filter(None, map(_why, self._held.waiting))))

    def _stamp(self, held: "_Held", subscribers: Collection[Subscriber]) -> dict[Subscriber, ConnectorError]:
        """
        Complete the values of *held*, as far as the ids of their schemas are known; return whom a registry stops.

        If all *subscribers* wait nobody is held up, and they go on waiting.
        """
        refused: dict[Subscriber, ConnectorError] = {}
        for take in held.waiting:
            schemas = take.subscriber.subscription.schemas
            try:
                if schemas is not None and not stamp(take.records, take.topic, schemas, self._told):
                    continue
            except SchemaRefused as error:
                refused[take.subscriber] = error
                held.takes.remove(take)
            else:
                take.stamped = True
        waiting = held.waiting
        if len(waiting) < len(subscribers) - len(refused) and time.monotonic() - held.since >= SHARED_WAIT_SECS:
            for take in waiting:
                refused[take.subscriber] = RegistryUnanswered(
                    f"{_why(take) or 'The schema registry does not answer'}; connectors that share the stream do not"
                    f" wait longer than {SHARED_WAIT_SECS:.0f} s for it"
                )
                held.takes.remove(take)
        return refused

    async def _take(
        self,
        readers: Sequence[Reader],
        subscribers: Sequence[Subscriber],
        router: Router | None,
        *,
        prove: bool,
        quiet: bool,
    ) -> "_Held":
        """Convert what is there for the next batch, and take the offsets that go with it."""
        takes = []
        for subscriber in subscribers:
            self._measure(subscriber)
            takes.append(_Taken(subscriber))
        live: list[int] = []
        for number, reader in enumerate(readers):
            for take in takes:
                take.begin_part()
            broken = await self._take_arrivals(number, reader, takes, router)
            is_live = False
            for take in takes:
                is_live = is_live or take.in_part > 0
                if take not in broken:
                    self._take_page(number, take, router)
                take.parts.append(take.in_part)
            if is_live:
                live.append(number)
        over = time.monotonic() - self._offsets_at >= self._settings.offset_interval_secs
        for take in takes:
            _take_due(take)  # nothing waits between the two: what is learnt to be gone has its tombstone here
            take.learn()
            self._take_offsets(take, over=over, prove=prove, quiet=quiet)
        self._tidy(subscribers)
        for take in takes:
            take.subscriber.owed_ids += take.live_ids  # also if transforms have dropped all posts
            for result, source in take.results:
                self._tell(take.subscriber, result, source)
        return _Held(takes, live)

    async def _take_arrivals(
        self, number: int, reader: Reader, takes: Sequence["_Taken"], router: Router | None
    ) -> Collection["_Taken"]:
        """
        Convert what waits in the buffer of *reader*, which reads source partition *number*, and add it to *takes*.

        Return those that a bad record ends: their offset must not pass its line, so they take nothing behind it.
        """
        # A batch with posts may have to wait for a registry: that there was a connection is committed before.
        drained = self._drained(reader.buffer, takes)
        fresh = 0
        broken: list[_Taken] = []
        at_once = POSTS_AT_ONCE if all(take.is_plain for take in takes) else FORMED_AT_ONCE
        for item in _together(drained, at_once):
            reading = [take for take in takes if take not in broken] if broken else takes
            if isinstance(item, Connected):
                if router is not None:
                    router.renew()
                for take in reading:
                    take.subscriber.partitions[number].on_connected(item)
                continue
            if router is None:
                for take in reading:
                    _convert_for(take, number, item)
            else:
                self._share_out(number, item, reading, router)
            broken += [take for take in reading if take.error is not None]
            if len(broken) == len(takes):
                break
            fresh += sum(len(arrival.lines) for arrival in item)
            if fresh >= at_once:
                fresh = 0
                await asyncio.sleep(0)  # so that the commit in flight can send its next request
        for take in takes:
            take.tell_part(take.subscriber.progresses[number])
        return broken

    def _drained(self, buffer: Buffer, takes: Sequence["_Taken"]) -> Sequence[Arrival | Connected]:
        """Take out of *buffer* what goes into one batch; what is put around posts takes no more memory than they."""
        to_connected, around_bytes = False, 0
        for take in takes:
            to_connected = to_connected or not take.stamped
            around_bytes = max(around_bytes, take.around_bytes)
        most = self._settings.batch_max_records
        if around_bytes:
            most = min(most, max(buffer.full_bytes // around_bytes, 1))
        drained = buffer.drain(most, to_connected=to_connected)
        for item in drained:
            if isinstance(item, Arrival):
                self.size_bytes += item.size
        return drained

    def _share_out(self, number: int, arrivals: Sequence[Arrival], takes: Sequence["_Taken"], router: Router) -> None:
        """
        Convert the lines of *arrivals* for each of *takes* that they are for.

        All of them prove the same time: a post for one connector says how far X had come with the stream.
        """
        lines = router.split(arrivals)
        reading = [take for take in takes if take.subscriber.partitions[number].in_force]
        results = []
        for take in reading:
            its = lines.get(take.subscriber.name, ())
            until_id = take.subscriber.progresses[number].backfilled_until_id
            source = Way.BACKFILL.encode() if until_id else None
            converter = take.subscriber.converter
            results.append(converter.convert(its, source=source, until_id=until_id) if its else Converted())
        newest_id = max((result.newest_id for result in results), default=0)
        for take, result in zip(reading, results, strict=True):
            take.subscriber.progresses[number].take(arrivals, result, newest_id=newest_id)
            take.add(result, None)
        for take in takes:
            if take not in reading:
                take.subscriber.progresses[number].pass_by(arrivals)
        if router.missed:
            self._emit(PostsUnmatched(of=self._settings.task, posts=router.missed))
            router.missed = 0

    def _take_page(self, number: int, take: "_Taken", router: Router | None) -> None:
        """Convert the page that a repair has found, if there is one, and add it to *take*."""
        partition = take.subscriber.partitions[number]
        page = partition.repairer.page
        if page is not None:
            if router is not None and page.fetched is None:  # a replay has the posts of all connectors
                page = replace(page, arrivals=router.only(take.subscriber.name, page.arrivals))
            found = convert_page(partition.progress, page, take.subscriber.converter)
            partition.progress.delivered(
                posts=len(found.records), dead_letters=len(found.dead_letters), filtered=found.filtered
            )
            partition.repairer.took_page()
            take.add(found, page.way)

    def _take_offsets(self, take: "_Taken", *, over: bool, prove: bool, quiet: bool) -> None:
        name = take.subscriber.name

        def key_of(partition: SourcePartition, kind: str | None) -> bytes:
            return self._sink.offset_key(name, partition, kind)

        due = over or quiet or bool(take.letters) or take.error is not None
        for progress in take.subscriber.progresses:
            if progress.changed or prove or (quiet and progress.moved) or (progress.ahead and due):
                take.offsets += progress.writes(key_of)

    async def _pending_of(
        self, takes: Sequence["_Taken"], live: Sequence[int]
    ) -> tuple[Pending | None, dict[Subscriber, ConnectorError]]:
        """Return the batch of *takes*, and the subscribers whose topics cannot be used: nothing of theirs is in it."""
        self.built_at = time.monotonic()
        if any(take.offsets for take in takes):
            self._offsets_at = self.built_at
        parts = [(self._share_of(take), take.receipt()) for take in takes]
        try:
            encoded, unfit = await encode_fit(self._sink, Batch(tuple(share for share, _ in parts)))
        except DeliveryFailed:  # the posts have left the buffers: `in_flight` keeps them, and fails when it delivers
            encoded, unfit = NOT_BUILT, {}
        failed: dict[Subscriber, ConnectorError] = {}
        if unfit:
            failed = {take.subscriber: unfit[name] for take in takes if (name := take.subscriber.name) in unfit}
            parts = [part for part in parts if part[0].to.connector not in unfit]
            if not parts:
                return None, failed
        pending = Pending(
            batch=Batch(tuple(share for share, _ in parts)),
            receipts=tuple(receipt for _, receipt in parts),
            encoded=encoded,
            live=tuple(live),
            since=time.monotonic(),
        )
        pending.measure()
        return pending, failed

    def _share_of(self, take: "_Taken") -> Share:
        subscriber = take.subscriber
        now_ms = max(progress.now_ms for progress in subscriber.progresses)
        return Share(
            to=subscriber.subscription.destination,
            records=take.records.done(),
            dead_letters=tuple(take.letters),
            offsets=tuple(take.offsets),
            ledger=tuple(_ledger_of(take, now_ms)) if take.offsets else (),
            authors=take.authors,
        )

    def _measure(self, subscriber: Subscriber) -> None:
        """Tell the converter the largest records that the topics take, as far as the sink knows."""
        subscriber.converter.limit(self._sink.limits_of(subscriber.subscription.destination))

    def letters_of(
        self, subscriber: Subscriber, share: Share, receipt: Receipt, refused: Mapping[int, str]
    ) -> dict[int, DeadLetter]:
        """Return the dead letters for the records of *share* that were *refused* (place: reason), and emit events."""
        self._measure(subscriber)
        at = min((came for came, _, _ in receipt.waits), default=clock.now())
        told = Converted()
        letters = {}
        for place, reason in refused.items():
            line, error = share.records.line(place), BadRecord(reason)
            letters[place] = subscriber.converter.letter(line, error, at)
            told.dropped.append((error.name, reason, len(line)))
        self._tell(subscriber, told, None)
        return letters

    def fitting(self, subscriber: Subscriber, letters: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
        """Return *letters*, cut to the size that the dead letter topic takes at present."""
        self._measure(subscriber)
        return tuple(map(subscriber.converter.fitting, letters))

    def _tidy(self, subscribers: Iterable[Subscriber]) -> None:
        now = time.monotonic()
        if now - self._tidied_at < TIDY_SECS:
            return
        self._tidied_at = now
        for subscriber in subscribers:
            self._forget_ids(subscriber)
            self.tell_received(subscriber)

    def _forget_ids(self, subscriber: Subscriber) -> None:
        ranges = [
            ids
            for progress in subscriber.progresses
            for ids in progress.id_ranges(self._in_flight.coverage_of(subscriber.name, progress.partition))
        ]
        subscriber.converter.ledger.keep(ranges)

    def tell_received(self, subscriber: Subscriber) -> None:
        """Tell how many posts came for *subscriber*, and which rules they matched, since this was last told."""
        if subscriber.received:
            self._emit(PostsReceived(of=subscriber.task, posts=subscriber.received))
            subscriber.received = 0
        if matched := subscriber.converter.take_matched():
            self._emit(RulesMatched(of=subscriber.task, matched=tuple(matched.items())))
        if subscriber.withdrawals is not None:
            for event in subscriber.withdrawals.take_events():
                self._emit(event)

    def _tell(self, subscriber: Subscriber, result: Converted, source: Way | None) -> None:
        for error, reason, size in result.dropped:
            self._emit(
                RecordDropped(
                    of=subscriber.task,
                    error=error,
                    reason=reason,
                    dead_letter_topic=subscriber.subscription.destination.dead_letter_topic or "",
                    size_bytes=size,
                )
            )
        if result.filtered:
            self._emit(PostsFiltered(of=subscriber.task, posts=result.filtered))
        if result.again:
            self._emit(DuplicatesDropped(of=subscriber.task, posts=len(result.again), source=source))


def _ledger_of(take: "_Taken", now_ms: int) -> Iterator[LedgerWrite]:
    if take.subscriber.owed_ids:
        yield ledger_write(take.subscriber.owed_ids, None, now_ms=now_ms)
        take.subscriber.owed_ids = []
    for ids, source in take.found:
        yield ledger_write(ids, source, now_ms=now_ms)


def _take_due(take: "_Taken") -> None:
    """Add the tombstones of posts that came to the topic after X had withdrawn them."""
    withdrawals = take.subscriber.withdrawals
    if withdrawals is not None:
        due = withdrawals.due()
        take.subscriber.progresses[-1].delivered(posts=len(due.records), dead_letters=0)
        take.parts[-1] += len(due.records)
        take.add(due, None)


def _convert_for(take: "_Taken", number: int, arrivals: Sequence[Arrival]) -> None:
    """Convert *arrivals* of source partition *number* for the only connector of the task."""
    take.add(convert(take.subscriber.progresses[number], arrivals, take.subscriber.converter), None)


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


def _together(
    drained: Sequence[Arrival | Connected], at_once: int = POSTS_AT_ONCE
) -> Iterator[Sequence[Arrival] | Connected]:
    """Yield *drained*, with small arrivals in groups: to convert a group costs less than to convert each alone."""
    group: list[Arrival] = []
    posts = 0
    for item in drained:
        lines = len(item.lines) if isinstance(item, Arrival) else 0
        if group and (not lines or posts + lines > at_once):
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


def _why(take: "_Taken") -> str | None:
    schemas = take.subscriber.subscription.schemas
    return None if schemas is None else schemas.waiting


class _Held:
    """What was taken for one batch; *live* are the numbers of the readers that have posts in it."""

    def __init__(self, takes: "list[_Taken]", live: list[int]) -> None:
        self.takes, self.live = takes, live
        self.since = time.monotonic()
        self.needs_ids = False
        for take in takes:
            self.needs_ids = self.needs_ids or not take.stamped

    @property
    def waiting(self) -> "list[_Taken]":
        """Those whose values lack the ids of their schemas."""
        return [take for take in self.takes if not take.stamped]


class _Taken:
    """What the source partitions of a task give to one connector's share of one batch."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.results: list[tuple[Converted, Way | None]] = []
        self.records = RecordList()
        self.letters: list[DeadLetter] = []
        self.waits: list[tuple[float, float, int]] = []
        self.offsets: list[OffsetWrite] = []
        self.live_ids: list[int] = []
        self.filtered = 0
        self.found: list[tuple[Sequence[int], Way]] = []
        self.parts: list[int] = []
        self._before = 0, 0, 0
        self.error: BadRecord | None = None
        self.authors: tuple[bytes, ...] = ()
        self.stamped = subscriber.subscription.schemas is None
        """Whether the values are complete: with a schema format they are bodies at first."""

    def begin_part(self) -> None:
        """Begin to take from the next source partition."""
        self._before = len(self.records), len(self.letters), self.filtered

    @property
    def in_part(self) -> int:
        """How many records were taken from this source partition until now."""
        return len(self.records) - self._before[0]

    def tell_part(self, progress: Progress) -> None:
        """Tell *progress* what was taken from its source partition until now."""
        posts, letters, filtered = self._before
        progress.delivered(
            posts=len(self.records) - posts,
            dead_letters=len(self.letters) - letters,
            filtered=self.filtered - filtered,
        )

    @property
    def is_plain(self) -> bool:
        """Whether values are the lines of X, or what transforms make of these."""
        return self.subscriber.subscription.schemas is None and self.subscriber.subscription.form is None

    @property
    def around_bytes(self) -> int:
        """Bytes that each value has around its post."""
        transformer = self.subscriber.subscription.transformer
        return 0 if transformer is None else transformer.around_bytes

    @property
    def topic(self) -> str:
        """The topic of the records that no transform has given another."""
        return self.subscriber.subscription.destination.topic

    @property
    def has_any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.records or self.letters or self.offsets or self.authors)

    def learn(self) -> None:
        """Take what was learnt of the topic: it goes with the events and tombstones of this batch, and an offset."""
        withdrawals = self.subscriber.withdrawals
        if withdrawals is None:
            return
        events = any(result.ids or result.again or result.records or result.bought for result, _ in self.results)
        self.authors = withdrawals.news(at_once=events)
        if self.authors:
            self.subscriber.progresses[0].changed = True

    def receipt(self) -> Receipt:
        """Return what to report of the share once Kafka has it."""
        billed = sum(progress.take_billed() for progress in self.subscriber.progresses)
        return Receipt(
            waits=tuple(self.waits),
            parts=tuple(self.parts),
            mills=billed * self.subscriber.subscription.budget.mills_each,
        )

    def add(self, result: Converted, source: Way | None) -> None:
        """Add what was read from the stream (*source* is None), or what a repair found by the way *source*."""
        self.results.append((result, source))
        self.subscriber.received += len(result.ids) + len(result.again) + len(result.dropped)
        self.records += result.records
        self.letters += result.dead_letters
        self.waits += result.waits
        self.filtered += result.filtered
        self.error = self.error or result.error
        if source is None:
            self.live_ids += result.ids
        elif result.ids:
            self.found.append((result.ids, source))
