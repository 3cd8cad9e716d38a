"""Bearer tokens: which are valid, and how a client exchanges key and secret for a token."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.simulator.http.wire import Request
    from connector.simulator.settings import SimulatorSettings

BAD_CREDENTIALS: Mapping[str, Any] = {
    "errors": [
        {
            "code": 99,
            "label": "authenticity_token_error",
            "message": "Unable to verify your credentials",
        }
    ]
}


class BadCredentials(Exception):
    """Key and secret are not those of the settings, or the form is wrong (403)."""


class Tokens:
    """
    The valid tokens.

    A token is compared with its percent escapes: a client that decodes its token gets 401, as from X.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._valid = {settings.token}
        self._serial = 0
        self._issued: str | None = None

    def accepts(self, request: Request) -> bool:
        """Tell whether the request carries a valid bearer token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and token.strip() in self._valid

    def issue(self, request: Request) -> dict[str, str]:
        """
        Answer `/oauth2/token`: the same token until it is invalidated.

        Raises:
            BadCredentials: key, secret or form are wrong.
        """
        self._check(request)
        if ("grant_type", "client_credentials") not in self._form(request):
            raise BadCredentials
        return {"token_type": "bearer", "access_token": self._current()}

    def give_back(self, request: Request) -> dict[str, str]:
        """
        Answer `/oauth2/invalidate_token`.

        Raises:
            BadCredentials: key, secret, form or token are wrong.
        """
        self._check(request)
        token = dict(self._form(request)).get("access_token", "")
        # Clients may escape the token once more for the form.
        for known in (token, unquote(token)):
            if known in self._valid:
                self._forget(known)
                return {"access_token": known}
        raise BadCredentials

    def invalidate(self) -> None:
        """Make all tokens invalid; a client then needs a new token."""
        self._valid.clear()
        self._issued = None

    def restore(self) -> None:
        """Make the configured token valid again."""
        self._valid.add(self._settings.token)

    def _current(self) -> str:
        if self._issued is None:
            self._serial += 1
            self._issued = f"{'A' * 21}SYNTHETIC%2FAAAA{self._serial:04d}%3DAAAA{self._serial:04d}"
            self._valid.add(self._issued)
        return self._issued

    def _forget(self, token: str) -> None:
        self._valid.discard(token)
        if token == self._issued:
            self._issued = None

    def _check(self, request: Request) -> None:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except ValueError:  # not base64, not ASCII or not UTF-8
            raise BadCredentials from None
        key, _, secret = pair.partition(":")
        expected = self._settings.consumer_key, self._settings.consumer_secret
        if scheme.lower() != "basic" or (unquote(key), unquote(secret)) != expected:
            raise BadCredentials

    @staticmethod
    def _form(request: Request) -> list[tuple[str, str]]:
        return parse_qsl(request.body.decode("latin-1"))
