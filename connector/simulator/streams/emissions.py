"""
The log of what was written to whom, which tests compare with the topic.

An emission is logged when the kernel has taken the whole post, or when it is certain that the kernel will not.  If a
connection ended cleanly, its `complete` posts have reached the client's socket.  After a reset they may be lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, overload

import orjson

Outcome = Literal["written", "cut", "dropped", "missed"]
Origin = Literal["live", "duplicate", "backfill", "recovery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """
    One post to one connection.

    `written`: the kernel has taken the whole post.
    `cut`: the connection ended before.
    `dropped`: the buffer was full, or the post exceeded the delivery cap.
    `missed`: the post matched rules and no client was connected; `connection` is none.
    """

    n: int
    post_id: str
    connection: str | None
    outcome: Outcome
    at: float
    monotonic: float
    rule_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    bytes: int = 0
    """The bytes of the line with its end; if the post was cut, the bytes that were written."""
    origin: Origin = "live"

    @property
    def complete(self) -> bool:
        return self.outcome == "written"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}


@dataclass(slots=True, kw_only=True)
class ConnectionRecord:
    """One stream connection, from its head to its end."""

    id: str
    endpoint: str
    remote: tuple[str, int]
    opened_at: float
    closed_at: float | None = None
    end: str | None = None
    """`client`, or why the simulator ended the connection; none while it is open."""
    clean: bool = False
    """The last chunk was written, and the kernel has taken it."""
    bytes: int = 0
    """How many bytes the kernel has taken, head and chunk frames included."""
    posts: int = 0
    """How many posts the kernel has taken completely."""
    first_id: str | None = None
    last_id: str | None = None
    disconnect_reason: str | None = None
    backfill_s: float = 0
    """The length of the backfill that the client asked for."""
    interval: tuple[float, float] | None = None
    """The time that a recovery replays; none for other connections."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class EmissionLog(Sequence[Emission]):
    """The last emissions, oldest first; when the oldest are removed, the others keep their numbers."""

    kept: int = 1_000_000
    path: str | None = None
    counts: dict[Outcome, int] = field(default_factory=lambda: {"written": 0, "cut": 0, "dropped": 0, "missed": 0})
    connections: list[ConnectionRecord] = field(default_factory=list)
    _entries: list[Emission] = field(default_factory=list)
    _gone: int = 0
    _file: BinaryIO | None = None

    def open(self) -> None:
        if self.path is not None:
            self._file = Path(self.path).open("ab")  # noqa: SIM115 - closed by `close`

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(
        self,
        outcome: Outcome,
        *,
        post_id: int,
        connection: str | None,
        at: float,
        rule_ids: tuple[str, ...],
        tags: tuple[str, ...],
        size: int,
        origin: Origin = "live",
    ) -> None:
        """Append an emission, to the log and to the file."""
        emission = Emission(
            n=self._gone + len(self._entries),
            post_id=str(post_id),
            connection=connection,
            outcome=outcome,
            at=at,
            monotonic=time.monotonic(),
            rule_ids=rule_ids,
            tags=tags,
            bytes=size,
            origin=origin,
        )
        self._entries.append(emission)
        self.counts[outcome] += 1
        if self._file is not None:
            self._file.write(orjson.dumps(emission.to_json()) + b"\n")
            self._file.flush()
        if len(self._entries) > self.kept * 1.25:
            gone = len(self._entries) - self.kept
            del self._entries[:gone]
            self._gone += gone

    def since(self, n: int) -> list[Emission]:
        """Return the emissions from number *n* on."""
        return self._entries[max(n - self._gone, 0) :]

    def complete_ids(self, connection: str | None = None) -> list[str]:
        """Return the ids of completely written posts in order, of one connection or of all."""
        return [
            entry.post_id for entry in list(self._entries) if entry.complete and connection in (None, entry.connection)
        ]

    def missed_ids(self) -> list[str]:
        """Return the ids of posts that matched rules while no client was connected."""
        return [entry.post_id for entry in list(self._entries) if entry.outcome == "missed"]

    @property
    def next_number(self) -> int:
        return self._gone + len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Emission]:
        return iter(list(self._entries))

    @overload
    def __getitem__(self, index: int) -> Emission: ...
    @overload
    def __getitem__(self, index: slice) -> list[Emission]: ...
    def __getitem__(self, index: int | slice) -> Emission | list[Emission]:
        return self._entries[index]
