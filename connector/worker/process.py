"""
Start, stop and exit of the worker's process.

    start:  web ─▶ wait for Kafka ─▶ producer, statuses, offsets ─▶ tasks ─▶ consumer group
    stop:   stop reading ─▶ all tasks drain at the same time ─▶ leave the group ─▶ the rest; all within the stop timeout

Exit codes: 0 the worker was stopped, or the time limit is reached; 1 a fatal error at run time, or a stop that was cut
short; 78 wrong configuration, or installed libraries with which the worker cannot run.
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
from typing import TYPE_CHECKING, Any, NoReturn

import faust
from faust.app.base import BootStrategy
from faust.app.base import logger as faust_logger
from faust.cli.worker import worker as worker_command
from faust.tables.manager import TableManager
from faust.types.transports import ConsumerT, TransportT
from mode import Service, ServiceT
from mode.utils.futures import maybe_cancel

from connector.cluster.connectors import Connectors
from connector.cluster.herder import Herder
from connector.config.addresses import is_loopback
from connector.config.tracing import tracing_problems, wants_traces
from connector.errors import ConfigError, FatalError
from connector.kafka.internals import unfit
from connector.sources.http.internals import why_no_stream
from connector.telemetry import logs
from connector.telemetry.events.worker import (
    Noticed,
    StopTimedOut,
    WorkerFailed,
    WorkerReady,
    WorkerStopped,
    WorkerStopping,
)
from connector.telemetry.parents import TraceParents
from connector.worker.memory import GIVE_BACK_SECS, give_back, keep_memory

if TYPE_CHECKING:
    from connector.telemetry.traces import Export

EX_OK, EX_FATAL, EX_UNAVAILABLE, EX_CONFIG = 0, 1, 69, 78  # the last two are from sysexits.h

LAST_WORDS_SECS = 1.0
"""When a stop is cut short, the process ends after this time even if the log cannot be written."""

# Faust prints its banner to standard output, which is for posts; `ConnectorApp.announce` logs the same facts.
worker_command.on_worker_created = lambda *_: None  # type: ignore[method-assign]


class Boot(BootStrategy):
    """Faust's services in our order: the web server, then `before_kafka` waits for Kafka, then Kafka's clients."""

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


class NoTables(TableManager):
    """
    Faust's manager of tables, in an application that has none.

    Faust's own sleeps for a second in which tables may be declared; the group is joined only after that.
    """

    mundane_level = "debug"  # our events tell operators what Faust's INFO lines would

    async def on_start(self) -> None:
        """Let the consumer join the group."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


class ConnectorApp(faust.App):
    """A Faust application with the connector's own services in its order of start and stop."""

    mundane_level = "debug"  # our events tell operators what Faust's INFO lines would

    BootStrategy = Boot
    before_kafka: tuple[ServiceT, ...] = ()
    after_producer: tuple[ServiceT, ...] = ()
    herder: Herder
    connectors: Connectors
    emit: logs.Emitter
    trace_parents: TraceParents
    log_format: str
    log_level: str
    log_file: str | None = None
    stop_timeout_secs: float
    exactly_once = True
    """Whether the worker delivers in transactions."""
    unconfigured: tuple[str, ...] = ()
    """What is missing for a connector, if the environment declares none; some commands need one."""
    web_needs_loopback: bool
    """Whether the web interface has no login, so that it may listen on a loopback address only."""
    exit_code = EX_OK
    """The exit code with which the process ends, as far as it is known now."""
    leave: Callable[[int], None]
    """Drains the tasks and ends the worker with an exit code."""
    announce: Callable[[], None]
    """Logs the version, the settings and the notices of the worker."""
    group_consumer: type[ConsumerT]
    """The class of the consumer that makes this worker a member of the group."""

    def _new_transport(self) -> TransportT:
        transport = super()._new_transport()
        transport.Consumer = self.group_consumer  # type: ignore[misc]  # set on this transport only; Faust reads it there
        return transport

    def _create_directories(self) -> None:
        """Make no data directory: a worker keeps nothing on disk, and the disk may be read-only."""

    async def on_stop(self) -> None:
        """Drain the tasks before Faust stops the producer and leaves the group."""
        await self.herder.stop()
        await super().on_stop()


ConnectorApp.logger = faust_logger  # mode would log Faust's steps under the name of this module


class Watchdog:
    """Calls *fire*, which ends the process, *secs* after `start`; in a thread, because the event loop may hang."""

    def __init__(self, secs: float, fire: Callable[[], NoReturn]) -> None:
        self._timer = threading.Timer(secs, fire)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()


