"""What X does not count, measured on a connector that runs; and whether the simulator's next day costs what is said."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from connector.cli.exits import EX_FAILED, EX_OK, EX_USAGE
from connector.cli.rules import command, estimate
from connector.cli.rules.command import group_of
from connector.cli.rules.measured import Heard, Measurement, Unmeasured, heard_of
from connector.cli.rules.wanted import Configured
from connector.config.load import load
from connector.records.snowflake import to_iso
from connector.simulator import ManualClock, SimulatorSettings, SimulatorThread
from connector.sources.rest.rules import Rule
from tests.days import DAY, Days

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
STEP = 300
POSTS_A_DAY = 6000


def document(received, *, begin=MIDNIGHT, gaps=(), closed=()):
    """The answer of /history, with points of five minutes."""
    state = {
        "gaps": [{"to": to_iso(int(at * 1000))} for at in gaps],
        "closed": [{"to": to_iso(int(at * 1000))} for at in closed],
    }
    series = {"t": [begin + STEP * number for number in range(len(received))], "received": received}
    return {"state": {"connectors": {"posts": state}}, "range": {"series": series}}


# -- the time that can be compared


@pytest.mark.parametrize(
    ("found", "since", "begin", "posts"),
    [
        (document([100, 100, 100, 7]), 0, 0, 300),  # the last point still grows
        (document([100, None, 100, 100, 7]), 0, 2, 200),  # nothing is known of the second
        (document([100, 100, 100, 100, 7], gaps=[MIDNIGHT + 1]), 0, 1, 300),
        (document([100, 100, 100, 100, 7], closed=[MIDNIGHT + STEP]), 0, 1, 300),
        (document([100, 100, 100, 100, 7]), MIDNIGHT + 1.5 * STEP, 2, 200),  # the rules are younger
    ],
)
def test_the_latest_time_without_a_gap_is_compared(found, since, begin, posts):
    """With the rules of now, and as far as the history knows."""
    end = len(found["range"]["series"]["t"]) - 1
    expected = Heard(int(MIDNIGHT + begin * STEP) * 1000, int(MIDNIGHT + end * STEP) * 1000, posts)

    assert expected == heard_of(found, "posts", since_ms=int(since * 1000), now_ms=int((MIDNIGHT + DAY) * 1000))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (document([]), "begins only now"),
        (document([500]), "Only 0 posts"),
        (document([100, 99, 7]), "Only 199 posts"),
        (document([100, 500, None, 100, 7]), "Only 100 posts"),
    ],
)
def test_too_little_is_not_compared(found, words):
    """A share of a few posts says nothing."""
    with pytest.raises(Unmeasured, match=words):
        heard_of(found, "posts", since_ms=0, now_ms=int((MIDNIGHT + DAY) * 1000))


def test_points_that_x_may_not_have_counted_are_left_out():
    """They are younger than a minute."""
    found = heard_of(document([200, 100, 100, 7]), "posts", since_ms=0, now_ms=int((MIDNIGHT + 2 * STEP + 10) * 1000))

    assert 200 == found.posts


@pytest.mark.parametrize(
    "values",
    [(), ("#a bio:b",), ("#a", "from:someone"), ("#a -is:retweet -is:quote",), ("#" + "a" * 80, "#" + "b" * 80)],
)
def test_rules_that_one_query_does_not_compare(values):
    """None, not countable, of two kinds, with nothing missed, or too long."""
    held = [Rule(value=value, tag="posts/t", id="1") for value in values]

    with pytest.raises(Unmeasured):
        Measurement("posts", held, 100)


# -- the command


@contextmanager
def worker(answer):
    """A worker whose history is *answer*."""
    content = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path.startswith("/history?") and "connector=posts" in self.path
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def days():
    """The first moment of a day at X, and a connector whose rules are held there."""
    clock = ManualClock(time=MIDNIGHT - 60)
    rules = (("#murmuration", "posts/murmuration"), ("#kafka", "posts/kafka"))
    settings = SimulatorSettings(match_rules=False, hashtag_share=0.9, users=50, keepalive_s=1, rules=rules)
    with SimulatorThread(settings, clock=clock) as sim:
        clock.advance(60)
        yield Days(clock, sim)


@pytest.fixture
def run(days, tmp_path, monkeypatch):
    def run_one(url, *args, code=EX_OK):
        environ = {
            "CONNECTOR_TOPIC": "posts",
            "CONNECTOR_HASHTAGS": "murmuration,kafka",
            "CONNECTOR_X_API_URL": days.sim.url,
            "CONNECTOR_X_BEARER_TOKEN": days.sim.settings.token,
            "CONNECTOR_REST_URL": url,
        }
        configured = Configured(load(environ, tmp_path))
        done = CliRunner().invoke(group_of(lambda: configured), ["estimate", "--yes", "--over", "1d", *args])
        assert code == done.exit_code, done.output
        return done.output

    for module in (command, estimate):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=days.clock.now))
    return run_one


@pytest.mark.slow  # two days of posts at X
def test_the_next_day_costs_what_was_estimated_with_retweets_and_quotes(days, run):
    """Within 5 %, overlap included: as many more as the rules that run have brought, which is a quarter and more."""
    days.matched = days.pass_days(1, POSTS_A_DAY)
    received = [0] * (DAY // STEP + 1)
    for at in days.matched:
        received[int(at - MIDNIGHT) // STEP] += 1
    wanted = ("#python", "#starling has:links", "#meadow OR #python", "#faust")
    with worker(document(received)) as url:
        said = run(url, "--uncounted", "measured", *wanted)
        printed = run(url, "--uncounted", "measured", "--json", *wanted)
    found = json.loads(next(line for line in printed.splitlines() if line[:1] == "{"))
    days.sim.clear_rules()
    spent = days.next_day_costs(wanted, POSTS_A_DAY)

    assert "That was measured: from 2026-11-24T00:00Z to " in said
    assert found["uncounted_percent"] > 20
    assert len(days.matched) == pytest.approx(found["measured"]["posts"], rel=0.02)
    assert spent == pytest.approx(found["together"]["usd_per_day"][1], rel=0.05)


def test_what_cannot_be_measured_is_told_and_costs_nothing(days, run):
    """Too few posts, or no percentage."""
    days.clock.advance(DAY)
    before = days.sim.call(lambda: days.sim.simulator.meter.spent_usd)
    with worker(document([1, 2, 3])) as url:
        assert "Only 3 posts of posts" in run(url, "--uncounted", "measured", "#python", code=EX_FAILED)
        assert "--uncounted cannot be 'much'" in run(url, "--uncounted", "much", "#python", code=EX_USAGE)

    assert before == days.sim.call(lambda: days.sim.simulator.meter.spent_usd)
