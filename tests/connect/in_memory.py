"""
Connectors in memory, which follow Kafka Connect's table of states: what the routes need from a group, without a group.

A task "runs" by having read the whole file: its offset is the file's length, and its topic is written to.
"""

from dataclasses import dataclass, field

from connector.cluster import sentences
from connector.cluster.plugins import Plugins
from connector.cluster.refused import Conflicting, Refused
from connector.cluster.validation import accept, judge, plugin_of
from connector.web.connect.ports import TargetState
from tests.connect.file_source import CAST, PLUGIN

WORKER_ID = "connect:8083"
TRACE = "ConnectException: Tolerance exceeded in error handler"
INPUT_BYTES = 12


@dataclass
class Connector:
    config: dict
    state: TargetState
    tasks: list = field(default_factory=list)
    topics: set = field(default_factory=set)


class InMemoryWorker:
    """A worker that is started and well, unless told otherwise."""

    def __init__(self):
        self.why_starting = self.why_unhealthy = None

    def starting(self):
        return self.why_starting

    def unhealthy(self):
        return self.why_unhealthy

    def cluster_id(self):
        return "test-cluster"


LOST = {
    "from": "2026-11-01T12:35:00.000Z",
    "to": "2026-11-01T12:35:01.500Z",
    "reason": "budget",
    "state": "lost",
    "detail": "the budget was spent",
    "posts": 0,
    "cost_usd": 0.0,
}


class InMemoryOverview:
    """What /coverage and /ready are asked of: one connector with one gap, and requests that are only counted."""

    def __init__(self):
        self.requests, self.sent = self, []

    async def send(self, request):
        self.sent.append(request)

    def coverage(self):
        begin, end = "2026-11-01T12:34:00.000Z", "2026-11-01T12:36:00.000Z"
        covered = {"name": "posts", "covered_from": begin, "covered_to": end, "gaps": [LOST], "repaired": []}
        return {"connectors": [covered]}

    def unready(self):
        return []


class InMemoryRules:
    """What /rules is asked of: X has one rule too many for `posts` and lacks one, until somebody asks to apply them."""

    def __init__(self):
        self.applied, self.objection = [], None

    async def plan(self, name):
        if name != "posts":
            raise sentences.no_connector(name)
        right = bool(self.applied)
        add = [] if right else [{"value": "#starling", "tag": "posts/starling"}]
        delete = [] if right else [{"value": "#old", "tag": "posts/old", "id": "7"}]
        counts = {"add": len(add), "delete": len(delete), "kept": 0, "held_elsewhere": 1, "unchanged": 3, "others": 2}
        listed = {"add": add, "delete": delete, "kept": [], "held_elsewhere": ["#owl"]}
        said = {"objection": self.objection, "told_at": "2026-11-27T10:15:30.000Z"}
        return {"connector": name, "state": "RUNNING", **listed, "counts": counts, **said}

    async def apply(self, name):
        if name != "posts":
            raise sentences.no_connector(name)
        if self.objection is not None:
            raise Conflicting(self.objection)
        self.applied.append(name)


