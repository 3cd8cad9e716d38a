import io
import json
import logging

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage
from aiokafka.errors import KafkaError, ProducerFenced, UnknownError

from connector.telemetry import logs
from connector.telemetry.events.cluster import TasksAssigned
from connector.telemetry.events.task import BatchDelivered, StreamDisconnected, TaskFailed
from connector.telemetry.logs import REPEAT_SECS, Emitter, Throttle
from connector.telemetry.metrics import Metrics
from tests.unit.fakes import TASK


@pytest.fixture
def configured():
    """`logs.configure` with a stream of ours; what was before is put back."""
    root = logging.getLogger()
    before = (
        root.handlers,
        root.level,
        {name: logging.getLogger(name).level for name in ("faust", "mode", "aiokafka", "kafka")},
    )
    out = io.StringIO()

    def configure(level="INFO", log_format="json"):
        logs.configure(level, log_format, out)
        return out

    yield configure
    structlog.reset_defaults()
    root.handlers, level, levels = before
    root.setLevel(level)
    for name, own in levels.items():
        logging.getLogger(name).setLevel(own)


def lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_traceback_shows_no_values(configured):
    """What variables hold may be a token: a traceback for people has lines of code only."""
    token = "very" + "secret"
    out = configured(log_format="console")
    try:
        raise RuntimeError(len(token))  # noqa: TRY301  # the frame that is shown has to be ours
    except RuntimeError:
        logging.getLogger("connector").exception("It failed")

    assert "raise RuntimeError(len(token))" in out.getvalue()
    assert token not in out.getvalue()


FAILED = TaskFailed(of=TASK, error="NotAuthorized", reason="X answered 401: é\nsecond line")


def test_event_as_json(configured):
    """An event is one JSON line: name, level, time and its fields."""
    out = configured()
    Emitter(Metrics())(FAILED)

    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert {
        "event": "task.failed",
        "level": "error",
        "connector": "posts",
        "task": 0,
        "error": "NotAuthorized",
        "reason": "X answered 401: é\nsecond line",
    } == line


def test_event_on_the_console(configured):
    """An event is one line with its name first; a terminal's colours only on a terminal."""
    out = configured(log_format="console")
    Emitter(Metrics())(TasksAssigned(running=(), started=("posts-0",), stopped=()))

    (line,) = out.getvalue().splitlines()
    assert "[info     ] tasks.assigned" in line
    assert "started=('posts-0',)" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", ["faust.transport", "mode.worker", "aiokafka.consumer", "somebody"])
def test_foreign_lines_look_the_same(configured, name, log_format):
    """Faust's, mode's and aiokafka's lines pass through the same renderer, with the logger's name."""
    out = configured(log_format=log_format)
    logging.getLogger(name).warning("Topic %s is %d", "posts", 7)

    if log_format == "json":
        (line,) = lines(out)
        assert ("Topic posts is 7", "warning", name) == (line["event"], line["level"], line["logger"])
    else:
        (line,) = out.getvalue().splitlines()
        assert "[warning  ] Topic posts is 7" in line
        assert name in line


def test_stack_is_part_of_the_line(configured):
    """In JSON an exception is a field, so a line stays a line."""
    out = configured()
    try:
        int("no")
    except ValueError:
        logging.getLogger("somebody").exception("It failed")

    (line,) = lines(out)
    assert line["exception"].endswith("ValueError: invalid literal for int() with base 10: 'no'")


@pytest.mark.parametrize(("level", "shown"), [("INFO", []), ("DEBUG", ["batch.delivered", "Fetching"])])
def test_level(configured, level, shown):
    """At INFO there is neither a line for each batch nor the libraries' talk about themselves."""
    out = configured(level)
    Emitter(Metrics())(BatchDelivered(of=TASK, posts=1, waits=(), usd=0.0))
    logging.getLogger("aiokafka.consumer").log(logging.DEBUG if level == "DEBUG" else logging.INFO, "Fetching")

    assert shown == [line["event"] for line in lines(out)]


def test_event_is_counted_although_not_logged(configured):
    """The log's level does not change the metrics."""
    configured("ERROR")
    metrics = Metrics()
    Emitter(metrics)(
        StreamDisconnected(of=TASK, error="ConnectionLost", reason="r", title=None, detail=None, partition=None)
    )

    assert 1.0 == metrics.registry.get_sample_value("connector_reconnects_total", {"error": "ConnectionLost"})


# -- the throttle


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def line(name, message="Unable to connect", level=logging.ERROR, exc_info=None):
    return logging.LogRecord(name, level, "", 0, message, None, exc_info)


def test_storm_is_a_line_every_few_seconds():
    """A library that repeats itself is let through every 5 s, with the number of lines held back."""
    clock = Clock()
    throttle, let_through = Throttle(clock), []
    for number in range(1_200):
        clock.now = 1000.0 + number / 100
        if throttle.filter(record := line("aiokafka.cluster", f"Unable to connect {number}")):
            let_through.append(record.getMessage())

    assert [
        "Unable to connect 0",
        "Unable to connect 500 (and 499 lines like it)",
        "Unable to connect 1000 (and 499 lines like it)",
    ] == let_through


