import pytest

from connector.cluster.view.workers import DEALT_MS, SILENT_MS, workers_of
from connector.history.fold import Life

NOW = 1_796_040_000_000


def life(ago_secs, worker="w:1", **facts):
    return Life(worker, heard=NOW - 1000 * ago_secs, **facts)


def states(lives, members=0, dealt_secs_ago=None):
    dealt = None if dealt_secs_ago is None else NOW - 1000 * dealt_secs_ago
    return {process: shown["state"] for process, shown in workers_of(lives, "me", members, dealt, NOW).items()}


@pytest.mark.parametrize(
    ("lives", "members", "dealt", "expected"),
    [
        ({"me": life(30), "b": life(50, "w:2")}, 2, 600, {"me": "here", "b": "alive"}),
        # it was killed: the group has dealt without it, and it has not said anything since
        ({"me": life(1), "b": life(50, "w:2")}, 1, 10, {"me": "here", "b": "gone"}),
        # the same before the others can have told anything
        ({"me": life(1), "b": life(50, "w:2")}, 1, 2, {"me": "here", "b": "alive"}),
        # of three one was killed: the one that was not heard of since the dealing
        ({"me": life(9), "b": life(9, "w:2"), "c": life(40, "w:3")}, 2, 10, {"me": "here", "b": "alive", "c": "gone"}),
        # nothing was heard for minutes, whatever the group says
        ({"me": life(9), "b": life(SILENT_MS / 1000 + 1, "w:2")}, 0, None, {"me": "here", "b": "gone"}),
        ({"me": life(9), "b": life(60, "w:2", goodbye=NOW - 60_000)}, 1, 10, {"me": "here", "b": "stopped"}),
        ({"me": life(9), "b": life(900, "w:2", goodbye=NOW - 900_000)}, 1, 10, {"me": "here"}),
        ({"me": life(9), "b": life(4000, "w:2")}, 1, 10, {"me": "here"}),
        # started again under the same address: the run before is no worker that is missing
        (
            {"me": life(9), "b": life(400), "c": life(9, "w:2"), "d": life(400, "w:2")},
            2,
            600,
            {"me": "here", "c": "alive"},
        ),
        ({}, 1, 10, {}),  # the history is not read yet
    ],
)
def test_states(lives, members, dealt, expected):
    """Who lives, who said goodbye, and who is gone: by signs of life and by the number of the group's members."""
    assert expected == states(lives, members, dealt)


def test_this_worker_comes_first():
    """The worker that answers is the first, then by address."""
    lives = {"b": life(1, "w:2"), "c": life(1, "w:0"), "me": life(1, "w:9")}

    assert ["me", "c", "b"] == list(workers_of(lives, "me", 0, None, NOW))


def test_facts():
    """A worker is shown with what it said last; one that is gone has no tasks."""
    facts = {"tasks": ("posts-0",), "version": "1.0", "cpu_share": 0.0123, "memory_bytes": 5, "started": NOW}
    lives = {"me": life(1, **facts), "b": life(50, "w:2", **facts)}
    here, gone = workers_of(lives, "me", 1, NOW - 2 * DEALT_MS, NOW).values()

    assert (["posts-0"], 0.0123, 5, "1.0") == tuple(
        here[name] for name in ("tasks", "cpu_share", "memory_bytes", "version")
    )
    assert ("gone", []) == (gone["state"], gone["tasks"])
