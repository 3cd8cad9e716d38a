"""
Which posts are in a topic, who wrote them, and what X has withdrawn lately.

    a post in the topic ─▶ seen ─────▶ withdrawn before? ─▶ it has to go
    an event of X ───────▶ withdrawn ─▶ in the topic? ────▶ it has to go
                              └─▶ remembered: the post may still be on its way to the topic

So a tombstone is written only for a post that was read out of the topic, and comes after it, whoever delivers the post
and whenever.  Posts that are older than the window are not known: these are withdrawn at once.

The tables lie in a SQLite file without a name, on disk where they do not fit into the cache.  Kafka has what leads to
them: each change is a list of operations, kept in the topic of authors, and written in the transaction of its
tombstones.  A new owner reads them again.
"""

import sqlite3
import time
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

from connector.errors import ConnectorError
from connector.records.post import MAX_ID
from connector.records.snowflake import first_id

CACHE_KIB = 16 * 1024
"""Memory for pages of the file (KiB); the rest is on disk."""

OPERATIONS_AT_ONCE = 5_000
"""Most operations in one record of the topic: some 100 KB before they are packed."""

FORGET_AT_ONCE = 2_000
"""Most rows of a table that are forgotten in one call."""

PACKED_MAX_BYTES = 4 * 1024 * 1024
"""More than the operations of one record take unpacked."""

_VERSION: Final = 1


class Operation(IntEnum):
    """What has happened; each has three numbers, in this order, 0 where it needs fewer."""

    SEEN = 1
    """A post, its author (0: not known), whether it has a location: it is in the topic."""
    GONE = 2
    """A post: its tombstone is in the topic."""
    WITHDRAWN = 3
    """A post, when we heard of it (UNIX ms): X has withdrawn it."""
    RESTORED = 4
    """A post: it may be shown again."""
    USER_WITHDRAWN = 5
    """A user, when we heard of it (UNIX ms), the first post that is not concerned: the user's posts are withdrawn."""
    USER_RESTORED = 6
    """A user: the user's posts may be shown again."""
    GEO_WITHDRAWN = 7
    """A user, when we heard of it (UNIX ms), the first post that is not concerned: locations are withdrawn."""
    READ_TO = 8
    """A partition of the topic, an offset: all records before it have been read."""
    CHECKED = 9
    """A post: X was asked for it, and has it."""


Change = tuple[int, int, int, int]
"""An operation with its three numbers."""

_TABLES = """
CREATE TABLE posts (
    post INTEGER PRIMARY KEY, author INTEGER NOT NULL, geo INTEGER NOT NULL, checked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX posts_by_author ON posts (author);
CREATE TABLE withdrawn (post INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE INDEX withdrawn_by_time ON withdrawn (at);
CREATE TABLE users (user INTEGER, geo INTEGER, at INTEGER NOT NULL, beyond INTEGER NOT NULL, PRIMARY KEY (user, geo));
"""
_SEEN = """
INSERT INTO posts (post, author, geo) VALUES (?,?,?)
ON CONFLICT (post) DO UPDATE SET author=excluded.author, geo=excluded.geo
"""
_UNCHECKED = "CREATE INDEX posts_unchecked ON posts (post) WHERE checked=0"
"""By itself SQLite would rather pass over all posts that were checked."""


