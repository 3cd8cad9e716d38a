"""
Checks every request to the web interface, and answers every error as JSON.

Without users, the web answers every request whose Host header names loopback or a host in CONNECTOR_WEB_HOSTS.  By
default the web listens on this machine only.  With users, all routes but `/ping` ask for a login (HTTP Basic).  In both
cases a request that may change something must be JSON and must not come from a foreign page (`origin`).  Errors have
the form of Kafka Connect's: `error_code` and `message`.
"""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiohttp import hdrs, web

from connector.cluster import refused
from connector.cluster.asker import ASKER
from connector.web import origin
from connector.web.origin import READING, check_content_type, check_fetch_site, check_host, check_origin

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

OPEN_ROUTES = frozenset({"/ping"})
MAX_BODY_BYTES = 1024 * 1024
"""The longest body of a request: a configuration with rules for it, as long as Kafka takes a record by default."""

_log = logging.getLogger(__name__)


def middlewares(users: Mapping[str, str], hosts: Collection[str] = ()) -> list[Middleware]:
    """
    Return aiohttp's middlewares for the web application.

    *users* maps names to passwords; *hosts* are host names that are answered besides this machine's own.
    """
    # a foreign page does not know a password, so with a login the host need not be checked
    return [errors_as_json, login(users) if users else known_host(hosts), careful_writes]


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as Connect does, as JSON with `error_code` and `message`."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        if exc.status < 400:  # noqa: PLR2004  # a redirect
            raise
        return _error(exc.status, f"HTTP {exc.status} {exc.reason}", exc.headers.get("Allow"))
    except (origin.Refused, refused.Refused) as refusal:
        return _error(refusal.status, str(refusal))
    except Exception:  # noqa: BLE001  # logged with its stack; the answer must not show internals
        _log.exception("A request for %s failed", request.path)
        return _error(500, "HTTP 500 Internal Server Error")


def known_host(hosts: Collection[str]) -> Middleware:
    """Return a middleware that refuses requests whose Host header is neither loopback nor in *hosts*."""
    allowed = frozenset(host.lower() for host in hosts)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        check_host(request.headers.getall(hdrs.HOST, []), allowed)
        return await handler(request)

    return check


def login(users: Mapping[str, str]) -> Middleware:
    """Return a middleware that refuses requests without the name and password of one of *users*."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_ROUTES:
            return await handler(request)
        user = _user_of(users, request.headers.get("Authorization", ""))
        if user is None:
            response = _error(401, "User cannot access the resource.")
            response.headers["WWW-Authenticate"] = 'Basic realm="connector"'
            return response
        ASKER.set(user)
        return await handler(request)

    return check


@web.middleware
async def careful_writes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request that may change something if it comes from a foreign page, is not JSON, or is too long."""
    if request.method not in READING:
        headers = request.headers
        check_origin(headers.getall(hdrs.ORIGIN, []), headers.getall(hdrs.HOST, []))
        check_fetch_site(headers.getall("Sec-Fetch-Site", []))
        if request.match_info.http_exception is None:  # else there is no such route or method: answered 404 or 405
            types = headers.getall(hdrs.CONTENT_TYPE, [])
            check_content_type(types, request.content_type, has_body=request.body_exists)
            if (request.content_length or 0) > MAX_BODY_BYTES:  # `request.read` limits a chunked body
                raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
    return await handler(request)


def _error(status: int, message: str, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else None
    body = json.dumps({"error_code": status, "message": message}).encode()  # ASCII, whatever a URL has brought
    return web.Response(body=body, status=status, headers=headers, content_type=origin.JSON)


def _user_of(users: Mapping[str, str], authorization: str) -> str | None:
    """Return the name of the user whose name and password *authorization* has; None if it has no such."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    # takes the same time for known and unknown users, and for passwords of any length
    matches = hmac.compare_digest(_digest(password), _digest(users.get(name, "")))
    return name if colon and name in users and matches else None


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()
