"""What Connect's routes need from the group of workers."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from connector.cluster.configs import TargetState
from connector.cluster.validation import Judged

Partition = Mapping[str, Any]
Offset = Mapping[str, Any]


class Worker(Protocol):
    """This worker, as the routes of Connect and /health ask for it; `cluster.overview.Overview`."""

    def starting(self) -> str | None:
        """Return why this worker does not know yet what its group knows; None once it does."""

    def unhealthy(self) -> str | None:
        """Return why this worker cannot carry out requests now; None if it can."""

    def cluster_id(self) -> str | None:
        """Return the id of the Kafka cluster; None while it is not known."""


class Connectors(Protocol):
    """
    The connectors of the group, as any of its workers knows and changes them; `cluster.connectors.Connectors`.

    Reading answers from what this worker has followed; it never waits.  A change returns once it is durable in Kafka
    and this worker has read it back.  All that change raise:

        NotFound: there is no such connector, or no such task.
        Conflicting: another change of the same connector came first, the name is taken, or an environment declares it.
        Unavailable: Kafka has not confirmed; it is not known whether the change is in the topic.
        Refused: the configuration or the request is wrong; the sentence names the cure.

    The sentences are those of `cluster.sentences`; configurations are judged by `cluster.validation.accept`.
    Configurations are Connect's flat maps of strings.  What is returned never holds a literal secret.
    """

    def names(self) -> list[str]:
        """Return the names of all connectors."""

    def info(self, name: str) -> dict[str, Any] | None:
        """Return Connect's ConnectorInfo (name, config, tasks, type); None for an unknown connector."""

    def status(self, name: str) -> dict[str, Any] | None:
        """Return Connect's status; None for an unknown connector, and for one that was just deleted."""

    def task_configs(self, name: str) -> list[dict[str, Any]] | None:
        """Return id and config of each task, `[]` for a stopped connector; None for an unknown one."""

    def judge(self, config: Mapping[str, str]) -> Judged:
        """Judge a configuration as if it were put, without changing anything."""

    async def create(
        self,
        name: str,
        config: Mapping[str, str],
        *,
        state: TargetState = TargetState.RUNNING,
        offsets: Sequence[tuple[Partition, Offset]] = (),
    ) -> dict[str, Any]:
        """Create a connector in *state*, perhaps with initial *offsets*; return its ConnectorInfo."""

    async def put_config(self, name: str, config: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
        """Replace the configuration, or create the connector; return its ConnectorInfo, and whether it is new."""

    async def patch_config(self, name: str, changes: Mapping[str, str | None]) -> dict[str, Any]:
        """Set options, or remove those whose value is None; return the ConnectorInfo."""

    async def delete(self, name: str) -> None:
        """Delete the connector; its offsets stay."""

    async def set_state(self, name: str, state: TargetState) -> None:
        """Resume, pause or stop the connector."""

    async def restart(self, name: str, *, include_tasks: bool, only_failed: bool) -> dict[str, Any]:
        """Restart the connector, and perhaps its tasks; return its status, RESTARTING where something restarts."""

    async def restart_task(self, name: str, number: int) -> None:
        """Restart one task."""

    def offsets(self, name: str) -> list[dict[str, Any]] | None:
        """Return `{"partition", "offset"}` of each source partition; None for an unknown connector."""

    async def alter_offsets(self, name: str, offsets: Sequence[tuple[Partition, Offset | None]]) -> None:
        """Set the offsets of a STOPPED connector; None removes one."""

    async def reset_offsets(self, name: str) -> None:
        """Remove all offsets of a STOPPED connector."""

    def topics(self, name: str) -> list[str]:
        """Return the topics to which the connector has written since its creation or the last reset."""

    async def reset_topics(self, name: str) -> None:
        """Forget these topics."""