class ConnectorWorker(faust.Worker):
    """Faust's worker, with our logging, signal handling and exit codes."""

    app: ConnectorApp

    def __init__(self, app: ConnectorApp, *services: ServiceT, **kwargs: Any) -> None:
        problems = [*unfit(exactly_once=app.exactly_once)]
        if why := why_no_stream():
            problems.append(why)
        problems += tracing_problems(os.environ)
        if app.conf.web_enabled and app.web_needs_loopback and not is_loopback(app.conf.web_bind):
            problems.append(f"--web-bind {app.conf.web_bind} opens the web to others and needs CONNECTOR_WEB_USERS.")
        if problems:
            exit_misconfigured(ConfigError(problems))
        super().__init__(app, *services, **kwargs)
        keep_memory()
        self._export = _export(app) if wants_traces(os.environ) else None
        self.spinner = None  # it would write between the log's lines
        app.leave = self.leave
        self._stop_reason = ""
        self._watchdog = Watchdog(app.stop_timeout_secs, self._cut_short)

    def _setup_logging(self) -> None:
        logs.configure(self.app.log_level, self.app.log_format, path=self.app.log_file)
        self.app.announce()

    async def on_startup_finished(self) -> None:
        self.app.emit(WorkerReady())
        gc.freeze()  # these objects live on: the collector need not check them again
        await self.maybe_start_blockdetection()

    @Service.timer(GIVE_BACK_SECS)
    async def _give_back_memory(self) -> None:
        give_back()

    # -- stopping

    def _install_signal_handlers_unix(self) -> None:
        # Replaces mode's handlers: its SIGUSR1 writes all tasks' stacks, its SIGUSR2 halts the process in a debugger.
        self.loop.add_signal_handler(signal.SIGINT, self._on_sigint)
        self.loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored under nohup
            self.loop.add_signal_handler(signal.SIGHUP, self._begin_stop, "SIGHUP")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self.loop.add_signal_handler(number, self._on_stray_signal, number)

    def _on_stray_signal(self, number: signal.Signals) -> None:
        self.app.emit(Noticed(notice=f"{number.name} has no meaning for a worker: SIGTERM, SIGINT and SIGHUP stop it."))

    def leave(self, exit_code: int) -> None:
        """Drain the tasks, stop, and exit with the highest *exit_code* of all calls."""
        self.app.exit_code = max(self.app.exit_code, exit_code)
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
        """Log how many posts are undelivered and end the process, even if the log cannot be written.  Any thread."""
        last_words = threading.Timer(LAST_WORDS_SECS, os._exit, (EX_FATAL,))  # a write may block
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
            os._exit(EX_FATAL)  # a normal exit would go on waiting for Kafka or X

    # -- running

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; replaces mode's method, which prints a stack even for an operator's mistake."""
        self._starting_fut = None
        try:
            self._starting_fut = asyncio.ensure_future(self.start(), loop=self.loop)
            self.loop.run_until_complete(self._starting_fut)
        except asyncio.CancelledError:
            pass
        except Exception as exc:  # noqa: BLE001  # it is logged, and the exit code tells it
            self._tell_failure(exc)
        finally:
            maybe_cancel(self._starting_fut)
            self._watchdog_for_the_rest()
        try:
            self.stop_and_shutdown()
        except Exception as exc:  # noqa: BLE001  # mode raises the reason of a crash here; logged likewise
            self._tell_failure(exc)
        if self._export is not None:
            self._export.stop()
        self._watchdog.cancel()
        self.app.emit(WorkerStopped(exit_code=self.app.exit_code))
        raise SystemExit(self.app.exit_code)

    def _watchdog_for_the_rest(self) -> None:
        if not self._stop_reason:
            self._stop_reason = "failed"
            self._watchdog.start()

    def _tell_failure(self, exc: Exception) -> None:
        if self.app.exit_code == EX_FATAL and self.crash_reason is exc:
            return
        self.app.exit_code = EX_FATAL
        expected = isinstance(exc, FatalError | OSError)
        if not expected:
            self.log.log(logging.ERROR, "The worker failed unexpectedly", exc_info=exc)
        reason = (isinstance(exc, OSError) and self._why_no_web(exc)) or str(exc)
        for sentence in reason.splitlines() or [type(exc).__name__]:
            self.app.emit(WorkerFailed(error=type(exc).__name__, reason=sentence))

    def _why_no_web(self, exc: OSError) -> str | None:
        """Return why the web interface cannot listen and what to change; None if *exc* is about something else."""
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


def _export(app: ConnectorApp) -> "Export":
    """Begin to export traces of what *app* does."""
    from connector.telemetry.traces import Export  # with OpenTelemetry's SDK, which nobody else shall pay for

    export = Export(group=app.conf.id)
    app.emit.listen(export.traces)
    app.trace_parents.say(export.traces.parent_of)
    return export


def exit_misconfigured(error: ConfigError) -> NoReturn:
    """Print the problems to standard error, one a line, and exit with 78 (EX_CONFIG)."""
    count = len(error.problems)
    head = "The configuration has a problem:" if count == 1 else f"The configuration has {count} problems:"
    sys.stderr.write("\n".join([head, *(f"  - {problem}" for problem in error.problems), ""]))
    raise SystemExit(EX_CONFIG)
