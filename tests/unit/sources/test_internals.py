"""What becomes of the X end when a private name of another library is not what it was, and where such names stand."""

import ast
import http.client
import inspect
import logging
import re
import socket
import textwrap
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from tweepy.streaming import BaseStream
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

import connector
from connector.config.load import load
from connector.sources.http import internals
from connector.sources.http.internals import CHUNKS, SOCKETS
from connector.telemetry.events.worker import FastPathOff
from connector.worker import wiring
from connector.worker.process import ConnectorWorker

from .scripted import CLEAN, HOLD, ScriptedServer, answer, stream
from .test_connection import (
    PATIENT,
    POST,
    Connection,
    Reading,
    certificate,  # noqa: F401  # a fixture
    read,
    stop_in,
    tls_server,
)

# -- a name that is gone


@pytest.fixture(autouse=True)
def looked_anew():
    """Names are looked for again; what a test found is forgotten."""
    found = (internals.missing, internals.why_no_stream)
    for each in found:
        each.cache_clear()
    yield
    for each in found:
        each.cache_clear()


def renamed_socket(kind):
    def take_away(monkeypatch):
        monkeypatch.setattr(kind, "connect", lambda self: self._open())

    return take_away


def changed_socket(monkeypatch):
    monkeypatch.setattr(HTTPConnection, "connect", lambda self: self._new_conn(timeout=3))


def renamed_host(monkeypatch):
    monkeypatch.setattr(HTTPConnection, "host", "the property is gone")


def renamed_answer(monkeypatch):
    begin = HTTPResponse.__init__

    def begin_otherwise(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self._below = self.__dict__.pop("_original_response")

    monkeypatch.setattr(HTTPResponse, "__init__", begin_otherwise)


def renamed_close(monkeypatch):
    monkeypatch.delattr(http.client.HTTPResponse, "_close_conn")
    monkeypatch.setattr(http.client.HTTPResponse, "close", lambda _: None)  # which would call it when it is collected


def idle_close(monkeypatch):
    monkeypatch.setattr(http.client.HTTPResponse, "_close_conn", lambda _: None)


@pytest.mark.parametrize(
    ("change", "path", "name"),
    [
        (renamed_socket(HTTPConnection), SOCKETS, "HTTPConnection._new_conn"),
        (renamed_socket(HTTPSConnection), SOCKETS, "HTTPSConnection._new_conn"),
        (changed_socket, SOCKETS, "HTTPConnection._new_conn"),
        (renamed_host, SOCKETS, "HTTPConnection._dns_host"),
        (renamed_answer, CHUNKS, "HTTPResponse._original_response"),
        (renamed_close, CHUNKS, "HTTPResponse._close_conn"),
        (idle_close, CHUNKS, "HTTPResponse._close_conn"),
    ],
)
def test_a_name_that_is_not_what_it_was_is_one_warning(change, path, name, monkeypatch, tmp_path):
    """It says which, of what, what follows, and what to do; the other fast ways stay."""
    told = []
    change(monkeypatch)
    app = SimpleNamespace(conf=SimpleNamespace(web_enabled=False))
    wiring._announce(app, load({}, tmp_path), told.append)

    (event,) = (each for each in told if isinstance(each, FastPathOff))
    said = event.fields()
    assert (logging.WARNING, (path.path,), path.without) == (event.level, said["paths"], said["consequence"])
    assert name in said["missing"]
    assert next(each.installed for each in path.names if each.name == name) in said["installed"]
    assert "install" in said["cure"]
    assert {path.path: False} == {each: used for each, used in internals.fast_paths().items() if not used}


def test_nothing_is_told_of_names_that_are_there():
    """With what is installed here."""
    assert [] == list(internals.paths_off())
    assert "" == internals.why_no_stream()


def no_connect(monkeypatch):
    monkeypatch.delattr(BaseStream, "_connect")


def connect_without_time_outs(monkeypatch):
    def connect(self, method, url, params=None):
        self.on_connect()

    monkeypatch.setattr(BaseStream, "_connect", connect)


def connect_by_pieces(monkeypatch):
    def connect(self, method, url, **how):
        with self.session.request(method, url, stream=True, **how) as resp:
            self.on_connect()
            for piece in resp.iter_content():
                self.on_data(piece)

    monkeypatch.setattr(BaseStream, "_connect", connect)


@pytest.mark.parametrize("change", [no_connect, connect_without_time_outs, connect_by_pieces])
def test_a_worker_does_not_start_without_the_stream_of_tweepy(change, monkeypatch, tmp_path, capsys):
    """One sentence names library, version, name and cure; other commands run."""
    change(monkeypatch)
    environment = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "#test", "CONNECTOR_X_BEARER_TOKEN": "token"}
    app = wiring.wire(load(environment, tmp_path))
    with pytest.raises(SystemExit) as caught:
        ConnectorWorker(app)

    assert 78 == caught.value.code
    said = capsys.readouterr().err
    assert f"tweepy {internals.version('tweepy')} has not the BaseStream._connect" in said
    assert "pip install 'tweepy==" in said


