"""
Keeps the ids of a connector's schemas: each is asked for once, in the background, until the registry has answered.

    stamps_for(topics) ─▶ known: their stamps
                      └─▶ not yet: None; a task asks ─▶ known, whoever waits is told
                                          ▲     └─────▶ refused: `stamps_for` raises it, and asks again the next time
                                          └─ pause ◀── no answer: `waiting` says why
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Mapping

from connector.config.connector import SubjectNameStrategy
from connector.errors import RegistryAway, SchemaRefused
from connector.formats.schemas.registry import Registry
from connector.formats.schemas.subjects import subject_of
from connector.formats.schemas.writer import Stamp, Unfitting, Writer, stamp_of
from connector.telemetry.events.event import Event
from connector.telemetry.events.formats import RegistryAnswers, RegistryAwaited, SchemaFound

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0
FORGOTTEN_SECS = 60.0
"""After so long in which nobody wanted a stamp, the registry is not asked any more: the connector is gone."""


class SchemaIds:
    """
    The ids of the schemas that *writer* of *connector* writes by, for each subject.  Event loop.

    *registry* is asked.  Which subject a topic has is said by *strategy*.
    """

    def __init__(
        self,
        writer: Writer,
        registry: Registry,
        *,
        connector: str,
        strategy: SubjectNameStrategy,
        emit: Callable[[Event], None],
    ) -> None:
        self._writer, self._registry, self._connector = writer, registry, connector
        self._strategy, self._emit = strategy, emit
        self._stamps: dict[str, Stamp] = {}
        self._refused: dict[str, SchemaRefused] = {}
        self._wanted: dict[str, None] = {}
        self._told: list[Callable[[], None]] = []
        self._away: RegistryAway | None = None
        self._away_since = 0.0
        self._wanted_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> str | None:
        """Why an id is not known yet, as a sentence; None while the registry is not known to be away."""
        return None if self._away is None else f"{self._away.name}: {self._away}"

    def stamps_for(self, topics: Collection[str], told: Callable[[], None]) -> Mapping[str, Stamp] | None:
        """
        Return the stamp for the values of each of *topics*; None while one is not known.

        The registry is then asked, and *told* is called once when it is worth while to ask here again.

        Raises:
            SchemaRefused: the registry refuses one of them.
            Exception: asking ended in a way that nobody foresaw.
        """
        if self._asking is not None and self._asking.done():
            asked, self._asking = self._asking, None
            asked.result()
        subjects = {topic: subject_of(self._strategy, topic, self._writer.schema.name) for topic in topics}
        for subject in subjects.values():
            if refused := self._refused.pop(subject, None):
                raise refused
        missing = [subject for subject in subjects.values() if subject not in self._stamps]
        if not missing:
            return {topic: self._stamps[subject] for topic, subject in subjects.items()}
        self._wanted_at = time.monotonic()
        self._wanted.update(dict.fromkeys(missing))
        if told not in self._told:  # bound methods of one object are equal
            self._told.append(told)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return None

    async def close(self) -> None:
        """Ask no more, until a stamp is wanted again."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _ask(self) -> None:
        try:
            await self._ask_for_all()
        finally:
            await self._registry.close()  # the next question is days away

    async def _ask_for_all(self) -> None:
        pause_secs = FIRST_PAUSE_SECS
        while self._wanted and time.monotonic() - self._wanted_at < FORGOTTEN_SECS:
            subject = next(iter(self._wanted))
            try:
                await self._find(subject)
            except RegistryAway as away:
                self._take_note(away, pause_secs)
                await asyncio.sleep(pause_secs)
                pause_secs = min(pause_secs * 2, LONGEST_PAUSE_SECS) * random.uniform(0.8, 1.0)  # noqa: S311  # no secret
                continue
            except SchemaRefused as refused:
                self._refused[subject] = refused
            pause_secs = FIRST_PAUSE_SECS
            del self._wanted[subject]
            self._tell()

    async def _find(self, subject: str) -> None:
        schema = self._writer.schema
        found = await self._registry.find(subject, schema)
        self._back()
        try:
            self._stamps[subject] = stamp_of(self._writer, found.id, found.text)
        except Unfitting as unfitting:
            raise SchemaRefused(f"No post can be written by the latest version of {subject}: {unfitting}") from None
        except ValueError as error:
            raise RegistryAway(f"The schema registry's answer on {subject} cannot be used: {error}") from None
        self._emit(SchemaFound(connector=self._connector, subject=subject, schema_id=found.id, type=schema.type))

    def _take_note(self, away: RegistryAway, pause_secs: float) -> None:
        now = time.monotonic()
        if self._away is None:
            self._away_since = now
        self._away = away
        self._emit(
            RegistryAwaited(
                connector=self._connector,
                waiting_secs=round(now - self._away_since, 1),
                reason=str(away),
                retry_in_secs=round(pause_secs, 1),
            )
        )
        self._tell()

    def _back(self) -> None:
        if self._away is not None:
            self._away = None
            waited_secs = round(time.monotonic() - self._away_since, 1)
            self._emit(RegistryAnswers(connector=self._connector, waited_secs=waited_secs))

    def _tell(self) -> None:
        told, self._told = self._told, []
        for call in told:
            call()
