"""
The format of log lines, and which lines are suppressed.

Our events and the lines of Faust, mode and aiokafka go through one renderer, to standard error or to a file.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any, TextIO

from connector.telemetry.events.event import Event
from connector.telemetry.imports import without
from connector.telemetry.metrics import Metrics

with without("rich"):  # 3 MB, and its tracebacks would show the values of variables, secrets too
    import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

CHATTY = ("aiokafka", "kafka", "faust.transport", "asyncio", "aiohttp.server")
"""Loggers that repeat their lines while a broker is away, some 100 lines a second, or for each malformed request."""

REPEAT_SECS = 5.0
KINDS_MAX = 200
_NUMBERS = re.compile(r"0x[0-9a-f]+|[0-9]+")
ONCE = frozenset({"Sending username and password in the clear"})
"""Messages that are logged once only, because they are the same for every connection."""

_AIOKAFKA_ORPHANS = ("Future exception was never retrieved", "Task exception was never retrieved")


class Throttle(logging.Filter):
    """
    Suppresses repeated warnings and errors of the `CHATTY` loggers.

    A line passes once in `REPEAT_SECS`, with the number of like lines suppressed since.  Lines are alike if their
    logger and their message template are the same, whatever the numbers in the template.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "asyncio" and _is_orphan(record):
            return False
        if record.name == "aiohttp.server" and _is_malformed(record):  # its text would show headers, a login among them
            record.msg, record.args, record.exc_info = "A client has sent what is no HTTP request", None, None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        _shorten(record)
        if record.levelno < logging.WARNING or not record.name.startswith(CHATTY):
            return True
        kind = record.name, _NUMBERS.sub("#", str(record.msg))
        if kind in self._said and record.msg in ONCE:
            return False
        now = self._clock()
        if now - self._said.get(kind, -REPEAT_SECS) < REPEAT_SECS:
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        if len(self._said) >= KINDS_MAX:  # messages with the values already in them, instead of templates
            self._said = {said: at for said, at in self._said.items() if now - at < REPEAT_SECS}
        self._said[kind] = now
        if held := self._held.pop(kind, 0):
            lines = "1 line" if held == 1 else f"{held} lines"
            record.msg, record.args = f"{record.getMessage()} (and {lines} like it)", None
        return True


def _is_orphan(record: logging.LogRecord) -> bool:
    """Return whether asyncio complains about a future inside aiokafka, which our code cannot await."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    from_aiokafka = type(error).__module__.startswith("aiokafka")
    return from_aiokafka and record.getMessage().startswith(_AIOKAFKA_ORPHANS)


def _shorten(record: logging.LogRecord) -> None:
    """Replace the traceback of an error that Kafka has answered by its words: it only shows aiokafka's own code."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if record.name.startswith("aiokafka") and type(error).__module__ == "aiokafka.errors":
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", None, None


def _is_malformed(record: logging.LogRecord) -> bool:
    """Return whether aiohttp complains about bytes that are no HTTP request."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return type(error).__module__ == "aiohttp.http_exceptions"


def configure(level: str, log_format: str, stream: TextIO | None = None, *, path: str | None = None) -> None:
    """Set up all logging of the process; *log_format* is `console` or `json`, *path* is a file to log to instead."""
    out = stream or sys.stderr
    stamp: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    end: list[Processor]
    if log_format == "json":
        end = [structlog.processors.format_exc_info, _head_first, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        end = [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty() and path is None, pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*stamp, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
    )
    # After logrotate has moved the file, the handler opens a new one.
    handler = logging.StreamHandler(out) if path is None else WatchedFileHandler(path, encoding="utf-8")
    handler.setFormatter(formatter)
    handler.addFilter(Throttle())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in (
        "faust",
        "mode",
        "aiokafka",
        "kafka",
        "httpx2",
        "httpcore2",
    ):  # their INFO lines are about their own steps
        logging.getLogger(name).setLevel(level if level == "DEBUG" else max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *stamp,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _head_first(_logger: object, _method: str, fields: "EventDict") -> "EventDict":
    """Put time, level and event first in each line."""
    head = {key: fields.pop(key) for key in ("timestamp", "level", "event") if key in fields}
    return head | dict(fields)


class Emitter:
    """Logs and counts events, and shows each of them to *also*, if that is given.  Any thread."""

    def __init__(self, metrics: Metrics, also: Callable[[Event], None] | None = None) -> None:
        self._metrics = metrics
        self._listeners = () if also is None else (also,)
        self._log: Any = structlog.stdlib.get_logger("connector")
        self._names = logging.getLogger("connector")

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call *listener*, which must be quick, with each event from now on.  Before the worker starts."""
        self._listeners = (*self._listeners, listener)

    def __call__(self, event: Event) -> None:
        event.count(self._metrics)
        for listener in self._listeners:
            listener(event)
        if self._names.isEnabledFor(event.level):  # checked first: each batch is an event, rarely logged
            self._log.log(event.level, event.name, **event.fields())
