"""
Sockets that another thread can shut, and a fast read of chunked bodies.

Stop: a blocked `connect`, TLS handshake, wait for the head or read of the body does not notice a flag or a closed file,
but it ends at once when its socket is shut down.  requests hides the socket until the head has arrived.  So the
connection classes here report the socket to a `Wire` as soon as it exists, before it connects.  Only a name lookup
(`getaddrinfo`) cannot be ended.  HTTP proxies work in the same way.  A SOCKS proxy uses other connection classes, so
there a stop waits for the next byte.

Speed: http.client reads a chunked body chunk by chunk, and X sends about one chunk for each post.  `_BulkResponse`
finds all chunks in the bytes of one `recv`.  It returns those bytes and the places of the chunks in them, so that each
line is copied only once, when the lines are split.

Old data: after a stall old bytes wait on this host, and the first bytes that are read do not show the present state of
the stream.  `Body.is_drained` tells whether more bytes wait.
"""

import contextlib
import http.client
import io
import os
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse

from connector.sources.http import internals

PIECE_BYTES = 256 * 1024
"""
The most bytes that one read takes from the socket: some hundred posts.

Measured: with half of this, reading costs a tenth more CPU; with twice as much, hardly less.
"""

MAX_CHUNK_HEAD_BYTES = 64 * 1024
"""The longest chunk head, as in http.client; a longer one is not HTTP."""

Spans = list[tuple[int, int]]
"""The parts of a piece that belong to the body: begin and end of each part, in order; no part is empty."""


class Wire:
    """
    The socket of one source; `cut` ends every call that blocks on the socket, now and later.

    The wire holds a duplicate of the socket's descriptor: TLS replaces the original, but a shutdown through any
    descriptor shuts the connection.  There is one connection at a time, so a new socket replaces the last one.

    The time-out of a socket does not limit a whole request, because each byte that arrives starts it again.  `limit`
    sets a time after which the socket is shut, even if bytes still arrive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = self._is_late = False
        self._timer: threading.Timer | None = None
        self._until = 0.0

    def __del__(self) -> None:
        # an `Api` that nobody closed leaves no socket open; urllib3's pools do the same
        self._let_go()

    @property
    def is_cut(self) -> bool:
        """Whether `cut` was called.  Any thread."""
        return self._is_cut

    @property
    def is_late(self) -> bool:
        """Whether the time of the last `limit` was over before `unlimit`.  Reader thread."""
        with self._lock:
            # a read with the same timeout may end before the timer's thread has run, so look at the clock, too
            self._is_late |= self._timer is not None and time.monotonic() >= self._until
        return self._is_late

    def attach(self, sock: socket.socket) -> None:
        """
        Use *sock*, which may not be connected yet, from now on.  Reader thread.

        Raises:
            OSError: the wire is cut, or the time of `limit` is over.
        """
        with self._lock:
            if self._is_cut or (self._is_late and self._timer):
                raise OSError("stopped")
            self._let_go()
            self._socket = sock.dup()

    def limit(self, secs: float) -> None:
        """After *secs*, shut the connection and refuse new sockets, unless `unlimit` comes first.  Reader thread."""
        timer = threading.Timer(secs, lambda: self._expire(timer))
        timer.daemon = True
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer, self._is_late = timer, False
            self._until = time.monotonic() + secs
        timer.start()

    def unlimit(self) -> None:
        """End the limit.  Reader thread; idempotent."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = None

    @contextlib.contextmanager
    def within(self, secs: float) -> Iterator[None]:
        """Set a limit of *secs* for the block.  Reader thread."""
        self.limit(secs)
        try:
            yield
        finally:
            self.unlimit()

    def cut(self) -> None:
        """End every read, write and connect on the socket, and refuse new ones.  Any thread; idempotent."""
        with self._lock:
            self._is_cut = True
            self._shut()
            self._let_go()

    def hang_up(self) -> None:
        """Close the connection, so that X frees the slot at once; the wire can be used again.  Reader thread."""
        with self._lock:
            self._shut()
            self._let_go()

    def _expire(self, timer: threading.Timer) -> None:
        with self._lock:
            if self._timer is timer:
                self._is_late = True
                self._shut()

    def _shut(self) -> None:
        if self._socket:
            with contextlib.suppress(OSError):  # not connected (any more)
                self._socket.shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


