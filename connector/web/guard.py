"""
Who may ask, and what does an error look like?

Without users the web is open to whoever reaches it, which by default is this host alone.  With users all routes but
`/ping` ask for a login (HTTP Basic).  Every error is JSON as Kafka Connect answers it: `error_code` and `message`.
"""

import base64
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN_ROUTES = frozenset({"/ping"})
_log = logging.getLogger(__name__)


def middlewares(users: Mapping[str, str]) -> list[Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]]:
    """Return aiohttp's middlewares for the web application; *users* are passwords by name."""

    @web.middleware
    async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as exc:
            if exc.status < 400:  # noqa: PLR2004  # a redirect
                raise
            return _error(exc.status, f"HTTP {exc.status} {exc.reason}", exc.headers.get("Allow"))
        except Exception:  # noqa: BLE001  # logged with its stack; the answer says nothing of our insides
            _log.exception("A request for %s failed", request.path)
            return _error(500, "HTTP 500 Internal Server Error")

    @web.middleware
    async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
        if users and request.path not in OPEN_ROUTES and not _knows(users, request.headers.get("Authorization", "")):
            response = _error(401, "User cannot access the resource.")
            response.headers["WWW-Authenticate"] = 'Basic realm="connector"'
            return response
        return await handler(request)

    return [errors_as_json, login]


def _error(status: int, message: str, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else None
    return web.json_response({"error_code": status, "message": message}, status=status, headers=headers)


def _knows(users: Mapping[str, str], authorization: str) -> bool:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return False
    expected = users.get(name, "")
    matches = hmac.compare_digest(password.encode(), expected.encode())  # in the same time for unknown users
    return bool(colon) and name in users and matches
