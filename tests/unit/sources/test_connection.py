import contextlib
import io
import logging
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections import deque
from http.client import HTTPException
from itertools import accumulate, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import (
    ConnectionLost,
    ConnectorError,
    Disconnected,
    InvalidRequest,
    OutOfCredit,
    ServiceUnavailable,
)
from connector.records import clock
from connector.records.record import held_bytes
from connector.sources.http import wire as wire_module
from connector.sources.http.wire import Wire, _BulkResponse
from connector.sources.stream.connection import Connection, Limits, stream_error
from connector.sources.stream.lines import LineSplitter
from tests.absent import skip

from .scripted import CLEAN, CUT, HOLD, RESET, ScriptedServer, answer, chunk, pause, raw, silence, stream
from .test_api import ANSWERS, ids

PATH = "/2/tweets/search/stream"
POST = b'{"data":{"id":"2028413882771976192","text":"test"},"matching_rules":[{"id":"2028032493463302144"}]}'
OTHER = b'{"matching_rules":[],"data":{"text":"caf\xc3\xa9 \xe2\x80\xa8 \\uD83E\\uDD41","id":"2028413882771976193"}}'
ERROR = (
    b'{"errors":[{"title":"operational-disconnect","disconnect_type":"%s","detail":"This stream has been disconnected '
    b'upstream for operational reasons.","type":"https://api.%s.com/2/problems/operational-disconnect"}]}'
)
QUICK = Limits(silence_secs=1.2)  # a busy machine may need a while until a connection stands
"""For a test that ends with a silence."""
PATIENT = Limits(silence_secs=20)


class Reading:
    """What a connection put, and how it ended."""

    def __init__(self, connection):
        self.connection = connection
        self.arrivals = []
        self.connected = []
        self.end = None

    @property
    def lines(self):
        return [line for arrival in self.arrivals for line in arrival.lines]

    def run(self):
        try:
            self.connection.read(self.arrivals.append, self.connected.append)
        except ConnectorError as error:
            self.end = error
        return self


def read(*script, parameters=None, limits=PATIENT):
    with ScriptedServer(script) as server:
        reading = Reading(Connection(server.url + PATH, "the-token", parameters or {}, limits=limits)).run()
        # tweepy's own loop would have come back by now: it waits for nothing after a clean close
        reading.connections, reading.requests = server.connections, server.requests
    assert 1 == reading.connections
    return reading


# -- how it ends


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([CLEAN], "X closed the stream"),
        ([CUT], "broke the connection off"),
        ([RESET], "reset by peer"),
        ([raw(b"zz\r\n"), HOLD], "no chunk head"),
        ([raw(b"-5\r\nhello\r\n"), HOLD], "no chunk head"),
        ([raw(b"5\r\nhello!!\r\n"), HOLD], "no chunk head"),
        ([raw(b"2\r\n\r\n!!2\r\n\r\n\r\n"), HOLD], "no chunk head"),
        ([raw(b"fffff\r\nhalf"), CUT], "broke the connection off"),
        ([HOLD], r"Nothing was heard for 1\.2 s"),
    ],
)
def test_an_end_is_raised_after_the_posts_before_it(pieces, words):
    """Whatever ends the connection: what arrived is put, then the reason is raised, and nobody connects again."""
    limits = QUICK if "Nothing" in words else PATIENT
    reading = read(stream(POST + b"\r\n", OTHER + b"\r\n", *pieces), limits=limits)

    assert ConnectionLost is type(reading.end)
    assert words.replace("\\", "") in str(reading.end)
    assert [POST, OTHER] == reading.lines
    assert 1 == len(reading.connected)


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS, ids=[ids(row) for row in ANSWERS])
def test_a_refusal_means_the_same_as_over_rest(status, body, kind):
    """tweepy has the status only; X's body decides, and its words are in the error."""
    reading = read(answer(status, body))

    assert kind is type(reading.end)
    assert status == reading.end.status
    assert "the-token" not in str(reading.end)
    assert [] == reading.connected


