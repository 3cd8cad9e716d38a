"""The X end against the simulator: what X does, in one piece."""

import threading
import time

import msgspec
import pytest

from connector.errors import (
    ConnectionLost,
    ConnectionTaken,
    ConnectorError,
    Disconnected,
    InvalidRequest,
    NotAuthorized,
    OutOfCredit,
    RateLimited,
    RulesMissing,
    ServiceUnavailable,
    TokenRejected,
)
from connector.simulator import SimulatorSettings, SimulatorThread
from connector.sources.handles import Released
from connector.sources.rest.account import Account
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken, KeyPair
from connector.sources.rest.rules import Rule, held_rules, try_out
from connector.sources.source import StreamSource
from connector.sources.stream.connection import Limits
from connector.sources.stream.streams import STREAMS
from connector.telemetry.events.sources import FeatureUnavailable, RulesChanged, TokenFetched

TOKEN = "simulated-token"  # noqa: S105  # opens nothing but a simulator
WANTED = {"#python": "python", "#kafka lang:en": "kafka"}


def eventually(condition, secs=20):
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Reader:
    """A source in a reader thread."""

    def __init__(self, source):
        self.source = source
        self.arrivals = []
        self.connected = threading.Event()
        self.end = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.source.read(self.arrivals.append, lambda _: self.connected.set())
        except ConnectorError as error:
            self.end = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.source.stop()
        self.join()

    def join(self):
        self.thread.join(5)
        assert not self.thread.is_alive()

    @property
    def lines(self):
        return [line for arrival in list(self.arrivals) for line in arrival.lines]

    @property
    def keep_alives(self):
        return sum(not arrival.lines for arrival in self.arrivals)

    @property
    def ids(self):
        return [msgspec.json.decode(line)["data"]["id"] for line in self.lines]


@pytest.fixture
def events():
    return []


@pytest.fixture
def make_source(events):
    def make(simulator, *, stream="filtered", partition=None, credentials=None, wanted=WANTED, silence_secs=5, **more):
        return StreamSource(
            connector="posts",
            stream=STREAMS[stream],
            partition={"stream": stream} | ({"partition": partition} if partition else {}),
            url=simulator.url,
            credentials=credentials or BearerToken(simulator.settings.token),
            parameters={"tweet.fields": "author_id,created_at", **more},
            wanted={"posts": wanted},
            emit=events.append,
            limits=Limits(silence_secs=silence_secs),
        )

    return make


def ended(simulator, source, *, fault=None, **arguments):
    """Prepare, read until the end that *fault* brings; return the reader."""
    source.prepare()
    with Reader(source) as reader:
        if fault:
            assert reader.connected.wait(5)
            simulator.emit(3)
            eventually(lambda: len(reader.lines) == 3)
            simulator.fault(fault, **arguments)
        reader.join()
    return reader


@pytest.mark.parametrize("framing", ["message", "merged", "split"])
@pytest.mark.parametrize("gzip", [False, True])
def test_every_post_arrives_once_whatever_the_framing(make_source, framing, gzip):
    """One message per chunk, several, or cut anywhere; plain and compressed."""
    settings = SimulatorSettings(framing=framing, stream_gzip=gzip, hostile=True, keepalive_s=0.05)
    with SimulatorThread(settings) as simulator:
        source = make_source(simulator)
        source.prepare()
        with Reader(source) as reader:
            assert reader.connected.wait(5)
            emitted = simulator.emit(300)
            eventually(lambda: len(reader.lines) >= 300)
            eventually(lambda: reader.keep_alives > 0)
            time.sleep(0.1)
            assert emitted == reader.ids
        assert None is reader.end