def test_only_lines_that_are_alike_are_held_back():
    """A storm of one line hides no other line, of the same library or of another; what is no warning is let through."""
    throttle = Throttle(Clock())

    assert throttle.filter(line("aiokafka.conn", "Unable connect to %s"))
    assert not throttle.filter(line("aiokafka.conn", "Unable connect to %s"))
    assert throttle.filter(line("aiokafka.conn", "Not authorized to read from topic %s"))
    assert throttle.filter(line("aiokafka.cluster", "Unable connect to %s"))
    assert throttle.filter(line("faust.transport.drivers"))
    assert throttle.filter(line("asyncio"))
    assert throttle.filter(line("aiokafka.conn", level=logging.INFO))


@pytest.mark.parametrize("name", ["connector", "faust.app", "somebody"])
def test_others_are_not_throttled(name):
    """Our own lines, and those of libraries that keep to the point, all come."""
    throttle = Throttle(Clock())

    assert all(throttle.filter(line(name)) for _ in range(10))


def test_message_with_a_percent_sign():
    """A held-back count does not disturb a message that looks like a format."""
    clock = Clock()
    throttle = Throttle(clock)
    throttle.filter(line("aiokafka", "100 %s done"))
    throttle.filter(line("aiokafka", "100 %s done"))
    clock.now += REPEAT_SECS
    record = line("aiokafka", "100 %s done")
    record.args = ("percent",)

    assert throttle.filter(record)
    assert "100 percent done (and 1 line like it)" == record.getMessage()


def test_login_in_the_clear_is_said_once():
    """What is true of every connection is not repeated with each."""
    clock = Clock()
    throttle, said = Throttle(clock), 0
    for _ in range(10):
        clock.now += REPEAT_SECS
        said += throttle.filter(line("aiokafka.conn", "Sending username and password in the clear", logging.WARNING))

    assert 1 == said


def test_what_the_throttle_remembers_is_bounded():
    """Messages that hold values instead of templates do not fill the memory."""
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(5_000):
        clock.now += 1.0
        throttle.filter(line("faust.transport.drivers", "".join(chr(97 + int(digit)) for digit in str(number))))

    assert len(throttle._said) < 1_000


ORPHANS = [
    ("Future exception was never retrieved\nfuture: <Future>", ProducerFenced(), False),
    ("Task exception was never retrieved", KafkaError(), False),
    # ours: somebody forgot to await
    ("Future exception was never retrieved", ValueError(), True),
    ("Executing <Task> took 1.2 seconds", KafkaError(), True),
]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UnknownError(), "Unexpected error in sender routine: [Error -1] UnknownError"),
        (AssertionError("a fault of aiokafka"), "Unexpected error in sender routine"),
    ],
)
def test_errors_that_kafka_answers_have_no_traceback(error, shown):
    """The words say all there is; a traceback is for faults."""
    record = line("aiokafka.producer.sender", "Unexpected error in sender routine", exc_info=(type(error), error, None))
    assert Throttle(Clock()).filter(record)

    assert (shown, isinstance(error, AssertionError)) == (record.getMessage(), record.exc_info is not None)


@pytest.mark.parametrize(("message", "error", "shown"), ORPHANS)
def test_aiokafkas_orphans_are_silent(message, error, shown):
    """asyncio's complaint about a future inside aiokafka is nobody's fault; one about ours is shown."""
    assert shown == Throttle(Clock()).filter(line("asyncio", message, exc_info=(type(error), error, None)))


def test_complaint_without_an_exception():
    """A line of asyncio without an exception is shown."""
    assert Throttle(Clock()).filter(line("asyncio", "Future exception was never retrieved"))


def test_filter_is_in_place(configured):
    """The throttle works for whatever goes through the root logger."""
    out = configured()
    for _ in range(10):
        logging.getLogger("aiokafka.cluster").error("Unable to connect")

    assert 1 == len(lines(out))


def test_what_is_not_shown_costs_no_line(configured, monkeypatch):
    """An event below the level is counted, and its fields are not even gathered."""
    out, metrics = configured("INFO"), Metrics()
    monkeypatch.setattr(BatchDelivered, "fields", lambda _: pytest.fail("nobody sees them"))
    Emitter(metrics)(BatchDelivered(of=TASK, posts=3, waits=(), usd=0.0))

    assert "" == out.getvalue()
    assert b"connector_posts_delivered_total 3.0" in metrics.render()


def test_malformed_request_is_one_line():
    """Bytes that are no HTTP request are a warning without a stack, and without the bytes: a login may be in them."""
    error = BadHttpMessage("Invalid header value char: b'Authorization: Basic c2VjcmV0\\x00'")
    record = line("aiohttp.server", "Error handling request", exc_info=(type(error), error, None))

    assert Throttle(Clock()).filter(record)
    assert "A client has sent what is no HTTP request" == logging.Formatter().format(record)
    assert logging.WARNING == record.levelno
