"""Gets tokens for OAUTHBEARER logins with OAuth's client credentials (RFC 6749, section 4.4)."""

import asyncio
import base64
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiokafka.abc import AbstractTokenProvider

from connector.kafka.login.refusals import TokenRefused

TIMEOUT_SECS = 10.0
ANSWER_BYTES_MAX = 64 * 1024
REFRESH_SHARE = 0.8
"""A token is replaced after this share of its life, as Kafka's own clients do."""

RETRY_SECS = 10.0
"""How long a token that could not be replaced is used before the endpoint is asked again (seconds)."""

UNKNOWN_LIFE_SECS = 60.0
"""How long a token counts as valid if the endpoint does not tell its lifetime (seconds)."""

_URL = "CONNECTOR_KAFKA_OAUTH_TOKEN_URL"
_ID, _SECRET = "CONNECTOR_KAFKA_OAUTH_CLIENT_ID", "CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET"
_OK, _UNAUTHORIZED = 200, 401


class ClientCredentials(AbstractTokenProvider):
    """
    Gets a token, keeps it, and replaces it before it expires; all clients of the process share the token.

    *clock* gives monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: str,
        *,
        scope: str | None = None,
        extensions: Mapping[str, str],
        ca: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._client_id, self._secret, self._scope = url, client_id, secret, scope
        self._extensions, self._clock = dict(extensions), clock
        self._context: ssl.SSLContext | bool = True
        if url.startswith("https"):
            self._context = ssl.create_default_context()
            if ca is not None:
                self._context.load_verify_locations(ca)
        self._token, self._replace_at, self._ends_at = "", 0.0, 0.0
        self._asking: asyncio.Task[None] | None = None

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions that the login sends beside the token."""
        return self._extensions

    async def token(self) -> str:
        """
        Return a token that has not expired.

        Raises:
            TokenRefused: there is no token; the message says why.
        """
        if self._clock() >= self._replace_at:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask())
                self._asking.add_done_callback(_heard)
            try:
                await asyncio.shield(self._asking)  # other callers wait for the same answer
            except TokenRefused:
                if self._clock() >= self._ends_at:
                    raise
                self._replace_at = self._clock() + RETRY_SECS  # the old token is still valid
        return self._token

    async def _ask(self) -> None:
        asked_at = self._clock()
        form = {"grant_type": "client_credentials"} | ({} if self._scope is None else {"scope": self._scope})
        try:
            async with asyncio.timeout(TIMEOUT_SECS):
                status, content = await self._post(form)
        except TimeoutError:
            raise TokenRefused(f"{self._where} has not answered within {TIMEOUT_SECS:g} s: check {_URL}.") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise TokenRefused(f"{self._where} cannot be reached ({_reason(exc)}): check {_URL}.") from None
        answer = _object(content)
        if status != _OK:
            raise self._refusal(status, answer)
        token, secs = answer.get("access_token"), answer.get("expires_in", UNKNOWN_LIFE_SECS)
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenRefused(f"{self._where} answers without an access_token: check {_URL}.")
        try:
            life_secs = float(secs)
        except (TypeError, ValueError):
            life_secs = 0.0
        life_secs = life_secs if life_secs > 0 else UNKNOWN_LIFE_SECS
        self._token = token
        self._replace_at, self._ends_at = asked_at + life_secs * REFRESH_SHARE, asked_at + life_secs

    async def _post(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        login = base64.b64encode(f"{self._client_id}:{self._secret}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Accept": "application/json"}
        # Uses the environment's proxies, as the X end does.  Redirects are not followed: they would get the secret.
        async with (
            aiohttp.ClientSession(trust_env=True) as http,
            http.post(self._url, data=form, headers=headers, ssl=self._context, allow_redirects=False) as response,
        ):
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise TokenRefused(f"{self._where} answers with more than {ANSWER_BYTES_MAX} bytes: check {_URL}.")
            return response.status, bytes(content)

    @property
    def _where(self) -> str:
        parts = urlsplit(self._url)
        return f"The token endpoint {parts.scheme}://{parts.netloc}{parts.path}"

    def _refusal(self, status: int, answer: Mapping[str, Any]) -> TokenRefused:
        code = answer.get("error")
        said = f" ({code})" if isinstance(code, str) and code.isascii() and code.isidentifier() else ""
        if code == "invalid_scope":
            return TokenRefused(f"{self._where} refuses the scope: check CONNECTOR_KAFKA_OAUTH_SCOPE.")
        if status == _UNAUTHORIZED or code in {"invalid_client", "unauthorized_client"}:
            return TokenRefused(f"{self._where} refuses the client {self._client_id}{said}: check {_ID} and {_SECRET}.")
        return TokenRefused(f"{self._where} answers with status {status}{said}: check {_URL}.")


def _heard(asking: asyncio.Task[None]) -> None:
    """Read the exception of a request for which nobody waits any more: asyncio would log it otherwise."""
    if not asking.cancelled():
        asking.exception()


def _reason(error: Exception) -> str:
    """Return what went wrong, without aiohttp's text, which names its own objects."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not accepted"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.errno).lower() if error.errno else "no connection"
    return "the connection ended"


def _object(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
