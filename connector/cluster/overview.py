"""What this worker knows of the group, in the form of Connect's REST answers; for the web and the command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.cluster.coverage import coverage_of
from connector.cluster.herder import Herder
from connector.cluster.requests import GapRequests
from connector.cluster.statuses import Statuses
from connector.config.connector import hide
from connector.kafka.login.refusals import Refusal
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.state.offsets import OffsetTable
from connector.records.record import TaskId
from connector.task.status import State
from connector.telemetry.obstacles import Obstacles

ANSWER_SECS = 15.0
"""If Kafka has not answered for so many seconds, this worker is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The connectors, the states and offsets of their tasks, and whether this worker is ready."""

    declared: Mapping[str, Mapping[str, str]]
    """The configuration of each connector, by name; secrets are references."""
    tasks: Mapping[str, tuple[TaskId, ...]]
    herder: Herder
    statuses: Statuses
    offsets: OffsetTable
    requests: GapRequests
    settle_ms: int
    logs: tuple[CompactedLog, ...]
    troubles: Callable[[], Sequence[str]]
    """Returns sentences about problems with Kafka that affect all tasks."""
    rebalancing: Callable[[], bool]
    obstacles: Obstacles
    waiting: Callable[[], Refusal | None] = lambda: None
    """Returns why Kafka cannot be used now, or None."""

    def names(self) -> list[str]:
        """Return the names of the connectors."""
        return sorted(self.declared)

    def info(self, name: str) -> dict[str, Any] | None:
        """Return Connect's ConnectorInfo, or None for an unknown connector."""
        if name not in self.declared:
            return None
        return {
            "name": name,
            "config": hide(self.declared[name]),
            "tasks": [{"connector": task.connector, "task": task.number} for task in self.tasks[name]],
            "type": "source",
        }

    def status(self, name: str) -> dict[str, Any] | None:
        """
        Return Connect's status of a connector, or None for an unknown connector.

        As in Connect, a failed task does not change the connector's state.  The connector is UNASSIGNED while all its
        tasks are.
        """
        if name not in self.declared:
            return None
        tasks, waiting = [], self.waiting()
        for task in self.tasks[name]:
            shared = self.statuses.of(task)
            entry: dict[str, Any] = {
                "id": task.number,
                "state": State.UNASSIGNED if shared is None else shared.status.state,
                "worker_id": self.statuses.worker_id if shared is None else shared.worker_id,
            }
            if shared is not None and shared.status.trace:
                entry["trace"] = shared.status.trace
            details = [*self.troubles(), *filter(None, [None if shared is None else shared.status.detail])]
            if details:
                entry["detail"] = " ".join(details)
            elif waiting is not None:
                entry["detail"] = waiting.sentence
            elif entry["state"] == State.UNASSIGNED and (waits := self.obstacles.reasons()):
                entry["detail"] = " ".join(waits)
            tasks.append(entry)
        alive = any(entry["state"] != State.UNASSIGNED for entry in tasks)
        connector = {
            "state": State.RUNNING if alive else State.UNASSIGNED,
            "worker_id": tasks[0]["worker_id"],
        }
        return {"name": name, "connector": connector, "tasks": tasks, "type": "source"}

    def offsets_of(self, name: str) -> dict[str, Any] | None:
        """Return the committed source offsets of a connector, or None for an unknown connector."""
        return {"offsets": self.offsets.of(name)} if name in self.declared else None

    def coverage(self) -> dict[str, Any]:
        """Return the covered time and the gaps of each connector."""
        return {"connectors": [self._coverage_of(name) for name in self.names()]}

    def _coverage_of(self, name: str) -> dict[str, Any]:
        shared = [self.statuses.of(task) for task in self.tasks[name]]
        outages = {
            partition: reason for each in shared if each is not None for partition, reason in each.status.outages
        }
        try:
            return coverage_of(name, self.offsets, outages, settle_ms=self.settle_ms)
        except ValueError as exc:  # an offset cannot be read: its task FAILS, and its status names the cure
            return {
                "name": name,
                "covered_from": None,
                "covered_to": None,
                "gaps": [],
                "repaired": [],
                "error": str(exc),
            }

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