class Memory:
    """
    What is known of one topic.

    Posts are known that were made in the last *window_ms*; what X has withdrawn is remembered for *remember_ms*.
    *read_to* are the offsets from which the topic is to be read on, by partition.  With *rechecks*, `due` says which
    posts are to be asked for.

    Raises:
        ConnectorError: in all methods, the temporary file cannot be written.
    """

    def __init__(self, *, window_ms: int, remember_ms: int, rechecks: bool = False) -> None:
        self._window_ms, self._remember_ms = window_ms, remember_ms
        self.read_to: dict[int, int] = {}
        self._new: list[Change] = []
        self._moved: set[int] = set()
        self._base = sqlite3.connect("", isolation_level=None)  # a file of its own, which goes with the connection
        self._base.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB}; {_TABLES}"
        )
        if rechecks:
            self._run(_UNCHECKED)

    def close(self) -> None:
        """Remove the file."""
        self._base.close()

    @property
    def begin_ms(self) -> int:
        """Posts that were made before this time are not known (UNIX ms)."""
        return _now_ms() - self._window_ms

    # -- what happens

    def saw(self, post: int, author: int, *, geo: bool, partition: int, offset: int) -> bool:
        """Take note that *post* is in the topic, at *offset*; return whether X has withdrawn it."""
        self._read(partition, offset)
        if post >= first_id(self.begin_ms):
            self._note(Operation.SEEN, post, author, int(geo))
        return self._is_withdrawn(post, author, geo=geo)

    def saw_tombstone(self, post: int, *, partition: int, offset: int) -> None:
        """Take note that the topic has a tombstone of *post*, at *offset*."""
        self._read(partition, offset)
        if self._one("SELECT 1 FROM posts WHERE post=?", post):
            self._note(Operation.GONE, post)

    def passed(self, *, partition: int, offset: int) -> None:
        """Take note that the record at *offset* is none of a post."""
        self._read(partition, offset)

    def withdraw(self, post: int) -> bool:
        """Remember that X has withdrawn *post*; return whether a tombstone is needed now."""
        self._note(Operation.WITHDRAWN, post, _now_ms())
        return post < first_id(self.begin_ms) or bool(self._one("SELECT 1 FROM posts WHERE post=?", post))

    def withdraw_user(self, user: int, at_ms: int, *, geo: bool = False, up_to: int | None = None) -> list[int]:
        """
        Remember that the posts of *user* are withdrawn, and return those in the topic.

        With *geo* only posts with a location are.

        Only posts are concerned that were made before *at_ms* (UNIX ms), or up to the post *up_to*.
        """
        beyond = min(first_id(at_ms + 1) if up_to is None else up_to + 1, MAX_ID)
        self._note(Operation.GEO_WITHDRAWN if geo else Operation.USER_WITHDRAWN, user, _now_ms(), beyond)
        rows = self._all(
            "SELECT post FROM posts WHERE author=? AND post<? AND geo>=? ORDER BY post", user, beyond, int(geo)
        )
        return [post for (post,) in rows]

    def restore(self, post: int) -> None:
        """Forget that *post* was withdrawn."""
        self._note(Operation.RESTORED, post)

    def restore_user(self, user: int) -> None:
        """Forget that the posts of *user* were withdrawn."""
        self._note(Operation.USER_RESTORED, user)

    def gone(self, post: int) -> None:
        """Take note that a tombstone of *post* is about to be written."""
        self._note(Operation.GONE, post)

    def due(self, age_ms: int, most: int) -> list[int]:
        """Return the oldest posts, at *most* so many, that are as old as *age_ms* and that X was not asked for yet."""
        rows = self._all(
            "SELECT post FROM posts INDEXED BY posts_unchecked WHERE checked=0 AND post<? ORDER BY post LIMIT ?",
            first_id(_now_ms() - age_ms),
            most,
        )
        return [post for (post,) in rows]

    def checked(self, post: int) -> None:
        """Take note that X has *post*."""
        self._note(Operation.CHECKED, post)

    def forget(self) -> None:
        """Forget some of what is too old."""
        now_ms = _now_ms()
        self._run(
            "DELETE FROM posts WHERE post IN (SELECT post FROM posts WHERE post<? ORDER BY post LIMIT ?)",
            first_id(now_ms - self._window_ms),
            FORGET_AT_ONCE,
        )
        since_ms = now_ms - self._remember_ms
        self._run(
            "DELETE FROM withdrawn WHERE post IN (SELECT post FROM withdrawn WHERE at<? ORDER BY at LIMIT ?)",
            since_ms,
            FORGET_AT_ONCE,
        )
        self._run("DELETE FROM users WHERE at<?", since_ms)

    @property
    def posts(self) -> int:
        """How many posts of the topic are known."""
        return int(self._all("SELECT count(*) FROM posts")[0][0])

    # -- in Kafka

    @property
    def has_news(self) -> bool:
        """Whether something has happened that is not in the records yet."""
        return bool(self._new or self._moved)

    def take(self) -> tuple[bytes, ...]:
        """Return what has happened since this was last called, as values of records."""
        changes = [*self._new, *((Operation.READ_TO, each, self.read_to[each], 0) for each in sorted(self._moved))]
        self._new, self._moved = [], set()
        pieces = [changes[at : at + OPERATIONS_AT_ONCE] for at in range(0, len(changes), OPERATIONS_AT_ONCE)]
        return tuple(_pack(piece) for piece in pieces)

    def load(self, value: bytes) -> None:
        """
        Let happen what a record tells, which `take` has made.

        Raises:
            ValueError: *value* is none.
        """
        for change in _unpack(value):
            self._apply(*change)

    # -- tables

    def _note(self, operation: Operation, one: int, two: int = 0, three: int = 0) -> None:
        self._new.append((operation, one, two, three))
        self._apply(operation, one, two, three)

    def _read(self, partition: int, offset: int) -> None:
        self.read_to[partition] = offset + 1
        self._moved.add(partition)

    def _apply(self, operation: int, one: int, two: int, three: int) -> None:
        if operation == Operation.READ_TO:
            self.read_to[one] = two
            return
        for statement, *values in _statements(operation, one, two, three):
            self._run(statement, *values)

    def _is_withdrawn(self, post: int, author: int, *, geo: bool) -> bool:
        since_ms = _now_ms() - self._remember_ms
        if self._one("SELECT 1 FROM withdrawn WHERE post=? AND at>=?", post, since_ms):
            return True
        return bool(author) and bool(
            self._one(
                "SELECT 1 FROM users WHERE user=? AND geo<=? AND at>=? AND beyond>?", author, int(geo), since_ms, post
            )
        )

    def _one(self, query: str, *values: int) -> tuple[int, ...] | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    def _all(self, query: str, *values: int) -> list[tuple[int, ...]]:
        try:
            return self._base.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _failure(error) from error

    def _run(self, statement: str, *values: int) -> None:
        self._all(statement, *values)


