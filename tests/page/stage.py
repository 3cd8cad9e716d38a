"""
The page on a stage: its files and Connect's routes as a worker has them, and a stream of events that a test writes.

What a real worker says is tested in `test_worker`; here are the states that it is in only by chance.  Its connectors
are in memory, and of our own class.
"""

import asyncio
import contextlib
import json
import threading

import faust
from aiohttp.web import AppRunner, Response, StreamResponse, TCPSite, json_response

from connector.cluster.plugins import Plugins
from connector.config.connector import CONNECTOR_CLASS
from connector.config.load import load
from connector.config.vault import Vault
from connector.telemetry.loggers import Loggers
from connector.transforms.catalogue import CATALOGUE
from connector.web.connect import routes_of
from connector.web.connect.ports import TargetState
from connector.web.coverage import CoverageRoutes
from connector.web.guard import middlewares
from connector.web.page import PageRoutes, in_front_of
from connector.web.routes import Route, routes_in, serve
from connector.web.rules import RuleRoutes
from connector.worker.plugin import plugin_of
from tests import ROOT
from tests.brokers import free_port
from tests.connect.in_memory import InMemoryConnectors, InMemoryOverview, InMemoryRules, InMemoryWorker

CONFIG = {
    "connector.class": CONNECTOR_CLASS,
    "topic": "posts",
    "hashtags": "murmuration, starling",
    "budget.usd.per.month": "9000",
    "x.bearer.token": "${env:CONNECTOR_POSTS_TOKEN}",
}
ENVIRONMENT = {"CONNECTOR_POSTS_TOKEN": "simulated-token"}


class Stage:
    """
    A web server in a thread of its own; *document* is what it knows, None while it has no answer.

    Where *resumed* is set, it is the delta for pages that come back.

    There is one connector, `posts`; *orders* are the requests about its gaps, *rules* what X holds for it.
    """

    def __init__(self):
        loaded = load({}, ROOT)
        vault = Vault(loaded.worker, ENVIRONMENT, ROOT, CATALOGUE)
        self.connectors = InMemoryConnectors(Plugins([plugin_of(vault, loaded)]))
        self.connectors._begin("posts", {"name": "posts", **CONFIG}, TargetState.RUNNING)
        self._overview = InMemoryOverview()
        self.orders, self.rules = self._overview.sent, InMemoryRules()
        self.document, self.port = None, free_port()
        self.asked = []
        self.streams_refused = self.resumed = None
        self._streams, self._site, self._number = set(), None, 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self):
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_):
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def tell(self, document):
        """Send a snapshot to each page, and to those that come."""
        self.document = document
        self._call(self._send("snapshot", document))

    def change(self, **delta):
        """Send a delta."""
        self._call(self._send("delta", delta))

    def vanish(self):
        """Cut all streams and listen no more."""
        self._call(self._vanish())

    def come_back(self):
        self._call(self._listen())

    # -- in the thread

    def _call(self, awaitable):
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(10)

    async def _start(self):
        app = faust.App(
            "stage",
            broker="kafka://nowhere",
            loop=self._loop,
            web_application_options={"middlewares": middlewares({})},
        )
        told = [
            Route(method="GET", path=path, handler=handler, gives={200: dict})
            for path, handler in (("/events", self._events), ("/history", self._history), ("/ping", self._ping))
        ]
        connects = routes_of(self.connectors, self.connectors.plugins, InMemoryWorker(), Loggers())
        connects = [in_front_of(each) if each.path == "/" else each for each in connects]
        ours = (CoverageRoutes(self._overview), RuleRoutes(self.rules), PageRoutes())
        serve(app, [*connects, *told, *(route for each in ours for route in routes_in(each))])
        self._runner = AppRunner(app.web.web_app, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _end(self):
        await self._runner.cleanup()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}  # of streams that were cut
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self):
        self._site = TCPSite(self._runner, "127.0.0.1", self.port)
        await self._site.start()

    async def _vanish(self):
        await self._site.stop()
        for stream in list(self._streams):
            stream.force_close()
            await stream.write_eof()
        for handler in list(self._runner.server.connections):
            handler.force_close()
            if handler.transport is not None:
                handler.transport.abort()

    async def _ping(self, request):
        return json_response({})

    async def _history(self, request):
        return json_response(self.document)

    async def _events(self, request):
        self.asked.append(request.query_string)
        if self.streams_refused is not None:
            return Response(status=503, text=self.streams_refused)
        response = StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        self._streams.add(response)
        try:
            if self.resumed is not None and "Last-Event-ID" in request.headers:
                await response.write(self._message("delta", self.resumed))
            elif self.document is not None:
                await response.write(self._message("snapshot", self.document))
            await asyncio.Event().wait()
        finally:
            self._streams.discard(response)
        return response

    async def _send(self, name, data):
        for stream in list(self._streams):
            with contextlib.suppress(ConnectionResetError):  # a page has just gone
                await stream.write(self._message(name, data))

    def _message(self, name, data):
        self._number += 1
        return f"id: {self._number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