def test_a_rate_limit_says_when_it_ends():
    """From the header."""
    assert 1613881982.0 == read(answer(429, headers={"x-rate-limit-reset": "1613881982"})).end.reset_at
    assert None is read(answer(429)).end.reset_at


def test_a_compressed_refusal_is_read():
    """Errors are compressed when accepted, streams are not."""
    body = zlib.compressobj(wbits=31)
    packed = body.compress(b'{"title":"Forbidden","detail":"Not permitted."}') + body.flush()

    assert "Not permitted." == read(answer(403, packed, {"Content-Encoding": "gzip"})).end.detail


def test_a_refusal_whose_body_breaks_is_still_one():
    """The status is enough."""

    def step(connection, request, server):
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    assert ServiceUnavailable is type(read(step).end)


def test_nobody_answers():
    """The head has the same patience as the stream."""
    reading = read(silence(), limits=QUICK)

    assert "did not answer the connect within 1.2 s" in str(reading.end)
    assert ConnectionLost is type(reading.end)


def test_a_redirect_is_not_followed():
    """Another host must not get the token."""
    with ScriptedServer([answer(200)]) as other:
        assert ServiceUnavailable is type(read(answer(302, headers={"Location": other.url})).end)

    assert [] == other.requests


def test_nobody_listens():
    """A connection that cannot be made is lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reading = Reading(Connection(f"http://127.0.0.1:{port}", "t", {})).run()

    assert ConnectionLost is type(reading.end)
    assert "refused" in str(reading.end)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/"])
def test_an_address_that_can_not_be_asked_is_fatal(url):
    """Waiting does not cure it."""
    assert InvalidRequest is type(Reading(Connection(url, "t", {})).run().end)


# -- error lines


@pytest.mark.parametrize(
    ("kind", "host"), [(b"OperationalDisconnect", b"twitter"), (b"UpstreamOperationalDisconnect", b"x")]
)
def test_an_error_line_is_a_disconnect(kind, host):
    """In both spellings, with X's words, after the posts that came with it, and never as a post."""
    reading = read(stream(POST + b"\r\n" + (ERROR % (kind, host)) + b"\r\n" + OTHER + b"\r\n", HOLD))

    assert Disconnected is type(reading.end)
    assert "operational-disconnect" == reading.end.title
    assert "This stream has been disconnected upstream for operational reasons." == reading.end.detail
    assert kind.decode() in str(reading.end)
    assert [POST, OTHER] == reading.lines


@pytest.mark.parametrize("suffix", [b"credits", b"usage-capped"])
def test_an_error_line_about_money_is_out_of_credit(suffix):
    """Connecting again would not help."""
    line = b'{"errors":[{"title":"Blocked","detail":"No credits.","type":"https://api.x.com/2/problems/%s"}]}' % suffix

    assert OutOfCredit is type(read(stream(line + b"\r\n", CLEAN)).end)


def test_an_error_line_without_its_end_is_one():
    """X closes right after it."""
    assert Disconnected is type(read(stream(ERROR % (b"SlowReader", b"x"), CUT)).end)


def test_an_error_line_may_say_nothing():
    """Whatever stands in it."""
    assert Disconnected is type(stream_error(b'{"errors":[]}'))
    assert Disconnected is type(stream_error(b'{"errors":["?"]}'))


def test_a_post_with_errors_beside_its_data_is_a_post():
    """Something it refers to could not be found."""
    line = b'{"errors":[{"title":"Not Found Error"}],"data":{"id":"1"}}'

    assert [line] == read(stream(line + b"\r\n", CLEAN)).lines


# -- lines


