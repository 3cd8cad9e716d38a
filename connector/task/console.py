"""
Prints each delivered post to standard output with `print=true`, in one line: time, author, text.

    event loop ── show ──▶ [ batches, bounded in bytes ] ──▶ one thread ──▶ standard output
                  never waits                                may be blocked for ever

Printing never delays delivery or the end of the process.  If a terminal stands still, a pipe is slow or a disk is full,
lines are not printed, and counted.  If the reader of a pipe has ended, or the output is closed, printing ends.  The
thread writes to the file descriptor itself: if it were blocked inside `sys.stdout`, the interpreter would wait for it
at its end.
"""

import asyncio
import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import msgspec

from connector.records.post import payload_of
from connector.records.record import Records, SourceRecord
from connector.records.scanner import lean
from connector.records.snowflake import to_iso
from connector.telemetry.events.event import Event
from connector.telemetry.events.task import PrintEnded, PrintSkipped, PrintStalled

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Most bytes of posts that wait to be printed; further posts are not printed."""

SAY_SECS = 60.0
"""At most once in this time the log says that posts are not printed."""

LAST_POSTS_SECS = 1.0
"""How long a task that ends waits until its last posts are printed."""

PASSING = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that a person can cure while the worker runs: a full disk."""

_BREAKS = str.maketrans({"\n": " ", "\r": " ", "\t": " ", "\u2028": " ", "\u2029": " ", "\x85": " ", "\x1b": " "})
"""Characters that would break the line or control the terminal."""

_JOINERS = "\u200c\u200d"
"""Characters that join parts of emoji and of Persian words."""


class _User(msgspec.Struct):
    id: str = ""
    username: str = ""


class _Includes(msgspec.Struct):
    users: list[_User] = []


class _Note(msgspec.Struct):
    text: str = ""


class _Data(msgspec.Struct):
    text: str = ""
    author_id: str = ""
    note_tweet: _Note | None = None


class _Line(msgspec.Struct):
    data: _Data
    includes: _Includes | None = None


class _Post(msgspec.Struct):
    """A value of the shape `post`."""

    id: str
    text: str
    author: _User | None = None


_decode = msgspec.json.Decoder(_Line).decode
_decode_post = msgspec.json.Decoder(_Post).decode


def _read(value: bytes) -> _Line:
    try:
        return _decode(value)
    except (ValueError, RecursionError):  # a post may have a shape that this parser refuses
        return _decode(lean(value, data=("text", "author_id", "note_tweet"), beside=("includes",)))


def line_of(record: SourceRecord) -> str:
    """Return the console line of *record*; a post in an unusual shape is shown by its id."""
    made = to_iso(record.timestamp_ms)
    try:
        return f"{made}  {words_of_post((record.altered and record.altered.line) or record.value)}"
    except ValueError:
        return f"{made}  post {record.key.decode() if record.altered is None else record.altered.post_id}"


def words_of_post(value: bytes) -> str:
    """
    Return author and text of the post in *value*, a line of X, without characters that control a terminal.

    Raises:
        ValueError: *value* is no such line.
    """
    line = _read(value)
    users = line.includes.users if line.includes else []
    names = {user.id: f"@{user.username}" for user in users if user.username}
    author = names.get(line.data.author_id) or line.data.author_id or "-"
    text = line.data.note_tweet.text if line.data.note_tweet and line.data.note_tweet.text else line.data.text
    return cleaned(f"{author}  {text}")


def words_of_shape(value: bytes) -> str:
    """
    Return author and text of *value*, a post of the shape `post` or `connect`, as `words_of_post` does of a line.

    Raises:
        ValueError: *value* is no such post.
    """
    post = _decode_post(payload_of(value))
    author = post.author or _User()
    name = f"@{author.username}" if author.username else author.id or "-"
    return cleaned(f"{name}  {post.text}")


