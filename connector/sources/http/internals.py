"""
The private names of other libraries that the X end uses; no other module of `sources` uses private names.

Any release of a library may change a private name.  So each name is tried once, at the start, in the way in which it is
used.  If a name of a fast path fails, the fast path is off, and an event says so.  Streams cannot be read without
`BaseStream._connect`: if that name fails, the worker does not start.

| name | seen in | for |
|---|---|---|
| `urllib3.connection.HTTPConnection._new_conn`, and `HTTPSConnection`'s | urllib3 2.6.3 to 2.8.0 | `SOCKETS` |
| `urllib3.connection.HTTPConnection._dns_host` | urllib3 2.6.3 to 2.8.0 | `SOCKETS` |
| `urllib3.response.HTTPResponse._original_response` | urllib3 2.6.3 to 2.8.0 | `CHUNKS` |
| `http.client.HTTPResponse._close_conn` | Python 3.11 to 3.13 | `CHUNKS` |
| `tweepy.streaming.BaseStream._connect` | tweepy 4.17.0 | every stream |
"""

import http.client
import io
import platform
import socket
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, NoReturn

import requests
from tweepy.streaming import BaseStream, StreamingClient
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from connector.telemetry.events.worker import FastPathOff


@dataclass(frozen=True, slots=True)
class Name:
    """A private name of a *library*; *works* tries the name, and may raise any exception."""

    library: str
    name: str
    works: Callable[[], bool]

    @property
    def installed(self) -> str:
        """The library and its installed version."""
        return f"{self.library} {platform.python_version() if self.library == 'Python' else version(self.library)}"


@dataclass(frozen=True, slots=True)
class FastPath:
    """A faster or better way that needs private *names*; *without* is the consequence if a name fails."""

    path: str
    names: tuple[Name, ...]
    without: str


class _Called(Exception):
    pass


def _new_conn_works(kind: type[HTTPConnection]) -> bool:
    class Probe(kind):  # type: ignore[valid-type, misc]  # *kind* is a variable
        def _new_conn(self) -> NoReturn:
            raise _Called

    try:
        Probe("127.0.0.1", port=0).connect()  # if `_new_conn` is not called, the connect fails: nobody listens there
    except _Called:
        return True
    except OSError:
        pass
    return False


def _dns_host_works() -> bool:
    return HTTPConnection("name.invalid.")._dns_host == "name.invalid."


def _original_response_works() -> bool:
    below = http.client.HTTPResponse(_Empty())  # type: ignore[arg-type]  # only `makefile` is called
    return HTTPResponse(body=below, original_response=below, preload_content=False)._original_response is below


def _close_conn_works() -> bool:
    response = http.client.HTTPResponse(_Empty())  # type: ignore[arg-type]  # only `makefile` is called
    response._close_conn()  # type: ignore[attr-defined]  # the name in question
    return response.fp is None


class _Empty:
    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO()


class _Line(requests.Session):
    """A session that answers once, with one line; the line is not a string, as our arrivals are not strings either."""

    def __init__(self) -> None:
        super().__init__()
        self.line = object()
        self.asked: list[object] = []

    def request(self, method: Any, url: Any, **how: Any) -> requests.Response:  # type: ignore[override]  # as it is used
        if self.asked:
            raise _Called
        self.asked += [method, url, how["params"], how["timeout"], how["stream"]]
        answer = requests.Response()
        answer.status_code, answer.raw = 200, io.BytesIO()
        answer.raw.close()
        answer.iter_lines = lambda **_: iter([self.line])  # type: ignore[method-assign]  # as `Connection` does
        return answer


class _Told(StreamingClient):
    def __init__(self) -> None:
        super().__init__("")
        self.told: list[object] = []

    def on_connect(self) -> None:
        self.told.append("connected")

    def on_data(self, raw_data: object) -> None:
        self.told.append(raw_data)

    def on_closed(self, response: requests.Response) -> None:
        self.told.append("closed")
        self.running = False

    def on_exception(self, exception: Exception) -> NoReturn:
        raise exception

    def on_disconnect(self) -> None:
        pass