def test_a_line_is_byte_for_byte_xs():
    """No decoding, no line end, whatever the chunks."""
    body = OTHER + b"\r\n\r\n" + POST + b"\r\n"

    for size in (1, 2, 3, 7, 50):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert [OTHER, POST] == read(stream(*pieces, CLEAN)).lines


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from([POST, OTHER, b"", b"x" * 3000]), min_size=1, max_size=30), st.data())
def test_chunks_may_be_cut_anywhere_on_the_wire(lines, data):
    """Neither chunk heads nor chunk ends need to arrive whole."""
    body = b"".join(line + b"\r\n" for line in lines)
    edges = sorted(data.draw(st.lists(st.integers(1, len(body)), max_size=10)))
    chunks = b"".join(chunk(body[a:b]) for a, b in zip([0, *edges], [*edges, len(body)], strict=True) if b > a)
    wire_bytes = chunks + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(1, len(wire_bytes)), max_size=6)))
    packets = [wire_bytes[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire_bytes)], strict=True)]
    script = [part for packet in packets for part in (raw(packet), pause(0.001))]

    reading = read(stream(*script))

    assert [line for line in lines if line] == reading.lines
    assert "X closed the stream" == str(reading.end)


# what ends a body: the last chunk, with trailers or without; nothing; something that is no chunk; half of a chunk
ENDS = [b"0\r\n\r\n", b"000;last\r\nServer-Timing: 1\r\n\r\n", b"", b"no chunk\r\n", b"fffff\r\n"]
HEADS = [b"%x\r\n", b"%X\r\n", b"00%x\r\n", b"%x;name=value\r\n", b"%x ;n\r\n"]


class Sock:
    """A socket whose every recv brings one of *pieces*."""

    def __init__(self, pieces):
        self.pieces = deque(pieces)

    def makefile(self, mode):
        return self

    def read1(self, limit):
        return self.pieces.popleft() if self.pieces else b""

    recv = read1

    def readline(self, limit):
        return self.pieces.popleft()

    def flush(self):
        """Nothing to do."""

    close = flush


def received(pieces, take):
    """All that *take* gets out of an answer whose body arrives in *pieces*, and the error it ends with."""
    head = [b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n"]
    response = _BulkResponse(Sock([*head, *pieces]), method="GET")
    response.begin()
    got = []
    try:
        while more := take(response):
            got.append(more)
    except HTTPException as error:
        return got, error
    return got, None


@given(
    st.lists(st.tuples(st.sampled_from([POST, OTHER, b"", b"\r", b"x" * 300]), st.sampled_from([b"\n", b"\r\n"]))),
    st.sampled_from([b"", POST[:9], b"\r"]),
    st.sampled_from(ENDS),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.randoms(use_true_random=False),
)
def test_lines_are_cut_out_of_chunks_as_out_of_the_body(lines, rest, end, off, random):
    """A chunk a line, chunks anywhere, pieces anywhere: lines, rest and error are those of the plain body."""
    written = [line + ending for line, ending in lines]
    body = b"".join(written) + rest
    edges = {len(body)} | {at for at in accumulate(map(len, written)) if random.random() >= off}
    edges |= {random.randint(0, len(body)) for _ in range(int(off * 20))}
    chunks = [body[begin:stop] for begin, stop in pairwise(sorted({0} | edges)) if begin < stop]
    on_wire = b"".join(random.choice(HEADS) % len(part) + part + b"\r\n" for part in chunks) + end
    cuts = sorted({random.randint(0, len(on_wire)) for _ in range(random.choice([0, 1, 5, 50, 500]))})
    pieces = [on_wire[begin:stop] for begin, stop in pairwise([0, *cuts, len(on_wire)]) if begin < stop]
    direct, plain = LineSplitter(10_000), LineSplitter(10_000)

    def lines_of(response):
        piece, spans = response.read_chunks(1 << 20)
        return spans and [direct.split(piece, spans)]

    got, error = received(pieces, lines_of)
    bodies, other = received(pieces, lambda response: response.read1(1 << 20))

    assert body == b"".join(bodies)
    assert [lines for (lines,) in got] == [plain.split(body) for body in bodies]
    assert [line.removesuffix(b"\r") for line in body.split(b"\n")[:-1]] == [line for (ls,) in got for line in ls]
    assert plain.rest == direct.rest
    assert (type(other), str(other)) == (type(error), str(error))
    assert (end in ENDS[:2]) == (error is None)


def test_a_line_is_copied_once():
    """What a chunk holds is one line: it is cut out of what was received, and nothing is joined before."""
    on_wire = b"".join(chunk(line + b"\r\n") for line in [POST, OTHER, b""])

    got, _ = received([on_wire], lambda response: response.read_chunks(1 << 20))

    assert on_wire is got[0][0]
    assert [len(POST) + 2, len(OTHER) + 2, 2] == [stop - begin for begin, stop in got[0][1]]


@pytest.mark.parametrize("length", [b"", b"Content-Length: %d\r\n"])
def test_a_body_without_chunks_is_read(length):
    """A proxy may have put it together."""
    body = POST + b"\r\n" + OTHER + b"\r\n"

    def step(connection, request, server):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + (length and length % len(body)) + b"\r\n" + body)
        return False

    reading = read(step)

    assert [POST, OTHER] == reading.lines
    assert "X closed the stream" == str(reading.end)


