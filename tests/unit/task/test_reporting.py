"""What a task says about itself, in sentences, and when it tells the group."""

import pytest

from connector.errors import BrokerAway, ConnectionLost, OutOfCredit, RightMissing
from connector.task import reporting
from connector.task.reporting import ToldStatus, status_of, unready_of
from connector.task.status import State, TaskStatus

NOW = 1_793_536_496.0
RUNNING = TaskStatus(state=State.RUNNING)


class Reader:
    """What the status shows of a reader."""

    def __init__(self, error=None, *, partition=None, retry_in=None, connected=None, connections=(), open_now=None):
        self.error, self.partition, self.connected, self.connections = error, partition, connected, connections
        self.retry_at = None if retry_in is None else NOW + retry_in
        self.outage = None if error is None else "connection_lost"
        self.open_now = open_now


class Owning:
    """An ownership that is proven or not."""

    def __init__(self, proven):
        self.is_proven, self.wanted = proven, 0

    def want_proof(self):
        self.wanted += 1


@pytest.mark.parametrize(
    ("readers", "restarting", "state", "detail"),
    [
        ([Reader(connected=1)], None, State.RUNNING, None),
        (
            [Reader(ConnectionLost("reset"), retry_in=9.4)],
            None,
            State.RUNNING,
            "ConnectionLost: reset (next try in 9 s)",
        ),
        ([Reader(OutOfCredit("spent"))], None, State.PAUSED, "OutOfCredit: spent"),
        # one partition that is paused leaves the others running
        (
            [Reader(OutOfCredit("spent"), partition="2"), Reader()],
            None,
            State.RUNNING,
            "partition 2: OutOfCredit: spent",
        ),
        ([Reader()], RightMissing("no Write"), State.RUNNING, "RightMissing: no Write"),
        ([Reader()], BrokerAway("silent"), State.RUNNING, None),  # passes by itself; /ready says it
        ([], None, State.RUNNING, None),
    ],
)
def test_state_and_detail(readers, restarting, state, detail, monkeypatch):
    """A person reads why a task does not do its work, and when it tries again."""
    monkeypatch.setattr(reporting.time, "time", lambda: NOW)
    status = status_of(readers, restarting)

    assert (state, detail) == (status.state, status.detail)


def test_connections_and_outages():
    """Each connection once, and each source partition that has none."""
    status = status_of(
        [
            Reader(connections=("7", "8"), connected=1, open_now="8"),
            Reader(ConnectionLost("x"), partition="2", connections=("8",)),
        ],
        None,
    )

    assert ("7", "8") == status.connections
    assert ("8",) == status.open_now
    assert (("2", "connection_lost"),) == status.outages


@pytest.mark.parametrize(
    ("status", "restarting", "delayed_secs", "waiting", "reader", "sentence"),
    [
        (RUNNING, None, None, (), Reader(connected=1), None),
        (TaskStatus(state=State.FAILED, trace="why"), None, None, ("no id",), Reader(connected=1), "FAILED: why"),
        (RUNNING, BrokerAway("silent"), 9, ("no id",), Reader(), "starting over: BrokerAway: silent"),
        (RUNNING, None, 9.4, ("no id",), Reader(), "Kafka has not confirmed a delivery for 9 s"),
        (RUNNING, None, None, ("no id", "none at all"), Reader(), "posts wait: no id; none at all"),
        (RUNNING, None, None, (), Reader(), "not connected: connecting"),
        (RUNNING, None, None, (), Reader(ConnectionLost("reset")), "not connected: reset"),
    ],
)
def test_why_it_is_not_ready(status, restarting, delayed_secs, waiting, reader, sentence):
    """The first reason in the order of what a person has to mend first."""
    assert sentence == unready_of(status, restarting, delayed_secs, waiting, [reader])


def test_unproven_owner_tells_nothing():
    """A worker that was paused must not overwrite the status of the next owner: it asks for a commit first."""
    told = []
    status = ToldStatus(owning := Owning(proven=False), told.append)
    status.set(RUNNING)
    assert ([], 1) == (told, owning.wanted)
    status.tell()
    status.tell()

    assert [RUNNING] == told


@pytest.mark.parametrize("state", [State.FAILED, State.UNASSIGNED])
def test_an_end_is_told_without_a_proof(state):
    """No commit will follow."""
    told = []
    status = ToldStatus(Owning(proven=False), told.append)
    status.now = RUNNING
    status.set(TaskStatus(state=state))

    assert [TaskStatus(state=state)] == told


def test_what_has_not_changed_is_not_told_again():
    """The group reads a status once."""
    told = []
    status = ToldStatus(Owning(proven=True), told.append)
    status.set(RUNNING)
    status.set(RUNNING)

    assert [RUNNING] == told
