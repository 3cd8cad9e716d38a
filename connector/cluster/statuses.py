"""
The states of all tasks of the group, in a compacted topic that each worker follows (Connect's `status.storage.topic`).

    status-task-<connector>-<number>       Connect's JSON, and `detail`, `connections`, `open_now`, `outages`, `process`
    status-connector-<connector>           the state of the connector itself
    status-topic-<topic>:connector-<name>  a topic to which the connector has written
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

_TOPIC, _CONNECTOR_WORD = b"status-topic-", "connector-"

MAX_UNTOLD = 100
"""If more states than this wait for Kafka, only the newest of each task and connector is kept."""


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
        version: str = "",
    ) -> None:
        super().__init__()
        self._obstacles, self._user, self._version = obstacles or Obstacles(emit), user, version
        self.worker_id, self.process = worker_id, token_hex(8)
        self.known: dict[bytes, SharedStatus] = {}
        self._topics: dict[str, set[str]] = {}
        self._app, self._topic, self._emit = app, topic, emit
        self._log: CompactedLog | None = None
        self._refused: set[bytes] = set()
        """The keys of the tasks whose last status Kafka refused."""
        self._untold: deque[tuple[bytes, bytes | None]] = deque()
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
        if key.startswith(_TOPIC):
            self._take_topic(key, value)
            return
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
                self._tell(key, self._encode(known.status))
            return
        self.known[key] = shared

    def _take_topic(self, key: bytes, value: bytes | None) -> None:
        topic, _, connector = key.removeprefix(_TOPIC).decode(errors="replace").partition(f":{_CONNECTOR_WORD}")
        if value is None:
            self._topics.get(connector, set()).discard(topic)
        else:
            self._topics.setdefault(connector, set()).add(topic)

    def of(self, task: TaskId) -> SharedStatus | None:
        """Return the last status of *task*, from any worker; None if there is none."""
        return self.known.get(_key(task))

    def of_connector(self, name: str) -> SharedStatus | None:
        """Return the last status of the connector *name* itself; None if there is none."""
        return self.known.get(_connector_key(name))

    def topics_of(self, connector: str) -> list[str]:
        """Return the topics to which *connector* has written since this was last reset."""
        return sorted(self._topics.get(connector, ()))

    def publish(self, task: TaskId, status: TaskStatus) -> None:
        """Publish *status* to the group; returns at once.  In this worker `of` returns *status* from now on."""
        self._publish_as(_key(task), status)

    def publish_connector(self, name: str, status: TaskStatus) -> None:
        """Publish the *status* of the connector *name* itself, likewise."""
        self._publish_as(_connector_key(name), status)

    def publish_topic(self, task: TaskId, topic: str, now_ms: int) -> None:
        """Publish that *task* has written to *topic*; *now_ms* is the present time (UNIX ms)."""
        fields = {"name": topic, "connector": task.connector, "task": task.number, "discoverTimestamp": now_ms}
        self._topics.setdefault(task.connector, set()).add(topic)
        self._tell(_topic_key(topic, task.connector), orjson.dumps({"topic": fields}))

    def forget_topics(self, connector: str) -> None:
        """Remove from the topic what *connector* has written to; returns at once."""
        for topic in self._topics.pop(connector, set()):
            self._tell(_topic_key(topic, connector), None)

    def forget(self, connector: str, tasks: int) -> None:
        """Remove all that is known of a deleted connector, which had so many *tasks*; returns at once."""
        self.forget_topics(connector)
        for key in (*(_key(TaskId(connector, number)) for number in range(tasks)), _connector_key(connector)):
            if self.known.pop(key, None) is not None:
                self._tell(key, None)

    def _publish_as(self, key: bytes, status: TaskStatus) -> None:
        self.known[key] = SharedStatus(status=status, worker_id=self.worker_id, process=self.process)
        self._tell(key, self._encode(status))

    def _tell(self, key: bytes, value: bytes | None) -> None:
        if len(self._untold) >= MAX_UNTOLD:  # Kafka is away: keep only the newest record of each key
            self._untold = deque({key: (key, value) for key, value in self._untold}.values())
        self._untold.append((key, value))
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
            key, value = self._untold.popleft()
            try:
                await asyncio.wait_for(self._send(key, value), PUBLISH_TIMEOUT_SECS)
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
                self._tell(key, self._encode(known.status))

    async def _send(self, key: bytes, value: bytes | None) -> None:
        await (await self._app.producer.send(self._topic, key, value, None, None, None))

    def _encode(self, status: TaskStatus) -> bytes:
        fields = {"state": status.state, "trace": status.trace, "worker_id": self.worker_id}
        # Connect's readers need a generation, which says nothing here: a group has no leader that counts them
        connects = {"generation": 0, "version": self._version or None}
        own: dict[str, object] = {
            "detail": status.detail,
            "connections": status.connections,
            "open_now": status.open_now,
            "outages": status.outages,
        }
        if status.auto_restart is not None:
            own["auto_restart"] = status.auto_restart
        return orjson.dumps(fields | connects | own | {"process": self.process})


def decode_status(value: bytes) -> SharedStatus:
    """
    Return the status in a record's *value*.

    Raises:
        ValueError: *value* is not a status.
    """
    try:
        fields = orjson.loads(value)
        connections = tuple(map(_handle, fields.get("connections", ())))
        status = TaskStatus(
            state=State(fields["state"]),
            trace=fields.get("trace"),
            detail=fields.get("detail"),
            connections=connections,
            # a worker of an earlier version does not tell it
            open_now=tuple(map(_handle, fields["open_now"])) if "open_now" in fields else connections,
            outages=tuple((str(partition), str(why)) for partition, why in fields.get("outages", ())),
            auto_restart=_auto_restart(fields.get("auto_restart")),
        )
        process = fields.get("process")
        return SharedStatus(
            status=status, worker_id=fields["worker_id"], process=process if isinstance(process, str) else None
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{value[:200]!r} is no status") from exc


def _auto_restart(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  # a pair
        raise ValueError(f"{value!r} is no count and time")
    return int(value[0]), int(value[1])


def _handle(value: object) -> Handle:
    if isinstance(value, str | float):
        return value
    raise ValueError(f"{value!r} is no connection")


def _key(task: TaskId) -> bytes:
    return f"status-task-{task}".encode()


def _connector_key(name: str) -> bytes:
    return f"status-{_CONNECTOR_WORD}{name}".encode()


def _topic_key(topic: str, connector: str) -> bytes:
    return _TOPIC + f"{topic}:{_CONNECTOR_WORD}{connector}".encode()
