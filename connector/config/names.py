"""All names that a worker group uses in Kafka: its topics and its transactional ids."""

from dataclasses import dataclass

from connector.records.record import TaskId


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the topics and transactional ids of the group *group_id*."""

    group_id: str

    @property
    def offsets(self) -> str:
        """Topic of the source offsets, with a partition for each slot."""
        return f"{self.group_id}-offsets"

    @property
    def ledger(self) -> str:
        """Topic of the ids of delivered posts, with a partition for each slot."""
        return f"{self.group_id}-ledger"

    @property
    def statuses(self) -> str:
        """Topic of the states of all tasks."""
        return f"{self.group_id}-statuses"

    @property
    def configs(self) -> str:
        """Topic of the connectors' configurations, and of the operators' requests to retry or accept gaps."""
        return f"{self.group_id}-configs"

    @property
    def tasks(self) -> str:
        """Topic without records: a worker that is assigned one of its partitions runs the slot of that number."""
        return f"{self.group_id}-tasks"

    @property
    def history(self) -> str:
        """Topic of what happened, and of how much was received and delivered in each minute."""
        return f"{self.group_id}-history"

    @property
    def authors(self) -> str:
        """Topic of what compliance connectors have learnt: who wrote which post, and what X has withdrawn."""
        return f"{self.group_id}-authors"

    @property
    def configs_writer(self) -> str:
        """The transactional id with which all workers write to the topic of the configurations."""
        return f"{self.group_id}-configs"

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics of the group."""
        return self.offsets, self.statuses, self.configs, self.ledger, self.tasks, self.history, self.authors

    def transactional_id(self, task: TaskId) -> str:
        """Return the transactional id of *task*; it never changes, so that a new owner fences the old one."""
        return f"{self.group_id}-{task}"