class InMemoryConnectors:
    """The port `Connectors`, in memory."""

    def __init__(self, plugins=None):
        self.plugins = plugins or Plugins([PLUGIN])
        self.connectors: dict[str, Connector] = {}
        self.committed: dict[str, list] = {}

    # -- reading

    def names(self):
        return sorted(self.connectors)

    def info(self, name):
        if (found := self.connectors.get(name)) is None:
            return None
        tasks = [{"connector": name, "task": number} for number in range(len(found.tasks))]
        return {"name": name, "config": dict(found.config), "tasks": tasks, "type": "source"}

    def status(self, name):
        if (found := self.connectors.get(name)) is None:
            return None
        return {
            "name": name,
            "connector": self._state(found.state),
            "tasks": [{"id": number} | self._state(state) for number, state in enumerate(found.tasks)],
            "type": "source",
        }

    def task_configs(self, name):
        if (found := self.connectors.get(name)) is None:
            return None
        config = {**found.config, "task.class": "org.apache.kafka.connect.file.FileStreamSourceTask"}
        return [{"id": {"connector": name, "task": number}, "config": config} for number in range(len(found.tasks))]

    def offsets(self, name):
        return list(self.committed.get(name, [])) if name in self.connectors else None

    def topics(self, name):
        return sorted(self.connectors[name].topics) if name in self.connectors else []

    def judge(self, config):
        return judge(self.plugins, config)

    # -- changing

    async def create(self, name, config, *, state=TargetState.RUNNING, offsets=()):
        accept(self.plugins, config)
        if name in self.connectors:
            raise sentences.exists(name)
        if offsets:
            self._check(config, offsets)
            self.committed[name] = [{"partition": partition, "offset": offset} for partition, offset in offsets]
        return self._begin(name, config, state)

    async def put_config(self, name, config):
        accept(self.plugins, config)
        if name not in self.connectors:
            return self._begin(name, config, TargetState.RUNNING), True
        self.connectors[name].config = dict(config)
        self._run(name)
        return self.info(name), False

    async def patch_config(self, name, changes):
        merged = {**self._known(name, sentences.no_connector).config, **changes}
        info, _ = await self.put_config(name, {key: text for key, text in merged.items() if text is not None})
        return info

    async def delete(self, name):
        self._known(name, sentences.no_connector)
        del self.connectors[name]

    async def set_state(self, name, state):
        found = self._known(name, sentences.no_connector_to_move)
        found.state = state
        match state:
            case TargetState.STOPPED:
                found.tasks = []
            case TargetState.PAUSED:
                found.tasks = ["FAILED" if task == "FAILED" else "PAUSED" for task in found.tasks]
            case TargetState.RUNNING:
                self._run(name)

    async def restart(self, name, *, include_tasks, only_failed):
        found = self._known(name, sentences.no_connector_to_restart)
        status = self.status(name)
        if not only_failed:
            status["connector"]["state"] = "RESTARTING"
        for task in status["tasks"]:
            if include_tasks and (task["state"] == "FAILED" or not only_failed):
                task["state"] = "RESTARTING"
        if found.state is TargetState.RUNNING:
            self._run(name)
        return status

    async def restart_task(self, name, number):
        found = self._known(name, sentences.no_connector_to_restart)
        if not 0 <= number < len(found.tasks):
            raise sentences.no_task_to_restart(name, number)

    async def alter_offsets(self, name, offsets):
        found = self._stopped(name)
        self._check(found.config, [each for each in offsets if each[1] is not None])
        kept = [each for each in self.committed.get(name, []) if each["partition"] not in [part for part, _ in offsets]]
        added = [{"partition": partition, "offset": offset} for partition, offset in offsets if offset is not None]
        self.committed[name] = kept + added

    async def reset_offsets(self, name):
        self._stopped(name)
        self.committed.pop(name, None)

    async def reset_topics(self, name):
        if name in self.connectors:
            self.connectors[name].topics.clear()

    # -- inside

    def _begin(self, name, config, state):
        self.connectors[name] = Connector(dict(config), state)
        info = self.info(name)
        if state is TargetState.RUNNING:
            self._run(name)
        return info

    def _run(self, name):
        found = self.connectors[name]
        if found.state is not TargetState.RUNNING:
            return
        fails = CAST in found.config.values()
        found.tasks = ["FAILED" if fails else "RUNNING"]
        if not fails and not self.committed.get(name):
            partition = {"filename": found.config.get("file")}
            self.committed[name] = [{"partition": partition, "offset": {"position": INPUT_BYTES}}]
            found.topics.add(found.config["topic"])

    def _state(self, state):
        shown = {"state": str(state), "worker_id": WORKER_ID, "version": PLUGIN.version}
        return shown | ({"trace": TRACE} if state == "FAILED" else {})

    def _known(self, name, refusal):
        if name not in self.connectors:
            raise refusal(name)
        return self.connectors[name]

    def _stopped(self, name):
        found = self._known(name, sentences.no_connector)
        if found.state is not TargetState.STOPPED:
            raise sentences.not_stopped(name)
        return found

    def _check(self, config, offsets):
        plugin = plugin_of(self.plugins, config)
        for partition, offset in offsets:
            try:
                plugin.check_offset(partition, offset)
            except ValueError as error:
                raise Refused(str(error)) from error
