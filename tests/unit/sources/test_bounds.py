"""A host in X's place that means no good: every answer ends, in bytes and in time, with an error that has a name."""

import contextlib
import gzip
import itertools
import socket
import threading
import time
import zlib

import pytest

from connector.errors import (
    AnswerTooLong,
    ConnectionLost,
    ConnectorError,
    Disconnected,
    InvalidRequest,
    NotAuthorized,
    NotFound,
    OutOfCredit,
    RateLimited,
    RetriableError,
    ServiceUnavailable,
)
from connector.sources.archive.counts import COUNTS_PATH, Counting, CountQuery, Patience, count_page
from connector.sources.archive.search import SEARCH_PATH
from connector.sources.handles import Released
from connector.sources.http.wire import Wire
from connector.sources.rest import account, rules
from connector.sources.rest.account import Account
from connector.sources.rest.api import ANSWER_BYTES, LIST_BYTES, LISTS, MAX_ERROR_BYTES, Api, parse_problem
from connector.sources.rest.credentials import BearerToken, KeyPair
from connector.sources.rest.rules import RULES_PATH, held_rules
from connector.sources.stream.connection import Connection, Limits
from connector.telemetry.events.sources import FeatureUnavailable, StreamErrorReceived, StreamErrorRepeated

from .scripted import CLEAN, CUT, HOLD, ScriptedServer, answer, chunk, pause, raw, silence, stream
from .test_connection import POST, QUICK, Reading, read
from .test_source import Run, created, held, source_at

TOKEN = "the-token"  # noqa: S105 - synthetic
SOCKETS_BYTES = 16 * 1024 * 1024
"""What may lie in the buffers of both ends, and was sent but not read."""

HURRY = 0.5
"""Seconds for an answer, in place of the half minute."""


class Flood:
    """An answer without end: *head*, then *piece* again and again, every *pause_secs*; *sent* bytes went out."""

    def __init__(self, head, piece, pause_secs=0.0):
        self.head, self.piece, self.pause_secs = head, piece, pause_secs
        self.sent = 0
        self.over = threading.Event()

    def __call__(self, connection, request, server):
        with contextlib.suppress(OSError):
            connection.sendall(self.head)
            while True:
                connection.sendall(self.piece)
                self.sent += len(self.piece)
                time.sleep(self.pause_secs)
        self.over.set()
        return False


def head(*lines, status=200):
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines]).encode() + b"\r\n\r\n"


CHUNKED = "Transfer-Encoding: chunked"
MEGABYTE = b"x" * 1024 * 1024
GZIP_HEAD = gzip.compress(b"", 1, mtime=0)[:10]

# What comes without end, fast or slowly; each as (head, piece, pause).
FLOODS = {
    "body": (head(), MEGABYTE, 0),
    "body of a length": (head("Content-Length: 999999999999"), MEGABYTE, 0),
    "chunks": (head(CHUNKED), chunk(MEGABYTE), 0),
    "one chunk": (head(CHUNKED) + b"ffffffffff\r\n", MEGABYTE, 0),
    "chunk head": (head(CHUNKED), MEGABYTE, 0),
    "chunk extension": (head(CHUNKED) + b"5;", MEGABYTE, 0),
    "packed": (head("Content-Encoding: gzip", CHUNKED), chunk(gzip.compress(MEGABYTE)), 0),
    "header lines": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0),
    "header line": (b"HTTP/1.1 200 OK\r\nX-A: ", MEGABYTE, 0),
    "status line": (b"", MEGABYTE, 0),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    "drip of a body": (head("Content-Length: 999999"), b" ", 0.02),
    "drip of chunks": (head(CHUNKED), chunk(b" "), 0.02),
    "drip of a head": (b"HTTP/1.1 200 OK\r\nX-A: ", b"x", 0.02),
    "drip of nothing packed": (
        head("Content-Encoding: gzip", CHUNKED) + chunk(GZIP_HEAD),
        chunk(b"\0\0\0\xff\xff"),
        0.02,
    ),
}

NO_HTTP = {"chunk head", "chunk extension", "header lines", "header line", "status line"}


