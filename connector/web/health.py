"""Is the worker alive, is it ready, and what has it counted?"""

from typing import Any

import faust
from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST

from connector.cluster.overview import Overview
from connector.telemetry.metrics import Metrics


def register(app: faust.App, overview: Overview, metrics: Metrics) -> None:
    """Add the views to *app*."""

    @app.page("/ping")
    async def ping(self: View, request: Request) -> Response:
        """Alive: the event loop answers; Kafka and X may be away."""
        return self.json({"status": "ok"})

    @app.page("/ready")
    async def ready(self: View, request: Request) -> Response:
        """Ready: in the group, Kafka answers, and each task that is assigned here hears its stream."""
        reasons = overview.unready()
        body: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return self.json(body, status=503 if reasons else 200)

    @app.page("/metrics")
    async def render(self: View, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        return self.bytes(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
