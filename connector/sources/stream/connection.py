"""
One connection of one stream, by tweepy's `StreamingClient` without its retries.

    read ─▶ tweepy's loop ─▶ GET ─▶ head ─▶ _on_head ──(not 200)──▶ classify ─▶ raise
                                                   │ 200: the answer's `iter_lines` becomes `_arrivals`
                                                   ▼
               put ◀── on_data ◀── tweepy's loop over `iter_lines`, one arrival with many lines at a time
                                                   │ closed, broken, silent, error line, stop
                                                   ▼
                                                 raise, and tweepy's loop ends

Three habits of tweepy do not suit a connector:

* tweepy reconnects by itself, without a pause after a clean close, and does not know our offset.  So our hooks raise,
  and `on_exception` raises the error again; tweepy's loop runs once.
* tweepy passes on the status of a refusal but not the body.  Only the body tells a second connection, a rate limit and
  a used-up cap apart, as all have status 429.  requests calls a *response hook* before tweepy sees the answer; our hook
  reads the body and raises.
* tweepy iterates `response.iter_lines(chunk_size)`, which joins and splits strings every 512 bytes and yields false
  empty lines where CR LF is cut in two.  Our hook replaces `iter_lines` *of this one answer* by `_arrivals`, which
  yields all lines of one read together; so one turn of tweepy's loop moves all posts that one read of the socket got.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NoReturn

import requests
from tweepy.streaming import StreamingClient
from urllib3.exceptions import HTTPError, ReadTimeoutError

from connector.errors import ConnectionLost, ConnectorError, Disconnected, OutOfCredit
from connector.records import clock
from connector.records.record import Arrival, Connected, held_bytes
from connector.sources.http.headers import date_of
from connector.sources.http.internals import run_stream
from connector.sources.http.session import USER_AGENT, prepare
from connector.sources.http.wire import Body, Spans, Wire
from connector.sources.rest.api import (
    CONNECT_TIMEOUT_SECS,
    HTTP_OK,
    classify,
    error_body,
    network_error,
    parse_problem,
    redacted,
)
from connector.sources.stream.begin import WORDS_BYTES, Begin
from connector.sources.stream.lines import LineSplitter, LineTooLong, is_whole, sort

Piece = tuple[bytes, Spans]

SILENCE_SECS = 25.0
"""
A connection on which nothing arrives for so many seconds is dead.

X sends something about every 20 s (docs.x.com: consuming-streaming-data); the time varies by more than 1 s.
"""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""The longest line that is accepted, in bytes: 64 times the largest post that X's limits allow."""

HEAD_SECS = 60.0
"""
The longest time until a connect is answered, in seconds.

It includes the connection, TLS, the head, and the bytes that show that a stream begins, or the body of a refusal.
"""

WORDS_SECS = 2.0
"""How many seconds to wait for the first words of an answer that is no stream; they go into the error message."""

LINE_SECS = 60.0
"""The longest time for one line, in seconds: a peer that sends one byte at a time is not X."""

