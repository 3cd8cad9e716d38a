"""Connect's routes that list, create, read, change and delete connectors."""

from typing import Any
from urllib.parse import quote

from aiohttp.web import Request, Response

from connector.cluster import sentences
from connector.config.framework import NAME
from connector.web.connect.answers import Config, ConnectorInfo, CreateConnector, Expanded, Scalar
from connector.web.connect.bodies import changes_in, config_in, creation_in, named
from connector.web.connect.ports import Connectors
from connector.web.routes import Query, answer, delete, done, get, patch, post, put

EXPAND = Query(
    name="expand",
    doc="What to show of each connector, `info` or `status`; the answer is then an object, by name.",
    schema={"type": "array", "items": {"type": "string"}, "examples": [["info", "status"]]},
)


class ConnectorRoutes:
    """Routes of the connectors themselves."""

    def __init__(self, connectors: Connectors) -> None:
        self._connectors = connectors

    @get("/connectors", gives={200: list[str] | dict[str, Expanded]}, query=(EXPAND,))
    async def names(self, request: Request) -> Response:
        """Return the names of all connectors, or the info and the status of each."""
        names, wanted = self._connectors.names(), dict.fromkeys(request.query.getall("expand", []))
        known = {"status": self._connectors.status, "info": self._connectors.info}
        if not wanted:
            return answer(names)
        return answer({name: {word: known[word](name) for word in wanted if word in known} for name in names})

    @post("/connectors", takes=CreateConnector, gives={201: ConnectorInfo}, refuses=(400, 409))
    async def create(self, request: Request) -> Response:
        """Create a connector, perhaps PAUSED or STOPPED, and perhaps with offsets to begin at."""
        wanted = await creation_in(request)
        info = await self._connectors.create(wanted.name, wanted.config, state=wanted.state, offsets=wanted.offsets)
        return answer(info, 201, _location(request, wanted.name))

    @get("/connectors/{name}", gives={200: ConnectorInfo}, refuses=(404,))
    async def info(self, request: Request, name: str) -> Response:
        """Return the configuration and the tasks of a connector."""
        return answer(self._info(name))

    @delete("/connectors/{name}", gives={204: None}, refuses=(404, 409))
    async def delete(self, request: Request, name: str) -> Response:
        """Delete a connector; its offsets stay."""
        await self._connectors.delete(name)
        return done(204)

    @get("/connectors/{name}/config", gives={200: Config}, refuses=(404,))
    async def config(self, request: Request, name: str) -> Response:
        """Return the configuration of a connector; secrets that are no references are `[hidden]`."""
        return answer(self._info(name)["config"])

    @put(
        "/connectors/{name}/config",
        takes=dict[str, Scalar],
        gives={200: ConnectorInfo, 201: ConnectorInfo},
        refuses=(400, 409),
    )
    async def put_config(self, request: Request, name: str) -> Response:
        """Replace the configuration of a connector, or create the connector."""
        info, created = await self._connectors.put_config(name, named(name, await config_in(request)))
        return answer(info, 201, _location(request, name)) if created else answer(info)

    @patch("/connectors/{name}/config", takes=dict[str, Scalar], gives={200: ConnectorInfo}, refuses=(400, 404, 409))
    async def patch_config(self, request: Request, name: str) -> Response:
        """Change some options of a connector; null removes an option."""
        changes = await changes_in(request)
        configured = changes.pop(NAME, None)
        if configured not in {None, name}:
            raise sentences.names_differ(str(configured), name)
        return answer(await self._connectors.patch_config(name, changes))

    def _info(self, name: str) -> dict[str, Any]:
        found = self._connectors.info(name)
        if found is None:
            raise sentences.no_connector(name)
        return found


def _location(request: Request, name: str) -> dict[str, str]:
    return {"Location": f"{request.scheme}://{request.host}/connectors/{quote(name, safe='')}"}
