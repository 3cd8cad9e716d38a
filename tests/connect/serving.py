"""A web server with Connect's routes over connectors in memory."""

import asyncio
import contextlib
import sys
import threading

import faust
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import AppRunner, TCPSite

from connector.cluster.plugins import Plugins
from connector.telemetry.loggers import Loggers
from connector.telemetry.metrics import Metrics
from connector.web.connect import routes_of
from connector.web.coverage import CoverageRoutes
from connector.web.guard import MAX_BODY_BYTES, middlewares
from connector.web.health import HealthRoutes
from connector.web.openapi import OpenAPIRoutes
from connector.web.page import PageRoutes, in_front_of
from connector.web.routes import routes_in, serve
from connector.web.rules import RuleRoutes
from tests.brokers import free_port
from tests.connect.file_source import PLUGIN
from tests.connect.in_memory import InMemoryConnectors, InMemoryOverview, InMemoryRules, InMemoryWorker


class Served:
    """A client of the server, and what is behind the server."""

    def __init__(self, client, connectors, worker):
        self.client, self.connectors, self.worker = client, connectors, worker

    async def __call__(self, method, path, body=..., **kwargs):
        """Status and body of an answer; the body of an empty answer is None."""
        if body is ...:
            kwargs.setdefault("skip_auto_headers", ("Content-Type",))  # aiohttp would add one where there is no body
        else:
            kwargs["json"] = body
        async with self.client.request(method, path, **kwargs) as response:
            text = await response.text()
            return (
                response.status,
                await response.json() if response.content_type == "application/json" else text or None,
            )


def application(connectors, worker, plugins=None, users=None):
    """A Faust application with Connect's routes, of which only the web is used."""
    app = faust.App(
        "connect",
        broker="kafka://nowhere",
        web_application_options={"middlewares": middlewares(users or {}), "client_max_size": MAX_BODY_BYTES},
    )
    overview = InMemoryOverview()
    routes = [
        *routes_of(connectors, plugins or Plugins([PLUGIN]), worker, Loggers()),
        *routes_in(HealthRoutes(overview, Metrics())),
        *routes_in(CoverageRoutes(overview)),
        *routes_in(RuleRoutes(InMemoryRules())),
        *routes_in(PageRoutes()),
    ]
    routes = [in_front_of(each) if (each.method, each.path) == ("GET", "/") else each for each in routes]
    serve(app, [*routes, *routes_in(OpenAPIRoutes(routes, login=bool(users)))])
    return app


@contextlib.asynccontextmanager
async def served():
    """Serve connectors in memory."""
    connectors, worker = InMemoryConnectors(), InMemoryWorker()
    app = application(connectors, worker)
    app.loop = asyncio.get_running_loop()
    async with TestClient(TestServer(app.web.web_app)) as client:
        yield Served(client, connectors, worker)


@contextlib.contextmanager
def serving(connectors, users=None):
    """Serve *connectors* from a thread; yields the URL."""
    port, started, ended = free_port(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run():
        app = application(connectors, InMemoryWorker(), users=users)
        app.loop = loop
        runner = AppRunner(app.web.web_app)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", port).start()
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


async def _forever(port):
    app = application(InMemoryConnectors(), InMemoryWorker())
    app.loop = asyncio.get_running_loop()
    runner = AppRunner(app.web.web_app)
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", port).start()
    print("serving", flush=True)  # noqa: T201  # whoever started this process waits for it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(int(sys.argv[1])))
