"""
The bearer token with which a connector identifies itself to X.

Streams of v2 take only an OAuth 2.0 app-only bearer token (docs.x.com: authentication).  The operator gives a token, or
a key pair that is exchanged for a token.  The classes here hold the secrets; `Api` makes the calls.
"""

import base64
import threading
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from connector.errors import ConfigError

Exchange = Callable[[str], str]
"""A function that takes the `Authorization` header of a key pair and returns a bearer token."""


class Credentials(Protocol):
    """Where a bearer token comes from.  Any thread."""

    def token(self, exchange: Exchange) -> str:
        """Return the token; if there is none yet, get one by *exchange*, whose errors pass through."""

    def renew(self, rejected: str, exchange: Exchange) -> bool:
        """Get a new token if possible; return whether `token` now differs from *rejected*, which X refused with 401."""


class BearerToken:
    """
    A token that the operator gave; percent escapes in it stay, because X answers a decoded token with 401.

    Raises:
        ConfigError: the token is empty, or holds characters that no token has.
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
        """Return False: only the operator can give another token."""
        return False


class KeyPair:
    """
    A consumer key and secret; they are exchanged for a token, which is kept until X refuses it.

    X returns the same token until the token is invalidated.  So if X returns a token that it has refused, another
    exchange does not help.

    Raises:
        ConfigError: one of the two is empty.
    """

    def __init__(self, key: str, secret: str) -> None:
        self._key = key.strip()
        self._secret = secret.strip()
        if not self._key or not self._secret:
            raise ConfigError(["x.consumer.key and x.consumer.secret are needed together"])
        self._token: str | None = None
        self._lock = threading.Lock()  # one exchange at a time; threads that wait then use the new token

    def __repr__(self) -> str:
        return "KeyPair(…)"

    def token(self, exchange: Exchange) -> str:
        """Return the token, after an exchange if there is none."""
        with self._lock:
            if self._token is None:
                self._token = exchange(self._authorization())
            return self._token

    def renew(self, rejected: str, exchange: Exchange) -> bool:
        """Exchange the pair again, unless another thread has replaced *rejected*; return whether the token differs."""
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
