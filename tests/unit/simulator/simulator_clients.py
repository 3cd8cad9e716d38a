"""Clients of the simulator for its tests: one with requests, one on a bare socket."""

import json
import socket
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import requests

STREAM = "/2/tweets/search/stream"
RULES = "/2/tweets/search/stream/rules"


class Client:
    """Blocking calls with a token."""

    def __init__(self, sim, *, token=None):
        self.url = sim.url
        self.pair = sim.settings.consumer_key, sim.settings.consumer_secret
        self.headers = {"Authorization": f"Bearer {token or sim.settings.token}"}

    def get(self, path, **params):
        return requests.get(self.url + path, params=params, headers=self.headers, timeout=30)

    def post(self, path, body=None, **params):
        return requests.post(self.url + path, params=params, json=body, headers=self.headers, timeout=30)

    def delete(self, path, body=None):
        return requests.delete(self.url + path, json=body, headers=self.headers, timeout=30)

    def exchange(self):
        """Key and secret for a token."""
        answer = requests.post(
            self.url + "/oauth2/token", auth=self.pair, data={"grant_type": "client_credentials"}, timeout=30
        )
        return answer.json()["access_token"]

    def control(self, path, body=None):
        response = self.get(f"/control/{path}") if body is None else self.post(f"/control/{path}", body)
        response.raise_for_status()
        return response.json()

    @contextmanager
    def stream(self, path=STREAM, **params):
        """An open stream; `next_line` reads from it."""
        params = {name.replace("__", "."): value for name, value in params.items()}
        with requests.get(self.url + path, params=params, headers=self.headers, stream=True, timeout=30) as response:
            response.lines = response.iter_lines(chunk_size=None, delimiter=b"\r\n")
            yield response


def next_line(response):
    """The next line that is no keep-alive."""
    return next(line for line in response.lines if line)


def next_post(response):
    return json.loads(next_line(response))


class Socket:
    """A stream on a bare socket: every byte as it came."""

    def __init__(self, sim, path=STREAM, *, headers=(), receive_bytes=None, **params):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", sim.simulator.port))
        query = f"?{urlencode(params)}" if params else ""
        lines = [f"GET {path}{query} HTTP/1.1", "Host: x", f"Authorization: Bearer {sim.settings.token}", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read_head(self):
        self.wait_for(b"\r\n\r\n")
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def wait_for(self, part):
        while part not in self.data:
            received = self.socket.recv(65536)
            if not received:
                raise EOFError(self.data)
            self.data += received

    def read_to_end(self):
        """All that comes until the other side closes; raises on a reset."""
        while received := self.socket.recv(65536):
            self.data += received
        return self.data


def chunks(data):
    """The payloads of complete chunks."""
    payloads = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        if len(rest) < length + 2:
            break
        payloads.append(rest[:length])
        data = rest[length + 2 :]
    return payloads


def pass_over(sim, seconds):
    """Let so many of the `seconds` of armed answers, and of an unreachable X, be over without waiting for them."""
    gate = sim.simulator.gate

    def move():
        gate.unreachable_until -= seconds
        for armed in gate.armed:
            if armed.until is not None:
                armed.until -= seconds

    sim.call(move)


def eventually(condition, seconds=20):
    """Wait until a condition holds; return what it returned."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)
    return result
