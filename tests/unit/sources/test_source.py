import threading
import time

import pytest

from connector.errors import (
    ConnectionLost,
    ConnectorError,
    InvalidRequest,
    NotAuthorized,
    RulesMissing,
    ServiceUnavailable,
    TokenRejected,
)
from connector.records.record import HeldRule
from connector.sources.handles import Released
from connector.sources.rest.credentials import BearerToken, KeyPair
from connector.sources.source import StreamSource
from connector.sources.stream.connection import Limits
from connector.sources.stream.streams import STREAMS
from connector.telemetry.events.sources import FeatureUnavailable, RulesChanged, TokenFetched

from .scripted import CLEAN, DATE, HOLD, ScriptedServer, answer, pause, silence, stream

POST = b'{"data":{"id":"1","text":"a"}}'
NO_RULES = answer(409, {"title": "ConnectionException", "connection_issue": "RuleConfigurationIssue"})
NO_RULES_HELD = answer(200, {"meta": {"result_count": 0}})


def created(value="#a", tag="posts/a"):
    return answer(201, {"data": [{"value": value, "tag": tag, "id": "7"}], "meta": {}})


def held(*rules):
    return answer(200, {"data": [dict(zip(("id", "value", "tag"), rule, strict=True)) for rule in rules]})


OURS_AND_ANOTHER = held(("7", "#a", "posts/a"), ("8", "#b", "other"))


def exchanged(token):
    return answer(200, {"token_type": "bearer", "access_token": token})


def source_at(url, events, *, stream_name="filtered", partition=None, credentials=None, wanted=None, parameters=None):
    return StreamSource(
        connector="posts",
        stream=STREAMS[stream_name],
        partition={"stream": stream_name} | ({"partition": partition} if partition else {}),
        url=url,
        credentials=credentials or BearerToken("the-token"),
        parameters=parameters or {},
        wanted={"posts": {"#a": "a"} if wanted is None else wanted},
        emit=events.append,
        limits=Limits(silence_secs=5),
    )


class Run:
    """A source against a script; what it did."""

    def __init__(self, script, action, **options):
        self.events, self.arrivals, self.connected = [], [], []
        self.error = None
        with ScriptedServer(script) as server:
            self.source = source_at(server.url, self.events, **options)
            try:
                action(self)
            except ConnectorError as error:
                self.error = error
        self.asked = [f"{request.method} {request.path.partition('?')[0]}" for request in server.requests]
        self.requests = server.requests

    @property
    def lines(self):
        return [line for arrival in self.arrivals for line in arrival.lines]

    def read(self, **options):
        self.source.read(self.arrivals.append, self.connected.append, **options)


def prepare(run):
    run.source.prepare()


def read(run):
    run.read()


STREAM = "GET /2/tweets/search/stream"
LIST, CHANGE = "GET /2/tweets/search/stream/rules", "POST /2/tweets/search/stream/rules"
EXCHANGE = "POST /oauth2/token"


def test_prepare_brings_the_rules_to_what_they_should_be():
    """And says what it changed."""
    run = Run([NO_RULES_HELD, created(), OURS_AND_ANOTHER], prepare)

    assert [LIST, CHANGE, LIST] == run.asked
    assert (HeldRule("7", "#a", "posts/a"), HeldRule("8", "#b", "other")) == run.source.rules
    assert [RulesChanged(connector="posts", added=1, deleted=0)] == run.events


def test_a_rule_that_was_gone_is_told_also_after_an_error():
    """X has deleted it and added it again, and then fails; the next `prepare` has nothing to change, and tells it."""
    told = []

    def retag(run):
        told.append(run.source.prepare())
        run.source.want({"posts": {"#a": "b"}})
        with pytest.raises(ServiceUnavailable):
            run.source.prepare()
        told.append(run.source.prepare())
        told.append(run.source.prepare())

    again = held(("9", "#a", "posts/b"))
    first = held(("7", "#a", "posts/a"))
    run = Run([first, first, answer(200, {"meta": {}}), created(tag="posts/b"), answer(503), again], retag)

    assert run.error is None
    assert [frozenset(), {"posts"}, frozenset()] == told


def test_prepare_says_nothing_where_nothing_changed():
    """Each reconnect prepares."""
    run = Run([held(("7", "#a", "posts/a"))], prepare)

    assert [] == run.events


