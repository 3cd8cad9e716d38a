"""
One connection of one stream, by tweepy's `StreamingClient` without its retries.

    read ─▶ tweepy's loop ─▶ GET ─▶ head ─▶ _on_head ──(not 200)──▶ classify ─▶ raise
                                                   │ 200: the answer's `iter_lines` becomes `_arrivals`
                                                   ▼
               put ◀── on_data ◀── tweepy's loop over `iter_lines`, one arrival with many lines at a time
                                                   │ closed, broken, silent, error line, stop
                                                   ▼
                                                 raise, and tweepy's loop ends

Three things of tweepy are in the way of a connector, and this is what is done about each:

* It reconnects by itself, without a pause after a clean close, and forgets our offset.  Every hook raises, and
  `on_exception` lets the error leave; so its loop runs once.
* It hands out the status of a refusal but not the body, in which a second connection, a rate limit and a used-up cap
  differ (all 429).  requests calls a *response hook* before tweepy sees the answer; ours reads the body and raises.
* It iterates `response.iter_lines(chunk_size)`, which joins and splits strings every 512 bytes and invents empty lines
  where CR LF is cut in two.  The hook replaces `iter_lines` *of this one answer* by `_arrivals`, which yields whole
  arrivals; so one turn of tweepy's loop moves as many posts as one read of the socket brought.
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
X sends something every 20 s, give or take more than 1 s (docs.x.com: consuming-streaming-data); longer silence means a
dead connection.
"""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""64 times the largest post that X's limits allow for: a line that grows beyond is not one."""

HEAD_SECS = 60.0
"""
The longest time until a connect is answered: connection, TLS, head, and what shows that a stream begins, or the body of
a refusal.
"""

WORDS_SECS = 2.0
"""How long the first words of what is no stream are waited for."""

LINE_SECS = 60.0
"""The longest time for one line: whoever sends a byte now and then is no stream of X."""

DATE_RESOLUTION_SECS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a connection counts as dead, and what is too long for a post."""

    silence_secs: float = SILENCE_SECS
    max_line_bytes: int = MAX_LINE_BYTES
    head_secs: float = HEAD_SECS
    line_secs: float = LINE_SECS


DEFAULT_LIMITS = Limits()


class Connection(StreamingClient):
    """
    One connection to the stream at *url* with *parameters*; used once.

    With the parameter `end_time` the stream is finite: X closes it after the interval, and `read` returns.

    *date* is X's clock (UNIX seconds, whole) when it answered, if it did.  *remark* is called with each line of X about
    an error that does not end the stream.
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
        Connect, and *put* what arrives until the connection ends.  Reader thread, which also makes both calls.

        *connected* is called once, when X has accepted.  Lines that arrived before the end are put before it is
        raised.  A last line that is complete but for its line end is put, a cut one is not, and named in the message.
        The socket is closed in any case, because X counts an open one as a connection.

        Returns when `stop` was called, or after the interval of `end_time`.

        Raises:
            ConnectorError: how the connection ended, or why there is none.
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
        """End `read` at once, whatever it is at; a blocked `put` is its owner's to free.  Any thread; idempotent."""
        self.running = False  # for tweepy's loop, after a `put` that was blocked
        self._wire.cut()

    # -- tweepy's side, all in the reader thread

    def on_connect(self) -> None:
        """Tell the task that X has accepted."""
        now = clock.now()
        # X's clock says whole seconds: on average half a second more has passed
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
        """Say nothing: `_arrivals` has already raised, unless the stream was finite and is over."""
        self.running = False

    def on_connection_error(self) -> NoReturn:
        """End here instead of waiting and connecting again.  tweepy calls this from its `except`."""
        error = sys.exception()
        if self._wire.is_late:
            raise ConnectionLost(f"X did not answer the connect within {self._limits.head_secs:g} s")
        if isinstance(error, requests.ReadTimeout):
            raise ConnectionLost(f"X did not answer the connect within {self._limits.silence_secs:g} s")
        raise network_error(error)

    def on_request_error(self, status_code: int) -> NoReturn:
        """End here; `_on_head` has already raised something better."""
        raise classify(status_code, {}, b"")

    def on_exception(self, exception: Exception) -> NoReturn:
        """Let the error leave, which tweepy would log."""
        if isinstance(exception, requests.RequestException | HTTPError | OSError):
            raise network_error(exception) from None
        raise exception

    def on_disconnect(self) -> None:
        """Say nothing: the error that leaves says it."""

    # -- our side

    def _on_head(self, response: requests.Response, **_: Any) -> None:
        if response.status_code != HTTP_OK:
            with response:
                words = redacted(error_body(response.raw), self.bearer_token)
            raise classify(response.status_code, response.headers, words)
        begin, body = Begin(response.headers, self.bearer_token), Body(response.raw)
        try:
            begin.check_head()
            # whether a page is one shows before the task is told that X has accepted
            first = self._first(body, begin) if begin.is_called_page else None
        except ConnectorError:
            response.close()
            raise
        self._wire.unlimit()
        self.date = date_of(response.headers)
        response.iter_lines = lambda **_: self._arrivals(body, begin, first)  # type: ignore[method-assign]  # the trick

    def _first(self, body: Body, begin: Begin) -> Piece:
        """
        Return the first piece that is not blank, of an answer that is called a page.

        Raises:
            ServiceUnavailable: it does not begin as a stream.
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
            at = clock.now()  # before the look whether more waits: what comes between counts as later
            if not (first or begin.has_line):
                self._look(_text(piece, spans), body, begin)
            first = None
            if lines := self._split(splitter, piece, spans, begin):
                half_since = None
                # half a line has more behind it, wherever that is
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
        # Posts first, then the reason: an error line never overtakes what came with it.
        posts, end = sort(lines, self._remark)
        yield Arrival(lines=posts, at=at, size=held_bytes(posts), drained=drained)
        if end is not None:
            raise stream_error(end)


def stream_error(line: bytes) -> ConnectorError:
    """
    Return what an error *line* means (docs.x.com: handling-disconnections).

    Rules that became invalid (InvalidRules) are a disconnect like the others: the next connect says more.
    """
    problem = parse_problem(line)
    words = " ".join(filter(None, [problem.disconnect_type, problem.words])) or "without saying why"
    kind = OutOfCredit if problem.is_about_credit else Disconnected
    return kind(f"X ended the stream: {words}", title=problem.title, detail=problem.detail)


def _text(piece: bytes, spans: Sequence[tuple[int, int]]) -> bytes:
    return b"".join([piece[begin:end] for begin, end in spans])
