"""
Takes the events of this worker: counts for the minute that goes on, and what is told to the group as it is.

The counts are of the event loop, where batches are reported; an event to tell may come from any thread.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connector.history.records import Counts, Told
from connector.history.tally import Tally
from connector.history.timeline import SENTENCES, fields_of
from connector.telemetry.events import task as events
from connector.telemetry.events.event import Event, TaskEvent

WAITING_MAX = 500
"""The most events that wait to be written; what comes then is left out, and counted."""

TOGETHER = 64
"""So many delivered batches are added up together."""

A_MINUTE_MAX = 120
"""The most events of one worker that are told within a minute: a flapping connection shall not fill the topic."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as it is told: when (UNIX ms), its kind, level, connector, task, who wanted it, and its fields."""

    at: int
    kind: str
    level: str
    connector: str | None
    task: int | None
    by: str | None
    fields: dict[str, Any]

    def told(self, process: str, number: int, worker: str) -> Told:
        """Return the record of this event, from the worker *worker*."""
        return Told(
            process=process,
            number=number,
            worker=worker,
            at=self.at,
            kind=self.kind,
            level=self.level,
            connector=self.connector,
            task=self.task,
            by=self.by,
            fields=self.fields,
        )


class Recorder:
    """
    Counts and keeps what the events of this worker say, until somebody takes it; *clock* gives UNIX seconds.

    *woken* is called when an event waits to be told, from whatever thread it came.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.left_out = 0
        """Events that were not kept, as too many came."""
        self.woken: Callable[[], None] = lambda: None
        self._clock = clock
        self._tallies: dict[str, Tally] = {}
        self._delivered: list[events.BatchDelivered] = []
        self._waiting: deque[Happened] = deque()
        self._window, self._in_window = 0, 0
        self._counting: Mapping[type[Event], Callable[[Any], None]] = {
            events.BatchDelivered: self._count_delivered,
            events.PostsReceived: self._count_received,
            events.RulesMatched: self._count_matched,
            events.DuplicatesDropped: self._count_duplicates,
            events.PostsFiltered: self._count_filtered,
            events.PostsUnmatched: self._count_unmatched,
            events.RecordDropped: self._count_letter,
            events.TaskFenced: self._count_fenced,
        }

    def take(self, event: Event) -> None:
        """Count *event*, or keep it to be told, if it is of a kind for that.  Any thread."""
        count = self._counting.get(type(event))
        if count is not None:
            count(event)
        if event.name in SENTENCES:
            self._keep(event)

    def take_counts(self) -> dict[str, Counts]:
        """Return what was counted since this was last asked, by connector."""
        self._add_delivered()
        tallies, self._tallies = self._tallies, {}
        return {connector: tally.done() for connector, tally in tallies.items()}

    def take_happened(self) -> list[Happened]:
        """Return what is to be told, the oldest first."""
        found = []
        while self._waiting:
            found.append(self._waiting.popleft())
        return found

    def _keep(self, event: Event) -> None:
        now = self._clock()
        if int(now // 60) != self._window:
            self._window, self._in_window = int(now // 60), 0
        self._in_window += 1
        if self._in_window > A_MINUTE_MAX or len(self._waiting) >= WAITING_MAX:
            self.left_out += 1
            return
        fields = event.fields()
        of = event.of if isinstance(event, TaskEvent) else None
        named = fields.pop("connector", None)
        fields.pop("task", None)
        by = fields.pop("by", None)
        self._waiting.append(
            Happened(
                at=int(now * 1000),
                kind=event.name,
                level=logging.getLevelName(event.level).lower(),
                connector=of.connector if of is not None else (str(named) if named is not None else None),
                task=None if of is None else of.number,
                by=None if by is None else str(by),
                fields=fields_of(fields),
            )
        )
        self.woken()

    # -- counts

    def _tally(self, event: TaskEvent) -> Tally:
        tally = self._tallies.get(event.of.connector)
        if tally is None:
            tally = self._tallies[event.of.connector] = Tally()
        return tally

    def _count_delivered(self, event: events.BatchDelivered) -> None:
        self._delivered.append(event)
        if len(self._delivered) >= TOGETHER:
            self._add_delivered()

    def _add_delivered(self) -> None:
        """Add up the batches that were delivered: many at once cost a part of what one by one do."""
        delivered, self._delivered = self._delivered, []
        for event in delivered:
            self._tally(event).add_delivered(event.posts, event.waits, event.usd)

    def _count_received(self, event: events.PostsReceived) -> None:
        self._tally(event).counts.received += event.posts

    def _count_matched(self, event: events.RulesMatched) -> None:
        self._tally(event).add_matched(event.matched)

    def _count_duplicates(self, event: events.DuplicatesDropped) -> None:
        reason = "duplicate" if event.source is None else f"duplicate_{event.source}"
        self._tally(event).add_dropped(reason, event.posts)

    def _count_filtered(self, event: events.PostsFiltered) -> None:
        self._tally(event).add_dropped("transform", event.posts)

    def _count_unmatched(self, event: events.PostsUnmatched) -> None:
        self._tally(event).add_dropped("unmatched", event.posts)

    def _count_letter(self, event: events.RecordDropped) -> None:
        self._tally(event).add_letter(event.error)

    def _count_fenced(self, event: events.TaskFenced) -> None:
        self._tally(event).add_dropped("fenced", event.dropped_posts)