def call(step, *, secs=20.0, path="/2/things"):
    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN), answer_secs=secs) as api:
        return api.get(path)


@pytest.mark.parametrize("name", FLOODS)
def test_an_answer_without_end_ends(name):
    """Over REST: bounded in bytes where it is fast, in time where it is slow; with a name, and tried again."""
    flood = Flood(*FLOODS[name])

    with pytest.raises(RetriableError) as caught:
        call(flood, secs=HURRY if FLOODS[name][2] or name == "continue" else 20)

    assert flood.over.wait(20)
    assert flood.sent < ANSWER_BYTES + SOCKETS_BYTES
    # what is no HTTP breaks the connection off before it is too long
    assert type(caught.value) is (ConnectionLost if name in NO_HTTP else AnswerTooLong)


@pytest.mark.parametrize("name", [name for name in FLOODS if "head" not in name and "line" not in name])
@pytest.mark.parametrize("status", [301, 403, 503])
def test_an_error_without_end_is_what_its_status_says(name, status):
    """Its words are not worth more than some kilobytes, or the wait."""
    begin, piece, pause_secs = FLOODS[name]
    begin = begin.replace(b" 200 ", b" %d " % status, 1)
    if status == 301:
        begin = begin.replace(b"\r\n", b"\r\nLocation: /\r\n", 1)
    kind = NotAuthorized if status == 403 else ServiceUnavailable
    ways = (
        lambda flood: call(flood, secs=HURRY),
        lambda flood: raise_end(read(flood, limits=Limits(silence_secs=20, head_secs=HURRY))),
    )
    floods = [Flood(begin, piece, pause_secs) for _ in ways]
    caught = {}

    def run(way, flood):
        with pytest.raises(ConnectorError) as error:
            way(flood)
        caught[way] = error.value

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in zip(ways, floods, strict=True)]
    for thread in threads:  # their waits pass together
        thread.start()
    for thread in threads:
        thread.join(20)

    assert {*ways} == caught.keys()
    for way, flood in zip(ways, floods, strict=True):
        assert flood.over.wait(20)
        assert flood.sent < MAX_ERROR_BYTES + SOCKETS_BYTES
        # of one that never begins there is no status
        assert type(caught[way]) in ({AnswerTooLong, ConnectionLost} if name == "continue" else {kind})


def raise_end(reading):
    raise reading.end


@pytest.mark.slow
def test_a_bomb_is_bounded_after_unpacking():
    """A megabyte on the wire would be 256 in memory; several layers of it, 256 more for each."""
    bomb = gzip.compress(b" " * 256 * 1024 * 1024, 1, mtime=0)
    layers = gzip.compress(gzip.compress(bomb, 1), 1)

    with pytest.raises(AnswerTooLong, match="1,048,576 bytes"):
        call(answer(200, bomb, {"Content-Encoding": "gzip"}))
    with pytest.raises(AnswerTooLong):
        call(answer(200, layers, {"Content-Encoding": "gzip, gzip, gzip"}))


@pytest.mark.parametrize("packing", ["gzip, " * 50 + "gzip", "br", "sesame", "gzip"])
def test_what_can_not_be_unpacked_is_named(packing):
    """Layers without end, packings that were not asked for, and what is none: no crash."""
    with pytest.raises(RetriableError):
        call(answer(200, b"no gzip", {"Content-Encoding": packing}))


def test_what_lists_something_may_be_longer():
    """A page of a hundred posts, or of a thousand rules."""
    body = {"data": [], "meta": {"padding": "x" * (2 * ANSWER_BYTES)}}

    for path in LISTS:
        assert body == call(answer(200, body), path=path)
        flood = Flood(*FLOODS["chunks"])
        with pytest.raises(AnswerTooLong, match="33,554,432 bytes"):
            call(flood, path=path)
        assert flood.over.wait(20)
        assert flood.sent < LIST_BYTES + SOCKETS_BYTES
    with pytest.raises(AnswerTooLong, match="1,048,576 bytes"):
        call(answer(200, body))


