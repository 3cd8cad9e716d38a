"""
How does the process start, stop and exit?

    start:  web ─▶ wait for Kafka ─▶ producer, statuses, offsets ─▶ tasks ─▶ consumer group
    stop:   stop reading ─▶ tasks drain, side by side ─▶ leave the group ─▶ the rest, all within the stop timeout

Exit codes: 0 stopped, or the time limit reached; 1 fatal at run time, or a stop that was cut short; 78 configuration,
or libraries with which it cannot run.
"""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, NoReturn

import faust
from faust.app.base import BootStrategy
from faust.app.base import logger as faust_logger
from faust.cli.worker import worker as worker_command
from faust.types.transports import ConsumerT, TransportT
from mode import Service, ServiceT
from mode.utils.futures import maybe_cancel

from connector.cluster.herder import Herder
from connector.config.addresses import is_loopback
from connector.errors import ConfigError, FatalError
from connector.kafka.internals import unfit
from connector.sources.http.internals import why_no_stream
from connector.telemetry import logs
from connector.telemetry.events.event import Event
from connector.telemetry.events.worker import (
    Noticed,
    StopTimedOut,
    WorkerFailed,
    WorkerReady,
    WorkerStopped,
    WorkerStopping,
)
from connector.worker.memory import GIVE_BACK_SECS, give_back, keep_memory

EX_OK, EX_FATAL, EX_UNAVAILABLE, EX_CONFIG = 0, 1, 69, 78  # sysexits.h has the last two

LAST_WORDS_SECS = 1.0
"""How long a stop that is cut short may take to say so."""

# Faust's banner goes to standard output, where only printed posts belong; `ConnectorApp.announce` logs as much.
worker_command.on_worker_created = lambda *_: None  # type: ignore[method-assign]


class Boot(BootStrategy):
    """Faust's services, with the web first and Kafka awaited before whatever needs it."""

    def server(self) -> Iterable[ServiceT]:
        """Return the services of a worker in the order of their start."""
        app = self.app
        return chain(
            self.sensors(),
            self.web_server(),
            app.before_kafka,  # type: ignore[attr-defined]  # the app is a ConnectorApp
            self.kafka_producer(),
            app.after_producer,  # type: ignore[attr-defined]
            self.kafka_consumer(),
            self.agents(),
            self.kafka_conductor(),
            self.tables(),
        )


class ConnectorApp(faust.App):
    """A Faust application with the connector's own services in its order of start and stop."""

    mundane_level = "debug"  # our events say what an operator wants to know

    BootStrategy = Boot
    before_kafka: tuple[ServiceT, ...] = ()
    after_producer: tuple[ServiceT, ...] = ()
    herder: Herder
    emit: Callable[[Event], None]
    log_format: str
    log_level: str
    log_file: str | None = None
    stop_timeout_secs: float
    exactly_once = True
    """Whether the worker delivers in transactions."""
    unconfigured: tuple[str, ...] = ()
    """Why a worker cannot run, although other commands can."""
    web_needs_loopback: bool
    """Whether the web has no users, and so must not be reached from outside."""
    leave: Callable[[int], None]
    """Ends the worker with an exit code, drained."""
    announce: Callable[[], None]
    """Says what the worker runs."""
    group_consumer: type[ConsumerT]
    """Which consumer holds this worker's place in the group."""

    def _new_transport(self) -> TransportT:
        transport = super()._new_transport()
        transport.Consumer = self.group_consumer  # type: ignore[misc]  # one transport's own: Faust reads it there
        return transport

    def _create_directories(self) -> None:
        """Make no data directory, as Faust would: nothing of ours is on disk, which may be read-only."""

    async def on_stop(self) -> None:
        """Drain the tasks while producer and group membership are still there."""
        await self.herder.stop()
        await super().on_stop()


ConnectorApp.logger = faust_logger  # mode names a class's logger after its module, and ours is not for Faust's steps


class Watchdog:
    """Ends the process *secs* after `start`, whatever still waits; in a thread, as the event loop may hang, too."""

    def __init__(self, secs: float, fire: Callable[[], NoReturn]) -> None:
        self._timer = threading.Timer(secs, fire)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()


