"""
How does a stop from another thread end a read that blocks?  By shutting down the socket under it.

A blocked `connect`, TLS handshake, wait for the head or read of the body notices neither a flag nor a closed file;
it does notice a `shutdown` of its socket, at once.  requests hides the socket until the head has arrived, so the
connection classes here report it to a `Wire` as soon as it exists, before it connects.  The one thing that cannot be
cut is a name lookup (`getaddrinfo`).  Proxies of HTTP work alike; a SOCKS proxy has connection classes of its own,
so there a stop waits for the next byte.

The second matter is speed: http.client reads a chunked body chunk by chunk, and X sends about one chunk per post.
`_BulkResponse` takes all chunks out of one `recv` instead.  It does not even take them out: it says where they stand,
and whoever cuts the lines copies each one once, straight from what was received.

The third: was that all?  After a stall old data waits here, and what is read first says nothing about the present.
`Body.is_drained` looks.
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
How much one read takes from the socket at most, some hundred posts.

Measured: with half as much reading costs a tenth more, with twice as much hardly less.
"""

MAX_CHUNK_HEAD_BYTES = 64 * 1024
"""As in http.client: a longer chunk head, or trailer, is no HTTP."""

Spans = list[tuple[int, int]]
"""Where something stands in a piece: begin and end of each part, in order, none of them empty."""


class Wire:
    """
    The socket of one source; `cut` ends whatever blocks on it, now and later.

    It is held as a duplicate of its descriptor: TLS wraps and replaces the original, but a shutdown through any
    descriptor shuts the connection itself.  There is one connection at a time, so a new one means that the last is of
    no use any more.

    A time-out of a socket is none of a request: a peer that sends a byte now and then is never late.  `limit` sets a
    time after which the socket is shut, whatever arrives on it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = self._is_late = False
        self._timer: threading.Timer | None = None
        self._until = 0.0

    def __del__(self) -> None:
        # as urllib3's pools do with theirs: an `Api` that nobody closed leaves no socket open
        self._let_go()

    @property
    def is_cut(self) -> bool:
        """Whether somebody wants an end.  Any thread."""
        return self._is_cut

    @property
    def is_late(self) -> bool:
        """Whether the time of the last `limit` was over before `unlimit`.  Reader thread."""
        with self._lock:
            # a read may run into its own timeout at the same moment, and be here before the timer's thread is
            self._is_late |= self._timer is not None and time.monotonic() >= self._until
        return self._is_late

    def attach(self, sock: socket.socket) -> None:
        """
        Remember *sock*, which may not be connected yet.  Reader thread.

        Raises:
            OSError: the wire is cut, or the time is over.
        """
        with self._lock:
            if self._is_cut or (self._is_late and self._timer):
                raise OSError("stopped")
            self._let_go()
            self._socket = sock.dup()

    def limit(self, secs: float) -> None:
        """Shut the connection in *secs*, and take none then, unless `unlimit` comes first.  Reader thread."""
        timer = threading.Timer(secs, lambda: self._expire(timer))
        timer.daemon = True
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer, self._is_late = timer, False
            self._until = time.monotonic() + secs
        timer.start()

    def unlimit(self) -> None:
        """End what `limit` began.  Reader thread; idempotent."""
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
        """Close what is still open, so that X frees the slot at once; the wire can be used again.  Reader thread."""
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
        """Return requests' own pool, made to create our connections (requests offers this method for subclasses)."""
        pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        if isinstance(pool, HTTPConnectionPool):
            kinds = _CONNECTIONS if internals.is_in_use(internals.SOCKETS) else _LATE_CONNECTIONS
            if kind := kinds.get(pool.ConnectionCls):
                pool.ConnectionCls = partial(kind, self._wire)  # type: ignore[assignment]  # it is only called
        return pool