def test_the_paths_of_lists_are_those_that_are_asked():
    """Declared in one place, used in three."""
    assert {SEARCH_PATH, RULES_PATH, COUNTS_PATH} == set(LISTS)


def test_a_whole_answer_has_one_time():
    """Not one for each byte; the connect, the token and the call that needs it have their own."""
    exchange = answer(200, {"token_type": "bearer", "access_token": "t"})
    for script in ([Flood(*FLOODS["drip of a body"])], [exchange, silence()]):
        with (
            ScriptedServer(script) as server,
            Api(server.url, KeyPair("k", "s"), answer_secs=HURRY) as api,
            pytest.raises(RetriableError) as caught,
        ):
            api.get("/2/things")
        assert type(caught.value) is AnswerTooLong
        assert f"{HURRY:g} s" in str(caught.value)


def test_the_time_ends_with_the_answer():
    """A connection that is kept for the next call is not cut by the limit of the last."""
    with ScriptedServer([answer(200, {"data": 1})]) as server:
        wire = Wire()
        with Api(server.url, BearerToken(TOKEN), answer_secs=HURRY, wire=wire) as api:
            assert {"data": 1} == api.get("/2/things")
            time.sleep(HURRY + 0.05)
            assert {"data": 1} == api.get("/2/things")

    assert not wire.is_late
    assert 1 == server.connections


def test_the_time_is_over_also_before_its_timer_says_so(monkeypatch):
    """A read that ends at the same moment, by its own timeout, is told by the same name."""
    wire = Wire()
    monkeypatch.setattr(wire, "_expire", lambda _: None)
    with wire.within(0.01):
        time.sleep(0.02)
        assert wire.is_late
    assert wire.is_late
    with wire.within(20):
        assert not wire.is_late


def test_a_kept_connection_holds_nothing_of_the_last_answer():
    """Trailers are not read; what is left of an answer is never taken for the next."""
    late = (pause(0.1), raw(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"data":"no"}'))

    def step(connection, request, server):
        stream(b'{"data":1}', raw(b"0\r\n"), *late)(connection, request, server)
        return True

    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        assert [{"data": 1}] * 3 == [api.get("/2/things") for _ in range(3)]


def test_a_kept_connection_is_used_again():
    """A body in chunks that ended as it should costs no new connection."""
    steps = [stream(b'{"data":1}', CLEAN)]

    def step(connection, request, server):
        steps[0](connection, request, server)
        return True

    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        assert [{"data": 1}] * 3 == [api.get("/2/things") for _ in range(3)]

    assert 3 == len(server.requests)


def test_sockets_do_not_pile_up():
    """A host that closes after each answer leaves nothing behind on a wire that lives on."""
    closing = answer(200, {"data": 1}, {"Connection": "close"})
    with ScriptedServer([closing]) as server:
        wire = Wire()
        with Api(server.url, BearerToken(TOKEN), wire=wire) as api:
            for _ in range(5):
                api.get("/2/things")
                assert wire._socket is not None

        assert wire._socket is None
    assert 5 == server.connections


def test_a_wire_that_nobody_hangs_up_leaves_no_socket():
    """As urllib3's pools close theirs when nobody holds them any more."""
    wire = Wire()
    with socket.socket() as sock:
        wire.attach(sock)
    kept = wire._socket
    del wire

    assert -1 == kept.fileno()


def test_cookies_are_neither_kept_nor_sent():
    """They would fill the memory and the requests of a session that lives on."""
    headers = {"Set-Cookie": "guest_id=" + "x" * 4000}
    with ScriptedServer([answer(200, {}, headers)]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        for _ in range(3):
            api.get("/2/things")

        assert not api._session.cookies
    assert all("cookie" not in request.headers for request in server.requests)


@pytest.mark.parametrize("sent", [head()[:-2], head(), head()[:-2] + b"X-A", head(CHUNKED)])
def test_a_head_that_is_cut_off_is_no_empty_answer(sent):
    """Taken for one it would say that X holds no rules, or has counted no posts."""

    def step(connection, request, server):
        connection.sendall(sent)
        return False

    with pytest.raises(RetriableError):
        call(step)


def test_a_token_that_is_no_token_is_bounded():
    """The exchange has a few hundred bytes."""
    flood = Flood(*FLOODS["chunks"])
    with ScriptedServer([flood]) as server, Api(server.url, KeyPair("k", "s")) as api, pytest.raises(AnswerTooLong):
        api.token()

    assert flood.over.wait(20)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "1e-5", "9" * 4000, '"' + "9" * 5000 + '"', "{}", "true"])
