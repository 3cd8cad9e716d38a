"""Whom do requests trust, and which way do they go?  A real TLS server with an authority of its own, a real proxy."""

import base64
import contextlib
import socket
import ssl
import subprocess
import threading

import pytest

from connector.errors import ConnectionLost, ConnectorError, InvalidRequest
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import KeyPair
from connector.sources.stream.connection import Connection, Limits

from .scripted import CLEAN, ScriptedServer, answer, stream
from .test_connection import POST, Reading

NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*NAMES, *PROXIES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)  # noqa: S603, S607 - our own


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """Two authorities, `own` and `other`, each as a file and as a folder, and a certificate of `own` for localhost."""
    folder = tmp_path_factory.mktemp("authorities")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("own", "other"):
        openssl(
            "req", "-x509", *key, "-days", 1, "-subj", f"/CN={name}", "-keyout", folder / "key", "-out", folder / name,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",  # Python 3.13 asks for it
        )  # fmt: skip
        openssl("x509", "-in", folder / name, "-out", folder / f"{name}.pem")
        if name == "own":
            (folder / "own.key").write_bytes((folder / "key").read_bytes())
        (folder / f"{name}.d").mkdir()
        (folder / f"{name}.d" / f"{name}.pem").write_bytes((folder / f"{name}.pem").read_bytes())
        openssl("rehash", folder / f"{name}.d")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", folder / "server.key", "-out", folder / "request")
    openssl(
        "x509", "-req", "-in", folder / "request", "-CA", folder / "own.pem", "-CAkey", folder / "own.key",
        "-CAcreateserial", "-days", 1, "-extfile", folder / "names", "-out", folder / "server.pem",
    )  # fmt: skip
    return folder


class TLSServer(ScriptedServer):
    """The scripted server behind TLS; its name is `localhost`."""

    def __init__(self, script, authorities):
        super().__init__(script)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authorities / "server.pem", authorities / "server.key")

    def __enter__(self):
        super().__enter__()
        self.url = f"https://localhost:{self.port}"
        return self

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as sock:
            self._open.append(sock)
            super()._serve(sock)


