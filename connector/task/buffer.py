"""
The one crossing from the reader thread to the event loop.

    reader thread ── put ──▶ [ bounded in bytes ] ── drain ──▶ event loop
         blocks while full        wakes the loop once per drain
                                  says when it drains by itself

A full buffer blocks the reader and so the socket: X may cut us off then, which is an event with a name.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from connector.records.record import Arrival, Connected

BATCHES = 3
"""One is being committed, one is built, one is read: each has its share of the bytes."""


class Buffer:
    """
    Arrivals in the order of the socket, and before those of each connection that it was opened.

    With what the loop has taken and still holds they have at most *max_bytes*; a single larger one is let in alone.

    *wake* is called from the reader thread when something was put into a buffer that the loop had drained and will not
    drain by itself, and when *full_posts* lines wait; it must be thread-safe (`loop.call_soon_threadsafe`).
    """

    def __init__(self, max_bytes: int, wake: Callable[[], None], *, full_posts: int) -> None:
        self.max_bytes, self.full_posts = max_bytes, full_posts
        self._wake = wake
        self._arrivals: deque[Arrival | Connected] = deque()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._bytes = 0
        self._held = 0
        self._posts = 0
        self._unbounded = False
        self._woken = False
        self._drained_at = 0.0

    @property
    def full(self) -> bool:
        """Whether a full batch waits: so many posts, or as many bytes as one of the three batches that are held."""
        return self._posts >= self.full_posts or self._bytes >= self._full_bytes

    @property
    def _full_bytes(self) -> int:
        return max(self.max_bytes // BATCHES, 1)

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that lines take which wait for the loop."""
        return self._bytes

    @property
    def posts(self) -> int:
        """Lines waiting for the loop."""
        return self._posts

    def put(self, arrival: Arrival) -> None:
        """Add *arrival*; block while there is no room.  Reader thread."""
        with self._lock:
            while (kept := self._bytes + self._held) and kept + arrival.size > self.max_bytes and not self._unbounded:
                self._room.wait()
            was_full = self.full
            self._arrivals.append(arrival)
            self._bytes += arrival.size
            self._posts += len(arrival.lines)
            needless = self._woken or time.monotonic() < self._drained_at
            filled = self.full and not was_full
            self._woken = self._woken or filled or not needless
        if filled or not needless:
            self._wake()

    def hold(self, size_bytes: int) -> None:
        """Say how many bytes the loop holds that it has taken from here and not delivered yet.  Event loop."""
        with self._lock:
            self._held = size_bytes
            self._room.notify_all()

    def will_drain(self, at: float) -> None:
        """Let it be known that the loop will drain soon after *at* (monotonic seconds), woken or not.  Event loop."""
        self._drained_at = at

    def drain(self, max_posts: int) -> list[Arrival | Connected]:
        """
        Take whole arrivals, oldest first, until they have *max_posts* lines or fill a batch; from now on they are held.

        Event loop; never blocks for long.
        """
        drained: list[Arrival | Connected] = []
        posts = size = 0
        with self._lock:
            while self._arrivals and posts < max_posts and size < self._full_bytes:
                arrival = self._arrivals.popleft()
                drained.append(arrival)
                if isinstance(arrival, Arrival):
                    size += arrival.size
                    posts += len(arrival.lines)
            self._bytes -= size
            self._held += size
            self._posts -= posts
            self._woken = bool(self._arrivals)
            self._room.notify_all()
        return drained

    def put_connected(self, connected: Connected) -> None:
        """Add that a connection was opened; never blocks.  Reader thread."""
        with self._lock:
            self._arrivals.append(connected)
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def release(self) -> None:
        """Let a blocked `put` finish, and all later ones: what was read is not lost at a stop.  Any thread."""
        with self._lock:
            self._unbounded = True
            self._room.notify_all()
