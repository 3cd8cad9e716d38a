"""
/history: what an operator sees of the group, in one document; /events: the same as a stream of changes.

    GET /history?range=1h&connector=posts   {"id", "at", "state", "range", "events"}
    GET /events?range=1h&connector=posts    server-sent events: `snapshot`, then `delta`s
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypedDict

import orjson
from aiohttp import hdrs
from aiohttp.web import Request, Response, StreamResponse

from connector.cluster.refused import NotFound, Refused
from connector.cluster.view.live import Live, Message
from connector.history.ranges import DEFAULT_RANGE, RANGES, Range
from connector.web.routes import Query, answer, get

STREAM = "text/event-stream"
RECONNECT_MS = 2_000
"""How long a browser waits before it connects again (ms)."""

WRITE_SECS = 30.0
"""A viewer that takes nothing for so long is cut off (seconds)."""

NO_STORE = {"Cache-Control": "no-store"}
QUERY = (
    Query(name="range", doc="How far back", schema={"type": "string", "enum": list(RANGES), "default": DEFAULT_RANGE}),
    Query(name="connector", doc="Counts and events of this connector alone", schema={"type": "string"}),
)

Point = float | None


class Series(TypedDict):
    """Columns: `t` is the begin of each point (UNIX seconds); null where nothing is known; delays in seconds."""

    t: list[int]
    received: list[Point]
    delivered: list[Point]
    repaired: list[Point]
    dropped: list[Point]
    usd: list[Point]
    age_p50: list[Point]
    age_p99: list[Point]
    delivery_p50: list[Point]
    delivery_p99: list[Point]


Shown = TypedDict(
    "Shown",
    {
        "name": str,
        "connector": str | None,
        "from": str,
        "to": str,
        "step_secs": int,
        "series": Series,
        "connectors": dict[str, dict[str, Any]],
        "rules": dict[str, dict[str, Any]],
        "rules_left_out": int,
    },
)


class ShownEvent(TypedDict):
    """One thing that happened; *by* is the user who wanted it."""

    id: str
    at: str
    kind: str
    level: str
    connector: str | None
    task: int | None
    worker_id: str
    by: str | None
    text: str
    fields: dict[str, Any]


class Document(TypedDict):
    """*state* is what is so now, *range* what was in a range of time, *events* what happened in it, newest first."""

    id: str
    at: str
    state: dict[str, Any]
    range: Shown
    events: list[ShownEvent]


class HistoryRoutes:
    """Routes for the page and for `top`."""

    def __init__(self, live: Live) -> None:
        self._live = live

    @get("/history", query=QUERY, gives={200: Document}, refuses=(400, 404))
    async def history(self, request: Request) -> Response:
        """Return the state of the group, counts of a range of time, and what happened in it."""
        return answer(self._live.document(*self._asked(request)), headers=NO_STORE)

    @get("/events", query=QUERY, gives={200: str}, refuses=(400, 404, 503), content_type=STREAM)
    async def events(self, request: Request) -> StreamResponse:
        """Send what /history returns as server-sent events: a snapshot, then what changes, at most once a second."""
        span, connector = self._asked(request)
        messages = self._live.watch(span, connector, request.headers.get("Last-Event-ID"))
        response = StreamResponse(headers={**NO_STORE, "Content-Type": STREAM, "X-Accel-Buffering": "no"})
        if request.method == hdrs.METH_HEAD:
            return Response(headers=response.headers)
        async with aclosing(messages):
            first = await anext(messages)  # it may be refused, as long as nothing is sent
            await self._send(request, response, first, messages)
        return response

    async def _send(
        self,
        request: Request,
        response: StreamResponse,
        first: Message | None,
        messages: AsyncIterator[Message | None],
    ) -> None:
        try:
            await response.prepare(request)
            await _write(response, b"retry: %d\n\n" % RECONNECT_MS + _encoded(first))
            async for message in messages:
                await _write(response, _encoded(message))
            await response.write_eof()
        except (OSError, TimeoutError):  # the viewer has gone, or takes nothing
            if request.transport is not None:
                request.transport.abort()

    def _asked(self, request: Request) -> tuple[Range, str | None]:
        name, connector = request.query.get("range", DEFAULT_RANGE), request.query.get("connector")
        if name not in RANGES:
            raise Refused(f"range must be one of {', '.join(RANGES)}.")
        if connector is not None and self._live.view.overview.configs.get(connector) is None:
            raise NotFound("There is no such connector: GET /connectors lists them.")
        return RANGES[name], connector


async def _write(response: StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_SECS):
        await response.write(data)


def _encoded(message: Message | None) -> bytes:
    if message is None:
        return b": keep-alive\n\n"
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        str(message.place).encode(),
        message.kind.encode(),
        orjson.dumps(message.document),  # in one line
    )