def cleaned(text: str) -> str:
    """Return *text* in one line, with a blank for each character that would break it or control the terminal."""
    return "".join(c if c.isprintable() or c in _JOINERS else " " for c in text.translate(_BREAKS))


class Console:
    """Prints posts to *out*, in a thread of its own; *emit* gets an event for posts that cannot be printed."""

    def __init__(
        self, out: TextIO | None, emit: Callable[[Event], None], *, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        self._out, self._emit, self._max_waiting_bytes = out, emit, max_waiting_bytes
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._batches: deque[Records] = deque()
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None
        self._ended = False
        self._unsaid = 0
        self._said_at = -SAY_SECS
        self._cut = False
        """Whether the last line was written in part only."""

    def show(self, records: Records) -> None:
        """Let the thread print *records*, if there is room for them; never waits.  Event loop."""
        if self._ended or not records:
            return
        size = _size(records)
        with self._lock:
            room = not self._batches or self._waiting_bytes + size <= self._max_waiting_bytes
            if room:
                self._batches.append(records)
                self._waiting_bytes += size
                self._arrived.notify()
        if not room:
            self._skip(len(records), "nobody reads standard output, or too slowly")
        elif self._thread is None:
            self._thread = threading.Thread(target=self._print_all, name="console", daemon=True)
            self._thread.start()

    async def printed(self, within_secs: float = LAST_POSTS_SECS) -> None:
        """Return once all records are printed, at the latest after *within_secs*, as the terminal may be blocked."""
        until = time.monotonic() + within_secs
        while self._batches and not self._ended and time.monotonic() < until:  # noqa: ASYNC110  # a thread changes it
            await asyncio.sleep(0.01)

    # -- the thread

    def _print_all(self) -> None:
        while True:
            with self._lock:
                while not self._batches:
                    self._arrived.wait()
                records = self._batches[0]
            try:
                self._print(records)
            except OSError as exc:
                if exc.errno not in PASSING:
                    self._end(exc.strerror or str(exc))
                    return
                self._skip(len(records), exc.strerror or str(exc))
            except Exception as exc:  # noqa: BLE001  # no error of printing may stop the delivery
                self._end(f"{type(exc).__name__}: {exc}")
                return
            with self._lock:
                self._batches.popleft()
                self._waiting_bytes -= _size(records)

    def _print(self, records: Records) -> None:
        if self._out is None or self._out.closed:  # the worker was started without one, such as with `>&-`
            raise OSError(errno.EBADF, "it is closed")
        text = "".join(f"{line_of(record)}\n" for record in records)
        line_end = "\n" if self._cut else ""
        self._write(self._out.fileno(), f"{line_end}{text}".encode(self._out.encoding or "utf-8", "replace"))

    def _write(self, descriptor: int, content: bytes) -> None:
        left = memoryview(content)
        while left:
            try:
                count = os.write(descriptor, left)
            except BlockingIOError:  # another process that shares the descriptor has made it non-blocking
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()
                continue
            self._cut = left[count - 1] != ord("\n")
            left = left[count:]

    def _end(self, reason: str) -> None:
        self._ended = True
        with self._lock:
            posts = sum(map(len, self._batches))
            self._batches.clear()
            self._waiting_bytes = 0
        self._emit(PrintSkipped(posts=posts))
        self._emit(
            PrintEnded(reason=f"Standard output takes no posts any more: {reason}. They are delivered as before")
        )

    # -- what is not printed

    def _skip(self, posts: int, reason: str) -> None:
        """Count *posts* as not printed, and say so.  Any thread."""
        self._emit(PrintSkipped(posts=posts))
        with self._lock:
            self._unsaid += posts
            now = time.monotonic()
            if now - self._said_at < SAY_SECS:
                return
            self._said_at, unsaid, self._unsaid = now, self._unsaid, 0
        self._emit(PrintStalled(posts=unsaid, reason=f"{reason}; delivery goes on without printing them"))


def _size(records: Records) -> int:
    return sum(map(len, records.values))
