import asyncio
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from connector.config.load import load
from connector.errors import BrokerUnsuitable, ConfigError
from connector.telemetry.events.worker import (
    Noticed,
    StopTimedOut,
    WorkerFailed,
    WorkerReady,
    WorkerStopped,
    WorkerStopping,
)
from connector.worker import process, wiring
from connector.worker.process import ConnectorWorker, Watchdog, exit_misconfigured

ENVIRONMENT = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}


class Exited(BaseException):
    """`os._exit` was called."""


class FakeHerder:
    undelivered_posts = 7
    stops = 0

    def begin_stop(self):
        self.stops += 1


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A worker on a loop of its own that has started nothing, and what it has told."""
    monkeypatch.setattr(process.logs, "configure", lambda *_: None)
    loop = asyncio.new_event_loop()
    app = wiring.wire(load(ENVIRONMENT, tmp_path))
    app.herder = FakeHerder()
    events = app.events = []
    app.emit, app.announce = events.append, lambda: None
    made = ConnectorWorker(app, loop=loop, redirect_stdouts=False, override_logging=False)
    made.exits, made.shutdowns = [], []

    def exit_now(code):
        made.exits.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", exit_now)
    monkeypatch.setattr(made, "_schedule_shutdown", made.shutdowns.append)
    monkeypatch.setattr(made, "stop_and_shutdown", lambda: None)
    yield made
    made._watchdog.cancel()
    loop.close()


def said(worker, *kinds):
    return [event for event in worker.app.events if isinstance(event, kinds)]


def run(worker, start):
    """Run *worker* with *start* instead of its services; return the exit code."""

    async def begin():
        await asyncio.sleep(0)
        start()

    worker.start = begin
    with pytest.raises(SystemExit) as caught:
        worker.execute_from_commandline()
    return caught.value.code


def fail(error):
    def start():
        raise error

    return start


def test_stopped_worker_exits_with_0(running):
    """A worker that was asked to stop and has drained says so and exits with 0."""
    assert 0 == run(running, running._on_sigterm)
    assert [WorkerStopping(reason="SIGTERM")] == said(running, WorkerStopping)
    assert [WorkerStopped(exit_code=0)] == said(running, WorkerStopped)
    assert 1 == running.app.herder.stops


@pytest.mark.parametrize("code", [0, 1])
def test_worker_leaves_with_its_tasks(running, code):
    """When all tasks are over the worker stops, drained, with the code that they ended with."""
    assert code == run(running, lambda: running.leave(code))
    assert [WorkerStopping(reason="all tasks are over")] == said(running, WorkerStopping)


def test_worst_exit_code_counts(running):
    """A task that fails while the others' end is being drained is not forgotten."""

    def leave_twice():
        running.leave(1)
        running.leave(0)

    assert 1 == run(running, leave_twice)


def test_app_can_end_its_worker(running):
    """The herder knows the app alone, and ends the worker through it."""
    assert 1 == run(running, lambda: running.app.leave(1))


FAILURES = [
    (BrokerUnsuitable("first sentence\nsecond sentence"), ["first sentence", "second sentence"]),
    (OSError(98, "Address already in use"), ["Port 8083 is taken: set CONNECTOR_WEB_PORT to a free one."]),
    (
        OSError(99, "error while attempting to bind on address ('127.0.0.1', 8083): cannot assign requested address"),
        ["The web interface cannot listen on 127.0.0.1, no address of this machine: set CONNECTOR_WEB_BIND to one."],
    ),
    (
        OSError(13, "error while attempting to bind on address ('127.0.0.1', 8083): permission denied"),
        ["This user may not listen on port 8083: set CONNECTOR_WEB_PORT to 1024 or more."],
    ),
    (OSError(13, "Permission denied"), ["[Errno 13] Permission denied"]),
    (ValueError("nobody thought of that"), ["nobody thought of that"]),
    (ValueError(), ["ValueError"]),
]


@pytest.mark.parametrize(("error", "sentences"), FAILURES)
def test_failed_worker_exits_with_1(running, error, sentences):
    """A start that fails is told, one problem a line, and the exit code is 1."""
    assert 1 == run(running, fail(error))
    assert [(type(error).__name__, sentence) for sentence in sentences] == [
        (event.error, event.reason) for event in said(running, WorkerFailed)
    ]


