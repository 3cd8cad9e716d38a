"""
The repair of one source partition's gaps, beside the live stream.

    newest gap that X can give ─▶ what is known of its ids ─▶ page ─▶ the task delivers it ─▶ next page … ─▶ closed
                                                               ▲                              │
                                                               └──── wait: limit, budget, X ◀─┘

`recovery` says by which way.  Each page goes into the task's next batch with the progress that it means, so whoever
owns the task next goes on behind the last page that is in the topic.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, ParamSpec, Protocol, TypeVar

from connector.coverage.ledger import YOUNG_IDS, Ledger
from connector.coverage.offset import Gap, GapState, Way
from connector.coverage.progress import GAP_EDGE_MS, Feed, Page
from connector.errors import (
    ConnectionTaken,
    ConnectorError,
    DeliveryFailed,
    FatalError,
    NotFound,
    OutOfCredit,
    RetriableError,
    TokenRejected,
)
from connector.records import clock
from connector.records.record import Arrival, Connected, HeldRule, TaskId, held_bytes
from connector.records.snowflake import created_ms, first_id, to_iso
from connector.task.backoff import Backoff
from connector.task.buffer import Buffer
from connector.task.repair.orders import Orders, OrdersSettings, R, Requests
from connector.task.repair.policy import REPLAY_SLICE_MS, Lost, Policy, Repair, Split, backfill_minutes, step_for
from connector.telemetry.events import Event, RepairDelayed, RepairStarted

P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECS = 1.0
"""How often the gaps and the requests of operators are looked at."""

REPLAY_BUFFER_BYTES = 8 * 1024 * 1024
REPLAY_BATCH_POSTS = 1_000
REFUSED_CONNECTS = 5
"""A second connection that X refuses so often for want of a slot is one that the account does not have."""


class Found(Protocol):
    """A piece of what a search has found."""

    @property
    def lines(self) -> tuple[bytes, ...]:
        """Lines as the stream would have written them."""

    @property
    def down_to_id(self) -> int:
        """All that search has from here up is in this piece or earlier ones."""

    @property
    def fetched(self) -> tuple[int, ...]:
        """The ids that X sent since the piece before, some perhaps twice."""


class Search(Protocol):
    """A gap's posts by search, newest first.  Executor thread."""

    @property
    def lost(self) -> Mapping[str, str]:
        """Rules that search cannot have, and why."""

    def next(self) -> Found | None:
        """
        Return the next piece, None behind the last; after an error it goes on where it was.

        Raises:
            ConnectorError: X refuses, limits, or cannot be reached.
        """


class Replay(Protocol):
    """A connection on which X repeats an interval, and closes."""

    def read(self, put: Callable[[Arrival], None], connected: Callable[[Connected], None]) -> None:
        """
        Read all of it.  Executor thread.

        Raises:
            ConnectorError: it did not come to its end.
        """

    def stop(self) -> None:
        """End `read` at once.  Any thread."""


class Finder(Protocol):
    """What X offers to find posts again.  Nothing is asked before it is read."""

    def search(self, rules: Sequence[HeldRule], low_id: int, high_id: int) -> Search:
        """Return the search for posts that match *rules*, with ids from *low_id* up to, not including, *high_id*."""

    def replay(self, from_ms: int, to_ms: int) -> Replay:
        """Return the replay of what was posted from *from_ms* to *to_ms* (UNIX ms), widened to whole seconds."""

    def stop(self) -> None:
        """End what is being asked, and refuse more.  Any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop(Generic[R]):
    """What a filler needs of its task and its group."""

    task: TaskId
    emit: Callable[[Event], None]
    prove: Callable[[], Awaitable[None]]
    """Returns once the task is known to be owned here; may wait for Kafka."""
    wake: Callable[[], None]
    """Lets the task take its next turn.  Any thread."""
    read_ledger: Callable[[int, int, bool], Awaitable[Sequence[int]]]
    """Reads `connector.task.in_flight.Sink.read_ledger`: from, to, late."""
    committed_batch: Callable[[], int]
    """The number of the last batch of which the feed's offset is committed."""
    ledger: Ledger
    requests: Requests[R]


