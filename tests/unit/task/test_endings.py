import asyncio

import pytest

from connector.task.endings import to_the_end


async def test_what_work_returns_and_raises():
    """Without a cancellation it is as awaiting the work itself."""

    async def work(outcome):
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert 7 == await to_the_end(work(7))
    with pytest.raises(ValueError, match="no"):
        await to_the_end(work(ValueError("no")))


@pytest.mark.parametrize("error", [None, ValueError("no")])
async def test_cancelled_again_and_again(error):
    """The work comes to its end however often its caller is cancelled, and then the caller is cancelled."""
    gate, steps = asyncio.Event(), []

    async def work():
        steps.append("begun")
        await gate.wait()
        steps.append("ended")
        if error is not None:
            raise error

    caller = asyncio.create_task(to_the_end(work()))
    await asyncio.sleep(0)
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0.001)
    assert not caller.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(caller, 20)

    assert ["begun", "ended"] == steps


async def test_work_that_is_cancelled_itself():
    """Work that somebody else cancels is over, and the caller hears of it."""

    async def work():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.create_task(to_the_end(work())), 20)
