"""The views /ping (alive?), /ready (ready?) and /metrics."""

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
        """Answer 200 while the event loop runs, even if Kafka and X are away."""
        return self.json({"status": "ok"})

    @app.page("/ready")
    async def ready(self: View, request: Request) -> Response:
        """Answer 200 if this worker is in the group, Kafka answers, and each task assigned here is ready; else 503."""
        reasons = overview.unready()
        body: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return self.json(body, status=503 if reasons else 200)

    @app.page("/metrics")
    async def render(self: View, request: Request) -> Response:
        """Return all metrics in Prometheus' text format."""
        return self.bytes(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