class WireAdapter(HTTPAdapter):
    """An adapter of requests whose connections report their sockets to *wire*."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> ConnectionPool:
        """Return requests' own pool, set to create our connections; requests offers this method for subclasses."""
        pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        if isinstance(pool, HTTPConnectionPool):
            kinds = _CONNECTIONS if internals.is_in_use(internals.SOCKETS) else _LATE_CONNECTIONS
            if kind := kinds.get(pool.ConnectionCls):
                pool.ConnectionCls = partial(kind, self._wire)  # type: ignore[assignment]  # it is only called
        return pool


class _BulkResponse(http.client.HTTPResponse):
    """An answer whose `read1` returns the body bytes of all chunks that one `recv` brings."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._emptied = False  # nothing is left in the file `fp`
        self._poll: select.poll | None = None
        self._left = 0  # bytes of the current chunk that are still to come
        self._inside = False  # a chunk has begun, so its line end is still to come
        self._head = b""  # the begin of a chunk head that arrived in parts
        self._broken: http.client.HTTPException | None = None  # raised after the bytes before it were returned

    def read1(self, n: int = -1) -> bytes:
        """
        Return the bytes that have arrived, at most *n*; wait if there are none.  Empty at the end of the body.

        Raises:
            HTTPException: the peer closed before the last chunk, or sent bytes that are not a chunk.
        """
        limit = PIECE_BYTES if n < 0 else n
        if not self.chunked or self.fp is None:
            self._emptied = _empties(limit)
            return super().read1(limit)
        piece, spans = self.read_chunks(limit)
        return b"".join([piece[start:end] for start, end in spans])

    def read_chunks(self, limit: int) -> tuple[bytes, Spans]:
        """
        Return at most *limit* bytes as they were received, and the spans of the body in them; for a chunked body only.

        Waits if no bytes have arrived.  Returns no spans at the end of the body.

        Raises:
            HTTPException: as `read1`, after the bytes before it were returned.
        """
        if self.fp is None:
            return b"", []
        while self._broken is None:
            # the file holds the bytes that came with the head; after those, reading the socket itself is faster
            piece = self._sock.recv(limit) if self._emptied else self.fp.read1(limit)
            self._emptied = self._emptied or _empties(limit)
            if not piece:
                self._broken = http.client.IncompleteRead(b"")
                break
            if self._head:
                piece = self._head + piece
            spans = self._find_chunks(piece)
            if spans or self.fp is None:
                return piece, spans
        internals.close_file(self)
        raise self._broken

    @property
    def drained(self) -> bool:
        """Whether no more bytes wait on this host; False at the end of the body, and if it cannot be known."""
        if self.fp is None or self._broken is not None or not self._emptied:
            return False
        if isinstance(self._sock, ssl.SSLSocket):
            if self._sock.pending():
                return False
        elif not isinstance(self._sock, socket.socket):  # TLS inside a proxy's TLS has buffers of its own
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        return not self._poll.poll(0)

    def _find_chunks(self, piece: bytes) -> Spans:
        spans: Spans = []
        end = len(piece)
        at = min(self._left, end)
        if at:
            spans.append((0, at))
        self._left -= at
        self._head = b""
        inside = self._inside
        while at < end:
            # the line end of the last chunk (if any), then `<hex size>[;extension]\r\n`
            start = at + 2 if inside else at
            line_end = piece.find(b"\r\n", start)
            if line_end < 0 and end - at <= MAX_CHUNK_HEAD_BYTES:
                self._head = piece[at:]
                break
            size = _chunk_size(piece[start:line_end])
            if size is None or line_end < 0 or (inside and not piece.startswith(b"\r\n", at)):
                self._broken = http.client.HTTPException(f"{piece[at : at + 20]!r} is no chunk head")
                break
            if not size:
                self._end(piece[line_end:])
                break
            inside = True
            start = line_end + 2
            at = start + size
            if at > end:
                self._left = at - end
                at = end
            if start < at:
                spans.append((start, at))
        self._inside = inside
        return spans

    def _end(self, rest: bytes) -> None:
        """Close after the last chunk; trailers are not read, however many there are."""
        internals.close_file(self)
        if rest != b"\r\n\r\n" and isinstance(self._sock, socket.socket):
            # bytes that are still to come would be read as the next answer
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


class Body:
    """
    The body of an *answer*, piece by piece.  Reader thread.

    A body that is compressed or not chunked, or whose connection is not ours (SOCKS), is read through urllib3.  Every
    other body is read from the answer of http.client below urllib3, which is faster.
    """

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        response = internals.response_below(answer) if internals.is_in_use(internals.CHUNKS) else None
        self._response = response if isinstance(response, _BulkResponse) else None
        self._is_packed = "content-encoding" in answer.headers
        self._is_cut = False  # urllib3 may still hold bytes that it has unpacked

    def read(self) -> tuple[bytes, Spans]:
        """
        Return a piece and the spans of the body in it; wait if no bytes have arrived.  No spans at the end.

        Raises:
            HTTPError: urllib3 reports a failure.
            HTTPException: the peer closed before the last chunk, or sent bytes that are not a chunk.
            OSError: the connection broke; `TimeoutError` if nothing arrived in time.
        """
        if self._response and self._response.chunked and not self._is_packed:
            return self._response.read_chunks(PIECE_BYTES)
        # a limit costs a copy, and is needed only for a compressed piece, which may grow when it is unpacked
        limit = PIECE_BYTES if self._is_packed else None
        piece = self._answer.read1(limit, decode_content=True)
        self._is_cut = limit is not None and len(piece) >= limit
        return piece, [(0, len(piece))] if piece else []

    @property
    def is_drained(self) -> bool:
        """
        Whether all bytes that have reached this host were read; an end of file that waits counts as unread.

        Each look costs a system call.
        """
        return self._response is not None and not self._is_cut and self._response.drained


def _empties(limit: int) -> bool:
    # a `read1` for at least the size of the file's buffer returns the whole buffer, or bypasses an empty buffer
    return limit >= io.DEFAULT_BUFFER_SIZE


def _chunk_size(head: bytes) -> int | None:
    digits = head if head.isalnum() else head.partition(b";")[0].strip()
    try:
        return int(digits, 16) if digits.isalnum() else None  # `int` alone would take signs and underscores
    except ValueError:
        return None


class _Wired(HTTPConnection):
    """A connection that knows its wire."""

    def __init__(self, wire: Wire, *args: Any, **kwargs: Any) -> None:
        self._wire = wire
        super().__init__(*args, **kwargs)
        if internals.is_in_use(internals.CHUNKS):
            self.response_class = _BulkResponse


class _PlainConnection(internals.OwnSocket, _Wired):
    """A connection that reports its socket before it connects."""

    def open_socket(self) -> socket.socket:
        return _connect(self, self._wire)


class _TLSConnection(_PlainConnection, HTTPSConnection):
    """The same over TLS."""


class _LatePlainConnection(_Wired):
    """A connection that reports its socket only after it has connected; it uses public names only."""

    def connect(self) -> None:
        super().connect()
        if self.sock:
            # a TLS socket has no `dup`
            with socket.socket(fileno=os.dup(self.sock.fileno())) as plain:
                self._wire.attach(plain)


class _LateTLSConnection(_LatePlainConnection, HTTPSConnection):
    """The same over TLS."""


_CONNECTIONS: dict[object, type[_Wired]] = {HTTPConnection: _PlainConnection, HTTPSConnection: _TLSConnection}
_LATE_CONNECTIONS: dict[object, type[_Wired]] = {
    HTTPConnection: _LatePlainConnection,
    HTTPSConnection: _LateTLSConnection,
}


def _connect(connection: HTTPConnection, wire: Wire) -> socket.socket:
    # The same as urllib3 does, with one more line: urllib3 creates and connects the socket in one call, but a stop
    # needs the socket before it connects.
    addresses = _addresses(connection)
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            if isinstance(connection.timeout, int | float):
                sock.settimeout(connection.timeout)
            if connection.source_address:
                sock.bind(connection.source_address)
            wire.attach(sock)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
            if wire.is_cut or wire.is_late:
                break
        else:
            sys.audit("http.client.connect", connection, connection.host, connection.port)
            return sock
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(
            connection, f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
        ) from failure
    raise NewConnectionError(connection, f"Failed to establish a new connection: {failure}") from failure


def _addresses(connection: HTTPConnection) -> list[tuple[int, int, int, str, Any]]:
    host = internals.host_to_look_up(connection)
    try:
        return list(socket.getaddrinfo(host, connection.port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except UnicodeError:  # IDNA; the same error as urllib3's
        raise LocationParseError(f"{host!r}, label empty or too long") from None