def _connect_works() -> bool:
    client = _Told()
    session = client.session = _Line()
    run_stream(client, "url", params={}, timeout=(1, 2))
    return session.asked == ["GET", "url", {}, (1, 2), True] and client.told == ["connected", session.line, "closed"]


SOCKETS = FastPath(
    "sockets",
    (
        Name("urllib3", "HTTPConnection._new_conn", lambda: _new_conn_works(HTTPConnection)),
        Name("urllib3", "HTTPSConnection._new_conn", lambda: _new_conn_works(HTTPSConnection)),
        Name("urllib3", "HTTPConnection._dns_host", _dns_host_works),
    ),
    without="a stop waits for a connect to X that is under way, up to its time-out",
)
"""A socket is reported to its `Wire` before it connects, so that a stop can end the connect."""

CHUNKS = FastPath(
    "chunks",
    (
        Name("urllib3", "HTTPResponse._original_response", _original_response_works),
        Name("Python", "HTTPResponse._close_conn", _close_conn_works),
    ),
    without="each post takes more CPU, and keep-alives of X do not move the covered time",
)
"""All chunks of one `recv` are read at once, and it is known whether more bytes wait."""

FAST_PATHS = (SOCKETS, CHUNKS)

_STREAM = Name("tweepy", "BaseStream._connect", _connect_works)


@cache
def missing(path: FastPath) -> tuple[Name, ...]:
    """Return the names of *path* that are missing or behave differently; without any, *path* is in use."""
    return tuple(name for name in path.names if not _is_fine(name))


def is_in_use(path: FastPath) -> bool:
    """Tell whether all names of *path* work."""
    return not missing(path)


def fast_paths() -> dict[str, bool]:
    """Return for each fast path whether it is in use."""
    return {path.path: is_in_use(path) for path in FAST_PATHS}


def paths_off() -> Iterator[FastPathOff]:
    """Yield an event for each fast path that is not in use."""
    for path in FAST_PATHS:
        if names := missing(path):
            yield FastPathOff(
                paths=(path.path,),
                missing=tuple(name.name for name in names),
                installed=tuple(sorted({name.installed for name in names})),
                consequence=path.without,
                cure=f"install the {names[0].library} that the connector was tested with, or a newer connector",
            )


@cache
def why_no_stream() -> str:
    """Return a sentence why no stream can be read with the installed tweepy; empty if streams can be read."""
    if _is_fine(_STREAM):
        return ""
    return (
        f"{_STREAM.installed} has not the {_STREAM.name} that the connector reads streams with:"
        " pip install 'tweepy==4.17.0', or install a newer connector."
    )


def _is_fine(name: Name) -> bool:
    try:
        return name.works()
    except Exception:  # noqa: BLE001  # any exception means that the name does not work
        return False


# -- the uses of the private names


class OwnSocket:
    """A mixin for a connection class of urllib3: the connection uses the socket that `open_socket` returns."""

    def _new_conn(self) -> socket.socket:
        return self.open_socket()

    @abstractmethod
    def open_socket(self) -> socket.socket:
        """
        Return a connected socket.

        Raises:
            HTTPError: the same as urllib3's own connections raise.
        """


def host_to_look_up(connection: HTTPConnection) -> str:
    """Return the host of *connection* as urllib3 looks it up: with the final dot, if it has one."""
    return connection._dns_host


def response_below(answer: HTTPResponse) -> object:
    """Return the answer of http.client below urllib3's *answer*; requests reads cookies from it, too."""
    return answer._original_response


def close_file(response: http.client.HTTPResponse) -> None:
    """Close the file of *response*, as http.client does at the end of a body."""
    response._close_conn()  # type: ignore[attr-defined]  # http.client's own name for it


def run_stream(client: BaseStream, url: str, **how: Any) -> None:
    """Do what `StreamingClient._connect` does, but with any *url*; blocks until the stream ends."""
    BaseStream._connect(client, "GET", url, **how)