def test_a_rule_held_elsewhere_is_said_once():
    """Not at every reconnect."""

    def twice(run):
        run.source.prepare()
        run.source.prepare()

    run = Run([held(("7", "#a", "other"))], twice)

    assert [RulesChanged(connector="posts", added=0, deleted=0, held_elsewhere=("#a",))] == run.events


def test_a_stream_without_rules_needs_none():
    """Only the token."""
    run = Run([exchanged("t")], prepare, stream_name="sample", credentials=KeyPair("k", "s"))

    assert [EXCHANGE] == run.asked
    assert [TokenFetched(connector="posts")] == run.events


def test_rules_that_x_refuses_are_fatal():
    """With its words."""
    refusal = answer(200, {"errors": [{"value": "#a", "details": ["Too long"], "title": "UnprocessableEntity"}]})

    assert "'#a': Too long" in str(Run([NO_RULES_HELD, refusal], prepare).error)


def test_a_full_set_of_rules_is_changed_by_deleting_first():
    """The counts know it; where they are missing, only that feature is."""
    full = answer(200, {"data": {"cap_per_client_app": "1", "client_app_rules_count": {"rule_count": 1}}})
    old = held(("6", "#old", "posts/old"))

    run = Run([old, full, answer(200, {}), created(), OURS_AND_ANOTHER], prepare)
    blind = Run([old, answer(404), created(), answer(200, {}), OURS_AND_ANOTHER], prepare)

    assert ["delete", "add"] == [next(iter(request.json)) for request in run.requests[2:4]]
    assert ["add", "delete"] == [next(iter(request.json)) for request in blind.requests[2:4]]
    assert [FeatureUnavailable, RulesChanged] == [type(event) for event in blind.events]
    assert None is blind.error


def test_read_is_one_connection():
    """Posts go to put, the end is raised."""
    run = Run([stream(POST + b"\r\n", CLEAN)], read)

    assert ConnectionLost is type(run.error)
    assert [POST] == run.lines
    assert [STREAM] == run.asked
    assert 1 == len(run.connected)


def test_read_asks_for_its_part_and_for_backfill():
    """Parameters of the configuration, of the partition and of this one read."""

    def action(run):
        run.read(backfill_minutes=3)

    options = {"stream_name": "firehose", "partition": "7", "parameters": {"tweet.fields": "id"}}
    run = Run([stream(CLEAN)], action, **options)

    assert "/2/tweets/firehose/stream?tweet.fields=id&partition=7&backfill_minutes=3" == run.requests[0].path


def test_a_token_that_x_forgot_is_fetched_again_at_once():
    """No wait, no failure: one more connect."""
    script = [exchanged("old"), answer(401), exchanged("new"), stream(POST + b"\r\n", CLEAN)]

    run = Run(script, read, credentials=KeyPair("k", "s"))

    assert [EXCHANGE, STREAM, EXCHANGE, STREAM] == run.asked
    assert "Bearer new" == run.requests[-1].headers["authorization"]
    assert [POST] == run.lines
    assert ConnectionLost is type(run.error)


@pytest.mark.parametrize("second", ["old", "new"])
def test_a_second_401_is_final(second):
    """Whether X gives the same token again or another one."""
    script = [exchanged("old"), answer(401), exchanged(second), answer(401)]

    run = Run(script, read, credentials=KeyPair("k", "s"))

    assert TokenRejected is type(run.error)
    assert 2 == run.asked.count(EXCHANGE)
    assert (2 if second == "new" else 1) == run.asked.count(STREAM)


def test_a_401_of_a_bearer_token_is_final():
    """Only the operator has another one."""
    run = Run([answer(401)], read)

    assert TokenRejected is type(run.error)
    assert [STREAM] == run.asked


def test_every_401_has_its_own_second_chance():
    """A token that lives for a month is fetched again each month."""

    def twice(run):
        for _ in range(2):
            try:
                run.read()
            except TokenRejected:
                raise
            except ConnectionLost:
                pass

    script = [exchanged("1"), answer(401), exchanged("2"), stream(CLEAN), answer(401), exchanged("3"), stream(CLEAN)]

    assert None is Run(script, twice, credentials=KeyPair("k", "s")).error


def test_an_exchange_that_fails_is_raised():
    """The pair was revoked together with its token."""
    bad_pair = answer(403, {"errors": [{"code": 99, "message": "Unable to verify your credentials"}]})
    run = Run([exchanged("old"), answer(401), bad_pair], read, credentials=KeyPair("k", "s"))

    assert NotAuthorized is type(run.error)
    assert "x.consumer.key" in str(run.error)


