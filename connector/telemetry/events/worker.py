"""Events of `connector.worker`: the life of a process."""

import logging
from dataclasses import dataclass

from connector.telemetry.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarting(Event):
    """The worker has read its settings and begins to work."""

    name = "worker.starting"
    version: str
    broker: str
    group: str
    web: str | None
    connector: str | None
    topic: str | None
    delivery: str | None
    compiled: bool
    """Whether the worker uses the hot path in C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFormBroken(Event):
    """The hot path in C is installed but cannot be loaded: Python does its work, with the same bytes and more CPU."""

    name = "worker.compiled_form_broken"
    level = logging.WARNING
    reason: str
    consequence: str = "the worker runs in Python and takes more CPU for each post"
    cure: str = "install the connector again for this Python and this machine: pip install --force-reinstall"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathOff(Event):
    """
    The *installed* libraries lack private names (*missing*) that the fast *paths* need, so the paths are turned off.

    No post is lost or late; *consequence* says what costs more CPU or time.
    """

    name = "worker.fast_path_off"
    level = logging.WARNING
    paths: tuple[str, ...]
    missing: tuple[str, ...]
    installed: tuple[str, ...]
    consequence: str
    cure: str


class WorkerReady(Event):
    """The worker does its work for the first time since its start."""

    name = "worker.ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopping(Event):
    """The worker was told to stop, and drains its tasks."""

    name = "worker.stopping"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed(Event):
    """The worker ends because of an error."""

    name = "worker.failed"
    level = logging.ERROR
    error: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopped(Event):
    """The worker has ended."""

    name = "worker.stopped"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopTimedOut(Event):
    """A stop was cut short: *undelivered_posts* were read from X and not confirmed by Kafka; the next owner resumes."""

    name = "worker.stop_timed_out"
    level = logging.ERROR
    reason: str
    undelivered_posts: int
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed(Event):
    """A fact about the configuration that an operator should know, logged once."""

    name = "config.notice"
    level = logging.WARNING
    notice: str