class _BulkResponse(http.client.HTTPResponse):
    """An answer whose `read1` takes every whole chunk that one `recv` brings."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._emptied = False  # nothing is left in the file `fp`
        self._poll: select.poll | None = None
        self._left = 0  # bytes of the current chunk that are still to come
        self._inside = False  # a chunk was begun, so its line end is still to come
        self._head = b""  # the begin of a chunk head that arrived in parts
        self._broken: http.client.HTTPException | None = None  # raised once what came before it was returned

    def read1(self, n: int = -1) -> bytes:
        """
        Return what is there, at most *n* bytes; wait if nothing is.  Empty at the end of the body.

        Raises:
            HTTPException: the peer closed before the last chunk, or sent something that is no chunk.
        """
        limit = PIECE_BYTES if n < 0 else n
        if not self.chunked or self.fp is None:
            self._emptied = _empties(limit)
            return super().read1(limit)
        piece, spans = self.read_chunks(limit)
        return b"".join([piece[start:end] for start, end in spans])

    def read_chunks(self, limit: int) -> tuple[bytes, Spans]:
        """
        Return at most *limit* bytes as they were received, and where in them the body stands; only for a chunked one.

        Waits if nothing is there.  No spans at the end of the body.

        Raises:
            HTTPException: as `read1` does, after all that came before it.
        """
        if self.fp is None:
            return b"", []
        while self._broken is None:
            # the file holds what came with the head; behind that it would only be one more layer for each post
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
        """Whether nothing waits behind what was read last; not so at the end, nor where it cannot be known."""
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
            # the line end of the chunk before (if any), then `<hex size>[;extension]\r\n`
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
        """Close at the last chunk; trailers, of which there may be any number, mean nothing to us."""
        internals.close_file(self)
        if rest != b"\r\n\r\n" and isinstance(self._sock, socket.socket):
            # what is still to come would be taken for the next answer
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


class Body:
    """
    The body of an *answer*, piece by piece.  Reader thread.

    urllib3 is asked only where it has something to do: for a compressed body, one without chunks, or a connection that
    is not ours (SOCKS).  Everything else comes from the answer of http.client below it, which is what makes it fast.
    """

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        response = internals.response_below(answer) if internals.is_in_use(internals.CHUNKS) else None
        self._response = response if isinstance(response, _BulkResponse) else None
        self._is_packed = "content-encoding" in answer.headers
        self._is_cut = False  # urllib3 may have kept something of what it has unpacked

    def read(self) -> tuple[bytes, Spans]:
        """
        Return a piece and where in it the body stands; wait if nothing is there.  No spans at the end.

        Raises:
            HTTPError: what urllib3 makes of a failure.
            HTTPException: the peer closed before the last chunk, or sent something that is no chunk.
            OSError: the connection broke; `TimeoutError` if nothing was heard.
        """
        if self._response and self._response.chunked and not self._is_packed:
            return self._response.read_chunks(PIECE_BYTES)
        # a limit costs a copy, and only a compressed piece can be larger than what was read
        limit = PIECE_BYTES if self._is_packed else None
        piece = self._answer.read1(limit, decode_content=True)
        self._is_cut = limit is not None and len(piece) >= limit
        return piece, [(0, len(piece))] if piece else []

    @property
    def is_drained(self) -> bool:
        """
        Whether all that has reached this host was read; the end of file counts as something to read.

        Costs a system call.
        """
        return self._response is not None and not self._is_cut and self._response.drained


def _empties(limit: int) -> bool:
    # `read1` of a file returns all that it holds, or bypasses it, if as much is asked for as it can hold
    return limit >= io.DEFAULT_BUFFER_SIZE


def _chunk_size(head: bytes) -> int | None:
    digits = head if head.isalnum() else head.partition(b";")[0].strip()
    try:
        return int(digits, 16) if digits.isalnum() else None  # `int` alone would take signs and underscores
    except ValueError:
        return None


class _Wired(HTTPConnection):
    """A connection with a wire."""

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
    """A connection that reports its socket when it is connected, by public names alone."""

    def connect(self) -> None:
        super().connect()
        if self.sock:
            # a socket of TLS has no `dup` of its own
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
    # What urllib3 does itself, with one more line: it creates and connects the socket in one call, and a stop needs the
    # socket in between.
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
    except UnicodeError:  # IDNA: as urllib3 itself
        raise LocationParseError(f"{host!r}, label empty or too long") from None