def _now_ms() -> int:
    return int(time.time() * 1000)


def _statements(operation: int, one: int, two: int, three: int) -> Iterator[tuple[str, *tuple[int, ...]]]:
    match operation:
        case Operation.SEEN:
            yield _SEEN, one, two, three
        case Operation.CHECKED:
            yield "UPDATE posts SET checked=1 WHERE post=?", one
        case Operation.GONE:
            yield "DELETE FROM posts WHERE post=?", one
        case Operation.WITHDRAWN:
            yield "INSERT OR REPLACE INTO withdrawn VALUES (?,?)", one, two
        case Operation.RESTORED:
            yield "DELETE FROM withdrawn WHERE post=?", one
        case Operation.USER_WITHDRAWN | Operation.GEO_WITHDRAWN:
            geo = int(operation == Operation.GEO_WITHDRAWN)
            yield "INSERT OR REPLACE INTO users VALUES (?,?,?,?)", one, geo, two, three
        case Operation.USER_RESTORED:
            yield "DELETE FROM users WHERE user=? AND geo=0", one
        case _:
            raise ValueError(f"there is no operation {operation}")


def _pack(changes: list[Change]) -> bytes:
    return bytes([_VERSION]) + zlib.compress(msgspec.msgpack.encode(changes), 1)


_decode = msgspec.msgpack.Decoder(list[tuple[int, int, int, int]]).decode


def _unpack(value: bytes) -> list[tuple[int, int, int, int]]:
    if value[:1] != bytes([_VERSION]):
        raise ValueError(f"its version is {value[:1]!r}, and this program knows {_VERSION}")
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(value[1:], PACKED_MAX_BYTES)
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise ValueError("it is cut, or too long")
        return _decode(text)
    except (zlib.error, msgspec.DecodeError) as exc:
        raise ValueError(str(exc)) from exc


def _failure(error: sqlite3.Error) -> ConnectorError:
    return ConnectorError(
        f"What is known of the topic does not fit into the temporary folder ({error}): free space there, or name"
        " another folder in SQLITE_TMPDIR"
    )
