"""
/openapi.json: what the routes are, as OpenAPI 3.1, made from their declarations.

The schemas of bodies are made from the types that the routes name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp.web import Request, Response

from connector import __version__
from connector.telemetry.loggers import NAME_CHARACTERS_MAX
from connector.web.connect.answers import Error
from connector.web.origin import JSON
from connector.web.routes import Route, answer, get, routes_in

_PARAMETER = re.compile(r"\{(\w+)\}")
_WORDS = re.compile(r"\w+")
_SCHEMAS = "#/components/schemas/{name}"
_ALWAYS = (403, 406)
"""A foreign host or page; an Accept header without the type of the answer."""

_WRITES = (413, 415)
_LOGIN = 401

DESCRIPTION = (
    "The REST API of Kafka Connect, and what a worker knows beside it: /history, /events, /coverage, /ready, /ping,"
    " /metrics. Each route also answers with a slash at its end, HEAD wherever GET does, and OPTIONS."
)

_NAME = {"type": "string", "minLength": 1}
_PATH_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "task": {"type": "integer", "minimum": 0},
    "logger": {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX, "pattern": "^[ -~]+$"},
}


class OpenAPIRoutes:
    """The route of the description; *routes* are all others."""

    def __init__(self, routes: Iterable[Route], *, login: bool) -> None:
        self._routes, self._login = [*routes, *routes_in(self)], login
        self._document = cache(lambda: document(self._routes, login=self._login))  # nobody may ever ask for it

    @get("/openapi.json", gives={200: dict[str, Any]})
    async def openapi(self, request: Request) -> Response:
        """Return this description of all routes."""
        return answer(self._document())


def document(routes: Iterable[Route], *, login: bool) -> dict[str, Any]:
    """Return the OpenAPI document of *routes*; with *login*, they ask for a name and a password."""
    listed = sorted(routes, key=lambda route: route.path)
    schemas, components = _schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        errors = {*_ALWAYS, *route.refuses, *(_WRITES if route.method != "GET" else ()), *({_LOGIN} if login else ())}
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, sorted(errors), schemas)
    secured = {"securitySchemes": {"login": {"type": "http", "scheme": "basic"}}} if login else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Murmuration", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": components, **secured},
        **({"security": [{"login": []}]} if login else {}),
    }


def _types(route: Route) -> Iterator[Any]:
    yield from (each for each in route.gives.values() if each is not None)
    if route.takes is not None:
        yield route.takes


def _schemas(routes: Iterable[Route]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the schema of each type by its `repr`, and the components that these schemas refer to."""
    types = {repr(each): each for route in routes for each in _types(route)} | {repr(Error): Error}
    schemas, components = msgspec.json.schema_components(types.values(), ref_template=_SCHEMAS)
    return dict(zip(types, schemas, strict=True)), components


def _operation(route: Route, errors: Iterable[int], schemas: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": "_".join((route.method.lower(), *_WORDS.findall(route.path))),
        "parameters": [*_path_parameters(route.path), *_query_parameters(route)],
        "responses": {
            **{str(status): _error(status, schemas) for status in errors},
            **{str(status): _response(status, each, route, schemas) for status, each in route.gives.items()},
        },
    }
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[repr(route.takes)]}}}
    return operation


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS.get(name, _NAME)}


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for each in route.query:
        required = {"required": True} if each.required else {}
        yield {"name": each.name, "in": "query", "description": each.doc, "schema": each.schema, **required}


def _response(status: int, of: Any, route: Route, schemas: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if of is not None:
        described["content"] = {route.content_type: {"schema": schemas[repr(of)]}}
        described["content"] |= {each: {"schema": {"type": "string"}} for each in route.also}
    if status == HTTPStatus.CREATED:
        described["headers"] = {"Location": {"required": True, "schema": {"type": "string"}}}
    return described


def _error(status: int, schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": {JSON: {"schema": schemas[repr(Error)]}}}
