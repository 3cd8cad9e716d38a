"""
The open connections, and the slots that dead clients still hold.

X limits the connections of an account at a time: each takes a slot.  When a client dies without closing its connection,
X counts the connection for a while.  Such a connection is called a ghost.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.simulator.http.problems import disconnect_line
from connector.simulator.streams.connection import StreamConnection
from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from connector.simulator.clock import Clock
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.messages import Wanted


@dataclass(slots=True, kw_only=True)
class _Ghost:
    """A slot that a dead client still holds."""

    endpoint: str
    until: float
    connection: str | None = None
    """The id of the connection that died; none if there never was one."""


class Slots:
    """All open stream connections, and the ghosts."""

    def __init__(self, settings: SimulatorSettings, *, clock: Clock, log: EmissionLog, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._random = rng
        self._live: dict[str, StreamConnection] = {}
        self._ghosts: list[_Ghost] = []

    def live(self, endpoint: str | None = None) -> list[StreamConnection]:
        """Return the open connections, of one endpoint or of all."""
        return [c for c in self._live.values() if c.open and endpoint in (None, c.wanted.endpoint)]

    def get(self, connection: str) -> StreamConnection | None:
        return self._live.get(connection)

    def occupied(self, endpoint: str, partition: int | None = None) -> int:
        """Return how many slots are taken, those of ghosts included; each partition has slots of its own."""
        ghosts = sum(ghost.endpoint == endpoint for ghost in self._present())
        return ghosts + sum(partition == connection.wanted.partition for connection in self.live(endpoint))

    def open(
        self, wanted: Wanted, *, head: bytes, remote: tuple[str, int], opened: Callable[[StreamConnection], None]
    ) -> StreamConnection:
        """Make a connection; *opened* is called when its head is written."""
        record = ConnectionRecord(
            id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            endpoint=wanted.endpoint,
            remote=remote,
            opened_at=self._clock.now(),
            backfill_s=wanted.backfill_s,
            interval=wanted.interval,
        )
        connection = StreamConnection(
            wanted=wanted,
            record=record,
            head=head,
            settings=self._settings,
            log=self._log,
            clock=self._clock,
            opened=opened,
            lost=self._lost,
        )
        # Before the head is written: a client that has read the head finds the connection in the log.
        self._live[connection.id] = connection
        self._log.connections.append(record)
        return connection

    def _lost(self, connection: StreamConnection) -> None:
        self._live.pop(connection.id, None)
        if connection.record.end == "client" and self._settings.ghost_slot_s > 0:
            self.add_ghost(connection.wanted.endpoint, self._settings.ghost_slot_s, connection=connection.id)

    def disconnect_all(self, spelling: str, *, reason: str) -> None:
        """Write an in-stream error to each connection, and close it."""
        line = disconnect_line(spelling, {"host": self._settings.problem_host})
        for connection in self.live():
            connection.record.disconnect_reason = reason
            connection.line(line)
            connection.finish(reason)

    # Ghosts.

    def add_ghost(self, endpoint: str, seconds: float, *, connection: str | None = None) -> None:
        """Take a slot for a dead client, the one that had *connection* if there was one."""
        until = self._clock.now() + seconds
        self._ghosts.append(_Ghost(endpoint=endpoint, until=until, connection=connection))

    def is_ghost(self, connection: str) -> bool:
        """Tell whether *connection* is dead and still holds its slot."""
        return any(ghost.connection == connection for ghost in self._present())

    def free_ghost(self, connection: str) -> bool:
        """Free the slot that the dead *connection* holds; return whether it held one."""
        held = self.is_ghost(connection)
        self._ghosts = [ghost for ghost in self._ghosts if ghost.connection != connection]
        return held

    def free_ghosts(self, endpoint: str | None = None) -> int:
        """Free the slots of ghosts, of one endpoint or of all; return how many there were."""
        kept = [] if endpoint is None else [g for g in self._ghosts if g.endpoint != endpoint]
        count = len(self._ghosts) - len(kept)
        self._ghosts = kept
        return count

    def _present(self) -> list[_Ghost]:
        now = self._clock.now()
        self._ghosts = [ghost for ghost in self._ghosts if ghost.until > now]
        return self._ghosts
