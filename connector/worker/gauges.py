"""The gauges of a worker, computed from its tasks whenever Prometheus scrapes it."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from prometheus_client.core import Metric

from connector import __version__
from connector.coverage.offset import GapState
from connector.coverage.spend import MILLS, day_of
from connector.formats.schemas import native as avro_native
from connector.kafka import internals as kafka_internals
from connector.records import clock
from connector.records.record import TaskId
from connector.sources.http import internals as x_internals
from connector.task.status import State
from connector.task.subscriber import Subscriber
from connector.task.task import SourceTask
from connector.telemetry import catalogue
from connector.telemetry.catalogue import CONNECTORS_MAX, OTHER, Declared
from connector.telemetry.metrics import gauge


class Host(Protocol):
    """What runs the tasks of a worker; `cluster.herder.Herder`."""

    @property
    def tasks(self) -> Mapping[int, SourceTask]:
        """The tasks of this worker by slot: those that run, and those that FAILED or reached their time limit."""

    def states(self) -> Mapping[TaskId, State]:
        """Return the states of the tasks that are assigned to this worker, but for connectors that are STOPPED."""


def gauges_of(host: Host, ready: Callable[[], bool]) -> Iterator[Metric]:
    """Yield all gauges of a worker; *ready* returns whether it does its work."""
    tasks = list(host.tasks.values())
    connectors = [(task, subscriber) for task in tasks for subscriber in task.subscribers]
    shown = _shown(chain((subscriber.name for _, subscriber in connectors), (of.connector for of in host.states())))
    yield from _of_worker(tasks, ready)
    yield from _of_coverage(connectors, shown)
    yield from _of_money([subscriber for _, subscriber in connectors], shown)
    yield _gap_seconds(tasks)
    yield _states(host.states(), shown)


def _shown(names: Iterable[str]) -> Mapping[str, str]:
    """Return the value of the label `connector` for each of *names*."""
    return {name: name if place < CONNECTORS_MAX else OTHER for place, name in enumerate(sorted(set(names)))}


def _of_worker(tasks: Iterable[SourceTask], ready: Callable[[], bool]) -> Iterator[Metric]:
    waiting = max((task.delayed_secs or 0.0 for task in tasks), default=0.0)
    held = sum(task.readers.size_bytes for task in tasks)
    paths = {**kafka_internals.fast_paths(), **x_internals.fast_paths(), "compiled": avro_native.all_compiled()}
    yield gauge(catalogue.WORKER_READY, [((), float(ready()))])
    yield gauge(catalogue.WORKER_INFO, [((__version__, platform.python_version()), 1.0)])
    yield gauge(catalogue.DELIVERY_WAITING_SECONDS, [((), waiting)])
    yield gauge(catalogue.BUFFER_BYTES, [((), float(held))])
    yield gauge(catalogue.FAST_PATH, [((path,), float(taken)) for path, taken in paths.items()])


def _of_coverage(connectors: Iterable[tuple[SourceTask, Subscriber]], shown: Mapping[str, str]) -> Iterator[Metric]:
    to_unix = time.time() - clock.now()
    covered: list[tuple[str, float]] = []
    heard: list[tuple[str, float]] = []
    for task, subscriber in connectors:
        covered_to_ms = task.covered_to_ms(subscriber)
        if covered_to_ms is not None:
            covered.append((subscriber.name, covered_to_ms / 1000))
        arrivals = [each.reader.heard_at for each in subscriber.partitions if each.reader.heard_at is not None]
        if arrivals:
            heard.append((subscriber.name, min(arrivals) + to_unix))
    yield _by_connector(catalogue.COVERED_TO, covered, shown, min)
    yield _by_connector(catalogue.HEARD, heard, shown, min)


def _of_money(subscribers: Iterable[Subscriber], shown: Mapping[str, str]) -> Iterator[Metric]:
    posts: list[tuple[str, float]] = []
    usd: list[tuple[str, float]] = []
    used: dict[tuple[str, str], float] = {}
    for subscriber in subscribers:
        for progress in subscriber.progresses:
            day, spent = day_of(progress.now_ms), progress.coverage.spent
            posts.append((subscriber.name, spent.posts_on(day)))
            usd.append((subscriber.name, spent.mills_in(day[:7]) / MILLS))
            for period, part in progress.budget_used().items():
                key = shown[subscriber.name], period
                used[key] = max(used.get(key, 0.0), part)
    yield _by_connector(catalogue.BILLED_TODAY_POSTS, posts, shown, sum)
    yield _by_connector(catalogue.SPENT_THIS_MONTH_USD, usd, shown, sum)
    yield gauge(catalogue.BUDGET_USED_RATIO, used.items())


def _by_connector(
    declared: Declared,
    values: Iterable[tuple[str, float]],
    shown: Mapping[str, str],
    together: Callable[[Iterable[float]], float],
) -> Metric:
    """Return the gauge *declared* with a sample for each connector that has *values*, put *together*."""
    found: dict[str, list[float]] = {}
    for name, value in values:
        found.setdefault(shown[name], []).append(value)
    return gauge(declared, [((name,), float(together(each))) for name, each in found.items()])


def _gap_seconds(tasks: Iterable[SourceTask]) -> Metric:
    lengths = dict.fromkeys((GapState.OPEN, GapState.REPAIRING, GapState.LOST), 0.0)
    for partition in (partition for task in tasks for partition in task.partitions):
        for gap in partition.progress.coverage.gaps:
            lengths[gap.state] += gap.seconds
        lengths[GapState.OPEN] += partition.outage_secs
    return gauge(catalogue.GAP_SECONDS, [((state.value,), seconds) for state, seconds in lengths.items()])


def _states(states: Mapping[TaskId, State], shown: Mapping[str, str]) -> Metric:
    counts: dict[tuple[str, ...], float] = {}
    for of, now in states.items():
        name = shown[of.connector]
        task = OTHER if name == OTHER else str(of.number)
        for state in State:
            key = (name, task, state.value)
            counts[key] = counts.get(key, 0.0) + float(state is now)
    return gauge(catalogue.TASK_STATE, counts.items())
