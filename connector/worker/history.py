"""Makes what belongs to the group's history in one worker: what follows it, and what writes it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from connector import __version__
from connector.cluster.history_writer import HistoryWriter, Identity, Vitals
from connector.cluster.statuses import Statuses
from connector.history.fold import History
from connector.history.recorder import Recorder
from connector.kafka.brokers import KafkaCluster
from connector.kafka.state.history_log import HistoryLog
from connector.telemetry.events.event import Event
from connector.telemetry.obstacles import Obstacles

_STATM, _PAGE_BYTES = Path("/proc/self/statm"), 4096


@dataclass(frozen=True, slots=True)
class Past:
    """The history as this worker knows it, what follows the topic, and what writes into it."""

    history: History
    log: HistoryLog
    writer: HistoryWriter


def history_of(
    cluster: KafkaCluster,
    topic: str,
    recorder: Recorder,
    statuses: Statuses,
    *,
    tasks: Callable[[], tuple[str, ...]],
    exit_code: Callable[[], int],
    obstacles: Obstacles,
    emit: Callable[[Event], None],
    trust_end_offsets: Callable[[], bool],
) -> Past:
    """
    Return the parts, not started.

    *tasks* returns the names of the tasks that run here, *exit_code* the code with which the process will end.
    """
    history = History(time.time())
    log = HistoryLog(cluster, topic, history, obstacles=obstacles, emit=emit, trust_end_offsets=trust_end_offsets)
    identity = Identity(
        process=statuses.process,
        version=__version__,
        worker=lambda: statuses.worker_id,
        tasks=tasks,
        vitals=vitals,
        exit_code=exit_code,
    )
    caught_up = log.caught_up.is_set
    return Past(
        history, log, HistoryWriter(cluster, topic, recorder, history, identity, emit=emit, caught_up=caught_up)
    )


def vitals() -> Vitals:
    """Return what this process has taken until now; its memory is known on Linux only."""
    try:
        pages: int | None = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        pages = None
    return Vitals(cpu_secs=time.process_time(), memory_bytes=None if pages is None else pages * _PAGE_BYTES)