class ConnectorWorker(faust.Worker):
    """Faust's worker with our log, signals and exit codes."""

    app: ConnectorApp

    def __init__(self, app: ConnectorApp, *services: ServiceT, **kwargs: Any) -> None:
        problems = [*app.unconfigured, *unfit(exactly_once=app.exactly_once)]
        if why := why_no_stream():
            problems.append(why)
        if app.conf.web_enabled and app.web_needs_loopback and not is_loopback(app.conf.web_bind):
            problems.append(f"--web-bind {app.conf.web_bind} opens the web to others and needs CONNECTOR_WEB_USERS.")
        if problems:
            exit_misconfigured(ConfigError(problems))
        super().__init__(app, *services, **kwargs)
        keep_memory()
        self.spinner = None  # it would write between the log's lines
        app.leave = self.leave
        self._exit_code = EX_OK
        self._stop_reason = ""
        self._watchdog = Watchdog(app.stop_timeout_secs, self._cut_short)

    def _setup_logging(self) -> None:
        logs.configure(self.app.log_level, self.app.log_format, path=self.app.log_file)
        self.app.announce()

    async def on_startup_finished(self) -> None:
        self.app.emit(WorkerReady())
        gc.freeze()  # what a worker is made of stays; only what comes and goes needs to be looked at
        await self.maybe_start_blockdetection()

    @Service.timer(GIVE_BACK_SECS)
    async def _give_back_memory(self) -> None:
        give_back()

    # -- stopping

    def _install_signal_handlers_unix(self) -> None:
        # Not mode's: its SIGUSR1 writes the stacks of all tasks, its SIGUSR2 stands still in a debugger.
        self.loop.add_signal_handler(signal.SIGINT, self._on_sigint)
        self.loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has asked to go on without the terminal
            self.loop.add_signal_handler(signal.SIGHUP, self._begin_stop, "SIGHUP")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self.loop.add_signal_handler(number, self._on_stray_signal, number)

    def _on_stray_signal(self, number: signal.Signals) -> None:
        self.app.emit(Noticed(notice=f"{number.name} has no meaning for a worker: SIGTERM, SIGINT and SIGHUP stop it."))

    def leave(self, exit_code: int) -> None:
        """Stop, drained, and exit with the worst *exit_code* of all calls."""
        self._exit_code = max(self._exit_code, exit_code)
        self._begin_stop("all tasks are over")

    def _on_sigint(self) -> None:
        if self._stop_reason:
            self._cut_short("a second Ctrl-C")
        self._begin_stop("Ctrl-C")

    def _on_sigterm(self) -> None:
        self._begin_stop("SIGTERM")

    def _begin_stop(self, reason: str) -> None:
        if self._stop_reason:
            return
        self._stop_reason = reason
        self.app.emit(WorkerStopping(reason=reason))
        self._watchdog.start()
        self.app.herder.begin_stop()
        self._shutdown_immediately = True
        self._schedule_shutdown(signal.SIGTERM)

    def _cut_short(self, reason: str = "") -> NoReturn:
        """Say what is left, and end the process, even if nothing can be said.  Any thread."""
        last_words = threading.Timer(LAST_WORDS_SECS, os._exit, (EX_FATAL,))  # nobody may read standard error
        last_words.daemon = True
        last_words.start()
        try:
            self.app.emit(
                StopTimedOut(
                    reason=reason or f"not drained within CONNECTOR_STOP_TIMEOUT_SECS={self.app.stop_timeout_secs:g}",
                    undelivered_posts=self.app.herder.undelivered_posts,
                    exit_code=EX_FATAL,
                )
            )
        finally:
            last_words.cancel()
            os._exit(EX_FATAL)  # whatever still waits for Kafka or X would wait on

    # -- running

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; mode's own prints a stack for what is an operator's error."""
        self._starting_fut = None
        try:
            self._starting_fut = asyncio.ensure_future(self.start(), loop=self.loop)
            self.loop.run_until_complete(self._starting_fut)
        except asyncio.CancelledError:
            pass
        except Exception as exc:  # noqa: BLE001  # it is told, and the exit code says so
            self._tell_failure(exc)
        finally:
            maybe_cancel(self._starting_fut)
            self._watchdog_for_the_rest()
        try:
            self.stop_and_shutdown()
        except Exception as exc:  # noqa: BLE001  # likewise: mode raises the reason of a crash here
            self._tell_failure(exc)
        self._watchdog.cancel()
        self.app.emit(WorkerStopped(exit_code=self._exit_code))
        raise SystemExit(self._exit_code)

    def _watchdog_for_the_rest(self) -> None:
        if not self._stop_reason:
            self._stop_reason = "failed"
            self._watchdog.start()

    def _tell_failure(self, exc: Exception) -> None:
        if self._exit_code == EX_FATAL and self.crash_reason is exc:
            return
        self._exit_code = EX_FATAL
        expected = isinstance(exc, FatalError | OSError)
        if not expected:
            self.log.log(logging.ERROR, "The worker failed unexpectedly", exc_info=exc)
        reason = (isinstance(exc, OSError) and self._why_no_web(exc)) or str(exc)
        for sentence in reason.splitlines() or [type(exc).__name__]:
            self.app.emit(WorkerFailed(error=type(exc).__name__, reason=sentence))

    def _why_no_web(self, exc: OSError) -> str | None:
        """Why the web interface cannot listen, if *exc* says that."""
        bind, port = self.app.conf.web_bind, self.app.conf.web_port
        if exc.errno == errno.EADDRINUSE:
            return f"Port {port} is taken: set CONNECTOR_WEB_PORT to a free one."
        if exc.errno == errno.EADDRNOTAVAIL or isinstance(exc, socket.gaierror):
            return (
                f"The web interface cannot listen on {bind}, no address of this machine: set CONNECTOR_WEB_BIND to one."
            )
        if exc.errno == errno.EACCES and "bind" in str(exc):
            return f"This user may not listen on port {port}: set CONNECTOR_WEB_PORT to 1024 or more."
        return None


def exit_misconfigured(error: ConfigError) -> NoReturn:
    """Print all problems, one a line, and exit with 78 (EX_CONFIG)."""
    count = len(error.problems)
    head = "The configuration has a problem:" if count == 1 else f"The configuration has {count} problems:"
    sys.stderr.write("\n".join([head, *(f"  - {problem}" for problem in error.problems), ""]))
    raise SystemExit(EX_CONFIG)
