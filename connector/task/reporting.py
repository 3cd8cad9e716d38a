"""
What does a task say about itself?

`status_of` and `unready_of` are pure.  `ToldStatus` tells the group: a worker that was paused must not overwrite the
status of the task's next owner, so it tells nothing before a commit has proven its ownership.
"""

import time
from collections.abc import Callable, Sequence

from connector.errors import DeliveryFailed, OutOfCredit, RightMissing
from connector.task.ownership import Ownership
from connector.task.reader import Reader
from connector.task.status import State, TaskStatus


def status_of(readers: Sequence[Reader], restarting: DeliveryFailed | None, waiting: Sequence[str] = ()) -> TaskStatus:
    """
    Return the status of a task that works with *readers*.

    *restarting* is why it starts over, if it does; *waiting* is what its batch is held for.
    """
    broken = [reader.error for reader in readers if reader.error is not None]
    paused = len(broken) == len(readers) and all(isinstance(error, OutOfCredit) for error in broken)
    details = [_detail_of(reader) for reader in readers if reader.error is not None]
    details[:0] = waiting
    if isinstance(restarting, RightMissing):
        details.insert(0, f"{restarting.name}: {restarting}")
    return TaskStatus(
        state=State.PAUSED if paused and broken else State.RUNNING,
        detail="; ".join(details) or None,
        connections=tuple(dict.fromkeys(handle for each in readers for handle in each.connections)),
        open_now=tuple(reader.open_now for reader in readers if reader.open_now is not None),
        outages=tuple((reader.partition or "", reader.outage) for reader in readers if reader.outage),
    )


def _detail_of(reader: Reader) -> str:
    error = reader.error
    when = "" if reader.retry_at is None else f" (next try in {max(reader.retry_at - time.time(), 0):.0f} s)"
    where = "" if reader.partition is None else f"partition {reader.partition}: "
    return f"{where}{error.name if error else ''}: {error}{when}"


def unready_of(
    status: TaskStatus,
    restarting: DeliveryFailed | None,
    delayed_secs: float | None,
    waiting: Sequence[str],
    readers: Sequence[Reader],
) -> str | None:
    """
    Return why a task does not do its work at the moment; None if it does.

    *delayed_secs* is how long Kafka has not confirmed a delivery, None if it confirms; *waiting* is what a batch is
    held for.
    """
    if status.state is not State.RUNNING:
        return f"{status.state}: {status.trace or status.detail or 'not running'}"
    if restarting is not None:
        return f"starting over: {restarting.name}: {restarting}"
    if delayed_secs is not None:
        return f"Kafka has not confirmed a delivery for {delayed_secs:.0f} s"
    if waiting:
        return f"posts wait: {'; '.join(waiting)}"
    for reader in readers:
        if reader.connected is None:
            return f"not connected: {reader.error or 'connecting'}"
    return None


class ToldStatus:
    """The status of a task, *now*, and what the group was told of it by *on_status*."""

    def __init__(self, ownership: Ownership, on_status: Callable[[TaskStatus], None]) -> None:
        self.now = TaskStatus(state=State.UNASSIGNED)
        self._ownership, self._on_status = ownership, on_status
        self._untold = False

    def set(self, status: TaskStatus) -> None:
        """Change the status; tell it now if the ownership is proven, else with the next commit."""
        if status == self.now:
            return
        self.now = status
        self._untold = True
        if self._ownership.is_proven or status.state in {State.FAILED, State.UNASSIGNED}:
            self.tell()
        else:
            self._ownership.want_proof()

    def tell(self) -> None:
        """Tell the status, unless it was told."""
        if self._untold:
            self._untold = False
            self._on_status(self.now)
