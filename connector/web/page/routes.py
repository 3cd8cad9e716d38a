"""The routes of the page: `/` for browsers, before Connect's JSON there, and /page/{file}."""

from dataclasses import replace

from aiohttp import hdrs
from aiohttp.web import HTTPNotFound, Request, Response, StreamResponse

from connector.web.origin import ANY, JSON, prefers
from connector.web.page.files import INDEX, TYPES, files
from connector.web.routes import Route, get


class PageRoutes:
    """The route of the page's files."""

    @get("/page/{file}", gives={200: str, 304: None}, refuses=(404,), content_type=ANY)
    async def file(self, request: Request, file: str) -> Response:
        """Return a file of the page: a script, a style sheet, a picture."""
        found = files().get(file)
        if found is None or file == INDEX:  # the page's links are relative to `/`
            raise HTTPNotFound
        return found.answer(request)


def in_front_of(root: Route) -> Route:
    """Return *root*, the route of `/`, answered with the page where text/html is wanted more than JSON."""

    async def negotiated(request: Request) -> StreamResponse:
        wants_page = prefers(request.headers.getall(hdrs.ACCEPT, []), TYPES[".html"], JSON)
        response = files()[INDEX].answer(request) if wants_page else await root.handler(request)
        response.headers[hdrs.VARY] = hdrs.ACCEPT
        return response

    negotiated.__doc__ = root.handler.__doc__
    return replace(root, handler=negotiated, also=(TYPES[".html"],))
