"""How long a task waits between its turns, and between its batches."""

import asyncio
import time

import pytest

from connector.task.pace import IDLE_TURN_SECS, Pace


class Waits:
    """In place of what wakes a task: takes the waits down instead of waiting."""

    def __init__(self):
        self.secs = []

    def clear(self):
        pass

    async def wait(self, timeout_secs):
        self.secs.append(timeout_secs)
        await asyncio.sleep(0)


async def test_rests_double_up_to_a_second():
    """While nothing happens turns become rarer; work brings them back at once."""
    pace = Pace(0.2, 0.01, waits := Waits())
    for _ in range(5):
        await pace.rest(60)
    pace.note_work()
    await pace.rest(60)

    assert [0.2, 0.4, 0.8, IDLE_TURN_SECS, IDLE_TURN_SECS, 0.2] == waits.secs


@pytest.mark.parametrize(
    ("poll_secs", "most_secs", "waited"), [(3600, 7200, 3600), (3600, 0.05, 0.05), (0.2, 0.05, 0.05)]
)
async def test_rest_is_bounded(poll_secs, most_secs, waited):
    """A poll interval beyond a second is kept; an offset that is owed is not kept waiting."""
    pace = Pace(poll_secs, 0.01, waits := Waits())
    await pace.rest(most_secs)

    assert [waited] == waits.secs


async def test_no_pause_after_a_long_one():
    """The next batch begins at once if the last began long ago."""
    pace = Pace(0.2, 5.0, waits := Waits())
    await pace.between_batches(time.monotonic() - 6, unless=lambda: False)

    assert [] == waits.secs


async def test_a_full_batch_does_not_wait():
    """The pause ends as soon as the reason against it holds."""
    pace = Pace(0.2, 5.0, waits := Waits())
    await pace.between_batches(time.monotonic(), unless=lambda: len(waits.secs) == 2)

    assert 2 == len(waits.secs)
    assert 4 < waits.secs[0] <= 5
