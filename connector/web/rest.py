"""
Connect's REST routes that only read: list, info, config, status, offsets.

The answers have the form of Kafka Connect 4.3.
"""

from collections.abc import Callable
from typing import Any

import faust
from faust.web import Request, Response, View

from connector.cluster.overview import Overview

Answer = Callable[[str], Any]


def register(app: faust.App, overview: Overview) -> None:
    """Add the views to *app*; each also works with a trailing slash."""

    def page(path: str) -> Callable[[Any], None]:
        def both(handler: Any) -> None:
            app.page(path, name=path)(handler)
            app.page(f"{path}/", name=f"{path}/")(handler)

        return both

    @page("/connectors")
    async def connectors(self: View, request: Request) -> Response:
        """Return the names of the connectors; with `?expand=status&expand=info`, their status and info by name."""
        wanted = request.query.getall("expand", [])  # type: ignore[attr-defined]  # aiohttp's, a multi-map
        if not wanted:
            return self.json(overview.names())
        known: dict[str, Answer] = {"status": overview.status, "info": overview.info}
        return self.json(
            {name: {word: known[word](name) for word in wanted if word in known} for name in overview.names()}
        )

    def one(path: str, answer: Answer, missing: str = "Connector {} not found") -> None:
        @page(path)
        async def view(self: View, request: Request, name: str) -> Response:
            found = answer(name)
            if found is None:
                return self.json({"error_code": 404, "message": missing.format(name)}, status=404)
            return self.json(found)

    def config(name: str) -> Any:
        info = overview.info(name)
        return None if info is None else info["config"]

    one("/connectors/{name}", overview.info)
    one("/connectors/{name}/config", config)
    one("/connectors/{name}/status", overview.status, "No status found for connector {}")
    one("/connectors/{name}/offsets", overview.offsets_of)