@pytest.mark.parametrize(("error", "stack"), [(BrokerUnsuitable("no"), False), (ValueError("no"), True)])
def test_stack_only_for_the_unexpected(running, error, stack, caplog):
    """An operator's error needs no stack; one that nobody thought of does."""
    run(running, fail(error))

    assert stack == ("The worker failed unexpectedly" in caplog.text)


def test_crash_while_running(running, monkeypatch):
    """A service that crashes later is told when mode hands its reason out, and the exit code is 1."""
    monkeypatch.setattr(running, "stop_and_shutdown", fail(BrokerUnsuitable("the topic is gone")))

    assert 1 == run(running, lambda: None)
    assert ["the topic is gone"] == [event.reason for event in said(running, WorkerFailed)]


def test_signal_stops_reading_at_once(running):
    """Ctrl-C and SIGTERM stop the readers before anything else, and start the watchdog."""
    running._on_sigint()

    assert [WorkerStopping(reason="Ctrl-C")] == said(running, WorkerStopping)
    assert 1 == running.app.herder.stops
    assert 1 == len(running.shutdowns)
    assert running._watchdog._timer.is_alive()


def heard(worker, number):
    """Send this process *number* while the worker's loop listens."""

    emit, told = worker.app.emit, asyncio.Event()

    def tell(event):
        emit(event)
        told.set()

    async def listen():
        os.kill(os.getpid(), number)
        await asyncio.wait_for(told.wait(), 10)

    worker.app.emit = tell
    worker._install_signal_handlers_unix()
    worker.loop.run_until_complete(listen())


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGHUP, "SIGHUP"), (signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_terminal_that_is_gone_stops_it_as_others_do(running, number, reason):
    """SIGHUP drains as SIGTERM does."""
    before = signal.signal(number, signal.default_int_handler)  # the tests themselves may run under nohup
    try:
        heard(running, number)
    finally:
        running.loop.remove_signal_handler(number)
        signal.signal(number, before)

    assert [WorkerStopping(reason=reason)] == said(running, WorkerStopping)
    assert 1 == running.app.herder.stops


def test_nohup_is_nohup(running, monkeypatch):
    """Who starts it with nohup wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        running._install_signal_handlers_unix()

        assert signal.SIG_IGN is signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_signals_of_faust_change_nothing(running, number):
    """No debugger, no stacks, no end: a line that says so."""
    heard(running, number)

    assert [f"{number.name} has no meaning for a worker: SIGTERM, SIGINT and SIGHUP stop it."] == [
        event.notice for event in said(running, Noticed)
    ]
    assert 0 == running.app.herder.stops


def test_second_sigterm_changes_nothing(running):
    """A supervisor may repeat itself."""
    running._on_sigterm()
    running._on_sigterm()

    assert 1 == len(said(running, WorkerStopping))
    assert 1 == running.app.herder.stops
    assert [] == running.exits


@pytest.mark.parametrize("first", ["_on_sigint", "_on_sigterm"])
def test_second_ctrl_c_ends_at_once(running, first):
    """Who presses Ctrl-C during a stop wants an end: exit code 1, and what was left is said."""
    getattr(running, first)()
    with pytest.raises(Exited):
        running._on_sigint()

    assert [1] == running.exits
    assert [StopTimedOut(reason="a second Ctrl-C", undelivered_posts=7, exit_code=1)] == said(running, StopTimedOut)


def test_stop_that_takes_too_long(running):
    """The watchdog ends the process with 1 and says which setting bounds the stop."""
    with pytest.raises(Exited):
        running._cut_short()

    assert [
        StopTimedOut(reason="not drained within CONNECTOR_STOP_TIMEOUT_SECS=20", undelivered_posts=7, exit_code=1)
    ] == said(running, StopTimedOut)
    assert [1] == running.exits


def test_stop_is_cut_short_whatever_reads_the_output(running, monkeypatch):
    """A terminal that stands still, or a pipe that is gone, does not keep the process from its end."""

    class Stuck:
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Stuck())
    with pytest.raises(Exited):
        running._cut_short()


def test_stop_is_cut_short_whoever_reads_the_log(running, monkeypatch):
    """Nobody reads standard error, so the last words cannot be said: the process ends all the same."""
    monkeypatch.setattr(process, "LAST_WORDS_SECS", 0.01)
    exits, read = [], threading.Event()
    monkeypatch.setattr(os, "_exit", exits.append)
    running.app.emit = lambda _: read.wait(30)
    watchdog = threading.Thread(target=running._cut_short, daemon=True)
    watchdog.start()
    try:
        deadline = time.monotonic() + 20
        while not exits and time.monotonic() < deadline:
            time.sleep(0.005)
        assert [1] == exits
    finally:
        read.set()
        watchdog.join(30)


def test_stop_is_cut_short_whatever_the_tasks_do(running):
    """The watchdog looks at tasks from its own thread while the loop may change them: an error there stops no end."""

    class Changing:
        @property
        def undelivered_posts(self):
            raise RuntimeError("dictionary changed size during iteration")

    running.app.herder = Changing()
    with pytest.raises(Exited):
        running._cut_short()

    assert [1] == running.exits


def test_watchdog_fires_once_its_time_is_over():
    """It runs in a thread of its own, as the loop may hang, and keeps no process alive."""
    fired = threading.Event()
    watchdog = Watchdog(0.01, fired.set)
    assert watchdog._timer.daemon
    watchdog.start()

    assert fired.wait(5)


def test_watchdog_that_was_cancelled():
    """A stop in time calls it off; calling off one that never started is fine."""
    fired = threading.Event()
    watchdog = Watchdog(60, fired.set)
    watchdog.start()
    watchdog.cancel()
    Watchdog(60, fired.set).cancel()
    watchdog._timer.join(5)

    assert not watchdog._timer.is_alive()
    assert not fired.is_set()


def test_ready_is_said(running):
    """A worker whose services are up says so."""
    running.loop.run_until_complete(running.on_startup_finished())

    assert [WorkerReady()] == said(running, WorkerReady)


MISCONFIGURED = [
    (["A is required."], "The configuration has a problem:\n  - A is required.\n"),
    (["A is required.", "B is wrong."], "The configuration has 2 problems:\n  - A is required.\n  - B is wrong.\n"),
]


@pytest.mark.parametrize(("problems", "text"), MISCONFIGURED)
def test_wrong_configuration_exits_with_78(problems, text, capsys):
    """All problems at once on standard error, and EX_CONFIG."""
    with pytest.raises(SystemExit) as caught:
        exit_misconfigured(ConfigError(problems))

    assert 78 == caught.value.code
    assert ("", text) == tuple(capsys.readouterr())


def test_web_without_users_stays_on_this_host(tmp_path, capsys):
    """Nor does a command line option open the web to others without a login."""
    app = wiring.wire(load(ENVIRONMENT, tmp_path))
    app.conf.web_bind = "0.0.0.0"  # noqa: S104  # that is the question
    with pytest.raises(SystemExit) as caught:
        ConnectorWorker(app)

    assert 78 == caught.value.code
    assert "CONNECTOR_WEB_USERS" in capsys.readouterr().err


def test_web_comes_first_and_kafka_is_awaited(tmp_path):
    """The services start in this order: web, wait for Kafka, producer, what follows topics and runs tasks, consumer."""
    app = wiring.wire(load(ENVIRONMENT, tmp_path))
    services = list(app.boot_strategy.server())
    web = list(app.boot_strategy.web_server())
    order = [*web, *app.before_kafka, app.producer, *app.after_producer, app.consumer]

    assert len(web) > 0
    assert order == [service for service in services if service in order]


async def test_memory_is_given_back_again_and_again(running, monkeypatch):
    """While a worker runs: holes come by themselves, and Kafka may stop answering at any time."""
    given, often = [], asyncio.Event()

    def give_back():
        given.append("all")
        if len(given) == 3:
            often.set()

    monkeypatch.setattr(process, "give_back", give_back)
    monkeypatch.setattr(running, "sleep", lambda _: asyncio.sleep(0))
    timer = asyncio.create_task(running._give_back_memory(running))
    await asyncio.wait_for(often.wait(), 5)
    timer.cancel()


async def test_the_group_is_joined_without_a_sleep(tmp_path):
    """Faust waits a second for tables; there are none, and nothing of ours does."""
    tables = wiring.wire(load(ENVIRONMENT, tmp_path)).tables
    done = []

    async def step(name):
        done.append(name)

    tables._update_channels = lambda: step("channels")
    tables._recovery = SimpleNamespace(start=lambda: step("recovery"))
    tables.sleep = lambda secs: step(f"slept {secs} s")
    await tables.on_start()

    assert ["channels", "recovery"] == done
    assert "debug" == tables.mundane_level