def test_numbers_without_sense_are_none(number):
    """JSON has more of them than a counter."""
    body = b'{"data":{"project_usage":%b,"project_cap":%b,"cap_per_client_app":%b}}' % ((number.encode(),) * 3)
    with ScriptedServer([answer(200, body)]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        usage, counts = Account(api).usage(), Account(api).rule_counts()

    assert isinstance(usage.cap, int | None)
    assert isinstance(counts.room, int | None)


def test_words_nested_without_end_are_read_as_far_as_they_make_sense():
    """Deep enough for X, not for the stack."""
    deep = b'{"errors":[' * 450 + b"{}" + b"]}" * 450

    assert () == parse_problem(deep).messages
    assert InvalidRequest is type(read(answer(400, deep)).end)


# -- lists without end


def test_rules_and_connections_without_end_end(monkeypatch):
    """Pages and pages, each with a token for another."""
    tokens = itertools.count()

    def step(connection, request, server):
        return answer(200, {"meta": {"next_token": str(next(tokens))}})(connection, request, server)

    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        monkeypatch.setattr(rules, "MAX_PAGES", 5)
        with pytest.raises(AnswerTooLong, match="without end"):
            held_rules(api)
        monkeypatch.setattr(account, "MAX_PAGES", 5)
        said = []
        assert None is Account(api, lambda *words: said.append(words)).connections("filtered_stream")
        assert "without end" in said[0][1]


def test_counts_without_end_end():
    """Each page costs money, so there are never more than minutes; nor a page twice."""
    tokens = itertools.count()

    def step(connection, request, server):
        return answer(200, {"data": [], "meta": {"next_token": str(next(tokens))}})(connection, request, server)

    with ScriptedServer([step]) as server, Api(server.url, BearerToken(TOKEN)) as api:
        counting = Counting(api, Patience(lambda _: None))
        with pytest.raises(ConnectorError, match="again and again"):
            counting.by_minute(CountQuery(text="a", rules=(), from_ms=0), 10 * 60_000)

    assert 11 == len(server.requests)


@pytest.mark.parametrize("number", ["1e999", "-1", "NaN", "null"])
def test_counts_without_sense_are_no_counts(number):
    """Taken for no posts, they would prove what is not so."""
    body = b'{"data":[{"start":"2026-11-01T12:00:00Z","tweet_count":%b}]}' % number.encode()
    with (
        ScriptedServer([answer(200, body)]) as server,
        Api(server.url, BearerToken(TOKEN)) as api,
        pytest.raises(ConnectorError, match="form that is not known"),
    ):
        count_page(api, "a", from_ms=0, to_ms=60_000)


# -- what is only a convenience


def test_features_go_without_an_endless_answer():
    """The stream is read all the same, and it is said once which feature is missing."""
    endless = Flood(*FLOODS["chunks"])

    def step(connection, request, server):
        if request.path.startswith("/2/connections") or "counts" in request.path:
            return endless(connection, request, server)
        return stream(POST + b"\r\n", CLEAN)(connection, request, server)

    def action(run):
        with contextlib.suppress(ConnectionLost):
            run.read()
        assert Released() == run.source.release({"own-1"})
        run.source._connected_at = 1.0
        assert None is run.source.find_connection()

    run = Run([step], action)

    assert [POST] == run.lines
    assert ["connections"] == [event.feature for event in run.events if isinstance(event, FeatureUnavailable)]


@pytest.mark.parametrize("counts", [Flood(*FLOODS["chunks"]), answer(503)])
def test_rules_are_changed_without_knowing_the_room(counts):
    """The counts only spare a refusal."""
    script = [held(("1", "#b", "posts/b")), counts, created(), answer(200, {"meta": {}}), held(("7", "#a", "posts/a"))]
    run = Run(script, lambda run: run.source.prepare())

    assert None is run.error
    assert ["rules/counts"] == [event.feature for event in run.events if isinstance(event, FeatureUnavailable)]


# -- a stop


@pytest.mark.parametrize("name", ["drip of a body", "drip of a head", "drip of chunks", "continue"])
def test_a_stop_ends_what_never_ends(name):
    """A thread that waits for X is free again at once, however long X is given for an answer."""
    with ScriptedServer([Flood(*FLOODS[name])]) as server:
        source = source_at(server.url, [])

        def prepare():
            with contextlib.suppress(ConnectionLost):
                source.prepare()

        thread = threading.Thread(target=prepare, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        source.stop()
        thread.join(10)

        assert not thread.is_alive()


# -- what is no stream


@pytest.mark.parametrize("name", [name for name in FLOODS if "head" in name or "line" in name or name == "continue"])
def test_a_connect_is_answered_in_a_time_of_its_own(name):
    """A head that never ends is a connection that was never made."""
    flood = Flood(*FLOODS[name])
    end = read(flood, limits=Limits(silence_secs=20, head_secs=HURRY)).end

    assert ConnectionLost is type(end)
    assert flood.over.wait(20)
    assert flood.sent < SOCKETS_BYTES


PAGE = b"<!DOCTYPE html>\n<html><title>Sign in</title> Bearer the-token " + b"x" * 300


PAGES = [
    ("text/html; charset=utf-8", PAGE),
    ("text/html", b"\n \n" + PAGE),
    ("text/html", b"Please sign in"),
    ("text/html", b""),
    ("text/plain", b"OK\n"),
    ("application/octet-stream", bytes(range(256))),
    ("text/event-stream", b'data: {"data":{}}\n\n'),
    # with a wrong type, or none
    ("application/json", PAGE),
    ("application/json; charset=utf-8", b"\r\n" + PAGE),
    ("application/json", gzip.compress(PAGE, mtime=0)),
    ("", PAGE),
    ("", b"OK"),
    # an answer of an API, not a line of a stream
    ("application/json", b'{"title":"Unauthorized","type":"about:blank","status":401,"detail":"Unauthorized"}'),
    ("application/json", b'{"errors":[{"message":"Invalid or expired token","code":89}]}'),
]
# without a length it may be a line of a stream, and is judged as a record
OBJECTS = [("application/json", b'{"error":"sign in"}'), ("application/json", b'{"error":"sign in"}\n')]
WORDS = (b"Sign in", b"sign in", b"Please", b"OK", b"Unauthorized")


@pytest.mark.parametrize(
    ("kind", "body", "length"),
    [(*page, length) for page in PAGES for length in (True, False)] + [(*page, True) for page in OBJECTS],
    ids=itertools.count(),
)
def test_what_does_not_begin_as_a_stream_is_named_and_tried_again(kind, body, length):
    """A proxy or a portal answered: what it sent stands in the error, but no token, and no post is made of it."""

    def whole(connection, request, server):
        lines = [f"Content-Type: {kind}"] if kind else []
        connection.sendall(head(*lines, *([f"Content-Length: {len(body)}"] if length else [])) + body)
        return False

    reading = read(whole)

    assert ServiceUnavailable is type(reading.end)
    assert [] == reading.lines
    said = str(reading.end)
    assert "x.api.url" in said
    assert TOKEN not in said
    assert len(said) < 700
    assert said.isprintable()
    assert (kind or "of no type") in said
    assert [] == [words for words in WORDS if words in body and words.decode() not in said]
    # of what is called a page nobody was told that X had accepted
    assert ("html" in kind) != bool(reading.connected)


@pytest.mark.parametrize("status", [204, 206, 101, 304, 600])
def test_another_success_is_no_stream(status):
    """Nothing but 200 is."""
    assert ServiceUnavailable is type(read(answer(status)).end)


def test_a_stream_of_another_type_is_one():
    """Some proxy has changed the head; the lines say what it is, from the first one on."""

    def step(connection, request, server):
        connection.sendall(head("Content-Type: text/html", CHUNKED) + chunk(b"\r\n" + POST + b"\r\n") + b"0\r\n\r\n")
        return False

    reading = read(step)

    assert [POST] == reading.lines
    assert 1 == len(reading.connected)


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/octet-stream", "application/x-ndjson", ""])
def test_a_quiet_stream_of_any_type_is_connected_at_once(kind):
    """Only what is called a page is waited for; nobody knows when the first post comes."""

    def step(connection, request, server):
        connection.sendall(head(*([f"Content-Type: {kind}"] if kind else []), CHUNKED) + chunk(b"\r\n"))
        server.hold(connection)
        return False

    reading = read(step, limits=QUICK)

    assert "Nothing was heard for 1.2 s" == str(reading.end)
    assert [()] == [arrival.lines for arrival in reading.arrivals]
    assert 1 == len(reading.connected)


def test_a_first_line_without_end_is_no_stream():
    """After as much as a post may have."""
    limits = Limits(silence_secs=20, max_line_bytes=100_000)

    assert ServiceUnavailable is type(read(stream(*[b"x" * 50_000] * 5, HOLD), limits=limits).end)
    assert ServiceUnavailable is type(read(stream(*[b'{"x":"' * 10_000] * 5, HOLD), limits=limits).end)


def test_a_line_that_drips_is_no_line():
    """Bytes arrive, so the connection is not silent; but nothing is ever complete."""
    flood = Flood(head("Content-Type: application/json", CHUNKED) + chunk(POST + b"\r\n{"), chunk(b" "), 0.02)
    reading = read(flood, limits=Limits(silence_secs=20, line_secs=0.3))

    assert ConnectionLost is type(reading.end)
    assert [POST] == reading.lines
    assert "not complete after 0.3 s" in str(reading.end)


def test_a_reader_that_waits_for_its_task_is_not_late():
    """What has lasted long is our own put, not X's line."""
    seen = []

    def put(arrival):
        seen.append(arrival)
        time.sleep(0.4)

    half = len(POST) // 2
    script = stream(POST + b"\r\n", pause(0.1), POST[:half], pause(0.1), POST[half:] + b"\r\n", CLEAN)
    with ScriptedServer([script]) as server:
        reading = Reading(Connection(server.url, TOKEN, {}, limits=Limits(silence_secs=20, line_secs=0.3)))
        reading.arrivals = seen
        with pytest.raises(ConnectionLost, match="closed"):
            reading.connection.read(put, reading.connected.append)

    assert [POST, POST] == [line for arrival in seen for line in arrival.lines]


def test_an_unknown_packing_is_named():
    """Nobody asked for it, so nobody can read it."""
    end = read(stream(b"x", CLEAN, headers=b"Content-Encoding: sesame\r\n")).end

    assert ServiceUnavailable is type(end)
    assert "packed with sesame" in str(end)


# -- errors in the stream

NOT_FOUND = (
    b'{"errors":[{"value":"1","detail":"Could not find tweet with referenced_tweets.id: [1].","title":"Not Found Error"'
    b',"resource_type":"tweet","type":"https://api.twitter.com/2/problems/resource-not-found"}]}'
)
PROBLEM = b'{"errors":[{"title":"%s","type":"https://api.x.com/2/problems/%s"}]}'


@pytest.mark.parametrize(
    "line",
    [
        NOT_FOUND,
        *(
            PROBLEM % (b"Some Error", suffix)
            for suffix in (
                b"resource-unavailable",
                b"not-authorized-for-resource",
                b"not-authorized-for-field",
                b"field-unauthorized",
                b"field-hydration-failure",
                b"disallowed-resource",
                b"something-new",
            )
        ),
        b'{"errors":[]}',
        b'{"errors":["?"]}',
        b'{"errors":[{"message":"?"}],"data":null}',
    ],
)
def test_an_error_about_a_resource_does_not_end_the_stream(line):
    """Three of them, and posts go on coming on the same connection; each counts, one a minute is said."""
    lines = b"\r\n".join([line] * 3) + b"\r\n"
    run = Run([stream(POST + b"\r\n", lines, POST + b"\r\n", CLEAN)], lambda run: run.read(), wanted={})

    assert [POST, POST] == run.lines
    assert "X closed the stream" == str(run.error)
    assert 1 == len(run.asked)
    assert [StreamErrorReceived, StreamErrorRepeated, StreamErrorRepeated] == [type(event) for event in run.events]


def test_an_error_about_a_resource_is_said_in_xs_words():
    """What it was about."""
    run = Run([stream(POST + b"\r\n" + NOT_FOUND + b"\r\n", CLEAN)], lambda run: run.read(), wanted={})

    (event,) = run.events
    assert "Not Found Error" == event.title
    assert "referenced_tweets.id: [1]" in event.detail


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"errors":[{"title":"x","disconnect_type":"SlowReader"}]}', Disconnected),
        (b'{"errors":[{"title":"Not Found Error"},{"title":"x","disconnect_type":"InvalidRules"}]}', Disconnected),
        (b'{"errors":[{"title":"ConnectionException","connection_issue":"TooManyConnections"}]}', Disconnected),
        (PROBLEM % (b"x", b"operational-disconnect"), Disconnected),
        (PROBLEM % (b"x", b"client-disconnected/"), Disconnected),
        (PROBLEM % (b"UsageCapExceeded", b"usage-capped"), OutOfCredit),
        (b'{"title":"CreditsDepleted","type":"https://api.x.com/2/problems/credits"}', OutOfCredit),
        (b'{"title":"Internal Server Error","type":"about:blank","status":500}', Disconnected),
    ],
)
def test_what_says_that_the_stream_ends_ends_it(line, kind):
    """After the posts before it."""
    reading = read(stream(POST + b"\r\n" + line + b"\r\n" + NOT_FOUND + b"\r\n", HOLD))

    assert [POST] == reading.lines
    assert kind is type(reading.end)


