"""The routes /ping (alive?), /ready (ready?) and /metrics."""

from typing import Literal, TypedDict

from aiohttp.web import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from connector.cluster.overview import Overview
from connector.telemetry.metrics import Metrics
from connector.web.routes import answer, get


class Alive(TypedDict):
    status: Literal["ok"]


class Ready(TypedDict):
    """*reasons* says what keeps the worker from its work."""

    status: Literal["ready", "not ready"]
    reasons: list[str]


class HealthRoutes:
    """Routes for whoever watches the worker."""

    def __init__(self, overview: Overview, metrics: Metrics) -> None:
        self._overview, self._metrics = overview, metrics

    @get("/ping", gives={200: Alive})
    async def ping(self, request: Request) -> Response:
        """Answer 200 while the event loop runs, even if Kafka and X are away."""
        return answer({"status": "ok"})

    @get("/ready", gives={200: Ready, 503: Ready})
    async def ready(self, request: Request) -> Response:
        """Answer 200 if this worker is in the group, Kafka answers, and each task assigned here is ready; else 503."""
        reasons = self._overview.unready()
        body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return answer(body, 503 if reasons else 200)

    @get("/metrics", gives={200: str}, content_type="text/plain")
    async def metrics(self, request: Request) -> Response:
        """Return all metrics in Prometheus' text format."""
        return Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
