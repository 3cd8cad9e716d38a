"""
A simulator in a thread with an event loop of its own, for blocking clients and synchronous tests.

    with SimulatorThread(SimulatorSettings(rate=100)) as sim:
        ...  # sim.url, sim.settings.token
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from connector.simulator.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from connector.simulator.clock import Clock
    from connector.simulator.rules.store import Rule
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog

JOIN_TIMEOUT_S = 10.0

T = TypeVar("T")


class SimulatorThread:
    """
    A simulator that runs while its `with` block runs.

    All methods may be called from any thread.
    """

    def __init__(self, settings: SimulatorSettings | None = None, *, clock: Clock | None = None) -> None:
        self.simulator = Simulator(settings, clock=clock)
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            raise TimeoutError("the simulator's thread did not end")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self.simulator.start()
        except OSError as error:
            self._failed = error
            return
        finally:
            self._ready.set()
        await self._stopping.wait()
        await self.simulator.stop()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the simulator's loop; return what it returns."""

        async def run() -> T:
            return function()

        return self.wait_for(run())

    def wait_for(self, coroutine: Coroutine[Any, Any, T], timeout: float = 30) -> T:
        """Run a coroutine in the simulator's loop; return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    @property
    def url(self) -> str:
        return self.simulator.url

    @property
    def settings(self) -> SimulatorSettings:
        return self.simulator.settings

    @property
    def emissions(self) -> EmissionLog:
        return self.simulator.emissions

    @property
    def connections(self) -> list[ConnectionRecord]:
        return list(self.simulator.connections)

    @property
    def rate(self) -> float:
        return self.simulator.rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self.call(lambda: setattr(self.simulator, "rate", rate))

    def add_rule(self, value: str, tag: str | None = None) -> Rule:
        return self.call(lambda: self.simulator.rules.add(value, tag))

    def clear_rules(self) -> int:
        return self.call(self.simulator.rules.clear)

    def emit(self, count: int = 1) -> list[str]:
        return self.wait_for(self.simulator.emit(count))

    def emit_post(self, text: str, *, lang: str = "en", author: str | None = None, kind: str | None = None) -> str:
        return self.call(lambda: self.simulator.emit_post(text, lang=lang, author=author, kind=kind))

    def fault(self, name: str, **arguments: Any) -> None:
        self.wait_for(self.simulator.fault(name, **arguments))

    def clear_faults(self) -> None:
        self.call(self.simulator.clear_faults)