class Proxy:
    """A proxy that tunnels what it is asked for by CONNECT; with *login* it wants `user:password`."""

    def __init__(self, login=""):
        self.login, self.heads = login, []
        self._threads, self._sockets = [], []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(self._listener)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info):
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
                head += piece
            self.heads.append(head.decode())
            if self.login and base64.b64encode(self.login.encode()) not in head:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            server = socket.create_connection((host, int(port)))
            self._sockets.append(server)
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            self._start(self._pump, server, client)
            self._pump(client, server)

    def _pump(self, source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


class Silent(Proxy):
    """A proxy that takes the request and never answers."""

    def _serve(self, client):
        with contextlib.suppress(OSError):
            self.heads.append(client.recv(4096).decode())
            client.recv(1)


EXCHANGED = answer(200, {"token_type": "bearer", "access_token": "the-token"})


def script():
    return [EXCHANGED, answer(200, {"data": 1}), stream(POST + b"\r\n", CLEAN)]


def ask_everything(server):
    """Exchange a key pair, make a call, read a stream; the error, if there is one for all of them."""
    errors = []
    with Api(server.url, KeyPair("the-key", "the-secret")) as api:
        try:
            assert {"data": 1} == api.get("/2/things")
        except ConnectorError as error:
            errors.append(error)
    reading = Reading(Connection(server.url + "/stream", "the-token", {}, limits=Limits(silence_secs=5))).run()
    if reading.lines == [POST]:
        assert not errors
        return None
    assert type(errors[0]) is type(reading.end)
    assert str(errors[0]) == str(reading.end)
    return reading.end


@pytest.mark.parametrize(
    "environment",
    [
        {"SSL_CERT_FILE": "own.pem"},
        {"SSL_CERT_DIR": "own.d"},
        {"SSL_CERT_DIR": "other.d:own.d"},
        {"SSL_CERT_FILE": "other.pem", "SSL_CERT_DIR": "own.d"},
        {"SSL_CERT_FILE": "own.pem", "SSL_CERT_DIR": "nowhere"},
        {"REQUESTS_CA_BUNDLE": "own.pem"},
        {"REQUESTS_CA_BUNDLE": "own.d"},
        {"CURL_CA_BUNDLE": "own.pem"},
        # requests' own names first
        {"REQUESTS_CA_BUNDLE": "own.pem", "SSL_CERT_FILE": "other.pem"},
    ],
    ids=str,
)
def test_the_usual_names_say_whom_to_trust(environment, authorities, monkeypatch):
    """For the exchange of a key pair, for REST and for the stream."""
    for name, places in environment.items():
        monkeypatch.setenv(name, ":".join(str(authorities / place) for place in places.split(":")))
    with TLSServer(script(), authorities) as server:
        assert None is ask_everything(server)

    assert 3 == len(server.requests)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SSL_CERT_FILE": "other.pem"},
        {"SSL_CERT_DIR": "other.d"},
        {"REQUESTS_CA_BUNDLE": "other.pem", "SSL_CERT_FILE": "own.pem"},
    ],
    ids=str,
)
def test_an_authority_that_is_not_trusted_is_said_with_the_cure(environment, authorities, monkeypatch):
    """What is named counts instead of what came with Python."""
    for name, place in environment.items():
        monkeypatch.setenv(name, str(authorities / place))
    with TLSServer(script(), authorities) as server:
        error = ask_everything(server)

    assert ConnectionLost is type(error)
    assert "SSL_CERT_FILE" in str(error)
    assert [] == server.requests


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_wrong_place_names_the_variable(name, content, authorities, monkeypatch, tmp_path):
    """Waiting cures it no more than a certificate does."""
    place = tmp_path / "bundle"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setenv(name, str(place))
    with TLSServer(script(), authorities) as server:
        error = ask_everything(server)

    assert InvalidRequest is type(error)
    assert f"{name} is {place}" in str(error)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_tunnels_everything(name, authorities, monkeypatch):
    """It sees a host and a port, and neither token nor path."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities / "own.pem"))
    with TLSServer(script(), authorities) as server, Proxy(login="user:pass word") as proxy:
        monkeypatch.setenv(name, f"http://user:pass%20word@{proxy.address}")
        assert None is ask_everything(server)

        assert 2 == len(proxy.heads)  # one kept for both calls, one for the stream
    assert all(head.startswith(f"CONNECT localhost:{server.port} ") for head in proxy.heads)
    assert "the-" not in "".join(proxy.heads)


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("hosts", ["localhost", "*", "example.com, localhost"])
def test_hosts_without_a_proxy_are_asked_directly(name, hosts, authorities, monkeypatch):
    """As everywhere."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities / "own.pem"))
    with TLSServer(script(), authorities) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv(name, hosts)
        assert None is ask_everything(server)

        assert [] == proxy.heads


def test_a_proxy_that_refuses_is_named_without_its_password(authorities, monkeypatch):
    """407 is not X's answer."""
    with TLSServer(script(), authorities) as server, Proxy(login="user:right") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:wrong-secret@{proxy.address}")
        error = ask_everything(server)

    assert ConnectionLost is type(error)
    assert "407" in str(error)
    assert "secret" not in str(error)
    assert [] == server.requests


@pytest.mark.parametrize("proxy", ["http://[::1", "http://user:the-secret@host:port", "nonsense://the-secret@x:1"])
def test_a_proxy_that_is_no_address_is_a_sentence(proxy, authorities, monkeypatch):
    """Without what may be a secret in it."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with TLSServer(script(), authorities) as server:
        error = ask_everything(server)

    assert isinstance(error, ConnectorError)
    assert "the-secret" not in str(error)


def test_a_stop_ends_a_wait_for_the_proxy(authorities, monkeypatch):
    """The socket to it is on the wire like any other."""
    with TLSServer(script(), authorities) as server, Silent() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        connection = Connection(server.url, "t", {}, limits=Limits(silence_secs=60))
        thread = threading.Thread(target=lambda: Reading(connection).run(), daemon=True)
        thread.start()
        for _ in range(1000):
            if proxy.heads:
                break
            thread.join(0.01)
        connection.stop()
        thread.join(10)

        assert proxy.heads
        assert not thread.is_alive()
