"""One connector's part of a source partition: from when on is it covered?"""

from types import SimpleNamespace

import pytest

from connector.coverage.progress import Progress, ProgressSettings
from connector.coverage.spend import Budget
from connector.records import clock
from connector.records.record import Connected, Converted, HeldRule
from connector.task.partition import Partition
from tests.unit.fakes import MADE_MS, TASK, arrival

SETTLE_MS = 15_000
OLD, NEW = HeldRule("1", "python", "posts/0"), HeldRule("2", "kafka", "posts/1")


class Story:
    """A part of a connector, and X's clock, which is ours, *now* milliseconds after the begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rules = 0, (OLD,)
        monkeypatch.setattr(clock, "now", lambda: (MADE_MS + self.now) / 1000)
        settings = ProgressSettings(task=TASK, settle_ms=SETTLE_MS, metered=False, budget=Budget(), others=tuple)
        progress = Progress({"stream": "filtered"}, settings, emit=lambda _: None, kept={}, run="aaaa")
        progress.follow_rules(lambda: self.rules)
        self.reader = SimpleNamespace(connected=None)
        self.partition = Partition(reader=self.reader, progress=progress, repairer=None)

    def apply(self, now: int, *rules: HeldRule) -> None:
        """X holds *rules* from *now* on."""
        self.partition.rules_changing()
        self.now, self.rules = now, rules
        self.partition.rules_applied(moved=False)

    def connect(self, now: int, after: str | None = None) -> None:
        self.now = now
        self.reader.connected = Connected(at=clock.now(), skew_secs=0.0, after=after, backfill_minutes=None)
        self.partition.on_connected(self.reader.connected)

    def hear(self, now: int) -> None:
        """A keep-alive, and nothing else."""
        self.now = now
        self.partition.progress.take((arrival(drained=True),), Converted())

    def lose(self) -> None:
        self.reader.connected = None

    @property
    def gaps(self) -> list[tuple[int, int, tuple[HeldRule, ...]]]:
        progress = self.partition.progress
        gaps = progress.coverage.gaps
        return [(gap.from_ms - MADE_MS, gap.to_ms - MADE_MS, tuple(progress.rules_in(gap))) for gap in gaps]


@pytest.fixture
def story(monkeypatch):
    story = Story(monkeypatch)
    story.apply(0, OLD)
    story.connect(0)
    story.hear(40_000)
    return story


def test_rules_that_x_holds_while_it_refuses_the_stream(story):
    """Their posts are made, and nobody gets them: that part of the gap is repaired with the new rules."""
    story.lose()
    story.apply(50_000, OLD, NEW)
    story.connect(70_000, after="connection_taken")

    assert [(25_000, 50_000, (OLD,)), (50_000, 71_000, (OLD, NEW))] == story.gaps


@pytest.mark.parametrize("moved", [False, True], ids=["paused", "a rule was gone"])
def test_lines_under_way_from_before_x_held_the_rules(story, moved):
    """They wait in the buffer, perhaps with their connection, and prove nothing of the time without the rules."""
    if moved:
        story.partition.rules_changing()
    else:
        story.partition.rules_gone("paused")
    late = Connected(at=(MADE_MS + 45_000) / 1000, skew_secs=0.0, after="connection_lost")
    story.lose()
    story.now = 60_000
    story.partition.rules_applied(moved=moved)
    story.hear(61_000)
    story.partition.on_connected(late)
    story.hear(62_000)
    story.connect(70_000, after="connection_lost")
    story.hear(71_000)

    assert [(25_000, 71_000)] == [gap[:2] for gap in story.gaps]


def test_the_same_rules_again(story):
    """They are applied before each connect, and the gap is one."""
    story.lose()
    story.apply(50_000, OLD)
    story.connect(70_000, after="connection_lost")

    assert [(25_000, 71_000, (OLD,))] == story.gaps


def test_rules_that_change_on_an_open_connection(story):
    """Nothing is missed; a gap that begins before they are claimed is repaired with the old and the new ones."""
    story.apply(50_000, NEW)
    story.connect(60_000, after="connection_lost")

    assert [(25_000, 61_000, (OLD, NEW))] == story.gaps
