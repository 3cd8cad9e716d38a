"""The audit: a worker on real Kafka, and X's numbers from the simulator, whose clock is moved instead of waited for."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import pytest

import connector
from connector.simulator import SimulatorSettings, SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import Workers, environment, wait_for

HERE = Path(connector.__file__).parent.parent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

BEHIND_SECS = 1200
"""So far X's clock is behind ours at first: whatever a test does, what it asks for is old enough to be counted."""

NO_QUOTES = "-is:quote"
"""A stream finds a quote by the quoted post, too, and search does not: with this in a rule both find the same."""

FRESH_SECS = 60
MINUTE_MS = 60_000


class Clock:
    """X's clock, which runs and can be set forward."""

    def __init__(self) -> None:
        self._ahead = -float(BEHIND_SECS)

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, secs: float) -> None:
        self._ahead += secs

    def next_minute(self) -> int:
        """Set it to the begin of the next minute; return that, in UNIX ms."""
        self.advance(60.2 - self.now() % 60)
        return int(self.now() // 60) * MINUTE_MS


class X:
    """A simulator and its clock; *minutes* are those in which it was told to post."""

    def __init__(self, stack: ExitStack, **settings: object) -> None:
        self.clock = Clock()
        self.simulator = stack.enter_context(SimulatorThread(SimulatorSettings(**settings), clock=self.clock))
        self.minutes: list[int] = []

    def post(self, count: int) -> int:
        """Post so many in a new minute, which is returned."""
        self.minutes.append(self.clock.next_minute())
        self.simulator.emit(count)
        return self.minutes[-1]

    @property
    def period(self) -> list[str]:
        """The options that ask for all these minutes."""
        self.clock.advance(FRESH_SECS)
        return [f"--from={topics.ms_iso(self.minutes[0])}", f"--to={topics.ms_iso(self.minutes[-1] + MINUTE_MS)}"]

    def numbers(self, *, of: str = "", without: frozenset[str] = frozenset()) -> dict[int, int]:
        """
        Return how many posts of each minute matched, those that are no retweets.

        Of all, those alone that matched the rule with the tag *of*, and whose ids are not in *without*.
        """

        def count() -> Counter[int]:
            inside = self.simulator.simulator
            found: Counter[int] = Counter()
            for post in inside.store.newest_first(0, 1 << 63):
                tags = {rule.tag for rule in inside.streams.matching(post)}
                if (of in tags if of else tags) and not post.is_retweet and str(post.id) not in without:
                    found[post.time_ms // MINUTE_MS * MINUTE_MS] += 1
            return found

        counted = self.simulator.call(count)
        return {minute: counted[minute] for minute in self.minutes}

    @property
    def missed(self) -> frozenset[str]:
        """The posts that matched while nobody was connected."""
        return frozenset(entry.post_id for entry in self.simulator.emissions if entry.outcome == "missed")


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> Iterator[X]:
    with ExitStack() as stack:
        made = X(stack)
        # The head of a stream tells the worker X's time, which here is not the real one.
        monkeypatch.setattr("connector.simulator.api.formatdate", lambda **how: formatdate(made.clock.now(), **how))
        yield made


def audit(settings: Mapping[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a cron job does: without a terminal."""
    return subprocess.run(  # noqa: S603  # our own arguments
        [sys.executable, "-m", "connector", "audit", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(HERE), **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def wait_all_delivered(x: X, broker: Broker, topic: str) -> None:
    """Wait until each post that the simulator wrote to a connection is in the topic."""
    written = set(x.simulator.emissions.complete_ids())
    wait_for(lambda: written <= set(topics.ids(topics.read(broker, topic))), "all posts are delivered")


def lose(x: X) -> int:
    """Have X hang up and refuse connections for some seconds, and post 30 in that time; return that minute."""
    x.simulator.fault("refuse_tcp", seconds=4)
    minute = x.post(30)
    assert x.missed
    return minute


def test_complete_and_not(x: X, broker: Broker, workers: Workers, fresh: str, tmp_path: Path) -> None:
    """
    What X counts is in the topic: exit code 0; what came while nobody was connected is not: 1, the minute and the gap.
    """
    settings = environment(broker, x.simulator.url, fresh, recovery="none")
    worker = workers.start(settings).wait_ready()
    x.clock.next_minute()  # the rule is new, and no whole minute is its own before
    for _ in range(3):
        x.post(100)
    wait_all_delivered(x, broker, fresh)
    complete = audit(settings, tmp_path, *x.period, "--yes", "--json", "--threshold=100")
    before = x.numbers()

    lost = lose(x)
    worker.wait_event("stream.connected", count=2)
    x.post(100)
    wait_all_delivered(x, broker, fresh)
    incomplete = audit(settings, tmp_path, *x.period, "--yes")
    assert 0 == worker.stop()

    assert (0, "") == (complete.returncode, _unexpected(complete))
    report = json.loads(complete.stdout)
    assert list(before.items()) == _found(report)
    assert 0 == report["missing"] < report["counted"] == report["found"] - report["more"]  # more: quotes of such posts
    assert (100.0, True, fresh) == (report["completeness"], report["complete"], report["read_from"])
    assert (1, 0.005) == (report["requests"], report["cost_usd"])

    assert (1, "") == (incomplete.returncode, _unexpected(incomplete))
    lines = incomplete.stdout.splitlines()
    (line,) = [line for line in lines if "missing:" in line]
    minute, counted, found, *_, remark = re.split(r" {2,}", line)
    missing = int(counted) - int(found)
    assert f"{topics.ms_iso(lost)[:16]}Z" == minute
    assert x.numbers(without=x.missed)[lost] == int(found)
    assert remark.startswith(f"{missing} missing: inside the gap ")
    assert "(open: connection_lost" in remark
    assert f"{missing} are missing, in {minute}." in lines
    assert any(line.startswith("INCOMPLETE: ") for line in lines)


def test_from_the_ledger(x: X, broker: Broker, workers: Workers, fresh: str, tmp_path: Path) -> None:
    """Where the rules fit into one query and take no retweets, the ids in the ledger are enough, and say the same."""
    rules = [
        {"value": f"#murmuration -is:retweet {NO_QUOTES}", "tag": "a"},
        {"value": f"(#starling OR #murmuration) -is:retweet {NO_QUOTES}", "tag": "b"},
    ]
    settings = environment(broker, x.simulator.url, fresh, hashtags="", rules=json.dumps(rules), recovery="none")
    worker = workers.start(settings).wait_ready()
    x.clock.next_minute()
    x.post(100)
    lost = lose(x)
    worker.wait_event("stream.connected", count=2)
    x.post(100)
    wait_all_delivered(x, broker, fresh)
    done = audit(settings, tmp_path, *x.period, "--yes", "--json")
    assert 0 == worker.stop()

    assert (1, "") == (done.returncode, _unexpected(done))
    report = json.loads(done.stdout)
    assert f"{fresh}-ledger" == report["read_from"]
    assert list(x.numbers().items()) == _counted(report)
    assert list(x.numbers(without=x.missed).items()) == _found(report)
    assert [lost] == [_ms(minute) for minute in report["minutes"] if minute["missing"]]
    assert [True] == [bool(minute["holes"]) for minute in report["minutes"] if minute["missing"]]


def test_rules_that_need_several_queries(x: X, broker: Broker, workers: Workers, fresh: str, tmp_path: Path) -> None:
    """Each query is compared with the posts that its own rules brought; a rule that search lacks is named, left out."""
    padding = " ".join(f"-padding{number}" for number in range(25))
    rules = [
        {"value": f"#murmuration {NO_QUOTES} {padding}", "tag": "long"},
        {"value": f"(#murmuration OR #starling) {NO_QUOTES} {padding}", "tag": "longer"},
        {"value": "#kafka sample:100", "tag": "stream only"},
    ]
    settings = environment(broker, x.simulator.url, fresh, hashtags="", rules=json.dumps(rules))
    worker = workers.start(settings).wait_ready()
    x.clock.next_minute()
    x.post(100)
    x.post(100)
    wait_all_delivered(x, broker, fresh)
    done = audit(settings, tmp_path, *x.period, "--yes", "--json", "--threshold=100")
    assert 0 == worker.stop()

    assert (0, "") == (done.returncode, _unexpected(done))
    report = json.loads(done.stdout)
    one, other, third = (x.numbers(of=f"posts/{rule['tag']}") for rule in rules)
    assert [(minute, one[minute] + other[minute]) for minute in x.minutes] == _found(report) == _counted(report)
    assert any(third.values())
    assert 2 == len(report["queries"]) == report["requests"]
    assert [("#kafka sample:100", True)] == [(left["value"], "sample" in left["reason"]) for left in report["left_out"]]


def test_nothing_is_spent_unasked(x: X, fresh: str, tmp_path: Path) -> None:
    """Without a terminal and without --yes: what it would cost, exit code 2, and no request that costs."""
    settings = environment(_Nowhere(), x.simulator.url, fresh)
    x.simulator.add_rule("#murmuration")
    x.clock.next_minute()
    x.post(1)
    spent = x.simulator.simulator.meter.balance_usd
    done = audit(settings, tmp_path, *x.period)

    assert (2, "") == (done.returncode, done.stdout)
    assert "1 request of counts, $0.005" in done.stderr
    assert "--yes" in done.stderr
    assert spent == x.simulator.simulator.meter.balance_usd


def test_what_cannot_be_audited(x: X, broker: Broker, fresh: str, tmp_path: Path) -> None:
    """X refuses, there is no topic, or no Kafka: one sentence each and an exit code that is none of an audit's."""
    settings = environment(broker, x.simulator.url, fresh)
    x.simulator.add_rule("#murmuration")
    x.clock.next_minute()
    x.post(1)
    arguments = [*x.period, "--yes"]
    spent = x.simulator.simulator.meter.balance_usd
    no_topic = audit(settings, tmp_path, *arguments)
    no_kafka = audit(environment(_Nowhere(), x.simulator.url, fresh), tmp_path, *arguments)
    no_token = audit({**settings, "CONNECTOR_X_BEARER_TOKEN": "wrong"}, tmp_path, *arguments)

    for done, said in (
        (no_topic, f"no topic {fresh}"),
        (no_kafka, "Nothing listens at 127.0.0.1:9"),
        (no_token, "token"),
    ):
        assert (69, "") == (done.returncode, done.stdout)
        assert done.stderr.splitlines()[-1].startswith("No audit: ")
        assert said in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert spent == x.simulator.simulator.meter.balance_usd  # Kafka is asked first


class _Nowhere:
    address = "127.0.0.1:9"
    url = f"kafka://{address}"


def _ms(minute: Mapping[str, str]) -> int:
    return topics.iso_ms(minute["minute"])


def _counted(report: Mapping) -> list[tuple[int, int]]:
    return [(_ms(minute), minute["counted"]) for minute in report["minutes"]]


def _found(report: Mapping) -> list[tuple[int, int]]:
    return [(_ms(minute), minute["found"]) for minute in report["minutes"]]


def _unexpected(done: subprocess.CompletedProcess[str]) -> str:
    """Return what standard error holds besides the cost, and what is left out: warnings, stacks, a banner."""
    lines = done.stderr.splitlines()
    return "\n".join(line for line in lines if "rules at X" not in line and not line.startswith("Left out: "))
