"""The demo's parts that need no process: what is compared, shown and handed down."""

import asyncio
import os
import signal
import socket
import time
from collections import Counter

import pytest
from rich.console import Console

from connector.cli.demo import command, plan, surroundings
from connector.cli.demo.children import Children
from connector.cli.demo.proof import Proof, compare
from connector.cli.demo.screen import Figures, Screen, sentence, summary
from tests.brokers import free_port

CLEAN = {"id": "c1", "closed_at": 9.0, "clean": True}
RESET = {"id": "c2", "closed_at": 9.0, "clean": False}
OPEN = {"id": "c3", "closed_at": None, "clean": False}


def written(post: str, connection: str = "c1") -> dict[str, object]:
    return {"post_id": post, "connection": connection, "outcome": "written"}


def missed(post: str) -> dict[str, object]:
    return {"post_id": post, "connection": None, "outcome": "missed"}


def proof(**counts: int) -> Proof:
    return Proof(
        **{**dict.fromkeys(("written", "found", "doubled", "lost", "cut_off", "missed", "foreign"), 0), **counts}
    )


@pytest.mark.parametrize(
    ("emissions", "keys", "expected"),
    [
        ([], {}, proof()),
        ([written("1"), written("2")], {"1": 1, "2": 1}, proof(written=2, found=2)),
        # Twice is twice, however often.
        ([written("1")], {"1": 3}, proof(written=1, found=1, doubled=1)),
        # On a connection that ended well, or still stands, what is not there is lost.
        ([written("1"), written("2", "c3")], {}, proof(written=2, lost=2)),
        # A reset takes what was on the way; it was never read.
        ([written("1", "c2"), written("2", "c2")], {"1": 1}, proof(written=2, found=1, cut_off=1)),
        # X repeats a post to a second connection.
        ([written("1"), written("1", "c2")], {"1": 1}, proof(written=1, found=1)),
        ([written("1"), missed("2")], {"1": 1}, proof(written=1, found=1, missed=1)),
        # What nobody heard a repair may find.
        ([written("1"), missed("2")], {"1": 1, "2": 1}, proof(written=1, found=2, repaired=1)),
        ([written("1")], {"1": 1, "7": 1}, proof(written=1, found=2, foreign=1)),
    ],
)
def test_compares_the_simulators_log_with_the_topic(emissions, keys, expected) -> None:
    """Each post is found, doubled, lost, cut off or missed."""
    assert compare(emissions, [CLEAN, RESET, OPEN], Counter(keys)) == expected


@pytest.mark.parametrize(
    ("counts", "holds"),
    [
        ({}, True),
        ({"missed": 3, "cut_off": 1}, True),
        ({"lost": 1}, False),
        ({"doubled": 1}, False),
        ({"foreign": 1}, False),
    ],
)
def test_the_proof_fails_for_what_the_worker_did(counts, holds) -> None:
    """What was never read is no fault of the worker's."""
    assert proof(**counts).holds is holds


def test_says_what_was_counted() -> None:
    """Only what there is is said."""
    assert proof(written=5, found=5).sentences() == [
        "5 posts written by the simulator, 5 in the topic, 0 twice, 0 lost."
    ]
    assert len(proof(cut_off=1, missed=1, foreign=1, repaired=1).sentences()) == 5


METRICS = """\
# TYPE connector_posts_delivered_total counter
connector_posts_delivered_total 12.0
# TYPE connector_reconnects_total counter
connector_reconnects_total{error="ConnectionLost"} 2.0
connector_reconnects_total{error="Disconnected"} 1.0
# TYPE connector_post_age_seconds histogram
connector_post_age_seconds_bucket{le="+Inf"} 12.0
connector_post_age_seconds_count 12.0
connector_post_age_seconds_sum 0.6
"""


