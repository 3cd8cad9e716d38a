"""Which names has a group in Kafka?  Each stands here once."""

from dataclasses import dataclass

from connector.records.record import TaskId


@dataclass(frozen=True, slots=True)
class Names:
    """The names of *group_id*'s own topics, and of what its tasks are for Kafka's transactions."""

    group_id: str

    @property
    def offsets(self) -> str:
        """Source offsets, a partition for each slot."""
        return f"{self.group_id}-offsets"

    @property
    def ledger(self) -> str:
        """Ids of delivered posts, a partition for each slot."""
        return f"{self.group_id}-ledger"

    @property
    def statuses(self) -> str:
        """The states of all tasks."""
        return f"{self.group_id}-statuses"

    @property
    def configs(self) -> str:
        """What people ask of gaps."""
        return f"{self.group_id}-configs"

    @property
    def tasks(self) -> str:
        """Never written: who is assigned a partition of it runs the slot of that number."""
        return f"{self.group_id}-tasks"

    @property
    def topics(self) -> tuple[str, ...]:
        """All of them."""
        return self.offsets, self.statuses, self.configs, self.ledger, self.tasks

    def transactional_id(self, task: TaskId) -> str:
        """Return the transactional id of *task*; it never changes, so that a new owner fences the old one."""
        return f"{self.group_id}-{task}"