def test_rules_that_vanished_are_put_back_at_once():
    """X deletes rules that were unused for long, and so do other programs."""
    run = Run([NO_RULES, NO_RULES_HELD, created(), OURS_AND_ANOTHER, stream(POST + b"\r\n", CLEAN)], read)

    assert [STREAM, LIST, CHANGE, LIST, STREAM] == run.asked
    assert [POST] == run.lines


def test_a_second_409_is_final():
    """Putting them back did not help."""
    run = Run([NO_RULES, NO_RULES_HELD, created(), OURS_AND_ANOTHER, NO_RULES], read)

    assert RulesMissing is type(run.error)
    assert [STREAM, LIST, CHANGE, LIST, STREAM] == run.asked


def test_a_409_of_a_stream_without_rules_is_final():
    """There is nothing to put back."""
    assert [STREAM.replace("search", "sample")] == Run([NO_RULES], read, stream_name="sample").asked


def test_other_refusals_are_raised_at_once():
    """The task knows how long to wait."""
    for status, kind in ((500, ServiceUnavailable), (400, InvalidRequest)):
        run = Run([answer(status)], read)
        assert kind is type(run.error)
        assert [STREAM] == run.asked


# -- the connection at X


def listed(*entries):
    data = [{"id": name, "connected_at": at, "endpoint_name": "filtered_stream"} for name, at in entries]
    return answer(200, {"data": data, "meta": {"result_count": len(data)}})


class Open:
    """A source that holds a connection while a question is asked."""

    def __init__(self, script, question):
        self.events, self.answer = [], None
        with ScriptedServer([stream(HOLD, date=DATE), *script]) as server:
            source = source_at(server.url, self.events)
            thread = threading.Thread(target=source.read, args=(lambda _: None, lambda _: None), daemon=True)
            thread.start()
            assert server.held.wait(5)
            deadline = time.monotonic() + 5
            while source._connected_at is None and time.monotonic() < deadline:
                time.sleep(0.001)
            self.answer = question(source)
            source.stop()
            thread.join(5)
            assert not thread.is_alive()
            self.after = question(source)
        self.requests = server.requests


def test_our_connection_is_found_by_its_time():
    """The answer's `Date` and X's `connected_at` are of one clock; after the end there is none."""
    script = [listed(("old", "2026-11-01T11:00:00Z"), ("ours", "2026-11-01T12:34:57Z"))]

    found = Open(script, lambda source: source.find_connection())

    assert "ours" == found.answer
    assert None is found.after


@pytest.mark.parametrize(
    "script",
    [
        listed(("a", "2026-11-01T12:34:56Z"), ("b", "2026-11-01T12:34:57Z")),
        listed(),
        answer(404),
        answer(403),
    ],
)
def test_an_uncertain_connection_is_none(script):
    """Two of that moment, none, or an API without this endpoint."""
    assert None is Open([script], lambda source: source.find_connection()).answer


def test_without_a_connection_nothing_is_asked():
    """There is nothing to find."""
    run = Run([answer(500)], lambda run: run.source.find_connection())

    assert [] == run.asked


def release(run, *connections):
    return run.source.release(connections)


def test_release_ends_only_what_is_listed():
    """Ids that X no longer lists are gone already."""
    got = []
    script = [
        listed(("a", "2026-11-01T12:34:56Z"), ("c", "2026-11-01T12:34:57Z")),
        answer(200, {"data": {"successful_kills": 1}}),
    ]

    run = Run(script, lambda run: got.append(release(run, "a", "b")))

    assert [Released(ended={"a"}, absent={"b"})] == got
    assert {"uuids": ["a"]} == run.requests[1].json


AT = 1_793_536_496.0
"""2026-11-01T12:34:56Z"""

BY_TIME = [
    # a second is how exact both times are
    ([("theirs", "2026-11-01T12:34:50Z"), ("ours", "2026-11-01T12:34:57Z")], ["ours"]),
    # two of that moment: one of them may be somebody else's
    ([("a", "2026-11-01T12:34:56Z"), ("b", "2026-11-01T12:34:57Z")], []),
    ([("theirs", "2026-11-01T12:34:59Z")], []),
    ([], []),
]


