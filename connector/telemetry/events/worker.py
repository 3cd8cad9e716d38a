"""Events of `connector.worker`: the life of a process."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting(Event):
    name = "worker.starting"
    version: str
    broker: str
    group: str
    web: str | None
    connector: str | None
    topic: str | None
    delivery: str | None
    compiled: bool
    """Whether the hot path in C is there and used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFormBroken(Event):
    """The hot path in C was built and cannot be loaded: it runs in Python, with the same bytes and at more CPU."""

    name = "worker.compiled_form_broken"
    level = logging.WARNING
    reason: str
    consequence: str = "the worker runs in Python and takes more CPU for each post"
    cure: str = "install the connector again for this Python and this machine: pip install --force-reinstall"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathOff(Event):
    """
    The *installed* libraries do not have the private names that fast *paths* are built on.

    Those are turned off: nothing is lost or late, and the *consequence* is less speed.
    """

    name = "worker.fast_path_off"
    level = logging.WARNING
    paths: tuple[str, ...]
    missing: tuple[str, ...]
    installed: tuple[str, ...]
    consequence: str
    cure: str


class WorkerReady(Event):
    name = "worker.ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopping(Event):
    name = "worker.stopping"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed(Event):
    name = "worker.failed"
    level = logging.ERROR
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopped(Event):
    name = "worker.stopped"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTimedOut(Event):
    """What is left here was read from X and not confirmed by Kafka; the next owner begins at the committed offset."""

    name = "worker.stop_timed_out"
    level = logging.ERROR
    reason: str
    undelivered_posts: int
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """Something about the configuration that an operator should know, said once."""

    name = "config.notice"
    level = logging.WARNING
    notice: str
