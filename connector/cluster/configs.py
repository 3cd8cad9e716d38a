"""
What the topic `<group>-configs` says of the connectors: their configurations, target states and slots.

The records are Kafka Connect's, so that its tools can read them, with two fields and one key more:

    connector-<name>      {"properties": {...}}; a field `declared` names the worker whose environment declares it
    target-state-<name>   {"state", "state.v2"}; `idle_from`, `idle_to` (UNIX ms): when it was last paused or stopped
    placement-<name>      {"slots": [0], "id": "posts", "stream"}: ours; it stays when the connector is deleted
    commit-<name>         {"tasks": 1}: how many tasks there are; none after a stop until the connector runs again
    task-<name>-<n>, restart-connector-<name>: as Connect writes them
    restart-task-<name>-<n>: ours, as Connect asks the worker itself
    look-rules-<name>: ours, the owner of the task is to look at once whether X holds the connector's rules
    retired-<name>        ours: the configuration of a deleted connector, until its rules at X are deleted

`Configs` is pure: it applies records, in their order, and holds what they mean.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from logging import getLogger
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from connector.records.record import TaskId

CONNECTOR, TARGET, PLACEMENT, RETIRED = "connector-", "target-state-", "placement-", "retired-"
TASK, COMMIT = "task-", "commit-"
RESTART_CONNECTOR, RESTART_TASK = "restart-connector-", "restart-task-"
LOOK_RULES = "look-rules-"
OTHERS = ("gap-", "writer", "tasks-fencing-", "logger-cluster-", "session-key")
"""Keys of records that are for others: requests about gaps, the writer's own mark, and what Connect's workers write."""

MAX_STRANGE = 100
"""The most keys that are logged as not understood, each once."""

_log = getLogger(__name__)


class TargetState(StrEnum):
    """What somebody wants a connector to do."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"


class Former(NamedTuple):
    """A slot that a connector had before, and the task that began its transactional id there."""

    slot: int
    task: TaskId


