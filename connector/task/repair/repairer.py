"""
Repairs the gaps of one source partition, beside the live stream.

    newest gap that X can give ─▶ load its delivered ids ─▶ page ─▶ the task delivers it ─▶ next page … ─▶ closed
                                                             ▲                              │
                                                             └──── wait: limit, budget, X ◀─┘

`policy` says by which way.  Each page goes into the task's next batch, together with the offset that says how far the
repair has come.  So the next owner of the task goes on after the last page that is in the topic.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from connector.coverage.offset import Gap, GapState, Way
from connector.coverage.progress import GAP_EDGE_MS, Page, Progress
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
from connector.records.record import Arrival, Connected, held_bytes
from connector.records.snowflake import created_ms, first_id, to_iso
from connector.task.backoff import Backoff
from connector.task.buffer import Buffer
from connector.task.known_ids import KnownIds
from connector.task.ownership import Ownership
from connector.task.ports import Finder, Search
from connector.task.repair.orders import Orders
from connector.task.repair.policy import REPLAY_SLICE_MS, Lost, Policy, Repair, Split, backfill_minutes, step_for
from connector.task.wake import Wake
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import RepairDelayed, RepairStarted

P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECS = 1.0
"""The gaps and the requests of operators are checked once in this time."""

REPLAY_BUFFER_BYTES = 8 * 1024 * 1024
REPLAY_BATCH_POSTS = 1_000
REFUSED_CONNECTS = 5
"""If X refuses a second connection so often, as there are too many, the account may not have one."""


class Repairer:
    """
    Repairs the gaps of *progress* with what *finder* offers and *policy* allows, until `stop`.

    It carries out *orders* in between, and loads the ids of posts that a gap may have in the topic into *known_ids*.
    """

    def __init__(
        self,
        progress: Progress,
        finder: Finder,
        policy: Policy,
        orders: Orders[Any],
        known_ids: KnownIds,
        executor: Executor,
        *,
        ownership: Ownership,
        wake: Wake,
        emit: Callable[[Event], None],
    ) -> None:
        self._progress, self._finder, self._policy, self._orders = progress, finder, policy, orders
        self._known_ids, self._executor = known_ids, executor
        self._ownership, self._wake, self._emit = ownership, wake, emit
        self._task = orders.task
        self._loop = asyncio.get_running_loop()
        self._stop_asked, self._taken = asyncio.Event(), asyncio.Event()
        self._page: Page | None = None
        self._backoff = Backoff()
        self._not_before = 0.0
        self._refused_connects = 0
        self._search: tuple[Place, Search] | None = None

    async def run(self) -> None:
        """
        Look for gaps, and repair them.

        Raises:
            FatalError: the ledger cannot be read.
        """
        while not self._stop_asked.is_set():
            await self._carry_out_orders()
            if self._progress.connected is None or self._loop.time() < self._not_before or not (found := self._next()):
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
                if self._search is None:  # else the search goes on later, and its ids are needed until then
                    self._progress.repairing = None

    def change(self, policy: Policy) -> None:
        """Repair by *policy* from now on; X may allow by now what it refused."""
        self._policy = policy

    def stop(self) -> None:
        """Stop repairing; a page that was handed over is still delivered."""
        self._stop_asked.set()
        self._taken.set()
        self._orders.stop()
        self._finder.stop()

    @property
    def page(self) -> Page | None:
        """The page that is ready for the next batch."""
        return self._page

    def took_page(self) -> None:
        """Take note that the page is in a batch."""
        self._page = None
        self._taken.set()

    # -- backfill, which the reader carries out

    def backfill_minutes(self) -> int | None:
        """Return how many minutes of backfill the next connect should ask for; None for no backfill."""
        covered_to = self._progress.coverage.covered_to_ms
        if covered_to is None:
            return None
        return backfill_minutes(covered_to, self._progress.now_ms, self._policy)

    def refuse_backfill(self, error: ConnectorError) -> None:
        """Take note that X refuses a backfill to this account."""
        self._refuse(Way.BACKFILL, str(error))

    # -- which gap, and which way

    def _next(self) -> tuple[Gap, Way] | None:
        """Return the newest gap that can be repaired now, and the way; give up those that cannot be repaired at all."""
        progress = self._progress
        for gap in reversed(progress.coverage.gaps):
            if gap.state not in {GapState.OPEN, GapState.REPAIRING} or (
                progress.backfilling and gap.way is Way.BACKFILL
            ):
                continue
            match step_for(gap, progress.now_ms, self._policy):
                case Repair(way=way):
                    return gap, way
                case Lost(reason=reason):
                    progress.lose(gap, reason)
                    self._wake.set()
                case Split(at_ms=at_ms):
                    progress.split(gap, at_ms)
                    self._wake.set()
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
        _, wait = self._backoff.wait(error, now=self._progress.now_ms / 1000)
        self._not_before = self._loop.time() + wait
        if now := self._progress.coverage.gap_at(gap.from_ms):
            self._progress.change(replace(now, detail=str(error)))
            self._wake.set()
        self._emit(
            RepairDelayed(
                of=self._task,
                gap_from=to_iso(gap.from_ms),
                error=error.name,
                reason=str(error),
                retry_in_secs=round(wait, 1),
                partition=self._progress.partition.get("partition"),
            )
        )

    # -- the work

    async def _know_ids_of(self, gap: Gap, way: Way) -> None:
        """
        Load the ids of posts of *gap* that are in the topic: at its edges, and from short connections inside it.

        The ledger holds the ids of a repair at the time of their delivery.  If a repair has delivered posts of the part
        that is still missing (below `until_id`), the ledger is read to its end; a replay may have done so, if it broke
        off inside an interval.

        Raises:
            DeliveryFailed: Kafka does not answer.
            FatalError: the ledger cannot be read.
        """
        if self._search is not None and self._search[0] == _place(gap):
            return
        self._search = None
        until_ms = created_ms(gap.end_id) + GAP_EDGE_MS
        tried = gap.posts > 0 and (gap.until_id is None or way is Way.RECOVERY)
        # set before the read: ids of the gap that the ledger in Kafka does not hold yet must not be forgotten
        self._progress.repairing = gap
        await self._known_ids.load(gap.from_ms - GAP_EDGE_MS, until_ms, late=tried)

    async def _repair(self, gap: Gap, way: Way) -> None:
        self._progress.repairing = gap
        if self._search is None or self._search[0] != _place(gap):
            self._emit(
                RepairStarted(
                    of=self._task,
                    gap_from=to_iso(gap.from_ms),
                    gap_to=to_iso(created_ms(gap.end_id)),
                    way=way.value,
                    partition=self._progress.partition.get("partition"),
                )
            )
        if way is Way.SEARCH:
            await self._by_search(gap)
        else:
            await self._by_replay(gap)

    async def _by_search(self, gap: Gap) -> None:
        if self._search is not None and self._search[0] == _place(gap):
            search = self._search[1]  # it holds the posts that it has fetched for each rule
        else:
            search = self._finder.search(self._progress.rules_in(gap), gap.begin_id, gap.end_id)
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
            self._search = None  # until the task has taken the page, the search is ahead of the gap
            await self._deliver(page)
            await self._carry_out_orders()
            left = self._progress.coverage.gap_at(gap.from_ms)
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
            await self._carry_out_orders()
            left = self._progress.coverage.gap_at(gap.from_ms)
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
                over = run.done()  # asked before the drain, which then takes all that it put before it ended
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
            with contextlib.suppress(ConnectorError):  # if it matters, `run.result()` has raised it already
                await run

    @staticmethod
    def _replayed(gap: Gap, arrivals: tuple[Arrival, ...], until_id: int | None) -> Page:
        return Page(from_ms=gap.from_ms, end_id=gap.end_id, way=Way.RECOVERY, arrivals=arrivals, until_id=until_id)

    async def _may_ask(self) -> None:
        """
        Wait until this worker has proved that it owns the task.

        Raises:
            BudgetReached: the budget is spent, so nothing more may be bought.
        """
        await self._ownership.prove()
        if error := self._progress.budget_reached():
            raise error

    async def _ask(self, call: Callable[[], T]) -> T:
        """
        Call X in an executor thread.

        Raises:
            _Refused: X refuses this way to this account.
            ConnectorError: it failed, and may be tried again.
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
        self._wake.set()
        await self._taken.wait()

    def _arrival(self, lines: tuple[bytes, ...]) -> Arrival:
        return Arrival(lines=lines, at=clock.now(), size=held_bytes(lines))

    async def _carry_out_orders(self) -> None:
        """Do what operators ask; one who asks to try again may know that X allows by now what it refused."""
        if await self._orders.carry_out():
            self._policy = replace(self._policy, refused={})
            self._refused_connects, self._not_before = 0, 0.0

    async def _sleep(self, secs: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop_asked.wait(), secs)


Place = tuple[int, int, str]
"""How far a repair has come: begin of the gap, end of its missing part, and its rules."""


def _place(gap: Gap) -> Place:
    return gap.from_ms, gap.end_id, gap.rules


class _Refused(Exception):
    """X refuses this way of repair to this account."""


def _ignore(_: Connected) -> None:
    """Do nothing: that a replay was connected means nothing for the coverage."""
