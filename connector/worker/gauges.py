"""The gauges of a worker, computed from its tasks whenever Prometheus scrapes it."""

import time
from collections.abc import Iterable

from prometheus_client.core import Metric

from connector.cluster.herder import Herder
from connector.coverage.offset import GapState
from connector.kafka import internals as kafka_internals
from connector.records import clock, native
from connector.sources.http import internals as x_internals
from connector.task.status import State
from connector.telemetry.metrics import gauge


def gauges_of(herder: Herder) -> Iterable[Metric]:
    tasks = list(herder.tasks.values())
    readers = [reader for task in tasks for reader in task.readers]
    covered = [task.covered_to_ms for task in tasks]
    known = [ms / 1000 for ms in covered if ms is not None]
    heard = [reader.heard_at for reader in readers if reader.heard_at is not None]
    yield gauge(
        "connector_covered_to_timestamp_seconds",
        "Creation time up to which everything read is committed, of the task furthest behind on this worker.",
        [({}, min(known))] if known else [],
    )
    yield gauge(
        "connector_heard_timestamp_seconds",
        "When the last line or keep-alive arrived, on the connection silent the longest.",
        [({}, min(heard) + time.time() - clock.now())] if heard else [],
    )
    yield gauge(
        "connector_buffer_bytes",
        "Bytes of memory that what was read and is not yet drained takes.",
        [({}, float(sum(reader.buffer.size_bytes for reader in readers)))],
    )
    yield gauge(
        "connector_task_state",
        "1 for the state in which a task of this worker is, 0 for the others.",
        [
            (
                {"connector": task.settings.task.connector, "task": str(task.settings.task.number), "state": state},
                float(task.status.state is state),
            )
            for task in tasks
            for state in State
        ],
    )
    lengths = dict.fromkeys((GapState.OPEN, GapState.REPAIRING, GapState.LOST), 0.0)
    for partition in (partition for task in tasks for partition in task.partitions):
        for gap in partition.progress.coverage.gaps:
            lengths[gap.state] += gap.seconds
        lengths[GapState.OPEN] += partition.outage_secs
    yield gauge(
        "connector_gap_seconds",
        "Time of which not everything is delivered, of this worker's tasks; open includes an outage that goes on.",
        [({"state": state.value}, seconds) for state, seconds in lengths.items()],
    )
    paths = {**kafka_internals.fast_paths(), **x_internals.fast_paths(), "compiled": native.compiled is not None}
    yield gauge(
        "connector_fast_path",
        "1 while this worker takes a fast path, 0 when it fell back to the slower one.",
        [({"path": path}, float(taken)) for path, taken in paths.items()],
    )