@dataclass(frozen=True, slots=True)
class Placement:
    """
    Where the tasks of a connector run: task *n* in slot `slots[n]`.

    *owner* begins the transactional ids, and does not change.  Connectors that share a stream have the same slots and
    owner: the name of the one that came first.  *stream* tells which connectors may share one; `""`: none.  *earlier*
    is where the tasks ran before: offsets may still lie there, and the ids of posts that were delivered then do.
    """

    slots: tuple[int, ...]
    owner: str
    stream: str = ""
    earlier: tuple[Former, ...] = ()

    @property
    def tasks(self) -> tuple[Former, ...]:
        """The slots, each with the task whose transactional id is used there."""
        return tuple(Former(slot, TaskId(self.owner, number)) for number, slot in enumerate(self.slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """
    One connector of the group.

    *config* is Connect's map of strings, as it is stored.  *placement* is None if no worker of ours has made one.
    *tasks* is how many tasks it has at present: none if it was stopped and has not run since.  *idle_ms* is the time in
    which it was paused or stopped last: from, and to if it is over (UNIX ms).  *declared_by* names the worker whose
    environment declares it.
    """

    name: str
    config: Mapping[str, str] = field(repr=False)
    target: TargetState = TargetState.RUNNING
    placement: Placement | None = None
    tasks: int = 0
    idle_ms: tuple[int, int | None] | None = None
    declared_by: str | None = None

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of its tasks."""
        return () if self.placement is None else self.placement.slots


@dataclass(frozen=True, slots=True)
class Restart:
    """A request to restart: the connector alone or with its tasks, or one *task*; *word* is another each time."""

    connector: str
    word: str
    task: int | None = None
    include_tasks: bool = False
    only_failed: bool = False


Record = tuple[str, bytes | None]


class Configs:
    """The connectors of the group, as far as the topic has been read."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._connectors: dict[str, Connector] = {}
        self._retired: dict[str, Connector] = {}
        self._by_slot: dict[int, tuple[Connector, ...]] = {}
        self._restarts: list[Callable[[Restart], None]] = []
        self._looks: list[Callable[[str], None]] = []
        self._changes: list[Callable[[], None]] = []
        self._strange: set[bytes] = set()

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call *tell* after each record that has changed a connector."""
        self._changes.append(tell)

    def on_restart(self, tell: Callable[[Restart], None]) -> None:
        """Call *tell* with each request to restart, also with those that were made before this worker started."""
        self._restarts.append(tell)

    def on_look(self, tell: Callable[[str], None]) -> None:
        """Call *tell* with the connector of each request to look at its rules, also of those made before this start."""
        self._looks.append(tell)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply a record of the topic; what is no record of ours or Connect's is logged and left out."""
        text = key.decode(errors="replace")
        if text.startswith(OTHERS):
            return
        try:
            known = self._take(text, None if value is None else _fields(value))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            known = False
            if key not in self._strange and len(self._strange) < MAX_STRANGE:
                self._strange.add(key)
                _log.warning("A record of the configurations cannot be read: key %r: %s", key, exc)
        if known:
            for tell in self._changes:
                tell()

    def _take(self, key: str, fields: Mapping[str, Any] | None) -> bool:
        if key.startswith((RESTART_CONNECTOR, RESTART_TASK, LOOK_RULES)):
            if fields is not None:
                self._tell(key, fields)
            return False
        for prefix in (CONNECTOR, TARGET, PLACEMENT, COMMIT, RETIRED):
            if key.startswith(prefix):
                _check(prefix, fields)
                self._values.pop(key, None)
                if fields is not None:
                    self._values[key] = fields
                return self._rebuild(key.removeprefix(prefix))
        if not key.startswith(TASK):
            raise ValueError("no key of this version")
        return False

    def _tell(self, key: str, fields: Mapping[str, Any]) -> None:
        """Tell of a request, which is no state."""
        if key.startswith(LOOK_RULES):
            for look in self._looks:
                look(key.removeprefix(LOOK_RULES))
            return
        prefix = RESTART_CONNECTOR if key.startswith(RESTART_CONNECTOR) else RESTART_TASK
        restart = _restart(prefix, key, fields)
        for tell in self._restarts:
            tell(restart)

    def _rebuild(self, name: str) -> bool:
        before = self._connectors.get(name), self._retired.get(name)
        self._connectors.pop(name, None)
        self._retired.pop(name, None)
        if (found := self._values.get(CONNECTOR + name)) is not None:
            self._connectors[name] = self._connector(name, found)
        if (gone := self._values.get(RETIRED + name)) is not None:
            self._retired[name] = Connector(name=name, config=_texts(gone), placement=_placement(gone))
        changed = before != (self._connectors.get(name), self._retired.get(name))
        if changed:
            self._by_slot = {}
            for each in sorted(self._connectors.values(), key=_owner_first):
                for slot in each.slots:
                    self._by_slot[slot] = (*self._by_slot.get(slot, ()), each)
        return changed

    def _connector(self, name: str, found: Mapping[str, Any]) -> Connector:
        target = self._values.get(TARGET + name, {})
        placed = self._values.get(PLACEMENT + name)
        return Connector(
            name=name,
            config=_texts(found),
            target=_target(target) if target else TargetState.RUNNING,
            placement=None if placed is None else _placement(placed),
            tasks=_count(self._values.get(COMMIT + name, {})),
            idle_ms=_idle(target),
            declared_by=found.get("declared"),
        )

    # -- what is known

    def names(self) -> list[str]:
        """Return the names of all connectors, sorted."""
        return sorted(self._connectors)

    def get(self, name: str) -> Connector | None:
        """Return the connector *name*; None if there is none."""
        return self._connectors.get(name)

    def all_at(self, slot: int) -> tuple[Connector, ...]:
        """Return the connectors one of whose tasks has *slot*; the one that came first is the first, if it is there."""
        return self._by_slot.get(slot, ())

    def placed(self) -> list[Connector]:
        """Return the connectors that have slots."""
        return [each for each in self._connectors.values() if each.placement is not None]

    def left(self) -> dict[str, Placement]:
        """Return the placements that deleted connectors have left, by name."""
        found = [key.removeprefix(PLACEMENT) for key in self._values if key.startswith(PLACEMENT)]
        return {name: _placement(self._values[PLACEMENT + name]) for name in found if name not in self._connectors}

    def retired(self) -> list[Connector]:
        """Return the deleted connectors whose rules at X may still be there."""
        return list(self._retired.values())

    def slots_in_use(self) -> set[int]:
        """Return the slots of all connectors, whatever their state."""
        return set(self._by_slot)

    def free_slots(self, count: int, *, slots: int, reserved: Collection[int] = ()) -> tuple[int, ...] | None:
        """Return the *count* lowest free slots of *slots* that are not *reserved*; None if there are not so many."""
        used = self.slots_in_use().union(reserved)
        free = tuple(slot for slot in range(slots) if slot not in used)[:count]
        return free if len(free) == count else None

    def owners(self) -> set[str]:
        """Return the owners of all transactional ids in use."""
        return {each.placement.owner for each in self._connectors.values() if each.placement is not None}


# -- records


def created(connector: Connector) -> list[Record]:
    """Return the records of a new *connector*; the last one makes it known."""
    return [
        (RETIRED + connector.name, None),
        placed(connector),
        targeted(connector),
        *committed(connector),
        configured(connector),
    ]


def configured(connector: Connector) -> Record:
    """Return the record of the configuration."""
    fields: dict[str, Any] = {"properties": dict(connector.config)}
    if connector.declared_by is not None:
        fields["declared"] = connector.declared_by
    return CONNECTOR + connector.name, orjson.dumps(fields)


def targeted(connector: Connector) -> Record:
    """Return the record of the target state; the old field `state` knows no STOPPED (KIP-875)."""
    words = {
        TargetState.RUNNING: ("STARTED", "STARTED"),
        TargetState.PAUSED: ("PAUSED", "PAUSED"),
        TargetState.STOPPED: ("PAUSED", "STOPPED"),
    }
    old, new = words[connector.target]
    fields: dict[str, Any] = {"state": old, "state.v2": new}
    if connector.idle_ms is not None:
        fields["idle_from"], fields["idle_to"] = connector.idle_ms
    return TARGET + connector.name, orjson.dumps(fields)


def placed(connector: Connector) -> Record:
    """Return the record of the slots."""
    if connector.placement is None:
        return PLACEMENT + connector.name, None
    fields: dict[str, Any] = {"slots": connector.placement.slots, "id": connector.placement.owner}
    if connector.placement.stream:
        fields["stream"] = connector.placement.stream
    if connector.placement.earlier:
        fields["earlier"] = [(each.slot, *each.task) for each in connector.placement.earlier]
    return PLACEMENT + connector.name, orjson.dumps(fields)


def committed(connector: Connector) -> list[Record]:
    """Return the records of the tasks, as Connect writes them."""
    properties = orjson.dumps({"properties": {**connector.config, "task.class": "SourceTask"}})
    return [
        *((f"{TASK}{connector.name}-{number}", properties) for number in range(connector.tasks)),
        (COMMIT + connector.name, orjson.dumps({"tasks": connector.tasks})),
    ]


def deleted(connector: Connector) -> list[Record]:
    """
    Return the records that delete *connector*.

    Its placement is kept, as its offsets are; its configuration only until its rules at X are deleted.
    """
    return [
        _retired(connector),
        (CONNECTOR + connector.name, None),
        (TARGET + connector.name, None),
        *((f"{TASK}{connector.name}-{number}", None) for number in range(len(connector.slots))),
        (COMMIT + connector.name, None),
        (RESTART_CONNECTOR + connector.name, None),
        (LOOK_RULES + connector.name, None),
    ]


def _retired(connector: Connector) -> Record:
    kept = {"properties": dict(connector.config), "slots": connector.slots, "id": connector.name}
    return RETIRED + connector.name, orjson.dumps(kept)


def everything(configs: Configs) -> list[Record]:
    """Return the records that say all that *configs* knows, but requests to restart."""
    known = [found for name in configs.names() if (found := configs.get(name)) is not None]
    left = [placed(Connector(name=name, config={}, placement=where)) for name, where in configs.left().items()]
    retired = [_retired(each) for each in configs.retired()]
    return [*left, *(record for each in known for record in created(each)), *retired]


def restarted(restart: Restart) -> Record:
    """Return the record of the request *restart*."""
    if restart.task is not None:
        return f"{RESTART_TASK}{restart.connector}-{restart.task}", orjson.dumps({"word": restart.word})
    fields = {"include-tasks": restart.include_tasks, "only-failed": restart.only_failed, "word": restart.word}
    return RESTART_CONNECTOR + restart.connector, orjson.dumps(fields)


def looked(connector: str, word: str) -> Record:
    """Return the record of a request to look at the rules of *connector*; *word* is another each time."""
    return LOOK_RULES + connector, orjson.dumps({"word": word})


def moved(connector: Connector, target: TargetState, now_ms: int) -> Connector:
    """Return *connector* with another *target*, and since when it is idle, or that it is no longer."""
    if target is connector.target:
        return connector
    tasks = 0 if target is TargetState.STOPPED else connector.tasks
    if target is TargetState.RUNNING:
        begin = connector.idle_ms[0] if connector.idle_ms is not None else now_ms
        return replace(connector, target=target, tasks=len(connector.slots), idle_ms=(begin, now_ms))
    if connector.target is TargetState.RUNNING:
        return replace(connector, target=target, tasks=tasks, idle_ms=(now_ms, None))
    return replace(connector, target=target, tasks=tasks)


# -- reading


def _fields(value: bytes) -> Mapping[str, Any]:
    fields = orjson.loads(value)
    if not isinstance(fields, dict):
        raise TypeError("not a JSON object")
    return fields


def _check(prefix: str, fields: Mapping[str, Any] | None) -> None:
    """Read *fields* once, so that a record that cannot be read changes nothing."""
    if fields is None:
        return
    if prefix in {CONNECTOR, RETIRED}:
        _texts(fields)
        if not isinstance(fields.get("declared"), str | None):
            raise TypeError("`declared` is no text")
    if prefix in {PLACEMENT, RETIRED}:
        _placement(fields)
    if prefix == COMMIT:
        _count(fields)
    if prefix == TARGET:
        _target(fields)
        _idle(fields)


def _owner_first(connector: Connector) -> tuple[bool, str]:
    return connector.placement is not None and connector.placement.owner != connector.name, connector.name


def _texts(fields: Mapping[str, Any]) -> Mapping[str, str]:
    texts = {str(name): str(text) for name, text in fields["properties"].items() if text is not None}
    return MappingProxyType(texts)


def _target(fields: Mapping[str, Any]) -> TargetState:
    word = str(fields.get("state.v2") or fields["state"])
    return TargetState.RUNNING if word == "STARTED" else TargetState(word)


def _idle(fields: Mapping[str, Any]) -> tuple[int, int | None] | None:
    begin, end = fields.get("idle_from"), fields.get("idle_to")
    return None if begin is None else (int(begin), None if end is None else int(end))


def _placement(fields: Mapping[str, Any]) -> Placement:
    slots = tuple(int(slot) for slot in fields["slots"])
    earlier = tuple(
        Former(int(slot), TaskId(str(owner), int(number))) for slot, owner, number in fields.get("earlier", ())
    )
    if any(slot < 0 for slot in (*slots, *(each.slot for each in earlier))) or len(set(slots)) != len(slots):
        raise ValueError(f"{slots} and {earlier} are no slots")
    return Placement(slots, str(fields["id"]), str(fields.get("stream", "")), earlier)


def _count(fields: Mapping[str, Any]) -> int:
    return int(fields.get("tasks", 0))


def _restart(prefix: str, key: str, fields: Mapping[str, Any]) -> Restart:
    name = key.removeprefix(prefix)
    word = str(fields.get("word", ""))
    if prefix == RESTART_TASK:
        name, _, number = name.rpartition("-")
        return Restart(name, word, task=int(number))
    return Restart(
        name, word, include_tasks=bool(fields.get("include-tasks")), only_failed=bool(fields.get("only-failed"))
    )