def test_a_keep_alive_is_an_arrival_without_lines():
    """It says that X was heard, and keeps the connection alive beyond the silence."""
    beats = [b"\r\n", pause(0.35)] * 3

    reading = read(stream(*beats, POST + b"\r\n", CLEAN), limits=Limits(silence_secs=1.0))

    assert [(), (), (), (POST,)] == [arrival.lines for arrival in reading.arrivals]
    assert [0, 0, 0, held_bytes([POST])] == [arrival.size for arrival in reading.arrivals]
    assert clock.now() - 5 < reading.arrivals[0].at < reading.arrivals[-1].at < clock.now()


def test_half_a_keep_alive_is_none():
    """CR LF in two pieces is one keep-alive, not two."""
    assert 1 == len(read(stream(b"\r", pause(0.05), b"\n", CLEAN)).arrivals)


def test_what_arrives_together_is_put_together():
    """One arrival for many posts: that is what makes it fast."""
    reading = read(stream(*[POST + b"\r\n"] * 500, CLEAN), limits=PATIENT)

    assert 500 == len(reading.lines)
    assert len(reading.arrivals) < 250


def test_a_last_line_without_its_end_is_delivered_if_it_is_complete():
    """The post was written; only CR LF is missing."""
    for end in (CLEAN, CUT, RESET):
        reading = read(stream(POST + b"\r\n" + OTHER, end))
        assert [POST, OTHER] == reading.lines
        assert "unfinished" not in str(reading.end)


def test_a_cut_line_is_dropped_and_named():
    """It is no post, and nobody wonders where it went."""
    reading = read(stream(POST + b"\r\n" + OTHER[:20], CUT))

    assert [POST] == reading.lines
    assert "20 bytes of an unfinished line were dropped" in str(reading.end)


def test_a_huge_line_is_a_line():
    """Megabytes in one post, in many pieces."""
    line = b'{"data":{"id":"1","text":"' + b"x" * 3_000_000 + b'"}}'

    assert [line] == read(stream(line + b"\r\n", CLEAN), limits=PATIENT).lines


def test_an_endless_line_ends_the_connection():
    """Memory is bounded; the message names the limit."""
    reading = read(
        stream(POST + b"\r\n", *[b"x" * 50_000] * 5, HOLD), limits=Limits(silence_secs=20, max_line_bytes=100_000)
    )

    assert [POST] == reading.lines
    assert ConnectionLost is type(reading.end)
    assert "100,000 bytes" in str(reading.end)


def test_gzip_is_read_message_by_message():
    """A compressed stream, flushed per message, delays nothing."""
    reading = read(stream(b"\r\n", pause(0.1), POST + b"\r\n", OTHER + b"\r\n", HOLD, gzip=True), limits=QUICK)

    assert [POST, OTHER] == reading.lines
    assert "Nothing was heard" in str(reading.end)


def test_a_large_gzip_stream_is_read():
    """Pieces that grow beyond what was read, too."""
    lines = [POST[:-1] + b" " * 5000 + b"}" for _ in range(2000)]

    assert lines == read(stream(b"".join(line + b"\r\n" for line in lines), CLEAN, gzip=True), limits=PATIENT).lines


def test_a_broken_gzip_stream_is_a_lost_connection():
    """Not a crash."""
    reading = read(stream(raw(chunk(b"no gzip")), HOLD, headers=b"Content-Encoding: gzip\r\n"))

    assert ConnectionLost is type(reading.end)


