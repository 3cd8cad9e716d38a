"""
How a route is declared: once, for the web server and for /openapi.json.

    class ConnectorRoutes:
        @get("/connectors/{name}", gives={200: ConnectorInfo}, refuses=(404,))
        async def info(self, request: Request, name: str) -> Response:
            \"\"\"Return one connector.\"\"\"

`routes_in` finds the routes of an object, and `serve` makes a Faust view of each path.  Each route also answers with a
slash at its end, OPTIONS says which methods a path has, and HEAD answers wherever GET does.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import faust
import orjson
from aiohttp import hdrs
from aiohttp.web import Application, Request, Response, StreamResponse
from faust.web import View

from connector.web.origin import JSON, check_accept

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = Callable[..., Awaitable[StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parameter in the query of a URL; *schema* is its JSON schema."""

    name: str
    doc: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    One method of one path.

    *gives* has the type of the JSON body of each status that is no error; None for an empty body.  *also* are content
    types in which the route can answer 200 as well.  *refuses* are the statuses of the errors that are particular to
    this route.  *takes* is the type of the request's JSON body.
    """

    method: Method
    path: str
    handler: Handler
    gives: Mapping[int, Any]
    refuses: tuple[int, ...] = ()
    query: tuple[Query, ...] = ()
    takes: Any = None
    content_type: str = JSON
    also: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first paragraph of the handler's docstring, in one line."""
        return " ".join((self.handler.__doc__ or "").strip().split("\n\n")[0].split())


def get(path: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare a method of a class as what answers GET for *path*; *facts* are the fields of `Route`."""
    return _declare("GET", path, facts)


def post(path: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare what answers POST, like `get`."""
    return _declare("POST", path, facts)


def put(path: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare what answers PUT, like `get`."""
    return _declare("PUT", path, facts)


def patch(path: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare what answers PATCH, like `get`."""
    return _declare("PATCH", path, facts)


def delete(path: str, **facts: Any) -> Callable[[Handler], Handler]:
    """Declare what answers DELETE, like `get`."""
    return _declare("DELETE", path, facts)


def _declare(method: Method, path: str, facts: Mapping[str, Any]) -> Callable[[Handler], Handler]:
    def declare(handler: Handler) -> Handler:
        handler.route_facts = {"method": method, "path": path, **facts}  # type: ignore[attr-defined]
        return handler

    return declare


def routes_in(subject: object, before: Callable[[], None] | None = None) -> list[Route]:
    """
    Return the routes that the class of *subject* declares.

    *before* is called before each of them, and may raise a refusal with 503.
    """
    declared = [(name, member) for name, member in vars(type(subject)).items() if hasattr(member, "route_facts")]
    return [_bound(getattr(subject, name), member.route_facts, before) for name, member in declared]


def _bound(handler: Handler, facts: Mapping[str, Any], before: Callable[[], None] | None) -> Route:
    async def checked(request: Request, **match: str) -> StreamResponse:
        check_accept(request.headers.getall(hdrs.ACCEPT, []), route.content_type)
        if before is not None:
            before()
        return await handler(request, **match)

    checked.__doc__ = handler.__doc__
    route = Route(handler=checked, **facts)
    return route if before is None else replace(route, refuses=(*route.refuses, 503))


def serve(app: faust.App, routes: Iterable[Route]) -> None:
    """Add *routes* to the web server of *app*."""
    by_path = sorted(routes, key=lambda route: route.path)
    for path, group in groupby(by_path, key=lambda route: route.path):
        view, pattern = _view(list(group)), _pattern(path)
        app.page(pattern, name=path)(view)
        if path != "/":
            app.page(f"{pattern}/", name=f"{path}/")(type(view.__name__, (view,), {}))
    application: Application = app.web.web_app  # type: ignore[attr-defined]  # aiohttp's, in Faust's only driver
    application.on_response_prepare.append(_no_type_of_nothing)


def _pattern(path: str) -> str:
    """Return *path* with parameters that take all but a slash; aiohttp's own take no braces, which a name may have."""
    return re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", path)


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return *value* as JSON."""
    return Response(body=orjson.dumps(value), status=status, headers=headers, content_type=JSON)


def done(status: int) -> Response:
    """Return an answer without a body."""
    return Response(status=status)


def _view(routes: list[Route]) -> type[View]:
    handlers: dict[str, Handler] = {route.method: route.handler for route in routes}
    if "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    methods = [*handlers, "OPTIONS"]
    handlers["OPTIONS"] = _options(", ".join(methods))
    members: dict[str, Any] = {method.lower(): _method(handler) for method, handler in handlers.items()}
    return type("ConnectView", (View,), {**members, "get_methods": lambda _: set(methods)})


def _method(handler: Handler) -> Callable[..., Awaitable[StreamResponse]]:
    async def method(_: View, request: Request, **match: str) -> StreamResponse:
        return await handler(request, **match)

    return method


def _options(methods: str) -> Handler:
    async def options(request: Request, **match: str) -> Response:
        return Response(text=methods, headers={hdrs.ALLOW: methods})

    return options


async def _no_type_of_nothing(request: Request, response: StreamResponse) -> None:
    """Remove the content type that aiohttp gives to an answer without a body."""
    if isinstance(response, Response) and response.body is None and request.method != hdrs.METH_HEAD:
        response.headers.pop(hdrs.CONTENT_TYPE, None)
