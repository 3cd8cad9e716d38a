"""
Asks X for posts by their ids: `GET /2/tweets`, up to 100 in a request.

    event loop ── the posts to ask about ──▶ Handover ──▶ LookupSource.read (reader thread) ──▶ X
                                                              └──▶ an answer for each, as a line

It stands in the place of a stream: what X answers is put like what arrives, and a failure ends `read` with its error.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connector.compliance.rechecks import FOUND, GONE, UNCLEAR, Handover, line_of
from connector.errors import ConnectorError, RateLimited
from connector.records import clock
from connector.records.record import Arrival, Connected, held_bytes
from connector.sources.handles import Handle, Released
from connector.sources.http.wire import Wire
from connector.sources.rest.api import Api
from connector.sources.source import StreamSource

LOOKUP_PATH = "/2/tweets"

QUIET_SECS = 20.0
"""So often it is reported that there is nothing to ask, as a stream sends its keep-alives."""


@dataclass(kw_only=True, eq=False)
class LookupSource(StreamSource):
    """The lookup of posts; what it asks about is handed over by *handover*."""

    handover: Handover = field(default_factory=Handover, repr=False)

    def read(
        self,
        put: Callable[[Arrival], None],
        connected: Callable[[Connected], None],
        *,
        backfill_minutes: int | None = None,
    ) -> None:
        """
        Ask for what is handed over, and put the answers, until stopped.  Reader thread.

        What was handed over before and not replaced yet is asked again.

        Raises:
            ConnectorError: X refuses, limits, or cannot be reached.
        """
        with self._wire() as wire, self._api(wire) as api:
            self._reading = wire
            try:
                self._ask_on(api, wire, put, connected)
            except ConnectorError:
                if not wire.is_cut:
                    raise
            finally:
                self._reading = None

    def stop(self) -> None:
        """As `StreamSource.stop`."""
        super().stop()
        self.handover.wake()

    def hang_up(self) -> None:
        """As `StreamSource.hang_up`."""
        super().hang_up()
        self.handover.wake()

    def find_connection(self) -> str | None:
        """Return None: no connection stays open."""
        return None

    def release(self, connections: Collection[Handle]) -> Released:
        """Return that nothing is known: no connection stays open."""
        return Released()

    def _ask_on(
        self, api: Api, wire: Wire, put: Callable[[Arrival], None], connected: Callable[[Connected], None]
    ) -> None:
        last: tuple[int, ...] | None = None
        quiet_secs = 0.0  # at first, so that a connector with nothing to ask is known to be well
        while not wire.is_cut:
            posts = self.handover.next(last, quiet_secs, over=lambda: wire.is_cut)
            if wire.is_cut:
                return
            lines: tuple[bytes, ...] = ()
            if posts:
                lines, last = self._ask(api, posts), posts
            if not quiet_secs:
                connected(Connected(at=clock.now(), skew_secs=api.ahead_secs or 0.0))
                quiet_secs = QUIET_SECS
            put(Arrival(lines=lines, at=clock.now(), size=held_bytes(lines)))

    @staticmethod
    def _ask(api: Api, posts: Sequence[int]) -> tuple[bytes, ...]:
        quota = api.quota(LOOKUP_PATH)
        if quota is not None and quota.is_used_up:
            raise RateLimited(
                "X allows no more lookups for now: it will be tried again when it does",
                reset_at=quota.reset_at,
                reset_secs=quota.secs_left,
            )
        return tuple(answers_in(posts, api.get(LOOKUP_PATH, {"ids": ",".join(map(str, posts))})))


def answers_in(posts: Sequence[int], answer: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield for each of *posts* a line that says what X has answered.

    A post is gone only if X says so of this post by itself; what X does not mention, or has another problem with, is
    not clear.
    """
    found = {_text(post, "id") for post in _objects(answer.get("data"))}
    problems = {
        _text(error, "resource_id") or _text(error, "value"): _text(error, "type").rstrip("/").rpartition("/")[2]
        for error in _objects(answer.get("errors"))
        if error.get("parameter", "ids") == "ids" and _text(error, "resource_type") in _OF_A_POST
    }
    for post in posts:
        problem = problems.get(str(post), UNCLEAR)
        yield line_of(post, FOUND if str(post) in found else problem if problem in GONE else UNCLEAR)


_OF_A_POST = ("", "tweet", "post")


def _text(of: Mapping[str, Any], name: str) -> str:
    found = of.get(name)
    return found if isinstance(found, str) else ""


def _objects(listed: object) -> list[dict[str, Any]]:
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