def test_reads_the_workers_metrics() -> None:
    """Reconnects count whatever their error."""
    assert Figures.of(METRICS, 3.0) == Figures(at=3.0, delivered=12, reconnects=3, age_sum_secs=0.6, age_count=12)


def test_the_lag_is_that_of_the_latest_posts() -> None:
    """Rate and lag are those between two looks; without posts the lag is the silence."""
    before = Figures(at=0, delivered=0, reconnects=0, age_sum_secs=0, age_count=0)
    now = Figures.of(METRICS, 2.0)

    assert summary(before, now, 9.0) == "6.0 posts/s   delivered 12   reconnects 3   lag 50 ms"
    assert summary(now, now, 9.0).endswith("lag 9.0 s")


def test_a_worker_that_is_started_again_goes_on_counting() -> None:
    """Its own counts begin at nothing; the rate is never below nothing."""
    last = Figures.of(METRICS, 2.0)
    new = Figures(at=4.0, delivered=2, reconnects=0, age_sum_secs=0.1, age_count=2).after(last)

    assert last.after(None) == last
    assert summary(last, new, 9.0) == "1.0 posts/s   delivered 14   reconnects 3   lag 50 ms"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"event": "stream.connected", "level": "info"}, "Connected to the stream."),
        ({"event": "stream.disconnected", "level": "warning", "reason": "reset"}, "Disconnected: reset"),
        ({"event": "task.started", "level": "info"}, None),
        ({"event": "status.not_published", "level": "warning", "reason": "r"}, "status.not_published reason=r"),
        ({"event": "x", "level": "warning", "logger": "aiokafka.cluster"}, None),
        ({"event": "x", "level": "error", "logger": "aiokafka.cluster"}, "x logger=aiokafka.cluster"),
        ({}, None),
    ],
)
def test_says_in_words_what_the_log_says(event, expected) -> None:
    """Known events have sentences, others show from WARNING on, libraries from ERROR on."""
    assert sentence(event) == expected


def test_shows_no_more_posts_than_can_be_read(capsys) -> None:
    """What is not shown is counted."""
    screen = Screen(Console(width=40))
    screen._second = 10**9  # all in one second
    for number in range(30):
        screen.post(f"post {number}")
        screen._second = int(time.monotonic())

    assert capsys.readouterr().out.count("post ") == 2
    assert screen._held == 28


def test_a_line_in_a_file_is_not_folded(capsys) -> None:
    """Whoever reads the demo's output from a file gets whole lines."""
    Screen(Console(width=40)).post("x" * 100)

    assert capsys.readouterr().out == "x" * 100 + "\n"


def test_settings_of_the_user_stay_outside() -> None:
    """No CONNECTOR_* reaches the children, but the login to a broker of the user's own."""
    environ = {"CONNECTOR_TOPIC": "mine", "CONNECTOR_KAFKA_SASL_USERNAME": "me", "PATH": "/bin", "PYTHONPATH": "/lib"}

    embedded = surroundings.surroundings(environ, keep_kafka=False)
    own = surroundings.surroundings(environ, keep_kafka=True)

    assert "CONNECTOR_TOPIC" not in own
    assert own["CONNECTOR_KAFKA_SASL_USERNAME"] == "me"
    assert not [name for name in embedded if name.startswith("CONNECTOR_")]
    assert embedded["PATH"] == "/bin"
    assert embedded["PYTHONPATH"].endswith("/lib")


def test_without_an_embedded_broker_it_says_what_to_do(monkeypatch) -> None:
    """On other platforms the demo needs a broker, and says how to give it one."""

    def none(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(surroundings.importlib, "import_module", none)

    with pytest.raises(surroundings.DemoFailed, match=r"make demo KAFKA=real.*make demo BROKER=kafka://host:9092"):
        surroundings.broker_command(1)


@pytest.mark.parametrize(
    ("options", "wheel", "kind"),
    [
        ({}, True, "embedded"),
        ({}, False, "real"),  # where the embedded broker has no wheel
        ({"kafka": "real"}, True, "real"),
        ({"kafka": "embedded"}, False, "embedded"),  # which says that there is none
        ({"broker": "kafka://host:9092"}, True, "given"),
    ],
)
def test_which_kafka(monkeypatch, options, wheel, kind) -> None:
    """What was asked for, else what the platform has."""
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda _: object() if wheel else None)
    given = {"broker": None, "rate": 5.0, "duration": None, "faults": True, "keep": False, **options}

    assert plan.Plan(**given).kind == kind


