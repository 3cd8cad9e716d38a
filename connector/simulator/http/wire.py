"""
HTTP/1.1 on a bare asyncio transport.

aiohttp.web is not used, because the simulator must control what aiohttp.web decides: the frames of chunks, the spelling
of headers, and how a connection is closed.  Here heads are exact to the byte, a chunk may end anywhere, a socket may be
reset in the middle of a line, and the bytes that the kernel has taken are known.

A handler is a plain function that never waits.  A handler answers with a `Response`, takes the connection over for a
stream (`Takeover`), or does not answer (`Silence`).
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
GZIP_FROM_BYTES = 64

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; header names are in lower case, and query parameters are in the order of the request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    peer: tuple[str, int]
    http_1_0: bool = False

    def param(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    @property
    def wants_gzip(self) -> bool:
        return "gzip" in self.headers.get("accept-encoding", "")

    @property
    def closes(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        return "close" in connection or (self.http_1_0 and "keep-alive" not in connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer; `render` adds `date`, `content-length` and gzip."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class Takeover(Protocol):
    """An answer that takes the connection over: a stream."""

    def begin(self, wire: Wire) -> None:
        """Write the head; from now on only the takeover writes to the connection."""
        ...

    def paused(self) -> None:
        """The kernel has not taken everything that was written."""
        ...

    def resumed(self) -> None:
        """The kernel has taken everything that was written."""
        ...

    def lost(self, error: Exception | None) -> None:
        """The connection is closed; called once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No answer: the client waits until the client or the simulator closes the connection."""


Handler = Callable[[Request], Response | Takeover | Silence]


class BadRequest(Exception):
    """The request is not HTTP that this module reads; the status says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def parse_head(head: bytes, *, peer: tuple[str, int]) -> Request:
    """
    Read the request line and the headers, without the final empty line.

    Raises:
        BadRequest: the head is malformed.
    """
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from None
    if not version.startswith("HTTP/1."):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        headers[name.strip().lower()] = value.strip()
    url = urlsplit(target)
    return Request(
        method=method,
        path=unquote(url.path),
        query=tuple(parse_qsl(url.query, keep_blank_values=True)),
        headers=headers,
        body=b"",
        peer=peer,
        http_1_0=version == "HTTP/1.0",
    )


def body_length(request: Request) -> int:
    """
    Return how many bytes of body follow the head.

    Raises:
        BadRequest: the length is unknown, malformed or too large.
    """
    if "transfer-encoding" in request.headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
    text = request.headers.get("content-length", "0")
    if not text.isdecimal():
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    length = int(text)
    if length > MAX_BODY_BYTES:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return length


def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


def render_head(status: int, headers: Headers) -> bytes:
    """Return a head with its final empty line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return status_line(status) + lines.encode("latin-1") + b"\r\n"


def render(response: Response, *, compress: bool, close: bool) -> bytes:
    """Return the bytes of a whole answer."""
    body = response.body
    headers = [("date", formatdate(usegmt=True)), *response.headers]
    if compress and len(body) >= GZIP_FROM_BYTES:
        body = gzip.compress(body, compresslevel=1)
        headers.append(("content-encoding", "gzip"))
    headers.append(("content-length", str(len(body))))
    headers.append(("connection", "close" if close else "keep-alive"))
    return render_head(response.status, tuple(headers)) + body


@dataclass(slots=True, kw_only=True)
class Wires:
    """All open connections, and the settings of new connections."""

    handler: Handler
    send_bytes: int | None = None
    open: set[Wire] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def accept(self) -> Wire:
        """Make the protocol of a new connection."""
        return Wire(self)


class Wire(asyncio.Protocol):
    """
    One TCP connection.

        reading --request--> answered --(keep-alive)--> reading
                        \\--> taken over by a stream --> lost
    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._received = bytearray()
        self._pending: tuple[Request, int] | None = None
        self._takeover: Takeover | None = None
        self._silent = False
        self.written = 0
        self.peer: tuple[str, int] = ("", 0)

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.peer = (transport.get_extra_info("peername") or ("", 0))[:2]
        sock = self.socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._wires.send_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._wires.send_bytes)
        # With a limit of zero asyncio calls `pause_writing` as soon as the kernel does not take everything.
        self.transport.set_write_buffer_limits(high=0)
        self._wires.open.add(self)
        self._wires.idle.clear()

    def data_received(self, data: bytes) -> None:
        if self._takeover is not None or self._silent:
            return  # a client cannot change an open stream
        self._received += data
        try:
            self._read_requests()
        except BadRequest as error:
            answer = Response(status=error.status)
            self.send(render(answer, compress=False, close=True))
            self.transport.close()

    def pause_writing(self) -> None:
        if self._takeover is not None:
            self._takeover.paused()

    def resume_writing(self) -> None:
        if self._takeover is not None:
            self._takeover.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wires.open.discard(self)
        if not self._wires.open:
            self._wires.idle.set()
        if self._takeover is not None:
            self._takeover.lost(exc)

    # For streams and faults.

    @property
    def socket(self) -> socket.socket:
        return cast("socket.socket", self.transport.get_extra_info("socket"))

    @property
    def taken(self) -> int:
        """How many of the written bytes the kernel has taken."""
        return self.written - self.transport.get_write_buffer_size()

    def send(self, data: bytes) -> None:
        self.written += len(data)
        self.transport.write(data)

    def close(self) -> None:
        """Close when the kernel has taken everything that was written."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once; bytes that the kernel has not taken are lost."""
        self.transport.abort()

    def reset(self) -> None:
        """Close at once with an RST; bytes that the client has not received may be lost."""
        if not self.transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    # Requests.

    def _read_requests(self) -> None:
        while not self.transport.is_closing():
            if self._pending is None:
                end = self._received.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._received) > MAX_HEAD_BYTES:
                        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                    return
                request = parse_head(bytes(self._received[:end]), peer=self.peer)
                del self._received[: end + 4]
                self._pending = request, body_length(request)
            request, length = self._pending
            if len(self._received) < length:
                return
            body = bytes(self._received[:length])
            del self._received[:length]
            self._pending = None
            self._answer(_with_body(request, body))

    def _answer(self, request: Request) -> None:
        answer = self._wires.handler(request)
        if isinstance(answer, Response):
            close = request.closes
            self.send(render(answer, compress=request.wants_gzip, close=close))
            if close:
                self.transport.close()
        elif isinstance(answer, Silence):
            self._silent = True
        else:
            self._takeover = answer
            self._received.clear()
            answer.begin(self)


def _with_body(request: Request, body: bytes) -> Request:
    return Request(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=request.headers,
        body=body,
        peer=request.peer,
        http_1_0=request.http_1_0,
    )
