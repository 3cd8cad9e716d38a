"""
An executor whose threads do not keep the process from exiting.

`concurrent.futures` joins its threads at exit, so a thread that is blocked in a socket would delay a stop.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(Executor):
    """An executor that starts a daemon thread for each call; meant for few, long calls."""

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run *fn* in a thread of its own."""
        future: Future[T] = Future()
        threading.Thread(target=_run, args=(future, fn, args, kwargs), name=self._name, daemon=True).start()
        return future


def _run(future: "Future[Any]", fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as exc:  # noqa: BLE001  # raised where the future is awaited
        future.set_exception(exc)
    else:
        future.set_result(result)
