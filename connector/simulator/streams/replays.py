"""
Backfill and recovery: stored posts are written again, as fast as the client reads.

A replay pauses between groups of posts, so that other connections are served.  During a backfill the live posts of the
connection wait until the older posts are written.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from connector.simulator.snowflakes import first_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.simulator.posts.post import Post
    from connector.simulator.posts.store import PostStore
    from connector.simulator.rules.store import Rule
    from connector.simulator.streams.connection import StreamConnection
    from connector.simulator.streams.delivery import Delivery

REPLAY_POSTS = 100
"""How many posts a replay writes before it pauses."""

REPLAY_PAUSE_S = 0.005
REPLAY_BACKLOG_BYTES = 4 * 1024 * 1024
"""A replay waits while the backlog of the connection is above this, or above half of the buffer."""


class Replays:
    """Writes stored posts to connections; *after* calls a function after a number of seconds."""

    def __init__(
        self,
        *,
        store: PostStore,
        delivery: Delivery,
        buffer_bytes: int,
        after: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._backlog = min(REPLAY_BACKLOG_BYTES, buffer_bytes // 2)
        self._after = after
        self._waiting: dict[str, deque[tuple[Post, list[Rule], Literal["live", "duplicate"]]]] = {}
        """Live posts by the connection whose backfill they wait for."""

    def recover(self, connection: StreamConnection, interval: tuple[float, float]) -> None:
        """Write the posts of an interval, then close the connection."""
        self._go_on(connection, self._stored(*interval), origin="recovery")

    def backfill(self, connection: StreamConnection, begin: float, end: float) -> None:
        """Write the posts of the past, then the live posts that waited."""
        self._waiting[connection.id] = deque()
        self._go_on(connection, self._stored(begin, end), origin="backfill")

    def hold(
        self, connection: StreamConnection, post: Post, rules: list[Rule], origin: Literal["live", "duplicate"]
    ) -> bool:
        """Keep a live post until the backfill of the connection is over; return false if there is no backfill."""
        waiting = self._waiting.get(connection.id)
        if waiting is None:
            return False
        waiting.append((post, rules, origin))
        return True

    def _stored(self, begin: float, end: float) -> Iterator[int]:
        return iter(self._store.ids(first_id(int(begin * 1000)), first_id(int(end * 1000))))

    def _go_on(
        self, connection: StreamConnection, ids: Iterator[int], *, origin: Literal["backfill", "recovery"]
    ) -> None:
        """Write the next posts, those that the connection has seen before included."""
        for _ in range(REPLAY_POSTS):
            if connection.open and connection.backlog > self._backlog:
                break
            post_id = next(ids, None) if connection.open else None
            if post_id is None:
                self._end(connection)
                return
            self._write(connection, post_id, origin)
        self._after(REPLAY_PAUSE_S, lambda: self._go_on(connection, ids, origin=origin))

    def _write(self, connection: StreamConnection, post_id: int, origin: Literal["backfill", "recovery"]) -> None:
        try:
            post = self._store.get(post_id)
        except KeyError:  # the post has left the store since the replay began
            return
        rules = self._delivery.matching(post)
        if self._delivery.wants(connection, post, rules):
            self._delivery.write(connection, post, rules, origin=origin)

    def _end(self, connection: StreamConnection) -> None:
        for post, rules, origin in self._waiting.pop(connection.id, ()):
            self._delivery.write(connection, post, rules, origin=origin)
        if connection.wanted.interval is not None:
            connection.finish("recovery_done")