# -- the other way


@pytest.fixture
def off(monkeypatch):
    """Turn fast ways off."""

    def turn_off(*paths):
        monkeypatch.setattr(internals, "missing", lambda path: path.names if path in paths else ())

    return turn_off


@pytest.mark.parametrize("paths", [(SOCKETS,), (CHUNKS,), (SOCKETS, CHUNKS)])
def test_the_other_way_reads_the_same(paths, off):
    """Lines and end; whether a piece was all is not known without the chunks."""
    script = stream(POST + b"\r\n", b"\r\n", POST[:20], POST[20:] + b"\r\n", CLEAN)
    fast = read(script)
    off(*paths)
    other = read(script)

    assert fast.lines == other.lines == [POST, POST]
    assert str(fast.end) == str(other.end) == "X closed the stream"
    assert CHUNKS not in paths or not any(arrival.drained for arrival in other.arrivals)


@pytest.mark.parametrize("paths", [(SOCKETS,), (CHUNKS,), (SOCKETS, CHUNKS)])
def test_the_other_way_is_ended_by_a_stop(paths, off):
    """And closes the socket."""
    off(*paths)
    with ScriptedServer([stream(POST + b"\r\n", HOLD)]) as server:
        assert stop_in(Connection(server.url, "t", {}, limits=PATIENT), server.held.wait) < 1
        assert server.closed.wait(5)


def test_the_other_way_is_ended_by_a_stop_over_tls(off, certificate, monkeypatch):  # noqa: F811  # the fixture
    """Where a socket has no copy of its own."""
    off(SOCKETS)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert"))
    with tls_server(certificate) as (url, held):
        assert stop_in(Connection(url, "t", {}, limits=PATIENT), held.wait) < 1


def test_the_other_way_makes_no_connection_after_a_stop(off):
    """The answer to a connect that began before is not waited for."""
    off(SOCKETS)
    with ScriptedServer([answer(200)]) as server:
        connection = Connection(server.url, "t", {}, limits=PATIENT)
        connection.stop()

        assert None is Reading(connection).run().end
        assert not server.requests


def test_the_other_way_tells_a_host_that_is_not_there(off):
    """In urllib3's words."""
    off(SOCKETS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert "refused" in str(Reading(Connection(f"http://127.0.0.1:{port}", "t", {})).run().end)


# -- where the names stand

LIBRARIES = ("tweepy", "urllib3", "requests", "http.client")
IMPORT = re.compile(r"^ *(?:from|import) .*(?<![.\w])(?:tweepy|urllib3|requests|http)\b", re.MULTILINE)
ROOT = Path(connector.__file__).parent


def modules():
    """Each module with its tree that imports one of the libraries, but the one whose subject they are."""
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        if path == Path(internals.__file__) or not IMPORT.search(text):  # parsing them all takes most of a second
            continue
        tree = ast.parse(text)
        imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        if any(f"{name}.".startswith(f"{library}.") for name in imported for library in LIBRARIES):
            yield path, tree


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def is_own(node):
    return isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}


def private_names(cls):
    """All private names of *cls* itself: in its body, and set or used on `self`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_own(node)}
    used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name for name in used if is_private(name)}


def is_theirs(cls):
    return any(f"{cls.__module__}.".startswith(f"{library}.") for library in LIBRARIES)


MODULES = list(modules())


def test_the_modules_are_found():
    """Those that are meant, at least."""
    assert {"wire.py", "session.py", "connection.py", "api.py"} <= {path.name for path, _ in MODULES}


@pytest.mark.parametrize(("path", "tree"), [pytest.param(*each, id=each[0].stem) for each in MODULES])
def test_no_private_name_of_a_library_stands_anywhere_else(path, tree):
    """Neither on an object, nor imported, nor as a string, nor taken over by a class that extends theirs."""
    known = {name.name.split(".")[1] for fast in internals.FAST_PATHS for name in fast.names} | {"_connect"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            assert is_own(node), f"{path.name}:{node.lineno} {node.attr}"
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(LIBRARIES):
            assert not [alias.name for alias in node.names if is_private(alias.name)], f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Constant):
            assert node.value not in known, f"{path.name}:{node.lineno} {node.value}"

    module = import_module(
        ".".join(["connector", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    )
    for cls in vars(module).values():
        if inspect.isclass(cls) and cls.__module__ == module.__name__:
            theirs = set().union(*(private_names(base) for base in cls.__mro__ if is_theirs(base)))
            assert not private_names(cls) & theirs, cls.__name__
