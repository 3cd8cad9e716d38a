import asyncio

import pytest

from connector.outbox import COPIED_BYTES, Outbox, Pending
from connector.records import Batch, Records


def pending(size_bytes):
    batch = Batch(records=Records(), dead_letters=(), offsets=())
    return Pending(batch=batch, encoded=None, waits=(), readers=(), since=0.0, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("sizes", "counted"),
    [
        ((), 0),
        ((100,), 200),  # in the requests once more
        ((100, 70), 270),  # the second one waits for the first
        ((10 * COPIED_BYTES, 7), 11 * COPIED_BYTES + 7),  # requests go one after another
    ],
)
def test_copies_are_counted(sizes, counted):
    """What is counted is what is held: posts, and as much of them as requests may hold beside them."""
    outbox = Outbox(None, None, asyncio.Event())
    outbox.pending += map(pending, sizes)

    assert counted == outbox.size_bytes
