"""Only a recent commit proves that this worker owns the task."""

import asyncio
import time

import pytest

from connector.task import ownership as module
from connector.task.ownership import COMMIT_PROVES_SECS, Ownership
from connector.task.wake import Wake
from tests.unit.fakes import TASK


class Commits:
    """In place of the batches in flight: when the last commit was."""

    def __init__(self, ago_secs):
        self.committed_at = time.monotonic() - ago_secs


@pytest.mark.parametrize(
    ("ago_secs", "proven"), [(0, True), (COMMIT_PROVES_SECS - 1, True), (COMMIT_PROVES_SECS, False)]
)
async def test_a_commit_proves_for_some_seconds(ago_secs, proven):
    """Afterwards another worker may have been dealt the task."""
    assert proven is Ownership(TASK, Commits(ago_secs), Wake()).is_proven


async def test_who_waits_asks_for_a_commit(monkeypatch):
    """The task commits although nothing is new, and the wait ends with that commit."""
    monkeypatch.setattr(module, "PROOF_POLL_SECS", 0.001)
    commits, wake = Commits(60), Wake()
    ownership = Ownership(TASK, commits, wake)
    proving = asyncio.create_task(ownership.prove())
    await wake.wait(5)

    assert ownership.proof_wanted
    assert not proving.done()
    commits.committed_at = time.monotonic()
    ownership.note_commit()
    await asyncio.wait_for(proving, 5)
    assert not ownership.proof_wanted


async def test_a_stop_ends_the_wait(monkeypatch):
    """Whoever waited sees that the task stops, and that nothing is proven."""
    monkeypatch.setattr(module, "PROOF_POLL_SECS", 0.001)
    ownership = Ownership(TASK, Commits(60), Wake())
    proving = asyncio.create_task(ownership.prove())
    await asyncio.sleep(0)
    ownership.stop()
    await asyncio.wait_for(proving, 5)

    assert not ownership.is_proven