# -- headers


@pytest.mark.parametrize(
    "headers",
    [
        b"x-rate-limit-reset: 1\r\nx-rate-limit-reset: 2\r\n",
        b"x-rate-limit-reset: \xff\r\nx-rate-limit-remaining: " + b"9" * 5000 + b"\r\n",
        b"Date: \xe4\xf6\xfc\r\nDate: now\r\n",
        b"Content-Type: \xff\r\nContent-Type: application/json\r\n",
        b": nothing\r\n",
        b"no colon\r\n",
        b"x-\xff: 1\r\n",
    ],
)
def test_headers_without_sense_cost_nothing(headers):
    """Neither over REST nor of a stream, of a success or of a refusal."""

    def body(status, text):
        def step(connection, request, server):
            connection.sendall(b"HTTP/1.1 %d W\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(text), headers, text))
            return True

        return step

    assert {"data": 1} == call(body(200, b'{"data":1}'))
    with pytest.raises(RateLimited):
        call(body(429, b""))
    assert [POST] == read(stream(POST + b"\r\n", CLEAN, headers=headers, date=None)).lines
    assert RateLimited is type(read(body(429, b"")).end)


@pytest.mark.parametrize("path", ["prepare", "read"])
def test_a_wrong_address_names_the_setting(path):
    """404 for what every account has: a person has to act, and knows where."""
    run = Run([answer(404)], lambda run: run.source.prepare() if path == "prepare" else run.read())

    assert NotFound is type(run.error)
    assert "x.api.url" in str(run.error)


def test_a_stream_that_unpacks_without_end_is_read_in_pieces():
    """A compressed stream costs the memory of a piece, whatever it unpacks to."""
    body = zlib.compressobj(wbits=31)
    packed = body.compress(POST + b"\r\n" + b"x" * 50_000_000) + body.flush()
    reading = read(
        stream(raw(chunk(packed)), CUT, headers=b"Content-Encoding: gzip\r\n"),
        limits=Limits(silence_secs=20, max_line_bytes=1_000_000),
    )

    assert ConnectionLost is type(reading.end)
    assert "over 1,000,000 bytes" in str(reading.end)
    assert [POST] == reading.lines