def test_takes_another_port_where_one_is_taken() -> None:
    """A port in use is no reason not to start; the other one is not of those that the kernel gives away."""
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        found = surroundings.free_port(port)

        assert found > port
        assert 0 == (found - port) % 100
    assert surroundings.free_port(port) == port


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rat", "5"], "No such option: --rat"),
        (["--rate", "x"], "Invalid value for '--rate': 'x' is not a valid float range; ARGS=--help lists the options"),
        (["--broker", "kafka://a:b:c"], "CONNECTOR_BROKER_URL must be a list of brokers such as kafka://one:9092"),
        (["--broker", "localhost:9092", "--kafka", "real"], "--broker and --kafka contradict each other"),
        (
            ["--kafka", "toy"],
            "Invalid value for '--kafka': 'toy' is not one of 'embedded', 'real'; ARGS=--help lists the options",
        ),
        # it may hold a password, and is not shown
        (
            ["--kafka", "real", "--repository", "http://a:b@birds.example/maven2"],
            "--repository must be a URL that begins",
        ),
        (
            ["--kafka", "real", "--repository", "https://[birds"],
            "--repository must be a URL that begins with https://;",
        ),
        (["--kafka", "real", "--repository", "https://birds.example/maven2"], ""),
        (["--kafka", "real", "--repository", "http://127.0.0.1:8081/maven2"], ""),
        (["--broker", "", "--kafka", "real"], ""),
        (["--help"], ""),
        (["--broker", "", "--rate", "5", "--no-faults"], ""),
        (["--broker", "localhost:9092"], ""),
    ],
)
def test_make_says_what_is_wrong(arguments, said, tmp_path, capsys):
    """One sentence for its last line; nothing for what is right, and nothing is printed."""
    found = command.wrong(arguments, {}, tmp_path)

    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert "" == capsys.readouterr().out
    assert not found.endswith(".")
    assert "birds" not in found


def test_no_folder_for_temporary_files(monkeypatch, capsys):
    """In a container whose root is read-only: a sentence, not a stack."""

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(command.tempfile, "gettempdir", none)

    assert 1 == command.run({"broker": None, "rate": 5.0, "duration": None, "faults": True, "keep": False})
    assert "--tmpfs /tmp" in capsys.readouterr().err


def test_the_demo_goes_on_under_nohup(monkeypatch):
    """Who starts it with nohup wants it to outlive the terminal."""
    kept = []

    class Ends(Exception):
        pass

    class FakeDemo:
        def __init__(self, *_):
            pass

        async def run(self, _):
            kept.append(signal.getsignal(signal.SIGHUP))
            raise Ends

    monkeypatch.setattr(command, "Demo", FakeDemo)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(Ends):
            command.run({"broker": None, "rate": 5.0, "duration": None, "faults": True, "keep": False})
    finally:
        signal.signal(signal.SIGHUP, before)

    assert [signal.SIG_IGN] == kept


async def test_what_is_killed_does_not_run(tmp_path):
    """From that moment on, and not only once its end is known: who ends the demo then has it started again."""
    children = Children(tmp_path)
    child = await children.start("sleeper", ["sleep", "600"], os.environ)
    before = child.running
    striking = asyncio.create_task(children.strike(child))
    await asyncio.sleep(0)
    at_once = child.running
    await striking
    await children.close()

    assert (True, False) == (before, at_once)
    assert not children.failed.done()