async def remember(ledger: Ledger, ids: Iterable[int]) -> None:
    """Let *ledger* know *ids*, with turns of the event loop between: millions take seconds."""
    coming = iter(ids)
    while some := list(islice(coming, YOUNG_IDS)):
        ledger.update(some)
        await asyncio.sleep(0)


class Filler(Generic[R]):
    """Repairs the gaps of *feed* with what *finder* offers and *policy* allows, until `stop`."""

    def __init__(self, feed: Feed, finder: Finder, policy: Policy, workshop: Workshop[R], executor: Executor) -> None:
        self._feed, self._finder, self._policy = feed, finder, policy
        self._workshop, self._executor = workshop, executor
        self._loop = asyncio.get_running_loop()
        self._stop_asked, self._taken = asyncio.Event(), asyncio.Event()
        self._page: Page | None = None
        self._backoff = Backoff()
        self._not_before = 0.0
        self._refused_connects = 0
        self._search: tuple[Place, Search] | None = None
        self._orders = Orders(
            feed,
            workshop.requests,
            OrdersSettings(
                task=workshop.task,
                emit=workshop.emit,
                prove=workshop.prove,
                wake=workshop.wake,
                committed_batch=workshop.committed_batch,
                on_retry=self._retried,
            ),
            self._stop_asked,
        )

    async def run(self) -> None:
        """
        Look for gaps, and repair them.

        Raises:
            FatalError: the ledger cannot be read.
        """
        while not self._stop_asked.is_set():
            await self._orders.carry_out()
            if self._feed.connected is None or self._loop.time() < self._not_before or not (found := self._next()):
                await self._sleep(LOOK_SECS)
                continue
            gap, way = found
            try:
                await self._know_ids_of(gap, way)
                await self._repair(gap, way)
            except (RetriableError, OutOfCredit, TokenRejected, DeliveryFailed) as error:
                self._put_off(gap, way, error)
            except _Refused as refusal:
                self._refuse(way, str(refusal))
            else:
                self._backoff.reset()
            finally:
                if self._search is None:  # else it goes on later, and by then nothing of it may be forgotten
                    self._feed.repairing = None

    def stop(self) -> None:
        """Stop repairing; what has been handed over is still delivered."""
        self._stop_asked.set()
        self._taken.set()
        self._finder.stop()

    @property
    def page(self) -> Page | None:
        """The page that is ready for the next batch."""
        return self._page

    def took_page(self) -> None:
        """Take note that the page is in a batch."""
        self._page = None
        self._taken.set()

    # -- backfill, which is the reader's

    def backfill_minutes(self) -> int | None:
        """Return how many minutes the next connect should ask for."""
        covered_to = self._feed.coverage.covered_to_ms
        if covered_to is None:
            return None
        return backfill_minutes(covered_to, self._feed.now_ms, self._policy)

    def refuse_backfill(self, error: ConnectorError) -> None:
        """Take note that X does not let this account have a backfill."""
        self._refuse(Way.BACKFILL, str(error))

    # -- which gap, and which way

    def _next(self) -> tuple[Gap, Way] | None:
        """Return the newest gap for which the time has come; what cannot be repaired is given up on the way."""
        feed = self._feed
        for gap in reversed(feed.coverage.gaps):
            if gap.state not in {GapState.OPEN, GapState.REPAIRING} or (feed.backfilling and gap.way is Way.BACKFILL):
                continue
            match step_for(gap, feed.now_ms, self._policy):
                case Repair(way=way):
                    return gap, way
                case Lost(reason=reason):
                    feed.lose(gap, reason)
                    self._workshop.wake()
                case Split(at_ms=at_ms):
                    feed.split(gap, at_ms)
                    self._workshop.wake()
                    return None
        return None

    def _refuse(self, way: Way, reason: str) -> None:
        self._policy = replace(self._policy, refused={**self._policy.refused, way: reason})

    def _put_off(self, gap: Gap, way: Way, error: ConnectorError) -> None:
        if self._stop_asked.is_set():
            return
        if way is Way.RECOVERY and isinstance(error, ConnectionTaken):
            self._refused_connects += 1
            if self._refused_connects >= REFUSED_CONNECTS:
                self._refuse(way, f"X gives no second connection: {error}")
                return
        _, wait = self._backoff.wait(error, now=self._feed.now_ms / 1000)
        self._not_before = self._loop.time() + wait
        if now := self._feed.coverage.gap_at(gap.from_ms):
            self._feed.change(replace(now, detail=str(error)))
            self._workshop.wake()
        self._workshop.emit(
            RepairDelayed(
                of=self._workshop.task,
                gap_from=to_iso(gap.from_ms),
                error=error.name,
                reason=str(error),
                retry_in_secs=round(wait, 1),
                partition=self._feed.partition.get("partition"),
            )
        )

    # -- the work

    async def _know_ids_of(self, gap: Gap, way: Way) -> None:
        """
        Learn which posts of *gap* are in the topic: those at its edges, and what short connections delivered in it.

        What a repair has delivered stands in the ledger when it was delivered, so that is searched for up to the end;
        behind `until_id` there is nothing, unless a replay was in the middle of an interval.

        Raises:
            DeliveryFailed: Kafka does not answer.
            FatalError: the ledger cannot be read.
        """
        if self._search is not None and self._search[0] == _place(gap):
            return
        self._search = None
        until_ms = created_ms(gap.end_id) + GAP_EDGE_MS
        tried = gap.posts > 0 and (gap.until_id is None or way is Way.RECOVERY)
        self._feed.repairing = gap  # first: from now on nothing of it is forgotten that the ledger may not show yet
        ids = await self._workshop.read_ledger(gap.from_ms - GAP_EDGE_MS, until_ms, tried)
        beyond = first_id(until_ms)
        await remember(self._workshop.ledger, (post_id for post_id in ids if post_id < beyond))

    async def _repair(self, gap: Gap, way: Way) -> None:
        self._feed.repairing = gap
        if self._search is None or self._search[0] != _place(gap):
            self._workshop.emit(
                RepairStarted(
                    of=self._workshop.task,
                    gap_from=to_iso(gap.from_ms),
                    gap_to=to_iso(created_ms(gap.end_id)),
                    way=way.value,
                    partition=self._feed.partition.get("partition"),
                )
            )
        if way is Way.SEARCH:
            await self._by_search(gap)
        else:
            await self._by_replay(gap)

    async def _by_search(self, gap: Gap) -> None:
        if self._search is not None and self._search[0] == _place(gap):
            search = self._search[1]  # it holds what it has fetched of each rule
        else:
            search = self._finder.search(self._feed.rules_in(gap), gap.begin_id, gap.end_id)
        while not self._stop_asked.is_set():
            self._search = _place(gap), search
            await self._may_ask()
            found = await self._ask(search.next)
            lines, down_to_id = ((), gap.begin_id) if found is None else (found.lines, found.down_to_id)
            over = down_to_id <= gap.begin_id
            page = Page(
                from_ms=gap.from_ms,
                end_id=gap.end_id,
                way=Way.SEARCH,
                arrivals=(self._arrival(lines),) if lines else (),
                until_id=down_to_id,
                fetched=() if found is None else found.fetched,
                unfound=tuple(f"{rule}: {why}" for rule, why in search.lost.items()) if over else (),
            )
            self._search = None  # until the page is taken it does not stand where the gap does
            await self._deliver(page)
            await self._orders.carry_out()
            left = self._feed.coverage.gap_at(gap.from_ms)
            if over or left is None or left.end_id != down_to_id:
                return
            gap = left

    async def _by_replay(self, gap: Gap) -> None:
        while not self._stop_asked.is_set():
            high_ms = created_ms(gap.end_id - 1) + 1
            low_ms = max(gap.from_ms, high_ms - REPLAY_SLICE_MS)
            await self._may_ask()
            await self._replay(gap, low_ms, high_ms)
            self._refused_connects = 0
            await self._orders.carry_out()
            left = self._feed.coverage.gap_at(gap.from_ms)
            if left is None or left.end_id != first_id(low_ms):
                return
            gap = left

    async def _replay(self, gap: Gap, low_ms: int, high_ms: int) -> None:
        wake = asyncio.Event()

        def wake_up() -> None:
            self._loop.call_soon_threadsafe(wake.set)

        buffer = Buffer(
            REPLAY_BUFFER_BYTES,
            wake_up,
            full_posts=REPLAY_BATCH_POSTS,
        )

        replay = self._finder.replay(low_ms, high_ms)
        run = asyncio.ensure_future(self._ask(lambda: replay.read(buffer.put, _ignore)))
        run.add_done_callback(lambda _: wake.set())
        try:
            while not self._stop_asked.is_set():
                over = run.done()  # asked before: what it put before it ended is drained now
                wake.clear()
                arrivals = tuple(a for a in buffer.drain(REPLAY_BATCH_POSTS) if isinstance(a, Arrival) and a.lines)
                if over and not arrivals:
                    run.result()
                    await self._deliver(self._replayed(gap, (), first_id(low_ms)))
                    return
                if arrivals:
                    await self._deliver(self._replayed(gap, arrivals, None))
                    buffer.hold(0)  # the task holds it now
                    await self._may_ask()
                else:
                    await wake.wait()
        finally:
            replay.stop()
            buffer.release()
            with contextlib.suppress(ConnectorError):  # it is told by `run.result()`, if anybody still wants to know
                await run

    @staticmethod
    def _replayed(gap: Gap, arrivals: tuple[Arrival, ...], until_id: int | None) -> Page:
        return Page(from_ms=gap.from_ms, end_id=gap.end_id, way=Way.RECOVERY, arrivals=arrivals, until_id=until_id)

    async def _may_ask(self) -> None:
        """
        Wait until the task is known to be owned here.

        Raises:
            BudgetReached: nothing more is to be bought.
        """
        await self._workshop.prove()
        if error := self._feed.budget_reached():
            raise error

    async def _ask(self, call: Callable[[], T]) -> T:
        """
        Call X in an executor thread.

        Raises:
            _Refused: X does not let this account do this.
            ConnectorError: another time.
        """
        try:
            return await self._loop.run_in_executor(self._executor, call)
        except TokenRejected:
            raise
        except (FatalError, NotFound) as error:
            raise _Refused(str(error)) from error

    async def _deliver(self, page: Page) -> None:
        """Hand *page* over, and return once the task has taken it."""
        self._taken.clear()
        self._page = page
        self._workshop.wake()
        await self._taken.wait()

    def _arrival(self, lines: tuple[bytes, ...]) -> Arrival:
        return Arrival(lines=lines, at=clock.now(), size=held_bytes(lines))

    def _retried(self) -> None:
        """An operator has asked for another try: what was refused or put off may be allowed by now."""
        self._policy = replace(self._policy, refused={})
        self._refused_connects, self._not_before = 0, 0.0

    async def _sleep(self, secs: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_asked.wait(), secs)


Place = tuple[int, int, str]
"""Where a repair stands: begin of the gap, what is left of it, and its rules."""


def _place(gap: Gap) -> Place:
    return gap.from_ms, gap.end_id, gap.rules


class _Refused(Exception):
    """X does not let this account go this way."""


def _ignore(_: Connected) -> None:
    """A replay's begin means nothing."""
