"""The base classes of all events: a name, a level, the fields of a log line, and a count."""

import logging
from dataclasses import dataclass, fields
from typing import ClassVar

from connector.records.record import TaskId
from connector.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    name: ClassVar[str]
    level: ClassVar[int] = logging.INFO

    def fields(self) -> dict[str, object]:
        """Return the fields of the log line; those that are None are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value is not None}

    def count(self, metrics: Metrics) -> None:
        """Add this event to *metrics*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """An event of one task of a connector."""

    of: TaskId

    def fields(self) -> dict[str, object]:
        own = super(TaskEvent, self).fields()  # `super()` without arguments fails in a slotted dataclass
        del own["of"]
        return {"connector": self.of.connector, "task": self.of.number, **own}
