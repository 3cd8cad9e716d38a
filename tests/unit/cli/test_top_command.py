"""The command `top` against a server that answers `/history` as a worker does."""

import copy
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from rich.console import Console

from connector.cli.exits import EX_FAILED, EX_OK, EX_UNREACHABLE, EX_USAGE
from connector.cli.top import command as top
from connector.cli.top.shown import page
from connector.config.worker import WorkerSettings
from connector.records.snowflake import from_iso
from tests.brokers import free_port

NOW = "2026-11-29T15:00:12.300Z"
DOCUMENT = {
    "id": "1",
    "at": NOW,
    "state": {
        "worker": {"id": "127.0.0.1:8083", "process": "6f0c", "version": "0.9.0", "group": "connector"},
        "verdict": {
            "level": "warning",
            "text": "posts has no connection to X: ServiceUnavailable: HTTP 503.",
            "since": "2026-11-29T14:58:03.000Z",
            "next": "It connects again by itself.",
            "cure": None,
            "connector": "posts",
            "problems": 2,
            "others": [{"level": "error", "text": "birds has failed.", "since": None}],
        },
        "connectors": {
            "posts": {
                "state": "RUNNING",
                "connected": False,
                "covered_to": "2026-11-29T14:58:12.300Z",
                "missing_secs": 120.0,
                "gaps_count": {"open": 1, "repairing": 0, "lost": 1},
                "posts_per_sec": 4.1,
                "spend": {"today_usd": 60.17, "month_usd": 900.12, "month_share": 0.45, "day_share": None},
            },
            "birds": {"state": "FAILED", "connected": None, "covered_to": None, "gaps_count": {}, "spend": None},
        },
        "workers": {
            "6f0c": {
                "worker_id": "127.0.0.1:8083",
                "state": "here",
                "heard": "2026-11-29T15:00:00.300Z",
                "tasks": ["posts-0"],
                "cpu_share": 0.012,
                "memory_bytes": 88_000_000,
            },
            "77aa": {"worker_id": "10.0.0.2:8083", "state": "gone", "heard": None, "tasks": [], "cpu_share": None},
        },
    },
    "range": {
        "name": "1h",
        "connectors": {"posts": {"received": 15_000}},
        "rules": {
            "posts/news": {
                "posts": 9000, "share": 0.6, "overlap_share": 0.1, "usd": 45.0, "usd_alone": 40.5, "in_force": True
            },
            "posts/old": {"posts": 0, "share": 0, "overlap_share": None, "usd": 0, "usd_alone": 0, "in_force": False},
        },
        "rules_left_out": 3,
    },
    "events": [
        {
            "at": "2026-11-29T14:58:03.120Z",
            "level": "warning",
            "connector": "posts",
            "by": None,
            "text": "The connection to X ended: ServiceUnavailable: HTTP 503.",
        },
        {"at": "2026-11-29T14:10:00.120Z", "level": "ok", "connector": "posts", "by": "ada", "text": "Resumed."},
    ],
}  # fmt: skip
EMPTY = {
    "id": "0",
    "at": NOW,
    "state": {
        "worker": {"id": "127.0.0.1:8083", "group": "connector"},
        "verdict": {"level": "notice", "text": "There is no connector.", "since": None, "others": []},
        "connectors": {},
        "workers": {},
    },
    "range": {"name": "15m", "connectors": {}, "rules": {}, "rules_left_out": 0},
    "events": [],
}


def shown(document, lost=None, width=120):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(page(document, from_iso(NOW), lost))
    return console.export_text()


def words(text, line):
    return " ".join(next(each for each in text.splitlines() if each.startswith(line)).split())


def test_the_page_has_what_a_person_asks():
    """Verdict first; then what is covered, what it costs, which rule brings what, who works, and what happened."""
    text = shown(DOCUMENT)
    lines = text.splitlines()

    assert "● posts has no connection to X: ServiceUnavailable: HTTP 503.  (since 2.2 min)" == lines[1].rstrip()
    assert "  It connects again by itself." == lines[2].rstrip()
    assert "• birds has failed." == lines[3].rstrip()
    assert "posts RUNNING, no connection 2.0 min ago 2 gaps, 2.0 min 4.1 15,000 $60.17 $900.12 45%" == words(
        text, "posts "
    )
    assert "birds FAILED - nothing - - - - -" == words(text, "birds ")
    assert "posts/news 9,000 60% 10% $45.00 $40.50" == words(text, "posts/news")
    assert "and 3 more" == words(text, "and ")
    assert "127.0.0.1:8083 here posts-0 1.2% 88 MB 12 s ago" == words(text, "127.0.0.1:8083")
    assert "10.0.0.2:8083 gone - - - -" == words(text, "10.0.0.2:8083")
    assert "14:10:00 posts Resumed. by ada" == words(text, "14:10:00")