# -- the request


def test_the_request_is_what_x_documents(caplog):
    """Token, parameters and the product's name; tweepy warns about no parameter."""
    parameters = {
        "tweet.fields": "id,text",
        "partition": 3,
        "backfill_minutes": 5,
        "start_time": "2026-11-01T12:00:00Z",
    }

    with caplog.at_level(logging.DEBUG):
        reading = read(stream(CLEAN), parameters=parameters)

    (request,) = reading.requests
    assert (
        PATH + "?tweet.fields=id%2Ctext&partition=3&backfill_minutes=5&start_time=2026-11-01T12%3A00%3A00Z"
    ) == request.path
    assert "Bearer the-token" == request.headers["authorization"]
    assert request.headers["user-agent"].startswith("murmuration-connector/")
    assert [] == [record for record in caplog.records if record.levelno >= logging.INFO]
    assert "the-token" not in caplog.text


def test_the_clock_of_x_is_compared_with_ours():
    """`Date` has whole seconds, so half a second is added; without it the clocks are taken for equal."""
    reading = read(stream(CLEAN))
    without = read(stream(CLEAN, date=None))

    assert 1793536496.0 == reading.connection.date
    (connected,) = reading.connected
    assert pytest.approx(1793536496.5 - connected.at) == connected.skew_secs
    assert pytest.approx(clock.now(), abs=5) == connected.at
    assert None is without.connection.date
    assert 0.0 == without.connected[0].skew_secs


@pytest.mark.parametrize("date", [b"Sun, 01 Nov 99999999999999999999 12:34:56 GMT", b"now", b"\xff\xfe", b""])
def test_a_date_that_is_none_costs_only_the_comparison(date):
    """The connection is as good as any."""
    reading = read(stream(POST + b"\r\n", CLEAN, date=date or None))

    assert [POST] == reading.lines
    assert [(0.0, None)] == [(connected.skew_secs, connected.date) for connected in reading.connected]


def test_a_netrc_file_does_not_replace_the_token(tmp_path, monkeypatch):
    """requests would look there for the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))

    assert "Bearer the-token" == read(stream(CLEAN)).requests[0].headers["authorization"]


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    """As requests does it."""
    with ScriptedServer([stream(POST + b"\r\n", CLEAN)]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        reading = Reading(Connection("http://x.example/2/stream", "t", {})).run()

    assert [POST] == reading.lines
    assert "http://x.example/2/stream" == proxy.requests[0].path


def test_an_interval_is_over_when_x_closes():
    """With `end_time` a clean close is the end of the replay, any other end is not."""
    interval = {"start_time": "2026-11-01T12:00:00Z", "end_time": "2026-11-01T12:05:00Z"}

    assert None is read(stream(POST + b"\r\n", CLEAN), parameters=interval).end
    assert ConnectionLost is type(read(stream(POST + b"\r\n", CUT), parameters=interval).end)
    assert ConnectionLost is type(read(stream(POST[:9], CLEAN), parameters=interval).end)


def test_an_error_of_put_leaves():
    """It is not ours, and it is not swallowed."""

    def put(arrival):
        raise KeyError("tag")

    with ScriptedServer([stream(POST + b"\r\n", HOLD)]) as server:
        with pytest.raises(KeyError):
            Connection(server.url, "t", {}).read(put, lambda _: None)
        assert server.closed.wait(5)
        assert 1 == server.connections


# -- stop


def stop_in(connection, when, put=None, free=lambda: None):
    """Read in a thread, stop when *when* says so; return how long `read` took to return after that."""
    reading = Reading(connection)
    if put is not None:
        reading.arrivals = type("Sink", (list,), {"append": put})()
    thread = threading.Thread(target=reading.run, daemon=True)
    thread.start()
    when()
    begin = time.monotonic()
    connection.stop()
    free()
    thread.join(5)
    assert not thread.is_alive()
    assert None is reading.end
    return time.monotonic() - begin


def test_stop_before_the_read():
    """Then there is no connect at all."""
    with ScriptedServer([stream(HOLD)]) as server:
        connection = Connection(server.url, "t", {})
        connection.stop()

        assert None is Reading(connection).run().end
        assert 0 == server.connections


def test_stop_while_it_connects():
    """A host that drops packets: the handshake of TCP hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # the queue is full then, and the kernel ignores whoever else knocks
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
                filler.connect_ex(listener.getsockname())
            connection = Connection(f"http://127.0.0.1:{listener.getsockname()[1]}", "t", {}, limits=PATIENT)

            assert stop_in(connection, lambda: time.sleep(0.2)) < 1