@pytest.mark.parametrize(("held", "ended"), BY_TIME)
def test_a_connection_without_an_id_is_ended_by_its_time(held, ended):
    """Its owner died before X told the id; nobody else's is touched."""
    got = []

    run = Run([listed(*held), answer(200, {"data": {"successful_kills": 1}})], lambda run: got.append(release(run, AT)))

    assert [Released(ended={AT}) if ended else Released(absent={AT})] == got
    assert [{"uuids": ended}] * len(ended) == [request.json for request in run.requests[1:]]


def test_a_release_that_x_does_not_confirm_is_none():
    """Neither ended nor absent: it has to be asked for again."""
    got = []
    script = [
        listed(("a", "2026-11-01T12:34:56Z"), ("b", "2026-11-01T12:34:56Z")),
        answer(200, {"data": {"successful_kills": 0, "failed_kills": 1}}),
        answer(200, {"data": {"successful_kills": 1}}),
    ]

    run = Run(script, lambda run: got.append(release(run, "a", "b")))

    assert [["a"], ["b"]] == [request.json["uuids"] for request in run.requests[1:]]
    assert [Released(ended={"b"})] == got


def test_release_of_nothing_ends_nothing():
    """No DELETE without a connection to end."""
    got = []

    run = Run([listed(("a", "2026-11-01T12:34:56Z")), answer(500)], lambda run: got.append(release(run, "b")))

    assert [Released(absent={"b"})] == got
    assert 1 == len(run.asked)


@pytest.mark.parametrize("status", [403, 404])
def test_release_without_the_endpoint_knows_nothing(status):
    """Said once."""
    got = []

    def twice(run):
        got.extend(run.source.release(["a"]) for _ in range(2))

    run = Run([answer(status)], twice)

    assert [Released(), Released()] == got
    assert [FeatureUnavailable] == [type(event) for event in run.events]


# -- stop


@pytest.mark.parametrize(
    ("script", "credentials"),
    [
        ([silence()], None),
        ([stream(HOLD)], None),
        # in the exchange of the key pair, before the connect and after a 401
        ([silence()], KeyPair("k", "s")),
        ([exchanged("t"), answer(401), silence()], KeyPair("k", "s2")),
        # while the rules are put back
        ([NO_RULES, silence()], None),
        ([NO_RULES, NO_RULES_HELD, silence()], None),
    ],
)
def test_stop_ends_a_read_wherever_it_is(script, credentials):
    """Within a second, without an error."""
    errors = []
    with ScriptedServer(script) as server:
        source = source_at(server.url, [], credentials=credentials)

        def run():
            try:
                source.read(lambda _: None, lambda _: None)
            except ConnectorError as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert server.held.wait(5)
        begin = time.monotonic()
        source.stop()
        thread.join(5)

        assert time.monotonic() - begin < 1
        assert not thread.is_alive()
        assert server.closed.wait(5)
    assert [] == errors


def test_nothing_is_put_after_a_stop():
    """What the kernel still holds stays there: its owner has let go of the bounds of the buffer."""
    full, room = threading.Event(), threading.Event()
    put = []

    def block(arrival):
        put.append(arrival)
        full.set()
        room.wait(5)

    with ScriptedServer([stream(POST + b"\r\n", pause(0.1), POST + b"\r\n", HOLD)]) as server:
        source = source_at(server.url, [])
        thread = threading.Thread(target=source.read, args=(block, lambda _: None), daemon=True)
        thread.start()
        assert full.wait(5)
        assert server.held.wait(5)
        source.stop()
        room.set()
        thread.join(5)

        assert not thread.is_alive()
    assert 1 == len(put)


def test_stop_ends_a_prepare():
    """An executor thread is free again at once."""
    with ScriptedServer([silence()]) as server:
        source = source_at(server.url, [])
        timer = threading.Timer(0.1, source.stop)
        timer.start()
        begin = time.monotonic()

        with pytest.raises(ConnectionLost):
            source.prepare()

        assert time.monotonic() - begin < 1
        timer.join(5)
        with pytest.raises(ConnectionLost):
            source.prepare()


def test_stop_before_the_read():
    """Then there is no connect."""

    def action(run):
        run.source.stop()
        run.read()

    assert [] == Run([answer(500)], action).asked


def test_a_source_shows_no_secret():
    """In no repr."""
    source = source_at("http://127.0.0.1", [], credentials=KeyPair("the-key", "the-secret"))

    assert "the-" not in repr(source)