@pytest.mark.parametrize(
    ("fault", "arguments", "kind"),
    [
        ("clean_close", {}, ConnectionLost),
        ("no_last_chunk", {}, ConnectionLost),
        ("rst", {}, ConnectionLost),
        ("broken_chunk", {}, ConnectionLost),
        ("stall", {"seconds": 5}, ConnectionLost),
        ("slow_reader", {}, ConnectionLost),
        ("disconnect", {"spelling": "upstream"}, Disconnected),
        ("disconnect", {"spelling": "operational"}, Disconnected),
    ],
)
def test_every_end_has_its_name(make_source, fault, arguments, kind):
    """And comes after the posts; nobody but the task connects again."""
    with SimulatorThread(SimulatorSettings(keepalive_s=0.1)) as simulator:
        reader = ended(simulator, make_source(simulator, silence_secs=0.4), fault=fault, **arguments)

        assert kind is type(reader.end)
        assert 3 == len(reader.lines)
        assert 1 == len(simulator.connections)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("E400", InvalidRequest),
        ("E401", TokenRejected),
        ("E402", OutOfCredit),
        ("E403a", OutOfCredit),
        ("E403b", NotAuthorized),
        ("E403c", NotAuthorized),
        ("E409", None),  # once: rules are put back, and the second connect succeeds
        ("E429a", ConnectionTaken),
        ("E429b", RateLimited),
        ("E429c", OutOfCredit),
        ("E429d", RateLimited),
        ("E500", ServiceUnavailable),
        ("E502", ServiceUnavailable),
        ("E504", ServiceUnavailable),
        ("E503a", ServiceUnavailable),
        ("E503b", ServiceUnavailable),
    ],
)
def test_every_refusal_has_its_name(make_source, fault, kind):
    """The problems of the reference, at the door of the stream."""
    with SimulatorThread() as simulator:
        source = make_source(simulator)
        source.prepare()
        simulator.fault(fault)
        with Reader(source) as reader:
            if kind is None:
                assert reader.connected.wait(5)
            else:
                reader.join()
        assert kind is (None if reader.end is None else type(reader.end))


def test_a_second_connection_is_refused(make_source):
    """As by X; the ghost of our own can be released by its id."""
    with SimulatorThread() as simulator:
        first, second = make_source(simulator), make_source(simulator)
        first.prepare()
        with Reader(first) as reader:
            assert reader.connected.wait(5)
            ours = first.find_connection()
            assert ours is not None
            assert ConnectionTaken is type(ended(simulator, second).end)

            nobodys = "00000000-0000-4000-8000-00000000dead"
            assert Released(ended={ours}, absent={nobodys}) == make_source(simulator).release([ours, nobodys])
            reader.join()
            assert isinstance(reader.end, ConnectionLost)
            assert Released(absent={ours}) == make_source(simulator).release([ours])


def test_a_stop_frees_the_slot(make_source):
    """The next connect is accepted at once."""
    with SimulatorThread() as simulator:
        for _ in range(3):
            source = make_source(simulator)
            source.prepare()
            with Reader(source) as reader:
                assert reader.connected.wait(5)
        eventually(lambda: all(connection.closed_at for connection in simulator.connections))
        assert 3 == len(simulator.connections)


def test_rules_are_ours_only(make_source, events):
    """Those of others stay; a value of theirs is reported, and not added."""
    rules = (("#python", "somebody"), ("old", "posts/old"), ("cat", None))
    with SimulatorThread(SimulatorSettings(rules=rules)) as simulator:
        make_source(simulator).prepare()
        with Api(simulator.url, BearerToken(simulator.settings.token)) as api:
            held = {(rule.value, rule.tag) for rule in held_rules(api)}

    assert {("#python", "somebody"), ("cat", ""), ("#kafka lang:en", "posts/kafka")} == held
    assert [RulesChanged(connector="posts", added=1, deleted=1, held_elsewhere=("#python",))] == events


def test_a_tag_is_changed(make_source):
    """By deleting the rule and adding it again."""
    with SimulatorThread(SimulatorSettings(rules=(("#python", "posts/snake"),))) as simulator:
        make_source(simulator, wanted={"#python": "python"}).prepare()
        with Api(simulator.url, BearerToken(simulator.settings.token)) as api:
            assert [("#python", "posts/python")] == [(rule.value, rule.tag) for rule in held_rules(api)]


def test_a_rule_that_x_refuses_is_named(make_source):
    """With X's words."""
    with SimulatorThread() as simulator, pytest.raises(InvalidRequest, match="-cat"):
        make_source(simulator, wanted={"-cat": "cat", "#good": "good"}).prepare()


