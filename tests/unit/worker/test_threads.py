import asyncio
import threading

import pytest

from connector.worker.threads import DaemonExecutor


async def test_returns_and_raises():
    """What the call returns or raises comes out of the future."""
    loop, executor = asyncio.get_running_loop(), DaemonExecutor("reader")

    assert 5 == await loop.run_in_executor(executor, lambda: 2 + 3)
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(executor, lambda: 1 / 0)


def test_threads_are_daemons_with_a_name():
    """A call that never returns does not keep the process alive, and a stack dump names its thread."""
    thread = DaemonExecutor("reader").submit(threading.current_thread).result(5)

    assert (True, "reader") == (thread.daemon, thread.name)


def test_calls_do_not_wait_for_each_other():
    """Each call has a thread of its own, as a reader's call lasts as long as its connection."""
    executor, meet = DaemonExecutor("reader"), threading.Barrier(5)
    futures = [executor.submit(meet.wait, 5) for _ in range(5)]

    assert list(range(5)) == sorted(future.result(5) for future in futures)


def test_exit_of_a_thread_is_an_outcome():
    """Even a SystemExit in a thread reaches whoever awaits it."""
    with pytest.raises(SystemExit):
        DaemonExecutor("reader").submit(exit, 3).result(5)
