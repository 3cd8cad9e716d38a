"""
Our worker without the group's history: nothing is counted for it, written into its topic or read from it.

No worker can be told so; this file is for the benchmarks.  It is run as a script by the Python in which the worker is
installed.
"""

import runpy

from connector.cluster.history_writer import HistoryWriter
from connector.history.recorder import Recorder
from connector.kafka.state.history_log import HistoryLog
from connector.telemetry.events.event import Event


async def _nothing(_service: object) -> None:
    pass


def _take(_recorder: Recorder, _event: Event) -> None:
    pass


def forget() -> None:
    """Turn the history off."""
    Recorder.take = _take  # type: ignore[method-assign]
    for service in (HistoryLog, HistoryWriter):
        service.start = service.stop = service.restart = _nothing  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    forget()
    runpy.run_module("connector", run_name="__main__")
