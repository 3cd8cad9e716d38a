"""
The states of all tasks of the group, in a compacted topic that each worker follows (Connect's `status.storage.topic`).

Key: `status-task-<connector>-<number>`.
Value: Connect's JSON with four more fields: `detail`, `connections`, `outages` and `process`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex

import faust
import orjson
from aiokafka.errors import KafkaError
from faust.exceptions import NotReady, ProducerSendError
from mode import Service

from connector.kafka.rights import WRITE, refused
from connector.kafka.state.compacted_log import CompactedLog
from connector.records.record import TaskId
from connector.sources.handles import Handle
from connector.task.status import State, TaskStatus
from connector.telemetry.events.cluster import StatusNotPublished
from connector.telemetry.events.event import Event
from connector.telemetry.obstacles import Obstacles

PUBLISH_TIMEOUT_SECS = 10.0
REFUSED_RETRY_SECS = 5.0
PART = "statuses"

MAX_UNTOLD = 100
"""If more states than this wait for Kafka, only the newest state of each task is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStatus:
    """
    The status of a task, and the worker that published it.

    *worker_id* is `host:port` of that worker's web interface; workers on different hosts may have the same one
    (`127.0.0.1`).  *process* is unique to one run of one worker; None in records of older versions.
    """

    status: TaskStatus
    worker_id: str
    process: str | None = field(default=None, compare=False)

    @property
    def teller(self) -> str:
        """The publisher of this status: *process*, or *worker_id* in records of older versions."""
        return self.process or self.worker_id


class Statuses(Service):
    """Publishes the states of this worker's tasks, in order, and knows the states of all tasks of the group."""

    mundane_level = "debug"  # our events tell the operator about starts and stops

    def __init__(
        self,
        app: faust.App,
        topic: str,
        worker_id: str,
        emit: Callable[[Event], None],
        *,
        obstacles: Obstacles | None = None,
        user: str | None = None,
    ) -> None:
        super().__init__()
        self._obstacles, self._user = obstacles or Obstacles(emit), user
        self.worker_id, self.process = worker_id, token_hex(8)
        self.known: dict[bytes, SharedStatus] = {}
        self._app, self._topic, self._emit = app, topic, emit
        self._log: CompactedLog | None = None
        self._refused: set[bytes] = set()
        """The keys of the tasks whose last status Kafka refused."""
        self._untold: deque[tuple[bytes, TaskStatus]] = deque()
        self._news, self._all_told = asyncio.Event(), asyncio.Event()
        self._all_told.set()

    def follow(self, log: CompactedLog) -> None:
        """Use *log* to know when the topic has been read; *log* calls `apply` for each record."""
        self._log = log

    async def caught_up(self) -> None:
        """Wait until every status published before this worker began is known; the caller limits the time."""
        if self._log is not None:
            await self._log.caught_up.wait()

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply a record of the topic."""
        if value is None:
            self.known.pop(key, None)
            return
        try:
            shared = decode_status(value)
        except ValueError:
            self.log.warning("A record of %s is no status: key %r", self._topic, key)
            return
        self._take(key, shared)

    def _take(self, key: bytes, shared: SharedStatus) -> None:
        # A fenced owner may report UNASSIGNED after the new owner has begun: the new owner's status stays.
        known = self.known.get(key)
        if shared.status.state is State.UNASSIGNED and known and known.teller != shared.teller:
            if known.process == self.process:  # we are the new owner, and the report has replaced our record
                self._tell(key, known.status)
            return
        self.known[key] = shared

    def of(self, task: TaskId) -> SharedStatus | None:
        """Return the last status of *task*, from any worker; None if there is none."""
        return self.known.get(_key(task))

    def publish(self, task: TaskId, status: TaskStatus) -> None:
        """Publish *status* to the group; returns at once.  In this worker `of` returns *status* from now on."""
        self.known[_key(task)] = SharedStatus(status=status, worker_id=self.worker_id, process=self.process)
        self._tell(_key(task), status)

    def _tell(self, key: bytes, status: TaskStatus) -> None:
        if len(self._untold) >= MAX_UNTOLD:  # Kafka is away: keep only the newest status of each task
            self._untold = deque({key: (key, status) for key, status in self._untold}.values())
        self._untold.append((key, status))
        self._all_told.clear()
        self._news.set()

    async def flush(self) -> None:
        """Wait until no status waits to be published; the caller limits the time."""
        await self._all_told.wait()

    @Service.task
    async def _publish(self) -> None:
        while not self.should_stop:
            if not self._untold:
                self._all_told.set()
                self._news.clear()
                await self._news.wait()
            key, status = self._untold.popleft()
            try:
                await asyncio.wait_for(self._send(key, self._encode(status)), PUBLISH_TIMEOUT_SECS)
            except (KafkaError, NotReady, ProducerSendError, OSError, TimeoutError) as exc:
                if missing := refused(exc.__cause__ or exc, self._user, WRITE, topic=self._topic):
                    self._obstacles.meet(PART, str(missing))
                    self._refused.add(key)  # publish the status again when Kafka allows it
                else:
                    self._emit(StatusNotPublished(reason=f"{type(exc).__name__}: {exc}"))
            else:
                self._refused.discard(key)
                self._obstacles.pass_(PART)

    @Service.timer(REFUSED_RETRY_SECS)
    async def _publish_refused(self) -> None:
        self._publish_refused_now()

    def _publish_refused_now(self) -> None:
        refused_before, self._refused = self._refused, set()
        for key in refused_before:
            known = self.known.get(key)
            if known is not None and known.process == self.process:  # else a new owner has published a status
                self._tell(key, known.status)

    async def _send(self, key: bytes, value: bytes) -> None:
        await (await self._app.producer.send(self._topic, key, value, None, None, None))

    def _encode(self, status: TaskStatus) -> bytes:
        fields = {"state": status.state, "trace": status.trace, "worker_id": self.worker_id, "process": self.process}
        own = {"detail": status.detail, "connections": status.connections, "outages": status.outages}
        return orjson.dumps(fields | own)


def decode_status(value: bytes) -> SharedStatus:
    """
    Return the status in a record's *value*.

    Raises:
        ValueError: *value* is not a status.
    """
    try:
        fields = orjson.loads(value)
        status = TaskStatus(
            state=State(fields["state"]),
            trace=fields.get("trace"),
            detail=fields.get("detail"),
            connections=tuple(map(_handle, fields.get("connections", ()))),
            outages=tuple((str(partition), str(why)) for partition, why in fields.get("outages", ())),
        )
        process = fields.get("process")
        return SharedStatus(
            status=status, worker_id=fields["worker_id"], process=process if isinstance(process, str) else None
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{value[:200]!r} is no status") from exc


def _handle(value: object) -> Handle:
    if isinstance(value, str | float):
        return value
    raise ValueError(f"{value!r} is no connection")


def _key(task: TaskId) -> bytes:
    return f"status-task-{task}".encode()
