import asyncio

import pytest

from connector.errors import Superseded
from connector.records.record import Batch
from connector.task import in_flight as module
from connector.task.in_flight import COPIED_BYTES, InFlight, Pending
from connector.task.wake import Wake
from tests.unit.fakes import KEY, Committed


def pending(size_bytes):
    return Pending(batch=Batch(()), receipts=(), encoded=None, since=0.0, size_bytes=size_bytes)


async def test_delivery_that_swallows_a_cancellation(monkeypatch):
    """It is cancelled until it ends: a library may lose the first one, and whoever discards would wait for ever."""
    monkeypatch.setattr(module, "CANCEL_SECS", 0.01)
    cancelled = []

    class Sink:
        closed = False

        async def deliver(self, batch, encoded):
            for _ in range(3):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as exc:
                    cancelled.append(exc)
            raise cancelled[-1]

        async def close(self):
            self.closed = True

    in_flight = InFlight(Sink(), None, Wake())
    await in_flight.hand_over(pending(0))
    await asyncio.sleep(0)
    await asyncio.wait_for(in_flight.discard(), 20)

    assert 3 == len(cancelled)
    assert in_flight.sink.closed
    assert 1 == len(in_flight.pending)


@pytest.mark.parametrize(
    ("sizes", "counted"),
    [
        ((), 0),
        ((100,), 200),  # in the requests once more
        ((100, 70), 270),  # the second one waits for the first
        ((10 * COPIED_BYTES, 7), 11 * COPIED_BYTES + 7),  # requests go one after another
    ],
)
async def test_copies_are_counted(sizes, counted):
    """What is counted is what is held: posts, and as much of them as requests may hold beside them."""
    in_flight = InFlight(None, None, Wake())
    in_flight.pending += map(pending, sizes)

    assert counted == in_flight.size_bytes


class Opened:
    """A sink that finds *latest* in the offsets topic."""

    def __init__(self, latest):
        self._latest = latest

    async def open(self):
        return Committed({KEY: self._latest}, {(KEY, self._latest)})


async def test_an_old_offset_of_ours_is_no_other_owner():
    """Without transactions a late copy of an offset may be the last one in the topic; the task goes on."""
    in_flight = InFlight(Opened(b"ours 1"), None, asyncio.Event(), ours=lambda _, value: value.startswith(b"ours"))
    in_flight.committed[KEY] = b"ours 2"
    await in_flight.open()


async def test_an_offset_of_another_owner_is():
    """What this task has not written, somebody else has."""
    in_flight = InFlight(Opened(b"theirs"), None, asyncio.Event(), ours=lambda _, value: value.startswith(b"ours"))
    in_flight.committed[KEY] = b"ours 2"
    with pytest.raises(Superseded):
        await in_flight.open()
