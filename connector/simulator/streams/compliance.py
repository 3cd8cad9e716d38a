"""
The compliance streams: what was deleted, withheld, hidden or changed, to whoever reads them.

    event --> log --> each connection of its stream and partition
                  \\-> backfill and recovery: the events of a time, again
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from connector.simulator.clock import rfc3339
from connector.simulator.streams.endpoints import POSTS_COMPLIANCE, USERS_COMPLIANCE, partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connector.simulator.clock import Clock
    from connector.simulator.streams.connection import StreamConnection

PARTITIONS = 4
KEPT = 1_000_000
"""How many events are kept for backfill and recovery."""

POST_KINDS = frozenset({"delete", "withheld", "drop", "undrop", "tweet_edit"})
USER_KINDS = frozenset(
    {
        *("user_delete", "user_undelete", "user_protect", "user_unprotect", "user_suspend", "user_unsuspend"),
        *("user_withheld", "user_profile_modification", "scrub_geo"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceEvent:
    """One event; *subject* is the id of the post or the user, *written* counts the live connections that got it."""

    n: int
    kind: str
    subject: str
    endpoint: str
    partition: int
    at: float
    line: bytes
    written: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "line": self.line.decode()}


class Compliance:
    """Makes compliance events, keeps them, and writes them to the connections of their stream; *live* returns those."""

    def __init__(self, *, clock: Clock, live: Callable[[str], list[StreamConnection]]) -> None:
        self._clock, self._live = clock, live
        self.events: deque[ComplianceEvent] = deque(maxlen=KEPT)
        self._next = 0

    def post(self, kind: str, post: str, *, author: str | None, more: Mapping[str, Any] | None = None) -> None:
        """Tell that something happened to a post: *kind* is one of `POST_KINDS`, *more* are further members."""
        subject = {"id": post} if author is None or kind == "tweet_edit" else {"id": post, "author_id": author}
        self._tell(kind, post, POSTS_COMPLIANCE, {"tweet": subject}, more)

    def user(self, kind: str, user: str, more: Mapping[str, Any] | None = None) -> None:
        """Tell that something happened to a user: *kind* is one of `USER_KINDS`."""
        self._tell(kind, user, USERS_COMPLIANCE, {"user": {"id": user}}, more)

    def _tell(
        self, kind: str, subject: str, endpoint: str, about: Mapping[str, Any], more: Mapping[str, Any] | None
    ) -> None:
        at = self._clock.now()
        line = orjson.dumps({"data": {kind: {**about, "event_at": rfc3339(at), **(more or {})}}})
        partition = partition_of(int(subject), PARTITIONS)
        reading = [each for each in self._live(endpoint) if each.wanted.partition == partition]
        reading = [each for each in reading if each.wanted.interval is None]
        for connection in reading:
            connection.line(line)
        event = ComplianceEvent(
            n=self._next,
            kind=kind,
            subject=subject,
            endpoint=endpoint,
            partition=partition,
            at=at,
            line=line,
            written=len(reading),
        )
        self._next += 1
        self.events.append(event)

    def replay(self, connection: StreamConnection, begin: float, end: float) -> None:
        """Write the events of the past from *begin* to before *end*."""
        wanted = connection.wanted
        for event in self.events:
            if (event.endpoint, event.partition) == (wanted.endpoint, wanted.partition) and begin <= event.at < end:
                connection.line(event.line)

    def since(self, n: int) -> list[ComplianceEvent]:
        """Return the events from number *n* on."""
        return [event for event in self.events if event.n >= n]
