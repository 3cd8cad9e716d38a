"""Connect's routes that show, change and remove the source offsets of a connector."""

from aiohttp.web import Request, Response

from connector.cluster import sentences
from connector.web.connect.answers import AlterOffsets, Message, Offsets
from connector.web.connect.bodies import offsets_in
from connector.web.connect.ports import Connectors
from connector.web.routes import answer, delete, get, patch

ALTERED = "The offsets for this connector have been altered successfully"
RESET = "The offsets for this connector have been reset successfully"


class OffsetRoutes:
    """Routes of source offsets."""

    def __init__(self, connectors: Connectors) -> None:
        self._connectors = connectors

    @get("/connectors/{name}/offsets", gives={200: Offsets}, refuses=(404,))
    async def offsets(self, request: Request, name: str) -> Response:
        """Return the committed offset of each source partition of a connector."""
        found = self._connectors.offsets(name)
        if found is None:
            raise sentences.no_connector(name)
        return answer({"offsets": found})

    @patch("/connectors/{name}/offsets", takes=AlterOffsets, gives={200: Message}, refuses=(400, 404, 409))
    async def alter(self, request: Request, name: str) -> Response:
        """Set offsets of a STOPPED connector; a null offset removes that of its source partition."""
        await self._connectors.alter_offsets(name, await offsets_in(request))
        return answer({"message": ALTERED})

    @delete("/connectors/{name}/offsets", gives={200: Message}, refuses=(400, 404, 409))
    async def reset(self, request: Request, name: str) -> Response:
        """Remove all offsets of a STOPPED connector."""
        await self._connectors.reset_offsets(name)
        return answer({"message": RESET})