DATE_RESOLUTION_SECS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a connection counts as dead (seconds), and which line is too long for a post (bytes)."""

    silence_secs: float = SILENCE_SECS
    max_line_bytes: int = MAX_LINE_BYTES
    head_secs: float = HEAD_SECS
    line_secs: float = LINE_SECS


DEFAULT_LIMITS = Limits()


class Connection(StreamingClient):
    """
    One connection to the stream at *url* with *parameters*; used once.

    With the parameter `end_time` the stream is finite: X closes it after the interval, and `read` returns.

    *date* is the time at X (whole UNIX seconds) when X answered with a stream; None before, or if X did not tell.
    *remark* is called with each error line that does not end the stream.
    """

    def __init__(
        self,
        url: str,
        token: str,
        parameters: Mapping[str, str | int],
        *,
        wire: Wire | None = None,
        limits: Limits = DEFAULT_LIMITS,
        remark: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        super().__init__(token)
        self.date: float | None = None
        self.user_agent = USER_AGENT
        self._wire = wire or Wire()
        prepare(self.session, self._wire)
        self.session.hooks["response"].append(self._on_head)
        self._url = url
        self._parameters = dict(parameters)
        self._limits = limits
        self._remark = remark
        self._put: Callable[[Arrival], None]
        self._connected: Callable[[Connected], None]

    def read(self, put: Callable[[Arrival], None], connected: Callable[[Connected], None]) -> None:
        """
        Connect, and *put* what arrives until the connection ends.  Reader thread; it also calls *put* and *connected*.

        *connected* is called once, when X has accepted.  Lines that arrived before the end are put before the error is
        raised.  A last line that only lacks its line end is put; an incomplete last line is dropped, and the message
        says so.  The socket is always closed, because X counts an open socket as a connection.

        Returns when `stop` was called, or when X has sent the whole interval up to `end_time`.

        Raises:
            ConnectorError: how the connection ended, or why it could not be made.
        """
        self._put = put
        self._connected = connected
        self._wire.limit(self._limits.head_secs)
        try:
            self.session.headers["Authorization"] = f"Bearer {self.bearer_token}"
            timeout = (CONNECT_TIMEOUT_SECS, self._limits.silence_secs)
            run_stream(self, self._url, params=self._parameters, timeout=timeout)
        except ConnectorError:
            if not self._wire.is_cut:
                raise
        finally:
            self._wire.unlimit()
            self._wire.hang_up()

    def stop(self) -> None:
        """
        End `read` at once, even if it waits for the network.  Any thread; idempotent.

        A blocked `put` does not end by this: the owner of the buffer must free it.
        """
        self.running = False  # for tweepy's loop, after a `put` that was blocked
        self._wire.cut()

    # -- hooks that tweepy calls, all in the reader thread

    def on_connect(self) -> None:
        """Tell the task that X has accepted."""
        now = clock.now()
        # `Date` has whole seconds; X's clock is half a second ahead of it on average
        skew = 0.0 if self.date is None else self.date + DATE_RESOLUTION_SECS / 2 - now
        self._connected(Connected(at=now, skew_secs=skew, date=self.date))
        if self._wire.is_cut:
            self.running = False

    def on_data(self, raw_data: Arrival) -> None:
        """Put what one read of the socket brought; blocks while the buffer is full."""
        self._put(raw_data)
        if self._wire.is_cut:
            self.running = False

    def on_closed(self, response: requests.Response) -> None:
        """End tweepy's loop without an error: `_arrivals` has raised already, unless a finite stream is complete."""
        self.running = False

    def on_connection_error(self) -> NoReturn:
        """Raise, so that tweepy does not wait and connect again.  tweepy calls this from its `except`."""
        error = sys.exception()
        if self._wire.is_late:
            raise ConnectionLost(f"X did not answer the connect within {self._limits.head_secs:g} s")
        if isinstance(error, requests.ReadTimeout):
            raise ConnectionLost(f"X did not answer the connect within {self._limits.silence_secs:g} s")
        raise network_error(error)

    def on_request_error(self, status_code: int) -> NoReturn:
        """Raise, so that tweepy does not connect again; normally `_on_head` has raised a better error already."""
        raise classify(status_code, {}, b"")

    def on_exception(self, exception: Exception) -> NoReturn:
        """Raise the error to the caller of `read`; tweepy itself would only log it."""
        if isinstance(exception, requests.RequestException | HTTPError | OSError):
            raise network_error(exception) from None
        raise exception

    def on_disconnect(self) -> None:
        """Do nothing: the error that `read` raises tells more than tweepy's log line."""

    # -- our own methods

    def _on_head(self, response: requests.Response, **_: Any) -> None:
        if response.status_code != HTTP_OK:
            with response:
                words = redacted(error_body(response.raw), self.bearer_token)
            raise classify(response.status_code, response.headers, words)
        begin, body = Begin(response.headers, self.bearer_token), Body(response.raw)
        try:
            begin.check_head()
            # a page is recognised here, before the task is told that X has accepted
            first = self._first(body, begin) if begin.is_called_page else None
        except ConnectorError:
            response.close()
            raise
        self._wire.unlimit()
        self.date = date_of(response.headers)
        response.iter_lines = lambda **_: self._arrivals(body, begin, first)  # type: ignore[method-assign]  # see above

    def _first(self, body: Body, begin: Begin) -> Piece:
        """
        Return the first piece that is not blank, of an answer whose head calls it a page.

        Raises:
            ServiceUnavailable: the answer does not begin like a stream.
        """
        while True:
            try:
                piece, spans = body.read()
            except (HTTPError, HTTPException, OSError) as error:
                begin.check_failure(error)
                if self._wire.is_late:
                    raise begin.no_stream(b"") from None
                raise network_error(error) from None
            if not spans:
                raise begin.no_stream(b"")
            text = _text(piece, spans)
            if text.strip():
                self._look(text, body, begin)
                return piece, spans

    def _look(self, text: bytes, body: Body, begin: Begin) -> None:
        if begin.may_go_on(text):
            return
        self._wire.limit(WORDS_SECS)
        with contextlib.suppress(HTTPError, HTTPException, OSError):
            while len(text) < WORDS_BYTES and (read := body.read())[1]:
                text += _text(*read)
        raise begin.no_stream(text[: 2 * WORDS_BYTES])

    def _arrivals(self, body: Body, begin: Begin, first: Piece | None) -> Iterator[Arrival]:
        splitter = LineSplitter(self._limits.max_line_bytes)
        half_since: float | None = None
        while True:
            try:
                piece, spans = first or body.read()
            except (HTTPError, HTTPException, OSError) as error:
                how = self._how(error)
                break
            if not spans:
                how = "" if "end_time" in self._parameters else "X closed the stream"
                break
            at = clock.now()  # taken before `is_drained` looks: bytes that arrive in between count as later
            if not (first or begin.has_line):
                self._look(_text(piece, spans), body, begin)
            first = None
            if lines := self._split(splitter, piece, spans, begin):
                half_since = None
                # after half a line there is always more to come, so the arrival is not drained
                yield from self._arrival(lines, at, drained=not splitter.has_rest and body.is_drained)
            elif at - (half_since := half_since or at) > self._limits.line_secs:
                how = f"A line was not complete after {self._limits.line_secs:g} s"
                break
        rest = splitter.rest
        if rest and is_whole(rest):
            begin.check_lines([rest])
            yield from self._arrival([rest], clock.now(), drained=False)
        elif rest:
            how = f"{how or 'X closed the stream'}; {len(rest):,} bytes of an unfinished line were dropped"
        if how:
            raise ConnectionLost(how)
        self.running = False  # the replay is over: no second turn of tweepy's loop

    def _how(self, error: Exception) -> str:
        if isinstance(error, ReadTimeoutError | TimeoutError):
            return f"Nothing was heard for {self._limits.silence_secs:g} s"
        return str(network_error(error))

    def _split(self, splitter: LineSplitter, piece: bytes, spans: Spans, begin: Begin) -> list[bytes]:
        try:
            lines = splitter.split(piece, spans)
        except LineTooLong:
            if not begin.has_line:
                raise begin.no_stream(splitter.rest[: 2 * WORDS_BYTES]) from None
            raise ConnectionLost(
                f"X sent a line of over {self._limits.max_line_bytes:,} bytes, which is no post"
            ) from None
        if not begin.has_line:
            begin.check_lines(lines)
        return lines

    def _arrival(self, lines: Sequence[bytes], at: float, *, drained: bool) -> Iterator[Arrival]:
        # posts first, then the error: an error line never overtakes posts that came with it
        posts, end = sort(lines, self._remark)
        yield Arrival(lines=posts, at=at, size=held_bytes(posts), drained=drained)
        if end is not None:
            raise stream_error(end)


def stream_error(line: bytes) -> ConnectorError:
    """
    Return the error that an error *line* stands for (docs.x.com: handling-disconnections).

    Rules that became invalid (InvalidRules) are an ordinary disconnect; the refusal of the next connect tells more.
    """
    problem = parse_problem(line)
    words = " ".join(filter(None, [problem.disconnect_type, problem.words])) or "without saying why"
    kind = OutOfCredit if problem.is_about_credit else Disconnected
    return kind(f"X ended the stream: {words}", title=problem.title, detail=problem.detail)


def _text(piece: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    return b"".join([piece[begin:end] for begin, end in spans])
