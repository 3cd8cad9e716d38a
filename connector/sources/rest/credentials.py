"""
How does a connector show X who it is?

Streams of v2 take an OAuth 2.0 app-only bearer token and nothing else (docs.x.com: authentication): either the
operator gives one, or a key pair is exchanged for one.  The classes here know the secrets, `Api` makes the calls.
"""

import base64
import threading
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from connector.errors import ConfigError

Exchange = Callable[[str], str]
"""`Authorization` header of a key pair → bearer token."""


class Credentials(Protocol):
    """Where a bearer token comes from.  Any thread."""

    def token(self, exchange: Exchange) -> str:
        """Return the token; get one by *exchange*, whose errors pass through, if there is none yet."""

    def renew(self, rejected: str, exchange: Exchange) -> bool:
        """Return whether `token` now returns another one than *rejected*, which X refused with 401."""


class BearerToken:
    """
    A token as the operator gave it, percent escapes included: decoding them earns a 401.

    Raises:
        ConfigError: it holds something that no HTTP header can.
    """

    def __init__(self, token: str) -> None:
        self._token = token.strip()
        if not _is_plain(self._token):
            raise ConfigError(["x.bearer.token is empty or holds characters that no token has: copy it again"])

    def __repr__(self) -> str:
        return "BearerToken(…)"

    def token(self, exchange: Exchange) -> str:
        """Return the token."""
        return self._token

    def renew(self, rejected: str, exchange: Exchange) -> bool:
        """Return False: only the operator has another one."""
        return False


class KeyPair:
    """
    A consumer key and secret, exchanged for a token that is kept until X refuses it.

    X returns the same token until it is invalidated, so a refused token that comes back again is refused for good.

    Raises:
        ConfigError: one of the two is empty.
    """

    def __init__(self, key: str, secret: str) -> None:
        self._key = key.strip()
        self._secret = secret.strip()
        if not self._key or not self._secret:
            raise ConfigError(["x.consumer.key and x.consumer.secret are needed together"])
        self._token: str | None = None
        self._lock = threading.Lock()  # one exchange at a time; those who wait use its token

    def __repr__(self) -> str:
        return "KeyPair(…)"

    def token(self, exchange: Exchange) -> str:
        """Return the token, after an exchange if there is none."""
        with self._lock:
            if self._token is None:
                self._token = exchange(self._authorization())
            return self._token

    def renew(self, rejected: str, exchange: Exchange) -> bool:
        """Exchange the pair again, unless another thread has done so since *rejected* was used."""
        with self._lock:
            if self._token in {None, rejected}:
                self._token = exchange(self._authorization())
            return self._token != rejected

    def _authorization(self) -> str:
        # RFC 6749, section 2.3.1: both parts are url-encoded before they are joined
        pair = f"{quote(self._key, safe='')}:{quote(self._secret, safe='')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and bool(token) and " " not in token
