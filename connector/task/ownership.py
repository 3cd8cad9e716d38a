"""
Does this worker still own the task?  Only a recent commit proves it.

Kafka refuses the commit of a worker whose task another worker has opened.  A worker that was paused, by the system or
by its machine, learns of that no other way before its next heartbeat.  So it commits before it connects to X, ends a
connection there, buys posts, or tells the group a status.
"""

import asyncio
import time

from connector.records.record import TaskId
from connector.task.in_flight import InFlight
from connector.task.wake import Wake

COMMIT_PROVES_SECS = 5.0
"""
How long a commit proves that this worker owns the task (seconds).

Another worker is only dealt the task after a longer silence of this one.
"""

PROOF_POLL_SECS = 0.05


class Ownership:
    """The ownership of *task* by this worker, proven by the commits of *in_flight*."""

    def __init__(self, task: TaskId, in_flight: InFlight, wake: Wake) -> None:
        self.task = task
        self.proof_wanted = False
        """Whether the next batch must be committed although it may hold nothing new."""
        self._in_flight, self._wake = in_flight, wake
        self._stopping = False

    @property
    def is_proven(self) -> bool:
        """Whether a commit of the last `COMMIT_PROVES_SECS` has succeeded."""
        return time.monotonic() - self._in_flight.committed_at < COMMIT_PROVES_SECS

    def want_proof(self) -> None:
        """Let the task commit in its next turn."""
        self.proof_wanted = True
        self._wake.set()

    def note_commit(self) -> None:
        """Take note that a commit has succeeded."""
        self.proof_wanted = False

    def stop(self) -> None:
        """Let those who wait for a proof go on without one: the task stops."""
        self._stopping = True

    async def prove(self) -> None:
        """Return once the ownership is proven, or the task stops; may wait for Kafka."""
        while not self.is_proven and not self._stopping:
            self.want_proof()
            await asyncio.sleep(PROOF_POLL_SECS)
