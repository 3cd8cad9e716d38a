from threading import Thread

import pytest

from connector.history import recorder as module
from connector.history.recorder import Recorder
from connector.records.record import TaskId
from connector.telemetry.events.coverage import GapOpened
from connector.telemetry.events.sources import RulesChanged
from connector.telemetry.events.task import (
    BatchDelivered,
    DuplicatesDropped,
    PostsFiltered,
    PostsReceived,
    PostsUnmatched,
    RecordDropped,
    RulesMatched,
    TaskFenced,
    TaskStarted,
)

OF = TaskId("posts", 2)
GAP = GapOpened(of=OF, gap_from="a", gap_to="b", seconds=1.0, reason="connection_lost", partition=None)


@pytest.mark.parametrize(
    ("event", "dropped", "letters"),
    [
        (DuplicatesDropped(of=OF, posts=3), {"duplicate": 3}, {}),
        (DuplicatesDropped(of=OF, posts=3, source="search"), {"duplicate_search": 3}, {}),
        (PostsFiltered(of=OF, posts=2), {"transform": 2}, {}),
        (PostsUnmatched(of=OF, posts=4), {"unmatched": 4}, {}),
        (TaskFenced(of=OF, dropped_posts=5), {"fenced": 5}, {}),
        (
            RecordDropped(of=OF, error="BadRecord", reason="no id", dead_letter_topic="bad", size_bytes=9),
            {},
            {"BadRecord": 1},
        ),
    ],
)
def test_counts_what_is_dropped(event, dropped, letters):
    """Each way of being dropped is counted by its reason, under the connector."""
    recorder = Recorder()
    recorder.take(event)

    counts = recorder.take_counts()["posts"]

    assert (dropped, letters) == (counts.dropped, counts.letters)
    assert {} == recorder.take_counts()


def test_counts_what_came():
    """Posts that came are counted, and by the rules that they matched."""
    recorder = Recorder()
    for _ in range(2):
        recorder.take(PostsReceived(of=OF, posts=9))
        recorder.take(RulesMatched(of=OF, matched=((("birds",), 4), (("birds", "flocks"), 2), ((), 3))))

    counts = recorder.take_counts()["posts"]

    assert (18, {"birds": (12, 8), "flocks": (4, 0)}) == (counts.received, counts.rules)


def test_counts_batches():
    """Batches are counted by connector, and not told one by one."""
    recorder = Recorder()
    for name in ("posts", "posts", "birds"):
        recorder.take(BatchDelivered(of=TaskId(name, 0), posts=4, waits=((0.1, 1.0, 4),), usd=0.02))

    counts = recorder.take_counts()

    assert {"posts": (8, 40), "birds": (4, 20)} == {name: (each.delivered, each.mills) for name, each in counts.items()}
    assert [] == recorder.take_happened()


def test_keeps_what_happened():
    """An event is told with its time, task and fields; one without a task, with the connector that it names."""
    recorder, wakes = Recorder(clock=lambda: 12.5), []
    recorder.woken = lambda: wakes.append(None)
    recorder.take(GAP)
    recorder.take(RulesChanged(connector="birds", added=2, deleted=0))

    gap, rules = (each.told("p", number, "w:1") for number, each in enumerate(recorder.take_happened()))

    assert (12_500, "gap.opened", "warning", "posts", 2, "p", 0, "w:1") == (
        gap.at, gap.kind, gap.level, gap.connector, gap.task, gap.process, gap.number, gap.worker,
    )  # fmt: skip
    assert {"gap_from": "a", "gap_to": "b", "seconds": 1.0, "reason": "connection_lost"} == gap.fields
    assert ("birds", None, {"added": 2, "deleted": 0}) == (rules.connector, rules.task, rules.fields)
    assert 2 == len(wakes)


def test_events_are_bounded(monkeypatch):
    """A flapping connection fills neither the memory nor the topic: what is too much in a minute is counted."""
    now = [0.0]
    recorder = Recorder(clock=lambda: now[0])
    monkeypatch.setattr(module, "A_MINUTE_MAX", 3)
    monkeypatch.setattr(module, "WAITING_MAX", 5)
    for _ in range(10):
        recorder.take(TaskStarted(of=OF))

    assert 7 == recorder.left_out

    now[0] = 60.0
    for _ in range(3):
        recorder.take(TaskStarted(of=OF))

    assert (8, 5) == (recorder.left_out, len(recorder.take_happened()))


def test_takes_events_of_any_thread():
    """Reader threads tell of their connections while the event loop takes what there is."""
    recorder = Recorder(clock=lambda: 0.0)
    threads = [Thread(target=lambda: [recorder.take(TaskStarted(of=OF)) for _ in range(10)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert 50 == len(recorder.take_happened())
