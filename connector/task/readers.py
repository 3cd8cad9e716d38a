"""
What a task reads with: for each source partition a reader, a buffer behind it, and the keeper of the rules at X.

    made ─▶ started: each runs by itself ─▶ stopped; what is in the buffers then is still taken
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import overload

from connector.errors import BudgetReached
from connector.sources.handles import Handle
from connector.task.buffer import Buffer
from connector.task.ownership import Ownership
from connector.task.ports import Source
from connector.task.reader import Reader
from connector.task.rule_keeper import RuleKeeper
from connector.task.settings import TaskSettings
from connector.task.subscribers import Subscribers
from connector.task.wake import Wake
from connector.telemetry.events.event import Event

FIELDS_CHANGED = "fields_changed"
"""The reason of a gap: the stream was asked for anew, with other fields."""


class Readers(Sequence[Reader]):
    """
    The readers of *sources* for *subscribers*; there are none before `make`.

    *ghosts* are connections that the task's last owner may have left open at X.  *changed* is called when the status of
    a reader has changed.  *runs* are what `start` began; *wake* is set when one of them has ended, and
    *some_ended* is true from then on.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        subscribers: Subscribers,
        executor: Executor,
        settings: TaskSettings,
        *,
        ownership: Ownership,
        wake: Wake,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
        ghosts: Collection[Handle],
    ) -> None:
        self.runs: list[asyncio.Task[None]] = []
        self._all: list[Reader] = []
        self._keepers: list[RuleKeeper] = []
        self._sources, self._subscribers, self._executor, self._settings = sources, subscribers, executor, settings
        self._ownership, self._wake, self._emit, self._changed, self._ghosts = ownership, wake, emit, changed, ghosts
        self.some_ended = False

    @overload
    def __getitem__(self, at: int) -> Reader: ...

    @overload
    def __getitem__(self, at: slice) -> list[Reader]: ...

    def __getitem__(self, at: int | slice) -> Reader | list[Reader]:
        return self._all[at]

    def __len__(self) -> int:
        return len(self._all)

    # -- life

    def make(self) -> None:
        """Make a reader for each source partition; once."""
        settings, subscribers = self._settings, self._subscribers
        size = settings.buffer_max_bytes // len(self._sources)
        for number, source in enumerate(self._sources):
            keeper = RuleKeeper(
                source,
                self._executor,
                subscribers,
                task=settings.task,
                connected=partial(self._is_connected, number),
                emit=self._emit,
            )
            reader = Reader(
                keeper,
                Buffer(size, self._wake.set_from_thread, full_posts=settings.batch_max_records),
                self._executor,
                ownership=self._ownership,
                allowance=subscribers.allowances[number],
                backfill=subscribers.backfills[number],
                emit=self._emit,
                changed=self._changed,
                ghosts=self._ghosts,
            )
            self._keepers.append(keeper)
            self._all.append(reader)
        subscribers.keep_rules(self._keepers)

    def _is_connected(self, number: int) -> bool:
        return self._all[number].connected is not None

    def start(self) -> None:
        """Begin to read, and to keep the rules."""
        for coming in [reader.run() for reader in self._all] + [keeper.run() for keeper in self._keepers]:
            run = asyncio.create_task(coming)
            run.add_done_callback(self._note_ended)
            self.runs.append(run)

    def _note_ended(self, _run: "asyncio.Task[None]") -> None:
        self.some_ended = True
        self._wake.set()

    def stop(self) -> None:
        """End the connections, and let the rules be."""
        for keeper in self._keepers:
            keeper.stop()
        for reader in self._all:
            reader.stop()

    # -- what X is asked

    def ask(self, parameters: Mapping[str, str]) -> None:
        """Ask for the stream anew, with other fields and expansions."""
        for source, reader in zip(self._sources, self._all, strict=True):
            source.ask(parameters)
            reader.reconnect(FIELDS_CHANGED)

    def try_budget_again(self) -> None:
        """Let those look again that wait because a budget is spent: there may be another one now."""
        for reader in self._all:
            if isinstance(reader.error, BudgetReached):
                reader.hurry()

    def look_at_rules(self) -> None:
        """See at once whether X holds the rules, and add what is missing there."""
        for keeper in self._keepers:
            keeper.look()

    # -- what waits in the buffers; loops without generators, as all this is asked in each turn

    @property
    def posts(self) -> int:
        """How many posts wait."""
        posts = 0
        for reader in self._all:
            posts += reader.buffer.posts
        return posts

    @property
    def size_bytes(self) -> int:
        """The memory of the posts that wait, in bytes."""
        return sum(reader.buffer.size_bytes for reader in self._all)

    def full(self) -> bool:
        """Return whether one of the buffers has enough for a whole batch."""
        for reader in self._all:  # noqa: SIM110
            if reader.buffer.full:
                return True
        return False

    def hold(self, size_bytes: int) -> None:
        """Tell the buffers how many bytes were taken and are not delivered yet; each counts an equal share."""
        for reader in self._all:
            reader.buffer.hold(size_bytes // len(self._all))

    def say_next_drain(self, at: float) -> None:
        """Say that the task drains at *at* (monotonic seconds) if posts wait now; with 0.0, that it has to be woken."""
        if at and not self.posts:
            return
        for reader in self._all:
            reader.buffer.will_drain(at)