def test_stop_while_tls_shakes_hands():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(f"https://127.0.0.1:{listener.getsockname()[1]}", "t", {}, limits=PATIENT)

        assert stop_in(connection, lambda: time.sleep(0.2)) < 1


def test_stop_while_x_does_not_answer():
    """The head never comes."""
    with ScriptedServer([silence()]) as server:
        assert stop_in(Connection(server.url, "t", {}, limits=PATIENT), server.held.wait) < 1
        assert server.closed.wait(5)


@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n"])
def test_stop_in_a_blocked_read(headers):
    """The socket is closed then: X counts an open one as a connection."""
    with ScriptedServer([stream(POST + b"\r\n", HOLD, headers=headers)]) as server:
        assert stop_in(Connection(server.url, "t", {}, limits=PATIENT), server.held.wait) < 1
        assert server.closed.wait(5)
        assert 1 == server.connections


def test_stop_in_a_blocked_refusal():
    """Half of an error's body, and no more."""

    def step(connection, request, server):
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nhalf")
        server.hold(connection)
        return False

    with ScriptedServer([step]) as server:
        assert stop_in(Connection(server.url, "t", {}, limits=PATIENT), server.held.wait) < 1


def test_stop_in_a_blocked_put():
    """Its owner lets go of the put; nothing is read after it."""
    full, room = threading.Event(), threading.Event()
    put = []

    def block(_, arrival):
        put.append(arrival)
        full.set()
        room.wait(5)

    with ScriptedServer([stream(POST + b"\r\n", pause(0.1), POST + b"\r\n", HOLD)]) as server:
        connection = Connection(server.url, "t", {}, limits=PATIENT)

        assert stop_in(connection, full.wait, put=block, free=room.set) < 1
        assert 1 == len(put)


def test_stop_is_idempotent():
    """Also after the end."""
    reading = read(stream(CLEAN))

    reading.connection.stop()
    reading.connection.stop()


def test_a_cut_wire_takes_no_socket():
    """A connect that begins after the stop ends before it begins."""
    wire = Wire()
    wire.cut()
    with socket.socket() as sock, pytest.raises(OSError, match="stopped"):
        wire.attach(sock)


def test_every_end_closes_the_socket():
    """Also an end of our own making, such as silence."""
    with ScriptedServer([stream(POST + b"\r\n", HOLD)]) as server:
        Reading(Connection(server.url, "t", {}, limits=QUICK)).run()
        assert server.closed.wait(5)


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    try:
        subprocess.run(  # noqa: S603 - arguments of our own
            [*command, *names, "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        skip("needs openssl to make a certificate")
    return folder


@contextlib.contextmanager
def tls_server(certificate):
    """Sends one post over TLS and then keeps quiet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    held = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(POST + b"\r\n"))
                held.set()
                sock.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", held
        thread.join(5)
        assert not thread.is_alive()


def test_stop_in_a_blocked_read_over_tls(certificate, monkeypatch):
    """The TLS layer has replaced the socket by then."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert"))
    with tls_server(certificate) as (url, held):
        connection = Connection(url, "t", {}, limits=PATIENT)
        assert stop_in(connection, held.wait) < 1


def test_a_certificate_of_nobody_is_refused(certificate):
    """Verification is on, and the message says what is wrong."""
    with tls_server(certificate) as (url, _):
        end = Reading(Connection(url, "t", {})).run().end

    assert "certificate" in str(end).lower()


# -- was that all?