def test_a_group_without_connectors_has_a_page():
    """It is how every group begins."""
    assert "There is no connector." in shown(EMPTY)


def test_rows_stay_while_no_worker_answers():
    """With their age, and why."""
    document = {**DOCUMENT, "at": "2026-11-29T14:59:12.300Z"}

    assert "1.0 min old: No worker answers" in shown(document, lost="No worker answers")
    assert "posts/news" in shown(document, lost="No worker answers")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_of_others_steers_the_terminal(width):
    """Names, rules, reasons and events; at any width."""
    hostile = json.loads(
        json.dumps(DOCUMENT).replace("posts", "\\u001b[2J\\u202e[red]").replace("HTTP 503", "\\u009b2J")
    )
    text = shown(hostile, lost="\x1b[2J", width=width)

    assert not any(steering in text for steering in ("\x1b", "\x9b", "\u202e"))
    assert "[red]" in "".join(text.split())


# -- the command


@contextmanager
def answering(*answers):
    """Serve these answers (status, document) to one request after the other, the last one for ever."""
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(urlsplit(self.path))
            status, document = left.pop(0) if len(left) > 1 else left[0]
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def run(url, *args, code=EX_OK):
    done = CliRunner().invoke(top.command_of(WorkerSettings(rest_url=url)), args)
    assert code == done.exit_code, done.output
    return done.output


def test_without_a_terminal_it_is_shown_once():
    """For the range and the connector that are asked for; without colours."""
    with answering((200, DOCUMENT)) as (url, asked):
        text = run(url, "--range", "6h", "--connector", "posts")

    assert "posts has no connection" in text
    assert "\x1b" not in text
    assert [("/history", {"range": ["6h"], "connector": ["posts"]})] == [
        (each.path, parse_qs(each.query)) for each in asked
    ]


def test_json_is_what_the_worker_answers():
    """Once."""
    with answering((200, DOCUMENT)) as (url, asked):
        assert DOCUMENT == json.loads(run(url, "--json"))
    assert 1 == len(asked)


def test_on_a_terminal_it_goes_on_and_bridges_a_lost_worker(monkeypatch):
    """Until Ctrl-C, which is its end and no error."""
    later = copy.deepcopy(DOCUMENT)
    later["state"]["verdict"]["text"] = "All is well."
    pages, waits = [], []

    class Screen:
        def __init__(self, first, **_):
            pages.append(first)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, renderable, *, refresh):
            pages.append(renderable)

    def sleep(secs):
        waits.append(secs)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(top, "Live", Screen)
    monkeypatch.setattr(top, "_is_terminal", lambda: True)
    monkeypatch.setattr(top.time, "sleep", sleep)
    with answering((200, DOCUMENT), (503, {"message": "It is starting."}), (200, later)) as (url, _):
        run(url, "--every", "5")
    texts = []
    for each in pages:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(each)
        texts.append(console.export_text())

    assert [5, 5, 5] == waits
    assert "old: It is starting." in texts[1]
    assert "posts has no connection" in texts[1]
    assert "All is well." in texts[2]
    assert "old:" not in texts[2]


def test_what_goes_wrong_is_told():
    """Nobody there, a refusal, wrong arguments."""
    assert "No worker answers" in run(f"http://127.0.0.1:{free_port()}", code=EX_UNREACHABLE)
    with answering((404, {"message": "Connector none not found"})) as (url, _):
        assert "Connector none not found" in run(url, "--connector", "none", code=EX_FAILED)
        assert "15m" in run(url, "--range", "2h", code=EX_USAGE)


def test_a_worker_of_an_earlier_version_is_told():
    """It has no such route, and its answer is no sentence."""
    with answering((404, {})) as (url, _):
        assert "keeps no history" in run(url, code=EX_FAILED)
