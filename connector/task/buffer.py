"""
The one crossing from the reader thread to the event loop.

    reader thread ── put ──▶ [ bounded in bytes ] ── drain ──▶ event loop
         blocks while full        wakes the loop once for each drain

The loop says in advance when it will drain without being woken.  A full buffer blocks the reader thread, and so the
socket; X may then end the connection.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from connector.records.record import Arrival, Connected

BATCHES = 3
"""Batches that share the bytes: one is being committed, one is being built, one is being read."""


class Buffer:
    """
    Arrivals in the order of the socket; before those of a connection stands a `Connected`.

    They take at most *max_bytes*, together with what the loop has taken out and not delivered yet.  A single arrival
    that is larger is let in if there is nothing else.

    *wake* is called in the reader thread when something was put into a buffer that the loop had drained, unless the
    loop will drain by itself; and when *full_posts* lines wait.  It must be thread-safe (`loop.call_soon_threadsafe`).
    """

    def __init__(self, max_bytes: int, wake: Callable[[], None], *, full_posts: int) -> None:
        self.max_bytes, self.full_posts = max_bytes, full_posts
        self.full_bytes = max(max_bytes // BATCHES, 1)
        """Bytes that fill a batch: a third of *max_bytes*."""
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
        """Whether a full batch waits: `full_posts` posts, or a third of `max_bytes`."""
        return self._posts >= self.full_posts or self._bytes >= self.full_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that the waiting lines take."""
        return self._bytes

    @property
    def posts(self) -> int:
        """How many lines wait for the loop."""
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
        """Set how many bytes the loop has taken out and not delivered yet.  Event loop."""
        with self._lock:
            self._held = size_bytes
            self._room.notify_all()

    def will_drain(self, at: float) -> None:
        """Say that the loop will drain soon after *at* (monotonic seconds) without being woken.  Event loop."""
        self._drained_at = at

    def drain(self, max_posts: int, *, to_connected: bool = False) -> list[Arrival | Connected]:
        """
        Take whole arrivals, oldest first, until they have *max_posts* lines or fill a batch; their bytes count as held.

        With *to_connected* a `Connected` is the last that is taken.  Event loop; never blocks for long.
        """
        drained: list[Arrival | Connected] = []
        posts = size = 0
        with self._lock:
            while self._arrivals and posts < max_posts and size < self.full_bytes:
                arrival = self._arrivals.popleft()
                drained.append(arrival)
                if isinstance(arrival, Arrival):
                    size += arrival.size
                    posts += len(arrival.lines)
                elif to_connected:
                    break
            self._bytes -= size
            self._held += size
            self._posts -= posts
            self._woken = bool(self._arrivals)
            self._room.notify_all()
        return drained

    def put_connected(self, connected: Connected) -> None:
        """Add a `Connected`, when a connection was opened; never blocks.  Reader thread."""
        with self._lock:
            self._arrivals.append(connected)
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def release(self) -> None:
        """Let a blocked `put` and all later ones finish, so that a stop loses nothing that was read.  Any thread."""
        with self._lock:
            self._unbounded = True
            self._room.notify_all()