class Stall(list):
    """
    Arrivals of a reader that stalls at the first one, until *behind* has been sent.

    That a full buffer or a sleeping process does: what X sends meanwhile waits on this host.
    """

    def __init__(self, behind, *, close=False):
        super().__init__()
        self.behind, self.close = behind, close
        self.stalled, self.sent = threading.Event(), threading.Event()

    @property
    def drained(self):
        return [arrival.drained for arrival in self]

    def append(self, arrival):
        super().append(arrival)
        if len(self) == 1:
            self.stalled.set()
            assert self.sent.wait(5)
            time.sleep(0.05)  # from there to here

    def serve(self, sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"\r\n"))
        assert self.stalled.wait(5)
        sock.sendall(self.behind)
        if self.close:
            sock.shutdown(socket.SHUT_WR)
        self.sent.set()
        with contextlib.suppress(OSError):
            sock.recv(1)


@pytest.fixture(params=["http", "https"])
def stall(request, monkeypatch):
    """Read from a server that sends a keep-alive, and *behind* while its reader stalls; return the arrivals."""
    context = None
    if request.param == "https":
        folder = request.getfixturevalue("certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert", folder / "key")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert"))

    def run(behind, *, piece_bytes=None, close=False):
        if piece_bytes is not None:
            monkeypatch.setattr(wire_module, "PIECE_BYTES", piece_bytes)
        stall = Stall(behind, close=close)
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve():
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) if context else plain as sock:
                    stall.serve(sock)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            port = listener.getsockname()[1]
            reading = Reading(Connection(f"{request.param}://127.0.0.1:{port}", "t", {}, limits=QUICK))
            reading.arrivals = stall
            reading.run()
            thread.join(5)
            assert not thread.is_alive()
        assert ConnectionLost is type(reading.end)
        return stall

    return run


def test_a_keep_alive_alone_is_drained(stall):
    """Nothing more was here: all that X had sent until then has been heard."""
    assert [True, True] == stall(chunk(b"\r\n")).drained


def test_what_waits_behind_a_keep_alive_is_seen(stall):
    """After a stall the first keep-alives are old; only with the last one the present is reached."""
    half = io.DEFAULT_BUFFER_SIZE // 2
    arrivals = stall(chunk(b"\r\n" * 3 * half), piece_bytes=io.DEFAULT_BUFFER_SIZE)

    assert [True, False, False, False, True] == arrivals.drained
    assert [()] * 5 == [arrival.lines for arrival in arrivals]


def test_what_tls_holds_back_is_seen(stall):
    """TLS decrypts a record of up to 16 KiB at once; of one that is read in parts the kernel has nothing any more."""
    arrivals = stall(chunk(b"\r\n" * 5000), piece_bytes=io.DEFAULT_BUFFER_SIZE)

    assert [True, False, True] == arrivals.drained


def test_an_end_behind_a_keep_alive_is_more(stall):
    """The end was there, so something was missed since."""
    assert [True, False] == stall(chunk(b"\r\n"), close=True).drained
    assert [True, False] == stall(chunk(b"\r\n") + b"0\r\n\r\n").drained


def test_half_a_post_is_more(stall):
    """Its other half is on its way, wherever that is."""
    assert [True, False] == stall(chunk(b"\r\n" + POST[:20])).drained
    assert [True, True] == stall(chunk(b"\r\n" + POST + b"\r\n")).drained


def test_a_compressed_keep_alive_is_drained():
    """If urllib3 keeps nothing back of what it has unpacked."""
    assert [True] == [arrival.drained for arrival in read(stream(b"\r\n", HOLD, gzip=True), limits=QUICK).arrivals]


def test_what_urllib3_keeps_back_is_seen():
    """What one read of the socket brought may unpack to more than one piece."""
    reading = read(stream(b"\r\n" * 400_000, HOLD, gzip=True), limits=QUICK)

    assert [False, False, False, True] == [arrival.drained for arrival in reading.arrivals]


def test_where_it_cannot_be_known_it_is_not_claimed(stall):
    """A read smaller than Python's own buffer may leave something in it."""
    assert {False} == set(stall(chunk(b"\r\n" * 50), piece_bytes=60).drained)
