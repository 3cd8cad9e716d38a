"""
The one crossing from the reader thread to the event loop.

    reader thread ── put ──▶ [ bounded in bytes ] ── drain ──▶ event loop
         blocks while full        wakes the loop once per drain

A full buffer blocks the reader and so the socket: X may cut us off then, which is an event with a name.
"""

import threading
from collections import deque
from collections.abc import Callable

from connector.records import Arrival, Connected


class Buffer:
    """
    Arrivals in the order of the socket, at most *max_bytes* of them (a single larger one is let in alone), and before
    those of each connection that it was opened.

    *wake* is called from the reader thread when something was put into a buffer that the loop had drained, and when
    *full_posts* lines wait; it must be thread-safe (`loop.call_soon_threadsafe`).
    """

    def __init__(self, max_bytes: int, wake: Callable[[], None], *, full_posts: int) -> None:
        self.max_bytes, self.full_posts = max_bytes, full_posts
        self._wake = wake
        self._arrivals: deque[Arrival | Connected] = deque()
        self._room = threading.Condition()
        self._bytes = 0
        self._posts = 0
        self._unbounded = False
        self._woken = False

    @property
    def full(self) -> bool:
        """Whether a full batch waits."""
        return self._posts >= self.full_posts

    @property
    def size_bytes(self) -> int:
        """Bytes of lines waiting for the loop."""
        return self._bytes

    @property
    def posts(self) -> int:
        """Lines waiting for the loop."""
        return self._posts

    def put(self, arrival: Arrival) -> None:
        """Add *arrival*; block while there is no room.  Reader thread."""
        with self._room:
            while self._bytes and self._bytes + arrival.size > self.max_bytes and not self._unbounded:
                self._room.wait()
            was_full = self.full
            self._arrivals.append(arrival)
            self._bytes += arrival.size
            self._posts += len(arrival.lines)
            woken, self._woken = self._woken, True
            filled = self.full and not was_full
        if filled or not woken:
            self._wake()

    def drain(self, max_posts: int) -> list[Arrival | Connected]:
        """Take whole arrivals, oldest first, until they hold *max_posts* lines.  Event loop; never blocks for long."""
        drained: list[Arrival | Connected] = []
        posts = 0
        with self._room:
            while self._arrivals and posts < max_posts:
                arrival = self._arrivals.popleft()
                drained.append(arrival)
                if isinstance(arrival, Arrival):
                    self._bytes -= arrival.size
                    posts += len(arrival.lines)
            self._posts -= posts
            self._woken = bool(self._arrivals)
            self._room.notify_all()
        return drained

    def put_connected(self, connected: Connected) -> None:
        """Add that a connection was opened; never blocks.  Reader thread."""
        with self._room:
            self._arrivals.append(connected)
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def release(self) -> None:
        """Let a blocked `put` finish, and all later ones: what was read is not lost at a stop.  Any thread."""
        with self._room:
            self._unbounded = True
            self._room.notify_all()
