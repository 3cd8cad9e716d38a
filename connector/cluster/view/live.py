"""
Tells viewers once a second what has changed in what they see.

    View ─▶ state, once a second while anybody looks ─▶ each viewer: the difference to what it was told last

Nothing waits for a viewer: one that is slow is told less often, and then the whole difference.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mode import Service

from connector.cluster.refused import Unavailable
from connector.cluster.view.changes import patch_of
from connector.cluster.view.view import View
from connector.history.ranges import Range
from connector.records.snowflake import to_iso

TICK_SECS = 1.0
KEEP_ALIVE_SECS = 15.0
VIEWERS_MAX = 50
LATE_SECS = 180
"""Minutes that are so much older than the newest may still come: they are told again with each new one (seconds)."""

PATCHES_KEPT = 20
SNAPSHOT, DELTA = "snapshot", "delta"


class Place(NamedTuple):
    """
    How far a viewer was told: the newest event, the newest minute, and which state of which process.

    The first two mean the same on each worker.
    """

    event: int
    minute: int
    process: str
    revision: int

    def __str__(self) -> str:
        return f"{self.event}.{self.minute}.{self.process}.{self.revision}"

    @classmethod
    def of(cls, text: str) -> "Place | None":
        """Read what `str` gave; None for anything else."""
        parts = text.split(".")
        if len(text) > 100 or len(parts) != 4:  # noqa: PLR2004  # the four fields
            return None
        try:
            return cls(int(parts[0]), int(parts[1]), parts[2], int(parts[3]))
        except ValueError:
            return None


class Message(NamedTuple):
    """What a viewer is told: the place to go on from, what kind it is, and the document."""

    place: Place
    kind: str
    document: dict[str, Any]


@dataclass(slots=True, eq=False)
class _Viewer:
    span: Range
    connector: str | None
    place: Place | None
    state: dict[str, Any] | None = None
    range: dict[str, Any] | None = field(default=None)


class Live(Service):
    """The viewers of this worker, and what they see of *view*."""

    mundane_level = "debug"

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self._viewers: set[_Viewer] = set()
        self._state: dict[str, Any] = {}
        self._state_at = -TICK_SECS
        self._revision = 0
        self._watched, self._ticked = asyncio.Event(), asyncio.Event()
        self._patches: dict[tuple[int, int], dict[str, Any]] = {}
        self._ended = False

    @property
    def viewers(self) -> int:
        """How many look at present."""
        return len(self._viewers)

    async def on_stop(self) -> None:
        self._ended = True
        self._tick()

    def document(self, span: Range, connector: str | None = None) -> dict[str, Any]:
        """Return the whole document."""
        self._look()
        return {
            "id": str(self._place()),
            "at": to_iso(int(self.view.clock() * 1000)),
            "state": self._state,
            "range": self.view.range(span, connector),
            "events": self.view.events(span, connector),
        }

    async def watch(self, span: Range, connector: str | None, last: str | None) -> AsyncGenerator[Message | None, None]:
        """
        Yield what changes, after a snapshot or what came since *last*, an id; None to show that the worker lives.

        It ends when the worker stops.

        Raises:
            Unavailable: there are too many viewers.
        """
        if len(self._viewers) >= VIEWERS_MAX or self._ended:
            raise Unavailable(f"{VIEWERS_MAX} viewers look at this worker already: close some, or ask another worker.")
        viewer = _Viewer(span, connector, None if last is None else Place.of(last))
        self._viewers.add(viewer)
        self._watched.set()
        told_at = time.monotonic()
        try:
            while not self._ended:
                message = self._news_for(viewer)
                if message is not None or time.monotonic() - told_at >= KEEP_ALIVE_SECS:
                    told_at = time.monotonic()
                    yield message
                await self._ticked.wait()
        finally:
            self._viewers.discard(viewer)

    @Service.task
    async def _look_while_watched(self) -> None:
        while not self.should_stop:
            await self._watched.wait()
            await self.sleep(TICK_SECS)
            if not self._viewers:
                self._watched.clear()
                continue
            self._look()
            self._tick()

    def _tick(self) -> None:
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    def _look(self) -> None:
        """Look at the state, unless that was done within the last moment."""
        if time.monotonic() - self._state_at < TICK_SECS / 2:
            return
        self._state_at = time.monotonic()
        state = self.view.state()
        patch = patch_of(self._state, state)
        if patch:
            self._keep_patch(self._revision, self._revision + 1, patch)
            self._state, self._revision = state, self._revision + 1

    def _place(self) -> Place:
        history = self.view.history
        return Place(history.newest_event, history.newest_minute, self.view.process, self._revision)

    # -- what a viewer is told

    def _news_for(self, viewer: _Viewer) -> Message | None:
        self._look()
        before, place = viewer.place, self._place()
        message: Message | None
        if viewer.state is None:
            message = self._first_for(viewer, place)
        elif before is None or place.event < before.event:  # the topic was deleted and made again
            message = Message(place, SNAPSHOT, self.document(viewer.span, viewer.connector))
        else:
            message = self._delta_for(viewer, before, place)
        if message is not None:
            viewer.place, viewer.state = message.place, self._state
            viewer.range = self.view.range(viewer.span, viewer.connector)
        return message

    def _first_for(self, viewer: _Viewer, place: Place) -> Message:
        before = viewer.place
        begin, _ = viewer.span.span(self.view.clock())
        if before is None or before.minute < begin or not self.view.has_events_after(before.event):
            return Message(place, SNAPSHOT, self.document(viewer.span, viewer.connector))
        return self._delta_for(viewer, before, place) or Message(place, DELTA, self._begun())

    def _begun(self) -> dict[str, Any]:
        return {"at": to_iso(int(self.view.clock() * 1000)), "state": self._state}

    def _delta_for(self, viewer: _Viewer, before: Place, place: Place) -> Message | None:
        document: dict[str, Any] = {}
        if viewer.state is None:
            document["state"] = self._state
        elif before.revision != place.revision and (patch := self._patch(before.revision, viewer.state)):
            document["patch"] = patch
        span = self.view.range(viewer.span, viewer.connector)
        if span is not viewer.range:
            document["range"] = {name: span[name] for name in ("from", "to", "connectors", "rules", "rules_left_out")}
            document["points"] = _points_after(span["series"], before.minute - LATE_SECS, viewer.span.step_secs)
        if place.event > before.event:
            events = self.view.events(viewer.span, viewer.connector, after=before.event)
            document |= {"events": events} if events else {}
        if not document:
            return None
        return Message(place, DELTA, {"at": to_iso(int(self.view.clock() * 1000)), **document})

    def _patch(self, revision: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return what turns *state*, which had the number *revision*, into the present one."""
        known = self._patches.get((revision, self._revision))
        if known is None:
            known = patch_of(state, self._state)
            self._keep_patch(revision, self._revision, known)
        return known

    def _keep_patch(self, before: int, after: int, patch: dict[str, Any]) -> None:
        self._patches[before, after] = patch
        if len(self._patches) > PATCHES_KEPT:
            del self._patches[next(iter(self._patches))]


def _points_after(series: dict[str, list[Any]], secs: int, step_secs: int) -> dict[str, list[Any]]:
    """Return the columns of *series* from the point on in which *secs* is."""
    times = series["t"]
    first = next((place for place, begin in enumerate(times) if begin + step_secs > secs), len(times))
    return {name: column[first:] for name, column in series.items()}
