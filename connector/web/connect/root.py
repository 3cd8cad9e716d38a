"""Connect's routes about the worker itself: its version, and whether it is healthy."""

from aiohttp.web import Request, Response

from connector import __version__
from connector.web.connect.answers import Health, ServerInfo
from connector.web.connect.ports import Worker
from connector.web.routes import answer, get

API_VERSION = "4.1.0"
"""The version of Kafka Connect whose REST API this is; clients switch features on it."""

HEALTHY = "Worker has completed startup and is ready to handle requests."
STARTING = "Worker is still starting up."
UNHEALTHY = "Worker was unable to handle this request and may be unable to handle other requests."


class RootRoutes:
    """Routes of the worker itself."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @get("/", gives={200: ServerInfo})
    async def info(self, request: Request) -> Response:
        """Return the version of the REST API, the version of this software, and the id of the Kafka cluster."""
        return answer({"version": API_VERSION, "commit": __version__, "kafka_cluster_id": self._worker.cluster_id()})

    @get("/health", gives={200: Health, 500: Health, 503: Health})
    async def health(self, request: Request) -> Response:
        """Return whether this worker can carry out requests: 503 while it is starting, 500 while Kafka is away."""
        if (reason := self._worker.starting()) is not None:
            return answer({"status": "starting", "message": f"{STARTING} {reason}".rstrip()}, 503)
        if (reason := self._worker.unhealthy()) is not None:
            return answer({"status": "unhealthy", "message": f"{UNHEALTHY} {reason}".rstrip()}, 500)
        return answer({"status": "healthy", "message": HEALTHY})
