"""Requests to a worker's REST API: one answer, or a sentence that says why there is none."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from connector.config.addresses import is_loopback
from connector.config.secret import Secret

CONNECT_SECS = 5.0
ANSWER_SECS = 95.0
"""Longer than the 90 s that Connect allows a request."""

ANSWER_BYTES_MAX = 64 * 1024 * 1024
WAIT_FIRST_SECS = 0.25
WAIT_MAX_SECS = 5.0

_REDIRECTS = 300  # none is followed: it could lead the login elsewhere
_UNAUTHORIZED, _NOT_FOUND, _CONFLICT, _UNAVAILABLE = 401, 404, 409, 503
_DECLARED = "is declared by the environment of"
_MOMENTARY = "Cannot complete request momentarily"


class Unreachable(Exception):
    """No worker answers at the URL; the message is a sentence."""


class Failed(Exception):
    """
    A worker did not do what it was asked; the message is its own, *status* the HTTP status.

    *sent_before*: an earlier try got no final answer, and may have done it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.sent_before = status, False

    @property
    def not_found(self) -> bool:
        return self.status == _NOT_FOUND

    @property
    def exists(self) -> bool:
        """Whether a connector of that name exists already."""
        return self.status == _CONFLICT and str(self).endswith(" already exists")

    @property
    def declared(self) -> bool:
        """Whether the connector is not changed because the environment of a worker declares it."""
        return self.status == _CONFLICT and _DECLARED in str(self)

    @property
    def momentary(self) -> bool:
        """Whether the same request may succeed in a moment: another change came first, or Kafka does not answer."""
        return self.status == _UNAVAILABLE or (self.status == _CONFLICT and str(self).startswith(_MOMENTARY))


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks."""

    user: str
    password: Secret


class Client:
    """
    A worker at *url*.

    A request that may succeed in a moment is sent again for up to *wait_secs*.
    """

    def __init__(
        self,
        url: str,
        login: Login | None,
        *,
        wait_secs: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self._wait_secs, self._sleep, self._clock = wait_secs, sleep, clock
        self._session = requests.Session()
        # a proxy cannot reach this machine's own addresses
        self._session.trust_env = not is_loopback(urlsplit(url).hostname or "")
        self._has_login = login is not None
        # a session without `auth` sends a login out of ~/.netrc
        self._session.auth = HTTPBasicAuth(login.user.encode(), login.password.reveal().encode()) if login else _nobody

    @property
    def login_travels_open(self) -> bool:
        """Whether a login is sent to another machine without encryption."""
        parts = urlsplit(self.url)
        return self._has_login and parts.scheme == "http" and not is_loopback(parts.hostname or "")

    def get(self, *path: str, **params: Any) -> Any:
        """Return the JSON object at *path*, whose parts are escaped; raises what `send` raises."""
        return self.send("GET", *path, **params)

    def send(self, method: str, *path: str, body: object = None, **params: Any) -> Any:
        """
        Send a request; return the JSON object of the answer, None if it is empty.

        Raises:
            Unreachable: nobody answers.
            Failed: the worker answers an error, and still did after the time to wait.
        """
        end, pause, again = self._clock() + self._wait_secs, WAIT_FIRST_SECS, False
        while True:
            try:
                return self._ask(method, path, params, body)
            except Failed as failed:
                failed.sent_before = again
                if not failed.momentary or self._clock() + pause > end:
                    raise
                again = True
            self._sleep(pause)
            pause = min(pause * 2, WAIT_MAX_SECS)

    def exists(self, name: str) -> bool:
        """Return whether the group has a connector of that *name*."""
        return self.info(name) is not None

    def info(self, name: str) -> dict[str, Any] | None:
        """Return Connect's ConnectorInfo of a connector, or None for an unknown one."""
        try:
            found: dict[str, Any] = self.get("connectors", name)
        except Failed as failed:
            if failed.not_found:
                return None
            raise
        return found

    def _ask(self, method: str, path: tuple[str, ...], params: Mapping[str, Any], body: object) -> Any:
        url = "/".join([self.url, *(quote(part, safe="", errors="surrogatepass") for part in path)])
        data = None if body is None else json.dumps(body).encode()
        # a worker wants JSON of every request that changes something
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            with self._session.request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=(CONNECT_SECS, ANSWER_SECS),
                allow_redirects=False,
                stream=True,
            ) as response:
                return self._answer(response, _content(response))
        except requests.RequestException as error:
            raise Unreachable(f"No worker answers at {self.url}: {_reason(error)}.") from None

    def _answer(self, response: requests.Response, content: bytes) -> Any:
        if response.status_code == _UNAUTHORIZED:
            raise Failed(
                _UNAUTHORIZED,
                f"The worker at {self.url} asks for a login: set CONNECTOR_REST_USER and CONNECTOR_REST_PASSWORD to one"
                " of its CONNECTOR_WEB_USERS.",
            )
        try:
            found = json.loads(content) if content.strip() else None
        except (ValueError, RecursionError):
            found = content
        if response.status_code >= _REDIRECTS:
            message = found.get("message") if isinstance(found, dict) else None
            raise Failed(response.status_code, str(message or f"HTTP {response.status_code} {response.reason}"))
        if found is not None and not isinstance(found, dict):
            raise Failed(response.status_code, f"What answers at {self.url} is no worker: it sent no JSON object.")
        return found


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _content(response: requests.Response) -> bytes:
    content = bytearray()
    for piece in response.iter_content(65_536):
        content += piece
        if len(content) > ANSWER_BYTES_MAX:
            raise Failed(response.status_code, f"The answer has more than {ANSWER_BYTES_MAX} bytes.")
    return bytes(content)


def _reason(error: requests.RequestException) -> str:
    """Return the innermost reason of *error* in a few words."""
    if isinstance(error, requests.Timeout):
        return "it takes too long"
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    return str(inner.strerror if isinstance(inner, OSError) and inner.strerror else inner) or type(inner).__name__
