"""
An HTTP server that does what a script says, byte for byte: `ScriptedServer([answer(401), stream(LINE, CLEAN)])`.

Each request takes the next step of the script; the last one stays.
"""

import contextlib
import json
import socket
import struct
import threading
import time
import zlib
from dataclasses import dataclass

HEAD = b"HTTP/1.1 200 OK\r\nDate: %s\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n%s\r\n"
DATE = b"Sun, 01 Nov 2026 12:34:56 GMT"

# How a stream ends.
CLEAN = object()
"""The last chunk."""
CUT = object()
"""The connection is closed without the last chunk."""
RESET = object()
"""RST."""
HOLD = object()
"""Nothing more is sent; the connection stays open until the client closes it."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def raw(data):
    """The bytes of one chunk, given as they stand on the wire."""
    return ("raw", data)


def pause(secs):
    return ("pause", secs)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status=200, body=b"", headers=None):
    """An ordinary answer; a body that is no bytes is sent as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()

    def step(connection, request, server):
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True

    return step


def stream(*pieces, headers=b"", date=DATE, gzip=False):
    """A stream: each piece a chunk, at the end one of CLEAN, CUT, RESET, HOLD."""

    def step(connection, request, server):
        compressor = zlib.compressobj(wbits=31)
        extra = headers + (b"Content-Encoding: gzip\r\n" if gzip else b"")
        connection.sendall(HEAD % (date, extra) if date else HEAD.replace(b"Date: %s\r\n", b"") % extra)
        for piece in pieces:
            if piece is CLEAN:
                connection.sendall(b"0\r\n\r\n")
            elif piece is CUT:
                pass
            elif piece is RESET:
                time.sleep(0.05)  # what was sent is to arrive first
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif piece is HOLD:
                server.hold(connection)
            elif isinstance(piece, tuple):
                kind, value = piece
                if kind == "pause":
                    time.sleep(value)
                else:
                    connection.sendall(value)
            elif gzip:
                connection.sendall(chunk(compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)))
            else:
                connection.sendall(chunk(piece))
        return False

    return step


def silence():
    """The request is taken, and never answered."""

    def step(connection, request, server):
        server.hold(connection)
        return False

    return step


class ScriptedServer:
    """*requests* are those made, *closed* is set when a held connection was closed by the client."""

    def __init__(self, script):
        self.script = list(script)
        self.requests = []
        self.connections = 0
        self.held = threading.Event()
        self.closed = threading.Event()
        self._lock = threading.Lock()
        self._open = []
        self._threads = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info):
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def hold(self, connection):
        self.held.set()
        with contextlib.suppress(OSError):
            while connection.recv(4096):
                pass
        self.closed.set()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as file:
            while request := self._read(file):
                with self._lock:
                    self.requests.append(request)
                    step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not step(connection, request, self):
                    break
            # with linger 0 the close below is a RST; the file has to let go of the socket first

    def _read(self, file):
        line = file.readline()
        if not line.strip():
            return None
        method, path, _ = line.decode().split(" ", 2)
        headers = {}
        while (header := file.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Request(method, path, headers, file.read(int(headers.get("content-length", 0))))
