"""What this worker knows of the group, in the form of Connect's REST answers; for the web and the command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector import __version__
from connector.cluster.configs import Configs, Connector, TargetState
from connector.cluster.coverage import coverage_or_error
from connector.cluster.herder import Herder
from connector.cluster.requests import GapRequests
from connector.cluster.statuses import Statuses
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.masks import hide
from connector.config.options import Unfit
from connector.kafka.login.refusals import Refusal
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import OffsetTable
from connector.records.record import TaskId
from connector.records.snowflake import to_iso
from connector.task.status import State
from connector.telemetry.obstacles import Obstacles

TASK_CLASS = "PostStreamSourceTask"

ANSWER_SECS = 15.0
"""If Kafka has not answered for so many seconds, this worker is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The connectors, the states and offsets of their tasks, and whether this worker is ready."""

    configs: Configs
    herder: Herder
    statuses: Statuses
    offsets: OffsetTable
    requests: GapRequests
    logs: tuple[CompactedLog, ...]
    troubles: Callable[[], Sequence[str]]
    """Returns sentences about problems with Kafka that affect all tasks."""
    rebalancing: Callable[[], bool]
    obstacles: Obstacles
    cluster_id: Callable[[], str | None]
    """Returns the id of the Kafka cluster; None while it is not known."""
    waiting: Callable[[], Refusal | None] = lambda: None
    """Returns why Kafka cannot be used now, or None."""

    def starting(self) -> str | None:
        """Return why this worker does not know yet what its group knows; None once it does."""
        behind = [log.topic for log in self.logs if not log.caught_up.is_set()]
        if not behind:
            return None
        waiting = self.waiting()
        reasons = self.obstacles.reasons() if waiting is None else [waiting.sentence]
        return " ".join(reasons) or f"It has not read {', '.join(behind)} to the end yet."

    def unhealthy(self) -> str | None:
        """Return why this worker cannot carry out requests now; None if it can."""
        waiting, silent_secs = self.waiting(), max((log.silent_secs for log in self.logs), default=0.0)
        if waiting is not None:
            return waiting.sentence
        return f"Kafka has not answered for {silent_secs:.0f} s." if silent_secs > ANSWER_SECS else None

    def names(self) -> list[str]:
        """Return the names of the connectors."""
        return self.configs.names()

    def info(self, name: str) -> dict[str, Any] | None:
        """Return Connect's ConnectorInfo, or None for an unknown connector."""
        found = self.configs.get(name)
        if found is None:
            return None
        return {
            "name": name,
            "config": hide(found.config),
            "tasks": [{"connector": name, "task": number} for number in range(found.tasks)],
            "type": "source",
        }

    def task_configs(self, name: str) -> list[dict[str, Any]] | None:
        """Return id and configuration of each task, none for a stopped connector; None for an unknown one."""
        found = self.configs.get(name)
        if found is None:
            return None
        config = {**hide(found.config), "task.class": TASK_CLASS}
        return [{"id": {"connector": name, "task": number}, "config": config} for number in range(found.tasks)]

    def status(self, name: str) -> dict[str, Any] | None:
        """
        Return Connect's status of a connector, or None for an unknown connector.

        As in Connect, a failed task does not change the connector's state.  A connector that should run is UNASSIGNED
        while all its tasks are.
        """
        found = self.configs.get(name)
        if found is None:
            return None
        tasks = [self._task(name, number) for number in range(found.tasks)]
        return {"name": name, "connector": self._connector(found, tasks), "tasks": tasks, "type": "source"}

    def _task(self, name: str, number: int) -> dict[str, Any]:
        shared = self.statuses.of(TaskId(name, number))
        entry: dict[str, Any] = {
            "id": number,
            "state": State.UNASSIGNED if shared is None else shared.status.state,
            "worker_id": self.statuses.worker_id if shared is None else shared.worker_id,
            "version": __version__,
        }
        if shared is not None and shared.status.trace:
            entry["trace"] = shared.status.trace
        if shared is not None and shared.status.auto_restart is not None:
            count, next_ms = shared.status.auto_restart
            entry["autoRestart"] = {"count": count, "nextRestartTimestamp": to_iso(next_ms)}
        waiting = self.waiting()
        details = [*self.troubles(), *filter(None, [None if shared is None else shared.status.detail])]
        if details:
            entry["detail"] = " ".join(details)
        elif waiting is not None:
            entry["detail"] = waiting.sentence
        elif entry["state"] == State.UNASSIGNED and (waits := self.obstacles.reasons()):
            entry["detail"] = " ".join(waits)
        return entry

    def _connector(self, found: Connector, tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        shared = self.statuses.of_connector(found.name)
        worker_id = self.statuses.worker_id if shared is None else shared.worker_id
        entry = {"worker_id": tasks[0]["worker_id"] if tasks else worker_id, "version": __version__}
        if found.target is not TargetState.RUNNING:
            return {"state": State(found.target.value), **entry}
        if shared is not None and shared.status.state is State.FAILED:
            return {"state": State.FAILED, **entry, "trace": shared.status.trace or "unknown"}
        alive = any(task["state"] != State.UNASSIGNED for task in tasks)
        return {"state": State.RUNNING if alive else State.UNASSIGNED, **entry}

    def offsets_of(self, name: str) -> list[dict[str, object]] | None:
        """Return the committed source offsets of a connector, or None for an unknown connector."""
        return None if self.configs.get(name) is None else self.offsets.of(name)

    def coverage(self) -> dict[str, Any]:
        """Return the covered time and the gaps of each connector."""
        return {"connectors": [self.coverage_of(name) for name in self.names()]}

    def outages_of(self, name: str) -> dict[str, str]:
        """Return the source partitions of a connector without a connection (`""` if it has none), and why."""
        found = self.configs.get(name)
        shared = [] if found is None else [self.statuses.of(TaskId(name, number)) for number in range(found.tasks)]
        return {partition: reason for each in shared if each is not None for partition, reason in each.status.outages}

    def coverage_of(self, name: str) -> dict[str, Any]:
        """Return the covered time and the gaps of one connector; an `error` if they cannot be read."""
        outages, settle_ms = self.outages_of(name), _settle_ms(self.configs.get(name))
        return coverage_or_error(name, self.offsets, outages, settle_ms=settle_ms)

    def unready(self) -> list[str]:
        """Return the reasons why this worker is not ready; empty if it is ready."""
        reasons, waiting = [], self.waiting()
        if waiting is not None:
            reasons.append(waiting.sentence)
        silent = [log.topic for log in self.logs if log.silent_secs > ANSWER_SECS]
        if silent and (waiting is None or waiting.away):
            reasons.append(f"Kafka has not answered for {max(log.silent_secs for log in self.logs):.0f} s")
        reasons += self.troubles()
        if not self.herder.joined:
            reasons.append("the worker has not joined its group yet")
        elif self.rebalancing():
            reasons.append("the group is rebalancing")
        reasons += self.obstacles.reasons()
        reasons += [f"task {name}: {reason}" for name, reason in self.herder.unready().items()]
        return reasons


def _settle_ms(connector: Connector | None) -> int:
    option = CONNECTOR_OPTIONS["settle.secs"]
    text = "" if connector is None else connector.config.get(option.name, "").strip()
    try:
        secs = option.parse(text) if text else option.default
    except Unfit:  # the connector FAILS because of it
        secs = option.default
    return int(float(str(secs)) * 1000)