def test_rules_that_vanish_are_put_back(make_source):
    """409, rules, connect."""
    with SimulatorThread() as simulator:
        source = make_source(simulator)
        source.prepare()
        simulator.clear_rules()
        with Reader(source) as reader:
            assert reader.connected.wait(5)
            simulator.emit(1)
            eventually(lambda: len(reader.lines) == 1)


def test_no_rules_at_all_is_final(make_source):
    """Nothing is wanted, so nothing can be put back."""
    with SimulatorThread() as simulator:
        assert RulesMissing is type(ended(simulator, make_source(simulator, wanted={})).end)


def test_a_key_pair_is_exchanged(make_source, events):
    """And a wrong one is refused with the settings' names."""
    with SimulatorThread() as simulator:
        pair = KeyPair(simulator.settings.consumer_key, simulator.settings.consumer_secret)
        source = make_source(simulator, credentials=pair)
        source.prepare()
        with Reader(source) as reader:
            assert reader.connected.wait(5)
        with pytest.raises(ConnectorError, match=r"x\.consumer\.key"):
            make_source(simulator, credentials=KeyPair("k", "s")).prepare()

    assert 1 == events.count(TokenFetched(connector="posts"))


def test_an_account_without_the_endpoints_still_reads(make_source, events):
    """Connections and rule counts are conveniences."""
    settings = SimulatorSettings(absent=frozenset({"connections", "rules_counts"}), rules=(("old", "posts/old"),))
    with SimulatorThread(settings) as simulator:
        source = make_source(simulator)
        source.prepare()
        with Reader(source) as reader:
            assert reader.connected.wait(5)
            assert None is source.find_connection()
            assert Released() == source.release(["x"])

    assert {"connections", "rules/counts"} == {e.feature for e in events if isinstance(e, FeatureUnavailable)}


def test_counts_and_usage_are_read():
    """In the spelling of today."""
    with (
        SimulatorThread(SimulatorSettings(rules=(("cat", None),))) as simulator,
        Api(simulator.url, BearerToken(simulator.settings.token)) as api,
    ):
        counts, usage = Account(api).rule_counts(), Account(api).usage()

    assert (1, 1000, 999) == (counts.app_rules, counts.app_cap, counts.room)
    assert (0, 3_000_000) == (usage.posts, usage.cap)


def test_parts_of_a_stream_are_read_beside_each_other(make_source):
    """Two connections that each bring their part; together everything."""
    with SimulatorThread(SimulatorSettings(plan="enterprise")) as simulator:
        sources = [make_source(simulator, stream="sample10", partition=part) for part in ("1", "2")]
        for source in sources:
            source.prepare()
        with Reader(sources[0]) as one, Reader(sources[1]) as two:
            assert one.connected.wait(5)
            assert two.connected.wait(5)
            emitted = simulator.emit(100)
            eventually(lambda: len(one.lines) + len(two.lines) >= 100)
            assert sorted(emitted) == sorted(one.ids + two.ids)
            assert one.ids
            assert two.ids


def test_rules_are_tried_out_and_not_added():
    """X names each rule that it would refuse; what it holds already is none of them, and nothing is added."""
    with SimulatorThread(SimulatorSettings(rules=(("#held", "mine/held"),))) as x, api_of(x) as api:
        tried = [Rule(value=value, tag=f"t/{value}") for value in ("#fine", "-lonely", "#held", "(open")]
        refused = try_out(api, tried)
        held = held_rules(api)

    assert ["-lonely", "(open"] == [each.rule.value for each in refused]
    assert all(each.words.startswith(repr(each.rule.value)) for each in refused)
    assert ["#held"] == [rule.value for rule in held]


def test_a_plan_without_the_stream_has_no_rules_to_try():
    """That is another error than a rule that is wrong."""
    with SimulatorThread(SimulatorSettings(plan="basic")) as x, api_of(x) as api, pytest.raises(NotAuthorized):
        try_out(api, [Rule(value="#fine", tag="t/fine")])


def api_of(x):
    return Api(x.url, BearerToken(TOKEN))
